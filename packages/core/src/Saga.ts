/**
 * Sagas remember what happened before and decide what happens next. A saga is a handler with state: everything in
 * `Handler` works on it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type { Metadata } from "./Envelope.ts"
import type { Handler, Mode } from "./Handler.ts"
import type { Headers } from "./Headers.ts"
import type { CurrentSaga } from "./internal/saga.ts"
import * as internal from "./internal/saga.ts"
import type * as Message from "./Message.ts"
import type { MessageScheduler, When } from "./MessageScheduler.ts"
import type { MessagingError } from "./MessagingError.ts"
import { SagaStore } from "./SagaStore.ts"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = internal.TypeId

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~@holdfast/core/Saga"

/**
 * A saga named `Name` that remembers `State`. Each instance has an identifier; a message finds its instance by it.
 *
 * @example
 * ```ts
 * import { Saga, type SagaStore } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const State = Schema.Struct({ orderId: Schema.String })
 *
 * const shipping: Saga.Saga<"Shipping", typeof State, never, never, SagaStore.SagaStore> = Saga.make("Shipping", {
 *   state: State
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Saga<
  Name extends string,
  in out State extends Schema.Schema.Any,
  in out M extends Message.AnyClass = never,
  out E = never,
  out R = never,
  out M0 extends Mode = "Synchronous"
> extends Handler<M, E, R, M0> {
  readonly [TypeId]: TypeId
  /** Durable: instances and messages in flight name it. */
  readonly name: Name
  readonly state: State
  readonly transitions: ReadonlyArray<internal.Transition>
}

/**
 * What a transition returns to end the saga. The last state is kept, and later messages are ignored.
 *
 * @example
 * ```ts
 * import { Saga } from "@holdfast/core"
 *
 * const done: Saga.Complete<{ readonly orderId: string }> = Saga.complete({ orderId: "A1" })
 * done.state // { orderId: "A1" }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Complete<out State> {
  readonly _tag: "@holdfast/core/Saga/Complete"
  readonly state: State
}

/**
 * Which instance a message is for. Without one the message cannot be handled and becomes a dead letter.
 *
 * @example
 * ```ts
 * import { Headers, Message, type Saga } from "@holdfast/core"
 * import { Option, Schema } from "effect"
 *
 * class Paid extends Message.Event<Paid>()("Paid", { payload: { orderId: Schema.String } }) {}
 *
 * const byOrder: Saga.Identify<typeof Paid> = (paid) => paid.orderId
 * const byTenant: Saga.Identify<typeof Paid> = (_paid, headers) => Option.fromNullable(headers[Headers.tenant])
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Identify<C extends Message.AnyClass> = (
  message: C["Type"],
  headers: Headers
) => string | Option.Option<string>

/**
 * The instance a transition runs for: what `arm` and `cancel` need. Provided to transitions only.
 *
 * @example
 * ```ts
 * import { Saga } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const remindTwice: Effect.Effect<void, never, Saga.CurrentSaga> = Effect.zipRight(
 *   Saga.arm("reminder", "1 day"),
 *   Saga.arm("last reminder", "3 days")
 * )
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export type { CurrentSaga } from "./internal/saga.ts"

/**
 * Ends the saga, keeping its last state. Its armed timeouts are cancelled.
 *
 * @example
 * ```ts
 * import { Saga } from "@holdfast/core"
 *
 * Saga.complete({ orderId: "A1" })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const complete = <State>(state: State): Complete<State> => ({ _tag: internal.completeTag, state })

/**
 * A saga that does nothing yet: pipe it through `startOn`, `on` and `onTimeout`.
 *
 * An instance is moved by one message at a time: of two at once, one commits and the other runs again on the new state.
 * State, messages sent, armed timeouts and the acknowledgement commit whole or not at all.
 *
 * @example
 * ```ts
 * import { Message, Saga } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", { payload: { orderId: Schema.String } }) {}
 * class Paid extends Message.Event<Paid>()("Paid", { payload: { orderId: Schema.String } }) {}
 *
 * const fulfilment = Saga.make("Fulfilment", { state: Schema.Struct({ orderId: Schema.String, paid: Schema.Boolean }) }).pipe(
 *   Saga.startOn(OrderPlaced, {
 *     id: (placed) => placed.orderId,
 *     handle: ({ orderId }) => Effect.as(Saga.arm("payment", "24 hours"), { orderId, paid: false })
 *   }),
 *   Saga.on(Paid, {
 *     id: (paid) => paid.orderId,
 *     handle: (state) => Effect.succeed(Saga.complete({ ...state, paid: true }))
 *   }),
 *   Saga.onTimeout("payment", { handle: (state) => Effect.succeed(Saga.complete(state)) })
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <const Name extends string, State extends Schema.Schema.Any>(
  name: Name,
  options: { readonly state: State }
): Saga<Name, State, never, never, SagaStore | Schema.Schema.Context<State>> => internal.make(name, options.state, [])

/**
 * Starts an instance when the message arrives and none exists under its identifier. If one exists, `on` for the same
 * message continues it; without such an `on`, and after the instance completed, the message is ignored.
 *
 * @example
 * ```ts
 * import { Message, Saga } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Signup extends Message.Command<Signup>()("Signup", { payload: { email: Schema.String } }) {}
 *
 * const onboarding = Saga.make("Onboarding", { state: Schema.Struct({ email: Schema.String }) }).pipe(
 *   Saga.startOn(Signup, { id: (_) => _.email, handle: ({ email }) => Effect.succeed({ email }) })
 * )
 * ```
 *
 * @since 0.1.0
 * @category transitions
 */
