/**
 * Interceptors are code around handlers: authorisation, tenancy, audit, timing. Each is a service of its own, so what it
 * does is a choice of `Layer`, and what it gives to handlers or refuses them with is in their types.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Predicate } from "effect/Predicate"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import type { Covariant } from "effect/Types"
import type * as Channel from "./Channel.ts"
import type { Metadata } from "./Envelope.ts"
import { HandlerRegistry } from "./HandlerRegistry.ts"
import type { UserHeaders } from "./Headers.ts"
import type * as Message from "./Message.ts"
import type { MessagingError } from "./MessagingError.ts"
import * as UnitOfWork from "./UnitOfWork.ts"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~@holdfast/core/Interceptor"

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~@holdfast/core/Interceptor"

/**
 * What an interceptor does. It gives `Provided` to the handler, and may refuse the message with `Failure`.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const logging: Interceptor.Interceptor<void, never> = Interceptor.before(({ envelope }) => Effect.log(envelope.tag))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Interceptor<out Provided, out Failure> {
  readonly [TypeId]: {
    readonly _Provided: Covariant<Provided>
    readonly _Failure: Covariant<Failure>
  }
  /** @internal */
  readonly wrap: (
    handled: Effect.Effect<any, any, any>,
    interception: Interception,
    provides: Context.Tag<any, any> | undefined
  ) => Effect.Effect<any, any, any>
}

/**
 * Where an interceptor meets a message:
 *
 * - `Bus`: around `send`, `ask` and `publish`, as the caller sees them: outside of the unit of work that they open.
 * - `Handler`: around each try of a handler, inside its unit of work: SQL of the interceptor is kept or undone with it.
 * - `Consumer`: around the whole delivery of a message from a channel: its unit of work, its retries in place and its
 *   commit. Messages that do not decode or have expired are not delivered.
 *
 * @example
 * ```ts
 * import type { Interceptor } from "@holdfast/core"
 *
 * const places: ReadonlyArray<Interceptor.Place> = ["Bus", "Handler", "Consumer"]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Place = "Bus" | "Handler" | "Consumer"

/**
 * What an interceptor is told of the message that it meets.
 *
 * @example
 * ```ts
 * import type { Interceptor } from "@holdfast/core"
 *
 * const again = (interception: Interceptor.Interception) => interception.envelope.attempt > 1
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Interception {
  readonly at: Place | "Sending"
  readonly kind: Message.Kind
  /** The message; of a step of an orchestrator that is intercepted itself, its input. */
  readonly message: Message.Any
  /** Identity, attempt and headers of the message. */
  readonly envelope: Metadata
  /** The annotations of the message's class. */
  readonly annotations: Context.Context<never>
  /** The durable name of the handler. An event that is being published has none, as it may have many. */
  readonly handler: string | undefined
  /** The durable name of the handler's channel, if it has one. */
  readonly channel: string | undefined
}

