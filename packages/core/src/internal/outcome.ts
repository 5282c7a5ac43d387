import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Entry } from "../HandlerRegistry.ts"
import type { Delivery, Due, Encoded } from "../MessageStore.ts"
import { FailureClassifier, isMessagingError, type MessagingError, some } from "../MessagingError.ts"
import { outageBackoff } from "./backoff.ts"
import type { Consuming, Outcome } from "./deliver.ts"
import { AlreadyHandled } from "./dispatch.ts"
import { render, verdict } from "./failure.ts"
import { withFailure } from "./failures.ts"
import { giveUp, isIncurable, recordFailure } from "./giveUp.ts"
import { annotations } from "./logging.ts"
import * as Metrics from "./metrics.ts"
import { nextAttempt } from "./retrying.ts"
import type { Source } from "./source.ts"

/** Settles a message by how its unit ended. Never fails. @internal */
export const conclude = (
  consuming: Consuming,
  entry: Entry,
  delivery: Delivery,
  message: unknown,
  durationMillis: number,
  exit: Effect.Effect<Exit.Exit<unknown, unknown>>
): Effect.Effect<Outcome> =>
  atLast(
    consuming,
    delivery,
    Effect.flatMap(exit, (exit) => patiently(settle(consuming, entry, delivery, message, durationMillis, exit)))
  ).pipe(Effect.uninterruptible)

/** Gives messages back that were not begun. Never fails. @internal */
export const giveBack = (
  { source }: Consuming,
  deliveries: ReadonlyArray<Delivery>,
  afterMillis: number
): Effect.Effect<void> =>
  patiently(source.release(deliveries, afterMillis)).pipe(
    Effect.tap(() =>
      Effect.sync(() => {
        for (const { envelope } of deliveries) Metrics.settled(Metrics.labelsOf(source.channel, envelope), "Released")
      })
    ),
    Effect.catchAllCause((cause) =>
      Effect.logWarning("Messages could not be given back; they come back when their lease ends", cause)
    ),
    Effect.annotateLogs({ channel: source.channel })
  )

/** As what the infrastructure failed is given back one by one. @internal */
export const giveBackWhileAway = (consuming: Consuming, deliveries: ReadonlyArray<Delivery>, error: MessagingError) =>
  Effect.zipRight(
    Effect.annotateLogs(
      Effect.logWarning(
        `The infrastructure failed, not the handlers: ${deliveries.length} messages are given back`,
        Cause.fail(error)
      ),
      { channel: consuming.source.channel }
    ),
    Effect.flatMap(
      Effect.forEach(deliveries, ({ envelope }) => outageBackoff(consuming.registry, envelope)),
      (millis) => giveBack(consuming, deliveries, Math.max(...millis))
    )
  )

/** Settles a message by how its handler ended. @internal */
export const settle = (
  consuming: Consuming,
  entry: Entry,
  delivery: Delivery,
  message: unknown,
  durationMillis: number,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<Outcome, MessagingError> => {
  const { registry, source, store } = consuming
  const { envelope } = delivery
  const hasBreaker = entry.route?.circuitBreaker !== undefined
  const answered = hasBreaker ? consuming.flow.answered(entry) : Effect.void
  if (Exit.isSuccess(exit)) {
    registry.observe?.({ _tag: "Handled", message, envelope })
    const waited = Math.max(0, delivery.claimedAt - delivery.availableAt)
    Metrics.succeeded(labelsOf(consuming, delivery), durationMillis, waited + durationMillis)
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
          Effect.zipWith(
            outageBackoff(registry, envelope),
            hasBreaker ? consuming.flow.broke(entry) : Effect.succeed(0),
            (millis, closedMillis) => Math.max(millis, closedMillis)
          ).pipe(Effect.flatMap((millis) => release(source, delivery, millis)))
        )
      : Effect.zipRight(answered, failed(consuming, entry, delivery, durationMillis, exit.cause))
  )
}

/** Whatever else fails: the message comes back when its lease ends. @internal */
export const atLast = (
  consuming: Consuming,
  delivery: Delivery,
  delivered: Effect.Effect<Outcome, MessagingError>
): Effect.Effect<Outcome> =>
  delivered.pipe(
    Effect.catchAllCause((cause) =>
      Effect.as(
        Effect.logWarning("A message could not be settled; it comes back when its lease ends", cause),
        "Lost" as const
      )
    ),
    Effect.map((outcome) => {
      Metrics.settled(labelsOf(consuming, delivery), outcome)
      return outcome
    }),
    Effect.annotateLogs(annotations(consuming.source.channel, delivery.envelope))
  )

/** A database that is away for a moment when the message is settled: the lease outlives that. @internal */
export const patiently = <A>(settled: Effect.Effect<A, MessagingError>): Effect.Effect<A, MessagingError> =>
  Effect.retry(settled, {
    while: (error) => error.reason === "Unavailable",
    schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo("8 seconds"))
  })

/** @internal */
export const release = (
  source: Source,
  delivery: Delivery,
  afterMillis: number
): Effect.Effect<Outcome, MessagingError> => Effect.as(source.release([delivery], afterMillis), "Released")

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const labelsOf = ({ source }: Consuming, { envelope }: Delivery) => Metrics.labelsOf(source.channel, envelope)

const isInfrastructure = (
  store: Encoded,
  classifier: { readonly isInfrastructure: (error: unknown) => boolean },
  error: unknown
): boolean =>
  (isMessagingError(error) && error.isRetryable) || store.isInfrastructure(error) || classifier.isInfrastructure(error)

const failed = (
  consuming: Consuming,
  entry: Entry,
  delivery: Delivery,
  durationMillis: number,
  cause: Cause.Cause<unknown>
) =>
  Effect.gen(function* () {
    const { envelope } = delivery
    const at = yield* storeNow(consuming, delivery)
    const failures = withFailure(envelope.failures, at, cause)
    Metrics.attemptFailed(labelsOf(consuming, delivery), durationMillis)
    const attempt = recordFailure(consuming, "Failed", delivery, { durationMillis, error: failures.at(-1)?.error })
    const error = Cause.failureOption(cause)
    if (Option.isNone(error))
      return yield* giveUp(consuming, delivery, verdict("Defect", envelope.endpoint, cause), failures, attempt)
    const retries = isIncurable(error.value) ? undefined : entry.route
    const next = yield* nextAttempt(retries, failures, error.value)
    if (Option.isNone(next)) {
      return yield* giveUp(consuming, delivery, verdict("Exhausted", envelope.endpoint, cause), failures, attempt)
    }
    const due: Due = { _tag: "After", millis: next.value }
    const retried = recordFailure(consuming, "Retried", delivery, { due })
    yield* consuming.source.retry(delivery, failures, next.value, [...attempt, ...retried])
    consuming.registry.observe?.({ _tag: "Retried", envelope, afterMillis: next.value })
    yield* Effect.logInfo(`Failed at attempt ${envelope.attempt}, again in ${next.value} ms`, cause)
    return "Retried" as const
  })

/** The store's clock, told from the time of the claim: asking the database again is not needed. */
const storeNow = ({ claimedHere }: Consuming, delivery: Delivery): Effect.Effect<number> =>
  Effect.map(Clock.currentTimeMillis, (now) => delivery.claimedAt + Math.max(0, now - (claimedHere(delivery) ?? now)))