export const startOn: {
  /**
   * @since 0.1.0
   * @category transitions
   */
  <C extends Message.AnyClass, State extends Schema.Schema.Any, E2, R2>(
    message: C & Moves<C>,
    options: {
      readonly id: Identify<C>
      readonly handle: (
        message: C["Type"],
        envelope: Metadata
      ) => Effect.Effect<State["Type"] | Complete<State["Type"]>, E2, R2>
    }
  ): <Name extends string, M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Saga<Name, State, M, E, R, M0>
  ) => Saga<Name, State, M | C, E | E2 | MessagingError, Exclude<R | R2, CurrentSaga>, M0>
  /**
   * @since 0.1.0
   * @category transitions
   */
  <
    Name extends string,
    State extends Schema.Schema.Any,
    M extends Message.AnyClass,
    E,
    R,
    M0 extends Mode,
    C extends Message.AnyClass,
    E2,
    R2
  >(
    self: Saga<Name, State, M, E, R, M0>,
    message: C & Moves<C>,
    options: {
      readonly id: Identify<C>
      readonly handle: (
        message: C["Type"],
        envelope: Metadata
      ) => Effect.Effect<State["Type"] | Complete<State["Type"]>, E2, R2>
    }
  ): Saga<Name, State, M | C, E | E2 | MessagingError, Exclude<R | R2, CurrentSaga>, M0>
} = dual(3, (self: internal.AnySaga, message: Message.AnyClass, options: any) =>
  internal.add(self, {
    message,
    starts: true,
    id: options.id,
    handle: (_state: unknown, event: unknown, envelope: Metadata) => options.handle(event, envelope)
  })
)

/**
 * Moves the instance on when the message arrives: return the new state to go on, or `Saga.complete(state)` to end.
 * Without an instance under its identifier the message is ignored. Like all transitions it also gets the message's
 * envelope.
 *
 * @example
 * ```ts
 * import { Message, Saga } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Started extends Message.Event<Started>()("Started", { payload: { id: Schema.String } }) {}
 * class Counted extends Message.Event<Counted>()("Counted", { payload: { id: Schema.String } }) {}
 *
 * const counter = Saga.make("Counter", { state: Schema.Number }).pipe(
 *   Saga.startOn(Started, { id: (_) => _.id, handle: () => Effect.succeed(0) }),
 *   Saga.on(Counted, { id: (_) => _.id, handle: (count) => Effect.succeed(count + 1) })
 * )
 * ```
 *
 * @since 0.1.0
 * @category transitions
 */
