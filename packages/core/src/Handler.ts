/**
 * Handlers say what happens when a message arrives. A handler is a value: it is made from an Effect function, shaped
 * with `pipe`, and turned into a `Layer`.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Pipeable } from "effect/Pipeable"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Channel from "./Channel.ts"
import type { CurrentEnvelope, Metadata } from "./Envelope.ts"
import type { HandlerRegistry } from "./HandlerRegistry.ts"
import type { CircuitBreaker, ConcurrencyLimit, RateLimit } from "./handler/flow.ts"
import type { Handles } from "./handler/handles.ts"
import type { DeadLetterOptions, FailuresOnly } from "./handler/policies.ts"
import type { CurrentEndpoint } from "./internal/endpoint.ts"
import * as internal from "./internal/handler.ts"
import type { Accepted, InProcess, Routed, Silences } from "./internal/refusals.ts"
import type { ByTag } from "./internal/retrying.ts"
import type { Answered, Returned } from "./internal/returned.ts"
import type * as Message from "./Message.ts"
import type { When } from "./MessageScheduler.ts"
import type { UnitOfWork } from "./UnitOfWork.ts"

export * from "./handler/composition.ts"
export * from "./handler/delivery.ts"
export * from "./handler/flow.ts"
export * from "./handler/handles.ts"
export * from "./handler/output.ts"
export * from "./handler/policies.ts"
export * from "./handler/retries.ts"

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
 * no channel yet; `Returns` is a handler that returns messages which go nowhere yet.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const onTick = Handler.event(Tick, { name: "OnTick", handle: () => Effect.void })
 * const mode: Handler.Mode = onTick.mode // "Synchronous"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Mode = "Synchronous" | "Asynchronous" | "Timed" | Returns<unknown>

/**
 * The mode, for types alone, of a synchronous handler that returns the messages `Next`, until `Handler.outputTo` says
 * where they go.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 * class Tock extends Message.Event<Tock>()("Tock") {}
 *
 * const onTick: Handler.Handler<typeof Tick, never, never, Handler.Returns<Tock>> = Handler.event(Tick, {
 *   name: "OnTick",
 *   handle: () => Effect.succeed(new Tock())
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Returns<out Next> {
  readonly _: unique symbol
  readonly next: Next
}

/**
 * A handler of the messages `M`, which may fail with `E` and requires `R`.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const onTick: Handler.Handler<typeof Tick, "busy"> = Handler.event(Tick, {
 *   name: "OnTick",
 *   handle: () => Effect.fail("busy")
 * })
 * onTick.name // "OnTick"
 * ```
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
  readonly handle: (message: M["Type"], envelope: Metadata) => Effect.Effect<M["success"]["Type"] | NextOf<M0>, E, R>
  readonly options: Options
}

type NextOf<M0> = M0 extends Returns<infer Next> ? Next : never

/**
 * What combinators have said of a handler.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const onTick = Handler.event(Tick, { name: "OnTick", handle: () => Effect.void })
 * onTick.options.retryInPlace // undefined: no combinator has said anything yet
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly channel?: Channel.TagClass<any, string, any> | undefined
  readonly delay?: When | ((message: any) => When) | undefined
  readonly priority?: number | ((message: any) => number) | undefined
  readonly timeToLive?: Duration.DurationInput | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly orderedBy?: ((message: any, headers: Readonly<Record<string, string>>) => string | undefined) | undefined
  readonly retryInPlace?: Schedule.Schedule<any, any, never> | undefined
  readonly retryDurably?: Schedule.Schedule<any, any, never> | undefined
  readonly retryTagsInPlace?: ByTag | undefined
  readonly retryTagsDurably?: ByTag | undefined
  readonly errorChannel?: Channel.TagClass<any, string, any> | undefined
  readonly deadLetter?: DeadLetterOptions | undefined
  readonly rateLimit?: RateLimit<any> | undefined
  readonly concurrencyLimit?: ConcurrencyLimit<any> | undefined
  readonly circuitBreaker?: CircuitBreaker | undefined
  readonly deduplicate?:
    | {
        readonly key: ((message: any, envelope: Metadata) => string | undefined) | undefined
        readonly window: Duration.DurationInput
      }
    | undefined
  /** Messages only the runtime sends to the handler. */
  readonly internal?: ReadonlyArray<Message.AnyClass> | undefined
  /** Why its channel must be one that the store keeps. */
  readonly stored?: string | undefined
  /** Why it cannot be registered. */
  readonly mistake?: string | undefined
  /** It is a step of an orchestrator, which has no messages but those that the runtime sends. */
  readonly step?: boolean | undefined
  /** Handlers that are registered with it: the steps of an orchestrator that have a channel. */
  readonly parts?: ReadonlyArray<Any> | undefined
  /** Messages of one key are handled one at a time in a process. */
  readonly serialize?: ((message: any, envelope: Metadata) => string | undefined) | undefined
}

