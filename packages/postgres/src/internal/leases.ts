import type { SqlError } from "@effect/sql/SqlError"
import type { Lease } from "@holdfast/core/MessageStore"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { type Database, named } from "./database.ts"
import type { Held } from "./held.ts"
import { idOf, isQueued, numbers, priorityOf, shared } from "./leaseKey.ts"
import { content, interval, reschedulable, text } from "./rows.ts"

/**
 * Marks what was claimed ahead as begun.
 *
 * @internal
 */
export const started = (database: Database, leases: ReadonlyArray<Lease>): Effect.Effect<void, SqlError> => {
  const [queued, others] = Arr.partition(leases, (lease) => !isQueued(lease))
  const inQueue = named(
    database,
    "started_queue",
    `update ${database.at}lease l set begun = true
     from unnest($1::text[], $2::bigint[]) t (channel, id)
     where l.channel = t.channel and l.id = t.id and not l.begun and l.until > (select ${database.at}now())`
  )
  const inMessages = named(
    database,
    "started",
    `update ${database.at}message m set lease_begun = true
     from unnest($1::bigint[], $2::bigint[]) l (id, token)
     where m.id = l.id and m.lease_token = l.token and m.lease_until > (select ${database.at}now())`
  )
  return Effect.zipRight(
    queued.length === 0 ? Effect.void : database.run(inQueue, tokensOf(shared(queued))),
    others.length === 0 ? Effect.void : Effect.asVoid(database.run(inMessages, keysOf(others)))
  )
}

/**
 * Extends leases that have not run out, and answers the others. A message that is just being settled is left alone:
 * waiting for the end of its transaction, which a broker may hold up, would let the other leases run out.
 *
 * @internal
 */
export const renew = (
  database: Database,
  held: Held,
  leases: ReadonlyArray<Lease>,
  leaseMillis: number
): Effect.Effect<ReadonlyArray<Lease>, SqlError> => {
  const [others, queued] = Arr.partition(leases, isQueued)
  return Effect.zipWith(
    others.length === 0 ? Effect.succeed([]) : renewRows(database, others, leaseMillis),
    queued.length === 0 ? Effect.succeed([]) : renewQueued(database, held, queued, leaseMillis),
    (lost, lostToo) => [...lost, ...lostToo]
  )
}

/**
 * Gives messages back: at once where they were, or later as scheduled ones; where they were in any case if they have an
 * ordering key.
 *
 * @internal
 */
export const release = (
  database: Database,
  held: Held,
  leases: ReadonlyArray<Lease>,
  afterMillis: number
): Effect.Effect<void, SqlError> => {
  const [others, queued] = Arr.partition(leases, isQueued)
  return Effect.zipRight(
    queued.length === 0 ? Effect.void : releaseQueued(database, held, queued, afterMillis),
    others.length === 0 ? Effect.void : releaseRows(database, others, afterMillis)
  )
}

/**
 * Takes away the leases under which nothing is left, where no claim does that any more.
 *
 * @internal
 */
export const drop = (database: Database, held: Held): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const done = held.allDone()
    const statement = named(
      database,
      "drop_leases",
      `delete from ${database.at}lease l using unnest($1::text[], $2::bigint[]) t (channel, id)
       where l.channel = t.channel and l.id = t.id`
    )
    return done.length === 0 ? Effect.void : Effect.asVoid(database.run(statement, tokensOf(done)))
  })

/**
 * Milliseconds that only pass: how long this process took for what, and nothing that is stored.
 *
 * @internal
 */
