import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import type { Delivery } from "../MessageStore.ts"
import { type Parts, start } from "./consumer.ts"
import { noteClaim } from "./deliver.ts"

/** @internal */
export type Reason = "Messages" | "Duration" | "Empty" | "Memory" | "Schedule"

/** @internal */
export interface Options {
  readonly concurrency: number
  readonly pollMillis: number
  readonly schedule: Schedule.Schedule<unknown> | undefined
  /** Stops once so many are handled, and claims no more than are left of them. */
  readonly messages: number
  readonly durationMillis: number | undefined
  readonly empty: boolean
  readonly memoryExceeded: Effect.Effect<boolean>
}

/**
 * Claims and starts messages until a stop condition holds or the schedule ends, and answers which it was. What was
 * started goes on.
 *
 * @internal
 */
export const claimUntil = (parts: Parts, options: Options): Effect.Effect<Reason> => {
  const claiming = Effect.interruptible(Effect.suspend(() => loop(parts, options, resting(parts, options))))
  return options.durationMillis === undefined
    ? claiming
    : Effect.raceFirst(claiming, Effect.interruptible(Effect.as(sleep(options.durationMillis), "Duration")))
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Waits until the channel is to be looked at again. Answers false when the schedule has ended. */
type Rest = Effect.Effect<boolean>

const resting = (parts: Parts, { pollMillis, schedule }: Options): Rest =>
  schedule === undefined ? Effect.as(parts.flow.rest(pollMillis, parts.source.wake), true) : restingBy(schedule)

/** As the driver of a schedule does, but for however long. */
const restingBy = (schedule: Schedule.Schedule<unknown>): Rest => {
  let state = schedule.initial
  return Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const [next, , decision] = yield* schedule.step(now, undefined, state)
    state = next
    if (ScheduleDecision.isDone(decision)) return false
    yield* sleep(ScheduleIntervals.start(decision.intervals) - now)
    return true
  })
}

/** A timer that is set for longer is never due. */
const longestTimerMillis = 24 * 24 * 60 * 60 * 1000

const sleep = (millis: number): Effect.Effect<void> =>
  millis <= longestTimerMillis
    ? Effect.sleep(millis)
    : Effect.flatMap(Effect.sleep(longestTimerMillis), () => sleep(millis - longestTimerMillis))

const loop = (parts: Parts, options: Options, rest: Rest): Effect.Effect<Reason> =>
  Effect.gen(function* () {
    if (options.schedule !== undefined && !(yield* rest)) return "Schedule"
    while (true) {
      if (parts.state.handled >= options.messages) return "Messages"
      if (yield* options.memoryExceeded) return "Memory"
      const inFlight = parts.inFlight.size
      // never more than there are free slots: what is claimed is being handled, and memory stays bounded
      const free = Math.min(options.concurrency, options.messages - parts.state.handled) - inFlight
      if (free <= 0) {
        yield* fewerInFlight(parts, inFlight)
        continue
      }
      const closed = yield* parts.flow.closedMillis(parts.endpoints)
      if (closed > 0) {
        yield* sleep(closed)
        continue
      }
      const claimed = yield* claim(parts, free)
      if (claimed === free) continue
      const empty = claimed === 0 && inFlight === 0
      if (empty && options.empty) return "Empty"
      if (!empty && awaitsEmpty(options)) yield* moreOrFewer(parts, options)
      else if (!(yield* rest)) return "Schedule"
    }
  })

const awaitsEmpty = ({ empty, schedule }: Options): boolean => empty || schedule !== undefined

/** One step that cannot be cut in two: what the store has leased to us, we handle. Answers how many that is. */
const claim = (parts: Parts, limit: number): Effect.Effect<number> =>
  Effect.zipRight(parts.flow.fresh, parts.source.claim(limit)).pipe(
    Effect.tap(noteClaim),
    Effect.tap((deliveries) => Effect.forEach(deliveries, (delivery) => start(parts, delivery), { discard: true })),
    Effect.map((deliveries: ReadonlyArray<Delivery>) => deliveries.length),
    Effect.uninterruptible,
    // also after a defect: a consumer that stopped without a word would need a human
    Effect.sandbox,
    Effect.tapError((cause) => Effect.logWarning("Claiming failed; trying again", cause)),
    Effect.retry(backoff),
    Effect.orDie
  )

const backoff = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")), Schedule.jittered)

/** Waits for more to claim, or for the end of what is in flight. */
const moreOrFewer = (parts: Parts, { pollMillis }: Options): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.race(
      Effect.interruptible(parts.flow.rest(pollMillis, parts.source.wake)),
      Effect.interruptible(fewerInFlight(parts, Math.max(1, parts.inFlight.size)))
    )
  )

const fewerInFlight = (parts: Parts, count: number): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (parts.inFlight.size < count) return resume(Effect.void)
    parts.state.slotFreed = () => resume(Effect.void)
  })
