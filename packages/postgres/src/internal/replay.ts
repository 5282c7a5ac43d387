import type { SqlError } from "@effect/sql/SqlError"
import * as Headers from "@holdfast/core/Headers"
import type { JournalEntry, Send } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { transaction } from "./commit.ts"
import type { Database } from "./database.ts"
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
): Effect.Effect<{ readonly count: number; readonly written: Written }, SqlError | MessagingError> =>
  Effect.map(
    transaction(database, (pg) =>
      Effect.gen(function* () {
        const { rows } = yield* query(pg, dig(database), [keys.filter(isKey)], database.timeoutMillis)
        const sorted = rows.toSorted((self, that) => number(self, "id") - number(that, "id"))
        const [elsewhere, ordered] = Arr.partition(sorted, (row) => row.place !== null && row.ordering_key !== null)
        yield* putBack(database, pg, ordered)
        const { channels, xid } = yield* write(database, pg, [[...elsewhere.map(sendOf), ...sorted.map(replayed)]])
        const woken = new Set([...channels, ...ordered.map((row) => text(row, "channel"))])
        return { xid, channels: woken, count: rows.length }
      })
    ),
    ({ count, ...written }) => ({ count, written })
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const dig = (database: Database) => ({
  name: undefined,
  text: `delete from ${database.at}dead_letter where id = any ($1::bigint[])
    returning id, channel, message_id, tag, endpoint, payload, headers, priority, ordering_key, place,
      ${millis(`${database.at}now()`)} as now`
})

const putBack = (database: Database, pg: Pg.ClientBase, rows: ReadonlyArray<Row>): Effect.Effect<unknown, SqlError> => {
  if (rows.length === 0) return Effect.void
  const insert = `insert into ${database.at}message (id, channel, message_id, tag, endpoint, payload, headers, priority,
      ordering_key, created_at, available_at)
    overriding system value
    select l.*, ${database.at}now(), ${database.at}now()
    from unnest($1::bigint[], ${[2, 3, 4, 5, 6, 7].map((index) => `$${index}::text[]`).join(", ")}, $8::int[], $9::text[]) l`
  const sends = rows.map(sendOf)
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
const replayed = (row: Row): JournalEntry => ({
  _tag: "JournalEntry",
  event: "Replayed",
  envelope: sendOf(row).envelope,
  channel: text(row, "channel"),
  due: undefined,
  durationMillis: undefined,
  worker: undefined,
  reason: undefined,
  error: undefined,
  payload: undefined
})

const sendOf = (row: Row): Send => ({
  _tag: "Send",
  channel: text(row, "channel"),
  envelope: {
    id: text(row, "message_id"),
    tag: text(row, "tag"),
    endpoint: text(row, "endpoint"),
    attempt: 1,
    headers: { ...JSON.parse(text(row, "headers")), [Headers.replayedAt]: text(row, "now") },
    payload: text(row, "payload"),
    failures: [],
    ...orderingKeyOf(row)
  },
  priority: number(row, "priority"),
  due: undefined,
  timer: undefined
})
