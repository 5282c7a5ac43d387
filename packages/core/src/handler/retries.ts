/**
 * How often a handler is tried again. Part of `Handler`.
 *
 * @since 0.1.0
 */
import { dual } from "effect/Function"
import type * as Schedule from "effect/Schedule"
import type { NoInfer } from "effect/Types"
import type { Any, Handler, Mode } from "../Handler.ts"
import * as internal from "../internal/handler.ts"
import * as Input from "../internal/input.ts"
import * as retrying from "../internal/retrying.ts"
import type * as Message from "../Message.ts"
import type { MessageScheduler } from "../MessageScheduler.ts"

/**
 * Which failures are tried again, and how often: what `Effect.retry` takes, with predicates that are plain functions.
 * Without a schedule it is tried again at once.
 *
 * @example
 * ```ts
 * import type { Handler } from "@holdfast/core"
 *
 * const options: Handler.RetryOptions<{ readonly temporary: boolean }> = { while: (error) => error.temporary, times: 3 }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface RetryOptions<E> {
  readonly schedule?: Schedule.Schedule<any, E, never> | undefined
  /** Tries again as long as this holds. */
  readonly while?: ((error: E) => boolean) | undefined
  /** Tries again until this holds. */
  readonly until?: ((error: E) => boolean) | undefined
  /** Tries again so many times at most. */
  readonly times?: number | undefined
}

/**
 * Tries again, as the schedule says, when the handler fails.
 *
 * Before `asynchronous`, or without it, the handler is retried in place while its sender or consumer waits, each time
 * in a fresh unit of work (or from its scope's savepoint). After `asynchronous` the message is given back to its channel
 * and delivered again when the schedule says, so retries survive the process. Both may be given. Schedules are pure;
 * an outage of the database or broker is not a failure of the handler and burns no attempt; a defect is not retried.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schedule } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 * class Ticks extends Channel.Tag<Ticks>()("Ticks", { messages: [Tick] }) {}
 *
 * const onTick = Handler.event(Tick, { name: "OnTick", handle: () => Effect.fail("busy") }).pipe(
 *   Handler.retry({ times: 1, while: (error) => error === "busy" }), // at once
 *   Handler.asynchronous(Ticks),
 *   Handler.retry(Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(5)))) // then durably
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <B, E>(
    policy: Schedule.Schedule<B, NoInfer<E>, never> | RetryOptions<NoInfer<E>>
  ): <M extends Message.AnyClass, R, M0 extends Mode>(self: Handler<M, E, R, M0>) => Handler<M, E, R | Stored<M0>, M0>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode, B>(
    self: Handler<M, E, R, M0>,
    policy: Schedule.Schedule<B, NoInfer<E>, never> | RetryOptions<NoInfer<E>>
  ): Handler<M, E, R | Stored<M0>, M0>
} = dual(2, (self: Any, policy: Schedule.Schedule<any, any, never> | RetryOptions<any>) => {
  const schedule = retrying.scheduleOf(policy)
  const mistake = Input.wholeNumber(`times of Handler.retry of "${self.name}"`, retrying.timesOf(policy), 0)
  return internal.update(self, self.mode, {
    ...(self.mode === "Asynchronous" ? { retryDurably: schedule } : { retryInPlace: schedule }),
    ...(mistake === undefined ? undefined : { mistake })
  })
})

/**
 * A schedule, or `"Never"`, for each tag of the errors of a handler; what is left out follows `Handler.retry`.
 *
 * @example
 * ```ts
 * import type { Handler } from "@holdfast/core"
 * import { Data, Schedule } from "effect"
 *
 * class Declined extends Data.TaggedError("Declined") {}
 * class Busy extends Data.TaggedError("Busy") {}
 *
 * const retries: Handler.RetryTags<Declined | Busy> = { Declined: "Never", Busy: Schedule.spaced("1 minute") }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type RetryTags<E> = {
  readonly [Tag in TagsOf<E>]?: "Never" | Schedule.Schedule<any, Extract<E, { readonly _tag: Tag }>, never> | undefined
}

/**
 * Tries again by the tag of the error. Each schedule counts the failures of its own tag alone, whatever failed in
 * between. Errors without a schedule here follow `Handler.retry`, and durably the channel's `retry` after that, which
 * count the failures of all of them.
 *
 * As with `retry`, it depends on the place: before `asynchronous` the handler is tried again in place, after it durably.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Data, Effect, Schedule } from "effect"
 *
 * class Declined extends Data.TaggedError("Declined") {}
 * class Busy extends Data.TaggedError("Busy") {}
 * class Charge extends Message.Command<Charge>()("Charge") {}
 * class Payments extends Channel.Tag<Payments>()("Payments", { messages: [Charge] }) {}
 *
 * const pay: Effect.Effect<void, Declined | Busy> = new Busy()
 *
 * const charge = Handler.command(Charge, () => pay).pipe(
 *   Handler.asynchronous(Payments),
 *   Handler.retryTags({ Declined: "Never", Busy: Schedule.spaced("1 minute") })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const retryTags: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <E>(
    policies: RetryTags<NoInfer<E>>
  ): <M extends Message.AnyClass, R, M0 extends Mode>(self: Handler<M, E, R, M0>) => Handler<M, E, R | Stored<M0>, M0>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0>,
    policies: RetryTags<NoInfer<E>>
  ): Handler<M, E, R | Stored<M0>, M0>
} = dual(2, (self: Any, policies: retrying.ByTag) =>
  internal.update(
    self,
    self.mode,
    self.mode === "Asynchronous"
      ? { retryTagsDurably: { ...self.options.retryTagsDurably, ...policies } }
      : { retryTagsInPlace: { ...self.options.retryTagsInPlace, ...policies } }
  )
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

type TagsOf<E> = E extends { readonly _tag: infer Tag extends string } ? Tag : never

/** Durable retries need storage. */
type Stored<M0 extends Mode> = M0 extends "Asynchronous" ? MessageScheduler : never
