/**
 * What a handler says of failures and repetitions. Part of `Handler`.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Channel from "../Channel.ts"
import type { Deduplication } from "../Deduplication.ts"
import type { Metadata } from "../Envelope.ts"
import type { Any, Handler, Mode } from "../Handler.ts"
import * as internal from "../internal/handler.ts"
import type { Silent, ToldElsewhere, Waits } from "../internal/refusals.ts"
import type { HearsFailures } from "../internal/refusedChannels.ts"
import type * as Message from "../Message.ts"
import type { MessagingError } from "../MessagingError.ts"

/**
 * Interrupts the handler when it takes longer, and fails it with `TimeoutException`, or with the error that `onTimeout`
 * makes: what it had written and sent is undone, and retries apply. Each try has the whole time. A handler whose sender
 * waits must make an error that its command or query declares.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class TooSlow extends Schema.TaggedError<TooSlow>()("TooSlow", {}) {}
 * class Quote extends Message.Query<Quote>()("Quote", { success: Schema.Number, error: TooSlow }) {}
 *
 * const quote = Handler.query(Quote, () => Effect.never).pipe(
 *   Handler.timeout({ duration: "5 seconds", onTimeout: () => new TooSlow() })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const timeout: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <E2 = Cause.TimeoutException>(
    limit: Limit<E2>
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(self: Handler<M, E, R, M0>) => Handler<M, E | E2, R, M0>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode, E2 = Cause.TimeoutException>(
    self: Handler<M, E, R, M0>,
    limit: Limit<E2>
  ): Handler<M, E | E2, R, M0>
} = dual(2, (self: Any, limit: Limit<unknown>) =>
  internal.update(
    internal.around(self, (handled) =>
      typeof limit === "object" && "onTimeout" in limit
        ? Effect.timeoutFail(handled, limit)
        : Effect.timeout(handled, limit as Duration.DurationInput)
    ),
    self.mode,
    { timeout: typeof limit === "object" && "onTimeout" in limit ? limit.duration : (limit as Duration.DurationInput) }
  )
)

type Limit<E2> = Duration.DurationInput | { readonly duration: Duration.DurationInput; readonly onTimeout: () => E2 }

/**
 * Marks a channel in a handler's requirements as the one that is told of its failures: its layer is needed, but nothing
 * is handled on it.
 *
 * @example
 * ```ts
 * import { Channel, DeadLetter, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 * class Ticks extends Channel.Tag<Ticks>()("Ticks", { messages: [Tick] }) {}
 * class Errors extends Channel.Tag<Errors>()("Errors", { messages: [DeadLetter.MessageFailed] }) {}
 *
 * const onTick: Handler.Handler<typeof Tick, never, Ticks | (Errors & Handler.FailuresOnly), "Asynchronous"> =
 *   Handler.event(Tick, { name: "OnTick", handle: () => Effect.void }).pipe(
 *     Handler.asynchronous(Ticks),
 *     Handler.errorChannel(Errors)
 *   )
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export interface FailuresOnly {
  readonly failuresOnly: unique symbol
}

/**
 * Puts a `DeadLetter.MessageFailed` on this channel, instead of on the error channel of the handler's own, for each
 * message that the handler gives up: in the commit that ends the message, one for each handler of `MessageFailed` on
 * that channel. When nobody there handles it, the log has an error, and a message that was to be discarded is parked.
 *
 * @example
 * ```ts
 * import { Channel, DeadLetter, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Charge extends Message.Command<Charge>()("Charge") {}
 * class Payments extends Channel.Tag<Payments>()("Payments", { messages: [Charge] }) {}
 * class Errors extends Channel.Tag<Errors>()("Errors", { messages: [DeadLetter.MessageFailed] }) {}
 *
 * const charge = Handler.command(Charge, () => Effect.fail("declined")).pipe(
 *   Handler.asynchronous(Payments),
 *   Handler.errorChannel(Errors)
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const errorChannel: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <I, Name extends string, C extends Message.AnyClass>(
    channel: Channel.TagClass<I, Name, C> & HearsFailures<never, Channel.TagClass<I, Name, C>>
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given an error channel"> & ToldElsewhere<R, I, Name>
  ) => Handler<M, E, R | (I & FailuresOnly), "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode, I, Name extends string, C extends Message.AnyClass>(
    self: Handler<M, E, R, M0> & Waits<M0, "given an error channel"> & ToldElsewhere<R, I, Name>,
    channel: Channel.TagClass<I, Name, C> & HearsFailures<never, Channel.TagClass<I, Name, C>>
  ): Handler<M, E, R | (I & FailuresOnly), "Asynchronous">
} = dual(2, (self: Any, channel: Channel.TagClass<any, string, any>) =>
  internal.update(self, self.mode, { errorChannel: channel })
)

/**
 * What a handler may say of its dead letters.
 *
 * @example
 * ```ts
 * import type { Handler } from "@holdfast/core"
 *
 * const disposable: Handler.DeadLetterOptions = { onGivenUp: "Discard", afterCrashes: 1 }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DeadLetterOptions {
  /** What becomes of given-up messages: see `Channel.OnGivenUp`. */
  readonly onGivenUp?: Channel.OnGivenUp | undefined
  /** After how long a message is tried again with `"Resend"` and `"Release"`. */
  readonly resendAfter?: Duration.DurationInput | undefined
  /** How many consumers may be lost (killed, frozen) while they handle the message. */
  readonly afterCrashes?: number | undefined
}

