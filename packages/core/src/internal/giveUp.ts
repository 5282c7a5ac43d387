import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import * as Schedule from "effect/Schedule"
import type { DeadLetterPolicy, OnGivenUp } from "../Channel.ts"
import type { Envelope, Failure } from "../Envelope.ts"
import * as Headers from "../Headers.ts"
import type { Delivery, Due, JournalEntry, Write } from "../MessageStore.ts"
import { isMessagingError, type MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import { canaryFailed } from "./canary.ts"
import type { Consuming, Outcome } from "./deliver.ts"
import { AlreadyHandled } from "./dispatch.ts"
import { listeners, tell } from "./failed.ts"
import * as Journal from "./journal.ts"
import { MessageFailed } from "./messageFailed.ts"
import { onceOnly, type Verdict } from "./source.ts"

/** What messaging refused, it will refuse again. @internal */
export const isIncurable = (error: unknown): boolean =>
  isMessagingError(error) && (error.reason === "Rejected" || error.reason === "TooLarge")

/** What the handler says of messages that are given up, else its channel. @internal */
export const policyOf = ({ policy, registry, source }: Consuming, { endpoint }: Envelope) => {
  const route = registry.byName(endpoint)?.route
  return route?.channel.name === source.channel ? route : policy
}

/**
 * Tells the error channel, if there is one, in the commit that parks, discards or sends again; but of its own failures
 * nobody.
 *
 * @internal
 */
export const giveUp = (
  consuming: Consuming,
  delivery: Delivery,
  why: Verdict,
  failures: ReadonlyArray<Failure>,
  journal: ReadonlyArray<JournalEntry> = []
): Effect.Effect<Outcome, MessagingError> => {
  const envelope = { ...delivery.envelope, failures }
  const givenUp = { delivery, envelope, why, journal, policy: policyOf(consuming, envelope).deadLetter }
  const errorChannel = errorChannelOf(consuming, envelope)
  const finish = endings[endingOf(givenUp)]
  return Effect.zipRight(
    canaryFailed(consuming.store, envelope),
    errorChannel === undefined || envelope.tag === MessageFailed._tag
      ? finish(consuming, givenUp, Effect.void)
      : Effect.flatMap(listeners(consuming, errorChannel), (heard) =>
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
  readonly policy: DeadLetterPolicy
}

/** The handler's or its channel's, else the application's; what fails on that one is told to nobody. */
const errorChannelOf = (consuming: Consuming, envelope: Envelope): string | undefined => {
  const { errorChannel } = consuming.registry.defaults
  return (
    policyOf(consuming, envelope).errorChannel ?? (errorChannel === consuming.source.channel ? undefined : errorChannel)
  )
}

/** What consumers are lost with is not given to the next ones again and again. */
const endingOf = ({ policy: { onGivenUp }, why: { reason } }: GivenUp): OnGivenUp | "ParkAndStop" => {
  if (reason !== "Crashed" || onGivenUp === "Discard") return onGivenUp
  return onGivenUp === "Stop" ? "ParkAndStop" : "Park"
}

/** Nothing is dropped without somebody being told. */
const untold = (consuming: Consuming, givenUp: GivenUp, because: string) => {
  const ending = endingOf(givenUp)
  const parks = ending === "Park" || ending === "Discard"
  return Effect.zipRight(
    Effect.logError(
      `${givenUp.envelope.tag} was given up, and only ${parks ? "its dead letter" : "this line"} says so: ${because}`
    ),
    endings[parks ? "Park" : ending](consuming, givenUp, Effect.void)
  )
}

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

const recorded = (
  consuming: Consuming,
  event: "DeadLettered" | "Discarded" | "Retried",
  { delivery, journal, why }: GivenUp,
  due?: Due
) => {
  const { reason } = why
  // the line of the attempt that failed has the error already
  const error = journal.length === 0 ? why.error : undefined
  return [...journal, ...recordFailure(consuming, event, delivery, { error, reason, due })]
}

/** Writes down what became of a message that was not handled, as its channel has it. @internal */
export const recordFailure = (
  { recording, source }: Consuming,
  event: Parameters<typeof Journal.failed>[1],
  { envelope }: Delivery,
  parts: Journal.Parts
): ReadonlyArray<JournalEntry> =>
  Journal.failed(recording, event, envelope, {
    channel: source.channel,
    worker: source.worker,
    ...parts
  })

/** It begins anew at the end of the channel, as if it was sent for later. */
const resend = (consuming: Consuming, givenUp: GivenUp, told: Told) =>
  Effect.gen(function* () {
    const { delivery, envelope, policy, why } = givenUp
    const { channel } = consuming.source
    const afterMillis = policy.resendAfter
    const { [Headers.canaryOf]: _, ...headers } = envelope.headers
    yield* end(consuming, delivery, told, [
      ...consuming.source.settle(delivery),
      {
        _tag: "Send",
        channel,
        envelope: { ...envelope, headers, attempt: 1, failures: [] },
        priority: delivery.priority,
        due: { _tag: "After", millis: afterMillis },
        timer: undefined
      },
      ...recorded(consuming, "Retried", givenUp, { _tag: "After", millis: afterMillis })
    ])
    consuming.registry.observe?.({ _tag: "Retried", envelope: delivery.envelope, afterMillis })
    yield* Effect.logError(`${envelope.tag} was given up, and is sent again in ${afterMillis} ms: ${why.error}`)
    return "Resent" as const
  })

/** It stays where it is: its error channel may be told twice, if the process is lost in between. */
const giveBack = (consuming: Consuming, givenUp: GivenUp, told: Told) =>
  Effect.gen(function* () {
    const { delivery, envelope, policy, why } = givenUp
    const afterMillis = policy.resendAfter
    const journal = recorded(consuming, "Retried", givenUp, { _tag: "After", millis: afterMillis })
    yield* apart(consuming, told, [])
    yield* consuming.source.retry(delivery, envelope.failures, afterMillis, journal)
    consuming.registry.observe?.({ _tag: "Retried", envelope: delivery.envelope, afterMillis })
    yield* Effect.logError(
      `${envelope.tag} was given up, and is tried again in its place in ${afterMillis} ms: ${why.error}`
    )
    return "Retried" as const
  })

/** The message as it was before this attempt: once the channel is resumed, that one is made again. */
const stop = (consuming: Consuming, { delivery, envelope, journal, why }: GivenUp, told: Told) =>
  Effect.gen(function* () {
    yield* pause(consuming, envelope, why)
    yield* apart(consuming, told, journal)
    yield* consuming.source.release([delivery], 0)
    return "Stopped" as const
  })

const parkAndStop = (consuming: Consuming, givenUp: GivenUp, told: Told) =>
  Effect.zipRight(pause(consuming, givenUp.envelope, givenUp.why), park(consuming, givenUp, told))

const pause = ({ source, stopped, store }: Consuming, { endpoint, id, tag }: Envelope, { error, reason }: Verdict) =>
  Effect.zipRight(
    Effect.zipRight(
      store.flow.pause(
        { channel: source.channel },
        `"${endpoint}" gave up ${tag} ${id} (${reason}): ${error.slice(0, 500)}`
      ),
      stopped
    ),
    Effect.logError(
      `Channel "${source.channel}" is stopped, since "${endpoint}" gave up ${tag} (${reason}). Mend it, then let the ` +
        `channel go on with Consumer.resume: ${error}`
    )
  )

const endings: Readonly<
  Record<
    OnGivenUp | "ParkAndStop",
    (consuming: Consuming, givenUp: GivenUp, told: Told) => Effect.Effect<Outcome, MessagingError>
  >
> = { Park: park, Discard: discard, Resend: resend, Release: giveBack, Stop: stop, ParkAndStop: parkAndStop }

/** A unit that ends nothing. */
const apart = (
  { store }: Consuming,
  told: Told,
  journal: ReadonlyArray<JournalEntry>
): Effect.Effect<void, MessagingError> =>
  told === Effect.void && journal.length === 0
    ? Effect.void
    : (UnitOfWork.root(store, told, { settle: journal }) as Effect.Effect<void, MessagingError>)

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
