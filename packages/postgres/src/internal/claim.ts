import type { SqlError } from "@effect/sql/SqlError"
import type { Envelope } from "@holdfast/core/Envelope"
import { failureCount } from "@holdfast/core/Envelope"
import type { Delivery, Encoded } from "@holdfast/core/MessageStore"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Database, named } from "./database.ts"
import type { Held } from "./held.ts"
import { idOf, isQueued, numbers, queuedKey } from "./leaseKey.ts"
import { now, release } from "./leases.ts"
import type { Depth, Next } from "./marks.ts"

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
      return read(held, rows as unknown as ReadonlyArray<Answer>, look, { channel, leaseMillis, limit })
    })
  })

/** Without its last row, the channel is paused, or what may have killed a consumer is to be handled apart. */
const read = (
  held: Held,
  rows: ReadonlyArray<Answer>,
  look: Next,
  options: { readonly channel: string; readonly leaseMillis: number; readonly limit: number }
): ReadonlyArray<Delivery> => {
  const { channel, leaseMillis, limit } = options
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
      // where there is none now, one that comes is higher than those that were known before
      leaseLow: last[0] === null ? look.highestLease : Number(last[0]),
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
