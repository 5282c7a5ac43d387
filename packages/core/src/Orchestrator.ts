/**
 * Orchestrators run declared steps one after the other, each with what the one before it gave. Where the steps are is
 * written down: an instance has an id, survives crashes between steps, and its result can be awaited. An orchestrator is
 * a handler, and so is each of its steps: everything in `Handler` shapes them.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Covariant } from "effect/Types"
import type { Metadata } from "./Envelope.ts"
import type { Any, Handler, Handles, Mode } from "./Handler.ts"
import { HandlerRegistry } from "./HandlerRegistry.ts"
import type { UserHeaders } from "./Headers.ts"
import { makeMetadata } from "./internal/dispatch.ts"
import { make as makeHandler } from "./internal/handler.ts"
import { sending } from "./internal/interception.ts"
import * as internal from "./internal/orchestrator.ts"
import type {
  ContextOf,
  DeclaredOf,
  Declares,
  Ended,
  Follows,
  NameOf,
  OutOf,
  Planned,
  TypeOf
} from "./internal/orchestratorRefusals.ts"
import { type Definition, decodeError, decodeResult, decodeState, namesOf } from "./internal/orchestratorState.ts"
import type { InProcess } from "./internal/refusals.ts"
import * as Telemetry from "./internal/telemetry.ts"
import { uuid7, uuidOf } from "./internal/uuid.ts"
import type * as Message from "./Message.ts"
import { MessageStore } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"
import { SagaStore } from "./SagaStore.ts"
import * as UnitOfWork from "./UnitOfWork.ts"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = internal.TypeId

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~@holdfast/core/Orchestrator"

/**
 * What a step takes, gives and may fail with, by its schemas. For the combinators of `Handler` it is the step's message.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * const parse = Orchestrator.step("parse", {
 *   input: Schema.String,
 *   output: Schema.Number,
 *   run: (text) => Effect.succeed(Number(text))
 * })
 *
 * const [parsed] = parse.messages // StepClass<"parse", typeof Schema.String, typeof Schema.Number, typeof Schema.Never>
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface StepClass<
  Name extends string,
  In extends Schema.Schema.AnyNoContext,
  Out extends Schema.Schema.AnyNoContext,
  Declared extends Schema.Schema.All
> extends Schema.Schema<In["Type"], In["Encoded"]>,
    InProcess {
  readonly process: "Step"
  readonly kind: "Command"
  readonly _tag: Name
  readonly success: Out
  readonly error: Declared
  readonly version: number
  readonly upcasters: Message.AnyClass["upcasters"]
  readonly messageAnnotations: Message.AnyClass["messageAnnotations"]
}

/**
 * A step named `Name`. The combinators of `Handler` give it a channel, retries and a timeout.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * const parse = Orchestrator.step("parse", {
 *   input: Schema.String,
 *   output: Schema.Number,
 *   run: (text) => Effect.succeed(Number(text))
 * })
 *
 * const same: Orchestrator.Step<"parse", typeof Schema.String, typeof Schema.Number> = parse
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Step<
  Name extends string,
  In extends Schema.Schema.AnyNoContext,
  Out extends Schema.Schema.AnyNoContext,
  Declared extends Schema.Schema.All = typeof Schema.Never,
  E = never,
  R = never,
  M0 extends Mode = "Synchronous"
> = Handler<StepClass<Name, In, Out, Declared>, E, R, M0>

/**
 * Any step.
 *
 * @example
 * ```ts
 * import type { Orchestrator } from "@holdfast/core"
 *
 * const names = (steps: ReadonlyArray<Orchestrator.AnyStep>) => steps.map((step) => step.name)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type AnyStep = Handler<any, any, any, any> & {
  readonly messages: ReadonlyArray<{ readonly process: "Step" }>
}

/**
 * What an orchestrator takes, gives in the end (`Out`), and may fail with (`Declared`). For the combinators of `Handler`
 * it is the orchestrator's message.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const publish = Orchestrator.make("Publish", { input: Schema.String })
 *
 * const [started] = publish.messages // StartClass<"Publish", typeof Schema.String, string, never>
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface StartClass<Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared>
  extends Schema.Schema<In["Type"], In["Encoded"]>,
    InProcess {
  readonly process: "Orchestrator"
  readonly kind: "Command"
  readonly _tag: Name
  readonly success: typeof Schema.Void
  readonly error: typeof Schema.Never
  readonly version: number
  readonly upcasters: Message.AnyClass["upcasters"]
  readonly messageAnnotations: Message.AnyClass["messageAnnotations"]
  readonly definition: Definition
  readonly [TypeId]: { readonly _Out: Covariant<Out>; readonly _Declared: Covariant<Declared> }
}

/**
 * An orchestrator named `Name`, which takes `In`. Its last step is `Last`; it ends with `Out`, or with one of the errors
 * that its steps declare.
 *
 * @example
 * ```ts
 * import { Orchestrator, type SagaStore } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const publish: Orchestrator.Orchestrator<
 *   "Publish",
 *   typeof Schema.String,
 *   string, // the result
 *   never, // declared errors
 *   never, // no last step yet
 *   SagaStore.SagaStore
 * > = Orchestrator.make("Publish", { input: Schema.String })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Orchestrator<
  in out Name extends string,
  in out In extends Schema.Schema.AnyNoContext,
  in out Out,
  in out Declared = never,
  out Last extends string = never,
  out R = never
> extends Handler<StartClass<Name, In, Out, Declared>, MessagingError, R> {
  readonly [TypeId]: { readonly _Last: Covariant<Last> }
  /** Durable: instances and messages in flight name it. */
  readonly name: Name
}

