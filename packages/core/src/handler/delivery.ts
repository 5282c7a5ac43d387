/**
 * What a handler says of its channel and of when its messages are delivered. Part of `Handler`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import type * as Channel from "../Channel.ts"
import type { Any, Handler, Mode, Options } from "../Handler.ts"
import * as internal from "../internal/handler.ts"
import type { Expires, Placed, Travels, Waits } from "../internal/refusals.ts"
import type * as Message from "../Message.ts"
import type { MessageScheduler, When } from "../MessageScheduler.ts"

/**
 * Moves the handler to the far side of a channel: the message is kept with whatever else its sender's unit of work
 * writes, and handled later, at least once, by a consumer of the channel.
 *
 * The channel becomes a requirement, and must carry the handler's messages. A handler that replies, or a message that
 * declares an error, cannot be moved: nobody would wait for the answer. A handler has one channel.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 * class Ticks extends Channel.Tag<Ticks>()("Ticks", { messages: [Tick] }) {}
 *
 * const onTick = Handler.event(Tick, { name: "OnTick", handle: () => Effect.void }).pipe(Handler.asynchronous(Ticks))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const asynchronous: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <I, Name extends string, C extends Message.AnyClass>(
    channel: Channel.TagClass<I, Name, C>
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Travels<M, Name, C> & Placed<M, M0>
  ) => Handler<M, E, R | I, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode, I, Name extends string, C extends Message.AnyClass>(
    self: Handler<M, E, R, M0> & Travels<M, Name, C> & Placed<M, M0>,
    channel: Channel.TagClass<I, Name, C>
  ): Handler<M, E, R | I, "Asynchronous">
} = dual(2, (self: Any, channel: Channel.TagClass<any, string, any>) =>
  internal.update(self, "Asynchronous", { channel })
)

/**
 * Holds each message back before it is handled: for a duration, until an instant, or for what the message says. Times
 * are the store's, so a message never fires early and its delay survives restarts. What lies in the past is due at once;
 * what is no time, such as an invalid `Date`, fails the sender with `Rejected`.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Booked extends Message.Event<Booked>()("Booked", { payload: { remindAt: Schema.Date } }) {}
 * class Bookings extends Channel.Tag<Bookings>()("Bookings", { messages: [Booked] }) {}
 *
 * const remind = Handler.event(Booked, { name: "Remind", handle: () => Effect.log("soon") }).pipe(
 *   Handler.asynchronous(Bookings),
 *   Handler.delay((booked) => booked.remindAt)
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const delay: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass>(
    when: (message: M["Type"]) => When
  ): <E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "delayed">
  ) => Handler<M, E, R | MessageScheduler, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  (
    when: When
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "delayed">
  ) => Handler<M, E, R | MessageScheduler, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "delayed">,
    when: When | ((message: M["Type"]) => When)
  ): Handler<M, E, R | MessageScheduler, "Asynchronous">
} = dual(2, (self: Any, when: When | ((message: any) => When)) => internal.update(self, self.mode, { delay: when }))

/**
 * Has the handler's messages taken before those of a lower priority, when several wait on the channel. The highest
 * number goes first; 0 unless given. A priority given when sending wins. It orders what waits: a message that is being
 * handled is not put aside. Copies that a publisher makes without knowing the handler have the publisher's priority.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Ordered extends Message.Event<Ordered>()("Ordered", { payload: { express: Schema.Boolean } }) {}
 * class Orders extends Channel.Tag<Orders>()("Orders", { messages: [Ordered] }) {}
 *
 * const pack = Handler.event(Ordered, { name: "Pack", handle: () => Effect.log("packed") }).pipe(
 *   Handler.asynchronous(Orders),
 *   Handler.priority((ordered) => (ordered.express ? 10 : 0))
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const priority: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass>(
    priority: (message: M["Type"]) => number
  ): <E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a priority">
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  (
    priority: number
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a priority">
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a priority">,
    priority: number | ((message: M["Type"]) => number)
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, priority: number | ((message: any) => number)) =>
  internal.update(self, self.mode, { priority })
)

/**
 * Has messages of one key handled in order, one at a time, while those of other keys are handled beside them. The key
 * comes from the message and its headers; without one, `undefined` or `""`, a message is handled like any other.
 *
 * A key counts for one handler on one channel: copies of an event for several handlers do not wait for each other. Order
 * across several types of messages needs one handler of all of them, or a saga. The order is the one in which messages
 * were sent, one commit after the other; of those whose transactions overlap, either may be first. A delayed message
 * takes its place when its time comes, and holds up nobody before.
 *
 * Failures keep the order. While a message waits for its retry, or is given back, the later ones of its key wait; so do
 * they when its consumer is lost. When it becomes a dead letter, they wait until that one is replayed, which puts it
 * back in its place, or deleted. All of this is stored, and survives restarts. What expires or is discarded lets the
 * next one go. Priority decides between keys, and reorders none.
 *
 * Copies of a publisher that does not know the handler are first given their keys, one after the other: let publishers
 * know it through `Handler.routes` to spare that. On a broker's channel order is what its driver says.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Moved extends Message.Event<Moved>()("Moved", { payload: { parcel: Schema.String, to: Schema.String } }) {}
 * class Parcels extends Channel.Tag<Parcels>()("Parcels", { messages: [Moved] }) {}
 *
 * const track = Handler.event(Moved, { name: "Track", handle: ({ to }) => Effect.log(`now at ${to}`) }).pipe(
 *   Handler.asynchronous(Parcels),
 *   Handler.orderedBy(({ parcel }) => parcel)
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const orderedBy: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass>(
    key: (message: M["Type"], headers: Readonly<Record<string, string>>) => string | undefined
  ): <E, R, M0 extends Mode>(self: Handler<M, E, R, M0> & Waits<M0, "ordered">) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "ordered">,
    key: (message: M["Type"], headers: Readonly<Record<string, string>>) => string | undefined
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, key: NonNullable<Options["orderedBy"]>) => internal.update(self, self.mode, { orderedBy: key }))

/**
 * Drops a message that nobody began to handle in time: it is worth nothing any more, such as a price that has changed.
 * The time runs from when the message became available, by the store's clock; one that was begun and is tried again
 * does not expire. What expires is told in the log as a warning.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Priced extends Message.Event<Priced>()("Priced") {}
 * class Prices extends Channel.Tag<Prices>()("Prices", { messages: [Priced] }) {}
 *
 * const show = Handler.event(Priced, { name: "Show", handle: () => Effect.log("shown") }).pipe(
 *   Handler.asynchronous(Prices),
 *   Handler.timeToLive("30 seconds")
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const timeToLive: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  (
    duration: Duration.DurationInput
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a time to live"> & Expires<M>
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a time to live"> & Expires<M>,
    duration: Duration.DurationInput
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, duration: Duration.DurationInput) => internal.update(self, self.mode, { timeToLive: duration }))
