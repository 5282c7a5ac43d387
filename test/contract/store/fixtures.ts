/**
 * What the tests of a store share: names that no other test uses, short ways to write, and time that moves when told.
 */
import { assert, type Vitest } from "@effect/vitest"
import { type Envelope, MessageStore, type MessagingError } from "@holdfast/core"
import { Effect, Fiber, Option, TestClock } from "effect"

/** What tells one store from another. */
export interface Features {
  readonly kind: string
  /** Its clock moves only when told, so that instants can be compared to the millisecond. */
  readonly frozenClock: boolean
}

export type It = Vitest.MethodsNonLive<MessageStore.MessageStore>

export const second = 1_000
export const minute = 60 * second
export const hour = 60 * minute
export const day = 24 * hour

let count = 0

/** A name that no other test uses. */
export const fresh = (name: string): string => `${name}-${++count}`

export const envelope = (options?: Partial<Envelope.Envelope>): Envelope.Envelope => ({
  id: `00000000-0000-7000-8000-${(++count).toString(16).padStart(12, "0")}`,
  tag: "Placed",
  endpoint: "Confirm",
  attempt: 1,
  headers: {},
  payload: "{}",
  failures: [],
  ...options
})

export const send = (channel: string, options?: Partial<MessageStore.Send>): MessageStore.Send => ({
  _tag: "Send",
  channel,
  envelope: envelope(),
  priority: 0,
  due: undefined,
  timer: undefined,
  ...options
})

export const after = (millis: number): MessageStore.Due => ({ _tag: "After", millis })

export const acknowledge = ({ lease }: MessageStore.Delivery): MessageStore.Acknowledge => ({
  _tag: "Acknowledge",
  lease
})

export const retry = (
  { envelope, lease }: MessageStore.Delivery,
  afterMillis: number,
  ...failures: ReadonlyArray<Envelope.Failure>
): MessageStore.Retry => ({ _tag: "Retry", lease, failures: [...envelope.failures, ...failures], afterMillis })

/** Parks a delivery, or without one what the options say. */
export const park = (
  delivery: MessageStore.Delivery | undefined,
  options?: Partial<MessageStore.Park>
): MessageStore.Park => ({
  _tag: "Park",
  channel: delivery?.lease.channel ?? "nowhere",
  lease: delivery?.lease,
  envelope: delivery?.envelope ?? envelope(),
  reason: "Exhausted",
  error: "no stock",
  fingerprint: "stock",
  ...options
})

export const sagaPut = (options?: Partial<MessageStore.SagaPut>): MessageStore.SagaPut => ({
  _tag: "SagaPut",
  saga: "Fulfilment",
  id: fresh("order"),
  version: 1,
  state: "{}",
  completed: false,
  timers: {},
  ...options
})

export const deduplicate = (key: string, windowMillis = hour): MessageStore.Deduplicate => ({
  _tag: "Deduplicate",
  key,
  windowMillis
})

export const using = <A, E, R>(f: (store: MessageStore.Encoded) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(MessageStore.MessageStore, f)

/** Commits one unit. */
export const commit = (...writes: ReadonlyArray<MessageStore.Write>) =>
  using((store) =>
    Effect.flatMap(store.commit([writes]), (outcomes): Effect.Effect<void, MessagingError.MessagingError> => {
      assert.strictEqual(outcomes.length, 1)
      return Option.match(outcomes[0]!, { onNone: () => Effect.void, onSome: (error) => Effect.fail(error) })
    })
  )

/** Commits one unit that must fail, and answers why. */
export const refused = (...writes: ReadonlyArray<MessageStore.Write>) =>
  Effect.map(Effect.flip(commit(...writes)), (error) => error.reason)

/** Sends that many messages in one unit, and answers their ids. */
export const sent = (channel: string, howMany: number) => {
  const writes = Array.from({ length: howMany }, () => send(channel))
  return Effect.as(
    commit(...writes),
    writes.map((write) => write.envelope.id)
  )
}

/** Claims for a minute. */
export const claim = (channel: string, limit = 10) =>
  using((store) => store.claim({ channel, limit, leaseMillis: minute, owner: "worker" }))

/** Claims the only message there is. */
export const claimOne = (channel: string) =>
  Effect.map(claim(channel), (deliveries) => {
    assert.strictEqual(deliveries.length, 1, `one message to claim on ${channel}`)
    return deliveries[0]!
  })

export const ids = (rows: ReadonlyArray<{ readonly envelope: Envelope.Envelope }>): ReadonlyArray<string> =>
  rows.map((row) => row.envelope.id)

/** Moves the store's clock and the process's. */
export const advance = (millis: number) =>
  Effect.uninterruptible(using((store) => Effect.zipRight(store.advance(millis), TestClock.adjust(millis))))

/** Moves time by minutes until the effect ends, which must be before the limit is reached. */
export const endsWithin = <A, E, R>(limit: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    for (let passed = 0; passed < limit; passed += minute) {
      yield* advance(minute)
      if (Option.isSome(yield* fiber.poll)) return yield* Fiber.join(fiber)
    }
    yield* Fiber.interrupt(fiber)
    return assert.fail(`not ended after ${limit} milliseconds`)
  })