/**
 * An orchestrator, whatever the combinators of `Handler` have made of it.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import type { Schema } from "effect"
 *
 * const all = <Out, Declared>(
 *   flow: Orchestrator.Startable<"Publish", typeof Schema.String, Out, Declared>,
 *   keys: ReadonlyArray<string>
 * ) => keys.map((key) => Orchestrator.start(flow, key))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Startable<Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared> = Handler<
  StartClass<Name, In, Out, Declared>,
  any,
  any,
  any
>

/**
 * Declares a step. Its name is durable: messages in flight and stored instances name it, and it is unique in its
 * orchestrator. A step whose `output` is left out answers nothing. A value that `input` or `output` refuses is `Rejected`.
 *
 * As it is, a step runs in the unit of work of whoever comes to it: the starter's, or that of the worker of the step
 * before; it may fail only with its declared `error`, or with `MessagingError`. `Handler.asynchronous` moves it to a
 * channel: the instance is stored, the step runs later, at least once, and may fail with anything. What fails
 * otherwise than declared is retried as `Handler.retry` and the channel say, and then is a dead letter; replayed, the
 * instance goes on from that step. `Handler.timeout` limits each try.
 *
 * A declared error is an answer. Retries in place (`Handler.retry` before `Handler.asynchronous`) still apply, then the
 * instance has failed: what the step did is undone, what the steps before it did stays. A step that answers `undefined`
 * ends the flow with that result.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Orchestrator } from "@holdfast/core"
 * import { Effect, Schedule, Schema } from "effect"
 *
 * class TooBig extends Schema.TaggedError<TooBig>()("TooBig", { bytes: Schema.Number }) {}
 * class Image extends Schema.Class<Image>("Image")({ key: Schema.String, bytes: Schema.Number }) {}
 * class Images extends Channel.Tag<Images>()("media/Images") {}
 *
 * const check = Orchestrator.step("check", {
 *   input: Image,
 *   output: Image,
 *   error: TooBig,
 *   run: (image) => (image.bytes > 1_000_000 ? new TooBig({ bytes: image.bytes }) : Effect.succeed(image))
 * })
 *
 * const resize = Orchestrator.step("resize", {
 *   input: Image,
 *   output: Image,
 *   run: (image) => Effect.succeed(new Image({ key: `small/${image.key}`, bytes: 20_000 }))
 * }).pipe(Handler.asynchronous(Images), Handler.retry(Schedule.spaced("1 minute")), Handler.timeout("30 seconds"))
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const step = <
  const Name extends string,
  In extends Schema.Schema.AnyNoContext,
  E,
  R,
  Out extends Schema.Schema.AnyNoContext = typeof Schema.Void,
  Declared extends Schema.Schema.All & { readonly Context: never } = typeof Schema.Never
>(
  name: Name,
  options: {
    readonly input: In
    readonly output?: Out
    readonly error?: Declared
    readonly run: (input: In["Type"], envelope: Metadata) => Effect.Effect<Out["Type"], E, R>
  }
): Step<Name, In, Out, Declared, E, R> => {
  const { error = Schema.Never, input, output = Schema.Void, run } = options
  return makeHandler(name, [internal.makeInput(name, input, { process: "Step", success: output, error })], run)
}

/**
 * An orchestrator without steps, which ends with its input: pipe it through `andThen` and `plan`, and register it with
 * `Handler.layer`.
 *
 * `Handler.asynchronous` moves its start to a channel: `start` then only stores the instance, and a consumer runs it.
 * Its channels, and those of its steps, must be kept by the store. State, messages, the SQL of the steps and the
 * acknowledgement of a step's message commit whole or not at all, so a crash goes on from the last channel.
 *
 * @example
 * ```ts
 * import { Channel, Handler, MessagingTest, Orchestrator } from "@holdfast/core"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Images extends Channel.Tag<Images>()("media/Images") {}
 *
 * const resize = Orchestrator.step("resize", {
 *   input: Schema.String,
 *   output: Schema.String,
 *   run: (key) => Effect.succeed(`small/${key}`)
 * }).pipe(Handler.asynchronous(Images))
 *
 * const upload = Orchestrator.step("upload", {
 *   input: Schema.String,
 *   output: Schema.URL,
 *   run: (key) => Effect.succeed(new URL(`https://cdn.example/${key}`))
 * })
 *
 * const publish = Orchestrator.make("Publish", { input: Schema.String }).pipe(
 *   Orchestrator.andThen(resize),
 *   Orchestrator.andThen(upload)
 * )
 *
 * const program = Effect.gen(function* () {
 *   const id = yield* Orchestrator.start(publish, "cat.png")
 *   yield* MessagingTest.drain
 *   const url = yield* Orchestrator.result(publish, id) // https://cdn.example/small/cat.png
 * }).pipe(
 *   Effect.provide(
 *     Handler.layer(publish).pipe(
 *       Layer.provideMerge(MessagingTest.layer),
 *       Layer.provideMerge(Channel.layerMemory(Images))
 *     )
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <const Name extends string, In extends Schema.Schema.AnyNoContext>(
  name: Name,
  options: { readonly input: In }
): Orchestrator<Name, In, In["Type"], never, never, SagaStore> =>
  internal.make({ name, input: options.input, pieces: [] })

/**
 * Adds a step, which takes what the one before it gives; the first takes the input. Once a step may answer `undefined`,
 * the result may be that too.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * const parse = Orchestrator.step("parse", {
 *   input: Schema.String,
 *   output: Schema.Number,
 *   run: (text) => Effect.succeed(Number(text))
 * })
 *
 * const parsing = Orchestrator.make("Parsing", { input: Schema.String }).pipe(Orchestrator.andThen(parse))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const andThen: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <
    StepName extends string,
    StepIn extends Schema.Schema.AnyNoContext,
    StepOut extends Schema.Schema.AnyNoContext,
    StepDeclared extends Schema.Schema.All,
    E2,
    R2,
    M2 extends Mode
  >(
    step: Handler<StepClass<StepName, StepIn, StepOut, StepDeclared>, E2, R2, M2> &
      Declares<StepName, StepDeclared["Type"] | MessagingError, E2, M2>
  ): <Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared, Last extends string, R>(
    self: Orchestrator<Name, In, Out, Declared, Last, R> & Follows<Name, Last, Out, StepName, StepIn["Type"]>
  ) => Orchestrator<Name, In, StepOut["Type"] | Ended<Last, Out>, Declared | StepDeclared["Type"], StepName, R | R2>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <
    Name extends string,
    In extends Schema.Schema.AnyNoContext,
    Out,
    Declared,
    Last extends string,
    R,
    StepName extends string,
    StepIn extends Schema.Schema.AnyNoContext,
    StepOut extends Schema.Schema.AnyNoContext,
    StepDeclared extends Schema.Schema.All,
    E2,
    R2,
    M2 extends Mode
  >(
    self: Orchestrator<Name, In, Out, Declared, Last, R> & Follows<Name, Last, Out, StepName, StepIn["Type"]>,
    step: Handler<StepClass<StepName, StepIn, StepOut, StepDeclared>, E2, R2, M2> &
      Declares<StepName, StepDeclared["Type"] | MessagingError, E2, M2>
  ): Orchestrator<Name, In, StepOut["Type"] | Ended<Last, Out>, Declared | StepDeclared["Type"], StepName, R | R2>
} = dual(2, (self: Orchestrator<string, any, any, any, string>, step: Any) =>
  internal.add(self.messages[0]!.definition, { _tag: "Step", step })
)

/**
 * Adds steps that are chosen when the flow comes to them, from what the step before gave: any of the declared ones, in
 * any order, each once. All take and give one type, so that every choice fits; none passes the value through.
 *
 * What was chosen is stored with the instance: a deployment that chooses otherwise does not disturb those on their way,
 * as long as it still declares their steps. Plans of one orchestrator are known by their order: add new ones at the end.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * const Customer = Schema.Struct({ name: Schema.String, business: Schema.Boolean })
 * const options = { input: Customer, output: Customer, run: Effect.succeed<typeof Customer.Type> }
 * const identify = Orchestrator.step("identify", options)
 * const credit = Orchestrator.step("credit", options)
 * const welcome = Orchestrator.step("welcome", options)
 *
 * const onboard = Orchestrator.make("Onboard", { input: Customer }).pipe(
 *   Orchestrator.plan([identify, credit, welcome], ({ business }) =>
 *     Effect.succeed(business ? ["identify", "credit", "welcome"] : ["identify", "welcome"])
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const plan: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <const Steps extends ReadonlyArray<AnyStep>, R2>(
    steps: Planned<Steps>,
    choose: (value: TypeOf<Steps[0]>) => Effect.Effect<ReadonlyArray<NameOf<Steps[number]>>, MessagingError, R2>
  ): <Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared, Last extends string, R>(
    self: Orchestrator<Name, In, Out, Declared, Last, R> &
      Follows<Name, Last, Out, NameOf<Steps[number]>, TypeOf<Steps[0]>>
  ) => Orchestrator<
    Name,
    In,
    TypeOf<Steps[0]> | OutOf<Steps[number]> | Ended<Last, Out>,
    Declared | DeclaredOf<Steps[number]>,
    NameOf<Steps[number]>,
    R | R2 | ContextOf<Steps[number]>
  >
  /**
   * @since 0.1.0
   * @category combinators
   */
  <
    Name extends string,
    In extends Schema.Schema.AnyNoContext,
    Out,
    Declared,
    Last extends string,
    R,
    const Steps extends ReadonlyArray<AnyStep>,
    R2
  >(
    self: Orchestrator<Name, In, Out, Declared, Last, R> &
      Follows<Name, Last, Out, NameOf<Steps[number]>, TypeOf<Steps[0]>>,
    steps: Planned<Steps>,
    choose: (value: TypeOf<Steps[0]>) => Effect.Effect<ReadonlyArray<NameOf<Steps[number]>>, MessagingError, R2>
  ): Orchestrator<
    Name,
    In,
    TypeOf<Steps[0]> | OutOf<Steps[number]> | Ended<Last, Out>,
    Declared | DeclaredOf<Steps[number]>,
    NameOf<Steps[number]>,
    R | R2 | ContextOf<Steps[number]>
  >
} = dual(3, (self: Orchestrator<string, any, any, any, string>, steps: ReadonlyArray<Any>, choose: any) =>
  internal.add(self.messages[0]!.definition, { _tag: "Plan", steps, choose })
)

