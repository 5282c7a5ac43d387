import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Decision from "effect/ScheduleDecision"
import type { Failure } from "../Envelope.ts"
import * as RetryPolicy from "../RetryPolicy.ts"
import { tagOf } from "./failures.ts"

type AnySchedule = Schedule.Schedule<any, any, never>

/** What `Handler.retryTags` says: a schedule for each tag, or none at all. @internal */
export type ByTag = Readonly<Record<string, AnySchedule | "Never" | undefined>>

/** What `Handler.retry` takes besides a schedule. @internal */
export interface Conditions {
  readonly schedule?: AnySchedule | undefined
  readonly while?: ((error: any) => boolean) | undefined
  readonly until?: ((error: any) => boolean) | undefined
  readonly times?: number | undefined
}

/** @internal */
export const scheduleOf = (policy: AnySchedule | Conditions): AnySchedule => {
  if (Schedule.isSchedule(policy)) return policy as AnySchedule
  const { schedule = Schedule.forever, times, until, while: wanted } = policy as Conditions
  let made: AnySchedule = schedule
  if (wanted !== undefined) made = Schedule.whileInput(made, wanted)
  if (until !== undefined) made = Schedule.untilInput(made, until)
  return times === undefined ? made : Schedule.intersect(made, Schedule.recurs(times))
}

/** How many are wanted, if the policy says. @internal */
export const timesOf = (policy: AnySchedule | Conditions): number | undefined =>
  Schedule.isSchedule(policy) ? undefined : (policy as Conditions).times

/**
 * When a message is tried again: by the schedule of its error's tag, which counts the failures of that tag alone; else
 * by the schedule of all others, which counts those.
 *
 * @internal
 */
export const nextAttempt = (
  retries: { readonly retry: AnySchedule | undefined; readonly retryTags?: ByTag | undefined } | undefined,
  failures: ReadonlyArray<Failure>,
  error: unknown
): Effect.Effect<Option.Option<number>> => {
  const byTag = retries?.retryTags ?? {}
  const own = ownOf(byTag, tagOf(error))
  const schedule = own ?? retries?.retry
  if (schedule === undefined || schedule === "Never") return Effect.succeedNone
  const counted = failures.filter(({ tag }) =>
    own === undefined ? ownOf(byTag, tag) === undefined : tag === tagOf(error)
  )
  return RetryPolicy.next(schedule, counted, error)
}

/** The same for retries in place: one schedule, which keeps to that of each error's tag. @internal */
export const inPlace = (otherwise: AnySchedule | undefined, byTag: ByTag | undefined): AnySchedule | undefined =>
  byTag === undefined
    ? otherwise
    : Schedule.makeWithState(new Map<string | undefined, unknown>(), (now, error: unknown, states) => {
        const own = ownOf(byTag, tagOf(error))
        const schedule = own ?? otherwise
        if (schedule === undefined || schedule === "Never") return Effect.succeed([states, undefined, Decision.done])
        const name = own === undefined ? undefined : tagOf(error)
        const state = states.has(name) ? states.get(name) : schedule.initial
        return Effect.map(schedule.step(now, error, state), ([next, out, decision]) => [
          new Map(states).set(name, next),
          out,
          decision
        ])
      })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const ownOf = (byTag: ByTag, tag: string | undefined): AnySchedule | "Never" | undefined =>
  tag !== undefined && Object.hasOwn(byTag, tag) ? byTag[tag] : undefined
