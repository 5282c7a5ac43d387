import * as Headers from "@holdfast/core/Headers"
import type { JournalEntry } from "@holdfast/core/MessageStore"
import { type Part, unchecked } from "./part.ts"
import { dueColumns, interval } from "./rows.ts"
import type { Staged } from "./staged.ts"

/**
 * The lines of the journal travel as one text: to write it costs less than an array for each of their many columns, most
 * of which are empty.
 *
 * @internal
 */
export const record = ({ journal }: Staged): Part => ({
  name: "recorded",
  params: [encode(journal)],
  sql: (at, $) => [
    `recorded as (
      insert into ${at}journal (at, event, message_id, tag, endpoint, channel, attempt, correlation_id, causation_id,
        tenant, trace_id, due_at, duration_ms, worker, reason, error, payload)
      select (select now from clock), e, m, t, p, c, a, r, f, n, x,
        coalesce((select now from clock) + ${interval("da")}, to_timestamp(dt / 1000.0)), l, w, y, z, b
      from json_to_recordset(${$(1)}::json) j (e text, m text, t text, p text, c text, a integer, r text, f text, n text,
        x text, da float8, dt float8, l float8, w text, y text, z text, b text))`
  ],
  ...unchecked
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const encode = (entries: ReadonlyArray<JournalEntry>): string => {
  const text = JSON.stringify(entries.map(short))
  return unstorable.test(text) ? JSON.stringify(entries.map(short), storable) : text
}

const short = ({ channel, due, durationMillis, envelope, error, event, payload, reason, worker }: JournalEntry) => {
  const { attempt, endpoint, headers, id, tag } = envelope
  const { after, at } = dueColumns(due)
  return {
    e: event,
    m: id,
    t: tag,
    p: endpoint,
    c: channel,
    a: attempt,
    r: headers[Headers.correlationId] ?? id,
    f: headers[Headers.causationId],
    n: headers[Headers.tenant],
    x: traceOf(headers[Headers.traceparent]),
    da: after ?? undefined,
    dt: at ?? undefined,
    l: durationMillis,
    w: worker,
    y: reason,
    z: error,
    b: payload
  }
}

const traceOf = (traceparent: string | undefined): string | undefined =>
  traceparent === undefined ? undefined : /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(traceparent)?.[1]

/** What JSON can say and PostgreSQL cannot keep in a text: the null character, and halves of characters. */
const unstorable = /\\u(?:0000|d[89a-f])/

const storable = (_: string, value: unknown): unknown =>
  typeof value === "string" ? value.replace(/\0|\p{Surrogate}/gu, "\ufffd") : value
