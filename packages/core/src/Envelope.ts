/**
 * A message in transit: its encoded payload and what travels with it.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * One try that did not succeed: when, by the store's clock in milliseconds, and why. `tag` is that of a tagged error, by
 * which `Handler.retryTags` counts.
 *
 * Up to a hundred are kept. After that, older ones of one tag are drawn together: `count` says for how many tries the
 * last of them stands. Of long errors the beginning is kept.
 *
 * @example
 * ```ts
 * import type { Envelope } from "@holdfast/core"
 *
 * const describe = ({ at, error }: Envelope.Failure) => `${new Date(at).toISOString()} ${error}`
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Failure {
  readonly at: number
  readonly error: string
  readonly tag?: string | undefined
  /** 1 when left out. */
  readonly count?: number | undefined
}

/**
 * How many tries these failures are: what `attempt` counts from.
 *
 * @example
 * ```ts
 * import { Envelope } from "@holdfast/core"
 *
 * Envelope.failureCount([{ at: 0, error: "busy" }, { at: 1_000, error: "busy", count: 7 }]) // 8
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const failureCount = (failures: ReadonlyArray<Failure>): number => {
  let tries = 0
  for (const { count } of failures) tries += count ?? 1
  return tries
}

/**
 * What is known of a message besides its payload.
 *
 * @example
 * ```ts
 * import { Handler, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const onTick = Handler.event(Tick, {
 *   name: "OnTick",
 *   handle: (_tick, envelope) => Effect.log(`${envelope.id}, attempt ${envelope.attempt}`)
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Metadata {
  /** Identity of the message (a UUIDv7) over all hops, retries and replays; copies for several handlers share it. */
  readonly id: string
  /** The wire name of the message. */
  readonly tag: string
  /** The durable name of the handler this copy is meant for. */
  readonly endpoint: string
  /** 1 the first time; failures and lost workers count, releases do not. */
  readonly attempt: number
  /** Correlation, causation, timestamp, tenant, trace context and the user's own: see `Headers`. */
  readonly headers: Readonly<Record<string, string>>
}

/**
 * A message as a channel carries it and a store keeps it.
 *
 * @example
 * ```ts
 * import { DeadLetter } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const payloads = Effect.gen(function* () {
 *   const deadLetters = yield* DeadLetter.DeadLetter
 *   const letters = yield* deadLetters.list()
 *   return letters.map(({ envelope }) => JSON.parse(envelope.payload))
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Envelope extends Metadata {
  /** The encoded message as JSON text, byte for byte as it was sent. */
  readonly payload: string
  /** The tries that failed, oldest first: what durable retries count from, and the history of a dead letter. */
  readonly failures: ReadonlyArray<Failure>
  /**
   * Messages of one key for one endpoint on one channel are handled in order, one at a time: see `Handler.orderedBy`.
   * Absent where there is no order. Empty for a copy whose publisher did not know the handler: its consumer computes
   * the key and puts the copy back under it.
   */
  readonly orderingKey?: string | undefined
}

/**
 * The message now being handled: provided to every handler, absent elsewhere.
 *
 * @example
 * ```ts
 * import { Envelope } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const attempt = Effect.map(Envelope.CurrentEnvelope, (envelope) => envelope.attempt)
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class CurrentEnvelope extends Context.Tag("@holdfast/core/Envelope/CurrentEnvelope")<
  CurrentEnvelope,
  Metadata
>() {}

/**
 * A key that is the same whenever this handler handles this message, and no other's: give it to mail and payment
 * providers, so that what a handler did before it failed is not done again.
 *
 * @example
 * ```ts
 * import { Envelope } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const charge = Effect.gen(function* () {
 *   const key = yield* Envelope.idempotencyKey
 *   yield* Effect.log(`POST /charges with Idempotency-Key: ${key}`)
 * })
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export const idempotencyKey: Effect.Effect<string, never, CurrentEnvelope> = Effect.map(
  CurrentEnvelope,
  ({ endpoint, id }) => `${endpoint}:${id}`
)