/**
 * The class of an interceptor: the tag of the service it provides to handlers, and the schema of what it fails with.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Context } from "effect"
 *
 * class Tenant extends Context.Tag("shop/Tenant")<Tenant, string>() {}
 * class Tenancy extends Interceptor.Tag<Tenancy>()("shop/Tenancy", { provides: Tenant }) {}
 *
 * Tenancy.provides.key // "shop/Tenant"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface TagClass<
  Self,
  Name extends string,
  Provides extends Context.Tag<any, any> | undefined,
  Failure extends Schema.Schema.All
> extends Context.Tag<Self, Interceptor<Provided<Provides>, Failure["Type"]>> {
  new (_: never): Context.TagClassShape<Name, Interceptor<Provided<Provides>, Failure["Type"]>>
  readonly [TypeId]: TypeId
  readonly key: Name
  readonly provides: Provides
  readonly failure: Failure
}

/**
 * The class of any interceptor.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 *
 * class Audit extends Interceptor.Tag<Audit>()("shop/Audit") {}
 * class Timing extends Interceptor.Tag<Timing>()("shop/Timing") {}
 *
 * const inside: ReadonlyArray<Interceptor.AnyTagClass> = [Audit, Timing]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface AnyTagClass extends Context.Tag<any, any> {
  readonly [TypeId]: TypeId
  readonly provides: Context.Tag<any, any> | undefined
  readonly failure: Schema.Schema.All
}

/**
 * What the effect of an interceptor that provides a service answers.
 *
 * @example
 * ```ts
 * import type { Interceptor } from "@holdfast/core"
 * import { Context } from "effect"
 *
 * class Tenant extends Context.Tag("shop/Tenant")<Tenant, string>() {}
 *
 * const tenant: Interceptor.Provided<typeof Tenant> = "acme"
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Provided<Provides> = Provides extends Context.Tag<any, infer Service> ? Service : void

/**
 * What a handler behind `around` answers. It is different for each, so it can be passed on, and not made up.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const twice = <E>(handled: Effect.Effect<Interceptor.Answer, E>) => Effect.retry(handled, { times: 1 })
 *
 * const patience = Interceptor.around(twice)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Answer {
  readonly _: unique symbol
}

/**
 * What a handler behind `around` fails with: `instanceof` tells which error it is.
 *
 * @example
 * ```ts
 * import { Interceptor, MessagingError } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const isOutage = (error: Interceptor.HandlerError) => error instanceof MessagingError.MessagingError
 *
 * const telling = Interceptor.around((handled) =>
 *   Effect.tapError(handled, (error) => (isOutage(error) ? Effect.logWarning("away") : Effect.void))
 * )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface HandlerError {
  readonly _: unique symbol
}

/**
 * What leaves the requirements of a handler behind the interceptor.
 *
 * @example
 * ```ts
 * import type { Interceptor } from "@holdfast/core"
 * import { Context } from "effect"
 *
 * class Tenant extends Context.Tag("shop/Tenant")<Tenant, string>() {}
 *
 * type Left = Interceptor.Identifier<typeof Tenant> // Tenant
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Identifier<Provides> = Provides extends Context.Tag<infer I, any> ? I : never

/**
 * `unknown` if the interceptor may meet handlers that do not name it, else the reason.
 *
 * @example
 * ```ts
 * import type { Interceptor } from "@holdfast/core"
 * import { Context } from "effect"
 *
 * class Tenant extends Context.Tag("shop/Tenant")<Tenant, string>() {}
 *
 * type Why = Interceptor.Everywhere<"shop/Tenancy", typeof Tenant, never> // "shop/Tenancy provides a service, of which …"
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Everywhere<Name extends string, Provides, E> = [Provides] extends [undefined]
  ? [Exclude<E, MessagingError>] extends [never]
    ? unknown
    : `${Name} fails with ${TagOf<Exclude<E, MessagingError>>}, which not all messages declare: fail with MessagingError, or use Handler.intercept`
  : `${Name} provides a service, of which the handlers it would meet do not know: use Handler.intercept`

type TagOf<E> = E extends { readonly _tag: infer Tag extends string } ? Tag : "an untagged error"

/**
 * `unknown` if what an interceptor does requires nothing but `Given`, else where it gets it.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Context, Effect, Layer } from "effect"
 *
 * class Region extends Context.Tag("shop/Region")<Region, string>() {}
 * class Logging extends Interceptor.Tag<Logging>()("shop/Logging") {}
 *
 * type Why = Interceptor.Supplied<Region> // "An interceptor runs with the services of its layer: …"
 *
 * const LoggingLive = Layer.effect(
 *   Logging,
 *   Effect.map(Region, (region) => Interceptor.before(({ envelope }) => Effect.log(`${envelope.tag} in ${region}`)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Supplied<R, Given = never> = [R] extends [Given]
  ? unknown
  : "An interceptor runs with the services of its layer: take them with Layer.effect, and make it there"

type MissingSelf = 'Missing `Self` generic - use `class Self extends Interceptor.Tag<Self>()("key", { ... }) {}`'

/**
 * Declares an interceptor as a service: what it provides to the handlers behind it, and what it may fail with. Its layer
 * says what it does, with `before`, `after` or `around`.
 *
 * @example
 * ```ts
 * import { Handler, Interceptor, Message } from "@holdfast/core"
 * import { Context, Effect, Layer, Schema } from "effect"
 *
 * class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}) {}
 * class CurrentUser extends Context.Tag("shop/CurrentUser")<CurrentUser, { readonly id: string }>() {}
 *
 * class Auth extends Interceptor.Tag<Auth>()("shop/Auth", { provides: CurrentUser, failure: Unauthorized }) {}
 *
 * const AuthLive = Layer.succeed(
 *   Auth,
 *   Interceptor.before(({ envelope }) =>
 *     envelope.headers.user === undefined ? new Unauthorized() : Effect.succeed({ id: envelope.headers.user })
 *   )
 * )
 *
 * class Cancel extends Message.Command<Cancel>()("Cancel", { error: Unauthorized }) {}
 *
 * const cancel = Handler.command(Cancel, () =>
 *   Effect.flatMap(CurrentUser, (user) => Effect.log(`cancelled by ${user.id}`))
 * ).pipe(Handler.intercept(Auth)) // Handler<typeof Cancel, Unauthorized, Auth>
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Tag =
  <Self = never>() =>
  <
    const Name extends string,
    Provides extends Context.Tag<any, any> | undefined = undefined,
    Failure extends Schema.Schema.All = typeof Schema.Never
  >(
    key: Name,
    options?: {
      readonly provides?: Provides
      readonly failure?: Failure
    }
  ): [Self] extends [never] ? MissingSelf : TagClass<Self, Name, Provides, Failure> =>
    class extends Context.Tag(key)<any, any>() {
      static readonly [TypeId]: TypeId = TypeId
      static readonly provides = options?.provides
      static readonly failure = options?.failure ?? Schema.Never
    } as any

/**
 * Runs before. What it answers is what its tag `provides`; what it fails with refuses the message: nothing behind it
 * runs. What it acquires in its scope is released when what is behind it has ended: at a handler, before its unit of work
 * commits.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Context, Effect, Layer } from "effect"
 *
 * class Tenant extends Context.Tag("shop/Tenant")<Tenant, string>() {}
 * class Tenancy extends Interceptor.Tag<Tenancy>()("shop/Tenancy", { provides: Tenant }) {}
 *
 * const TenancyLive = Layer.succeed(
 *   Tenancy,
 *   Interceptor.before(({ envelope }) => Effect.succeed(envelope.headers.tenant ?? "default"))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const before = <A = void, E = never, R = Scope.Scope>(
  f: (interception: Interception) => Effect.Effect<A, E, R> & Supplied<R, Scope.Scope>
): Interceptor<A, E> =>
  make((handled, interception, provides) =>
    Effect.scoped(
      Effect.flatMap(f(interception), (provided) =>
        provides === undefined ? handled : Effect.provideService(handled, provides, provided)
      )
    )
  )

/**
 * Runs after, whatever came of it: an answer, a failure, a defect or an interruption. It changes nothing of that, unless
 * it dies: then so does what it met. At a bus that may be after the commit: log there what could not be done.
 *
 * At a handler the unit of work has not committed yet, and what this writes in it is undone when the handler failed:
 * records that must survive go through `UnitOfWork.outside`.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Effect, Exit, Layer } from "effect"
 *
 * class Audit extends Interceptor.Tag<Audit>()("shop/Audit") {}
 *
 * const AuditLive = Layer.succeed(
 *   Audit,
 *   Interceptor.after((exit, { envelope }) => Effect.log(`${envelope.tag}: ${Exit.isSuccess(exit) ? "done" : "failed"}`))
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const after = <R = never>(
  f: (exit: Exit.Exit<unknown, unknown>, interception: Interception) => Effect.Effect<void, never, R> & Supplied<R>
): Interceptor<void, never> => make((handled, interception) => Effect.onExit(handled, (exit) => f(exit, interception)))

/**
 * Wraps what it meets: it may time it, run it again, catch its failures, or turn them into its own. It cannot make up an
 * answer.
 *
 * In a unit of work each run of `handled` is a nested scope: one that fails leaves nothing behind, and the next begins
 * afresh.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class TooSlow extends Schema.TaggedError<TooSlow>()("TooSlow", {}) {}
 * class Limit extends Interceptor.Tag<Limit>()("shop/Limit", { failure: TooSlow }) {}
 *
 * const LimitLive = Layer.succeed(
 *   Limit,
 *   Interceptor.around((handled, { handler }) =>
 *     handled.pipe(
 *       Effect.timeoutFail({ duration: "5 seconds", onTimeout: () => new TooSlow() }),
 *       Effect.annotateLogs({ handler })
 *     )
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const around = <E, R = never>(
  f: (
    handled: Effect.Effect<Answer, HandlerError>,
    interception: Interception
  ) => Effect.Effect<Answer, E, R> & Supplied<R>
): Interceptor<void, Exclude<E, HandlerError>> =>
  make((handled, interception) => {
    // a query gets no scope, whose SQL would begin the unit's transaction
    const each = interception.kind === "Query" ? handled : UnitOfWork.scope(handled)
    return f(each as Effect.Effect<Answer, HandlerError>, interception)
  })

/**
 * Meets commands, queries or events.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Predicate } from "effect"
 *
 * const commandsAndEvents = Predicate.not(Interceptor.kind("Query"))
 * ```
 *
 * @since 0.1.0
 * @category selectors
 */
