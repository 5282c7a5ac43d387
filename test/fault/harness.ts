import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { CommandBus, Handler, MessageBus } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Effect, Layer, Redacted, Schedule } from "effect"
import { freshDatabase } from "../support/database.ts"
import { follow, Jobs, Work, work } from "./app.ts"
import { Books, book } from "./once.ts"

/** A database with the tables of the effects, and a sender on it that handles nothing itself. */
export const Arena = Layer.unwrapScoped(
  Effect.map(freshDatabase("fault"), (server) =>
    Handler.routes(work, follow, book).pipe(
      Layer.provideMerge(MessageBus.layer),
      Layer.provide([PgChannel.layer(Jobs), PgChannel.layer(Books)]),
      Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
      Layer.provideMerge(Layer.effectDiscard(createTables)),
      Layer.provideMerge(PgClient.layer({ url: Redacted.make(Redacted.value(server.url)), maxConnections: 4 }))
    )
  )
)

export const createTables = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE effect (id text, effect text, pid int, at timestamptz DEFAULT clock_timestamp())`
  yield* sql`CREATE TABLE answer (pid int, answer text)`
  yield* sql`CREATE TABLE started (id text, pid int, attempt int, at timestamptz DEFAULT clock_timestamp())`
})

/** A worker process, killed at the latest when the scope closes. */
export const startWorker = (env: Record<string, string> = {}) => start("worker", env)

/** A process that runs a file of this folder, killed at the latest when the scope closes. */
export const start = (file: string, env: Record<string, string> = {}) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const { config } = yield* PgClient.PgClient
      const url = Redacted.value(config.url!)
      const child = spawn(process.execPath, [fileURLToPath(new URL(`../dist/fault/${file}.js`, import.meta.url))], {
        env: { ...process.env, SLOWNESS: "1 millis", ...env, DATABASE_URL: url },
        stdio: ["ignore", "ignore", "inherit"]
      })
      const ended = new Promise<NodeJS.Signals | number | null>((resolve) =>
        child.once("exit", (code, signal) => resolve(signal ?? code))
      )
      return {
        pid: child.pid!,
        signal: (signal: NodeJS.Signals) => Effect.sync(() => child.kill(signal)),
        ended: Effect.promise(() => ended)
      }
    }),
    (worker) => Effect.zipRight(worker.signal("SIGKILL"), worker.ended)
  )

export const send = (id: string, kind: "Writes" | "SendsOnly" | "Slow" | "Kills", options?: CommandBus.SendOptions) =>
  CommandBus.send(new Work({ id, kind }), options)

/** Waits until a query answers a row: its deadline is for tests that fail, not for those that pass. */
export const until = (query: (sql: SqlClient.SqlClient) => Effect.Effect<ReadonlyArray<any>, any>) =>
  Effect.flatMap(SqlClient.SqlClient, query).pipe(
    Effect.filterOrFail((rows) => rows.length > 0),
    Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo("50 seconds")))
  )

/** Waits until no message is left, then answers each effect with how often it happened. */
export const settled = Effect.gen(function* () {
  yield* until(
    (sql) =>
      sql`SELECT 1 WHERE NOT EXISTS (SELECT FROM holdfast.waiting) AND NOT EXISTS (SELECT FROM holdfast.scheduled)`
  )
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ key: string; n: number }>`
    SELECT id || ' ' || effect AS key, count(*)::int AS n FROM effect GROUP BY 1 ORDER BY 1
  `
  const dead = yield* sql<{ n: number }>`SELECT count(*)::int AS n FROM holdfast.dead_letter`
  return { effects: Object.fromEntries(rows.map(({ key, n }) => [key, n])), dead: dead[0]!.n }
})
