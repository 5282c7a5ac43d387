import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Schedule from "effect/Schedule"
import { MessageFailed } from "../DeadLetter.ts"
import type { Envelope, Failure } from "../Envelope.ts"
import type { Delivery, JournalEntry, Write } from "../MessageStore.ts"
import { isMessagingError, type MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import type { Consuming, Outcome } from "./deliver.ts"
import { AlreadyHandled } from "./dispatch.ts"
import { listeners, tell } from "./failed.ts"
import * as Journal from "./journal.ts"
import { onceOnly, type Verdict } from "./source.ts"

/** What messaging refused, it will refuse again. @internal */
export const isIncurable = (error: unknown): boolean =>
  isMessagingError(error) && (error.reason === "Rejected" || error.reason === "TooLarge")

/** What the handler says of messages that are given up, else its channel. @internal */
export const policyOf = ({ policy, registry, source }: Consuming, { endpoint }: Envelope) => {
  const route = registry.byName(endpoint)?.route
  return route?.channel.name === source.channel ? route : policy
}

/** Tells the error channel, if there is one, in the commit that parks or discards; but of its own failures nobody. @internal */
export const giveUp = (
  consuming: Consuming,
  delivery: Delivery,
  why: Verdict,
  failures: ReadonlyArray<Failure>,
  journal: ReadonlyArray<JournalEntry> = []
): Effect.Effect<Outcome, MessagingError> => {
  const envelope = { ...delivery.envelope, failures }
  const givenUp = { delivery, envelope, why, journal }
  const { deadLetter, errorChannel } = policyOf(consuming, envelope)
  const finish = deadLetter.onGivenUp === "Discard" ? discard : park
  if (errorChannel === undefined || envelope.tag === MessageFailed._tag) return finish(consuming, givenUp, Effect.void)
  return Effect.flatMap(listeners(consuming, errorChannel), (heard) =>
    heard.known.length + heard.subscribed.length === 0
      ? untold(consuming, givenUp, `nobody handles MessageFailed on the error channel "${errorChannel}"`)
      : finish(consuming, givenUp, tell(consuming, heard, consuming.source.channel, envelope, why)).pipe(
          Effect.catchIf(isIncurable, (error) =>
            untold(consuming, givenUp, `the error channel "${errorChannel}" refused it: ${error.detail}`)
          ),
          heard.known.some(({ route }) => route?.channel._tag === "Direct")
            ? whileAway(consuming, givenUp, errorChannel)
            : identity
        )
  )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** A message that has had its end. */
interface GivenUp {
  readonly delivery: Delivery
  readonly envelope: Envelope
  readonly why: Verdict
  /** How it came to that. */
  readonly journal: ReadonlyArray<JournalEntry>
}

/** Nothing is dropped without somebody being told. */
const untold = (consuming: Consuming, givenUp: GivenUp, because: string) =>
  Effect.zipRight(
    Effect.logError(`${givenUp.envelope.tag} was given up, and only its dead letter says so: ${because}`),
    park(consuming, givenUp, Effect.void)
  )

/** A broker that is away for a moment is waited for; for longer, and the message has its end without it. */
const whileAway =
  (consuming: Consuming, givenUp: GivenUp, errorChannel: string) =>
  (ended: Effect.Effect<Outcome, MessagingError>): Effect.Effect<Outcome, MessagingError> =>
    Effect.retry(ended, {
      while: isAway,
      schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo("5 seconds"))
    }).pipe(
      Effect.catchIf(isAway, (error) =>
        untold(consuming, givenUp, `the error channel "${errorChannel}" is away: ${error.detail}`)
      )
    )

const isAway = (error: MessagingError): boolean => error.reason === "Unavailable"

const park = (consuming: Consuming, givenUp: GivenUp, told: Told) =>
  Effect.gen(function* () {
    const { delivery, envelope, why } = givenUp
    const settle = [...consuming.source.park(delivery, envelope, why), ...recorded(consuming, "DeadLettered", givenUp)]
    yield* end(consuming, delivery, told, settle)
    const { observe } = consuming.registry
    observe?.({ _tag: "DeadLettered", envelope: delivery.envelope, reason: why.reason, error: why.error })
    yield* Effect.logError(`${envelope.tag} was put with the dead letters (${why.reason}): ${why.error}`)
    return "Parked" as const
  })

const discard = (consuming: Consuming, givenUp: GivenUp, told: Told) =>
  Effect.gen(function* () {
    const { delivery, envelope, why } = givenUp
    yield* end(consuming, delivery, told, [
      ...consuming.source.settle(delivery),
      ...recorded(consuming, "Discarded", givenUp)
    ])
    yield* Effect.logError(`Discarded ${envelope.tag}: ${why.error}`)
    return "Discarded" as const
  })

const recorded = (consuming: Consuming, event: "DeadLettered" | "Discarded", { delivery, journal, why }: GivenUp) => {
  const { reason } = why
  // the line of the attempt that failed has the error already
  const error = journal.length === 0 ? why.error : undefined
  return [...journal, ...recordFailure(consuming, event, delivery, { error, reason })]
}

/** Writes down what became of a message that was not handled, as its channel has it. @internal */
export const recordFailure = (
  { policy, registry, source }: Consuming,
  event: Parameters<typeof Journal.failed>[1],
  { envelope }: Delivery,
  parts: Journal.Parts
): ReadonlyArray<JournalEntry> =>
  Journal.failed(Journal.recordingFor(registry, policy), event, envelope, {
    channel: source.channel,
    worker: source.worker,
    ...parts
  })

/** What puts a message on the error channel, in the unit that ends the one that failed. */
type Told = Effect.Effect<void, MessagingError>

/** One unit of work. What a broker gives out again, because its acknowledgement was lost, has had its end already. */
const end = ({ source, store }: Consuming, delivery: Delivery, told: Told, settle: ReadonlyArray<Write>) =>
  UnitOfWork.root(store, onceOnly(store, source, delivery, told), { settle }).pipe(
    Effect.catchIf(
      (error) => error instanceof AlreadyHandled,
      () => Effect.void
    ),
    Effect.zipRight(source.settled(delivery))
  ) as Effect.Effect<void, MessagingError>
