/**
 * A fresh database for one run: on the server that DATABASE_URL names, or else on an embedded one.
 */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { Clock, Context, Effect, Layer, Redacted } from "effect"

const dataDirectory = ".holdfast/demo"

export class DemoDatabase extends Context.Tag("shop/demo/DemoDatabase")<DemoDatabase, EmbeddedPostgres.Server>() {
  static readonly layer = Layer.scoped(
    DemoDatabase,
    Effect.gen(function* () {
      const server = yield* EmbeddedPostgres.fromConfig({ dataDirectory, durable: false, keep: true })
      if (server.pid !== undefined) {
        yield* Effect.addFinalizer(() => Effect.ignoreLogged(unlessUsed(server, EmbeddedPostgres.stop(dataDirectory))))
        yield* unlessUsed(server, dropLeftovers(server))
      }
      const now = yield* Clock.currentTimeMillis
      return yield* Effect.acquireRelease(
        EmbeddedPostgres.createDatabase(server, `holdfast_demo_${now.toString(36)}`),
        (database) => Effect.ignoreLogged(EmbeddedPostgres.dropDatabase(server, database.database))
      )
    })
  )

  /** The client that the demo looks with. The processes have their own. */
  static readonly client = Layer.unwrapEffect(
    Effect.map(DemoDatabase, ({ url }) => PgClient.layer({ url, maxConnections: 4 }))
  )
}

export const connectionString = (database: EmbeddedPostgres.Server) => Redacted.value(database.url)

/** Another demo may be at work on the same embedded server: then it is the other one that tidies up. */
const unlessUsed = <A, E, R>(server: EmbeddedPostgres.Server, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    return yield* sql`
      select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()`
  }).pipe(
    Effect.provide(PgClient.layer({ url: server.url, maxConnections: 1 })),
    Effect.flatMap((others) => (others.length > 0 ? Effect.void : effect))
  )

/** A demo that was killed has left its database. */
const dropLeftovers = (server: EmbeddedPostgres.Server) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const left = yield* sql<{ datname: string }>`select datname from pg_database where datname like 'holdfast_demo_%'`
    for (const { datname } of left) yield* EmbeddedPostgres.dropDatabase(server, datname)
  }).pipe(Effect.provide(PgClient.layer({ url: server.url, maxConnections: 1 })))
