/**
 * A real PostgreSQL for development, tests and demos, from binaries that npm installs.
 *
 * It is the same server and the same driver as in production, so locks, `LISTEN` and isolation are the real ones. The
 * binaries carry an old OpenSSL and ICU: do not put them on a network, and do not serve customers from them. Give
 * `DATABASE_URL` there, which every layer of this module prefers.
 *
 * @since 0.1.0
 */

import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as PgClient from "@effect/sql-pg/PgClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as Cluster from "./internal/cluster.ts"
import * as Database from "./internal/database.ts"
import * as Directory from "./internal/directory.ts"
import { databaseUrl, isProduction } from "./internal/environment.ts"
import { EmbeddedPostgresError } from "./internal/error.ts"
import { withLiveClock } from "./internal/liveClock.ts"
import * as Launcher from "./internal/server.ts"
import * as Session from "./internal/session.ts"

export { EmbeddedPostgresError } from "./internal/error.ts"

// models

/**
 * What can be said about an embedded server.
 *
 * `dataDirectory` defaults to `.holdfast/postgres` under the working directory. `database` (default `holdfast`) is
 * created when it is missing. `durable` (default `true`) keeps what was committed when the machine fails; `false` is
 * for tests, and then only a crash of the server itself is survived. `port` defaults to a free one. `maxConnections`
 * is the size of the client's pool, not a limit of the server. `keep` leaves the server running when the scope closes.
 * `ignoreDatabaseUrl` starts a server even if `DATABASE_URL` is set, and `force` even if `NODE_ENV` is `production`.
 * `settings` are parameters of `postgresql.conf` and win over ours.
 *
 * A server that runs already is used as it is. When it was started with another `port`, other `settings`, or without
 * the `durable` that is asked for, the call fails with the reason `InUse`.
 *
 * @example
 * ```ts
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const forTests: EmbeddedPostgres.Options = {
 *   dataDirectory: ".holdfast/test",
 *   durable: false,
 *   settings: { max_connections: "50" }
 * }
 * const TestDatabase = EmbeddedPostgres.layerWith(forTests)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly dataDirectory?: string | undefined
  readonly database?: string | undefined
  readonly durable?: boolean | undefined
  readonly port?: number | undefined
  readonly maxConnections?: number | undefined
  readonly keep?: boolean | undefined
  readonly ignoreDatabaseUrl?: boolean | undefined
  readonly force?: boolean | undefined
  readonly settings?: Record<string, string> | undefined
}

/**
 * A server that answers, and the database of it that is meant.
 *
 * `pid` and `dataDirectory` are known of embedded servers only. `reused` is true when the server ran before.
 *
 * @example
 * ```ts
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 * import { Effect } from "effect"
 *
 * const describe = ({ database, host, port, version }: EmbeddedPostgres.Server) =>
 *   `PostgreSQL ${version} at ${host}:${port}/${database}`
 * const description = Effect.map(EmbeddedPostgres.fromConfig(), describe)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Server {
  readonly url: Redacted.Redacted<string>
  readonly host: string
  readonly port: number
  readonly database: string
  readonly username: string
  readonly password: Redacted.Redacted<string>
  readonly pid: number | undefined
  readonly dataDirectory: string | undefined
  readonly reused: boolean
  readonly version: string
}

/**
 * A server on this machine whose process and files are known.
 *
 * As root the data may lie elsewhere than asked for: Postgres runs as `postgres` or `nobody`, which cannot enter a
 * private directory. `dataDirectory` says where it is.
 *
 * @example
 * ```ts
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 * import { Effect } from "effect"
 *
 * const logOf = ({ dataDirectory }: EmbeddedPostgres.LocalServer) => `${dataDirectory}/server.log`
 * const log = Effect.map(EmbeddedPostgres.make(), logOf)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface LocalServer extends Server {
  readonly pid: number
  readonly dataDirectory: string
}

// constructors

/**
 * Starts a server, or attaches to the one that runs on the same data.
 *
 * Two processes that start at once share one server. It stops with the scope if this call started it, unless `keep` is
 * set; whoever attached to it then loses it too. When this process is killed the server goes on, and the next start
 * attaches to it. When the server is killed, the next start recovers what was committed.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const program = Effect.gen(function*() {
 *   const server = yield* EmbeddedPostgres.make({ dataDirectory: ".holdfast/test", durable: false })
 *   yield* Effect.log(`PostgreSQL ${server.version} on port ${server.port}`)
 * }).pipe(Effect.scoped)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<LocalServer, EmbeddedPostgresError, Scope.Scope> =>
  Effect.gen(function* () {
    if (options.force !== true && (yield* isProduction)) {
      const detail = "An embedded PostgreSQL is not for production."
      return yield* new EmbeddedPostgresError({ reason: "Refused", detail })
    }
    const directory = yield* Directory.locate(options.dataDirectory ?? Directory.defaultDirectory)
    yield* Directory.prepare(directory)
    if (directory.root !== directory.requested) {
      yield* Effect.logInfo(
        `the data lies in ${directory.root}: the user of the server cannot enter ${directory.requested}`
      )
    }
    const running = yield* Launcher.attachOrStart(directory, {
      port: options.port,
      durable: options.durable ?? true,
      keep: options.keep ?? false,
      settings: options.settings ?? {}
    })
    const server = yield* describe(options, directory, running)
    yield* Effect.logDebug(`PostgreSQL ${server.version} on port ${server.port}, pid ${server.pid}`)
    return server
  }).pipe(
    withLiveClock,
    Effect.annotateLogs({ package: "@holdfast/embedded", module: "EmbeddedPostgres" }),
    Effect.withSpan("EmbeddedPostgres.make", { captureStackTrace: false })
  )

/**
 * Takes a server that somebody else runs, for instance the one of a CI job.
 *
 * Databases and templates of it work as those of an embedded server do, if the role may create databases. A server
 * before PostgreSQL 15 is refused.
 *
 * @example
 * ```ts
 * import { Config, Effect } from "effect"
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const server = Effect.flatMap(Config.redacted("DATABASE_URL"), EmbeddedPostgres.serverFromUrl)
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const serverFromUrl = (url: Redacted.Redacted<string>): Effect.Effect<Server, EmbeddedPostgresError> =>
  Effect.gen(function* () {
    yield* Session.withDatabase(url, "postgres")
    const context = yield* Session.open(url)
    const { config, version } = yield* Session.describe(context)
    if (Number.parseInt(version, 10) < 15) {
      return yield* new EmbeddedPostgresError({ reason: "UnsupportedVersion", detail: `The server is ${version}.` })
    }
    return {
      url,
      host: config.host ?? "localhost",
      port: config.port ?? 5432,
      database: config.database,
      username: config.username,
      password: config.password ?? Redacted.make(""),
      pid: undefined,
      dataDirectory: undefined,
      reused: true,
      version
    }
  }).pipe(Effect.scoped, withLiveClock, Effect.withSpan("EmbeddedPostgres.serverFromUrl", { captureStackTrace: false }))

/**
 * The server that `DATABASE_URL` names, or else an embedded one: what a test suite wants that runs anywhere.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const database = Effect.gen(function*() {
 *   const server = yield* EmbeddedPostgres.fromConfig({ dataDirectory: ".holdfast/test", durable: false, keep: true })
 *   return yield* EmbeddedPostgres.createDatabase(server, "orders_test")
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromConfig = (
  options: Options = {}
): Effect.Effect<Server, EmbeddedPostgresError | ConfigError.ConfigError, Scope.Scope> =>
  Effect.flatMap(
    databaseUrl(options),
    Option.match({
      onNone: (): Effect.Effect<Server, EmbeddedPostgresError, Scope.Scope> => make(options),
      onSome: serverFromUrl
    })
  )

// running

/**
 * Stops the server of a data directory, whoever started it. True when there was one.
 *
 * Open transactions are rolled back and clients lose their connections. The data stays.
 *
 * @example
 * ```ts
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const stopped = EmbeddedPostgres.stop(".holdfast/postgres")
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const stop = (
  dataDirectory: string = Directory.defaultDirectory
): Effect.Effect<boolean, EmbeddedPostgresError> =>
  Effect.flatMap(Directory.locate(dataDirectory), Launcher.stop).pipe(
    withLiveClock,
    Effect.withSpan("EmbeddedPostgres.stop", { captureStackTrace: false })
  )

/**
 * Creates a database and gives the server that means it.
 *
 * Without a template it is empty, as `template0` is. From a prepared one (see `template`) it takes some 30 ms whatever
 * the template holds. Fails with `DatabaseExists` when the name is taken, so a leftover is never used by mistake.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { PgClient } from "@effect/sql-pg"
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const count = (server: EmbeddedPostgres.Server) =>
 *   Effect.gen(function*() {
 *     const fresh = yield* Effect.acquireRelease(
 *       EmbeddedPostgres.createDatabase(server, "orders_test", { template: "orders_v3" }),
 *       () => Effect.orDie(EmbeddedPostgres.dropDatabase(server, "orders_test"))
 *     )
 *     return yield* Effect.provide(
 *       Effect.flatMap(PgClient.PgClient, (sql) => sql`select count(*) from orders`),
 *       PgClient.layer({ url: fresh.url })
 *     )
 *   })
 * ```
 *
 * @since 0.1.0
 * @category databases
 */
