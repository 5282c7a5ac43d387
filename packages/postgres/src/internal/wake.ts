import type { SqlError } from "@effect/sql/SqlError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import { type Database, named } from "./database.ts"
import { numbers } from "./leaseKey.ts"
import { live } from "./live.ts"
import type { Marks } from "./marks.ts"
import { anyReady } from "./orderSql.ts"

/**
 * Tells the fibers of this process that something happened.
 *
 * @internal
 */
export interface Hub {
  readonly signal: (topic: string) => void
  readonly signalAll: () => void
  /** Gives a wait for the next signal: one that comes while `use` is still asking is not missed. */
  readonly listen: <A, E>(
    topic: string,
    use: (wait: (atMost: number) => Effect.Effect<void>) => Effect.Effect<A, E>
  ) => Effect.Effect<A, E>
}

/** @internal */
export const makeHub = (): Hub => {
  const topics = new Map<string, Topic>()
  const signal = (name: string) => {
    const topic = topics.get(name)
    topics.delete(name)
    if (topic !== undefined) Deferred.unsafeDone(topic.signalled, Effect.void)
  }
  const enter = (name: string) => {
    const topic = topics.get(name) ?? { signalled: Deferred.unsafeMake<void>(FiberId.none), listeners: 0 }
    topics.set(name, topic)
    topic.listeners++
    return topic
  }
  const leave = (name: string, topic: Topic) => {
    if (--topic.listeners === 0 && topics.get(name) === topic) topics.delete(name)
  }
  return {
    signal,
    signalAll: () => {
      for (const name of Array.from(topics.keys())) signal(name)
    },
    listen: (name, use) =>
      Effect.acquireUseRelease(
        Effect.sync(() => enter(name)),
        (topic) => use((atMost) => raceSleep(Deferred.await(topic.signalled), atMost)),
        (topic) => Effect.sync(() => leave(name, topic))
      )
  }
}

/**
 * Completes when the channel may have something to claim: there is something, a commit puts something there, the
 * earliest scheduled message or expiring lease is due, or after `atMost`. While messages are about that may have killed their
 * consumer, and are given out apart, it is looked for often. What was due a while ago is locked by somebody,
 * such as a commit that a broker holds up: asking for it without rest would only add to the load.
 *
 * @internal
 */
export const wake = (
  database: Database,
  hub: Hub,
  marks: Marks,
  channel: string,
  atMost: number
): Effect.Effect<void> =>
  hub.listen(channel, (wait) =>
    Effect.flatMap(
      Effect.orElseSucceed(dueIn(database, marks, channel), () => atMost),
      (millis) => {
        if (millis > 0) return wait(Math.min(millis, atMost))
        return millis > -overdue ? Effect.void : live(wait(overdue))
      }
    )
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** After so many milliseconds somebody else should have taken what is due; and after as many, it is looked for again. */
const overdue = 50

interface Topic {
  readonly signalled: Deferred.Deferred<void>
  listeners: number
}

/** Both are interruptible, so that the loser ends in an uninterruptible region too. */
const raceSleep = (effect: Effect.Effect<void>, millis: number): Effect.Effect<void> =>
  Effect.race(Effect.interruptible(effect), Effect.interruptible(Effect.sleep(millis)))

/** In how many milliseconds something can be claimed, as far as the tables know; less than none if it is late. */
const dueIn = (database: Database, marks: Marks, channel: string): Effect.Effect<number, SqlError> => {
  const { at } = database
  const { lasts, leaseLow, lows, priorities } = marks.look()
  const statement = named(
    database,
    "due_in",
    `select case when exists (select from ${at}paused where channel = $1::text and handler = '' and tenant = '') then 'Infinity'
       when exists (select from ${at}message where channel = $1::text and suspects is not null) then ${-2 * overdue}
       when ${anyReady(at, "$1::text", "is null")} then 0
       when exists (select from ${at}claimable_lanes($1::text, 1, ${at}now())) then 0
       when ${at}queue_waits($1::text, $2::int[], $3::bigint[], $4::bigint[], $5::bigint, true) then 0
       else ceil(extract(epoch from least(
         (select min(due_at) from ${at}scheduled where channel = $1::text),
         (select min(lease_until) from ${at}message where channel = $1::text and lease_until is not null),
         (select min(until) from ${at}lease where channel = $1::text and id >= $5::bigint),
         (select min(available_at) from ${at}message where channel = $1::text
            and ordering_key is not null and lease_until is null and available_at > (select ${at}now()))
       ) - ${at}now()) * 1000) end as millis`
  )
  const values = [channel, numbers(priorities), numbers(lows), numbers(lasts), leaseLow]
  return Effect.map(database.run(statement, values), ([row]) => {
    const millis = row?.millis == null ? undefined : Number(row.millis)
    // of a paused channel no claim looks through anything
    return millis === Number.POSITIVE_INFINITY
      ? millis
      : Math.min(millis ?? Number.POSITIVE_INFINITY, marks.owed(globalThis.performance.now()))
  })
}
