/**
 * Connections of our own to a server.
 *
 * @since 0.1.0
 */

import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { codeOf } from "./attempt.ts"
import { EmbeddedPostgresError } from "./error.ts"

/** The parts of an address. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: Redacted.Redacted<string>
}

/** An address as one string. */
export const urlOf = (address: Address): Redacted.Redacted<string> => {
  const user = `${encodeURIComponent(address.username)}:${encodeURIComponent(Redacted.value(address.password))}`
  return Redacted.make(`postgresql://${user}@${address.host}:${address.port}/${encodeURIComponent(address.database)}`)
}

/** The same server and another database; parameters such as `sslmode` stay. */
export const withDatabase = (
  url: Redacted.Redacted<string>,
  database: string
): Effect.Effect<Redacted.Redacted<string>, EmbeddedPostgresError> =>
  Effect.try({
    try: () => {
      const parsed = new URL(Redacted.value(url))
      parsed.pathname = `/${encodeURIComponent(database)}`
      return Redacted.make(parsed.toString())
    },
    // the cause would carry the URL, and with it the password
    catch: () =>
      new EmbeddedPostgresError({
        reason: "ConnectFailed",
        detail: "The URL is not postgresql://user@host:port/database."
      })
  })

/** A small pool that lives as long as the scope. */
export const open = (
  url: Redacted.Redacted<string>
): Effect.Effect<Context.Context<PgClient.PgClient | SqlClient>, EmbeddedPostgresError, Scope.Scope> =>
  Effect.mapError(Layer.build(PgClient.layer({ url, maxConnections: 4, applicationName: "holdfast" })), (error) =>
    failure("ConnectFailed", "The server does not answer", error)
  )

/** Asks one question on a connection of its own. */
export const ask = <A extends object>(
  url: Redacted.Redacted<string>,
  question: string
): Effect.Effect<ReadonlyArray<A>, EmbeddedPostgresError> =>
  Effect.scoped(
    Effect.flatMap(open(url), (context) =>
      Effect.mapError(Context.get(context, PgClient.PgClient).unsafe<A>(question), (error) =>
        failure("ConnectFailed", "The server does not answer", error)
      )
    )
  )

/** What Postgres said, as our error. */
export const failure = (
  reason: EmbeddedPostgresError["reason"],
  detail: string,
  error: SqlError
): EmbeddedPostgresError => {
  const said = error.cause instanceof Error ? error.cause.message || codeOf(error.cause) : error.message
  return new EmbeddedPostgresError({ reason, detail: `${detail}: ${said}.`, cause: error.cause })
}

/** What a server says about a connection, with what the URL said of the way there. */
export const describe = (context: Context.Context<PgClient.PgClient>) => {
  const sql = Context.get(context, PgClient.PgClient)
  return sql<{ version: string; database: string; username: string }>`
    select split_part(current_setting('server_version'), ' ', 1) as version,
      current_database() as database, current_user as username`.pipe(
    Effect.mapBoth({
      onFailure: (error) => failure("ConnectFailed", "The server does not answer", error),
      onSuccess: ([row]) => ({
        version: row!.version,
        config: { ...sql.config, database: row!.database, username: row!.username }
      })
    })
  )
}
