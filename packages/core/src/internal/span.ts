import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberRefs from "effect/FiberRefs"
import * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import type { Envelope } from "../Envelope.ts"
import { traceparent } from "../Headers.ts"

// The span of handling a message. Where nobody traces there is none, and the sender's stands for it.

/** The tracer of a runtime, if it is another than Effect's own, which keeps spans for nobody. @internal */
export const tracerOf = (runtime: Runtime.Runtime<never>): Tracer.Tracer | undefined => {
  const tracer = Context.get(servicesOf(runtime), Tracer.Tracer)
  return tracer === silent ? undefined : tracer
}

/** @internal */
export const servicesOf = ({ fiberRefs }: Runtime.Runtime<never>) =>
  FiberRefs.getOrDefault(fiberRefs, DefaultServices.currentServices)

/** @internal */
export interface Handling {
  readonly channel: string
  readonly envelope: Envelope
  /** The handler's name. */
  readonly name: string
}

/** Begins the span of a message that is now handled. A tracer that throws keeps no message from being handled. @internal */
export const begin = (tracer: Tracer.Tracer, handling: Handling, nanos: bigint): Tracer.Span | undefined => {
  const { envelope } = handling
  const parent = Option.fromNullable(sentUnder(envelope))
  try {
    const span = tracer.span(nameOf(handling), parent, Context.empty(), [], nanos, "consumer")
    for (const [key, value] of Object.entries(attributesOf(handling))) span.attribute(key, value)
    return span
  } catch {
    return undefined
  }
}

/** @internal */
export const end = (span: Tracer.Span, nanos: bigint, exit: Exit.Exit<unknown, unknown>): void => {
  try {
    span.end(nanos, exit)
  } catch {
    // as above
  }
}

/** An effect that handles a message, in a span of its own if anybody traces. @internal */
export const around = <A, E, R>(
  handling: Handling,
  traced: boolean,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const sender = sentUnder(handling.envelope)
  if (traced) {
    return Effect.withSpan(effect, nameOf(handling), {
      kind: "consumer",
      captureStackTrace: false,
      attributes: attributesOf(handling),
      ...(sender === undefined ? undefined : { parent: sender })
    }) as Effect.Effect<A, E, R>
  }
  return sender === undefined ? effect : (Effect.withParentSpan(effect, sender) as Effect.Effect<A, E, R>)
}

/** The span that the message was sent under, as its headers tell: what is done here belongs to its trace. @internal */
export const sentUnder = ({ headers }: Envelope): Tracer.Span | undefined => {
  const header = headers[traceparent]
  return header === undefined ? undefined : Sent.of(header)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const silent = Context.get(DefaultServices.liveServices, Tracer.Tracer)

const nameOf = ({ name }: Handling): string => `handle ${name}`

const attributesOf = ({ channel, envelope }: Handling) => ({
  "messaging.message.id": envelope.id,
  "messaging.destination.name": channel
})

/** The sender's span, far from its tracer: what is told of it here is told to nobody. */
class Sent implements Tracer.Span {
  readonly _tag = "Span"
  readonly name = "sender"
  readonly kind = "producer"
  readonly parent = Option.none<Tracer.AnySpan>()
  readonly context = Context.empty()
  readonly status: Tracer.SpanStatus = { _tag: "Started", startTime: 0n }
  readonly attributes: ReadonlyMap<string, unknown> = new Map()
  readonly links: ReadonlyArray<Tracer.SpanLink> = []
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean

  private constructor(traceId: string, spanId: string, sampled: boolean) {
    this.traceId = traceId
    this.spanId = spanId
    this.sampled = sampled
  }

  static of(header: string): Sent | undefined {
    const [, traceId, spanId, flags, rest] = header.split("-")
    return traceId === undefined || spanId === undefined || flags === undefined || rest !== undefined
      ? undefined
      : new Sent(traceId, spanId, flags === "01")
  }

  end(): void {}
  attribute(): void {}
  event(): void {}
  addLinks(): void {}
}
