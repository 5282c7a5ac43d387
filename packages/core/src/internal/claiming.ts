import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as ScheduleIntervals from "effect/ScheduleIntervals"
import * as Consumer from "./consumer.ts"

/** @internal */
export type Reason = "Messages" | "Duration" | "Empty" | "Memory" | "Schedule"

/** @internal */
export interface Options {
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
export const claimUntil = (parts: Consumer.Parts, options: Options): Effect.Effect<Reason> => {
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

const resting = (parts: Consumer.Parts, { pollMillis, schedule }: Options): Rest =>
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

const loop = (parts: Consumer.Parts, options: Options, rest: Rest): Effect.Effect<Reason> =>
  Effect.gen(function* () {
    const { slots } = parts
    if (options.schedule !== undefined && !(yield* rest)) return "Schedule"
    while (true) {
      if (slots.handled >= options.messages) return "Messages"
      if (yield* options.memoryExceeded) return "Memory"
      const held = slots.hands.size
      const wanted = slots.wanted(options.messages - slots.handled)
      if (wanted.limit === 0) {
        yield* slots.until(() => slots.wanted(options.messages - slots.handled).limit > 0 || slots.hands.size < held)
        continue
      }
      const closed = yield* parts.flow.closedMillis(parts.endpoints)
      if (closed > 0) {
        yield* sleep(closed)
        continue
      }
      const claimed = yield* claim(parts, wanted)
      if (claimed === wanted.limit) continue
      if (claimed === 0 && slots.ready > 0) yield* heedPause(parts)
      const empty = claimed === 0 && held === 0
      if (empty && options.empty) return "Empty"
      if (!empty && awaitsEmpty(options)) yield* moreOrFewer(parts, options)
      else if (!(yield* rest)) return "Schedule"
    }
  })

const awaitsEmpty = ({ empty, schedule }: Options): boolean => empty || schedule !== undefined

const claim = (parts: Consumer.Parts, { ahead, limit }: ReturnType<Consumer.Parts["slots"]["wanted"]>) =>
  Consumer.claim(parts, limit, ahead).pipe(
    // also after a defect: a consumer that stopped without a word would need a human
    Effect.sandbox,
    Effect.tapError((cause) => Effect.logWarning("Claiming failed; trying again", cause)),
    Effect.retry(backoff),
    Effect.orDie
  )

/** On a paused channel what was claimed ahead is not begun: it is given back. */
const heedPause = (parts: Consumer.Parts): Effect.Effect<void> =>
  parts.store.paused.pipe(
    Effect.flatMap((paused) => (paused.includes(parts.source.channel) ? Consumer.putBack(parts) : Effect.void)),
    Effect.catchAllCause((cause) => Effect.logDebug("It could not be checked whether the channel is paused", cause))
  )

const backoff = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")), Schedule.jittered)

/** Waits for more to claim, or for the end of what is in flight. */
const moreOrFewer = (parts: Consumer.Parts, { pollMillis }: Options): Effect.Effect<void> =>
  Effect.suspend(() => {
    const held = Math.max(1, parts.slots.hands.size)
    return Effect.race(
      Effect.interruptible(parts.flow.rest(pollMillis, parts.source.wake)),
      Effect.interruptible(parts.slots.until(() => parts.slots.hands.size < held))
    )
  })
