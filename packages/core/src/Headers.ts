/**
 * The headers Holdfast itself reads and writes, and how they pass from a message to those it causes.
 *
 * @since 0.1.0
 */
import type { Metadata } from "./Envelope.ts"

/**
 * Header names and their values. All are strings, so that every broker can carry them.
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = Readonly<Record<string, string>>

/**
 * Headers a sender may add. Those that say how the message came to be are the runtime's own.
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
    | "messageVersion"]?: `${Name} is set by the runtime`
}

/**
 * Identity of the whole conversation: the id of its first message, unless that one's sender chose another.
 *
 * @since 0.1.0
 * @category names
 */
export const correlationId = "correlationId"

/**
 * The id of the message that was being handled when this one was made.
 *
 * @since 0.1.0
 * @category names
 */
export const causationId = "causationId"

/**
 * When the message was made, in milliseconds since 1970 by its sender's clock.
 *
 * @since 0.1.0
 * @category names
 */
export const timestamp = "timestamp"

/**
 * Whose data the message is about. Passes to every message it causes.
 *
 * @since 0.1.0
 * @category names
 */
export const tenant = "tenant"

/**
 * W3C trace context of the span that sent the message.
 *
 * @since 0.1.0
 * @category names
 */
export const traceparent = "traceparent"

/**
 * Set on a message that came back from the dead letters: when, in milliseconds.
 *
 * @since 0.1.0
 * @category names
 */
export const replayedAt = "replayedAt"

/**
 * The version of the message, by which consumers choose how to read it: absent from messages of version 1.
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

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const own: ReadonlySet<string> = new Set([
  correlationId,
  causationId,
  timestamp,
  traceparent,
  replayedAt,
  messageVersion
])
