import type { SqlError } from "@effect/sql/SqlError"
import type { Delivery, Encoded, Lease } from "@holdfast/core/MessageStore"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Database, named } from "./database.ts"
import type { Row } from "./pgQuery.ts"
import { bool, content, envelopeOf, interval, millis, number, reschedulable, text } from "./rows.ts"

/**
 * Claims the next messages; the function is called only for a channel that is not paused. If it is interrupted, what it
 * claimed is given back, so that nobody counts it as a lost consumer.
 *
 * @internal
 */
export const claim = (
  database: Database,
  options: Parameters<Encoded["claim"]>[0]
): Effect.Effect<ReadonlyArray<Delivery>, SqlError> => {
  const statement = named(
    database,
    "claim",
    `with open as materialized (
       select $1::text as channel where not exists (select from ${database.at}paused where channel = $1::text)
     )
     select m.id::text, m.channel, message_id, tag, endpoint, payload, headers, failures, crashes, priority, undelayed,
       ordering_key, lease_token,
       ${millis("lease_until")} as lease_until, ${millis("available_at")} as available_at
     from open, lateral ${database.at}claim(open.channel, $2::int, $3::float8, $4::text, $5::boolean) m
     order by m.priority desc, m.id`
  )
  const { ahead, channel, leaseMillis, limit, owner } = options
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkDaemon(database.run(statement, [channel, limit, leaseMillis, owner, ahead ?? false])),
      (fiber) =>
        restore(Fiber.join(fiber)).pipe(
          Effect.map((rows) => rows.map((row) => deliveryOf(row, leaseMillis))),
          Effect.onInterrupt(() => Effect.forkDaemon(giveBack(database, fiber, leaseMillis)))
        )
    )
  )
}

/**
 * Marks what was claimed ahead as begun.
 *
 * @internal
 */
export const started = (database: Database, leases: ReadonlyArray<Lease>): Effect.Effect<void, SqlError> => {
  const statement = named(
    database,
    "started",
    `update ${database.at}message m set lease_begun = true
     from unnest($1::bigint[], $2::bigint[]) l (id, token)
     where m.id = l.id and m.lease_token = l.token and m.lease_until > (select ${database.at}now())`
  )
  return Effect.asVoid(database.run(statement, keysOf(leases)))
}

/**
 * Extends leases that have not run out, and answers the others. A message that is just being settled is left alone:
 * waiting for the end of its transaction, which a broker may hold up, would let the other leases run out.
 *
 * @internal
 */
export const renew = (
  database: Database,
  leases: ReadonlyArray<Lease>,
  leaseMillis: number
): Effect.Effect<ReadonlyArray<Lease>, SqlError> => {
  const statement = named(
    database,
    "renew",
    `with clock as materialized (select ${database.at}now() as now), held as materialized (
       select m.id, m.lease_token from ${database.at}message m
       join unnest($1::bigint[], $2::bigint[]) l (id, token) on m.id = l.id and m.lease_token = l.token
       where m.lease_until > (select now from clock)
     ), free as materialized (
       select m.id, m.lease_token from ${database.at}message m
       where m.id in (select id from held) and m.lease_until > (select now from clock) for update skip locked
     ), renewed as (
       update ${database.at}message m set lease_until = (select now from clock) + ${interval("$3::float8")}
       from free where m.id = free.id and m.lease_token = free.lease_token
     )
     select id, lease_token from held`
  )
  return Effect.map(database.run(statement, [...keysOf(leases), leaseMillis]), (rows) => {
    const kept = new Set(rows.map((row) => `${row.id} ${row.lease_token}`))
    return leases.filter(({ key, token }) => !kept.has(`${key} ${token}`))
  })
}

/**
 * Gives messages back: at once where they were, or later as scheduled ones; where they were in any case if they have an
 * ordering key.
 *
 * @internal
 */
export const release = (
  database: Database,
  leases: ReadonlyArray<Lease>,
  afterMillis: number
): Effect.Effect<void, SqlError> => {
  const { at } = database
  const held = `m.id = l.id and m.lease_token = l.token and m.lease_until > (select now from clock)`
  const statement =
    afterMillis > 0
      ? named(
          database,
          "release_later",
          `with clock as materialized (select ${at}now() as now), released as (
             delete from ${at}message m using unnest($1::bigint[], $2::bigint[]) l (id, token)
             where ${held} and m.ordering_key is null returning m.*
           ), kept as (
             update ${at}message m set lease_token = null, lease_until = null, lease_owner = null,
               available_at = (select now from clock) + ${interval("$3::float8")}
             from unnest($1::bigint[], $2::bigint[]) l (id, token) where ${held} and m.ordering_key is not null
           )
           insert into ${at}scheduled (${content}, due_at)
           select ${reschedulable(at, "released", "failures")}, (select now from clock) + ${interval("$3::float8")}
           from released order by id`
        )
      : named(
          database,
          "release",
          `with clock as materialized (select ${at}now() as now)
           update ${at}message m set lease_token = null, lease_until = null, lease_owner = null
           from unnest($1::bigint[], $2::bigint[]) l (id, token) where ${held}`
        )
  return Effect.asVoid(database.run(statement, [...keysOf(leases), ...(afterMillis > 0 ? [afterMillis] : [])]))
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const deliveryOf = (row: Row, leaseMillis: number): Delivery => ({
  lease: {
    channel: text(row, "channel"),
    key: text(row, "id"),
    token: text(row, "lease_token"),
    ...(row.ordering_key === null ? undefined : { ordered: true })
  },
  envelope: envelopeOf(row),
  claimedAt: number(row, "lease_until") - leaseMillis,
  availableAt: number(row, "available_at"),
  crashes: number(row, "crashes"),
  priority: number(row, "priority"),
  undelayed: bool(row, "undelayed")
})

const giveBack = (
  database: Database,
  fiber: Fiber.Fiber<ReadonlyArray<Row>, SqlError>,
  leaseMillis: number
): Effect.Effect<void> =>
  Fiber.join(fiber).pipe(
    Effect.map((rows) => rows.map((row) => deliveryOf(row, leaseMillis).lease)),
    Effect.flatMap((leases) => (leases.length === 0 ? Effect.void : release(database, leases, 0))),
    Effect.ignore
  )

const keysOf = (leases: ReadonlyArray<Lease>) => {
  const sorted = leases.toSorted((self, that) => Number(self.key) - Number(that.key))
  return [sorted.map(({ key }) => key), sorted.map(({ token }) => token)]
}
