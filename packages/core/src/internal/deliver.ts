import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Policy } from "../Channel.ts"
import type { Envelope } from "../Envelope.ts"
import type { Entry, HandlerRegistry } from "../HandlerRegistry.ts"
import type * as Message from "../Message.ts"
import type { Delivery, Due, Encoded, JournalEntry } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import { versionOf } from "./decode.ts"
import { AlreadyHandled, orderingKeyOf, retryInPlace, withOrderingKey } from "./dispatch.ts"
import { verdict } from "./failure.ts"
import type { Flow } from "./flow.ts"
import { giveUp, policyOf, recordFailure } from "./giveUp.ts"
import * as Input from "./input.ts"
import { intercepted } from "./interception.ts"
import * as Journal from "./journal.ts"
import { atLast, patiently, settle } from "./outcome.ts"
import { commitOne, onceOnly, type Source } from "./source.ts"
import * as Telemetry from "./telemetry.ts"
import { unknown, unknownEndpoint, unknownVersion } from "./unknown.ts"

/**
 * What a consumer works with.
 *
 * @internal
 */
export interface Consuming {
  readonly store: Encoded
  readonly registry: HandlerRegistry["Type"]
  readonly source: Source
  readonly policy: Policy
  /** What the channel has written down. */
  readonly recording: Journal.Recording
  readonly flow: Flow
  /** The consumer lost the message, or is shutting down: what is interrupted now failed nobody's attempt. */
  readonly interrupted: (delivery: Delivery) => "Lost" | "Stopping" | undefined
  /** When, by this process's clock, it was claimed. */
  readonly claimedHere: (delivery: Delivery) => number | undefined
  /** The channel was paused by a message that nothing may overtake: nothing more is begun. */
  readonly stopped: Effect.Effect<void>
  /** Runs it once no other message of the key is being handled. */
  readonly oneAtATime: <A, E, R>(
    delivery: Delivery,
    key: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E, R>
}

/** How the message ended, for this time. @internal */
export type Outcome =
  | "Handled"
  | "Retried"
  | "Parked"
  | "Discarded"
  | "Resent"
  | "Stopped"
  | "Expired"
  | "Held"
  | "Released"
  | "Lost"

/** Handles one claimed message and settles it. Never fails: what cannot be settled comes back when its lease ends. @internal */
export const deliver = (
  consuming: Consuming,
  delivery: Delivery,
  /** Told when the message was read with what its schema needs. */
  onRead: () => void = () => {}
): Effect.Effect<Outcome> =>
  Effect.uninterruptibleMask((restore) =>
    atLast(consuming, delivery, deliverWith(consuming, delivery, restore, onRead))
  )

/** What is written down of a message that was handled, if its channel has it. @internal */
export const recordHandled = (
  { recording, source }: Consuming,
  { envelope }: Delivery,
  durationMillis: number
): ReadonlyArray<JournalEntry> =>
  Journal.handled(recording, envelope, { channel: source.channel, worker: source.worker, durationMillis })

/**
 * Whether there is nothing to do with the message but to handle it. What nothing may overtake also keeps its slot until it
 * is settled.
 *
 * @internal
 */
export const isPlain = (consuming: Consuming, entry: Entry, { version }: Message.AnyClass, delivery: Delivery) => {
  const { envelope } = delivery
  const { deadLetter, delay } = entry.route!
  return (
    delivery.crashes < deadLetter.afterCrashes &&
    deadLetter.onGivenUp !== "Stop" &&
    versionOf(envelope.headers) === version &&
    envelope.orderingKey !== "" &&
    !(delivery.undelayed && delay !== undefined) &&
    !hasExpired(entry, delivery) &&
    !consuming.flow.minds(entry, delivery) &&
    consuming.registry.interceptors.at("Consumer").length === 0
  )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const deliverWith = (
  consuming: Consuming,
  delivery: Delivery,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
  onRead: () => void
): Effect.Effect<Outcome, MessagingError> =>
  Effect.gen(function* () {
    const { envelope } = delivery
    const paused = yield* Effect.exit(Effect.sync(() => consuming.flow.paused(delivery)))
    if (Exit.isFailure(paused)) return yield* patiently(broken(consuming, delivery, "Defect", paused.cause))
    if (paused.value !== undefined) return yield* patiently(paused.value)
    if (delivery.crashes >= policyOf(consuming, envelope).deadLetter.afterCrashes) {
      return yield* patiently(crashed(consuming, delivery))
    }
    const entry = consuming.registry.byName(envelope.endpoint)
    const known = entry?.local ? classOf(entry, envelope.tag) : undefined
    if (entry === undefined || known === undefined) {
      return yield* patiently(unknown(consuming, delivery, unknownEndpoint))
    }
    if (versionOf(envelope.headers) > known.version) {
      return yield* patiently(unknown(consuming, delivery, unknownVersion(known.version)))
    }
    const prepared = yield* Effect.exit(prepare(entry, delivery))
    if (Exit.isFailure(prepared)) {
      const reason = Option.isSome(Cause.failureOption(prepared.cause)) ? "Undecodable" : "Defect"
      return yield* patiently(broken(consuming, delivery, reason, prepared.cause))
    }
    onRead()
    const { key, message, orderingKey, wait } = prepared.value
    const due = wait !== undefined && (yield* isAhead(consuming.store, wait)) ? wait : undefined
    if (due !== undefined || envelope.orderingKey === "") {
      return yield* patiently(putBack(consuming, delivery, withOrderingKey(envelope, orderingKey), due))
    }
    if (hasExpired(entry, delivery)) return yield* patiently(expire(consuming, delivery, message))
    const flowing = yield* Effect.exit(Effect.sync(() => consuming.flow.begin(entry, delivery, message)))
    if (Exit.isFailure(flowing)) return yield* patiently(broken(consuming, delivery, "Defect", flowing.cause))
    const begun = flowing.value
    const stopped = begun === undefined ? undefined : yield* patiently(begun)
    if (stopped !== undefined) return stopped
    let committed = false
    const elapsed = yield* stopwatch
    const run = handle(consuming, entry, delivery, message, elapsed, () => {
      committed = true
    })
    const exit = yield* Effect.exit(restore(key === undefined ? run : consuming.oneAtATime(delivery, key, run)))
    if (begun !== undefined) yield* consuming.flow.leave(delivery)
    // who takes the lease away while the commit is on its way comes too late: what was committed is handled
    const ended = committed ? Exit.void : exit
    if (committed && Exit.isFailure(exit) && !Cause.isInterrupted(exit.cause))
      yield* Effect.logWarning("An interceptor failed when its message had been handled", exit.cause)
    return yield* patiently(settle(consuming, entry, delivery, message, elapsed(), ended))
  })

const classOf = (entry: Entry, tag: string): Message.AnyClass | undefined =>
  entry.messages.find((message) => message._tag === tag) ?? entry.internal.find((message) => message._tag === tag)

/** The message, and what its handler says of it. Fails when it does not decode, dies when the handler's functions do. */
const prepare = (entry: Entry, { availableAt, claimedAt, envelope, undelayed }: Delivery) =>
  Effect.try({ try: () => JSON.parse(envelope.payload) as unknown, catch: (cause) => cause }).pipe(
    Effect.flatMap((payload) => entry.decode(envelope, payload)),
    Effect.bindTo("message"),
    Effect.bind("orderingKey", ({ message }) =>
      envelope.orderingKey === "" ? orderingKeyOf(entry.route, message, envelope) : Effect.succeed(envelope.orderingKey)
    ),
    Effect.map(({ message, orderingKey }: { message: Message.Any; orderingKey: string | undefined }) => ({
      message,
      orderingKey,
      wait: undelayed ? since(availableAt, claimedAt, entry.route?.delay?.(message)) : undefined,
      key: entry.serialize?.(message, envelope)
    })),
    Effect.tap(({ wait }) => Input.dieOn(Input.time(envelope.tag, wait)))
  )

const handle = (
  consuming: Consuming,
  entry: Entry,
  delivery: Delivery,
  message: Message.Any,
  elapsed: () => number,
  onCommit: () => void
): Effect.Effect<unknown, unknown> => {
  const { source, store } = consuming
  const handled = onceOnly(store, source, delivery, entry.handle(message, delivery.envelope))
  const settle = () => [...source.settle(delivery), ...recordHandled(consuming, delivery, elapsed())]
  const once = UnitOfWork.root(store, handled, { settle, onCommit })
  const delivered = surrounded(consuming, entry, delivery, message, retryInPlace(entry, once))
  const { envelope } = delivery
  return Telemetry.processing({ channel: source.channel, envelope }, isAlreadyHandled, delivered)
}

const isAlreadyHandled = (error: unknown): boolean => error instanceof AlreadyHandled

/** What was handled already is no failure: interceptors see none. */
const surrounded = (
  { registry }: Consuming,
  entry: Entry,
  { envelope }: Delivery,
  message: Message.Any,
  handled: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> => {
  if (registry.interceptors.at("Consumer").length === 0) return handled
  return Effect.suspend(() => {
    let again = false
    const quiet = Effect.catchIf(
      handled,
      (error) => error instanceof AlreadyHandled,
      () =>
        Effect.sync(() => {
          again = true
        })
    )
    return Effect.flatMap(intercepted(registry, "Consumer", message, envelope, entry, quiet), (answer) =>
      again ? new AlreadyHandled() : Effect.succeed(answer)
    )
  })
}

/** Tells how many milliseconds have passed since. */
const stopwatch = Effect.map(Effect.clock, (clock) => {
  const begun = clock.unsafeCurrentTimeNanos()
  return () => Number(clock.unsafeCurrentTimeNanos() - begun) / 1_000_000
})

/** Only what was never begun expires: a message that is tried again has begun in time. */
const hasExpired = (entry: Entry, { availableAt, claimedAt, envelope }: Delivery): boolean =>
  entry.route?.timeToLive !== undefined && envelope.attempt === 1 && claimedAt - availableAt > entry.route.timeToLive

const expire = (consuming: Consuming, delivery: Delivery, message: unknown): Effect.Effect<Outcome, MessagingError> =>
  Effect.gen(function* () {
    const { registry, source } = consuming
    yield* source.discard(delivery, recordFailure(consuming, "Expired", delivery, {}))
    registry.observe?.({ _tag: "Expired", message, envelope: delivery.envelope })
    yield* Effect.logWarning(`${delivery.envelope.tag} was not begun within its time to live, and is dropped`)
    return "Expired" as const
  })

/** It cannot be read, or what its handler or channel says of it throws. */
const broken = (
  consuming: Consuming,
  delivery: Delivery,
  reason: "Undecodable" | "Defect",
  cause: Cause.Cause<unknown>
) => {
  const { endpoint, failures } = delivery.envelope
  return giveUp(consuming, delivery, verdict(reason, endpoint, cause), failures)
}

const crashed = (consuming: Consuming, delivery: Delivery) =>
  giveUp(
    consuming,
    delivery,
    {
      reason: "Crashed",
      error:
        `${delivery.crashes} consumers were lost while they handled this message: killed, out of memory, or frozen ` +
        "for longer than their lease. Mend the handler, then replay it",
      fingerprint: `${delivery.envelope.endpoint} Crashed`
    },
    delivery.envelope.failures
  )

/** A copy made by a publisher that did not know this handler: its delay and its ordering key are applied here. */
const putBack = (
  consuming: Consuming,
  delivery: Delivery,
  envelope: Envelope,
  due: Due | undefined
): Effect.Effect<Outcome, MessagingError> =>
  Effect.as(
    commitOne(consuming.store, [
      ...consuming.source.settle(delivery),
      {
        _tag: "Send",
        channel: consuming.source.channel,
        envelope,
        priority: delivery.priority,
        due,
        timer: undefined
      }
    ]),
    "Released"
  )

/** A delay runs from when the copy was made, however late a consumer comes. */
const since = (availableAt: number, claimedAt: number, due: Due | undefined): Due | undefined =>
  due?._tag === "After" ? { _tag: "After", millis: due.millis - Math.max(0, claimedAt - availableAt) } : due

const isAhead = (store: Encoded, due: Due): Effect.Effect<boolean, MessagingError> =>
  due._tag === "After" ? Effect.succeed(due.millis > 0) : Effect.map(store.now, (now) => due.epochMillis > now)
