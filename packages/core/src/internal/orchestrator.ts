import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { pipeArguments } from "effect/Pipeable"
import * as Schema from "effect/Schema"
import { CurrentEnvelope, type Metadata } from "../Envelope.ts"
import type { Any, Options } from "../Handler.ts"
import { type Entry, HandlerRegistry, type Route } from "../HandlerRegistry.ts"
import * as Message from "../Message.ts"
import type { Encoded } from "../MessageStore.ts"
import { isMessagingError, type MessagingError } from "../MessagingError.ts"
import { SagaStore } from "../SagaStore.ts"
import { afterCommit, scope, UnitOfWork } from "../UnitOfWork.ts"
import { handleNow, makeMetadata, retryInPlace } from "./dispatch.ts"
import { CurrentEndpoint } from "./endpoint.ts"
import { TypeId as HandlerTypeId, make as makeHandler } from "./handler.ts"
import {
  type Definition,
  decodeState,
  decodeValue,
  encodeWith,
  firstState,
  fits,
  mistakeOf,
  type Piece,
  rejected,
  type State,
  save,
  stepOf,
  stepsOf
} from "./orchestratorState.ts"
import { encode, enqueue } from "./outgoing.ts"
import { inPlace } from "./retrying.ts"
import * as Telemetry from "./telemetry.ts"

/** @internal */
export const TypeId = "~@holdfast/core/Orchestrator" as const

/** What the runtime sends to move an instance on: to the orchestrator, or to its next step. @internal */
export class OrchestratorStep extends Message.Event<OrchestratorStep>()("holdfast/OrchestratorStep", {
  payload: { id: Schema.String, hop: Schema.Number }
}) {}

/** The class of what a step, or an orchestrator, takes: never sent itself. @internal */
export const makeInput = <Extra extends object>(name: string, input: Schema.Schema.AnyNoContext, extra: Extra): any =>
  Object.assign(Schema.make(input.ast), {
    kind: "Command",
    _tag: name,
    version: 1,
    upcasters: {},
    messageAnnotations: Context.empty(),
    ...extra
  })

/** @internal */
export const make = (definition: Definition): any => {
  const extra = { process: "Orchestrator", success: Schema.Void, error: Schema.Never, definition }
  return Object.assign(Object.create(Proto), {
    name: definition.name,
    mode: "Synchronous",
    messages: [makeInput(definition.name, definition.input, extra)],
    handle: (message: OrchestratorStep, envelope: Metadata) => move({ definition, envelope, here: undefined }, message),
    options: {
      internal: [OrchestratorStep],
      stored: `Orchestrator ${definition.name} has messages of its own`,
      mistake: mistakeOf(definition),
      parts: stepsOf(definition).flatMap((step) => (step.mode === "Asynchronous" ? [part(definition, step)] : []))
    } satisfies Options
  })
}

/** @internal */
export const add = (definition: Definition, piece: Piece): any =>
  make({ ...definition, pieces: [...definition.pieces, piece] })

/**
 * Stores the instance and moves it, or sends it on its way; does nothing when it exists.
 *
 * @internal
 */
export const begin = (
  store: Encoded,
  registry: HandlerRegistry["Type"],
  definition: Definition,
  start: { readonly message: OrchestratorStep; readonly input: unknown; readonly metadata: Metadata }
): Effect.Effect<void, MessagingError, SagaStore | UnitOfWork> =>
  Effect.gen(function* () {
    const { input, message, metadata } = start
    const { hop, id } = message
    const entry = registry.byName(definition.name)
    if (entry === undefined) {
      return yield* Effect.dieMessage(`No handler is registered for orchestrator ${definition.name}`)
    }
    if (id === "") return yield* rejected(`orchestrator ${definition.name} was started under an empty id`)
    const sagas = yield* SagaStore
    if (Option.isSome(yield* sagas.load(definition.name, id))) return
    const value = yield* encodeWith(definition.input, input, `orchestrator ${definition.name} cannot take this input`)
    yield* save(definition, id, 1, firstState(definition, hop, value))
    yield* entry.route === undefined
      ? (handleNow({ store, registry }, entry, message, metadata) as Effect.Effect<unknown, MessagingError>)
      : dispatch({ store, registry }, entry, entry.route, message, metadata, input)
  })

/**
 * Looks at the instance, with rests that double to a second, until it has ended.
 *
 * @internal
 */