export const createDatabase = <S extends Server>(
  server: S,
  name: string,
  options: { readonly template?: string | undefined } = {}
): Effect.Effect<S, EmbeddedPostgresError> =>
  Database.create(server.url, name, options.template ?? "template0").pipe(
    Effect.zipRight(Session.withDatabase(server.url, name)),
    Effect.map((url) => ({ ...server, url, database: name })),
    Effect.withSpan("EmbeddedPostgres.createDatabase", { captureStackTrace: false, attributes: { name } })
  )

/**
 * Drops a database if it is there, and ends the sessions in it. Templates go the same way.
 *
 * @example
 * ```ts
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const clean = (server: EmbeddedPostgres.Server) => EmbeddedPostgres.dropDatabase(server, "orders_test")
 * ```
 *
 * @since 0.1.0
 * @category databases
 */
export const dropDatabase = (server: Server, name: string): Effect.Effect<void, EmbeddedPostgresError> =>
  Effect.withSpan(Database.drop(server.url, name), "EmbeddedPostgres.dropDatabase", {
    captureStackTrace: false,
    attributes: { name }
  })

/**
 * Prepares a database once, to be cloned by `createDatabase`, and gives its name back.
 *
 * `prepare` runs in it with a client of its own, for instance the migrations. Afterwards nobody can connect to it, which
 * is how it is known to be done: whoever asks again, in this process or another, gets it at once, and whoever asks at
 * the same time waits. When `prepare` fails the database stays open to look at, and the next call begins anew. A changed
 * `prepare` needs another name: nothing compares them.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { PgClient } from "@effect/sql-pg"
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const orders = (server: EmbeddedPostgres.Server) =>
 *   EmbeddedPostgres.template(
 *     server,
 *     "orders_v3",
 *     Effect.flatMap(PgClient.PgClient, (sql) => sql`create table orders (id bigint primary key)`)
 *   )
 * ```
 *
 * @since 0.1.0
 * @category databases
 */
