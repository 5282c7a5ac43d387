import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import type { Envelope, Metadata } from "../Envelope.ts"
import * as Headers from "../Headers.ts"

// Spans after OpenTelemetry's conventions for messaging. Where nobody listens, nothing is made and nothing is paid.

/** Whether somebody listens to what runs in it: Effect's own tracer keeps spans for nobody. @internal */
export const listens = ({ fiberRefs }: Runtime.Runtime<never>): boolean =>
  Context.get(servicesOf(fiberRefs), Tracer.Tracer) !== silent &&
  FiberRefs.getOrDefault(fiberRefs, FiberRef.currentTracerEnabled)

/** @internal */
export const servicesOf = (fiberRefs: FiberRefs.FiberRefs) =>
  FiberRefs.getOrDefault(fiberRefs, DefaultServices.currentServices)

/** What a bus does. @internal */
export interface Sending {
  readonly operation: "send" | "publish" | "ask"
  /** None where one call sends messages of several. */
  readonly tag: string | undefined
  /**
   * Where it goes: the channel, or for an event its tag. None where the sender's own fiber handles the message, or where
   * one call sends to several.
   */
  readonly destination: string | undefined
  /** How many messages one call sends, if it sends many. */
  readonly count?: number | undefined
}

/** An effect that sends, made for the fiber it runs on, and its span. @internal */
export const sending = <A, E, R>(
  make: (fiber: Fiber.RuntimeFiber<any, any>) => Effect.Effect<A, E, R>,
  describe: () => Sending
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) => {
    if (!isTraced(fiber)) return make(fiber)
    const { count, destination, operation, tag } = describe()
    return spanned(Effect.withFiberRuntime<A, E, R>(make), `${operation} ${destination ?? tag ?? "messages"}`, {
      kind: destination === undefined ? "internal" : "producer",
      captureStackTrace: false,
      attributes: {
        "messaging.system": system,
        "messaging.operation.name": operation,
        ...(destination === undefined
          ? undefined
          : { "messaging.operation.type": "send", "messaging.destination.name": destination }),
        ...(count === undefined ? undefined : { [countAttribute]: count }),
        ...(tag === undefined ? undefined : { [tagAttribute]: tag })
      }
    })
  })

/** What is the same of all, for the span of a call that sends many. @internal */
export const common = <A>(values: ReadonlyArray<A>): A | undefined =>
  values.every((value) => value === values[0]) ? values[0] : undefined

/** Says on the span of a send which message it made. @internal */
export const identify = (span: Tracer.AnySpan, id: string, headers: Headers.Headers): void => {
  if (!isSending(span) || span.attributes.has(idAttribute) || span.attributes.has(countAttribute)) return
  span.attribute(idAttribute, id)
  const correlation = headers[Headers.correlationId]
  if (correlation !== undefined) span.attribute(conversationAttribute, correlation)
}

/** Says on the span of a send how large its message is. @internal */
export const measure = (span: Tracer.AnySpan, payload: string): void => {
  if (isSending(span) && !span.attributes.has(countAttribute)) span.attribute(sizeAttribute, bytes(payload))
}

/** @internal */
export interface Processing {
  readonly channel: string
  readonly envelope: Envelope
}

/**
 * The span of handling a message from a channel, a child of the span that sent it. Without a tracer here, what the
 * handler sends still belongs to the sender's trace. An error that is none, such as that of a duplicate, is not told.
 *
 * @internal
 */
export const processing = <A, E, R>(
  message: Processing,
  isQuiet: (error: E) => boolean,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const parent = parentOf(message.envelope.headers)
  const traced = () =>
    Effect.flatten(spanned(quietly(isQuiet, effect), processName(message), processOptions(message, parent)))
  return whenTraced(effect, traced, parent)
}

/**
 * The same span, for who handles the message in a fiber of its own and ends the span then. A tracer that throws keeps no
 * message from being handled.
 *
 * @internal
 */
export const begin = (runtime: Runtime.Runtime<never>, message: Processing): Tracer.Span | undefined =>
  Exit.getOrElse(
    Runtime.runSyncExit(
      runtime,
      Effect.makeSpan(processName(message), processOptions(message, parentOf(message.envelope.headers)))
    ),
    () => undefined
  )

/** @internal */
export const end = (span: Tracer.Span, nanos: bigint, exit: Exit.Exit<unknown, unknown>): void => {
  try {
    if (Exit.isFailure(exit)) blame(span, exit.cause)
    span.end(nanos, exit)
  } catch {
    // as above
  }
}

/** A span of something that is no message: a step. @internal */
export const inside = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  whenTraced(effect, () => spanned(effect, name, { captureStackTrace: false }))

