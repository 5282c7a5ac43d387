import { assert, layer } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import { messaging, Scratch } from "./database.ts"
import { envelope, sent } from "./fixtures.ts"
import { claimSql, collect, compose, flowSql, orderSql, partsOf } from "./internal.ts"

const at = '"holdfast".'

/** Twenty thousand messages on four channels, a tenth of them claimed; as many scheduled ones and sagas. */
const load = Effect.flatMap(Scratch, ({ control }) =>
  control.unsafe(`
    insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at, priority,
      lease_until, lease_token)
    select 'c' || n % 4, n, 't', 'e', '{}', '{}', now(), now(), n % 3,
      case when n % 10 = 0 then now() + interval '1 minute' end, case when n % 10 = 0 then n end
    from generate_series(1, 20000) n;
    insert into holdfast.scheduled (channel, message_id, tag, endpoint, payload, headers, created_at, due_at, timer_owner, timer_name)
    select 'c' || n % 4, n, 't', 'e', '{}', '{}', now(), now() + n * interval '1 second', 'o' || n, 'n'
    from generate_series(1, 20000) n;
    insert into holdfast.saga (saga, id, version, state, completed, timers, created_at, updated_at)
    select 'S', n, 1, '{}', false, '{}', now(), now() from generate_series(1, 20000) n;
    insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at, priority,
      ordering_key)
    select 'c' || n % 4, n, 't', 'e', '{}', '{}', now(), now(), n % 3, 'key ' || n % 500 from generate_series(1, 20000) n;
    analyze holdfast.message; analyze holdfast.scheduled; analyze holdfast.saga`)
)

const literal = (value: unknown): string => {
  if (value === null) return "null"
  const text = Array.isArray(value)
    ? `{${value.map((_) => (_ === null ? "null" : JSON.stringify(String(_)))).join(",")}}`
    : value
  return `'${String(text).replaceAll("'", "''")}'`
}

/** The tables that the statement reads from end to end, whether or not the server knows its parameters. */
const seqScans = (text: string, params: ReadonlyArray<unknown>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      const found: Array<string> = []
      const types = params.length === 0 ? "" : `(${params.map(() => "unknown").join(", ")})`
      for (const mode of ["force_custom_plan", "force_generic_plan"]) {
        yield* connection.executeRaw(`set plan_cache_mode = ${mode}`, [])
        yield* connection.executeRaw(`prepare asked ${types} as ${text}`, [])
        const execute = params.length === 0 ? "asked" : `asked(${params.map(literal).join(", ")})`
        const [row] = yield* connection.execute(`explain (format json) execute ${execute}`, [], undefined)
        visit(row["QUERY PLAN"], found)
        yield* connection.executeRaw("deallocate asked", [])
      }
      yield* connection.executeRaw("reset plan_cache_mode", [])
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

layer(messaging(), { excludeTestServices: true })("the plans of the hot statements", (it) => {
  it.effect("use indexes on tables of some thousand rows", () =>
    Effect.gen(function* () {
      yield* load
      assert.deepStrictEqual(new Set(yield* seqScans("select 1 from holdfast.message", [])), new Set(["message"]))
      const statements: Record<string, readonly [string, ReadonlyArray<unknown>]> = {
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
        held: [flowSql.oldestHeld(at, "$1::text", "$2::int"), ["pause 1", 50]],
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
      for (const [name, [text, params]] of Object.entries(statements)) {
        assert.deepStrictEqual(yield* seqScans(text, params), [], name)
      }
    })
  )

  it.effect("an idle claim and a claim of many are short", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const explain = "explain (analyze, buffers, format json) select * from holdfast.claim('nothing', 100, 1000, 'w')"
      yield* control.unsafe(explain)
      const [row] = yield* control.unsafe<any>(explain)
      const buffers = row!["QUERY PLAN"][0].Plan["Shared Hit Blocks"]
      assert.isBelow(buffers, 60, "an idle claim reads a few pages of indexes")
      const claimed = yield* control.unsafe("select id from holdfast.claim('c1', 100, 1000, 'w')")
      assert.strictEqual(claimed.length, 100)
    })
  )

  it.effect("a claim of ten keys does not read the messages that wait behind them", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* control.unsafe(`
        insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at,
          ordering_key)
        select 'keyed', n, 't', 'e', '{}', '{}', now(), now(), 'key ' || n % 20 from generate_series(1, 20000) n;
        analyze holdfast.message`)
      // a session that knows the tables
      const connection = yield* control.reserve
      const explain = "explain (analyze, buffers, format json) select * from holdfast.claim('keyed', 5, 1000, 'w')"
      yield* connection.execute(explain, [], undefined)
      const [row] = yield* connection.execute(explain, [], undefined)
      const plan = row["QUERY PLAN"][0].Plan
      assert.strictEqual(plan["Actual Rows"], 5)
      assert.isBelow(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], 500)
      const rest = yield* connection.execute("select id from holdfast.claim('keyed', 100, 1000, 'w')", [], undefined)
      assert.lengthOf(rest, 10)
    }).pipe(Effect.scoped)
  )

  it.effect(
    "a session that has planned its claims while the tables were empty goes through indexes when they are not",
    () =>
      Effect.gen(function* () {
        const { control } = yield* Scratch
        for (const table of ["message", "scheduled", "dead_letter"]) {
          yield* control.unsafe(`truncate holdfast.${table}`)
          // or it might see in time what has happened
          yield* control.unsafe(`alter table holdfast.${table} set (autovacuum_enabled = off)`)
          yield* control.unsafe(`vacuum analyze holdfast.${table}`)
        }
        const connection = yield* control.reserve
        const fill = (from: number, to: number, channel: string) => `
        insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at,
          ordering_key)
        select '${channel}', n, 't', 'e', '{}', '{}', now(), now(), 'key ' || n % 100 from generate_series(${from}, ${to}) n`
        yield* connection.executeRaw(fill(1, 30, "warm"), [])
        const claim = "select id from holdfast.claim('warm', 1, 60000, 'w')"
        yield* Effect.repeatN(connection.execute(claim, [], undefined), 11)
        yield* connection.executeRaw(fill(1, 20_000, "busy"), [])
        const explain = "explain (analyze, buffers, format json) select * from holdfast.claim('busy', 5, 60000, 'w')"
        const [row] = yield* connection.execute(explain, [], undefined)
        const plan = row["QUERY PLAN"][0].Plan
        assert.strictEqual(plan["Actual Rows"], 5)
        assert.isBelow(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], 1000)
      }).pipe(Effect.scoped)
  )
})