export const kind =
  (...kinds: ReadonlyArray<Message.Kind>): Predicate<Interception> =>
  (interception) =>
    kinds.includes(interception.kind)

/**
 * Meets these messages.
 *
 * @example
 * ```ts
 * import { Interceptor, Message } from "@holdfast/core"
 *
 * class Pay extends Message.Command<Pay>()("Pay") {}
 *
 * const payments = Interceptor.message(Pay)
 * ```
 *
 * @since 0.1.0
 * @category selectors
 */
export const message =
  (...messages: ReadonlyArray<Message.AnyClass>): Predicate<Interception> =>
  ({ envelope }) =>
    messages.some((message) => message._tag === envelope.tag)

/**
 * Meets messages whose class has the annotation; with `where`, those whose annotation satisfies it, or whose default does
 * if the annotation is a `Context.Reference`.
 *
 * @example
 * ```ts
 * import { Interceptor, Message } from "@holdfast/core"
 * import { Context } from "effect"
 *
 * class Role extends Context.Tag("shop/Role")<Role, "clerk" | "admin">() {}
 * class Refund extends Message.Command<Refund>()("Refund", { annotations: Context.make(Role, "admin") }) {}
 *
 * const forAdmins = Interceptor.annotated(Role, (role) => role === "admin")
 * ```
 *
 * @since 0.1.0
 * @category selectors
 */
