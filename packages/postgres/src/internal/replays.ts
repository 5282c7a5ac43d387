import type { SqlError } from "@effect/sql/SqlError"
import type { Replay, ReplayRequest, ReplayState, ReplayStep } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Pg from "pg"
import { transaction } from "./commit.ts"
import { type Database, named } from "./database.ts"
import { conditionsOf, tableOf } from "./letterSql.ts"
import { readForText } from "./letters.ts"
import { query, type Row, type Statement } from "./pgQuery.ts"
import { replayIn } from "./replay.ts"
import { interval, isKey, millis, number, storable, text } from "./rows.ts"

/**
 * Notes what is to be replayed: all that match now. Those of long ago are forgotten.
 *
 * @internal
 */
export const startReplay = (database: Database, request: ReplayRequest): Effect.Effect<Replay, SqlError> => {
  const { at } = database
  const { canary, filter, rate } = request
  const { code, hit, params, sql } = conditionsOf(filter, 5)
  const statement = named(
    database,
    `start_replay_${code}`,
    `with clock as materialized (select ${at}now() as now), forgotten as (
       delete from ${at}replay where state not in (${active}) and updated_at < (select now from clock) - interval '30 days'
     )
     insert into ${at}replay (filter, canary, rate_limit, rate_interval_ms, total, up_to, created_at, updated_at, next_at)
     select $1::text, $2::int, $3::int, $4::float8,
       (select count(*) from ${tableOf(at, filter)} d where ${sql} and ${hit}),
       (select coalesce(max(id), 0) from ${at}dead_letter), now, now, now
     from clock returning ${shown}`
  )
  const values = [JSON.stringify(filter), canary, rate?.limit ?? null, rate?.intervalMillis ?? null, ...params]
  return Effect.map(database.run(statement, values), ([row]) => replayOf(row!))
}

/** @internal */
export const replays = (
  database: Database,
  { due, limit }: { readonly due: boolean; readonly limit: number }
): Effect.Effect<ReadonlyArray<Replay>, SqlError> => {
  const statement = due
    ? named(database, "due_replays", dueReplays(database.at))
    : named(database, "replays", `select ${shown} from ${database.at}replay order by id desc limit $1::int`)
  return Effect.map(database.run(statement, [limit]), (rows) => rows.map(replayOf))
}

/** @internal */
export const dueReplays = (at: string): string =>
  `select ${shown} from ${at}replay where state in (${active}) and next_at <= (select ${at}now()) order by next_at, id
   limit $1::int`

/**
 * One step, in one transaction: whoever comes second finds another version. Answers how many letters went back and which
 * channels to wake.
 *
 * @internal
 */
export const advanceReplay = (
  database: Database,
  step: ReplayStep
): Effect.Effect<
  Option.Option<{ readonly count: number; readonly channels: ReadonlySet<string> }>,
  SqlError | MessagingError
> =>
  isKey(step.id)
    ? Effect.map(
        transaction(database, (pg) => advance(database, pg, step)),
        ({ taken }) => taken
      )
    : Effect.succeedNone

