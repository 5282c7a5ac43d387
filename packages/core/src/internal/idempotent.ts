import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Message from "../Message.ts"
import type { Encoded } from "../MessageStore.ts"
import { isMessagingError, MessagingError } from "../MessagingError.ts"
import * as UnitOfWork from "../UnitOfWork.ts"
import * as Input from "./input.ts"

/** As a consumer's lease, and renewed like it: so long may a sender that was killed keep others waiting. */
const leaseMillis = 10_000
const windowMillis = 7 * 24 * 60 * 60 * 1000

/**
 * Does the work under a key once. The key is claimed first, in a transaction of its own; the answer is stored in the
 * unit of the work, a declared error after its rollback; whoever comes meanwhile waits.
 *
 * @internal
 */
export const idempotent = (
  store: Encoded,
  command: Message.Any,
  idempotencyKey: string,
  work: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> => {
  const key = `${command._tag}:${idempotencyKey}`
  const answers = makeAnswers(command.constructor as unknown as Message.AnyClass)
  const fresh = (token: string): Effect.Effect<unknown, unknown> => {
    let done = false
    const once = UnitOfWork.root(
      store,
      Effect.tap(completing(key, token, answers, work), () => {
        done = true
      })
    )
    const settled = Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.exit(restore(renewing(store, key, token, once))), (exit) =>
        Effect.zipRight(afterwards(store, key, token, answers, exit), exit)
      )
    )
    // the process was frozen for longer than its claim: whoever took over has the answer
    const lost = (error: unknown) => done && isMessagingError(error) && error.reason === "LeaseLost"
    return Effect.catchIf(settled, lost, () => attempt)
  }
  const attempt: Effect.Effect<unknown, unknown> = Effect.suspend(() =>
    Effect.flatMap(store.claimKey(key, leaseMillis), (claim) =>
      claim._tag === "Completed" ? answers.decode(claim.result) : fresh(claim.token)
    )
  )
  const empty = `${command._tag} was sent with an empty idempotencyKey: give each send its own, or none`
  return Effect.zipRight(
    Input.reject(idempotencyKey === "" ? empty : undefined),
    Effect.flatMap(Effect.serviceOption(UnitOfWork.UnitOfWork), (unit) => (Option.isSome(unit) ? refused : attempt))
  )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const refused = new MessagingError({
  reason: "Rejected",
  detail:
    "an idempotencyKey is claimed in a transaction of its own, so it cannot be used inside another unit of work or " +
    "transaction: send it from outside, or use Handler.deduplicate"
})

interface Answers {
  readonly encode: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<string, unknown>
  readonly decode: (result: string) => Effect.Effect<unknown, unknown>
}

const makeAnswers = (message: Message.AnyClass): Answers => {
  const schema = Schema.parseJson(
    Schema.Union(
      Schema.Struct({
        _tag: Schema.Literal("Success"),
        value: Schema.optional(message.success as Schema.Schema<any, any>)
      }),
      Schema.Struct({ _tag: Schema.Literal("Failure"), error: message.error as Schema.Schema<any, any> })
    )
  )
  const encode = Schema.encode(schema)
  const decode = Schema.decode(schema)
  return {
    encode: Exit.match({
      onSuccess: (value) => encode(value === undefined ? { _tag: "Success" } : { _tag: "Success", value }),
      onFailure: (cause) => encode({ _tag: "Failure", error: Option.getOrUndefined(Cause.failureOption(cause)) })
    }),
    decode: (result) =>
      Effect.flatMap(Effect.orDie(decode(result)), (answer) =>
        answer._tag === "Success" ? Effect.succeed(answer.value) : Effect.fail(answer.error)
      )
  }
}

/** Work may take longer than a claim holds without renewal. */
const renewing = <A, E>(store: Encoded, key: string, token: string, work: Effect.Effect<A, E>): Effect.Effect<A, E> =>
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

const completing = (key: string, token: string, answers: Answers, work: Effect.Effect<unknown, unknown>) =>
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
  store: Encoded,
  key: string,
  token: string,
  answers: Answers,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> => {
  if (Exit.isSuccess(exit)) return Effect.void
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (isMessagingError(error)) {
    // an outcome nobody knows keeps its claim until the lease ends: then the stored answer is there, or it is not
    return error.reason === "OutcomeUnknown" ? Effect.void : Effect.ignore(store.releaseKey(key, token))
  }
  return Effect.ignore(
    error === undefined
      ? store.releaseKey(key, token)
      : Effect.flatMap(answers.encode(exit), (result) => store.completeKey(key, token, result, windowMillis))
  )
}