export const annotated =
  <I, S>(annotation: Context.Tag<I, S>, where?: Predicate<S>): Predicate<Interception> =>
  ({ annotations }) =>
    where === undefined
      ? annotations.unsafeMap.has(annotation.key)
      : Option.exists(Context.getOption(annotations, annotation), where)

/**
 * Meets what goes to handlers of these names: the name of an event's handler or a saga, the tag of a command or query.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 *
 * const confirmations = Interceptor.handler("Confirm", "ConfirmAgain")
 * ```
 *
 * @since 0.1.0
 * @category selectors
 */
export const handler =
  (...names: ReadonlyArray<string>): Predicate<Interception> =>
  ({ handler }) =>
    handler !== undefined && names.includes(handler)

/**
 * Meets what goes to handlers on these channels.
 *
 * @example
 * ```ts
 * import { Channel, Interceptor } from "@holdfast/core"
 * import { Predicate } from "effect"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const eventsOnOrders = Predicate.and(Interceptor.kind("Event"), Interceptor.channel(Orders))
 * ```
 *
 * @since 0.1.0
 * @category selectors
 */
export const channel =
  (...channels: ReadonlyArray<Channel.TagClass<any, string, any>>): Predicate<Interception> =>
  ({ channel }) =>
    channels.some(({ channelName }) => channelName === channel)

