import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Channel, Direct } from "../Channel.ts"
import type { Envelope, Failure } from "../Envelope.ts"
import type { Delivery, Encoded, ParkReason, Write } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"

/** @internal */
export interface Verdict {
  readonly reason: ParkReason
  readonly error: string
  readonly fingerprint: string
}

/**
 * What a consumer takes from: the store or a broker, in one shape.
 *
 * @internal
 */
export interface Source {
  readonly channel: string
  readonly claim: (limit: number) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>
  readonly renew: (deliveries: ReadonlyArray<Delivery>) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>
  readonly wake: (atMost: number) => Effect.Effect<void>
  /** The writes that end the unit in which the message was handled. */
  readonly settle: (delivery: Delivery) => ReadonlyArray<Write>
  /** What follows once that unit has committed. */
  readonly settled: (delivery: Delivery) => Effect.Effect<void, MessagingError>
  readonly release: (delivery: Delivery, afterMillis: number) => Effect.Effect<void, MessagingError>
  readonly retry: (
    delivery: Delivery,
    failures: ReadonlyArray<Failure>,
    afterMillis: number
  ) => Effect.Effect<void, MessagingError>
  readonly park: (delivery: Delivery, envelope: Envelope, verdict: Verdict) => Effect.Effect<void, MessagingError>
  readonly discard: (delivery: Delivery) => Effect.Effect<void, MessagingError>
}

/** @internal */
export const make = (
  store: Encoded,
  channel: Channel,
  options: { readonly leaseMillis: number; readonly owner: string }
): Source => (channel._tag === "Stored" ? stored(store, channel.name, options) : direct(store, channel, options))

/** @internal */
export const commitOne = (store: Encoded, writes: ReadonlyArray<Write>): Effect.Effect<void, MessagingError> =>
  Effect.flatMap(store.commit([writes]), ([outcome]) =>
    outcome !== undefined && Option.isSome(outcome) ? Effect.fail(outcome.value) : Effect.void
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const stored = (
  store: Encoded,
  channel: string,
  options: { readonly leaseMillis: number; readonly owner: string }
): Source => ({
  channel,
  claim: (limit) => store.claim({ channel, limit, ...options }),
  renew: (deliveries) =>
    Effect.map(
      store.renew(
        deliveries.map((delivery) => delivery.lease),
        options.leaseMillis
      ),
      (lost) => {
        const tokens = new Set(lost.map((lease) => lease.token))
        return deliveries.filter((delivery) => tokens.has(delivery.lease.token))
      }
    ),
  wake: (atMost) => store.wake(channel, atMost),
  settle: ({ lease }) => [{ _tag: "Acknowledge", lease }],
  settled: () => Effect.void,
  release: ({ lease }, afterMillis) => store.release([lease], afterMillis),
  retry: ({ lease }, failures, afterMillis) => commitOne(store, [{ _tag: "Retry", lease, failures, afterMillis }]),
  park: ({ lease }, envelope, verdict) => commitOne(store, [{ _tag: "Park", channel, lease, envelope, ...verdict }]),
  discard: ({ lease }) => commitOne(store, [{ _tag: "Acknowledge", lease }])
})

const direct = (store: Encoded, channel: Direct, options: { readonly leaseMillis: number }): Source => ({
  channel: channel.name,
  claim: (limit) => channel.driver.claim({ limit, leaseMillis: options.leaseMillis }),
  renew: (deliveries) => channel.driver.renew(deliveries, options.leaseMillis),
  wake: channel.driver.wake,
  settle: ({ envelope }) => [
    { _tag: "Deduplicate", key: inboxKey(channel.name, envelope), windowMillis: inboxWindowMillis }
  ],
  settled: channel.driver.acknowledge,
  release: (delivery, afterMillis) => channel.driver.release(delivery, delivery.envelope, afterMillis),
  retry: (delivery, failures, afterMillis) =>
    channel.driver.release(delivery, { ...delivery.envelope, failures, attempt: failures.length + 1 }, afterMillis),
  park: (delivery, envelope, verdict) =>
    Effect.zipRight(
      commitOne(store, [{ _tag: "Park", channel: channel.name, lease: undefined, envelope, ...verdict }]),
      channel.driver.acknowledge(delivery)
    ),
  discard: channel.driver.acknowledge
})

const inboxWindowMillis = 7 * 24 * 60 * 60 * 1000

/** A broker delivers at least once: the unit remembers which message it was, so that its effects happen once. @internal */
export const inboxKey = (channel: string, envelope: Envelope): string =>
  `inbox:${channel}:${envelope.endpoint}:${envelope.id}`