export const template = <A, E, R>(
  server: Server,
  name: string,
  prepare: Effect.Effect<A, E, R>
): Effect.Effect<string, E | EmbeddedPostgresError, Exclude<R, PgClient.PgClient | SqlClient.SqlClient>> =>
  Database.template(server.url, name, prepare).pipe(
    Effect.as(name),
    Effect.withSpan("EmbeddedPostgres.template", { captureStackTrace: false, attributes: { name } })
  )

// layers

/**
 * A client of the database that `DATABASE_URL` names, or else of an embedded server with the options given.
 *
 * The client closes before the server stops. With `DATABASE_URL` only `maxConnections` matters: nothing is started, and
 * the URL says which database.
 *
 * @example
 * ```ts
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const DatabaseLive = EmbeddedPostgres.layerWith({ database: "shop", maxConnections: 20, keep: true })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (
  options: Options
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, EmbeddedPostgresError | ConfigError.ConfigError | SqlError> =>
  databaseUrl(options).pipe(
    Effect.flatMap(
      Option.match({
        onNone: () => Effect.map(make(options), (server) => server.url),
        onSome: (url) => Effect.succeed(url)
      })
    ),
    Effect.map((url) => PgClient.layer({ url, maxConnections: options.maxConnections })),
    Layer.unwrapScoped
  )

/**
 * A client of the database that `DATABASE_URL` names, or else of an embedded server whose data lives in
 * `.holdfast/postgres` under the working directory.
 *
 * What was committed survives a crash. The server stops when the layer closes, if it was started for it.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { PgClient } from "@effect/sql-pg"
 * import { EmbeddedPostgres } from "@holdfast/embedded"
 *
 * const program = Effect.flatMap(PgClient.PgClient, (sql) => sql`select version()`).pipe(
 *   Effect.provide(EmbeddedPostgres.layer)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient,
  EmbeddedPostgresError | ConfigError.ConfigError | SqlError
> = layerWith({})

// internal

const describe = Effect.fnUntraced(function* (
  options: Options,
  directory: Directory.Directory,
  running: Launcher.Running
): Effect.fn.Return<LocalServer, EmbeddedPostgresError> {
  const address = {
    host: "127.0.0.1",
    port: running.port,
    database: options.database ?? "holdfast",
    username: Cluster.username,
    password: running.password
  }
  const url = Session.urlOf(address)
  yield* Database.ensure(url, address.database)
  const { version } = yield* Effect.scoped(Effect.flatMap(Session.open(url), Session.describe))
  return { ...address, url, pid: running.pid, dataDirectory: directory.root, reused: running.reused, version }
})