/**
 * Puts an interceptor around all that it selects at a place, without a word in the handlers. It is looked up when a
 * message comes, so it may be registered before or after them.
 *
 * The first registered is the outermost, except that one is outside of those that its `outside` names; all are outside
 * of a handler's own. Layers that are built at once, as by `Layer.mergeAll`, have no order but that of `outside`.
 *
 * It provides nothing, and fails with `MessagingError` or not at all, as nobody's types would know. At a consumer, a failure
 * counts as the handler's, unless it is the infrastructure's; once the unit has committed, the message is handled, and a
 * failure is only logged.
 *
 * Dies when interceptors are outside of each other.
 *
 * @example
 * ```ts
 * import { Interceptor } from "@holdfast/core"
 * import { Effect, Layer } from "effect"
 *
 * class Timing extends Interceptor.Tag<Timing>()("shop/Timing") {}
 *
 * const TimingLive = Interceptor.layer(Timing, { at: "Handler", select: Interceptor.kind("Command") }).pipe(
 *   Layer.provide(Layer.succeed(Timing, Interceptor.around((handled, { handler }) => Effect.withSpan(handled, `${handler}`))))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <
  Self,
  Name extends string,
  Provides extends Context.Tag<any, any> | undefined,
  Failure extends Schema.Schema.All
>(
  tag: TagClass<Self, Name, Provides, Failure> & Everywhere<Name, Provides, Failure["Type"]>,
  options: {
    readonly at: Place
    /** Which messages it meets: all, unless given. */
    readonly select?: Predicate<Interception> | undefined
    /** Interceptors that it is outside of, at this place. */
    readonly outside?: ReadonlyArray<AnyTagClass> | undefined
  }
): Layer.Layer<never, never, Self | HandlerRegistry> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const interceptor: Interceptor<unknown, unknown> = yield* tag
      const { interceptors } = yield* HandlerRegistry
      yield* interceptors.add({
        name: tag.key,
        at: options.at,
        select: options.select ?? everything,
        outside: (options.outside ?? []).map(({ key }) => key),
        wrap: (handled, interception) => interceptor.wrap(handled, interception, undefined)
      })
    })
  )

/**
 * Adds headers to messages when they are sent, asked or published, or refuses them: once for each message, whether it is
 * handled at once or put on a channel, and however many handlers an event has. It runs before interceptors of the bus,
 * in the sender's fiber and, if that is in one, its unit of work. Those registered first run first; of two that add one
 * header the later wins, over the sender's too. Headers that are the runtime's own stay as they are.
 *
 * It runs with the services that its layer was built with. Timeouts of sagas are not sent by anyone: they have the headers
 * of the message that armed them.
 *
 * @example
 * ```ts
 * import { Interceptor, MessagingError } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const TenantRequired = Interceptor.layerSending(
 *   ({ envelope }) =>
 *     envelope.headers.tenant === undefined
 *       ? new MessagingError.MessagingError({ reason: "Rejected", detail: `${envelope.tag} has no tenant` })
 *       : Effect.succeed({ region: envelope.headers.tenant.slice(0, 2) }),
 *   { select: Interceptor.kind("Command", "Event") }
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSending = <R = never>(
  headers: (interception: Interception) => Effect.Effect<UserHeaders, MessagingError, R>,
  options?: {
    /** Which messages it meets: all, unless given. */
    readonly select?: Predicate<Interception> | undefined
  }
): Layer.Layer<never, never, R | HandlerRegistry> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { interceptors } = yield* HandlerRegistry
      // not the span in which the layer was built: the sender's
      const context = Context.omit(Tracer.ParentSpan)((yield* Effect.context<R>()) as Context.Context<any>)
      yield* interceptors.addSending({
        select: options?.select ?? everything,
        headers: (interception) =>
          Effect.mapInputContext(headers(interception), (sender: Context.Context<never>) =>
            Context.merge(sender, context)
          )
      })
    })
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const variance = { _Provided: (_: never) => _, _Failure: (_: never) => _ }

const make = <A, E>(wrap: Interceptor<A, E>["wrap"]): Interceptor<A, E> => ({ [TypeId]: variance, wrap })

const everything = () => true
