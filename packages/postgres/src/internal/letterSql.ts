import type { DeadLetterFilter, DeadLetterRow } from "@holdfast/core/MessageStore"
import type { Row } from "./pgQuery.ts"
import { isKey, millis, number, orderingKeyOf, storable, text } from "./rows.ts"

/**
 * What a filter asks for, as SQL: only what it names, so that each combination has a plan of its own, under a name of
 * its own. Parameters count from `first`.
 *
 * @internal
 */
export interface Conditions {
  readonly code: string
  readonly sql: string
  /** Whether a letter has the text that is searched for. */
  readonly hit: string
  readonly params: ReadonlyArray<unknown>
}

/** @internal */
export const conditionsOf = (filter: DeadLetterFilter, first = 1): Conditions => {
  const params: Array<unknown> = []
  const parameter = (value: unknown) => `$${first - 1 + params.push(value)}`
  const parts: Array<string> = []
  let code = 0
  criteria.forEach(([name, condition], bit) => {
    const value = filter[name]
    if (value === undefined) return
    code += 2 ** bit
    parts.push(
      condition(
        parameter(typeof value === "string" ? storable(value) : Array.isArray(value) ? value.filter(isKey) : value)
      )
    )
  })
  const hit = filter.text === undefined ? "true" : contains(parameter(storable(filter.text)))
  return {
    code: `${filter.archived ? "a" : "d"}${code.toString(36)}${filter.text === undefined ? "" : "t"}`,
    sql: parts.length === 0 ? "true" : parts.join(" and "),
    hit,
    params
  }
}

/** @internal */
export const tableOf = (at: string, { archived }: DeadLetterFilter): string =>
  `${at}${archived ? "archived_letter" : "dead_letter"}`

/** What is shown of a letter; `d` is the table. @internal */
export const shown = (archived: boolean | undefined): string =>
  `d.id, d.channel, d.message_id, d.tag, d.endpoint, d.payload, d.headers, d.failures, d.attempt, d.reason, d.error,
   d.fingerprint, d.ordering_key, d.original, ${millis("d.parked_at")} as parked_at, ${millis("d.edited_at")} as edited_at,
   ${archived ? millis("d.archived_at") : "null"} as archived_at, ${archived ? millis("d.replayed_at") : "null"} as replayed_at`

/** @internal */
export const letterOf = (row: Row): DeadLetterRow => ({
  key: text(row, "id"),
  channel: text(row, "channel"),
  envelope: {
    id: text(row, "message_id"),
    tag: text(row, "tag"),
    endpoint: text(row, "endpoint"),
    attempt: number(row, "attempt"),
    headers: JSON.parse(text(row, "headers")),
    payload: text(row, "payload"),
    failures: JSON.parse(text(row, "failures")),
    ...orderingKeyOf(row)
  },
  reason: text(row, "reason") as DeadLetterRow["reason"],
  error: text(row, "error"),
  fingerprint: text(row, "fingerprint"),
  parkedAt: number(row, "parked_at"),
  ...(row.original == null ? undefined : { original: text(row, "original") }),
  ...(row.edited_at == null ? undefined : { editedAt: number(row, "edited_at") }),
  ...(row.archived_at == null ? undefined : { archivedAt: number(row, "archived_at") }),
  ...(row.replayed_at == null ? undefined : { replayedAt: number(row, "replayed_at") })
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const is = (column: string) => (parameter: string) => `d.${column} = ${parameter}::text`

const criteria: ReadonlyArray<
  readonly [
    "channel" | "endpoint" | "tag" | "id" | "fingerprint" | "reason" | "keys" | "since" | "until",
    (parameter: string) => string
  ]
> = [
  ["channel", is("channel")],
  ["endpoint", is("endpoint")],
  ["tag", is("tag")],
  ["id", is("message_id")],
  ["fingerprint", is("fingerprint")],
  ["reason", is("reason")],
  ["keys", (parameter) => `d.id = any (${parameter}::bigint[])`],
  // as whole milliseconds, which is how a letter shows its time
  ["since", (parameter) => `d.parked_at >= to_timestamp(${parameter}::float8 / 1000.0)`],
  ["until", (parameter) => `d.parked_at < to_timestamp((floor(${parameter}::float8) + 1) / 1000.0)`]
]

/** A fold of small and large letters, not a pattern: what is searched for may hold any character. */
const contains = (parameter: string): string =>
  `(strpos(lower(d.error), lower(${parameter}::text)) > 0 or strpos(lower(d.payload), lower(${parameter}::text)) > 0)`
