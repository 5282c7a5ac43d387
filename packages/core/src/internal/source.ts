import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Channel, Direct } from "../Channel.ts"
import { type Envelope, type Failure, failureCount } from "../Envelope.ts"
import type { Deduplicate, Delivery, Encoded, JournalEntry, Lease, ParkReason, Write } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import { canaryHandled } from "./canary.ts"
import { AlreadyHandled } from "./dispatch.ts"
import * as Keys from "./keys.ts"

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
  /** The owner of its leases. */
  readonly worker: string
  /** All of it is the store's: settling is a write, and messages can be claimed ahead. */
  readonly stored: boolean
  readonly claim: (limit: number, ahead: boolean) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>
  /** Before what was claimed ahead is begun. */
  readonly started: (deliveries: ReadonlyArray<Delivery>) => Effect.Effect<void, MessagingError>
  readonly renew: (deliveries: ReadonlyArray<Delivery>) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>
  readonly wake: (atMost: number) => Effect.Effect<void>
  /** The writes that end the unit in which the message was handled. */
  readonly settle: (delivery: Delivery) => ReadonlyArray<Write>
  /** What follows once that unit has committed. */
  readonly settled: (delivery: Delivery) => Effect.Effect<void, MessagingError>
  readonly release: (deliveries: ReadonlyArray<Delivery>, afterMillis: number) => Effect.Effect<void, MessagingError>
  /**
   * Sets messages aside until a pause ends or a limit has room; what a broker keeps comes again after a while. Answers
   * false where the pause has ended.
   */
  readonly hold: (deliveries: ReadonlyArray<Delivery>, by: string) => Effect.Effect<boolean, MessagingError>
  readonly retry: (
    delivery: Delivery,
    failures: ReadonlyArray<Failure>,
    afterMillis: number,
    journal: ReadonlyArray<JournalEntry>
  ) => Effect.Effect<void, MessagingError>
  /** The writes that end the unit in which the message is parked; `settled` follows them too. */
  readonly park: (delivery: Delivery, envelope: Envelope, verdict: Verdict) => ReadonlyArray<Write>
  readonly discard: (delivery: Delivery, journal: ReadonlyArray<JournalEntry>) => Effect.Effect<void, MessagingError>
}

/** @internal */
export const make = (
  store: Encoded,
  channel: Channel,
  options: { readonly leaseMillis: number; readonly owner: string }
): Source => {
  const kept = stored(store, channel.name, options)
  return channel._tag === "Stored" ? kept : both(kept, direct(store, channel, options), paused(store, channel))
}

/** @internal */
export const commitOne = (store: Encoded, writes: ReadonlyArray<Write>): Effect.Effect<void, MessagingError> =>
  Effect.flatMap(store.commit([writes]), ([outcome]) =>
    outcome !== undefined && Option.isSome(outcome) ? Effect.fail(outcome.value) : Effect.void
  )

/**
 * A broker delivers at least once: the unit remembers which message it was, so that its effects happen once. One that
 * finds the mark of another is undone with `AlreadyHandled`, and only acknowledges.
 *
 * @internal
 */
