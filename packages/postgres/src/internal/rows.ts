import { type Envelope, type Failure, failureCount } from "@holdfast/core/Envelope"
import type { Due, Timer } from "@holdfast/core/MessageStore"
import type { Row } from "./pgQuery.ts"

/** The columns that every table of messages shares. */
export const content =
  "channel, message_id, tag, endpoint, payload, headers, priority, failures, crashes, undelayed, timer_owner, timer_name, ordering_key, created_at"

/** A time as whole milliseconds since 1970. */
export const millis = (time: string): string => `floor(extract(epoch from ${time}) * 1000)::bigint`

/** An interval of as many milliseconds. */
export const interval = (amount: string): string => `(${amount} * interval '1 millisecond')`

/** @internal */
export const number = (row: Row, column: string): number => Number(row[column])

/** @internal */
export const text = (row: Row, column: string): string => row[column] ?? ""

/** @internal */
export const bool = (row: Row, column: string): boolean => row[column] === "t"

/** @internal */
export const envelopeOf = (row: Row): Envelope => {
  const failures: ReadonlyArray<Failure> = JSON.parse(text(row, "failures"))
  return {
    id: text(row, "message_id"),
    tag: text(row, "tag"),
    endpoint: text(row, "endpoint"),
    attempt: failureCount(failures) + number(row, "crashes") + 1,
    headers: JSON.parse(text(row, "headers")),
    payload: text(row, "payload"),
    failures,
    ...orderingKeyOf(row)
  }
}

/** @internal */
export const orderingKeyOf = (row: Row): Pick<Envelope, "orderingKey"> =>
  row.ordering_key === null ? {} : { orderingKey: text(row, "ordering_key") }

/** @internal */
export const timerOf = (row: Row): Timer | undefined =>
  row.timer_owner === null ? undefined : { owner: text(row, "timer_owner"), name: text(row, "timer_name") }

/** How a due time travels: a delay, or an instant, or neither. */
export const dueColumns = (due: Due | undefined): { readonly after: number | null; readonly at: number | null } => ({
  after: due?._tag === "After" ? due.millis : null,
  at: due?._tag === "At" ? due.epochMillis : null
})

/** Whether the text can be the key of a row: every other one finds none. */
export const isKey = (key: string): boolean => /^\d{1,18}$/.test(key)

/** What PostgreSQL cannot keep in a text is replaced. */
export const storable = (value: string): string => value.replaceAll("\u0000", "\ufffd")

/**
 * A message's columns on its way back to the scheduled ones. A timer's message keeps its name, unless the timer was
 * armed again in the meantime.
 *
 * @internal
 */
export const reschedulable = (at: string, row: string, failures: string): string =>
  content.replace("failures", failures).replace("timer_owner", freeTimer(at, row))

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const freeTimer = (at: string, row: string): string =>
  `case when exists (
    select from ${at}scheduled t where t.timer_owner = ${row}.timer_owner and t.timer_name = ${row}.timer_name
  ) then null else ${row}.timer_owner end`
