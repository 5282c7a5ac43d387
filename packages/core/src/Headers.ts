/**
 * The headers Holdfast itself reads and writes, and how they pass from a message to those it causes.
 *
 * @since 0.1.0
 */
import type { Metadata } from "./Envelope.ts"

/**
 * Header names and their values. All are strings, so that every broker can carry them.
 *
 * @example
 * ```ts
 * import { Envelope, type Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const headers: Effect.Effect<Headers.Headers, never, Envelope.CurrentEnvelope> = Effect.map(
 *   Envelope.CurrentEnvelope,
 *   (envelope) => envelope.headers
 * )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = Readonly<Record<string, string>>

/**
 * Headers a sender may add. Those that say how the message came to be are the runtime's own.
 *
 * @example
 * ```ts
 * import { EventBus, type Headers, Message } from "@holdfast/core"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const headers: Headers.UserHeaders = { tenant: "acme", source: "import" }
 * const tick = EventBus.publish(new Tick(), { headers })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type UserHeaders = Headers & {
  readonly [Name in
    | "causationId"
    | "timestamp"
    | "traceparent"
    | "replayedAt"
    | "replayOf"
    | "canaryOf"
    | "messageVersion"]?: `${Name} is set by the runtime`
}

/**
 * Identity of the whole conversation: the id of its first message, unless that one's sender chose another.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const conversation = Effect.map(Envelope.CurrentEnvelope, ({ headers }) => headers[Headers.correlationId])
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const correlationId = "correlationId"

/**
 * The id of the message that was being handled when this one was made.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const causedBy = Effect.map(Envelope.CurrentEnvelope, ({ headers }) => headers[Headers.causationId])
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const causationId = "causationId"

/**
 * When the message was made, in milliseconds since 1970 by its sender's clock.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { DateTime, Effect } from "effect"
 *
 * const madeAt = Effect.map(Envelope.CurrentEnvelope, ({ headers }) =>
 *   DateTime.make(Number(headers[Headers.timestamp]))
 * )
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const timestamp = "timestamp"

/**
 * Whose data the message is about. Passes to every message it causes.
 *
 * @example
 * ```ts
 * import { EventBus, Headers, Message } from "@holdfast/core"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const tick = EventBus.publish(new Tick(), { headers: { [Headers.tenant]: "acme" } })
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const tenant = "tenant"

/**
 * W3C trace context of the span that sent the message.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const traceId = Effect.map(Envelope.CurrentEnvelope, ({ headers }) => headers[Headers.traceparent]?.split("-")[1])
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const traceparent = "traceparent"

/**
 * Set on a message that came back from the dead letters: when, in milliseconds.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const isReplay = Effect.map(Envelope.CurrentEnvelope, ({ headers }) => headers[Headers.replayedAt] !== undefined)
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const replayedAt = "replayedAt"

/**
 * Set on a message that came back from the dead letters: the key that its dead letter had.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const letter = Effect.map(Envelope.CurrentEnvelope, ({ headers }) => headers[Headers.replayOf])
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const replayOf = "replayOf"

/**
 * Set on a message that is replayed before others, to see whether it is handled: the replay that waits for it.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const isCanary = Effect.map(Envelope.CurrentEnvelope, ({ headers }) => headers[Headers.canaryOf] !== undefined)
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const canaryOf = "canaryOf"

/**
 * The version of the message, by which consumers choose how to read it: absent from messages of version 1.
 *
 * @example
 * ```ts
 * import { Envelope, Headers } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const version = Effect.map(Envelope.CurrentEnvelope, ({ headers }) => Number(headers[Headers.messageVersion] ?? 1))
 * ```
 *
 * @since 0.1.0
 * @category names
 */
export const messageVersion = "messageVersion"

/**
 * Headers of a new message: those of the message being handled, then the sender's own, which win; except that the
 * conversation, once begun, keeps its id. What belongs to one message alone is not passed on.
 *
 * @example
 * ```ts
 * import { Headers } from "@holdfast/core"
 *
 * const headers = Headers.propagate({
 *   id: "0199f0a0-0000-7000-8000-000000000001",
 *   now: 1_700_000_000_000,
 *   parent: undefined,
 *   explicit: { tenant: "acme" },
 *   traceparent: undefined
 * })
 * // { tenant: "acme", timestamp: "1700000000000", correlationId: "0199f0a0-…" }
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const propagate = (options: {
  readonly id: string
  readonly now: number
  readonly parent: Metadata | undefined
  readonly explicit: Headers | undefined
  readonly traceparent: string | undefined
  /** The version of the new message: 1 unless given. */
  readonly version?: number | undefined
}): Headers => {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(options.parent?.headers ?? {})) {
    if (!own.has(name)) headers[name] = value
  }
  for (const [name, value] of Object.entries(options.explicit ?? {})) {
    if (!own.has(name)) headers[name] = value
  }
  headers[timestamp] = String(options.now)
  headers[correlationId] = options.parent?.headers[correlationId] ?? options.explicit?.[correlationId] ?? options.id
  if (options.parent !== undefined) headers[causationId] = options.parent.id
  if (options.traceparent !== undefined) headers[traceparent] = options.traceparent
  if (options.version !== undefined && options.version !== 1) headers[messageVersion] = String(options.version)
  return headers
}

/**
 * Adds headers to those of a message; a header that is there already is replaced. Those that say how the message came to
 * be, its conversation among them, stay as they are.
 *
 * @example
 * ```ts
 * import { Headers } from "@holdfast/core"
 *
 * Headers.add({ correlationId: "1" }, { tenant: "acme", correlationId: "2" }) // { correlationId: "1", tenant: "acme" }
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const add = (headers: Headers, added: Headers): Headers => ({
  ...headers,
  ...Object.fromEntries(Object.entries(added).filter(([name]) => !own.has(name)))
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const own: ReadonlySet<string> = new Set([
  correlationId,
  causationId,
  timestamp,
  traceparent,
  replayedAt,
  replayOf,
  canaryOf,
  messageVersion
])
