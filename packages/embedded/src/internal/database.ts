/**
 * Databases of a server.
 *
 * @since 0.1.0
 */

import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { codeOf } from "./attempt.ts"
import { EmbeddedPostgresError } from "./error.ts"
import { withLiveClock } from "./liveClock.ts"
import { failure, open, withDatabase } from "./session.ts"

/** Runs a statement that changes databases. */
type Run = <A>(
  statement: string,
  parameters?: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<A>, EmbeddedPostgresError>

/** Creates a database from a template. */
export const create = (url: Redacted.Redacted<string>, name: string, template: string) =>
  Effect.gen(function* () {
    const database = yield* quote(name)
    const origin = yield* quote(template)
    const run = yield* administer(url)
    yield* run(`create database ${database} template ${origin}`)
  }).pipe(Effect.scoped, withLiveClock)

/** Drops a database if it is there, and ends the sessions in it. */
export const drop = (url: Redacted.Redacted<string>, name: string) =>
  Effect.gen(function* () {
    const database = yield* quote(name)
    const run = yield* administer(url)
    yield* run(`drop database if exists ${database} with (force)`)
  }).pipe(Effect.scoped, withLiveClock)

/** Prepares a database once and shuts it, whoever else asks for the same at the same time. */
export const template = <A, E, R>(
  url: Redacted.Redacted<string>,
  name: string,
  prepare: Effect.Effect<A, E, R>
): Effect.Effect<void, E | EmbeddedPostgresError, Exclude<R, PgClient.PgClient | SqlClient.SqlClient>> =>
  Effect.gen(function* () {
    const database = yield* quote(name)
    // one session for all: the lock is its own, and ends with it
    const run = yield* withLiveClock(administer(url))
    yield* run("select pg_advisory_lock(hashtextextended($1, 0))", [`@holdfast/embedded/template/${name}`])
    const found = yield* run<{ open: boolean }>("select datallowconn as open from pg_database where datname = $1", [
      name
    ])
    if (found[0]?.open === false) {
      return
    }
    // one that still takes connections was left half-way
    yield* run(`drop database if exists ${database} with (force)`)
    yield* run(`create database ${database} template template0`)
    const inside = yield* withDatabase(url, name)
    yield* Effect.scoped(Effect.flatMap(open(inside), (context) => Effect.provide(prepare, context)))
    yield* run(`alter database ${database} with allow_connections false`)
  }).pipe(Effect.scoped)

/** Creates the database an application uses, unless it is there. */
export const ensure = (url: Redacted.Redacted<string>, name: string) =>
  Effect.gen(function* () {
    const database = yield* quote(name)
    const run = yield* administer(url)
    const found = yield* run("select 1 from pg_database where datname = $1", [name])
    if (found.length === 0) {
      yield* Effect.catchIf(
        run(`create database ${database} template template0`),
        (error) => error.reason === "DatabaseExists",
        () => Effect.void
      )
    }
  }).pipe(Effect.scoped, withLiveClock)

/** The only way a name enters a statement. Postgres would cut a longer one, and two names could become one. */
export const quote = (name: string): Effect.Effect<string, EmbeddedPostgresError> => {
  const bytes = new TextEncoder().encode(name).length
  return bytes < 1 || bytes > 63 || name.includes("\0")
    ? Effect.fail(new EmbeddedPostgresError({ reason: "InvalidName", detail: `No database can be called "${name}".` }))
    : Effect.succeed(`"${name.replaceAll('"', '""')}"`)
}

// all meet in `postgres`, which is where locks are shared and which nobody clones; some servers have none
const administer = Effect.fnUntraced(function* (
  url: Redacted.Redacted<string>
): Effect.fn.Return<Run, EmbeddedPostgresError, Scope.Scope> {
  const context = yield* Effect.orElse(Effect.flatMap(withDatabase(url, "postgres"), open), () => open(url))
  const session = yield* Effect.mapError(Context.get(context, PgClient.PgClient).reserve, (error) =>
    failure("ConnectFailed", "The server does not answer", error)
  )
  return <A>(statement: string, parameters: ReadonlyArray<unknown> = []) =>
    Effect.mapError(session.executeUnprepared(statement, parameters, undefined), refusal) as Effect.Effect<
      ReadonlyArray<A>,
      EmbeddedPostgresError
    >
})

// 42P04 is the name itself, 23505 the same name at the same moment
const refusal = (error: SqlError): EmbeddedPostgresError => {
  const code = codeOf(error.cause)
  return code === "42P04" || code === "23505"
    ? failure("DatabaseExists", "The database is there already", error)
    : failure("DatabaseFailed", "PostgreSQL refused", error)
}
