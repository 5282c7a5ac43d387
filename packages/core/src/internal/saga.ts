import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { pipeArguments } from "effect/Pipeable"
import * as Schema from "effect/Schema"
import { CurrentEnvelope, type Metadata } from "../Envelope.ts"
import type { Mode, Options } from "../Handler.ts"
import * as Message from "../Message.ts"
import { due, type When } from "../MessageScheduler.ts"
import type { SagaRow } from "../MessageStore.ts"
import { MessagingError } from "../MessagingError.ts"
import { SagaStore } from "../SagaStore.ts"
import { afterCommit, type Scope, UnitOfWork } from "../UnitOfWork.ts"
import { makeMetadata } from "./dispatch.ts"
import { CurrentEndpoint } from "./endpoint.ts"
import { TypeId as HandlerTypeId } from "./handler.ts"
import * as Input from "./input.ts"
import * as Journal from "./journal.ts"
import { uuid7 } from "./uuid.ts"

/** @internal */
export const TypeId = "~@holdfast/core/Saga" as const

/** @internal */
export const completeTag = "@holdfast/core/Saga/Complete" as const

/** @internal */
export type Transition =
  | {
      readonly message: Message.AnyClass
      readonly starts: boolean
      readonly id: (message: any, headers: Readonly<Record<string, string>>) => string | Option.Option<string>
      readonly handle: (state: any, message: any, envelope: Metadata) => Effect.Effect<any, any, any>
    }
  | { readonly timeout: string; readonly handle: (state: any, envelope: Metadata) => Effect.Effect<any, any, any> }

/** @internal */
export interface AnySaga {
  readonly name: string
  readonly mode: Mode
  readonly state: Schema.Schema.Any
  readonly transitions: ReadonlyArray<Transition>
}

/** @internal */
export class CurrentSaga extends Context.Tag("@holdfast/core/Saga/CurrentSaga")<
  CurrentSaga,
  {
    readonly arm: (name: string, when: When) => Effect.Effect<void>
    readonly cancel: (name: string) => Effect.Effect<void>
  }
>() {}

/** What the runtime sends to a saga whose timeout fires. `arming` tells which arming of it this is. @internal */
export class SagaTimeout extends Message.Event<SagaTimeout>()("holdfast/SagaTimeout", {
  payload: { id: Schema.String, timeout: Schema.String, arming: Schema.String }
}) {}

/** @internal */
export const make = (
  name: string,
  state: Schema.Schema.Any,
  transitions: ReadonlyArray<Transition>,
  mode: Mode = "Synchronous"
): any => {
  const timed = transitions.some((transition) => "timeout" in transition)
  return Object.assign(Object.create(Proto), {
    name,
    state,
    transitions,
    mode,
    options: {
      internal: timed ? [SagaTimeout] : [],
      stored: timed ? `Saga ${name} has timeouts` : undefined,
      serialize: serializeBy(name, transitions)
    } satisfies Options,
    messages: [...new Set(transitions.flatMap((transition) => ("message" in transition ? [transition.message] : [])))],
    handle: (message: any) => handle({ name, state, transitions, mode }, message)
  })
}

/** @internal */
export const add = (self: AnySaga, transition: Transition): any =>
  make(self.name, self.state, [...self.transitions, transition], "timeout" in transition ? "Timed" : self.mode)

