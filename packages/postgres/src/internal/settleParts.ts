import type { Lease } from "@holdfast/core/MessageStore"
import { idOf, isQueued, numbers, priorityOf, shared } from "./leaseKey.ts"
import { count, leaseLost, type Part, unchecked } from "./part.ts"
import { content, interval, reschedulable, storable } from "./rows.ts"
import type { Staged } from "./staged.ts"

/**
 * What is settled: by rows that have leases of their own, and by rows of the queue, which share theirs.
 *
 * @internal
 */
export const settle = (staged: Staged): ReadonlyArray<Part> => {
  const { acknowledged, parked, retried } = staged
  const leases = [...acknowledged, ...retried, ...parked].map(({ lease }) => lease).filter(isQueued)
  if (leases.length === 1 && acknowledged.length === 1 && isQueued(acknowledged[0]!.lease)) {
    return [settleOne(leases[0]!), ...both(retried, retry, retryQueued), ...both(parked, park, parkQueued)]
  }
  return [
    ...(leases.length === 0 ? [] : [fence(leases)]),
    ...both(acknowledged, acknowledge, acknowledgeQueued),
    ...both(retried, retry, retryQueued),
    ...both(parked, park, parkQueued)
  ]
}

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

const acknowledge = (acknowledged: Staged["acknowledged"]): Part => ({
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

/** A message with an ordering key keeps its place. */
const retry = (retried: Staged["retried"]): Part => ({
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
        lease_token = null, lease_until = null, lease_owner = null, lease_peers = null, lease_begun = true,
        suspects = null
      from unnest(${$(1)}::bigint[], ${$(2)}::bigint[], ${$(3)}::text[], ${$(4)}::float8[]) l (id, token, history, after)
      where ${held("l.id", "l.token")} and m.ordering_key is not null returning 1)`
  ],
  result: `${count("retried")} + ${count("retried_in_place")}`,
  expected: retried.length,
  ...leaseLost
})

/** The message as it was, not as the consumer understood it: its payload is not decoded and encoded again. */
const park = (parked: Staged["parked"]): Part => ({
  name: "parked",
  params: [...leases(parked), ...verdicts(parked)],
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

const both = <A extends { readonly lease: Lease }>(
  settled: ReadonlyArray<A>,
  rows: (settled: ReadonlyArray<A>) => Part,
  queued: (settled: ReadonlyArray<A>) => Part
): ReadonlyArray<Part> => {
  const inQueue = settled.filter(({ lease }) => isQueued(lease))
  if (inQueue.length === 0) return settled.length === 0 ? [] : [rows(settled)]
  const others = settled.filter(({ lease }) => !isQueued(lease))
  return [...(others.length === 0 ? [] : [rows(others)]), queued(inQueue)]
}

/** What a unit with SQL of its own settles: by a function, whose plans the server keeps. */
const settleOne = (lease: Lease): Part => ({
  name: "settled",
  params: [lease.channel, priorityOf(lease), idOf(lease), lease.token],
  sql: (at, $) => [
    `settled as materialized (
      select ${at}settle(${$(1)}::text, ${$(2)}::int, ${$(3)}::bigint, ${$(4)}::bigint) as messages)`
  ],
  result: "(select messages from settled)",
  expected: 1,
  ...leaseLost
})

/** Holds the leases to the end of the transaction: nobody takes them away meanwhile, and renewing passes. */
const fence = (all: ReadonlyArray<Lease>): Part => {
  const leases = shared(all)
  return {
    name: "fenced",
    params: [leases.map(({ channel }) => channel), numbers(leases.map(({ token }) => token))],
    sql: (at, $) => [
      `fenced as materialized (
        select count(*) = cardinality(${$(2)}::bigint[]) as whole from (
          select from unnest(${$(1)}::text[], ${$(2)}::bigint[]) t (channel, id)
          join ${at}lease l on l.channel = t.channel and l.id = t.id
          where l.until > (select now from clock) order by l.id for key share of l) held)`
    ],
    result: "(select whole::int from fenced)",
    expected: 1,
    ...leaseLost
  }
}

const acknowledgeQueued = (acknowledged: Staged["acknowledged"]): Part => ({
  name: "dequeued",
  params: queued(acknowledged),
  sql: (at, $) => [
    `dequeued as (
      delete from ${at}queue q using unnest(${queuedTable($)}) l (channel, priority, id)
      where ${fenced} returning 1)`
  ],
  result: count("dequeued"),
  expected: acknowledged.length,
  ...leaseLost
})

const retryQueued = (retried: Staged["retried"]): Part => ({
  name: "requeued",
  params: [
    ...queued(retried),
    retried.map(({ failures }) => JSON.stringify(failures)),
    retried.map(({ afterMillis }) => afterMillis)
  ],
  sql: (at, $) => [
    `requeued as (
      delete from ${at}queue q
      using unnest(${queuedTable($)}, ${$(4)}::text[], ${$(5)}::float8[]) l (channel, priority, id, history, after)
      where ${fenced} returning q.*, l.history, l.after)`,
    `requeued_later as (
      insert into ${at}scheduled (${queuedColumns}, undelayed, created_at, failures, due_at)
      select ${queuedColumns}, undelayed, created_at, history, (select now from clock) + ${interval("after")}
      from requeued order by id)`
  ],
  result: count("requeued"),
  expected: retried.length,
  ...leaseLost
})

const parkQueued = (parked: Staged["parked"]): Part => ({
  name: "unqueued",
  params: [...queued(parked), ...verdicts(parked)],
  sql: (at, $) => [
    `unqueued as (
      delete from ${at}queue q
      using unnest(${queuedTable($)}, ${$(4)}::text[], ${$(5)}::int[], ${$(6)}::text[], ${$(7)}::text[], ${$(8)}::text[])
        l (channel, priority, id, history, attempt, reason, error, fingerprint)
      where ${fenced}
      returning q.*, l.history, l.attempt, l.reason, l.error, l.fingerprint)`,
    `unqueued_letters as (
      insert into ${at}dead_letter (${letters}, place)
      select channel, message_id, tag, endpoint, payload, headers, priority, history, attempt, reason, error, fingerprint,
        (select now from clock), null, id
      from unqueued order by id)`
  ],
  result: count("unqueued"),
  expected: parked.length,
  ...leaseLost
})

/** Nothing is deleted unless all leases hold. */
const fenced = `q.channel = l.channel and q.priority = l.priority and q.id = l.id and (select whole from fenced)`

const queued = (settled: ReadonlyArray<{ readonly lease: Lease }>) => [
  settled.map(({ lease }) => lease.channel),
  numbers(settled.map(({ lease }) => priorityOf(lease))),
  numbers(settled.map(({ lease }) => idOf(lease)))
]

const queuedTable = ($: (index: number) => string): string => `${$(1)}::text[], ${$(2)}::int[], ${$(3)}::bigint[]`

const queuedColumns = "channel, message_id, tag, endpoint, payload, headers, priority"

const verdicts = (parked: Staged["parked"]) => [
  parked.map(({ envelope }) => JSON.stringify(envelope.failures)),
  parked.map(({ envelope }) => envelope.attempt),
  parked.map(({ reason }) => reason),
  parked.map(({ error }) => storable(error)),
  parked.map(({ fingerprint }) => storable(fingerprint))
]

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
