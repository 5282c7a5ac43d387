import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { PgMessaging } from "@holdfast/postgres"
import { Effect, Layer, Redacted } from "effect"
import * as Pg from "pg"
import { Scratch } from "./database.ts"

const opening = <E>(client: Layer.Layer<PgClient.PgClient, E>) =>
  Effect.flip(Effect.scoped(Layer.build(PgMessaging.layerWith({ migrate: true }).pipe(Layer.provide(client)))))

describe("opening messaging", () => {
  it.scopedLive("on a database that is away says so", () =>
    Effect.gen(function* () {
      // a pool does not connect before it is asked
      const acquire = Effect.sync(() => new Pg.Pool({ host: "127.0.0.1", port: 1, connectionTimeoutMillis: 2_000 }))
      const error = yield* opening(PgClient.layerFromPool({ acquire }))
      assert.strictEqual(error._tag, "PgMessagingError")
      assert.strictEqual((error as PgMessaging.PgMessagingError).reason, "Unreachable")
      assert.isTrue((error as PgMessaging.PgMessagingError).isRetryable)
      assert.include(error.message, "127.0.0.1")
    })
  )

  it.scopedLive("on a server older than PostgreSQL 15 says which it needs, and creates nothing", () =>
    Effect.gen(function* () {
      const { control, url } = yield* Scratch
      yield* control.unsafe(`create schema old;
        create function old.current_setting(text) returns text language sql as $$ select '140011' $$`)
      const address = new URL(url)
      address.searchParams.set("options", "-c search_path=old,pg_catalog")
      const error = yield* opening(PgClient.layer({ url: Redacted.make(address.href) }))
      assert.strictEqual((error as PgMessaging.PgMessagingError).reason, "TooOld")
      assert.include(error.message, "15")
      const schemas = yield* control`select 1 from information_schema.schemata where schema_name = 'holdfast'`
      assert.deepStrictEqual(schemas, [])
    }).pipe(Effect.provide(Scratch.layer))
  )
})