export const on: {
  /**
   * @since 0.1.0
   * @category transitions
   */
  <C extends Message.AnyClass, State extends Schema.Schema.Any, E2, R2>(
    message: C & Moves<C>,
    options: {
      readonly id: Identify<C>
      readonly handle: (
        state: State["Type"],
        message: C["Type"],
        envelope: Metadata
      ) => Effect.Effect<State["Type"] | Complete<State["Type"]>, E2, R2>
    }
  ): <Name extends string, M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Saga<Name, State, M, E, R, M0>
  ) => Saga<Name, State, M | C, E | E2 | MessagingError, Exclude<R | R2, CurrentSaga>, M0>
  /**
   * @since 0.1.0
   * @category transitions
   */
  <
    Name extends string,
    State extends Schema.Schema.Any,
    M extends Message.AnyClass,
    E,
    R,
    M0 extends Mode,
    C extends Message.AnyClass,
    E2,
    R2
  >(
    self: Saga<Name, State, M, E, R, M0>,
    message: C & Moves<C>,
    options: {
      readonly id: Identify<C>
      readonly handle: (
        state: State["Type"],
        message: C["Type"],
        envelope: Metadata
      ) => Effect.Effect<State["Type"] | Complete<State["Type"]>, E2, R2>
    }
  ): Saga<Name, State, M | C, E | E2 | MessagingError, Exclude<R | R2, CurrentSaga>, M0>
} = dual(3, (self: internal.AnySaga, message: Message.AnyClass, options: any) =>
  internal.add(self, { message, starts: false, id: options.id, handle: options.handle })
)

/**
 * Says what happens when a timeout that `Saga.arm` armed fires. It fires through the saga's channel, never early by the
 * store's clock; a timeout that was cancelled, armed again, or whose instance completed meanwhile is ignored.
 *
 * A saga with timeouts needs a channel: `Handler.layer` refuses it without `Handler.asynchronous`.
 *
 * @example
 * ```ts
 * import { Message, Saga } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Booked extends Message.Event<Booked>()("Booked", { payload: { id: Schema.String } }) {}
 *
 * const booking = Saga.make("Booking", { state: Schema.Struct({ reminded: Schema.Boolean }) }).pipe(
 *   Saga.startOn(Booked, {
 *     id: (_) => _.id,
 *     handle: () => Effect.as(Saga.arm("reminder", "3 days"), { reminded: false })
 *   }),
 *   Saga.onTimeout("reminder", { handle: () => Effect.succeed({ reminded: true }) })
 * )
 * ```
 *
 * @since 0.1.0
 * @category transitions
 */
export const onTimeout: {
  /**
   * @since 0.1.0
   * @category transitions
   */
  <State extends Schema.Schema.Any, E2, R2>(
    name: string,
    options: {
      readonly handle: (
        state: State["Type"],
        envelope: Metadata
      ) => Effect.Effect<State["Type"] | Complete<State["Type"]>, E2, R2>
    }
  ): <Name extends string, M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Saga<Name, State, M, E, R, M0>
  ) => Saga<Name, State, M, E | E2 | MessagingError, Exclude<R | R2, CurrentSaga> | MessageScheduler, "Timed">
  /**
   * @since 0.1.0
   * @category transitions
   */
  <Name extends string, State extends Schema.Schema.Any, M extends Message.AnyClass, E, R, M0 extends Mode, E2, R2>(
    self: Saga<Name, State, M, E, R, M0>,
    name: string,
    options: {
      readonly handle: (
        state: State["Type"],
        envelope: Metadata
      ) => Effect.Effect<State["Type"] | Complete<State["Type"]>, E2, R2>
    }
  ): Saga<Name, State, M, E | E2 | MessagingError, Exclude<R | R2, CurrentSaga> | MessageScheduler, "Timed">
} = dual(3, (self: internal.AnySaga, name: string, options: any) =>
  internal.add(self, { timeout: name, handle: options.handle })
)