export const onceOnly = <A, E, R>(
  store: Encoded,
  source: Source,
  delivery: Delivery,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | AlreadyHandled | MessagingError, R> => {
  const mark = source.settle(delivery).find((write) => write._tag === "Deduplicate")
  return mark === undefined
    ? effect
    : store.remembered([mark.key]).pipe(
        Effect.filterOrFail(
          (seen) => !seen.has(mark.key),
          () => new AlreadyHandled()
        ),
        Effect.zipRight(effect)
      )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const stored = (
  store: Encoded,
  channel: string,
  options: { readonly leaseMillis: number; readonly owner: string }
): Source => ({
  channel,
  worker: options.owner,
  stored: true,
  claim: (limit, ahead) => store.claim({ channel, limit, ahead, ...options }),
  started: (deliveries) => store.started(deliveries.map(({ lease }) => lease)),
  renew: (deliveries) =>
    Effect.map(
      store.renew(
        deliveries.map((delivery) => delivery.lease),
        options.leaseMillis
      ),
      // messages that were claimed together may share a token
      (lost) => {
        const names = new Set(lost.map(nameOf))
        return deliveries.filter(({ lease }) => names.has(nameOf(lease)))
      }
    ),
  wake: (atMost) => store.wake(channel, atMost),
  settle: ({ envelope, lease }) => [{ _tag: "Acknowledge", lease }, ...canaryHandled(envelope)],
  settled: () => Effect.void,
  release: (deliveries, afterMillis) =>
    store.release(
      deliveries.map(({ lease }) => lease),
      afterMillis
    ),
  hold: (deliveries, by) =>
    store.flow.hold(
      deliveries.map(({ lease }) => lease),
      by
    ),
  retry: ({ lease }, failures, afterMillis, journal) =>
    commitOne(store, [{ _tag: "Retry", lease, failures, afterMillis }, ...journal]),
  park: ({ lease }, envelope, verdict) => [{ _tag: "Park", channel, lease, envelope, ...verdict }],
  discard: ({ envelope, lease }, journal) =>
    commitOne(store, [{ _tag: "Acknowledge", lease }, ...canaryHandled(envelope), ...journal])
})

const nameOf = ({ key, token }: Lease): string => `${key} ${token}`

const paused = (store: Encoded, channel: Channel): Effect.Effect<boolean, MessagingError> =>
  Effect.map(store.paused, (names) => names.includes(channel.name))

/**
 * A broker's channel: dead letters that were replayed wait in the store, the rest at the broker. The store says whether
 * it is paused, and gives out nothing itself then.
 */
const both = (kept: Source, broker: Source, paused: Effect.Effect<boolean, MessagingError>): Source => {
  const replayed = new WeakSet<Delivery>()
  const of = (delivery: Delivery): Source => (replayed.has(delivery) ? kept : broker)
  return {
    channel: broker.channel,
    worker: broker.worker,
    stored: false,
    started: () => Effect.void,
    claim: (limit) =>
      Effect.flatMap(kept.claim(limit, false), (own) => {
        for (const delivery of own) replayed.add(delivery)
        if (own.length === limit) return Effect.succeed(own)
        const rest = Effect.if(paused, {
          onTrue: () => Effect.succeed([]),
          onFalse: () => broker.claim(limit - own.length, false)
        })
        return Effect.map(own.length === 0 ? rest : Effect.orElseSucceed(rest, () => []), (others) => [
          ...own,
          ...others
        ])
      }),
    renew: (deliveries) => {
      const [others, own] = Arr.partition(deliveries, (delivery) => replayed.has(delivery))
      return Effect.zipWith(
        own.length === 0 ? Effect.succeed([]) : kept.renew(own),
        others.length === 0 ? Effect.succeed([]) : broker.renew(others),
        (lost, lostToo) => [...lost, ...lostToo]
      )
    },
    // both sides are interruptible, so that the loser ends in an uninterruptible region too
    wake: (atMost) =>
      Effect.if(
        Effect.orElseSucceed(paused, () => true),
        {
          onTrue: () => kept.wake(atMost),
          onFalse: () => Effect.race(Effect.interruptible(kept.wake(atMost)), Effect.interruptible(broker.wake(atMost)))
        }
      ),
    settle: (delivery) => of(delivery).settle(delivery),
    settled: (delivery) => of(delivery).settled(delivery),
    release: (deliveries, afterMillis) =>
      Effect.forEach(deliveries, (delivery) => of(delivery).release([delivery], afterMillis), { discard: true }),
    hold: (deliveries, by) => {
      const [others, own] = Arr.partition(deliveries, (delivery) => replayed.has(delivery))
      return Effect.zipWith(
        own.length === 0 ? Effect.succeed(true) : kept.hold(own, by),
        others.length === 0 ? Effect.succeed(true) : broker.hold(others, by),
        (held, heldToo) => held && heldToo
      )
    },
    retry: (delivery, failures, afterMillis, journal) => of(delivery).retry(delivery, failures, afterMillis, journal),
    park: (delivery, envelope, verdict) => of(delivery).park(delivery, envelope, verdict),
    discard: (delivery, journal) => of(delivery).discard(delivery, journal)
  }
}

const direct = (
  store: Encoded,
  channel: Direct,
  options: { readonly leaseMillis: number; readonly owner: string }
): Source => ({
  channel: channel.name,
  worker: options.owner,
  stored: false,
  started: () => Effect.void,
  claim: (limit) => channel.driver.claim({ limit, leaseMillis: options.leaseMillis }),
  renew: (deliveries) => channel.driver.renew(deliveries, options.leaseMillis),
  wake: channel.driver.wake,
  settle: ({ envelope }) => [remember(channel.name, envelope)],
  settled: channel.driver.acknowledge,
  release: (deliveries, afterMillis) =>
    Effect.forEach(deliveries, (delivery) => channel.driver.release(delivery, delivery.envelope, afterMillis), {
      discard: true
    }),
  hold: (deliveries) =>
    Effect.as(
      Effect.forEach(deliveries, (delivery) => channel.driver.release(delivery, delivery.envelope, heldMillis)),
      true
    ),
  retry: (delivery, failures, afterMillis, journal) =>
    Effect.zipRight(
      channel.driver.release(
        delivery,
        { ...delivery.envelope, failures, attempt: failureCount(failures) + 1 },
        afterMillis
      ),
      record(store, journal)
    ),
  park: (_, envelope, verdict) => [
    { _tag: "Park", channel: channel.name, lease: undefined, envelope, ...verdict },
    remember(channel.name, envelope)
  ],
  discard: (delivery, journal) => Effect.zipRight(channel.driver.acknowledge(delivery), record(store, journal))
})

/** The broker and the store do not commit together: what the broker knows already is not undone for the journal. */
const record = (store: Encoded, journal: ReadonlyArray<JournalEntry>): Effect.Effect<void> =>
  journal.length === 0
    ? Effect.void
    : Effect.catchAll(commitOne(store, journal), (error) =>
        Effect.logWarning("What became of a broker's message is missing in the journal", error)
      )

const remember = (channel: string, envelope: Envelope): Deduplicate => ({
  _tag: "Deduplicate",
  key: Keys.ofDelivery(channel, envelope.endpoint, envelope.id),
  windowMillis: inboxWindowMillis
})

/** When a broker gives out again what is paused or over a limit. */
const heldMillis = 1_000

const inboxWindowMillis = 7 * 24 * 60 * 60 * 1000