export const awaitEnd = (
  definition: Definition,
  id: string,
  restMillis = 25
): Effect.Effect<State, MessagingError, SagaStore> =>
  Effect.flatMap(look(definition, id), (state) =>
    state.status === "Running"
      ? Effect.zipRight(Effect.sleep(restMillis), awaitEnd(definition, id, Math.min(2 * restMillis, 1_000)))
      : Effect.succeed(state)
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const Proto = {
  [HandlerTypeId]: HandlerTypeId,
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  }
}

const look = (definition: Definition, id: string) =>
  Effect.gen(function* () {
    const { name } = definition
    const sagas = yield* SagaStore
    const row = yield* sagas.load(name, id)
    if (Option.isNone(row)) return yield* rejected(`${name} has no instance "${id}": start it first`)
    const unit = yield* Effect.serviceOption(UnitOfWork)
    const staged = Option.isSome(unit) ? unit.value.staged() : []
    const own = staged.some((write) => write._tag === "SagaPut" && write.saga === name && write.id === id)
    if (own && !row.value.completed) {
      return yield* rejected(
        `${name} "${id}" goes on once this unit of work has committed: wait for its result after that`
      )
    }
    return yield* decodeState(definition, row.value)
  })

const endpointOf = (definition: Definition, step: string): string => `${definition.name}/${step}`

/** The handler of a step that has a channel. */
const part = (definition: Definition, step: Any): Any =>
  makeHandler(
    endpointOf(definition, step.name),
    [],
    (message, envelope) => move({ definition, envelope, here: step.name }, message),
    step.mode,
    {
      ...step.options,
      retryInPlace: undefined,
      retryTagsInPlace: undefined,
      step: true,
      internal: [OrchestratorStep],
      stored: `Step ${step.name} of orchestrator ${definition.name} has messages of its own`
    }
  )

/** Who moves an instance: the orchestrator itself, or one of its steps on a channel. */
interface Mover {
  readonly definition: Definition
  readonly envelope: Metadata
  /** The step whose message is handled. */
  readonly here: string | undefined
}

/** One instance on its way. */
interface Flow extends Mover {
  readonly id: string
}

const move = (mover: Mover, message: OrchestratorStep): Effect.Effect<void, any, any> =>
  Effect.gen(function* () {
    const { definition } = mover
    const { hop, id } = message
    const sagas = yield* SagaStore
    const row = Option.getOrUndefined(yield* sagas.load(definition.name, id))
    const state = row === undefined ? undefined : yield* decodeState(definition, row)
    if (row === undefined || state?.status !== "Running" || state.hop !== hop) {
      return yield* ignore(mover, message, state)
    }
    const value = yield* decodeValue(definition, id, state)
    const moved = yield* proceed({ ...mover, id }, state, value)
    yield* save(definition, id, row.version + 1, moved)
  })

/** What moves no instance is not lost without a trace. */
const ignore = ({ definition, envelope }: Mover, message: OrchestratorStep, state: State | undefined) =>
  Effect.gen(function* () {
    const { name, observe } = yield* CurrentEndpoint
    const why =
      state === undefined ? "does not exist" : state.status === "Running" ? "has gone on already" : "has ended"
    const detail = `${definition.name} "${message.id}" ${why}, so this message for ${name} does not move it`
    yield* afterCommit(Effect.sync(() => observe?.({ _tag: "Ignored", message, envelope, detail })))
    yield* Effect.logInfo(detail)
  })

/** Runs one step after the other, until one waits on its channel or the flow ends. */
const proceed = (flow: Flow, state: State, value: unknown): Effect.Effect<State, any, any> =>
  Effect.gen(function* () {
    const { definition, here, id } = flow
    const [next, ...rest] = state.remaining
    if (next === undefined) return { ...state, status: "Completed" }
    if ("plan" in next) {
      const planned = yield* plan(flow, next.plan, value)
      return yield* proceed(flow, { ...state, remaining: [...planned, ...rest] }, value)
    }
    const step = yield* stepOf(definition, id, next.step)
    yield* fits(step, value, `step ${step.name} of orchestrator ${definition.name}`)
    if (step.mode === "Asynchronous" && step.name !== here) return yield* sendOn(flow, step, state, value)
    const result = yield* run(flow, step, value)
    if (Either.isLeft(result)) return yield* fail(flow, step, state, result.left)
    const { success } = step.messages[0]!
    // a function that returns nothing may well answer something, which is nobody's to see
    const output = success.ast._tag === "VoidKeyword" ? undefined : result.right
    const what = `step ${step.name} of orchestrator ${definition.name} answered a value that its schema refuses`
    const given = yield* encodeWith(success, output, what)
    const done = [...state.done, step.name]
    const moved: State = { ...state, from: step.name, value: given, done, remaining: output === undefined ? [] : rest }
    return yield* proceed(flow, moved, output)
  })