/** @internal */
export const decodeState = (
  name: string,
  schema: Schema.Schema.Any,
  row: SagaRow
): Effect.Effect<any, MessagingError, any> =>
  orRefuse(
    codecOf(schema).decode(row.state),
    (cause) =>
      new MessagingError({
        reason: "Rejected",
        detail: `the stored state of saga ${name} "${row.id}" does not fit its schema: make the schema read old states`,
        cause
      })
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

interface Codec {
  readonly decode: Coding<string, any>
  readonly encode: Coding<unknown, string>
}

/** An `Either`, unless the schema must do something first. */
type Coding<A, B> = (input: A) => Effect.Effect<B, unknown, any>

/** Made once: to make a schema costs more than to use it. */
const codecs = new WeakMap<Schema.Schema.Any, Codec>()

const codecOf = (schema: Schema.Schema.Any): Codec => {
  const known = codecs.get(schema)
  if (known !== undefined) return known
  const decode = Schema.decodeUnknown(schema as Schema.Schema<any, any>)
  const encode = Schema.encode(schema as Schema.Schema<any, any>)
  const codec: Codec = {
    decode: (text) => andThen(attempt(JSON.parse, text), decode),
    encode: (state) => andThen(encode(state), (encoded) => attempt(JSON.stringify, encoded))
  }
  codecs.set(schema, codec)
  return codec
}

const attempt = <A, B>(f: (input: A) => B, input: A): Either.Either<B, unknown> => Either.try(() => f(input))

/** At once, where what comes first has its value. */
const andThen = <A, B>(first: Effect.Effect<A, unknown, any>, f: Coding<A, B>): Effect.Effect<B, unknown, any> =>
  Either.isEither(first) && Either.isRight(first) ? f(first.right as A) : Effect.flatMap(first, f)

/** Nothing to map where there is a value. */
const orRefuse = <A>(coded: Effect.Effect<A, unknown, any>, refusal: (cause: unknown) => MessagingError) =>
  Either.isEither(coded) && Either.isRight(coded) ? (coded as Either.Either<A, never>) : Effect.mapError(coded, refusal)

/** One step of one instance, known by what was loaded. */
interface Step {
  readonly saga: AnySaga
  readonly id: string
  readonly row: Option.Option<SagaRow>
  /** The timeout that this step answers: it is armed no longer. */
  readonly fired: string | undefined
  readonly run: (state: any, envelope: Metadata) => Effect.Effect<any, any, any>
}

/** By callbacks: a step is short, and a generator costs as much as the rest of it. */
const handle = (saga: AnySaga, message: any): Effect.Effect<void, any, any> =>
  Effect.contextWithEffect((context: Context.Context<SagaStore | UnitOfWork | CurrentEnvelope | CurrentEndpoint>) => {
    const envelope = Context.get(context, CurrentEnvelope)
    const timed = message instanceof SagaTimeout
    const id = timed ? message.id : identifierOf(saga.transitions, message, envelope)
    if (id === "") return noIdentifier(saga, envelope)
    return Effect.flatMap(Context.get(context, SagaStore).load(saga.name, id), (row) => {
      const run = timed ? onTimeout(saga, message, row) : onMessage(saga, message, row)
      return run === undefined
        ? ignore(saga, id, row, message)
        : move({ saga, id, row, run, fired: timed ? message.timeout : undefined }, context, envelope)
    })
  })

/** What does not move the saga is not lost without a trace. */
const ignore = (saga: AnySaga, id: string, row: Option.Option<SagaRow>, message: unknown) =>
  Effect.gen(function* () {
    const envelope = yield* CurrentEnvelope
    const { observe } = yield* CurrentEndpoint
    const state = Option.isNone(row)
      ? "does not exist"
      : row.value.completed
        ? "has completed"
        : message instanceof SagaTimeout
          ? `has cancelled or moved the timeout "${message.timeout}"`
          : "exists already"
    const detail = `Saga ${saga.name} "${id}" ${state}, so ${envelope.tag} does not move it`
    if (observe !== undefined)
      yield* afterCommit(Effect.sync(() => observe({ _tag: "Ignored", message, envelope, detail })))
    yield* Effect.logInfo(detail)
  })

/** An instance is moved by one message at a time: within a process by waiting, between processes by its version. */
const serializeBy =
  (name: string, transitions: ReadonlyArray<Transition>) =>
  (message: any, envelope: Metadata): string | undefined => {
    const id = message instanceof SagaTimeout ? message.id : identifierOf(transitions, message, envelope)
    return id === "" ? undefined : owner(name, id)
  }

const identifierOf = (transitions: ReadonlyArray<Transition>, message: any, envelope: Metadata): string => {
  const transition = transitions.find((t) => "message" in t && t.message._tag === message._tag)
  const id = transition !== undefined && "message" in transition ? transition.id(message, envelope.headers) : ""
  return typeof id === "string" ? id : Option.getOrElse(id, () => "")
}

const noIdentifier = (saga: AnySaga, envelope: Metadata): Effect.Effect<never, MessagingError> =>
  new MessagingError({
    reason: "Rejected",
    detail: `${envelope.tag} has no identifier for saga ${saga.name}: its \`id\` function found none`
  })

/** Start or continue is decided by whether the instance exists; a completed one is not moved again. */
const onMessage = (saga: AnySaga, message: any, row: Option.Option<SagaRow>): Step["run"] | undefined => {
  if (Option.isSome(row) && row.value.completed) return undefined
  const transition = saga.transitions.find(
    (t) => "message" in t && t.message._tag === message._tag && t.starts === Option.isNone(row)
  )
  return transition !== undefined && "message" in transition
    ? (state, envelope) => transition.handle(state, message, envelope)
    : undefined
}

/** Only the last arming of a timeout counts: others were moved or cancelled while they were on their way. */
const onTimeout = (saga: AnySaga, message: SagaTimeout, row: Option.Option<SagaRow>): Step["run"] | undefined => {
  if (Option.isNone(row) || row.value.completed || row.value.timers[message.timeout] !== message.arming)
    return undefined
  const transition = saga.transitions.find((t) => "timeout" in t && t.timeout === message.timeout)
  return transition !== undefined && "timeout" in transition ? transition.handle : undefined
}

const move = (
  { fired, id, row, run, saga }: Step,
  context: Context.Context<SagaStore | UnitOfWork | CurrentEndpoint>,
  envelope: Metadata
): Effect.Effect<void, any, any> => {
  const unit = Context.get(context, UnitOfWork)
  const before = Option.getOrUndefined(row)
  const timers = new Map(before === undefined ? [] : Object.entries(before.timers))
  if (fired !== undefined) timers.delete(fired)
  const timing = makeTiming(saga, id, timers, unit, envelope, Context.get(context, CurrentEndpoint))
  const version = (before?.version ?? 0) + 1
  const put = (state: string, completed: boolean) =>
    Context.get(context, SagaStore).put({
      saga: saga.name,
      id,
      version,
      state,
      completed,
      timers: Object.fromEntries(timers)
    })
  const end = (next: any) => {
    if (!isComplete(next)) return Effect.flatMap(encodeState(saga, next), (state) => put(state, false))
    return Effect.flatMap(encodeState(saga, next.state), (state) => {
      timers.clear()
      const disarmed = unit.stage({ _tag: "CancelTimer", owner: owner(saga.name, id), name: undefined })
      return Effect.zipRight(disarmed, put(state, true))
    })
  }
  const stepped = (state: unknown) => Effect.provideService(run(state, envelope), CurrentSaga, timing)
  const moved =
    before === undefined ? stepped(undefined) : Effect.flatMap(decodeState(saga.name, saga.state, before), stepped)
  return Effect.flatMap(moved, end)
}

const isComplete = (next: unknown): next is { readonly state: unknown } =>
  typeof next === "object" && next !== null && "_tag" in next && next._tag === completeTag

const encodeState = (saga: AnySaga, state: unknown): Effect.Effect<string, MessagingError, any> =>
  orRefuse(
    codecOf(saga.state).encode(state),
    (cause) =>
      new MessagingError({
        reason: "Rejected",
        detail: `a transition of saga ${saga.name} returned a state that its schema refuses`,
        cause
      })
  )

const owner = (saga: string, id: string): string => `saga:${saga}:${id}`

const makeTiming = (
  saga: AnySaga,
  id: string,
  timers: Map<string, string>,
  unit: Scope,
  envelope: Metadata,
  { channel, recording }: CurrentEndpoint["Type"]
): CurrentSaga["Type"] => ({
  arm: (name, when) =>
    Effect.gen(function* () {
      if (!saga.transitions.some((t) => "timeout" in t && t.timeout === name)) {
        return yield* Effect.dieMessage(`Saga ${saga.name} has no Saga.onTimeout("${name}", …) for the timeout it arms`)
      }
      if (channel?._tag !== "Stored") {
        return yield* Effect.dieMessage(
          `Saga ${saga.name} arms timeouts, so its channel must be one that a store keeps`
        )
      }
      yield* Input.dieOn(Input.time(`The timeout "${name}" of saga ${saga.name}`, due(when)))
      const arming = yield* uuid7
      const metadata = yield* Effect.provideService(
        makeMetadata(SagaTimeout, saga.name, undefined),
        CurrentEnvelope,
        envelope
      )
      timers.set(name, arming)
      const timeout = {
        ...metadata,
        payload: JSON.stringify({ _tag: SagaTimeout._tag, id, timeout: name, arming }),
        failures: []
      }
      yield* unit.stage(
        {
          _tag: "Send",
          channel: channel.name,
          envelope: timeout,
          priority: 0,
          due: due(when),
          timer: { owner: owner(saga.name, id), name }
        },
        ...Journal.sent(recording, channel.name, timeout, due(when))
      )
    }),
  cancel: (name) =>
    Effect.suspend(() =>
      timers.delete(name) ? unit.stage({ _tag: "CancelTimer", owner: owner(saga.name, id), name }) : Effect.void
    )
})
