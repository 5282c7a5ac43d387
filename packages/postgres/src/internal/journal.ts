import type { SqlError } from "@effect/sql/SqlError"
import type { JournalEvent, JournalQuery, JournalRow, ParkReason } from "@holdfast/core/MessageStore"
import * as Effect from "effect/Effect"
import { type Database, named } from "./database.ts"
import type { Row, Statement } from "./pgQuery.ts"
import { isKey, millis, number, text } from "./rows.ts"

/**
 * What is asked for, by the index of a message, of a conversation, or of the time.
 *
 * @internal
 */
export const read = (database: Database, query: JournalQuery): Effect.Effect<ReadonlyArray<JournalRow>, SqlError> => {
  const { statement, values } = reading(database, query)
  return Effect.map(database.run(statement, values), (rows) => rows.map(rowOf))
}

/** @internal */
export const reading = (
  database: Pick<Database, "at" | "schema">,
  query: JournalQuery
): { readonly statement: Statement; readonly values: ReadonlyArray<unknown> } => {
  const newestFirst = query.order === "NewestFirst"
  const place = query.after?.split("-")
  const values: Array<unknown> = []
  const $ = (value: unknown) => `$${values.push(value)}`
  const conditions = [
    ["i", query.id, (id: string) => `j.message_id = ${$(id)}::text`],
    ["r", query.correlationId, (id: string) => `j.correlation_id = ${$(id)}::text`],
    ["c", query.channel, (channel: string) => `j.channel = ${$(channel)}::text`],
    ["p", query.endpoint, (endpoint: string) => `j.endpoint = ${$(endpoint)}::text`],
    ["t", query.tag, (tag: string) => `j.tag = ${$(tag)}::text`],
    ["e", query.event, (event: string) => `j.event = ${$(event)}::text`],
    ["s", query.since, (time: number) => `j.at >= to_timestamp(${$(time)}::float8 / 1000.0)`],
    ["u", query.until, (time: number) => `j.at < to_timestamp(${$(time)}::float8 / 1000.0)`],
    [
      newestFirst ? "b" : "a",
      place,
      ([micros, id]: ReadonlyArray<string>) =>
        `(j.at, j.id) ${newestFirst ? "<" : ">"} (${instant(`${$(micros)}::bigint`)}, ${$(isKey(id!) ? id : "0")}::bigint)`
    ]
  ] as ReadonlyArray<readonly [string, unknown, (value: any) => string]>
  const given = conditions.filter(([, value]) => value !== undefined)
  const where = given.map(([, value, condition]) => condition(value)).join(" and ")
  const way = newestFirst ? "desc" : "asc"
  return {
    statement: named(
      database,
      `journal_${given.map(([name]) => name).join("")}_${way}`,
      `select ${columns} from ${database.at}journal j${where === "" ? "" : ` where ${where}`}
       order by ${query.correlationId === undefined ? "" : `j.correlation_id ${way}, `}j.at ${way}, j.id ${way}
       limit ${$(query.limit ?? 100)}::int`
    ),
    values
  }
}

/**
 * Forgets what is older, in batches: each is the beginning of the index of the time.
 *
 * @internal
 */
export const forget = (database: Database, olderThanMillis: number): Effect.Effect<void, SqlError> => {
  if (!Number.isFinite(olderThanMillis)) return Effect.void
  const { at } = database
  // each begins where the last one ended: what was removed stands before it until it is vacuumed
  const statement = named(
    database,
    "forget_journal",
    `with old as (
       select at, id from ${at}journal
       where at >= $2::timestamptz and at < (select ${at}now()) - $1::float8 * interval '1 millisecond'
       order by at, id limit ${batch} for update skip locked
     ), removed as (
       delete from ${at}journal j using old where j.at = old.at and j.id = old.id
     )
     select count(*)::int as count, max(at)::text as last from old`
  )
  const untilDone = (from: string): Effect.Effect<void, SqlError> =>
    Effect.flatMap(database.run(statement, [olderThanMillis, from]), ([row]) =>
      row === undefined || number(row, "count") < batch ? Effect.void : untilDone(text(row, "last"))
    )
  return untilDone("-infinity")
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const batch = 5000

const micros = (time: string): string => `(extract(epoch from ${time}) * 1000000)::bigint`

const instant = (value: string): string => `timestamptz 'epoch' + ${value} * interval '1 microsecond'`

const columns =
  `${micros("at")} || '-' || id as key, event, ${millis("at")} as at, message_id, tag, endpoint, channel, attempt, ` +
  `correlation_id, causation_id, tenant, trace_id, ${millis("due_at")} as due_at, duration_ms, worker, reason, error, payload`

const rowOf = (row: Row): JournalRow => ({
  key: text(row, "key"),
  event: text(row, "event") as JournalEvent,
  at: number(row, "at"),
  id: text(row, "message_id"),
  tag: text(row, "tag"),
  endpoint: text(row, "endpoint"),
  channel: row.channel ?? undefined,
  attempt: number(row, "attempt"),
  correlationId: text(row, "correlation_id"),
  causationId: row.causation_id ?? undefined,
  tenant: row.tenant ?? undefined,
  traceId: row.trace_id ?? undefined,
  dueAt: row.due_at === null ? undefined : number(row, "due_at"),
  durationMillis: row.duration_ms === null ? undefined : number(row, "duration_ms"),
  worker: row.worker ?? undefined,
  reason: (row.reason ?? undefined) as ParkReason | undefined,
  error: row.error ?? undefined,
  payload: row.payload ?? undefined
})
