import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { CurrentEnvelope, type Envelope, type Metadata } from "../Envelope.ts"
import type { Entry, HandlerRegistry, Route } from "../HandlerRegistry.ts"
import * as Headers from "../Headers.ts"
import type * as Message from "../Message.ts"
import type { Encoded } from "../MessageStore.ts"
import { isMessagingError, MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import { render } from "./failure.ts"
import * as Journal from "./journal.ts"
import * as Telemetry from "./telemetry.ts"
import { uuid7At } from "./uuid.ts"

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
  message: Message.AnyClass,
  endpoint: string,
  headers: Headers.Headers | undefined,
  newId?: Effect.Effect<string>
): Effect.Effect<Metadata> =>
  newId === undefined
    ? Effect.withFiberRuntime((fiber) => Effect.succeed(metadataIn(fiber, message, endpoint, headers)))
    : Effect.flatMap(newId, (id) =>
        Effect.withFiberRuntime((fiber) => Effect.succeed(metadataIn(fiber, message, endpoint, headers, id)))
      )

/** The same for a fiber at hand: what it handles, its span and its clock. @internal */
export const metadataIn = (
  { currentContext, currentDefaultServices }: Fiber.RuntimeFiber<any, any>,
  { _tag: tag, version }: Message.AnyClass,
  endpoint: string,
  explicit: Headers.Headers | undefined,
  known?: string
): Metadata => {
  const now = (currentDefaultServices.unsafeMap.get(Clock.Clock.key) as Clock.Clock).unsafeCurrentTimeMillis()
  const id = known ?? uuid7At(now)
  const span = currentContext.unsafeMap.get(Tracer.ParentSpan.key) as Tracer.AnySpan | undefined
  const parent = currentContext.unsafeMap.get(CurrentEnvelope.key) as Metadata | undefined
  const headers = Headers.propagate({
    id,
    now,
    parent,
    explicit,
    traceparent: span === undefined ? undefined : Telemetry.traceparentOf(span),
    version
  })
  if (span !== undefined) Telemetry.identify(span, id, headers)
  return { id, tag, endpoint, attempt: 1, headers }
}

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

/** @internal */
export const classOf = (message: Message.Any): Message.AnyClass => message.constructor as unknown as Message.AnyClass

/** The key under which the handler wants this message in order, or why it cannot be one. @internal */
export const keyOf = (
  route: Route | undefined,
  message: unknown,
  { headers, tag }: Metadata
): string | undefined | MessagingError => {
  const key = route?.orderingKey?.(message, headers)
  if (key === undefined || key === "") return undefined
  return key.length <= maxKeyLength && !key.includes("\u0000")
    ? key
    : new MessagingError({
        reason: "Rejected",
        detail:
          `The ordering key of ${tag} is ${key.length} characters long: one has at most ${maxKeyLength}, and no null ` +
          "character. Use an id"
      })
}

/** The same as an effect. @internal */
export const orderingKeyOf = (
  route: Route | undefined,
  message: unknown,
  metadata: Metadata
): Effect.Effect<string | undefined, MessagingError> =>
  Effect.suspend(() => {
    const key = keyOf(route, message, metadata)
    return isMessagingError(key) ? key : Effect.succeed(key)
  })

/** @internal */
export const withOrderingKey = ({ orderingKey: _, ...envelope }: Envelope, key: string | undefined): Envelope =>
  key === undefined ? envelope : { ...envelope, orderingKey: key }

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** What fits into an index, however many bytes its characters are. */
const maxKeyLength = 255
