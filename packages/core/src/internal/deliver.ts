import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Tracer from "effect/Tracer"
import type { Policy } from "../Channel.ts"
import type { Envelope, Failure } from "../Envelope.ts"
import type { Entry, HandlerRegistry } from "../HandlerRegistry.ts"
import { traceparent } from "../Headers.ts"
import type * as Message from "../Message.ts"
import type { Delivery, Due, Encoded } from "../MessageStore.ts"
import { FailureClassifier, isMessagingError, type MessagingError, some } from "../MessagingError.ts"
import * as RetryPolicy from "../RetryPolicy.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import { versionOf } from "./decode.ts"
import { AlreadyHandled, orderingKeyOf, retryInPlace, withOrderingKey } from "./dispatch.ts"
import { render, verdict } from "./failure.ts"
import type { Flow } from "./flow.ts"
import { giveUp, isIncurable, policyOf } from "./giveUp.ts"
import * as Input from "./input.ts"
import { intercepted } from "./interception.ts"
import { commitOne, onceOnly, type Source } from "./source.ts"

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
  readonly flow: Flow
  /** The consumer lost the message, or is shutting down: what is interrupted now failed nobody's attempt. */
  readonly interrupted: (delivery: Delivery) => "Lost" | "Stopping" | undefined
}

/** How the message ended, for this time. @internal */
export type Outcome = "Handled" | "Retried" | "Parked" | "Discarded" | "Expired" | "Held" | "Released" | "Lost"