const plan = ({ definition }: Flow, index: number, value: unknown) =>
  Effect.gen(function* () {
    const piece = definition.pieces.filter((piece) => piece._tag === "Plan")[index]
    if (piece === undefined) {
      return yield* rejected(
        `orchestrator ${definition.name} has no plan ${index + 1} any more: put it back, and replay`
      )
    }
    const [first] = piece.steps
    if (first !== undefined) yield* fits(first, value, `plan ${index + 1} of orchestrator ${definition.name}`)
    const names = yield* piece.choose(value)
    const unknown = names.find((name) => !piece.steps.some((step) => step.name === name))
    if (unknown !== undefined) {
      return yield* rejected(
        `a plan of orchestrator ${definition.name} chose "${unknown}", which is not one of its steps`
      )
    }
    const twice = names.find((name, place) => names.indexOf(name) < place)
    if (twice !== undefined) {
      return yield* rejected(`a plan of orchestrator ${definition.name} chose "${twice}" twice: a step runs once`)
    }
    return names.map((step) => ({ step }))
  })

/** Tries a step in a scope of its own: a declared error undoes what the step did, and nothing else. */
const run = (
  { definition, envelope }: Flow,
  step: Any,
  value: unknown
): Effect.Effect<Either.Either<unknown, unknown>, unknown, any> => {
  const endpoint = endpointOf(definition, step.name)
  const own = { ...envelope, endpoint }
  const declared = Schema.is(step.messages[0]!.error as Schema.Schema<unknown>)
  return Effect.suspend(() => step.handle(value, own)).pipe(
    Effect.scoped,
    Effect.provideService(CurrentEnvelope, own),
    (step) => Telemetry.inside(`step ${endpoint}`, step),
    scope,
    (tried) =>
      retryInPlace(
        { retry: inPlace(step.options.retryInPlace, step.options.retryTagsInPlace) },
        tried as Effect.Effect<unknown, unknown>
      ),
    Effect.map(Either.right),
    Effect.catchIf(
      (error) => !isMessagingError(error) && declared(error),
      (error) => Effect.succeed(Either.left(error))
    )
  )
}

const fail = ({ definition, id }: Flow, step: Any, state: State, error: unknown) =>
  Effect.gen(function* () {
    const what = `the error of step ${step.name} of orchestrator ${definition.name} cannot be encoded`
    const encoded = yield* encodeWith(step.messages[0]!.error, error, what)
    yield* Effect.logInfo(`${definition.name} "${id}" failed at step ${step.name}`)
    return { ...state, status: "Failed" as const, error: encoded }
  })

/** The step's message commits with the state that waits for it. */
const sendOn = ({ definition, id }: Flow, step: Any, state: State, value: unknown) =>
  Effect.gen(function* () {
    const registry = yield* HandlerRegistry
    const { store } = yield* UnitOfWork
    const entry = registry.byName(endpointOf(definition, step.name))!
    const hop = state.hop + 1
    const metadata = yield* makeMetadata(OrchestratorStep, entry.name, undefined)
    const message = new OrchestratorStep({ id, hop })
    yield* dispatch({ store, registry }, entry, entry.route!, message, metadata, value)
    return { ...state, hop }
  })

/** Delay, priority and order are said of the value, which the message only points to. */
const dispatch = (
  bus: { readonly store: Encoded; readonly registry: HandlerRegistry["Type"] },
  entry: Entry,
  route: Route,
  message: OrchestratorStep,
  metadata: Metadata,
  value: unknown
): Effect.Effect<void, MessagingError, UnitOfWork> => {
  const { delay, orderingKey, priority } = route
  const ofValue: Route = {
    ...route,
    delay: delay === undefined ? undefined : () => delay(value),
    priority: priority === undefined ? undefined : () => priority(value),
    orderingKey: orderingKey === undefined ? undefined : (_, headers) => orderingKey(value, headers)
  }
  return Effect.flatMap(encode(message, entry), (payload) =>
    enqueue(bus, entry, ofValue, message, metadata, payload, undefined)
  )
}
