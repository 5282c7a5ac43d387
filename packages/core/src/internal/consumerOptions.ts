/**
 * What an application says of a consumer: checked, and as the runtime reads it.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type { RunOptions } from "../Consumer.ts"
import type { MessagingError } from "../MessagingError.ts"
import type * as claiming from "./claiming.ts"
import * as Input from "./input.ts"

/** @internal */
export const concurrencyOf = (options: RunOptions | undefined): number => options?.concurrency ?? 4

/** @internal */
export const leaseOf = (options: RunOptions | undefined): number => Duration.toMillis(options?.lease ?? "10 seconds")

/** @internal */
export const drainOf = (options: RunOptions | undefined): number =>
  Duration.toMillis(options?.drainTimeout ?? "30 seconds")

/** @internal */
export const claimingOf = (options: RunOptions | undefined, memoryUsage: Effect.Effect<number>): claiming.Options => {
  const { duration, empty, memory, messages } = options?.stopAfter ?? {}
  return {
    pollMillis: Duration.toMillis(options?.pollInterval ?? "1 second"),
    schedule: options?.schedule,
    messages: messages ?? Number.POSITIVE_INFINITY,
    durationMillis: duration === undefined ? undefined : Duration.toMillis(duration),
    empty: empty ?? false,
    memoryExceeded: memory === undefined ? Effect.succeed(false) : Effect.map(memoryUsage, (bytes) => bytes >= memory)
  }
}

/** @internal */
export const check = (
  channel: string,
  { schedule, stopAfter, ...options }: RunOptions
): Effect.Effect<void, MessagingError> => {
  const of = `of the consumer of channel "${channel}"`
  return Effect.zipRight(
    Input.reject(
      Input.wholeNumber(`the concurrency ${of}`, options.concurrency, 1),
      Input.duration(`the lease ${of}`, options.lease, { least: "1 second", most: "1 day" }),
      Input.duration(`the pollInterval ${of}`, options.pollInterval, { least: "1 millis", most: "1 day" }),
      Input.duration(`the drainTimeout ${of}`, options.drainTimeout, { least: "0 millis" }),
      Input.wholeNumber(`stopAfter.messages ${of}`, stopAfter?.messages, 1),
      Input.duration(`stopAfter.duration ${of}`, stopAfter?.duration, { least: "1 millis" }),
      Input.wholeNumber(`stopAfter.memory ${of}`, stopAfter?.memory, 1)
    ),
    schedule === undefined ? Effect.void : firstStep(schedule)
  )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** A cron expression that cannot be read dies with it: when the consumer starts, not in the background. */
const firstStep = (schedule: Schedule.Schedule<unknown>): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.asVoid(schedule.step(now, undefined, schedule.initial)))
