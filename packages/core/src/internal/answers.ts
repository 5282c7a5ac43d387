import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { IdempotencyKey } from "../CommandBus.ts"
import type * as Message from "../Message.ts"
import { MessagingError } from "../MessagingError.ts"

/**
 * The answer of an idempotent send as text, and what it was the answer to.
 *
 * @internal
 */
export interface Answers {
  readonly encode: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<string, unknown>
  /** Fails as the first send did; with `Rejected` when that was another payload, or its answer cannot be read. */
  readonly decode: (result: string, given: IdempotencyKey) => Effect.Effect<unknown, unknown>
}

/** Payloads are told apart by a `fingerprint`, those of one version: a build that encodes them otherwise has another. @internal */
export const make = (message: Message.AnyClass, fingerprint: string): Answers => {
  const kept = Schema.parseJson(
    Schema.Struct({ version: Schema.Number, fingerprint: Schema.String, answer: Schema.Unknown })
  )
  const answer = Schema.Union(
    Schema.Struct({
      _tag: Schema.Literal("Success"),
      value: Schema.optional(message.success as Schema.Schema<any, any>)
    }),
    Schema.Struct({ _tag: Schema.Literal("Failure"), error: message.error as Schema.Schema<any, any> })
  )
  const { version } = message
  const encode = Schema.encode(kept)
  return {
    encode: (exit) =>
      Effect.flatMap(Schema.encode(answer)(answerOf(exit)), (answer) => encode({ version, fingerprint, answer })),
    decode: (result, given) =>
      Effect.flatMap(Effect.mapError(Schema.decode(kept)(result), unreadable(message._tag, given)), (first) => {
        const other = first.version === version && first.fingerprint !== fingerprint
        if (other && given.onOtherPayload !== "Answer") return Effect.fail(otherPayload(message._tag, given))
        return Schema.decodeUnknown(answer)(first.answer).pipe(
          Effect.mapError(unreadable(message._tag, given)),
          Effect.flatMap((answer) =>
            answer._tag === "Success" ? Effect.succeed(answer.value) : Effect.fail(answer.error)
          )
        )
      })
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const answerOf = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isFailure(exit)) {
    return { _tag: "Failure", error: Option.getOrUndefined(Cause.failureOption(exit.cause)) } as const
  }
  return exit.value === undefined ? ({ _tag: "Success" } as const) : ({ _tag: "Success", value: exit.value } as const)
}

const otherPayload = (tag: string, { key }: IdempotencyKey): MessagingError =>
  new MessagingError({
    reason: "Rejected",
    detail:
      `the idempotencyKey ${JSON.stringify(key)} was used for a ${tag} of another payload: nothing was done. Give each ` +
      'send a key of its own, or say onOtherPayload: "Answer" where parts of the payload are made anew'
  })

const unreadable =
  (tag: string, { key }: IdempotencyKey) =>
  (cause: unknown): MessagingError =>
    new MessagingError({
      reason: "Rejected",
      detail:
        `${tag} was done under the idempotencyKey ${JSON.stringify(key)}, but the answer that was kept does not fit its ` +
        "schemas any more: make success and error read what older builds wrote",
      cause
    })
