import { EmbeddedPostgres } from "@holdfast/embedded"
import { Effect, Redacted } from "effect"
import * as Pg from "pg"

/** A pool that closes with the scope. */
export const pool = (url: string, max: number) =>
  Effect.acquireRelease(
    Effect.sync(() => new Pg.Pool({ connectionString: url, max }).on("error", ignore).on("connect", quiet)),
    (pool) => Effect.promise(() => pool.end())
  )

/** The database is dropped while connections may still be closing, which they report. */
const ignore = () => {}
const quiet = (client: Pg.PoolClient) => void client.on("error", ignore)

export const query = (pool: Pg.Pool, text: string, values: Array<unknown> = []) =>
  Effect.promise(() => pool.query(text, values))

/** The one number that a query answers. */
export const count = (pool: Pg.Pool, text: string, values: Array<unknown> = []) =>
  Effect.map(query(pool, text, values), ({ rows }) => Number(Object.values(rows[0])[0]))

/** Where handlers write their one row. */
export const writtenTable = "CREATE TABLE IF NOT EXISTS written (n int PRIMARY KEY)"

/** What autovacuum would have done by the time a queue is this full. */
export const settle = (url: string) =>
  Effect.scoped(Effect.flatMap(pool(url, 1), (pool) => query(pool, "VACUUM ANALYZE")))

/** A transaction that looked once and stays open with the scope: what was deleted since cannot be vacuumed. */
export const oldSnapshot = (url: string) =>
  Effect.gen(function* () {
    const client = yield* Effect.acquireRelease(
      Effect.sync(() => new Pg.Client({ connectionString: url }).on("error", ignore)),
      (client) => Effect.promise(() => client.end())
    )
    yield* Effect.promise(() => client.connect())
    yield* Effect.promise(() => client.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"))
  })

let databases = 0

/** The URL of an empty database, which is dropped with the scope. */
export const fresh = (server: EmbeddedPostgres.Server) =>
  Effect.acquireRelease(
    Effect.suspend(() =>
      EmbeddedPostgres.createDatabase(server, `holdfast_bench_${process.pid}_${databases++}`).pipe(Effect.orDie)
    ),
    ({ database }) => Effect.orDie(EmbeddedPostgres.dropDatabase(server, database))
  ).pipe(Effect.map(({ url }) => Redacted.value(url)))