/** The span that sent a message, as its headers tell. @internal */
export const parentOf = (headers: Headers.Headers): Tracer.ExternalSpan | undefined => {
  const header = headers[Headers.traceparent]
  const parts = header === undefined ? null : traceparentPattern.exec(header)
  return parts === null
    ? undefined
    : Tracer.externalSpan({
        traceId: parts[1]!,
        spanId: parts[2]!,
        sampled: (Number.parseInt(parts[3]!, 16) & 1) === 1,
        context: Context.empty()
      })
}

/** The effect as part of the trace that a message belongs to, without a span of its own. @internal */
export const within = <A, E, R>(headers: Headers.Headers, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  under(parentOf(headers), effect)

/** What of a span travels with a message. @internal */
export const traceparentOf = (span: Tracer.AnySpan): string =>
  `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`

/** The trace that a message belongs to, if any. @internal */
export const traceOf = ({ headers }: Metadata): string | undefined => {
  const header = headers[Headers.traceparent]
  return header === undefined ? undefined : traceparentPattern.exec(header)?.[1]
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const silent = Context.get(DefaultServices.liveServices, Tracer.Tracer)

const system = "holdfast"
const idAttribute = "messaging.message.id"
const conversationAttribute = "messaging.message.conversation_id"
const sizeAttribute = "messaging.message.body.size"
const countAttribute = "messaging.batch.message_count"
const tagAttribute = "messaging.holdfast.message.tag"

/** Version 00 of W3C trace context; of ids that are all zero there is no span. */
const traceparentPattern = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** With another tracer than Effect's own, and not where tracing is turned off. */
const isTraced = (fiber: Fiber.RuntimeFiber<any, any>): boolean =>
  fiber.currentTracer !== silent && fiber.getFiberRef(FiberRef.currentTracerEnabled)

const processName = ({ channel }: Processing): string => `process ${channel}`

const processOptions = (
  { channel, envelope }: Processing,
  parent: Tracer.ExternalSpan | undefined
): Tracer.SpanOptions => ({
  kind: "consumer",
  captureStackTrace: false,
  attributes: {
    "messaging.system": system,
    "messaging.operation.type": "process",
    "messaging.operation.name": "process",
    "messaging.destination.name": channel,
    "messaging.destination.subscription.name": envelope.endpoint,
    [idAttribute]: envelope.id,
    [conversationAttribute]: envelope.headers[Headers.correlationId] ?? envelope.id,
    [sizeAttribute]: bytes(envelope.payload),
    [tagAttribute]: envelope.tag,
    "messaging.holdfast.message.attempt": envelope.attempt
  },
  ...(parent === undefined ? { root: true } : { parent })
})

const bytes = (payload: string): number => new TextEncoder().encode(payload).length

const isSending = (span: Tracer.AnySpan): span is Tracer.Span =>
  span._tag === "Span" && span.kind !== "consumer" && span.attributes.get("messaging.system") === system

const whenTraced = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  traced: () => Effect.Effect<A, E, R>,
  parent?: Tracer.AnySpan | undefined
): Effect.Effect<A, E, R> => Effect.withFiberRuntime((fiber) => (isTraced(fiber) ? traced() : under(parent, effect)))

const under = <A, E, R>(parent: Tracer.AnySpan | undefined, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  parent === undefined ? effect : (Effect.withParentSpan(effect, parent) as Effect.Effect<A, E, R>)

/** `withSpan`, and on failure what kind of error it was. */
const spanned = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  name: string,
  options: Tracer.SpanOptions
): Effect.Effect<A, E, R> =>
  Effect.useSpan(name, options, (span) =>
    Effect.tapErrorCause(Effect.withParentSpan(effect, span), (cause) => Effect.sync(() => blame(span, cause)))
  ) as Effect.Effect<A, E, R>

const blame = (span: Tracer.Span, cause: Cause.Cause<unknown>): void => {
  if (!Cause.isInterruptedOnly(cause)) span.attribute("error.type", errorType(cause))
}

const errorType = (cause: Cause.Cause<unknown>): string => {
  const error = Option.getOrElse(Cause.failureOption(cause), () => Cause.squash(cause))
  if (typeof error === "object" && error !== null && "_tag" in error) return String(error._tag)
  return error instanceof Error ? error.name : "_OTHER"
}

/** Succeeds with what fails quietly, so that a span around it does not. */
const quietly = <A, E, R>(
  isQuiet: (error: E) => boolean,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<Effect.Effect<A, E>, E, R> =>
  Effect.matchEffect(effect, {
    onFailure: (error) => (isQuiet(error) ? Effect.succeed(Effect.fail(error)) : Effect.fail(error)),
    onSuccess: (value) => Effect.succeed(Effect.succeed(value))
  })
