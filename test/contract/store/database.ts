/**
 * Where the tests find PostgreSQL, and a schema there that is theirs alone.
 */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { PgMessaging } from "@holdfast/postgres"
import { Effect, Layer } from "effect"
import { serverUrl } from "../../support/database.ts"

const client = PgClient.layerConfig({ url: serverUrl })

/** Drops the schema once all that uses it has ended. */
const dropped = (schema: string) =>
  Layer.scopedDiscard(
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.addFinalizer(() => Effect.orDie(sql`DROP SCHEMA IF EXISTS ${sql(schema)} CASCADE`))
    )
  )

/** A store in a schema of its own, whose clock can be moved if it is opened for tests. */
export const layer = (options: { readonly testing: boolean }) =>
  Layer.unwrapEffect(
    Effect.sync(() => {
      const schema = `test_${globalThis.crypto.randomUUID().replaceAll("-", "")}`
      return PgMessaging.layerWith({ ...options, schema, migrate: true }).pipe(
        Layer.provide(dropped(schema)),
        Layer.provide(client)
      )
    })
  )
