/**
 * The statements of the hot paths, and how to look at their plans: on small tables with every test, and on large ones
 * with `npm run test:plans`.
 */
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import { Scratch } from "./database.ts"
import { envelope, sent } from "./fixtures.ts"
import {
  acknowledgeSql,
  claimSql,
  collect,
  compose,
  loadSagasSql,
  orderSql,
  partsOf,
  queueSql,
  sweepSql
} from "./internal.ts"

const at = '"holdfast".'

const literal = (value: unknown): string => {
  if (value === null) return "null"
  const text = Array.isArray(value)
    ? `{${value.map((_) => (_ === null ? "null" : JSON.stringify(String(_)))).join(",")}}`
    : value
  return `'${String(text).replaceAll("'", "''")}'`
}

/** The tables that the statement reads from end to end, whether or not the server knows its parameters. */
export const seqScans = (text: string, params: ReadonlyArray<unknown>, guards: ReadonlyArray<string> = []) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      const found: Array<string> = []
      const types = params.length === 0 ? "" : `(${params.map(() => "unknown").join(", ")})`
      for (const guard of guards) yield* connection.executeRaw(`set ${guard} = off`, [])
      for (const mode of ["force_custom_plan", "force_generic_plan"]) {
        yield* connection.executeRaw(`set plan_cache_mode = ${mode}`, [])
        yield* connection.executeRaw(`prepare asked ${types} as ${text}`, [])
        const execute = params.length === 0 ? "asked" : `asked(${params.map(literal).join(", ")})`
        const [row] = yield* connection.execute(`explain (format json) execute ${execute}`, [], undefined)
        visit(row["QUERY PLAN"], found)
        yield* connection.executeRaw("deallocate asked", [])
      }
      yield* connection.executeRaw("reset plan_cache_mode", [])
      for (const guard of guards) yield* connection.executeRaw(`reset ${guard}`, [])
      return found
    })
  )

const visit = (plan: any, found: Array<string>): void => {
  if (Array.isArray(plan)) for (const inner of plan) visit(inner, found)
  else if (typeof plan === "object" && plan !== null) {
    if (plan["Node Type"] === "Seq Scan") found.push(plan["Relation Name"])
    for (const inner of Object.values(plan)) visit(inner, found)
  }
}

const writing = (...writes: ReadonlyArray<MessageStore.Write>) => {
  const parts = partsOf(collect([writes]))
  return [compose(at, parts), parts.flatMap(({ params }) => params)] as const
}
const settling = (...writes: ReadonlyArray<MessageStore.Write>) => {
  const parts = partsOf(collect([writes]))
  const params = parts.flatMap(({ expected, params }) => (expected === undefined ? params : [...params, expected]))
  return [compose(at, parts, "settle"), params] as const
}
const range = {
  channel: "$1::text",
  priority: "$2::int",
  from: "$3::bigint",
  to: "$4::bigint",
  limit: "$5::int",
  now: "$6::timestamptz"
}
const lease = { channel: "c0", key: "40", token: "40" }
const other = { channel: "c0", key: "80", token: "80" }

const look: queueSql.Look = {
  channel: "$1::text",
  priorities: "$2::int[]",
  lows: "$3::bigint[]",
  lasts: "$4::bigint[]",
  leaseLow: "$5::bigint"
}
const looked = ["c1", [2, 1, 0], [5, 5, 5], [100, 100, 100], 0]
const queued = { channel: "c0", key: "q0:40", token: "40" }

/** A claim of the queue by a client that has claimed everything up to an id, the last under this lease. */
export const claiming = (channel: string, limit: number, last = 0, sweep = 0, lease = 0): string =>
  `select * from holdfast.claim('${channel}', ${limit}, 60000, 'w', false, '{0}', '{${last}}', '{${last}}', ${lease}, ${sweep},
     ${sweep}, '{}') where token is not null`

/** How many pages the statement reads, and how many rows it gives. */
export const pages = (text: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      yield* connection.executeRaw("begin", [])
      const explain = `explain (analyze, buffers, format json) ${text}`
      const rows = yield* connection.execute(explain, [], undefined)
      yield* connection.executeRaw("rollback", [])
      // a session reads catalogs once
      yield* connection.executeRaw("begin", [])
      const [row] = yield* connection.execute(explain, [], undefined)
      yield* connection.executeRaw("rollback", [])
      void rows
      const plan = row["QUERY PLAN"][0].Plan
      return { pages: plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], rows: plan["Actual Rows"] }
    })
  )

/** The settings of the functions, which their statements run under. */
export const guards = ["enable_seqscan", "enable_bitmapscan"]

