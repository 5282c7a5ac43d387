/**
 * The one error of the infrastructure, apart from what the business may answer.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"

/**
 * What went wrong:
 *
 * - `Unavailable`: the database or broker is away. Nothing was written; try again.
 * - `Conflict`: somebody else wrote first, and re-running did not help. Nothing was written; try again.
 * - `OutcomeUnknown`: the connection was lost during COMMIT and nobody could say how it ended. With an idempotency key
 *   the same send may be repeated without doing it twice.
 * - `Rejected`: the request cannot be carried out as it stands; `detail` says what to change.
 * - `TooLarge`: the encoded message is larger than its channel carries.
 * - `LeaseLost`: the lease on a message or an idempotency key ran out, so its holder may commit nothing; another has it.
 * - `UnitAborted`: an earlier SQL error, caught by the handler, had already aborted its transaction; `cause` is that
 *   first error. Nothing was written.
 *
 * @example
 * ```ts
 * import { CommandBus, Message, type MessagingError } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * const statusOf = (reason: MessagingError.Reason) => (reason === "TooLarge" || reason === "Rejected" ? 400 : 503)
 * const status = CommandBus.send(new Ship()).pipe(
 *   Effect.as(204),
 *   Effect.catchTag("MessagingError", (error) => Effect.succeed(statusOf(error.reason)))
 * )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Reason =
  | "Unavailable"
  | "Conflict"
  | "OutcomeUnknown"
  | "Rejected"
  | "TooLarge"
  | "LeaseLost"
  | "UnitAborted"

/**
 * Messaging itself failed. It never stands for a business result: those are declared on the message.
 *
 * @example
 * ```ts
 * import { MessagingError } from "@holdfast/core"
 *
 * const error = new MessagingError.MessagingError({ reason: "Unavailable", detail: "the database does not answer" })
 * error.isRetryable // true
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class MessagingError extends Schema.TaggedError<MessagingError>("@holdfast/core/MessagingError/MessagingError")(
  "MessagingError",
  {
    reason: Schema.Literal(
      "Unavailable",
      "Conflict",
      "OutcomeUnknown",
      "Rejected",
      "TooLarge",
      "LeaseLost",
      "UnitAborted"
    ),
    detail: Schema.String,
    cause: Schema.optional(Schema.Defect)
  }
) {
  /**
   * @since 0.1.0
   */
  override get message(): string {
    return `${this.reason}: ${this.detail}`
  }

  /**
   * Whether trying again may help, with nothing changed.
   *
   * @since 0.1.0
   */
  get isRetryable(): boolean {
    return this.reason === "Unavailable" || this.reason === "Conflict" || this.reason === "OutcomeUnknown"
  }
}

/**
 * Whether the value is a `MessagingError`.
 *
 * @example
 * ```ts
 * import { MessagingError } from "@holdfast/core"
 *
 * MessagingError.isMessagingError(new Error("no")) // false
 * ```
 *
 * @since 0.1.0
 * @category guards
 */
export const isMessagingError = (value: unknown): value is MessagingError => value instanceof MessagingError

/**
 * Says which failures of a handler are the infrastructure's: those back off without burning an attempt and are never
 * dead-lettered. By default `MessagingError`s that are retryable; the store adds what it knows of its own database.
 * Provide another to add your own, such as a mail server that is away.
 *
 * @example
 * ```ts
 * import { MessagingError } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const MailServerIsInfrastructure = Layer.succeed(MessagingError.FailureClassifier, {
 *   isInfrastructure: (error) => error instanceof Error && error.message.startsWith("ECONNREFUSED")
 * })
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class FailureClassifier extends Context.Reference<FailureClassifier>()(
  "@holdfast/core/MessagingError/FailureClassifier",
  {
    defaultValue: (): { readonly isInfrastructure: (error: unknown) => boolean } => ({ isInfrastructure: () => false })
  }
) {}

/**
 * Whether any failure or defect of the cause, or what in turn caused it, satisfies the predicate.
 *
 * @example
 * ```ts
 * import { MessagingError } from "@holdfast/core"
 * import { Cause } from "effect"
 *
 * MessagingError.some(Cause.die(new Error("boom")), (error) => error instanceof Error) // true
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const some = (cause: Cause.Cause<unknown>, predicate: (error: unknown) => boolean): boolean => {
  for (const error of [...Cause.failures(cause), ...Cause.defects(cause)]) {
    let current: unknown = error
    for (let depth = 0; depth < 8 && current !== undefined && current !== null; depth++) {
      if (predicate(current)) return true
      current = typeof current === "object" ? (current as { readonly cause?: unknown }).cause : undefined
    }
  }
  return false
}