/**
 * Says when the handler's messages are given up and what then, instead of what its channel says; what is left out is
 * the channel's. How long a message waits for a handler that nobody knows is the channel's alone.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Priced extends Message.Event<Priced>()("Priced") {}
 * class Prices extends Channel.Tag<Prices>()("Prices", { messages: [Priced] }) {}
 *
 * const show = Handler.event(Priced, { name: "Show", handle: () => Effect.fail("no screen") }).pipe(
 *   Handler.asynchronous(Prices),
 *   Handler.deadLetter({ onGivenUp: "Discard" }) // the next price comes soon
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const deadLetter: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  (
    options: DeadLetterOptions
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a dead-letter policy">
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a dead-letter policy">,
    options: DeadLetterOptions
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, options: DeadLetterOptions) => internal.update(self, self.mode, { deadLetter: options }))

/**
 * What tells that a message was handled before, and for how long that is remembered.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class Paid extends Message.Event<Paid>()("Paid", { payload: { paymentId: Schema.String } }) {}
 *
 * const byDelivery: Handler.DeduplicateOptions<typeof Paid> = {
 *   key: (_, { headers }) => headers["webhook-id"],
 *   window: "30 days"
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DeduplicateOptions<M extends Message.AnyClass> {
  /** What a message is about: from its payload, its headers or both. The message's id when left out. */
  readonly key?: ((message: M["Type"], envelope: Metadata) => string | undefined) | undefined
  /** 7 days when left out. */
  readonly window?: Duration.DurationInput | undefined
}

/**
 * Handles messages of one key once, or each message once by its id when no key is given: a second one within the window
 * (7 days unless given) is acknowledged without running the handler. The key is remembered in the handler's unit of
 * work, so a failed try does not count, and of two at once exactly one takes effect. Keys are of this handler alone.
 *
 * A message that replies cannot be deduplicated here: send it with an `idempotencyKey` instead, which also keeps the
 * answer. A key that is empty, `undefined` or longer than 255 characters fails the handler with `Rejected`. The timeouts
 * of a saga are not deduplicated.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Paid extends Message.Event<Paid>()("Paid", { payload: { paymentId: Schema.String } }) {}
 *
 * const book = Handler.event(Paid, { name: "Book", handle: () => Effect.log("booked") }).pipe(
 *   Handler.deduplicate({ key: (paid) => paid.paymentId })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const deduplicate: {
  // last what most use: the compiler explains the last
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Silent<M>,
    options?: DeduplicateOptions<M>
  ): Handler<M, E | MessagingError, R | Deduplication, M0>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass>(
    options?: DeduplicateOptions<M>
  ): <E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Silent<M>
  ) => Handler<M, E | MessagingError, R | Deduplication, M0>
} = dual(
  ([self]) => typeof self === "object" && internal.TypeId in self,
  (self: Any, { key, window }: DeduplicateOptions<any> = {}) =>
    internal.update(self, self.mode, { deduplicate: { key, window: window ?? Duration.days(7) } })
)
