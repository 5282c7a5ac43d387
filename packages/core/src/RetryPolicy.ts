/**
 * Turns a `Schedule` into "when is the next attempt", from the times of the failures so far. Nothing else of the
 * schedule has to be stored, so retries outlive the process.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Intervals from "effect/ScheduleIntervals"
import type { Failure } from "./Envelope.ts"

/**
 * Milliseconds from the last failure until the next attempt, or none when the schedule has ended or waits for ever.
 *
 * The schedule is stepped from its start through the times at which the message failed, so exponential, fixed,
 * windowed, cron, elapsed and limited schedules mean what they mean in memory. Two things differ: the errors of earlier
 * attempts are taken to equal the last one, and jitter is drawn again.
 *
 * @example
 * ```ts
 * import { RetryPolicy } from "@holdfast/core"
 * import { Schedule } from "effect"
 *
 * const failures = [{ at: 0, error: "busy" }, { at: 1_000, error: "busy" }]
 * const next = RetryPolicy.next(Schedule.exponential("1 second"), failures, "busy")
 * // Option.some(2000)
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const next = <Out, In>(
  schedule: Schedule.Schedule<Out, In, never>,
  failures: ReadonlyArray<Failure>,
  error: In
): Effect.Effect<Option.Option<number>> =>
  Effect.gen(function* () {
    let state = schedule.initial
    let delay = Option.none<number>()
    for (const { at, count = 1 } of failures) {
      for (let tries = 0; tries < count; tries++) {
        const [after, , decision] = yield* schedule.step(at, error, state)
        if (decision._tag === "Done") return Option.none()
        state = after
        delay = Option.some(Math.max(0, Math.ceil(Intervals.start(decision.intervals) - at)))
      }
    }
    return Option.filter(delay, Number.isFinite)
  })