/** @internal */
export const cancelReplay = (database: Database, id: string): Effect.Effect<boolean, SqlError> => {
  if (!isKey(id)) return Effect.succeed(false)
  const statement = named(
    database,
    "cancel_replay",
    `update ${database.at}replay set state = 'Cancelled', version = version + 1, updated_at = ${database.at}now()
     where id = $1::bigint and state in (${active}) returning 1`
  )
  return Effect.map(database.run(statement, [id]), (rows) => rows.length === 1)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const active = "'Pending', 'Canary', 'Running'"

const shown = `id, filter, canary, rate_limit, rate_interval_ms, state, detail, total, replayed, canaries, version,
  ${millis("created_at")} as created_at, ${millis("updated_at")} as updated_at`

const replayOf = (row: Row): Replay => ({
  id: text(row, "id"),
  filter: JSON.parse(text(row, "filter")),
  canary: number(row, "canary"),
  rate:
    row.rate_limit == null
      ? undefined
      : { limit: number(row, "rate_limit"), intervalMillis: number(row, "rate_interval_ms") },
  state: text(row, "state") as ReplayState,
  detail: row.detail == null ? undefined : text(row, "detail"),
  total: number(row, "total"),
  replayed: number(row, "replayed"),
  canaries: JSON.parse(text(row, "canaries")),
  createdAt: number(row, "created_at"),
  updatedAt: number(row, "updated_at"),
  version: number(row, "version")
})

const advance = (database: Database, pg: Pg.ClientBase, step: ReplayStep) =>
  Effect.gen(function* () {
    const { at, timeoutMillis } = database
    const run = (statement: Statement, values: ReadonlyArray<unknown>) =>
      Effect.map(query(pg, statement, values, timeoutMillis), ({ rows }) => rows)
    const [row] = yield* run(
      named(
        database,
        "take_replay",
        `select filter, position, up_to, pg_current_xact_id()::text as xid from ${at}replay
         where id = $1::bigint and version = $2::bigint and state in (${active}) for update`
      ),
      [step.id, step.version]
    )
    if (row === undefined) {
      const [now] = yield* run(named(database, "xact_id", "select pg_current_xact_id()::text as xid"), [])
      return { xid: text(now!, "xid"), taken: Option.none() }
    }
    const { isLast, keys: chosen, position } = yield* choose(database, run, step, row)
    // others may have taken some of them meanwhile: nobody waits for those
    const { channels, keys } =
      chosen.length === 0
        ? { channels: new Set<string>(), keys: chosen }
        : yield* replayIn(database, pg, chosen, step.canary ? step.id : undefined)
    const isDone = isLast && !(step.canary && keys.length > 0)
    // the text was in none of those that were looked at: the step is still to be taken
    const goesOn = step.limit > 0 && keys.length === 0
    yield* run(
      named(
        database,
        "advance_replay",
        `update ${at}replay set state = $2::text, detail = $3::text, replayed = replayed + $4::int, position = $5::bigint,
           canaries = coalesce($6::text, canaries), version = version + 1, updated_at = ${at}now(),
           next_at = ${at}now() + ${interval("$7::float8")}
         where id = $1::bigint`
      ),
      [
        step.id,
        isDone ? "Done" : goesOn && step.canary ? "Pending" : step.state,
        step.detail === undefined ? null : storable(step.detail),
        keys.length,
        position,
        step.canary ? JSON.stringify(keys) : null,
        goesOn ? 0 : step.afterMillis
      ]
    )
    return { xid: text(row, "xid"), taken: Option.some({ count: keys.length, channels }) }
  })

/** The next letters, oldest first, and how far that has looked. */
const choose = (
  database: Database,
  run: (statement: Statement, values: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SqlError>,
  { limit }: ReplayStep,
  row: Row
) => {
  const before = text(row, "position")
  if (limit === 0) return Effect.succeed({ isLast: false, keys: [] as ReadonlyArray<string>, position: before })
  const filter = JSON.parse(text(row, "filter"))
  const { code, hit, params, sql } = conditionsOf(filter, 4)
  const most = filter.text === undefined ? limit : Math.max(limit, readForText)
  const statement = named(
    database,
    `replay_next_${code}`,
    `select d.id, ${hit} as hit from ${tableOf(database.at, filter)} d
     where d.id > $1::bigint and d.id <= $2::bigint and ${sql} order by d.id limit $3::int`
  )
  return Effect.map(run(statement, [before, row.up_to, most, ...params]), (looked) => {
    const found = looked.filter(({ hit }) => hit === "t").map((each) => text(each, "id"))
    const keys = found.slice(0, limit)
    const cut = found.length > keys.length
    const last = cut ? keys.at(-1) : looked.at(-1)?.id
    return { keys, position: last ?? before, isLast: !cut && looked.length < most }
  })
}
