import type { SqlError } from "@effect/sql/SqlError"
import type { Due, Filter, SagaRow, Scheduled, Subscription } from "@holdfast/core/MessageStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Database, named } from "./database.ts"
import type { Row } from "./pgQuery.ts"
import { bool, dueColumns, envelopeOf, interval, isKey, millis, number, text, timerOf } from "./rows.ts"

/** @internal */
export const loadSaga = (
  database: Database,
  saga: string,
  id: string
): Effect.Effect<Option.Option<SagaRow>, SqlError> =>
  Effect.map(
    database.run(
      named(
        database,
        "load_saga",
        `select version, state, completed, timers from ${database.at}saga where saga = $1::text and id = $2::text`
      ),
      [saga, id]
    ),
    ([row]) => Option.map(Option.fromNullable(row), (row) => sagaRow(saga, id, row))
  )

/**
 * The states of several instances, in the order in which they are named.
 *
 * @internal
 */
export const loadSagas = (
  database: Database,
  asked: ReadonlyArray<{ readonly saga: string; readonly id: string }>
): Effect.Effect<ReadonlyArray<Option.Option<SagaRow>>, SqlError> => {
  if (asked.length === 1) return Effect.map(loadSaga(database, asked[0]!.saga, asked[0]!.id), (row) => [row])
  const statement = named(database, "load_sagas", loadSagasSql(database.at))
  return Effect.map(database.run(statement, [asked.map(({ saga }) => saga), asked.map(({ id }) => id)]), (rows) => {
    const found = new Map(rows.map((row) => [number(row, "place"), row]))
    return asked.map(({ id, saga }, index) =>
      Option.map(Option.fromNullable(found.get(index + 1)), (row) => sagaRow(saga, id, row))
    )
  })
}

/** Each is looked up by its key, however many the server takes an array to be. */
export const loadSagasSql = (at: string): string =>
  `select l.place, s.* from unnest($1::text[], $2::text[]) with ordinality l (saga, id, place)
   cross join lateral (
     select version, state, completed, timers from ${at}saga s where s.saga = l.saga and s.id = l.id limit 1) s`

/** @internal */
export const scheduled = (database: Database, filter: Filter): Effect.Effect<ReadonlyArray<Scheduled>, SqlError> => {
  const statement = named(
    database,
    "scheduled",
    `(select id::text as key, ${columns}, due_at as at, ${millis("due_at")} as due_at
      from ${database.at}scheduled where ${matching} and $5::text is null and held_by is null
      order by due_at, id limit $6::int)
     union all
     (select '${inPlace}' || id, ${columns}, available_at, ${millis("available_at")}
      from ${database.at}message where ${matching} and $5::text is null and ${waitsInPlace(database)}
      order by available_at limit $6::int)
     order by at limit $6::int`
  )
  return Effect.map(database.run(statement, [...parameters(filter), filter.limit ?? 100]), (rows) =>
    rows.map((row) => ({
      key: text(row, "key"),
      channel: text(row, "channel"),
      envelope: envelopeOf(row),
      dueAt: number(row, "due_at"),
      timer: timerOf(row)
    }))
  )
}

/**
 * Moves a scheduled message, and answers the channel to wake if it was still there.
 *
 * @internal
 */
export const reschedule = (
  database: Database,
  key: string,
  due: Due
): Effect.Effect<Option.Option<string>, SqlError> => {
  if (!isKey(idOf(key))) return Effect.succeedNone
  const { after, at } = dueColumns(due)
  const then = `coalesce(${database.at}now() + ${interval("$2::float8")}, to_timestamp($3::float8 / 1000.0))`
  const statement = key.startsWith(inPlace)
    ? named(
        database,
        "reschedule_in_place",
        `update ${database.at}message set available_at = ${then}
         where id = $1::bigint and ${waitsInPlace(database)} returning channel`
      )
    : named(
        database,
        "reschedule",
        `update ${database.at}scheduled set due_at = ${then} where id = $1::bigint and held_by is null returning channel`
      )
  return channelOf(database.run(statement, [idOf(key), after, at]))
}

/**
 * Cancels a scheduled message, and answers the channel to wake if it was still there: others may have waited for it.
 *
 * @internal
 */
export const cancelScheduled = (database: Database, key: string): Effect.Effect<Option.Option<string>, SqlError> => {
  if (!isKey(idOf(key))) return Effect.succeedNone
  const statement = key.startsWith(inPlace)
    ? named(
        database,
        "cancel_in_place",
        `delete from ${database.at}message where id = $1::bigint and ${waitsInPlace(database)} returning channel`
      )
    : named(
        database,
        "cancel_scheduled",
        `delete from ${database.at}scheduled where id = $1::bigint and held_by is null returning channel`
      )
  return channelOf(database.run(statement, [idOf(key)]))
}

