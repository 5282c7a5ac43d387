/**
 * The one error of the package.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const otherServer = "Set DATABASE_URL to a PostgreSQL 15 or later to use that server instead."

const advice = {
  UnsupportedPlatform: otherServer,
  UnknownUser: `Run as a user that the system knows. ${otherServer}`,
  Refused: `${otherServer} Pass \`force: true\` to run the embedded one all the same.`,
  UnusableDirectory: "Pass another `dataDirectory`, run as the owner of that one, or remove it with what is in it.",
  InUse: "Stop that server with `EmbeddedPostgres.stop`, or pass another `dataDirectory` or `port`.",
  StartFailed: `Read \`server.log\` in the data directory. ${otherServer}`,
  StopFailed: "End that process by hand.",
  ConnectFailed: "Check the address, the user and the password of the URL, and that the server runs.",
  UnsupportedVersion: "Use PostgreSQL 15 or later.",
  InvalidName: "Choose a name of 1 to 63 bytes without a zero byte.",
  DatabaseExists: "Drop it first, or choose another name.",
  DatabaseFailed: "Check that the role may create databases and that nobody is connected to the template."
} as const

/**
 * A server could not be found, started, stopped or asked for a database.
 *
 * `detail` says what happened and `message` adds what to do about it. `isRetryable` is true where the same call may
 * work a moment later: the data directory is held by a server that has not finished stopping, or the network is down.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const program = EmbeddedPostgres.make().pipe(
 *   Effect.catchTag("EmbeddedPostgresError", (error) => Effect.dieMessage(error.message))
 * )
 * ```
 *
 * @since 0.1.0
 * @category errors
 */
export class EmbeddedPostgresError extends Schema.TaggedError<EmbeddedPostgresError>(
  "@holdfast/embedded/EmbeddedPostgres/EmbeddedPostgresError"
)("EmbeddedPostgresError", {
  reason: Schema.Literal(
    "UnsupportedPlatform",
    "UnknownUser",
    "Refused",
    "UnusableDirectory",
    "InUse",
    "StartFailed",
    "StopFailed",
    "ConnectFailed",
    "UnsupportedVersion",
    "InvalidName",
    "DatabaseExists",
    "DatabaseFailed"
  ),
  detail: Schema.String,
  cause: Schema.optional(Schema.Defect)
}) {
  /**
   * @since 0.1.0
   */
  override get message(): string {
    return `${this.detail} ${advice[this.reason]}`
  }

  /**
   * @since 0.1.0
   */
  get isRetryable(): boolean {
    return this.reason === "InUse" || this.reason === "ConnectFailed"
  }
}
