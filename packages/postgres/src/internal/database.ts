import type { SqlError } from "@effect/sql/SqlError"
import type { PgClientConfig } from "@effect/sql-pg/PgClient"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as EffectScope from "effect/Scope"
import * as Pg from "pg"
import { isConnectionLost, isPoolFull, PoolExhausted, sqlError, withAdvice } from "./errors.ts"
import { live } from "./live.ts"
import { query, type Row, type Statement, send } from "./pgQuery.ts"
import { quote } from "./quote.ts"

/**
 * The store's own connections, and where its tables are.
 *
 * @internal
 */
export interface Database {
  readonly schema: string
  /** The quoted schema with its dot, to put before the name of a table. */
  readonly at: string
  readonly config: Pg.ClientConfig
  readonly timeoutMillis: number
  readonly pool: Pg.Pool
  /** Runs one named statement. Interrupting it abandons the answer, not the statement. */
  readonly run: (statement: Statement, values: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SqlError>
  /** Lends a connection for several statements; one that fails to end its transaction is thrown away. */
  readonly lend: <A, E>(use: (pg: Pg.PoolClient) => Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
}

/**
 * Opens the small pool, from the same configuration as the user's.
 *
 * @internal
 */
export const make = (options: {
  readonly client: PgClientConfig
  readonly schema: string
  readonly maxConnections: number
  readonly timeoutMillis: number
}): Effect.Effect<Database, never, EffectScope.Scope> =>
  Effect.gen(function* () {
    const config = clientConfig(options.client)
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => openPool(config, options)),
      (pool) =>
        Effect.promise(() => pool.end()).pipe(Effect.interruptible, Effect.timeoutOption(1000), live, Effect.ignore)
    )
    return {
      schema: options.schema,
      at: `${quote(options.schema)}.`,
      config,
      timeoutMillis: options.timeoutMillis,
      pool,
      run: (statement, values) => runOnPool(pool, statement, values, options.timeoutMillis),
      lend: (use) => lend(pool, use)
    }
  })

/**
 * A statement with a name that belongs to this schema: one connection may serve several.
 *
 * @internal
 */
export const named = (database: Pick<Database, "schema">, name: string, text: string): Statement => ({
  name: `hf_${database.schema}_${name}`,
  text
})

/**
 * Sends BEGIN or the like.
 *
 * @internal
 */
export const command = (database: Database, pg: Pg.ClientBase, text: string) =>
  query(pg, { name: undefined, text }, [], database.timeoutMillis)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const clientConfig = (client: PgClientConfig): Pg.ClientConfig => ({
  connectionString: client.url ? Redacted.value(client.url) : undefined,
  user: client.username,
  host: client.host,
  database: client.database,
  password: client.password ? Redacted.value(client.password) : undefined,
  ssl: client.ssl,
  port: client.port,
  ...(client.stream ? { stream: client.stream } : undefined),
  keepAlive: true,
  connectionTimeoutMillis: Duration.toMillis(client.connectTimeout ?? Duration.seconds(5)),
  application_name: client.applicationName ?? "holdfast"
})

const openPool = (
  config: Pg.ClientConfig,
  options: { readonly maxConnections: number; readonly timeoutMillis: number }
): Pg.Pool => {
  const pool = new Pg.Pool({ ...config, max: options.maxConnections, query_timeout: options.timeoutMillis })
  const ignore = () => {}
  pool.on("error", ignore)
  // a connection that breaks while it is lent tells its statement; without a listener it would end the process
  pool.on("connect", (client) => client.on("error", ignore))
  return pool
}

const runOnPool = (
  pool: Pg.Pool,
  statement: Statement,
  values: ReadonlyArray<unknown>,
  timeoutMillis: number
): Effect.Effect<ReadonlyArray<Row>, SqlError> =>
  Effect.async((resume) => {
    pool.connect((error, pg, release) => {
      if (error || pg === undefined) return resume(Effect.fail(notLent(pool, error)))
      send(pg, statement, values, timeoutMillis, (failure, result) => {
        release(failure !== undefined && isConnectionLost(failure))
        resume(failure === undefined ? Effect.succeed(result.rows) : Effect.fail(failure))
      })
    })
  })

const lend = <A, E>(pool: Pg.Pool, use: (pg: Pg.PoolClient) => Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
  Effect.acquireUseRelease(
    Effect.async<Pg.PoolClient, SqlError>((resume) => {
      pool.connect((error, pg) => {
        resume(error || pg === undefined ? Effect.fail(notLent(pool, error)) : Effect.succeed(pg))
      })
    }),
    use,
    (pg, exit) => Effect.sync(() => pg.release(isLost(exit) || pg.getTransactionStatus() !== idle))
  )

const notLent = ({ options }: Pg.Pool, error: unknown): SqlError => {
  if (!isPoolFull(error)) return withAdvice(sqlError("Failed to acquire connection", error))
  const text =
    `All ${options.max} connections of messaging's own were in use for ` +
    `${Duration.format(Duration.millis(options.connectionTimeoutMillis ?? 0))}: raise maxConnections of PgMessaging.layerWith`
  return sqlError(text, new PoolExhausted(text))
}

const isLost = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Option.exists(Cause.failureOption(exit.cause), isConnectionLost)

/** No transaction is open: neither one that nobody ended, nor a failed one. */
const idle = "I"