export const now = (): number => globalThis.performance.now()

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const renewRows = (
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
       update ${database.at}message m set lease_until = (select now from clock) + ${interval("$3::float8")},
         lease_peers = null
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
 * Names what is left under the lease, so that late commits among its messages wait no longer for its end. A unit that is
 * just being settled has a lock on its lease that lets this pass. What shares a lease and is not to be
 * renewed with it gets a lease of its own, which ends when the old one would have.
 */
const renewQueued = (
  database: Database,
  held: Held,
  leases: ReadonlyArray<Lease>,
  leaseMillis: number
): Effect.Effect<ReadonlyArray<Lease>, SqlError> => {
  const { at } = database
  const statement = named(
    database,
    "renew_queue",
    `with clock as materialized (select ${at}now() as now)
     update ${at}lease l set until = (select now from clock) + ${interval("$3::float8")}, peers = null,
       ids = coalesce(t.ids::bigint[], l.ids)
     from unnest($1::text[], $2::bigint[], $4::text[]) t (channel, id, ids)
     where l.channel = t.channel and l.id = t.id and l.until > (select now from clock)
     returning l.id as token`
  )
  const open = leases.filter((lease) => held.holds(lease))
  if (open.length === 0) return Effect.succeed(leases)
  const abandoned = held.abandoned(open)
  const apart = abandoned.length === 0 ? Effect.void : leaseApart(database, held, abandoned)
  const tokens = shared(open)
  const renewing = Effect.suspend(() => {
    const left = tokens.map(({ token }) => held.left(token))
    const names = left.map((lease) => (lease === undefined ? null : numbers(lease.map(idOf))))
    return database.run(statement, [...tokensOf(tokens), leaseMillis, names])
  })
  return Effect.map(Effect.zipRight(apart, renewing), (rows) => {
    const kept = new Set(rows.map((row) => text(row, "token")))
    for (const token of kept) held.renewed(token, now() + leaseMillis)
    return leases.filter((lease) => !kept.has(lease.token) || !held.holds(lease))
  })
}

const leaseApart = (database: Database, held: Held, leases: ReadonlyArray<Lease>): Effect.Effect<void, SqlError> => {
  const { at } = database
  const statement = named(
    database,
    "lease_apart",
    `${dequeued(at)}
     insert into ${at}message (id, ${columns}, available_at, lease_token, lease_until, lease_owner, lease_begun, lease_peers)
     overriding system value
     select r.id, ${columns.replaceAll(/\w+/g, "r.$&")}, r.created_at, r.token, r.until, r.owner, r.begun, r.peers
     from released r order by r.id`
  )
  return Effect.map(database.run(statement, placesOf(leases)), () => {
    for (const lease of leases) held.settled(lease)
  })
}

const releaseRows = (
  database: Database,
  leases: ReadonlyArray<Lease>,
  afterMillis: number
): Effect.Effect<void, SqlError> => {
  const { at } = database
  const held = `m.id = l.id and m.lease_token = l.token and m.lease_until > (select now from clock)`
  const free = "lease_token = null, lease_until = null, lease_owner = null, lease_peers = null, lease_begun = true"
  const statement =
    afterMillis > 0
      ? named(
          database,
          "release_later",
          `with clock as materialized (select ${at}now() as now), released as (
             delete from ${at}message m using unnest($1::bigint[], $2::bigint[]) l (id, token)
             where ${held} and m.ordering_key is null returning m.*
           ), kept as (
             update ${at}message m set ${free}, available_at = (select now from clock) + ${interval("$3::float8")}
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
           update ${at}message m set ${free}
           from unnest($1::bigint[], $2::bigint[]) l (id, token) where ${held}`
        )
  return Effect.asVoid(database.run(statement, [...keysOf(leases), ...(afterMillis > 0 ? [afterMillis] : [])]))
}

/** They leave the queue, where nothing is ever changed. */
const releaseQueued = (
  database: Database,
  held: Held,
  leases: ReadonlyArray<Lease>,
  afterMillis: number
): Effect.Effect<void, SqlError> => {
  const { at } = database
  const statement =
    afterMillis > 0
      ? named(
          database,
          "release_queue_later",
          `${dequeued(at)}
           insert into ${at}scheduled (${columns}, due_at)
           select ${columns}, (select now from clock) + ${interval("$5::float8")} from released order by id`
        )
      : named(
          database,
          "release_queue",
          `${dequeued(at)}
           insert into ${at}message (id, ${columns}, available_at) overriding system value
           select id, ${columns}, created_at from released order by id`
        )
  return Effect.map(database.run(statement, [...placesOf(leases), ...(afterMillis > 0 ? [afterMillis] : [])]), () => {
    for (const lease of leases) held.settled(lease)
  })
}

const columns = "channel, message_id, tag, endpoint, payload, headers, priority, undelayed, created_at"

/** Takes messages out of the queue whose leases hold. */
const dequeued = (at: string): string =>
  `with clock as materialized (select ${at}now() as now), held as materialized (
     select l.channel as lease_channel, l.id as token, l.until, l.owner, l.begun, l.peers from ${at}lease l
     where (l.channel, l.id) in (select * from unnest($1::text[], $2::bigint[])) and l.until > (select now from clock)
     order by l.id for key share
   ), released as (
     delete from ${at}queue q using unnest($1::text[], $2::bigint[], $3::int[], $4::bigint[]) k (channel, token, priority, id)
     join held h on h.lease_channel = k.channel and h.token = k.token
     where q.channel = k.channel and q.priority = k.priority and q.id = k.id
     returning q.*, h.token, h.until, h.owner, h.begun, h.peers
   )`

const placesOf = (leases: ReadonlyArray<Lease>) => [
  ...tokensOf(leases),
  numbers(leases.map(priorityOf)),
  numbers(leases.map(idOf))
]

const tokensOf = (leases: ReadonlyArray<Pick<Lease, "channel" | "token">>) => [
  leases.map(({ channel }) => channel),
  numbers(leases.map(({ token }) => token))
]

const keysOf = (leases: ReadonlyArray<Lease>) => {
  const sorted = leases.toSorted((self, that) => Number(self.key) - Number(that.key))
  return [numbers(sorted.map(({ key }) => key)), numbers(sorted.map(({ token }) => token))]
}