/** @internal */
export const depth = (
  database: Database,
  channel: string
): Effect.Effect<
  { readonly ready: number; readonly scheduled: number; readonly held?: number | undefined },
  SqlError
> =>
  Effect.map(
    database.run(
      named(
        database,
        "depth",
        `select (select count(*) from ${database.at}message where channel = $1::text)
             + (select count(*) from ${database.at}queue where channel = $1::text) as present,
           (select count(*) from ${database.at}message where channel = $1::text and ${waitsInPlace(database)}) as waiting,
           (select count(*) from ${database.at}scheduled where channel = $1::text) as scheduled,
           (select count(*) from ${database.at}scheduled where channel = $1::text and held_by is not null) as aside,
           (select count(*) from ${database.at}message where channel = $1::text and held_by is not null) as held`
      ),
      [channel]
    ),
    ([row]) => {
      const waiting = number(row!, "waiting")
      const held = number(row!, "held")
      const aside = number(row!, "aside")
      return {
        ready: number(row!, "present") - waiting - held,
        scheduled: number(row!, "scheduled") - aside + waiting,
        ...(aside + held === 0 ? undefined : { held: aside + held })
      }
    }
  )

/** @internal */
export const subscribe = (
  database: Database,
  subscriptions: ReadonlyArray<Subscription>
): Effect.Effect<void, SqlError> => {
  const once = new Map(subscriptions.map((_) => [JSON.stringify([_.endpoint, _.tag]), _]))
  const all = Array.from(once.values())
  const statement = named(
    database,
    "subscribe",
    `insert into ${database.at}subscription (endpoint, tag, channel, ordered, seen_at)
     select endpoint, tag, channel, ordered, ${database.at}now()
     from unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) l (endpoint, tag, channel, ordered)
     order by endpoint, tag
     on conflict (endpoint, tag) do update
     set channel = excluded.channel, ordered = excluded.ordered, seen_at = excluded.seen_at`
  )
  const columns = [
    all.map((_) => _.endpoint),
    all.map((_) => _.tag),
    all.map((_) => _.channel),
    all.map((_) => _.ordered ?? false)
  ]
  return Effect.asVoid(database.run(statement, columns))
}

/** @internal */
export const unsubscribe = (database: Database, endpoint: string): Effect.Effect<void, SqlError> =>
  Effect.asVoid(
    database.run(named(database, "unsubscribe", `delete from ${database.at}subscription where endpoint = $1::text`), [
      endpoint
    ])
  )

/** @internal */
export const subscriptions = (database: Database): Effect.Effect<ReadonlyArray<Subscription>, SqlError> =>
  Effect.map(
    database.run(
      named(
        database,
        "subscriptions",
        `select tag, endpoint, channel, ordered from ${database.at}subscription order by endpoint, tag`
      ),
      []
    ),
    (rows) =>
      rows.map((row) => ({
        tag: text(row, "tag"),
        endpoint: text(row, "endpoint"),
        channel: text(row, "channel"),
        ...(bool(row, "ordered") ? { ordered: true } : undefined)
      }))
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const sagaRow = (saga: string, id: string, row: Row): SagaRow => ({
  saga,
  id,
  version: number(row, "version"),
  state: text(row, "state"),
  completed: bool(row, "completed"),
  timers: JSON.parse(text(row, "timers"))
})

const matching = `($1::text is null or channel = $1::text) and ($2::text is null or endpoint = $2::text)
  and ($3::text is null or tag = $3::text) and ($4::text is null or message_id = $4::text)`

const columns =
  "channel, message_id, tag, endpoint, payload, headers, failures, crashes, timer_owner, timer_name, ordering_key"

/** A message with an ordering key waits for its retry where it is. */
const waitsInPlace = ({ at }: Database): string =>
  `ordering_key is not null and lease_until is null and available_at > (select ${at}now()) and held_by is null`

/** Tells the keys of those from the keys of the scheduled ones. */
const inPlace = "m"

const idOf = (key: string): string => (key.startsWith(inPlace) ? key.slice(inPlace.length) : key)

const parameters = (filter: Filter) => [
  filter.channel ?? null,
  filter.endpoint ?? null,
  filter.tag ?? null,
  filter.id ?? null,
  filter.fingerprint ?? null
]

const channelOf = (rows: Effect.Effect<ReadonlyArray<Row>, SqlError>): Effect.Effect<Option.Option<string>, SqlError> =>
  Effect.map(rows, ([row]) => Option.map(Option.fromNullable(row), (row) => text(row, "channel")))