/** Those inside of functions. */
export const guardedStatements: Readonly<Record<string, readonly [string, ReadonlyArray<unknown>]>> = {
  anyUnknown: [`select ${queueSql.anyUnknown(at, look)}, $3::bigint[], $4::bigint[], $5::bigint`, looked],
  anyAbove: [`select ${queueSql.anyAbove(at, look)}, $3::bigint[]`, looked],
  anyLeft: [`select ${queueSql.anyLeft(at, look)}, $4::bigint[]`, looked],
  highest: [queueSql.highest(at, "$1::text", "$2::bigint", "$3::int"), ["c1", 0, 0]],
  lowest: [queueSql.lowest(at, "$1::text", "$2::int", "$3::bigint"), ["c1", 0, 5]],
  priorityBetween: [queueSql.priorityBetween(at, "$1::text", "$2::bigint", "$3::bigint"), ["c1", 2, 0]],
  nextQueued: [queueSql.nextQueued(at, "$1::text", "$2::int", "$3::bigint", "$4::int"), ["c1", 0, 5, 500]],
  late: [
    queueSql.late(at, "$1::text", "$2::int", "$3::bigint", "$4::bigint", "$5::int", "$6::bigint"),
    ["c1", 0, 5, 300, 500, 0]
  ],
  expiredLeases: [queueSql.expiredLeases(at, "$1::text", "$2::timestamptz", "$3::bigint"), ["c1", "2020-01-01", 0]],
  suspects: [queueSql.suspects(at, "$1::text", "$2::timestamptz", "$3::int", "$4::int"), ["c1", "2020-01-01", 4, 2]],
  begun: [`select ${queueSql.begun(at, "$1::text", "$2::text", "$3::bigint")}`, ["c1", "w", 0]],
  nextOfMessages: [queueSql.next(at, "$1::text", "$2::int"), ["c1", 50]]
}

/** Those that are sent as they are. */
export const hotStatements: Readonly<Record<string, readonly [string, ReadonlyArray<unknown>]>> = {
  acknowledgeQueued: [acknowledgeSql(at, false), ["c0", 0, [40, 80], [40]]],
  acknowledgeDense: [acknowledgeSql(at, true), ["c0", 0, [40, 80], [40], 40, 80]],
  settleQueued: writing({ _tag: "Acknowledge", lease: queued }, sent("c1", "1")),
  retryQueued: writing({ _tag: "Retry", lease: queued, failures: [], afterMillis: 5 }),
  parkQueued: writing({
    _tag: "Park",
    channel: "c0",
    lease: queued,
    envelope: envelope("1"),
    reason: "Defect",
    error: "",
    fingerprint: ""
  }),
  settled: settling({ _tag: "Acknowledge", lease }, sent("c1", "1")),
  sagas: [
    loadSagasSql(at),
    [
      ["S", "S"],
      ["7", "8"]
    ]
  ],
  sweepKeys: [sweepSql(at).deduplication, ["-infinity"]],
  sweepAnswers: [sweepSql(at).idempotency, ["-infinity"]],
  next: [claimSql.next(at, "$1::text", "$2::int"), ["c1", 50]],
  due: [claimSql.due(at, "$1::text", "$2::timestamptz", "$3::boolean"), ["c1", "2020-01-01", true]],
  allDue: [claimSql.due(at, "$1::text", "$2::timestamptz", "$3::boolean"), ["c1", "2100-01-01", false]],
  anyReady: [`select ${orderSql.anyReady(at, "$1::text", "is null")}`, ["c1"]],
  anyOrdered: [`select ${orderSql.anyReady(at, "$1::text", "is not null")}`, ["c1"]],
  lanes: [orderSql.lanes(at, range), ["c1", 1, 0, "9223372036854775807", 50, "2100-01-01"]],
  newest: [
    orderSql.newest(at, { channel: "$1::text", limit: "$2::int", now: "$3::timestamptz" }),
    ["c1", 50, "2100-01-01"]
  ],
  nextOrdered: [
    orderSql.nextOrdered(at, "$1::text", "$2::int", "$3::timestamptz", "$4::bigint[]"),
    ["c1", 50, "2100-01-01", [1, 2, 3]]
  ],
  expired: [claimSql.expired(at, "$1::text", "$2::timestamptz"), ["c1", "2020-01-01"]],
  acknowledge: writing({ _tag: "Acknowledge", lease }, { _tag: "Acknowledge", lease: other }),
  retry: writing({ _tag: "Retry", lease, failures: [], afterMillis: 5 }),
  park: writing({
    _tag: "Park",
    channel: "c0",
    lease,
    envelope: envelope("1"),
    reason: "Defect",
    error: "",
    fingerprint: ""
  }),
  saga: writing({ _tag: "SagaPut", saga: "S", id: "7", version: 2, state: "{}", completed: false, timers: {} }),
  timer: writing(sent("c0", "1", { timer: { owner: "o7", name: "n" }, due: { _tag: "After", millis: 1000 } })),
  whole: writing({ _tag: "Acknowledge", lease }, sent("c1", "1"), {
    _tag: "SagaPut",
    saga: "S",
    id: "7",
    version: 2,
    state: "{}",
    completed: false,
    timers: {}
  })
}
