import * as Schema from "effect/Schema"

/**
 * Messaging on PostgreSQL cannot start, and what to do about it:
 *
 * - `Unreachable`: the database does not answer. - `TooOld`: the server is older than PostgreSQL 15.
 * - `SchemaMissing`, `SchemaOlder`, `SchemaNewer`: the tables are not those of this build.
 * - `SchemaInvalid`: the schema's name cannot be used. - `PoolTooSmall`: the pool has no connections.
 * - `TimeoutInvalid`: the `queryTimeout` is no time that a timer can wait. - `RetentionInvalid`: the journal would be
 * forgotten as it is written.
 * - `MigrationFailed`: the database refused a migration; nothing of it was applied.
 *
 * @example
 * ```ts
 * import { PgMessaging } from "@holdfast/postgres"
 *
 * const error = new PgMessaging.PgMessagingError({ reason: "TooOld", detail: "The server is PostgreSQL 14." })
 * error.message // "The server is PostgreSQL 14."
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class PgMessagingError extends Schema.TaggedError<PgMessagingError>(
  "@holdfast/postgres/PgMessaging/PgMessagingError"
)("PgMessagingError", {
  reason: Schema.Literal(
    "Unreachable",
    "TooOld",
    "SchemaMissing",
    "SchemaOlder",
    "SchemaNewer",
    "SchemaInvalid",
    "PoolTooSmall",
    "TimeoutInvalid",
    "RetentionInvalid",
    "MigrationFailed"
  ),
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {
  /**
   * @since 0.1.0
   */
  override get message(): string {
    return this.detail
  }

  /**
   * Whether trying again may help, with nothing changed.
   *
   * @since 0.1.0
   */
  get isRetryable(): boolean {
    return this.reason === "Unreachable"
  }
}
