import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { IdempotencyKey } from "../CommandBus.ts"
import type { Encoded, KeyClaim } from "../MessageStore.ts"
import { isMessagingError, MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import type { Answers } from "./answers.ts"
import * as Input from "./input.ts"

/** As a consumer's lease, and renewed like it: so long may a sender that was killed keep others waiting. */
const leaseMillis = 10_000

/** @internal */
export const keyOf = (given: string | IdempotencyKey): IdempotencyKey =>
  typeof given === "string" ? { key: given } : given

/**
 * Does the work under a key once. The key is claimed first, in a transaction of its own; the answer is stored in the
 * unit of the work, a declared error after its rollback; whoever comes meanwhile waits.
 *
 * @internal
 */
export const idempotent = (
  store: Encoded,
  options: {
    readonly tag: string
    readonly given: IdempotencyKey
    /** As the store keeps it. */
    readonly key: string
    readonly answers: Answers
  },
  work: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> => {
  const { given, tag } = options
  const sending: Sending = { store, ...options, windowMillis: Duration.toMillis(given.window ?? Duration.days(7)) }
  const window = `The window of an idempotencyKey of ${tag}`
  const problem =
    Input.duration(window, given.window, { least: "1 millis", most: "36500 days" }) ??
    (given.key === "" ? `${tag} was sent with an empty idempotencyKey: give each send its own, or none` : undefined) ??
    Input.key(`the idempotencyKey of ${tag}`, given.key)
  return Effect.zipRight(
    Input.reject(problem),
    Effect.flatMap(Effect.serviceOption(UnitOfWork.UnitOfWork), (unit) =>
      Option.isSome(unit) ? refused : Effect.uninterruptibleMask((restore) => attempt(sending, work, restore))
    )
  )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

interface Sending {
  readonly store: Encoded
  readonly given: IdempotencyKey
  readonly key: string
  readonly answers: Answers
  readonly windowMillis: number
}

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const refused = new MessagingError({
  reason: "Rejected",
  detail:
    "an idempotencyKey is claimed in a transaction of its own, so it cannot be used inside another unit of work or " +
    "transaction: send it from outside, or use Handler.deduplicate"
})

const attempt = (
  sending: Sending,
  work: Effect.Effect<unknown, unknown>,
  restore: Restore
): Effect.Effect<unknown, unknown> =>
  Effect.flatMap(claim(sending, restore), (claimed) =>
    claimed._tag === "Completed"
      ? restore(sending.answers.decode(claimed.result, sending.given))
      : fresh(sending, claimed.token, work, restore)
  )

/** Waits in a fiber of its own: one that is interrupted while the claim is on its way still learns of it, and gives it back. */
const claim = ({ key, store }: Sending, restore: Restore): Effect.Effect<KeyClaim, MessagingError> =>
  Effect.flatMap(Effect.forkDaemon(store.claimKey(key, leaseMillis)), (fiber) => {
    const giveBack = Effect.flatMap(Fiber.interrupt(fiber), (exit) =>
      Exit.isSuccess(exit) && exit.value._tag === "Claimed"
        ? Effect.ignore(store.releaseKey(key, exit.value.token))
        : Effect.void
    )
    return Effect.onInterrupt(restore(Fiber.join(fiber)), () => Effect.forkDaemon(giveBack))
  })

const fresh = (
  sending: Sending,
  token: string,
  work: Effect.Effect<unknown, unknown>,
  restore: Restore
): Effect.Effect<unknown, unknown> => {
  let done = false
  const once = UnitOfWork.root(
    sending.store,
    Effect.tap(completing(sending, token, work), () => {
      done = true
    })
  )
  const settled = Effect.flatMap(Effect.exit(restore(renewing(sending, token, once))), (exit) =>
    Effect.zipRight(afterwards(sending, token, exit), exit)
  )
  // the process was frozen for longer than its claim: whoever took over has the answer
  const lost = (error: unknown) => done && isMessagingError(error) && error.reason === "LeaseLost"
  return Effect.catchIf(settled, lost, () => attempt(sending, work, restore))
}

/** Work may take longer than a claim holds without renewal. */
const renewing = <A, E>({ key, store }: Sending, token: string, work: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.acquireUseRelease(
    Effect.fork(
      Effect.interruptible(
        Effect.forever(
          Effect.zipRight(Effect.sleep(leaseMillis / 3), Effect.ignore(store.renewKey(key, token, leaseMillis)))
        )
      )
    ),
    () => work,
    Fiber.interruptFork
  )

const completing = (
  { answers, key, windowMillis }: Sending,
  token: string,
  work: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  Effect.gen(function* () {
    const unit = yield* UnitOfWork.UnitOfWork
    if (unit.transaction.joined) return yield* refused
    const value = yield* work
    const result = yield* Effect.orDie(answers.encode(Exit.succeed(value)))
    yield* unit.stage({ _tag: "CompleteKey", key, token, result, windowMillis })
    return value
  }) as Effect.Effect<unknown, unknown>

/** A declared error is an answer and is kept; after anything else the send may be tried again. */
const afterwards = (
  { answers, key, store, windowMillis }: Sending,
  token: string,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
  if (Exit.isSuccess(exit)) return Effect.void
  const release = Effect.ignore(store.releaseKey(key, token))
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (isMessagingError(error)) {
    // an outcome nobody knows keeps its claim until the lease ends: then the stored answer is there, or it is not
    return error.reason === "OutcomeUnknown" ? Effect.void : release
  }
  if (error === undefined) return release
  return Effect.matchEffect(answers.encode(exit), {
    onFailure: () => release,
    onSuccess: (result) => Effect.ignore(store.completeKey(key, token, result, windowMillis))
  })
}