/**
 * Messages that may move a saga: events, and commands that answer nothing.
 *
 * @example
 * ```ts
 * import { Message, type Saga } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class Paid extends Message.Event<Paid>()("Paid") {}
 * class GetTotal extends Message.Query<GetTotal>()("GetTotal", { success: Schema.Number }) {}
 *
 * type Accepted = Saga.Moves<typeof Paid> // unknown
 * type Refused = Saga.Moves<typeof GetTotal> // "GetTotal is a query, which changes nothing, so …"
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Moves<C extends Message.AnyClass> = C extends Message.AnyQuery
  ? `${C["_tag"]} is a query, which changes nothing, so it cannot move a saga: answer it with Saga.get`
  : C extends { readonly success: typeof Schema.Void }
    ? unknown
    : `${C["_tag"]} replies, so it cannot move a saga: let a handler answer it and publish an event`

/**
 * Arms a timeout of this instance; armed again, it is moved. It is a row that survives restarts, committed with the
 * state. Inside transitions only, and only for names that `onTimeout` handles.
 *
 * @example
 * ```ts
 * import { Saga } from "@holdfast/core"
 *
 * const armed = Saga.arm("payment", "24 hours")
 * ```
 *
 * @since 0.1.0
 * @category timeouts
 */
export const arm = (name: string, when: When): Effect.Effect<void, never, CurrentSaga> =>
  Effect.flatMap(internal.CurrentSaga, (saga) => saga.arm(name, when))

/**
 * Cancels a timeout of this instance, if it is armed.
 *
 * @example
 * ```ts
 * import { Saga } from "@holdfast/core"
 *
 * const cancelled = Saga.cancel("payment")
 * ```
 *
 * @since 0.1.0
 * @category timeouts
 */
export const cancel = (name: string): Effect.Effect<void, never, CurrentSaga> =>
  Effect.flatMap(internal.CurrentSaga, (saga) => saga.cancel(name))

/**
 * An instance as it is stored.
 *
 * @example
 * ```ts
 * import type { Saga } from "@holdfast/core"
 *
 * const isWaiting = (instance: Saga.Instance<unknown>) => !instance.completed && instance.timeouts.includes("payment")
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Instance<out State> {
  readonly id: string
  readonly state: State
  readonly completed: boolean
  /** How often the instance was moved. */
  readonly version: number
  /** The names of its armed timeouts. */
  readonly timeouts: ReadonlyArray<string>
}

/**
 * Reads an instance: what the current unit of work has made of it, else what is stored. Answer a query with it.
 *
 * @example
 * ```ts
 * import { Message, Saga } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Begun extends Message.Event<Begun>()("Begun", { payload: { id: Schema.String } }) {}
 *
 * const saga = Saga.make("Example", { state: Schema.Number }).pipe(
 *   Saga.startOn(Begun, { id: (_) => _.id, handle: () => Effect.succeed(1) })
 * )
 * const instance = Saga.get(saga, "A1") // Effect<Option<Instance<number>>, MessagingError, SagaStore>
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const get = <Name extends string, State extends Schema.Schema.Any>(
  saga: Pick<Saga<Name, State, any, any, any, any>, "name" | "state">,
  id: string
): Effect.Effect<Option.Option<Instance<State["Type"]>>, MessagingError, SagaStore | Schema.Schema.Context<State>> =>
  Effect.gen(function* () {
    const store = yield* SagaStore
    const row = yield* store.load(saga.name, id)
    if (Option.isNone(row)) return Option.none()
    const { completed, timers, version } = row.value
    const state = yield* internal.decodeState(saga.name, saga.state, row.value)
    return Option.some({ id, state, completed, version, timeouts: Object.keys(timers) })
  })