/**
 * How an instance is started.
 *
 * @example
 * ```ts
 * import type { Orchestrator } from "@holdfast/core"
 *
 * const options: Orchestrator.StartOptions = { id: "cat.png", headers: { tenant: "acme" } }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface StartOptions {
  /** Identity of the instance: a second start under one id answers the id and starts nothing. A UUIDv7 unless given. */
  readonly id?: string | undefined
  readonly headers?: UserHeaders | undefined
}

/**
 * Starts an instance and answers its id. It runs the steps up to the first one on a channel, or only stores the instance
 * when the orchestrator itself has a channel. Fails with nothing but `MessagingError`, and then nothing was started,
 * unless its reason is `OutcomeUnknown`: start it again under the same id. A step's declared error is told by `result`.
 *
 * Inside a unit of work it is a nested scope, and the instance exists if and only if the whole commits. Headers pass to
 * all steps and to what they send.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const publish = Orchestrator.make("Publish", { input: Schema.String })
 *
 * const id = Orchestrator.start(publish, "cat.png", { id: "cat.png", headers: { tenant: "acme" } })
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const start = <Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared>(
  orchestrator: Startable<Name, In, Out, Declared>,
  input: In["Type"],
  options?: StartOptions
): Effect.Effect<string, MessagingError, HandlerRegistry | MessageStore | SagaStore | Handles<Name>> =>
  Effect.gen(function* () {
    const { definition } = orchestrator.messages[0]!
    const store = yield* MessageStore
    const registry = yield* HandlerRegistry
    const id = options?.id ?? (yield* uuid7)
    const message = new internal.OrchestratorStep({ id, hop: 1 })
    // a start that is tried again under its id has the same key for other systems
    const newId = uuidOf(`${definition.name}:${id}`)
    const made = makeMetadata(internal.OrchestratorStep, definition.name, options?.headers, newId)
    const destination = { name: definition.name, route: registry.byName(definition.name)?.route }
    const metadata = yield* sending(registry, message, made, destination)
    yield* UnitOfWork.run(internal.begin(store, registry, definition, { message, input, metadata }))
    return id
  }).pipe((started) => Telemetry.inside(`start ${orchestrator.name}`, started))

/**
 * Waits until the instance has ended, and answers what its last step gave; fails with the error that a step declared.
 *
 * It looks at the store at once, then after rests that double from 25 milliseconds to one second, by the `Clock`; any
 * process with the store may wait. A step that became a dead letter ends nothing, so give a `timeout` where a person
 * waits. An id that is not known is `Rejected`, and so is an instance whose start the current unit of work has not
 * committed yet.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const publish = Orchestrator.make("Publish", { input: Schema.String })
 *
 * const result = Orchestrator.result(publish, "cat.png", { timeout: "5 seconds" })
 * // Effect<string, MessagingError | TimeoutException, SagaStore>
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const result: {
  /**
   * @since 0.1.0
   * @category running
   */
  <Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared>(
    orchestrator: Startable<Name, In, Out, Declared>,
    id: string
  ): Effect.Effect<Out, Declared | MessagingError, SagaStore>
  /**
   * @since 0.1.0
   * @category running
   */
  <Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared>(
    orchestrator: Startable<Name, In, Out, Declared>,
    id: string,
    options: { readonly timeout: Duration.DurationInput }
  ): Effect.Effect<Out, Declared | MessagingError | Cause.TimeoutException, SagaStore>
} = (
  orchestrator: Startable<string, any, any, any>,
  id: string,
  options?: { readonly timeout: Duration.DurationInput }
) => {
  const { definition } = orchestrator.messages[0]!
  const ended = Effect.flatMap(
    internal.awaitEnd(definition, id),
    (state): Effect.Effect<any, any> =>
      state.status === "Failed"
        ? Effect.flatMap(decodeError(definition, id, state), Effect.fail)
        : decodeResult(definition, id, state)
  )
  return options === undefined ? ended : Effect.timeout(ended, options.timeout)
}

