import type { SqlError } from "@effect/sql/SqlError"
import * as Headers from "@holdfast/core/Headers"
import type { JournalEntry, Send } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { transaction } from "./commit.ts"
import type { Database } from "./database.ts"
import { columns, locked } from "./letters.ts"
import { query, type Row } from "./pgQuery.ts"
import { isKey, millis, number, orderingKeyOf, text } from "./rows.ts"
import { type Written, write } from "./write.ts"

/**
 * Puts dead letters back to their channels, as if sent now; those with an ordering key in their old place.
 *
 * @internal
 */
export const replay = (
  database: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<Replayed, SqlError | MessagingError> =>
  transaction(database, (pg) => replayIn(database, pg, keys, undefined))

/** @internal */
export interface Replayed extends Written {
  /** Of those that were still there, oldest first. */
  readonly keys: ReadonlyArray<string>
}

/**
 * The same in a transaction that is open; as the first ones of a replay of many, if that is named.
 *
 * @internal
 */
export const replayIn = (
  database: Database,
  pg: Pg.ClientBase,
  keys: ReadonlyArray<string>,
  canaryOf: string | undefined
): Effect.Effect<Replayed, SqlError | MessagingError> =>
  Effect.gen(function* () {
    const { rows } = yield* query(pg, dig(database), [keys.filter(isKey)], database.timeoutMillis)
    const sorted = rows.toSorted((self, that) => number(self, "id") - number(that, "id"))
    const [elsewhere, ordered] = Arr.partition(sorted, (row) => row.place !== null && row.ordering_key !== null)
    const send = sendOf(canaryOf)
    yield* putBack(database, pg, ordered, ordered.map(send))
    const journal = sorted.map((row) => replayed(send(row)))
    const { channels, xid } = yield* write(database, pg, [[...elsewhere.map(send), ...journal]])
    return {
      xid,
      channels: new Set([...channels, ...ordered.map((row) => text(row, "channel"))]),
      keys: sorted.map((row) => text(row, "id"))
    }
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** What somebody has edited leaves its original with the archived ones. */
const dig = ({ at }: Database) => ({
  name: undefined,
  text: `with clock as materialized (select ${at}now() as now), ${locked(at, "$1")}, dug as (
      delete from ${at}dead_letter d using locked where d.id = locked.id returning d.*
    ), kept as (
      insert into ${at}archived_letter (${columns}, archived_at, replayed_at)
      select ${columns}, now, now from dug, clock where original is not null
    )
    select id, channel, message_id, tag, endpoint, payload, headers, priority, ordering_key, place, ${millis("now")} as now
    from dug, clock`
})

const putBack = (
  database: Database,
  pg: Pg.ClientBase,
  rows: ReadonlyArray<Row>,
  sends: ReadonlyArray<Send>
): Effect.Effect<unknown, SqlError> => {
  if (rows.length === 0) return Effect.void
  const insert = `insert into ${database.at}message (id, channel, message_id, tag, endpoint, payload, headers, priority,
      ordering_key, created_at, available_at)
    overriding system value
    select l.*, ${database.at}now(), ${database.at}now()
    from unnest($1::bigint[], ${[2, 3, 4, 5, 6, 7].map((index) => `$${index}::text[]`).join(", ")}, $8::int[], $9::text[]) l`
  const columns = [
    rows.map((row) => row.place),
    sends.map(({ channel }) => channel),
    sends.map(({ envelope }) => envelope.id),
    sends.map(({ envelope }) => envelope.tag),
    sends.map(({ envelope }) => envelope.endpoint),
    sends.map(({ envelope }) => envelope.payload),
    sends.map(({ envelope }) => JSON.stringify(envelope.headers)),
    sends.map(({ priority }) => priority),
    rows.map((row) => row.ordering_key)
  ]
  return query(pg, { name: undefined, text: insert }, columns, database.timeoutMillis)
}

/** What an operator does is in the journal in any case. */
const replayed = ({ channel, envelope }: Send): JournalEntry => ({
  _tag: "JournalEntry",
  event: "Replayed",
  envelope,
  channel,
  due: undefined,
  durationMillis: undefined,
  worker: undefined,
  reason: undefined,
  error: undefined,
  payload: undefined
})

const sendOf =
  (canaryOf: string | undefined) =>
  (row: Row): Send => {
    const { [Headers.canaryOf]: _, ...headers } = JSON.parse(text(row, "headers"))
    return {
      _tag: "Send",
      channel: text(row, "channel"),
      envelope: {
        id: text(row, "message_id"),
        tag: text(row, "tag"),
        endpoint: text(row, "endpoint"),
        attempt: 1,
        headers: {
          ...headers,
          [Headers.replayedAt]: text(row, "now"),
          [Headers.replayOf]: text(row, "id"),
          ...(canaryOf === undefined ? undefined : { [Headers.canaryOf]: canaryOf })
        },
        payload: text(row, "payload"),
        failures: [],
        ...orderingKeyOf(row)
      },
      priority: number(row, "priority"),
      due: undefined,
      timer: undefined
    }
  }
