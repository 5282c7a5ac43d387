import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { CurrentEnvelope, type Envelope, type Metadata } from "../Envelope.ts"
import type { Entry, HandlerRegistry, Route } from "../HandlerRegistry.ts"
import * as Headers from "../Headers.ts"
import type * as Message from "../Message.ts"
import { due, type When } from "../MessageScheduler.ts"
import type { Due, Encoded } from "../MessageStore.ts"
import { isMessagingError, MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import { render } from "./failure.ts"
import * as Input from "./input.ts"
import * as Journal from "./journal.ts"
import * as Telemetry from "./telemetry.ts"
import { uuid7 } from "./uuid.ts"

/** @internal */
export interface SendOptions {
  readonly headers?: Headers.UserHeaders | undefined
  readonly delay?: When | undefined
  readonly at?: When | undefined
  readonly priority?: number | undefined
}

/** @internal */
export interface Bus {
  readonly store: Encoded
  readonly registry: HandlerRegistry["Type"]
}

/** Runs in the unit of work at hand as a nested scope, else as a unit of its own. @internal */
export const inUnit = <A, E, R>(
  store: Encoded,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | MessagingError, R> =>
  Effect.contextWithEffect((context: Context.Context<R>) =>
    Option.isSome(Context.getOption(context, UnitOfWork.UnitOfWork))
      ? UnitOfWork.scope(effect)
      : UnitOfWork.root(store, effect)
  )

/** What a new message is known by, from the one being handled and the sender's own headers. @internal */
export const makeMetadata = (
  { _tag: tag, version }: Message.AnyClass,
  endpoint: string,
  headers: Headers.Headers | undefined,
  newId: Effect.Effect<string> = uuid7
): Effect.Effect<Metadata> =>
  Effect.contextWithEffect((context: Context.Context<never>) =>
    Effect.zipWith(newId, Clock.currentTimeMillis, (id, now) => {
      const span = Option.getOrUndefined(Context.getOption(context, Tracer.ParentSpan))
      const propagated = Headers.propagate({
        id,
        now,
        parent: Option.getOrUndefined(Context.getOption(context, CurrentEnvelope)),
        explicit: headers,
        traceparent: span === undefined ? undefined : Telemetry.traceparentOf(span),
        version
      })
      if (span !== undefined) Telemetry.identify(span, id, propagated)
      return { id, tag, endpoint, attempt: 1, headers: propagated }
    })
  )

/** Runs a synchronous handler in a scope of its own, with its retries in place. @internal */
export const handleNow = (
  bus: Bus,
  entry: Entry,
  message: Message.Any,
  envelope: Metadata
): Effect.Effect<unknown, unknown> => {
  const observe = bus.registry.observe
  const handled = recorded(bus, envelope, checked(entry, entry.handle(message, envelope)))
  if (observe === undefined) return retryInPlace(entry, inUnit(bus.store, handled))
  const logged = Effect.zipLeft(
    handled,
    UnitOfWork.afterCommit(Effect.sync(() => observe({ _tag: "Handled", message, envelope })))
  )
  return Effect.tapErrorCause(retryInPlace(entry, inUnit(bus.store, logged)), (cause) =>
    Effect.sync(() => observe({ _tag: "Failed", message, envelope, error: render(cause) }))
  )
}

/** Writes down what was handled while its sender waited: without a channel, as the default has it. */
const recorded = <A, E, R>(
  { registry }: Bus,
  envelope: Metadata,
  handled: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  registry.journal.all
    ? Effect.flatMap(Effect.timed(handled), ([took, answer]) =>
        Effect.flatMap(Effect.serviceOption(UnitOfWork.UnitOfWork), (unit) =>
          Effect.as(
            Option.getOrThrow(unit).stage(
              ...Journal.handled(registry.journal, envelope, { durationMillis: Duration.toMillis(took) })
            ),
            answer
          )
        )
      )
    : handled

/** Undoes the unit of a message that was delivered again: there is nothing left to do but to acknowledge it. @internal */
export class AlreadyHandled extends Data.TaggedError("@holdfast/core/internal/AlreadyHandled") {}

/** @internal */
export const retryInPlace = <A>(
  entry: Pick<Entry, "retry">,
  effect: Effect.Effect<A, unknown>
): Effect.Effect<A, unknown> =>
  entry.retry === undefined ? effect : Effect.retry(effect, { schedule: entry.retry, while: mayRetryInPlace })

/** The handler's own failures, and a database that was away: never an outcome that is not known. */
const mayRetryInPlace = (error: unknown): boolean =>
  isMessagingError(error) ? error.reason === "Unavailable" : !(error instanceof AlreadyHandled)

/** An answer that the message's schema refuses is an error, never an answer. @internal */
export const checked = (entry: Entry, effect: Effect.Effect<unknown, unknown>): Effect.Effect<unknown, unknown> =>
  entry.validate === undefined ? effect : Effect.tap(effect, entry.validate)

/** Puts a message on the channel of an asynchronous handler, with the unit of work at hand. @internal */
export const enqueue = (
  bus: Bus,
  entry: Entry,
  route: Route,
  message: Message.Any,
  metadata: Metadata,
  payload: string,
  options: SendOptions | undefined
): Effect.Effect<void, MessagingError, UnitOfWork.UnitOfWork> =>
  Effect.gen(function* () {
    const unit = yield* UnitOfWork.UnitOfWork
    yield* checkSize(route, metadata, payload)
    yield* Telemetry.measure(payload)
    const key = yield* orderingKeyOf(route, message, metadata)
    const envelope = withOrderingKey({ ...metadata, endpoint: entry.name, payload, failures: [] }, key)
    const when = sendDue(options) ?? route.delay?.(message)
    const priority = options?.priority ?? route.priority?.(message) ?? 0
    yield* Input.reject(Input.time(message._tag, when), Input.priority(message._tag, priority))
    yield* put(bus, unit, route, { envelope, priority, due: when })
    const observe = bus.registry.observe
    if (observe === undefined) return
    const dueAt = when === undefined ? undefined : yield* resolve(when)
    yield* unit.stageAfterCommit(Effect.sync(() => observe({ _tag: "Sent", message, envelope, due: dueAt })))
  })

/** What a sender asked for; a handler's own delay applies where the sender asks for nothing. @internal */
export const sendDue = (options: SendOptions | undefined): Due | undefined =>
  options?.at !== undefined ? due(options.at) : options?.delay !== undefined ? due(options.delay) : undefined

/** @internal */
export const classOf = (message: Message.Any): Message.AnyClass => message.constructor as unknown as Message.AnyClass

/** The key under which the handler wants this message in order. @internal */
export const orderingKeyOf = (
  route: Route | undefined,
  message: unknown,
  { headers, tag }: Metadata
): Effect.Effect<string | undefined, MessagingError> =>
  Effect.suspend(() => {
    const key = route?.orderingKey?.(message, headers)
    if (key === undefined || key === "") return Effect.succeed(undefined)
    return key.length <= maxKeyLength && !key.includes("\u0000")
      ? Effect.succeed(key)
      : new MessagingError({
          reason: "Rejected",
          detail:
            `The ordering key of ${tag} is ${key.length} characters long: one has at most ${maxKeyLength}, and no null ` +
            "character. Use an id"
        })
  })

/** @internal */
export const withOrderingKey = ({ orderingKey: _, ...envelope }: Envelope, key: string | undefined): Envelope =>
  key === undefined ? envelope : { ...envelope, orderingKey: key }

/** The encoded message as text. @internal */
export const encode = (message: Message.Any, entry: Entry | undefined): Effect.Effect<string, MessagingError> => {
  const schema = classOf(message) as unknown as Schema.Schema<unknown, unknown>
  const encoded: Effect.Effect<unknown, unknown> =
    entry === undefined ? Schema.encode(schema)(message) : entry.encode(message)
  return Effect.flatMap(encoded, (value) => Effect.try(() => JSON.stringify(value))).pipe(
    Effect.mapError(
      (cause) =>
        new MessagingError({
          reason: "Rejected",
          detail: `${message._tag} cannot be encoded with its schema: nothing was sent`,
          cause
        })
    )
  )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** What fits into an index, however many bytes its characters are. */
const maxKeyLength = 255

const put = (
  bus: Bus,
  unit: UnitOfWork.Scope,
  { channel, policy }: Route,
  send: { readonly envelope: Envelope; readonly priority: number; readonly due: Due | undefined }
): Effect.Effect<void> => {
  const lines = Journal.sent(Journal.recordingFor(bus.registry, policy), channel.name, send.envelope, send.due)
  if (channel._tag === "Direct") {
    const staged = unit.stageDirect({ driver: channel.driver, channel: channel.name, ...send })
    return lines.length === 0 ? staged : Effect.zipRight(staged, unit.stage(...lines))
  }
  return channel.store === bus.store.kind
    ? unit.stage({ _tag: "Send", channel: channel.name, ...send, timer: undefined }, ...lines)
    : Effect.dieMessage(
        `Channel "${channel.name}" is of the ${channel.store} store, but messages here are kept by the ` +
          `${bus.store.kind} store: use the channel layer of that one`
      )
}

const checkSize = (route: Route, metadata: Metadata, payload: string): Effect.Effect<void, MessagingError> => {
  // a character is at most three bytes of UTF-8: most messages need no count
  if (payload.length * 3 <= route.policy.maxBytes) return Effect.void
  const size = new TextEncoder().encode(payload).length
  return size <= route.policy.maxBytes
    ? Effect.void
    : new MessagingError({
        reason: "TooLarge",
        detail:
          `${metadata.tag} is ${size} bytes, but channel "${route.channel.name}" carries at most ` +
          `${route.policy.maxBytes}: send a reference to the content, or raise the channel's maxBytes`
      })
}

const resolve = (when: Due): Effect.Effect<number> =>
  when._tag === "At"
    ? Effect.succeed(when.epochMillis)
    : Effect.map(Clock.currentTimeMillis, (now) => now + when.millis)
