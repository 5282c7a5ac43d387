import { PgClient } from "@effect/sql-pg"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { Config, Effect, Layer, Redacted } from "effect"

/** The server of this run: see `server.ts`. */
export const serverUrl = Config.redacted("HOLDFAST_TEST_DATABASE_URL")

let databases = 0

/** A database of one's own on the server of this run, dropped when the scope closes. */
export const freshDatabase = (name: string) =>
  Effect.acquireRelease(
    Effect.gen(function* () {
      const server = yield* EmbeddedPostgres.serverFromUrl(yield* serverUrl)
      return yield* EmbeddedPostgres.createDatabase(server, `holdfast_${name}_${process.pid}_${++databases}`)
    }),
    (server) => Effect.orDie(EmbeddedPostgres.dropDatabase(server, server.database))
  )

/** A client of a database of one's own. */
export const freshClient = (name: string, options: Omit<PgClient.PgClientConfig, "url"> = {}) =>
  Layer.unwrapScoped(
    Effect.map(freshDatabase(name), (server) =>
      PgClient.layer({ ...options, url: Redacted.make(Redacted.value(server.url)) })
    )
  )
