/**
 * Handlers say what happens when a message arrives. A handler is a value: it is made from an Effect function, shaped
 * with `pipe`, and turned into a `Layer`.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { NoInfer } from "effect/Types"
import type * as Channel from "./Channel.ts"
import type { Deduplication } from "./Deduplication.ts"
import type { CurrentEnvelope, Metadata } from "./Envelope.ts"
import type { HandlerRegistry } from "./HandlerRegistry.ts"
import type { CurrentEndpoint } from "./internal/endpoint.ts"
import * as internal from "./internal/handler.ts"
import type { Accepted, Placed, Routed, Silent, Travels, Waits } from "./internal/refusals.ts"
import type * as Message from "./Message.ts"
import type { MessageScheduler, When } from "./MessageScheduler.ts"
import type { MessagingError } from "./MessagingError.ts"
import type { UnitOfWork } from "./UnitOfWork.ts"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = internal.TypeId

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~@holdfast/core/Handler"

/**
 * Whether the sender waits for the handler, or the message travels a channel. `Timed` is a saga with timeouts that has
 * no channel yet.
 *
 * @since 0.1.0
 * @category models
 */
export type Mode = "Synchronous" | "Asynchronous" | "Timed"

/**
 * A handler of the messages `M`, which may fail with `E` and requires `R`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Handler<
  in out M extends Message.AnyClass,
  out E = never,
  out R = never,
  out M0 extends Mode = "Synchronous"
> extends Pipeable {
  readonly [TypeId]: TypeId
  /** Durable: messages in flight name it. */
  readonly name: string
  readonly mode: M0
  readonly messages: ReadonlyArray<M>
  readonly handle: (message: M["Type"]) => Effect.Effect<M["success"]["Type"], E, R>
  readonly options: Options
}

/**
 * What combinators have said of a handler.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly channel?: Channel.TagClass<any, string, any> | undefined
  readonly delay?: When | ((message: any) => When) | undefined
  readonly priority?: number | ((message: any) => number) | undefined
  readonly timeToLive?: Duration.DurationInput | undefined
  readonly retryInPlace?: Schedule.Schedule<any, any, never> | undefined
  readonly retryDurably?: Schedule.Schedule<any, any, never> | undefined
  readonly deduplicate?:
    | { readonly key: (message: any, envelope: Metadata) => string; readonly window: Duration.DurationInput }
    | undefined
  /** Messages only the runtime sends to the handler. */
  readonly internal?: ReadonlyArray<Message.AnyClass> | undefined
  /** Messages of one key are handled one at a time in a process. */
  readonly serialize?: ((message: any, envelope: Metadata) => string | undefined) | undefined
}

/**
 * Any handler.
 *
 * @since 0.1.0
 * @category models
 */
export interface Any extends Handler<any, any, any, any> {}

/**
 * Stands in the requirements of whoever sends a command or asks a query, and is provided by the layer of the handler:
 * without a handler it does not compile.
 *
 * @since 0.1.0
 * @category models
 */
export interface Handles<in out Tag extends string> {
  readonly _: unique symbol
  readonly tag: Tag
}

/**
 * Stands in the requirements of a channel's consumer, and is provided by the layer of the handlers on that channel: no
 * message is taken before its handlers exist.
 *
 * @since 0.1.0
 * @category models
 */
export interface HandledOn<in out C> {
  readonly _: unique symbol
  readonly channel: C
}

/**
 * What the layer of a handler provides.
 *
 * @since 0.1.0
 * @category type-level
 */
export type Provides<H> =
  H extends Handler<infer M, infer _E, infer R, infer M0>
    ?
        | (M extends { readonly kind: "Command" | "Query" } ? Handles<M["_tag"]> : never)
        | (M0 extends "Asynchronous" ? (R extends Channel.Shape ? HandledOn<R> : never) : never)
    : never

/**
 * What the routing of a handler provides.
 *
 * @since 0.1.0
 * @category type-level
 */
export type Routes<H> =
  H extends Handler<infer M, infer _E, infer _R, infer _Mode>
    ? M extends { readonly kind: "Command" | "Query" }
      ? Handles<M["_tag"]>
      : never
    : never

