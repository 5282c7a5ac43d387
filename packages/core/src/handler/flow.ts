/**
 * How fast the messages of a handler are handled, in all processes together. Part of `Handler`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import type { Any, Handler, Mode } from "../Handler.ts"
import * as internal from "../internal/handler.ts"
import type { Waits } from "../internal/refusals.ts"
import type * as Message from "../Message.ts"

/**
 * How many messages may begin in any while of `interval`; with a `key`, how many of each key. A message whose key is
 * undefined is not limited.
 *
 * @example
 * ```ts
 * import type { Handler } from "@holdfast/core"
 *
 * const fair: Handler.RateLimit<{ readonly to: string }> = {
 *   limit: 10,
 *   interval: "1 minute",
 *   key: ({ to }, headers) => headers.tenant ?? to
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface RateLimit<in A> {
  readonly limit: number
  readonly interval: Duration.DurationInput
  readonly key?: ((message: A, headers: Readonly<Record<string, string>>) => string | undefined) | undefined
}

/**
 * How many messages are handled at once; with a `key`, how many of each key. A message whose key is undefined is not
 * limited.
 *
 * @example
 * ```ts
 * import type { Handler } from "@holdfast/core"
 *
 * const oneAnAccount: Handler.ConcurrencyLimit<{ readonly account: string }> = {
 *   limit: 1,
 *   key: ({ account }) => account
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface ConcurrencyLimit<in A> {
  readonly limit: number
  readonly key?: ((message: A, headers: Readonly<Record<string, string>>) => string | undefined) | undefined
}

/**
 * When a handler is left alone for a while: after so many failures of its infrastructure in a row, for so long.
 *
 * @example
 * ```ts
 * import type { Handler } from "@holdfast/core"
 *
 * const patient: Handler.CircuitBreaker = { failures: 5, openFor: "30 seconds" }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface CircuitBreaker {
  readonly failures: number
  readonly openFor: Duration.DurationInput
}

/**
 * Limits how many of the handler's messages begin in any while of `interval`, by all consumers in all processes
 * together, by the store's clock. The rest is set aside and handled oldest first as there is room; that counts no
 * attempt, and messages with an ordering key keep their order. A retry begins anew, and counts again.
 *
 * With a `key` there is a limit for each key, such as the tenant or the account that a message is about; keys are told
 * apart by their first 200 characters. The channel may have a limit besides: then both must have room. On a broker's
 * channel the rest is given back to the broker, and comes again after a second.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Welcome extends Message.Command<Welcome>()("Welcome", { payload: { to: Schema.String } }) {}
 * class Mails extends Channel.Tag<Mails>()("Mails", { messages: [Welcome] }) {}
 *
 * const welcome = Handler.command(Welcome, ({ to }) => Effect.log(`mail to ${to}`)).pipe(
 *   Handler.asynchronous(Mails),
 *   Handler.rateLimit({ limit: 100, interval: "1 minute", key: (_welcome, headers) => headers.tenant })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const rateLimit: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass>(
    limit: RateLimit<M["Type"]>
  ): <E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a rate limit">
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a rate limit">,
    limit: RateLimit<M["Type"]>
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, rateLimit: RateLimit<any>) => internal.update(self, self.mode, { rateLimit }))

/**
 * Limits how many of the handler's messages are handled at once, by all consumers in all processes together. The rest is
 * set aside and handled oldest first as others end; that counts no attempt, and messages with an ordering key keep their
 * order. What a killed process was at counts until its lease has run out.
 *
 * With a `key` there is a limit for each key; keys are told apart by their first 200 characters. The channel may have a
 * limit besides: then both must have room. On a broker's channel the rest is given back to the broker, and comes again
 * after a second.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Book extends Message.Command<Book>()("Book", { payload: { account: Schema.String } }) {}
 * class Books extends Channel.Tag<Books>()("Books", { messages: [Book] }) {}
 *
 * const book = Handler.command(Book, ({ account }) => Effect.log(`booked on ${account}`)).pipe(
 *   Handler.asynchronous(Books),
 *   Handler.concurrencyLimit({ limit: 1, key: ({ account }) => account })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const concurrencyLimit: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass>(
    limit: ConcurrencyLimit<M["Type"]>
  ): <E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a concurrency limit">
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a concurrency limit">,
    limit: ConcurrencyLimit<M["Type"]>
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, concurrencyLimit: ConcurrencyLimit<any>) =>
  internal.update(self, self.mode, { concurrencyLimit })
)

/**
 * Leaves the handler alone while what it needs is away. After so many failures of the infrastructure in a row, as
 * `FailureClassifier` tells them, this process begins none of its messages for `openFor`; then one message tries it. If
 * that one meets the infrastructure again, whatever it answers, the rest follows; else the circuit stays open for
 * another while. Each process has a circuit of its own for each handler: see `Consumer.circuits`.
 *
 * Messages that wait for it count no attempt. If all handlers of a channel are left alone, nothing is taken from it.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Charge extends Message.Command<Charge>()("Charge") {}
 * class Payments extends Channel.Tag<Payments>()("Payments", { messages: [Charge] }) {}
 *
 * const charge = Handler.command(Charge, () => Effect.log("POST /charges")).pipe(
 *   Handler.asynchronous(Payments),
 *   Handler.circuitBreaker({ failures: 5, openFor: "30 seconds" })
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const circuitBreaker: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  (
    breaker: CircuitBreaker
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a circuit breaker">
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a circuit breaker">,
    breaker: CircuitBreaker
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, circuitBreaker: CircuitBreaker) => internal.update(self, self.mode, { circuitBreaker }))
