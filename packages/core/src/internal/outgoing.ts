import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Envelope, Metadata } from "../Envelope.ts"
import type { Entry, Route } from "../HandlerRegistry.ts"
import type * as Headers from "../Headers.ts"
import type * as Message from "../Message.ts"
import { due, type When } from "../MessageScheduler.ts"
import type { Due, Encoded, Write } from "../MessageStore.ts"
import { isMessagingError, MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import { type Bus, classOf, keyOf } from "./dispatch.ts"
import * as Input from "./input.ts"
import * as Journal from "./journal.ts"
import * as Metrics from "./metrics.ts"
import * as Telemetry from "./telemetry.ts"

// Messages on their way to channels. They are made ready first, which may refuse one, and leave together then: what is
// refused leaves nothing behind, so no scope is needed that would undo it.

/** @internal */
export interface SendOptions {
  readonly headers?: Headers.UserHeaders | undefined
  readonly delay?: When | undefined
  readonly at?: When | undefined
  readonly priority?: number | undefined
}

/** What is ready to leave. @internal */
export interface Outgoing {
  readonly writes: Array<Write>
  readonly direct: Array<UnitOfWork.DirectSend>
  /** Tells who listens that it has left. */
  readonly told: Array<() => void>
}

/** @internal */
export const nothing = (): Outgoing => ({ writes: [], direct: [], told: [] })

/**
 * Makes a message ready for the channel of an asynchronous handler; answers why it cannot be sent, if so.
 *
 * @internal
 */
export const ready = (
  bus: Bus,
  outgoing: Outgoing,
  fiber: Fiber.RuntimeFiber<any, any>,
  { entry, message, metadata, options, route }: Addressed,
  payload: string
): Effect.Effect<never, MessagingError> | undefined => {
  const tooLarge = sizeProblem(route, metadata, payload)
  if (tooLarge !== undefined) return tooLarge
  if (fiber.currentSpan !== undefined) Telemetry.measure(fiber.currentSpan, payload)
  const key = keyOf(route, message, metadata)
  if (isMessagingError(key)) return key
  const envelope = envelopeOf(metadata, entry.name, payload, key)
  const when = sendDue(options) ?? route.delay?.(message)
  const priority = options?.priority ?? route.priority?.(message) ?? 0
  const problem = Input.time(message._tag, when) ?? Input.priority(message._tag, priority)
  if (problem !== undefined) return rejected(problem)
  const { channel } = route
  if (channel._tag === "Direct")
    outgoing.direct.push({ driver: channel.driver, channel: channel.name, envelope, priority, due: when })
  else if (channel.store !== bus.store.kind) return otherStore(channel, bus.store)
  else outgoing.writes.push({ _tag: "Send", channel: channel.name, envelope, priority, due: when, timer: undefined })
  const recording = Journal.recordingFor(bus.registry, route.policy)
  if (recording.all) outgoing.writes.push(...Journal.sent(recording, channel.name, envelope, when))
  const { observe } = bus.registry
  if (observe !== undefined) {
    const dueAt = when && instantOf(when, fiber)
    outgoing.told.push(() => observe({ _tag: "Sent", message, envelope, due: dueAt }))
  }
  return undefined
}

/** @internal */
export interface Addressed {
  readonly entry: Entry
  readonly route: Route
  readonly message: Message.Any
  readonly metadata: Metadata
  readonly options: SendOptions | undefined
}

/**
 * Leaves with the unit of work at hand; from outside, at once. Only what also goes to a broker, or joins a transaction
 * of the caller's, is a unit of its own: the others are a list of writes, and need none of what a unit has.
 *
 * @internal
 */
export const leave = (
  store: Encoded,
  context: Context.Context<never>,
  outgoing: Outgoing
): Effect.Effect<void, MessagingError> => {
  const unit = context.unsafeMap.get(UnitOfWork.UnitOfWork.key) as UnitOfWork.Scope | undefined
  if (unit !== undefined) return stage(unit, outgoing)
  if (outgoing.direct.length === 0 && !store.joins(context)) return commit(store, outgoing, conflicts)
  return UnitOfWork.root(
    store,
    Effect.flatMap(UnitOfWork.UnitOfWork, (unit) => stage(unit, outgoing))
  ) as Effect.Effect<void, MessagingError>
}

/** Puts a message on the channel of an asynchronous handler, with the unit of work at hand. @internal */
export const enqueue = (
  bus: Bus,
  entry: Entry,
  route: Route,
  message: Message.Any,
  metadata: Metadata,
  payload: string,
  options: SendOptions | undefined
): Effect.Effect<void, MessagingError> =>
  Effect.withFiberRuntime((fiber) => {
    const outgoing = nothing()
    const refused = ready(bus, outgoing, fiber, { entry, route, message, metadata, options }, payload)
    return refused ?? leave(bus.store, fiber.currentContext, outgoing)
  })

/** What a sender asked for; a handler's own delay applies where the sender asks for nothing. @internal */
export const sendDue = (options: SendOptions | undefined): Due | undefined =>
  options?.at !== undefined ? due(options.at) : options?.delay !== undefined ? due(options.delay) : undefined

/** The encoded message as text; an `Either`, unless its schema must do something first. @internal */
export const encode = (
  message: Message.Any,
  entry: Entry | undefined
): Either.Either<string, MessagingError> | Effect.Effect<string, MessagingError> => {
  const encoded = entry === undefined ? encoderOf(classOf(message))(message) : entry.encode(message)
  if (!Either.isEither(encoded)) {
    return Effect.mapError(Effect.flatMap(encoded, stringify), (cause) => unencodable(message, cause))
  }
  return Either.mapLeft(Either.flatMap(encoded, stringify), (cause) => unencodable(message, cause))
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const stage = (unit: UnitOfWork.Scope, { direct, told, writes }: Outgoing): Effect.Effect<void> => {
  let staged = unit.stage(...writes.slice(0, most))
  for (let from = most; from < writes.length; from += most) {
    staged = Effect.zipRight(staged, unit.stage(...writes.slice(from, from + most)))
  }
  for (const send of direct) staged = Effect.zipRight(staged, unit.stageDirect(send))
  for (const tell of told) staged = Effect.zipRight(staged, unit.stageAfterCommit(Effect.sync(tell)))
  return staged
}

/** A call takes only so many arguments. */
const most = 1_000

/** How often a commit that meets a conflict is tried again: as often as a unit of work. */
const conflicts = 5

const commit = (store: Encoded, outgoing: Outgoing, left: number): Effect.Effect<void, MessagingError> =>
  Effect.flatMap(
    Effect.uninterruptible(
      Effect.map(store.commit([outgoing.writes]), ([outcome]) => {
        if (outcome !== undefined && Option.isSome(outcome)) return outcome.value
        Metrics.committed(outgoing.writes, outgoing.direct)
        for (const tell of outgoing.told) tell()
        return undefined
      })
    ),
    (error) => {
      if (error === undefined) return Effect.void
      if (error.reason !== "Conflict" || left === 0) return Effect.fail(error)
      return Effect.zipRight(Effect.yieldNow(), commit(store, outgoing, left - 1))
    }
  )

/** Field by field: this is done for every message, and to spread costs several times as much. */
const envelopeOf = (
  { attempt, headers, id, tag }: Metadata,
  endpoint: string,
  payload: string,
  orderingKey: string | undefined
): Envelope =>
  orderingKey === undefined
    ? { id, tag, endpoint, attempt, headers, payload, failures: none }
    : { id, tag, endpoint, attempt, headers, payload, failures: none, orderingKey }

const none: Envelope["failures"] = []

const rejected = (detail: string): MessagingError => new MessagingError({ reason: "Rejected", detail })

const otherStore = ({ name, store }: { readonly name: string; readonly store: string }, { kind }: Encoded) =>
  Effect.dieMessage(
    `Channel "${name}" is of the ${store} store, but messages here are kept by the ${kind} store: use the channel ` +
      "layer of that one"
  )

const sizeProblem = (route: Route, { tag }: Metadata, payload: string): MessagingError | undefined => {
  const { maxBytes } = route.policy
  // a character is at most three bytes of UTF-8: most messages need no count
  if (payload.length * 3 <= maxBytes) return undefined
  const size = new TextEncoder().encode(payload).length
  return size <= maxBytes
    ? undefined
    : new MessagingError({
        reason: "TooLarge",
        detail:
          `${tag} is ${size} bytes, but channel "${route.channel.name}" carries at most ${maxBytes}: send a reference ` +
          "to the content, or raise the channel's maxBytes"
      })
}

const instantOf = (when: Due, { currentDefaultServices }: Fiber.RuntimeFiber<any, any>): number => {
  if (when._tag === "At") return when.epochMillis
  const clock = currentDefaultServices.unsafeMap.get(Clock.Clock.key) as Clock.Clock
  return clock.unsafeCurrentTimeMillis() + when.millis
}

const stringify = (value: unknown): Either.Either<string, unknown> => Either.try(() => JSON.stringify(value))

const unencodable = (message: Message.Any, cause: unknown): MessagingError =>
  new MessagingError({
    reason: "Rejected",
    detail: `${message._tag} cannot be encoded with its schema: nothing was sent`,
    cause
  })

/** Of messages that nobody here handles. */
const encoders = new WeakMap<Message.AnyClass, (message: unknown) => Effect.Effect<unknown, unknown>>()

const encoderOf = (message: Message.AnyClass) => {
  const known = encoders.get(message)
  if (known !== undefined) return known
  const encode = Schema.encode(message as unknown as Schema.Schema<unknown, unknown>)
  encoders.set(message, encode)
  return encode
}
