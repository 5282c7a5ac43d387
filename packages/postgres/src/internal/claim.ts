import type { SqlError } from "@effect/sql/SqlError"
import type { Envelope } from "@holdfast/core/Envelope"
import { failureCount } from "@holdfast/core/Envelope"
import type { Delivery, Encoded, Lease } from "@holdfast/core/MessageStore"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Database, named } from "./database.ts"
import type { Held } from "./held.ts"
import { idOf, isQueued, numbers, priorityOf, queuedKey, shared } from "./leaseKey.ts"
import type { Depth } from "./marks.ts"
import { content, interval, reschedulable, text } from "./rows.ts"

/**
 * Claims the next messages. If it is interrupted, what it claimed is given back, so that nobody counts it as a lost
 * consumer.
 *
 * @internal
 */
export const claim = (
  database: Database,
  held: Held,
  options: Parameters<Encoded["claim"]>[0]
): Effect.Effect<ReadonlyArray<Delivery>, SqlError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(ask(database, held, options)), (fiber) =>
      restore(Fiber.join(fiber)).pipe(Effect.onInterrupt(() => Effect.forkDaemon(giveBack(database, held, fiber))))
    )
  )

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

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** One row of the answer, by place: see `claim` in the migrations. */
type Answer = ReadonlyArray<string | null>

const ask = (
  database: Database,
  held: Held,
  { ahead, channel, leaseMillis, limit, owner }: Parameters<Encoded["claim"]>[0]
): Effect.Effect<ReadonlyArray<Delivery>, SqlError> =>
  Effect.suspend(() => {
    const marks = held.marks(channel)
    const done = held.done(channel)
    const look = marks.next(now())
    const statement = named(
      database,
      "claim",
      `select * from ${database.at}claim($1::text, $2::int, $3::float8, $4::text, $5::boolean, $6::int[], $7::bigint[],
         $8::bigint[], $9::bigint, $10::int, $11::int, $12::bigint[])`
    )
    const values = [
      ...[channel, limit, leaseMillis, owner, ahead ?? false],
      ...[numbers(look.priorities), numbers(look.lows), numbers(look.lasts), look.leaseLow],
      ...[look.sweep, look.short, numbers(done)]
    ]
    return Effect.map(database.run({ ...statement, rowMode: "array" }, values), (rows) => {
      held.removed(channel, done)
      return read(held, rows as unknown as ReadonlyArray<Answer>, channel, leaseMillis, limit)
    })
  })

/** Without its last row, the channel is paused, or what may have killed a consumer is to be handled apart. */
const read = (
  held: Held,
  rows: ReadonlyArray<Answer>,
  channel: string,
  leaseMillis: number,
  limit: number
): ReadonlyArray<Delivery> => {
  const last = rows.at(-1)
  const time = now()
  const hasMarks = last !== undefined && last[1] === null
  let count = rows.length
  while (count > 0 && rows[count - 1]![1] === null) count--
  const claimedAt = hasMarks ? Number(last[9]) : 0
  const deliveries: Array<Delivery> = []
  const queued = new Map<string, Set<string>>()
  const reader = new Reader(channel, claimedAt)
  let isSorted = true
  for (let index = 0; index < count; index++) {
    const delivery = reader.read(rows[index]!)
    const before = deliveries[index - 1]
    if (before !== undefined && compare(before, delivery) > 0) isSorted = false
    if (isQueued(delivery.lease)) {
      const keys = queued.get(delivery.lease.token)
      if (keys === undefined) queued.set(delivery.lease.token, new Set([delivery.lease.key]))
      else keys.add(delivery.lease.key)
    }
    deliveries.push(delivery)
  }
  for (const [token, keys] of queued) held.claimed(token, keys, time + leaseMillis, time)
  if (hasMarks) {
    held.marks(channel).learn(time, {
      marks: rows
        .slice(count, -1)
        .map((row) => ({ priority: Number(row[2]), low: Number(row[0]), last: Number(row[9]) })),
      leaseLow: last[0] === null ? undefined : Number(last[0]),
      token: queued.size === 0 ? undefined : Math.max(...Array.from(queued.keys(), Number)),
      depth: Number(last[10]) as Depth,
      micros: Number(last[11]),
      full: count >= limit
    })
  }
  return isSorted ? deliveries : deliveries.sort(compare)
}

const compare = (self: Delivery, that: Delivery): number =>
  that.priority - self.priority || Number(idOf(self.lease)) - Number(idOf(that.lease))

/** Most messages of a batch have equal headers, which are then read once; and most were never tried. */
class Reader {
  private headersText: string | null = null
  private headers: Envelope["headers"] = {}
  private readonly channel: string
  private readonly claimedAt: number

  constructor(channel: string, claimedAt: number) {
    this.channel = channel
    this.claimedAt = claimedAt
  }

  read(row: Answer): Delivery {
    const queued = row[10] === null
    if (row[7] !== this.headersText) {
      this.headersText = row[7]!
      this.headers = JSON.parse(this.headersText)
    }
    const failures: Envelope["failures"] = queued ? none : JSON.parse(row[10]!)
    const crashes = queued ? 0 : Number(row[11])
    const ordered = row[12] !== null
    return {
      lease: {
        channel: this.channel,
        key: queued ? queuedKey(row[2]!, row[0]!) : row[0]!,
        token: row[1]!,
        ...(ordered ? { ordered } : undefined)
      },
      envelope: {
        id: row[3]!,
        tag: row[4]!,
        endpoint: row[5]!,
        attempt: failureCount(failures) + crashes + 1,
        headers: this.headers,
        payload: row[6]!,
        failures,
        ...(ordered ? { orderingKey: row[12]! } : undefined)
      },
      claimedAt: this.claimedAt,
      availableAt: Number(row[9]),
      crashes,
      priority: Number(row[2]),
      undelayed: row[8] === "t"
    }
  }
}

const none: Envelope["failures"] = []

const giveBack = (
  database: Database,
  held: Held,
  fiber: Fiber.Fiber<ReadonlyArray<Delivery>, SqlError>
): Effect.Effect<void> =>
  Fiber.join(fiber).pipe(
    Effect.flatMap((deliveries) =>
      release(
        database,
        held,
        deliveries.map(({ lease }) => lease),
        0
      )
    ),
    Effect.ignore
  )

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

/** Milliseconds that only pass: how long this process took for what, and nothing that is stored. */
const now = (): number => globalThis.performance.now()

const tokensOf = (leases: ReadonlyArray<Lease>) => [
  leases.map(({ channel }) => channel),
  numbers(leases.map(({ token }) => token))
]

const keysOf = (leases: ReadonlyArray<Lease>) => {
  const sorted = leases.toSorted((self, that) => Number(self.key) - Number(that.key))
  return [numbers(sorted.map(({ key }) => key)), numbers(sorted.map(({ token }) => token))]
}
