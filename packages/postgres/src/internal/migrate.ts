import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { classify, detailOf } from "./errors.ts"
import { latest, type Migration, migrations } from "./migrations.ts"
import { PgMessagingError } from "./pgMessagingError.ts"
import { quote, validateSchema } from "./quote.ts"

/** @internal */
export const defaultSchema = "holdfast"

interface Applied {
  readonly id: number
  readonly name: string
}

/** @internal */
export const migrate = Effect.fnUntraced(function* (client: PgClient, name: string) {
  const schema = yield* validateSchema(name)
  yield* checkServer(client)
  return yield* onConnection(client, (connection) =>
    inTransaction(
      connection,
      Effect.gen(function* () {
        yield* send(connection, `select pg_advisory_xact_lock(hashtextextended('holdfast/' || '${schema}', 0))`)
        const applied = yield* appliedOf(connection, schema)
        yield* refuseNewer(schema, applied)
        const pending = pendingAfter(applied)
        if (pending.length > 0) yield* send(connection, yield* planOf(connection, schema, pending))
        return pending.map(({ id }) => id)
      })
    )
  )
})

/** @internal */
export const plan = Effect.fnUntraced(function* (client: PgClient, name: string) {
  const schema = yield* validateSchema(name)
  return yield* onConnection(client, (connection) =>
    Effect.gen(function* () {
      const applied = yield* appliedOf(connection, schema)
      yield* refuseNewer(schema, applied)
      const pending = pendingAfter(applied)
      return pending.length === 0 ? "" : yield* planOf(connection, schema, pending)
    })
  )
})

/** @internal */
export const status = Effect.fnUntraced(function* (client: PgClient, name: string) {
  const schema = yield* validateSchema(name)
  const applied = yield* onConnection(client, (connection) => appliedOf(connection, schema))
  return {
    current: highest(applied),
    latest,
    applied,
    pending: pendingAfter(applied).map(({ id, name }) => ({ id, name }))
  }
})

/**
 * Refuses a schema that is not this build's.
 *
 * @internal
 */
export const check = Effect.fnUntraced(function* (client: PgClient, name: string) {
  const schema = yield* validateSchema(name)
  const applied = yield* onConnection(client, (connection) => appliedOf(connection, schema))
  yield* refuseNewer(schema, applied)
  if (applied.length === 0) {
    return yield* new PgMessagingError({
      reason: "SchemaMissing",
      detail:
        `The schema ${schema} has no tables. ` +
        "Provide PgMigrations.layer below PgMessaging.layer, or run the SQL of PgMigrations.plan."
    })
  }
  if (highest(applied) < latest) {
    return yield* new PgMessagingError({
      reason: "SchemaOlder",
      detail:
        `The schema ${schema} is at version ${highest(applied)}, this build needs ${latest}. ` +
        "Provide PgMigrations.layer below PgMessaging.layer, or run the SQL of PgMigrations.plan."
    })
  }
})

/**
 * Refuses a server that lacks what the statements use.
 *
 * @internal
 */
export const checkServer = Effect.fnUntraced(function* (client: PgClient) {
  const version = yield* onConnection(client, (connection) =>
    Effect.map(rows(connection, "select current_setting('server_version_num') as version"), ([row]) =>
      Number(row.version)
    )
  )
  if (version >= 150_000) return
  return yield* new PgMessagingError({
    reason: "TooOld",
    detail: `The server is PostgreSQL ${Math.floor(version / 10_000)}. Holdfast needs PostgreSQL 15 or later: upgrade it.`
  })
})

/**
 * What a failure at start means.
 *
 * @internal
 */
export const toPgMessagingError = (cause: SqlError): PgMessagingError =>
  classify(cause) === "Unavailable"
    ? new PgMessagingError({
        reason: "Unreachable",
        detail: `The database cannot be reached. Check the configuration of PgClient. ${detailOf(cause)}`,
        cause
      })
    : new PgMessagingError({
        reason: "MigrationFailed",
        detail: `The database refused a migration, and nothing of it was applied. ${detailOf(cause)}`,
        cause
      })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const rows = (connection: Connection, text: string): Effect.Effect<ReadonlyArray<any>, SqlError> =>
  connection.execute(text, [], undefined)

const send = (connection: Connection, text: string): Effect.Effect<void, SqlError> =>
  Effect.asVoid(connection.executeRaw(text, []))

const highest = (applied: ReadonlyArray<Applied>): number => applied.reduce((most, { id }) => Math.max(most, id), 0)

const pendingAfter = (applied: ReadonlyArray<Applied>): ReadonlyArray<Migration> => {
  const known = new Set(applied.map(({ id }) => id))
  return migrations.filter(({ id }) => !known.has(id))
}

const refuseNewer = (schema: string, applied: ReadonlyArray<Applied>): Effect.Effect<void, PgMessagingError> =>
  highest(applied) <= latest
    ? Effect.void
    : Effect.fail(
        new PgMessagingError({
          reason: "SchemaNewer",
          detail:
            `The schema ${schema} is at version ${highest(applied)}, newer than this build, which knows ${latest}. ` +
            "Deploy a build of at least that version."
        })
      )

/** What the database remembers; nothing when there is no such table. */
const appliedOf = (connection: Connection, schema: string): Effect.Effect<ReadonlyArray<Applied>, SqlError> =>
  Effect.flatMap(rows(connection, `select to_regclass('${quote(schema)}.migration')::text as found`), ([row]) =>
    row.found === null
      ? Effect.succeed([])
      : Effect.map(
          rows(connection, `select id::text as id, name from ${quote(schema)}.migration order by id`),
          (applied) => applied.map(({ id, name }) => ({ id: Number(id), name }))
        )
  )

const planOf = (
  connection: Connection,
  schema: string,
  pending: ReadonlyArray<Migration>
): Effect.Effect<string, SqlError> =>
  Effect.map(rows(connection, `select to_regnamespace('${quote(schema)}')::text as found`), ([row]) => {
    const at = `${quote(schema)}.`
    return [
      // asking for a schema that exists needs a right that whoever owns only the schema lacks
      ...(row.found === null ? [`create schema ${quote(schema)};`] : []),
      `create table if not exists ${at}migration (` +
        "id integer primary key, name text not null, applied_at timestamptz not null default clock_timestamp());",
      ...pending.flatMap(({ id, name, sql }) => [
        `-- ${id} ${name}`,
        sql(at).trim(),
        `insert into ${at}migration (id, name) values (${id}, '${name}');`
      ])
    ].join("\n")
  })

const inTransaction = <A, E>(
  connection: Connection,
  effect: Effect.Effect<A, E | SqlError>
): Effect.Effect<A, E | SqlError> =>
  Effect.acquireUseRelease(
    send(connection, "begin"),
    () => Effect.zipLeft(effect, send(connection, "commit")),
    (_, exit) => (Exit.isSuccess(exit) ? Effect.void : Effect.ignore(send(connection, "rollback")))
  )

/** The user's own transaction, if one is open, is not touched: `reserve` always takes a connection of its own. */
const onConnection = <A, E>(
  client: PgClient,
  use: (connection: Connection) => Effect.Effect<A, E | SqlError>
): Effect.Effect<A, Exclude<E, SqlError> | PgMessagingError> =>
  Effect.scoped(Effect.flatMap(Effect.uninterruptible(client.reserve), use)).pipe(
    Effect.catchIf(
      (error): error is E & SqlError =>
        typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError",
      (cause) => Effect.fail(toPgMessagingError(cause))
    )
  ) as Effect.Effect<A, Exclude<E, SqlError> | PgMessagingError>
