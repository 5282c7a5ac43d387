import { count, leaseLost, type Part, unchecked } from "./part.ts"
import { content, interval, reschedulable, storable } from "./rows.ts"
import type { Staged } from "./staged.ts"

/** @internal */
export const acknowledge = ({ acknowledged }: Staged): Part => ({
  name: "acknowledged",
  params: leases(acknowledged),
  sql: (at, $) => [
    `acknowledged as (
      delete from ${at}message m using unnest(${$(1)}::bigint[], ${$(2)}::bigint[]) l (id, token)
      where ${held("l.id", "l.token")} returning 1)`
  ],
  result: count("acknowledged"),
  expected: acknowledged.length,
  ...leaseLost
})

/**
 * A message with an ordering key keeps its place.
 *
 * @internal
 */
export const retry = ({ retried }: Staged): Part => ({
  name: "retried",
  params: [
    ...leases(retried),
    retried.map(({ failures }) => JSON.stringify(failures)),
    retried.map(({ afterMillis }) => afterMillis)
  ],
  sql: (at, $) => [
    `retried as (
      delete from ${at}message m
      using unnest(${$(1)}::bigint[], ${$(2)}::bigint[], ${$(3)}::text[], ${$(4)}::float8[]) l (id, token, history, after)
      where ${held("l.id", "l.token")} and m.ordering_key is null returning m.*, l.history, l.after)`,
    `rescheduled as (
      insert into ${at}scheduled (${content}, due_at)
      select ${reschedulable(at, "retried", "history")}, (select now from clock) + ${interval("after")}
      from retried order by id)`,
    `retried_in_place as (
      update ${at}message m
      set failures = l.history, available_at = (select now from clock) + ${interval("l.after")},
        lease_token = null, lease_until = null, lease_owner = null
      from unnest(${$(1)}::bigint[], ${$(2)}::bigint[], ${$(3)}::text[], ${$(4)}::float8[]) l (id, token, history, after)
      where ${held("l.id", "l.token")} and m.ordering_key is not null returning 1)`
  ],
  result: `${count("retried")} + ${count("retried_in_place")}`,
  expected: retried.length,
  ...leaseLost
})

/**
 * The message as it was, not as the consumer understood it: its payload is not decoded and encoded again.
 *
 * @internal
 */
export const park = ({ parked }: Staged): Part => ({
  name: "parked",
  params: [
    ...leases(parked),
    parked.map(({ envelope }) => JSON.stringify(envelope.failures)),
    parked.map(({ envelope }) => envelope.attempt),
    parked.map(({ reason }) => reason),
    parked.map(({ error }) => storable(error)),
    parked.map(({ fingerprint }) => storable(fingerprint))
  ],
  sql: (at, $) => [
    `parked as (
      delete from ${at}message m
      using unnest(${$(1)}::bigint[], ${$(2)}::bigint[], ${$(3)}::text[], ${$(4)}::int[], ${$(5)}::text[], ${$(6)}::text[],
        ${$(7)}::text[]) l (id, token, history, attempt, reason, error, fingerprint)
      where ${held("l.id", "l.token")}
      returning m.*, l.history, l.attempt, l.reason, l.error, l.fingerprint)`,
    `letters as (
      insert into ${at}dead_letter (${letters}, place)
      select channel, message_id, tag, endpoint, payload, headers, priority, history, attempt, reason, error, fingerprint,
        (select now from clock), ordering_key, id
      from parked order by id)`
  ],
  result: count("parked"),
  expected: parked.length,
  ...leaseLost
})

/** @internal */
export const bury = ({ buried }: Staged): Part => ({
  name: "buried",
  params: [
    buried.map(({ channel }) => channel),
    buried.map(({ envelope }) => envelope.id),
    buried.map(({ envelope }) => envelope.tag),
    buried.map(({ envelope }) => envelope.endpoint),
    buried.map(({ envelope }) => storable(envelope.payload)),
    buried.map(({ envelope }) => JSON.stringify(envelope.headers)),
    buried.map(({ envelope }) => JSON.stringify(envelope.failures)),
    buried.map(({ envelope }) => envelope.attempt),
    buried.map(({ reason }) => reason),
    buried.map(({ error }) => storable(error)),
    buried.map(({ fingerprint }) => storable(fingerprint)),
    buried.map(({ envelope }) => envelope.orderingKey ?? null)
  ],
  sql: (at, $) => [
    `buried as (
      insert into ${at}dead_letter (${letters})
      select channel, message_id, tag, endpoint, payload, headers, 0, failures, attempt, reason, error, fingerprint,
        (select now from clock), ordering_key
      from unnest(${[1, 2, 3, 4, 5, 6, 7].map((index) => `${$(index)}::text[]`).join(", ")}, ${$(8)}::int[],
        ${[9, 10, 11, 12].map((index) => `${$(index)}::text[]`).join(", ")})
        l (channel, message_id, tag, endpoint, payload, headers, failures, attempt, reason, error, fingerprint, ordering_key))`
  ],
  ...unchecked
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** The rows under these leases; an expired lease holds nothing, whether or not somebody else has taken the row. */
const held = (id: string, token: string): string =>
  `m.id = l.id and m.lease_token = l.token and m.lease_until > (select now from clock)`
    .replace("l.id", id)
    .replace("l.token", token)

const leases = (settled: ReadonlyArray<{ readonly lease: { readonly key: string; readonly token: string } }>) => [
  settled.map(({ lease }) => lease.key),
  settled.map(({ lease }) => lease.token)
]

const letters =
  "channel, message_id, tag, endpoint, payload, headers, priority, failures, attempt, reason, error, fingerprint, parked_at, ordering_key"