/**
 * Any handler.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const namesOf = (handlers: ReadonlyArray<Handler.Any>) => handlers.map((handler) => handler.name)
 * namesOf([Handler.event(Tick, { name: "OnTick", handle: () => Effect.void })]) // ["OnTick"]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Any extends Handler<any, any, any, any> {}

/**
 * Stands in the requirements of a channel's consumer, and is provided by the layer of the handlers on that channel: no
 * message is taken before its handlers exist.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, type Layer } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 * class Ticks extends Channel.Tag<Ticks>()("Ticks", { messages: [Tick] }) {}
 *
 * const onTick = Handler.event(Tick, { name: "OnTick", handle: () => Effect.void }).pipe(Handler.asynchronous(Ticks))
 * const HandlersLive = Handler.layer(onTick)
 * type Provided = Layer.Layer.Success<typeof HandlersLive> // Handler.HandledOn<Ticks>
 * ```
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
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * const ship = Handler.command(Ship, () => Effect.void)
 * type Provided = Handler.Provides<typeof ship> // Handler.Handles<"Ship">
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Provides<H> =
  H extends Handler<infer M, infer _E, infer R, infer M0>
    ?
        | (M extends { readonly kind: "Command" | "Query" } ? Handles<M["_tag"]> : never)
        | (M0 extends "Asynchronous"
            ? HandledOnEach<ChannelsOf<R>>
            : M extends InProcess
              ? HandledOnEach<ChannelsOf<R>>
              : never)
    : never

type HandledOnEach<C> = C extends unknown ? HandledOn<C> : never

/** The channels that messages are handled on, without those that are only told of failures. */
type ChannelsOf<R> = R extends Channel.Shape ? (R extends FailuresOnly ? never : R) : never

/**
 * What the routing of a handler provides.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 * class Shipping extends Channel.Tag<Shipping>()("Shipping", { messages: [Ship] }) {}
 *
 * const ship = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Shipping))
 * type Routed = Handler.Routes<typeof ship> // Handler.Handles<"Ship">
 * ```
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
 * @example
 * ```ts
 * import { Envelope, Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * const ship = Handler.command(Ship, () =>
 *   Effect.flatMap(Envelope.CurrentEnvelope, (envelope) => Effect.log(envelope.id))
 * )
 * type Left = Handler.Requires<typeof ship> // never: CurrentEnvelope is given
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Given = CurrentEnvelope | CurrentEndpoint | UnitOfWork | Scope.Scope

/**
 * What the layer of a handler requires.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Context, Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 * class Carrier extends Context.Tag("Carrier")<Carrier, { readonly collect: Effect.Effect<void> }>() {}
 *
 * const ship = Handler.command(Ship, () => Effect.flatMap(Carrier, (carrier) => carrier.collect))
 * type Required = Handler.Requires<typeof ship> // Carrier
 * ```
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
 * `MessagingError`; its SQL and messages are undone with it. It answers the command's reply, or returns the next
 * message for `Handler.outputTo`.
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
export const command = <M extends Message.AnyCommand, F, E, R>(
  message: M,
  handle: (command: M["Type"], envelope: Metadata) => F & Effect.Effect<Answered<M["success"]["Type"], F>, E, R>
): Handler<M, E, R, Returned<M["success"]["Type"], F>> => internal.make(message._tag, [message], handle)

/**
 * Handles several commands, none of which replies. It may fail only with what each of them declares.
 *
 * Its name is durable: messages in flight name it.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship", { payload: { orderId: Schema.String } }) {}
 * class Recall extends Message.Command<Recall>()("Recall", { payload: { orderId: Schema.String } }) {}
 *
 * const shipping = Handler.commands([Ship, Recall], {
 *   name: "Shipping",
 *   handle: (command) => Effect.log(`${command._tag} ${command.orderId}`)
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const commands = <const M extends ReadonlyArray<Message.AnyCommand>, F, E, R>(
  on: M & Silences<M>,
  options: {
    readonly name: string
    readonly handle: (command: M[number]["Type"], envelope: Metadata) => F & Effect.Effect<Answered<void, F>, E, R>
  }
): Handler<M[number], E, R, Returned<void, F>> =>
  internal.make(options.name, [...new Set<M[number]>(on)], options.handle)

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
  handle: (query: M["Type"], envelope: Metadata) => Effect.Effect<M["success"]["Type"], E, R>
): Handler<M, E, R> => internal.make(message._tag, [message], handle)

/**
 * Reacts to one or more events. An event has any number of handlers, so each has a name, which is durable: messages in
 * flight name it.
 *
 * A synchronous handler runs in the publisher's unit of work and must not fail; an asynchronous one gets a copy of its
 * own, with its own retries and its own end. It answers nothing, or returns the next message for `Handler.outputTo`.
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
export const event = <const M extends Message.AnyEvent | ReadonlyArray<Message.AnyEvent>, F, E, R>(
  on: M,
  options: {
    readonly name: string
    readonly handle: (event: EventOf<M>["Type"], envelope: Metadata) => F & Effect.Effect<Answered<void, F>, E, R>
  }
): Handler<EventOf<M>, E, R, Returned<void, F>> =>
  internal.make(options.name, Array.isArray(on) ? [...new Set(on)] : [on], options.handle)

type EventOf<M> = M extends ReadonlyArray<infer C extends Message.AnyEvent> ? C : M extends Message.AnyEvent ? M : never

/**
 * Registers handlers.
 *
 * Provides `Handles<Tag>` for each command and query and `HandledOn<Channel>` for each channel, and requires what the
 * handlers require, except what the handlers of this same layer handle. What was captured here is what the handlers
 * see: of the caller's context only the unit of work, the envelope and the span flow in.
 *
 * Dies when two handlers have one name or one command, when two messages have one tag, when a name, a tag or a duration
 * of a handler cannot be, and when a stored channel's layer is of another store than the one that keeps the messages.
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

type Encodes<H> = H extends Handler<infer M, infer _E, infer _R, infer _Mode> ? Schema.Schema.Context<M> : never

/**
 * Registers only where handlers are reached: for processes that send to handlers which run elsewhere. It requires
 * their channels and what the schemas of their messages need, nothing else of theirs. Dies on a handler without a
 * channel.
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
  HandlerRegistry | ChannelsOf<Requires<Handlers[number]>> | Encodes<Handlers[number]>
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