/** Handles one claimed message and settles it. Never fails: what cannot be settled comes back when its lease ends. @internal */
export const deliver = (consuming: Consuming, delivery: Delivery): Effect.Effect<Outcome> =>
  Effect.uninterruptibleMask((restore) => deliverWith(consuming, delivery, restore)).pipe(
    Effect.catchAllCause((cause) =>
      Effect.as(
        Effect.logWarning("A message could not be settled; it comes back when its lease ends", cause),
        "Lost" as const
      )
    ),
    Effect.annotateLogs({
      channel: consuming.source.channel,
      endpoint: delivery.envelope.endpoint,
      message: delivery.envelope.id
    })
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const deliverWith = (
  consuming: Consuming,
  delivery: Delivery,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<Outcome, MessagingError> =>
  Effect.gen(function* () {
    const { envelope } = delivery
    const paused = consuming.flow.paused(delivery)
    if (paused !== undefined) return yield* patiently(paused)
    if (delivery.crashes >= policyOf(consuming, envelope).deadLetter.afterCrashes) {
      return yield* patiently(crashed(consuming, delivery))
    }
    const entry = consuming.registry.byName(envelope.endpoint)
    const known = entry?.local ? classOf(entry, envelope.tag) : undefined
    if (entry === undefined || known === undefined) return yield* unknown(consuming, delivery, unknownEndpoint)
    if (versionOf(envelope.headers) > known.version) {
      return yield* unknown(consuming, delivery, unknownVersion(known.version))
    }
    consuming.registry.unknownSince.delete(copyOf(envelope))
    const prepared = yield* Effect.exit(prepare(entry, delivery))
    if (Exit.isFailure(prepared)) {
      const reason = Option.isSome(Cause.failureOption(prepared.cause)) ? "Undecodable" : "Defect"
      const why = verdict(reason, envelope.endpoint, prepared.cause)
      return yield* patiently(giveUp(consuming, delivery, why, envelope.failures))
    }
    const { key, message, orderingKey, wait } = prepared.value
    const due = wait !== undefined && (yield* isAhead(consuming.store, wait)) ? wait : undefined
    if (due !== undefined || envelope.orderingKey === "") {
      return yield* patiently(putBack(consuming, delivery, withOrderingKey(envelope, orderingKey), due))
    }
    if (hasExpired(entry, delivery)) return yield* patiently(expire(consuming, delivery, message))
    const begun = consuming.flow.begin(entry, delivery, message)
    const stopped = begun === undefined ? undefined : yield* patiently(begun)
    if (stopped !== undefined) return stopped
    let committed = false
    const run = handle(consuming, entry, delivery, message, () => {
      committed = true
    })
    const exit = yield* Effect.exit(restore(key === undefined ? run : consuming.registry.oneAtATime(key, run)))
    if (begun !== undefined) yield* consuming.flow.leave(delivery)
    // who takes the lease away while the commit is on its way comes too late: what was committed is handled
    const ended = committed ? Exit.void : exit
    if (committed && Exit.isFailure(exit) && !Cause.isInterrupted(exit.cause))
      yield* Effect.logWarning("An interceptor failed when its message had been handled", exit.cause)
    return yield* patiently(settle(consuming, entry, delivery, message, ended))
  })

/** A database that is away for a moment when the message is settled: the lease outlives that. */
const patiently = <A extends Outcome | undefined>(
  settled: Effect.Effect<A, MessagingError>
): Effect.Effect<A, MessagingError> =>
  Effect.retry(settled, {
    while: (error) => error.reason === "Unavailable",
    schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo("8 seconds"))
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
  onCommit: () => void
): Effect.Effect<unknown, unknown> => {
  const { source, store } = consuming
  const handled = onceOnly(store, source, delivery, entry.handle(message, delivery.envelope))
  const once = UnitOfWork.root(store, handled, { settle: source.settle(delivery), onCommit })
  const delivered = surrounded(consuming, entry, delivery, message, retryInPlace(entry, once))
  return Effect.withSpan(delivered, `handle ${entry.name}`, {
    kind: "consumer",
    captureStackTrace: false,
    attributes: { "messaging.message.id": delivery.envelope.id, "messaging.destination.name": source.channel },
    ...parentSpan(delivery.envelope)
  })
}

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

const settle = (
  consuming: Consuming,
  entry: Entry,
  delivery: Delivery,
  message: unknown,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<Outcome, MessagingError> => {
  const { registry, source, store } = consuming
  const { envelope } = delivery
  const hasBreaker = entry.route?.circuitBreaker !== undefined
  const answered = hasBreaker ? consuming.flow.answered(entry) : Effect.void
  if (Exit.isSuccess(exit)) {
    registry.observe?.({ _tag: "Handled", message, envelope })
    const settled = Effect.as(source.settled(delivery), "Handled" as const)
    return hasBreaker ? Effect.zipRight(answered, settled) : settled
  }
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (error instanceof AlreadyHandled) return Effect.as(source.settled(delivery), "Handled")
  const interrupted = consuming.interrupted(delivery)
  if (interrupted === "Lost" || (isMessagingError(error) && error.reason === "LeaseLost")) {
    return Effect.as(Effect.logInfo("The lease was lost: another consumer has the message"), "Lost")
  }
  if (interrupted === "Stopping" && Cause.isInterrupted(exit.cause)) return release(source, delivery, 0)
  registry.observe?.({ _tag: "Failed", message, envelope, error: render(exit.cause) })
  return Effect.flatMap(FailureClassifier, (classifier) =>
    some(exit.cause, (value) => isInfrastructure(store, classifier, value))
      ? Effect.zipRight(
          Effect.logWarning("The infrastructure failed, not the handler: the message is given back", exit.cause),
          Effect.flatMap(hasBreaker ? consuming.flow.broke(entry) : Effect.succeed(0), (closedMillis) =>
            release(source, delivery, Math.max(infrastructureBackoffMillis, closedMillis))
          )
        )
      : Effect.zipRight(answered, failed(consuming, entry, delivery, exit.cause))
  )
}

const infrastructureBackoffMillis = 1_000

const isInfrastructure = (
  store: Encoded,
  classifier: { readonly isInfrastructure: (error: unknown) => boolean },
  error: unknown
): boolean =>
  (isMessagingError(error) && error.isRetryable) || store.isInfrastructure(error) || classifier.isInfrastructure(error)

const failed = (consuming: Consuming, entry: Entry, delivery: Delivery, cause: Cause.Cause<unknown>) =>
  Effect.gen(function* () {
    const { envelope } = delivery
    const at = yield* storeNow(delivery)
    const failures: ReadonlyArray<Failure> = [...envelope.failures, { at, error: render(cause) }]
    const error = Cause.failureOption(cause)
    if (Option.isNone(error))
      return yield* giveUp(consuming, delivery, verdict("Defect", envelope.endpoint, cause), failures)
    const schedule = isIncurable(error.value) ? undefined : entry.route?.retry
    const next = schedule === undefined ? Option.none() : yield* RetryPolicy.next(schedule, failures, error.value)
    if (Option.isNone(next)) {
      return yield* giveUp(consuming, delivery, verdict("Exhausted", envelope.endpoint, cause), failures)
    }
    yield* consuming.source.retry(delivery, failures, next.value)
    consuming.registry.observe?.({ _tag: "Retried", envelope, afterMillis: next.value })
    yield* Effect.logInfo(`Failed at attempt ${envelope.attempt}, again in ${next.value} ms`, cause)
    return "Retried" as const
  })

/** Only what was never begun expires: a message that is tried again has begun in time. */
const hasExpired = (entry: Entry, { availableAt, claimedAt, envelope }: Delivery): boolean =>
  entry.route?.timeToLive !== undefined && envelope.attempt === 1 && claimedAt - availableAt > entry.route.timeToLive

const expire = (
  { registry, source }: Consuming,
  delivery: Delivery,
  message: unknown
): Effect.Effect<Outcome, MessagingError> =>
  Effect.gen(function* () {
    yield* source.discard(delivery)
    registry.observe?.({ _tag: "Expired", message, envelope: delivery.envelope })
    yield* Effect.logWarning(`${delivery.envelope.tag} was not begun within its time to live, and is dropped`)
    return "Expired" as const
  })

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

/** What this process does not know of a message: as it logs it, and as the dead letter says it in the end. */
interface Unknown {
  readonly reason: "UnknownEndpoint" | "UnknownVersion"
  readonly warning: (envelope: Envelope) => string
  readonly error: (envelope: Envelope, channel: string) => string
}

const unknownEndpoint: Unknown = {
  reason: "UnknownEndpoint",
  warning: ({ endpoint, tag }) => `Nobody here handles ${tag} as "${endpoint}"`,
  error: ({ endpoint, tag }, channel) =>
    `No consumer of channel "${channel}" handles ${tag} as "${endpoint}": was the handler renamed or removed?`
}

const unknownVersion = (newest: number): Unknown => ({
  reason: "UnknownVersion",
  warning: ({ headers, tag }) => `${tag} is of version ${versionOf(headers)}, and known here up to version ${newest}`,
  error: ({ headers, tag }, channel) =>
    `${tag} is of version ${versionOf(headers)}, but no consumer of channel "${channel}" knows it beyond version ` +
    `${newest}: deploy a build that does, and replay`
})

/** Another version of this system may know it: the message waits for that, for as long as the channel says. */
const unknown = (consuming: Consuming, delivery: Delivery, what: Unknown) =>
  Effect.gen(function* () {
    const { envelope } = delivery
    const { unknownSince } = consuming.registry
    const copy = copyOf(envelope)
    const now = yield* Clock.currentTimeMillis
    const since = unknownSince.get(copy) ?? now
    if (now - since < consuming.policy.deadLetter.unknownEndpointAfter) {
      remember(unknownSince, copy, since)
      yield* Effect.logWarning(`${what.warning(envelope)}: the message is given back`)
      return yield* release(consuming.source, delivery, unknownDelayMillis)
    }
    unknownSince.delete(copy)
    return yield* giveUp(
      consuming,
      delivery,
      {
        reason: what.reason,
        error: what.error(envelope, consuming.source.channel),
        fingerprint: `${envelope.endpoint} ${what.reason}`
      },
      envelope.failures
    )
  })

/** Bounded: those go first that were not met for longest, since other consumers have taken them. */
const remember = (unknownSince: Map<string, number>, copy: string, since: number): void => {
  unknownSince.delete(copy)
  if (unknownSince.size >= 10_000)
    for (const [oldest] of unknownSince) {
      unknownSince.delete(oldest)
      break
    }
  unknownSince.set(copy, since)
}

/** One copy of a message, whatever row it is in. */
const copyOf = (envelope: Envelope): string => `${envelope.endpoint}:${envelope.id}`

const unknownDelayMillis = 5_000

const release = (source: Source, delivery: Delivery, afterMillis: number): Effect.Effect<Outcome, MessagingError> =>
  Effect.as(source.release(delivery, afterMillis), "Released")

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

/** The store's clock, told from the time of the claim: asking the database again is not needed. */
const storeNow = (delivery: Delivery): Effect.Effect<number> =>
  Effect.map(
    Clock.currentTimeMillis,
    (now) => delivery.claimedAt + Math.max(0, now - (claimedHere.get(delivery) ?? now))
  )

const claimedHere = new WeakMap<Delivery, number>()

/** Notes when, by this process's clock, messages were claimed. @internal */
export const noteClaim = (deliveries: ReadonlyArray<Delivery>): Effect.Effect<void> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    for (const delivery of deliveries) claimedHere.set(delivery, now)
  })

const parentSpan = (envelope: Envelope): { readonly parent?: Tracer.ExternalSpan } => {
  const parts = envelope.headers[traceparent]?.split("-")
  return parts?.length === 4
    ? {
        parent: Tracer.externalSpan({
          traceId: parts[1]!,
          spanId: parts[2]!,
          sampled: parts[3] === "01",
          context: Context.empty()
        })
      }
    : {}
}