/**
 * How an instance stands.
 *
 * @example
 * ```ts
 * import type { Orchestrator } from "@holdfast/core"
 *
 * const progress = ({ done, remaining }: Orchestrator.Instance) => done.length / (done.length + remaining.length)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Instance<out Name extends string = string> {
  readonly orchestrator: Name
  readonly id: string
  /** `Failed` with an error that a step declared; that step is the first of `remaining`. */
  readonly status: "Running" | "Completed" | "Failed"
  /** The names of the steps that are done, in their order. */
  readonly done: ReadonlyArray<string>
  /** The names of the steps to come. Those of a plan are known once the flow has come to it. */
  readonly remaining: ReadonlyArray<string>
  /** How often the instance was stored. */
  readonly version: number
}

/**
 * Reads how an instance stands: what the current unit of work has made of it, else what is stored.
 *
 * @example
 * ```ts
 * import { Orchestrator } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const publish = Orchestrator.make("Publish", { input: Schema.String })
 *
 * const instance = Orchestrator.get(publish, "cat.png") // Effect<Option<Instance<"Publish">>, MessagingError, SagaStore>
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const get = <Name extends string, In extends Schema.Schema.AnyNoContext, Out, Declared>(
  orchestrator: Startable<Name, In, Out, Declared>,
  id: string
): Effect.Effect<Option.Option<Instance<Name>>, MessagingError, SagaStore> =>
  Effect.gen(function* () {
    const { _tag: name, definition } = orchestrator.messages[0]!
    const sagas = yield* SagaStore
    const row = yield* sagas.load(name, id)
    if (Option.isNone(row)) return Option.none()
    const state = yield* decodeState(definition, row.value)
    const { done, status } = state
    const remaining = namesOf(state)
    return Option.some({ orchestrator: name, id, status, done, remaining, version: row.value.version })
  })