/**
 * What the runtime itself gives to each handler.
 *
 * @since 0.1.0
 * @category type-level
 */
export type Given = CurrentEnvelope | CurrentEndpoint | UnitOfWork | Scope.Scope

/**
 * What the layer of a handler requires.
 *
 * @since 0.1.0
 * @category type-level
 */
export type Requires<H> =
  H extends Handler<infer M, infer _E, infer R, infer _Mode>
    ? Schema.Schema.Context<M> | Exclude<R, [M] extends [Message.AnyQuery] ? Exclude<Given, UnitOfWork> : Given>
    : never

/**
 * Handles a command. While the sender waits, it may fail with the errors the command declares and with
 * `MessagingError`; its SQL and messages are undone with it.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship", { payload: { orderId: Schema.String } }) {}
 *
 * const ship = Handler.command(Ship, ({ orderId }) => Effect.log(`shipping ${orderId}`))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const command = <M extends Message.AnyCommand, E, R>(
  message: M,
  handle: (command: M["Type"]) => Effect.Effect<M["success"]["Type"], E, R>
): Handler<M, E, R> => internal.make(message._tag, [message], handle)

/**
 * Answers a query. It opens no unit of work; errors are those the query declares.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class GetTotal extends Message.Query<GetTotal>()("GetTotal", {
 *   payload: { orderId: Schema.String },
 *   success: Schema.Number
 * }) {}
 *
 * const getTotal = Handler.query(GetTotal, () => Effect.succeed(30))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const query = <M extends Message.AnyQuery, E, R>(
  message: M,
  handle: (query: M["Type"]) => Effect.Effect<M["success"]["Type"], E, R>
): Handler<M, E, R> => internal.make(message._tag, [message], handle)

/**
 * Reacts to one or more events. An event has any number of handlers, so each has a name, which is durable: messages in
 * flight name it.
 *
 * A synchronous handler runs in the publisher's unit of work and must not fail; an asynchronous one gets a copy of its
 * own, with its own retries and its own end.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", { payload: { orderId: Schema.String } }) {}
 *
 * const confirm = Handler.event(OrderPlaced, {
 *   name: "Confirm",
 *   handle: ({ orderId }) => Effect.log(`thanks for ${orderId}`)
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const event = <const M extends Message.AnyEvent | ReadonlyArray<Message.AnyEvent>, E, R>(
  on: M,
  options: {
    readonly name: string
    readonly handle: (event: EventOf<M>["Type"]) => Effect.Effect<void, E, R>
  }
): Handler<EventOf<M>, E, R> => internal.make(options.name, Array.isArray(on) ? [...new Set(on)] : [on], options.handle)

type EventOf<M> = M extends ReadonlyArray<infer C extends Message.AnyEvent> ? C : M extends Message.AnyEvent ? M : never

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
 * are the store's, so a message never fires early and its delay survives restarts. What lies in the past is due at once.
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
    self: Handler<M, E, R, M0> & Waits<M0, "given a time to live">
  ) => Handler<M, E, R, "Asynchronous">
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Waits<M0, "given a time to live">,
    duration: Duration.DurationInput
  ): Handler<M, E, R, "Asynchronous">
} = dual(2, (self: Any, duration: Duration.DurationInput) => internal.update(self, self.mode, { timeToLive: duration }))

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
  internal.around(self, (handled) =>
    typeof limit === "object" && "onTimeout" in limit
      ? Effect.timeoutFail(handled, limit)
      : Effect.timeout(handled, limit as Duration.DurationInput)
  )
)

type Limit<E2> = Duration.DurationInput | { readonly duration: Duration.DurationInput; readonly onTimeout: () => E2 }

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
 *   Handler.retry(Schedule.recurs(1)), // at once
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
    policy: Schedule.Schedule<B, NoInfer<E>, never>
  ): <M extends Message.AnyClass, R, M0 extends Mode>(
    self: Handler<M, E, R, M0>
  ) => Handler<M, E, R | (M0 extends "Asynchronous" ? MessageScheduler : never), M0>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode, B>(
    self: Handler<M, E, R, M0>,
    policy: Schedule.Schedule<B, NoInfer<E>, never>
  ): Handler<M, E, R | (M0 extends "Asynchronous" ? MessageScheduler : never), M0>
} = dual(2, (self: Any, schedule: Schedule.Schedule<any, any, never>) =>
  internal.update(
    self,
    self.mode,
    self.mode === "Asynchronous" ? { retryDurably: schedule } : { retryInPlace: schedule }
  )
)

/**
 * Handles messages of one key once: a second one within the window (7 days unless given) is acknowledged without
 * running the handler. The key is remembered in the handler's unit of work, so a failed try does not count, and of two
 * at once exactly one takes effect. A message that replies cannot be deduplicated here: send it with an
 * `idempotencyKey` instead, which also keeps the answer.
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
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass>(options: {
    readonly key: (message: M["Type"], envelope: Metadata) => string
    readonly window?: Duration.DurationInput | undefined
  }): <E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Silent<M>
  ) => Handler<M, E | MessagingError, R | Deduplication, M0>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Silent<M>,
    options: {
      readonly key: (message: M["Type"], envelope: Metadata) => string
      readonly window?: Duration.DurationInput | undefined
    }
  ): Handler<M, E | MessagingError, R | Deduplication, M0>
} = dual(
  2,
  (
    self: Any,
    options: {
      readonly key: (message: any, envelope: Metadata) => string
      readonly window?: Duration.DurationInput | undefined
    }
  ) =>
    internal.update(self, self.mode, {
      deduplicate: { key: options.key, window: options.window ?? Duration.days(7) }
    })
)

/**
 * Registers handlers.
 *
 * Provides `Handles<Tag>` for each command and query and `HandledOn<Channel>` for each channel, and requires what the
 * handlers require, except what the handlers of this same layer handle. What was captured here is what the handlers
 * see: of the caller's context only the unit of work, the envelope and the span flow in.
 *
 * Dies when two handlers have one name or one command, when two messages have one tag, and when a stored channel's
 * layer is of another store than the one that keeps the messages.
 *
 * @example
 * ```ts
 * import { CommandBus, Handler, Message, MessageBus } from "@holdfast/core"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Greet extends Message.Command<Greet>()("Greet", { payload: { name: Schema.String } }) {}
 *
 * const GreetingsLive = Handler.layer(Handler.command(Greet, ({ name }) => Effect.log(`Hello, ${name}`)))
 *
 * const program = CommandBus.send(new Greet({ name: "Ada" })).pipe(
 *   Effect.provide(GreetingsLive.pipe(Layer.provideMerge(MessageBus.layerMemory)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: <Handlers extends ReadonlyArray<Any>>(
  ...handlers: Accepted<Handlers>
) => Layer.Layer<
  Provides<Handlers[number]>,
  never,
  HandlerRegistry | Exclude<Requires<Handlers[number]>, Routes<Handlers[number]>>
> = internal.layer as any

/**
 * Registers only where handlers are reached: for processes that send to handlers which run elsewhere. It requires
 * their channels, nothing else of theirs. Dies on a handler without a channel.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship", { payload: { orderId: Schema.String } }) {}
 * class Shipping extends Channel.Tag<Shipping>()("Shipping", { messages: [Ship] }) {}
 *
 * const ship = Handler.command(Ship, () => Effect.log("shipping")).pipe(Handler.asynchronous(Shipping))
 *
 * const WebRoutes = Handler.routes(ship) // Layer<Handles<"Ship">, never, HandlerRegistry | Shipping>
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const routes: <Handlers extends ReadonlyArray<Any>>(
  ...handlers: Routed<Handlers>
) => Layer.Layer<
  Routes<Handlers[number]>,
  never,
  HandlerRegistry | Extract<Requires<Handlers[number]>, Channel.Shape>
> = internal.routes as any

/**
 * Whether the value is a handler.
 *
 * @example
 * ```ts
 * import { Handler } from "@holdfast/core"
 *
 * Handler.isHandler({}) // false
 * ```
 *
 * @since 0.1.0
 * @category guards
 */
export const isHandler = (value: unknown): value is Any =>
  typeof value === "object" && value !== null && TypeId in value
