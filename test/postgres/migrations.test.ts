import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { MessageStore } from "@holdfast/core"
import { PgMessaging, PgMigrations } from "@holdfast/postgres"
import { Duration, Effect, Layer, Redacted } from "effect"
import { ClientLive, client, Scratch } from "./database.ts"
import { migrations } from "./internal.ts"

const all = migrations.map(({ id }) => id)

const exists = (schema: string) =>
  Effect.flatMap(Scratch, ({ control }) =>
    Effect.map(control`select 1 from information_schema.schemata where schema_name = ${schema}`, (_) => _.length === 1)
  )
const open = (options: PgMessaging.Options) =>
  Effect.scoped(Layer.build(PgMessaging.layerWith({ notifications: false, ...options })))

layer(ClientLive.pipe(Layer.provideMerge(Scratch.layer)), { excludeTestServices: true })("PgMigrations", (it) => {
  it.effect("the plan is the SQL of what is pending, and touches nothing", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const plan = yield* PgMigrations.plan({ schema: "planned" })
      assert.match(plan, /create schema "planned";/)
      assert.isFalse(yield* exists("planned"))
      assert.strictEqual((yield* PgMigrations.status({ schema: "planned" })).current, 0)
      yield* control.unsafe(plan)
      assert.strictEqual(yield* PgMigrations.plan({ schema: "planned" }), "")
      assert.deepStrictEqual(yield* PgMigrations.migrate({ schema: "planned" }), [])
      yield* open({ schema: "planned" })
    })
  )

  it.effect("of several that migrate at once, one does it", () =>
    Effect.gen(function* () {
      const applied = yield* Effect.forEach([1, 2, 3, 4], () => PgMigrations.migrate({ schema: "at_once" }), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(
        applied.toSorted((a, b) => a.length - b.length),
        [[], [], [], all]
      )
      const status = yield* PgMigrations.status({ schema: "at_once" })
      assert.deepStrictEqual([status.current, status.latest, status.pending], [all.at(-1), all.at(-1), []])
    })
  )

  it.effect("a migration works inside a transaction of the user's, whose failure does not undo it", () =>
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      yield* Effect.exit(
        sql.withTransaction(Effect.zipRight(PgMigrations.migrate({ schema: "apart" }), Effect.fail(1)))
      )
      assert.isTrue(yield* exists("apart"))
    })
  )

  it.effect("missing, newer and older tables are refused with a sentence", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const missing = yield* Effect.flip(open({ schema: "missing" }))
      assert.strictEqual(missing.reason, "SchemaMissing")
      assert.strictEqual(
        missing.message,
        "The schema missing has no tables. " +
          "Provide PgMigrations.layer below PgMessaging.layer, or run the SQL of PgMigrations.plan."
      )
      yield* PgMigrations.migrate({ schema: "future" })
      yield* control.unsafe("insert into future.migration (id, name) values (999, 'later')")
      assert.strictEqual((yield* Effect.flip(open({ schema: "future" }))).reason, "SchemaNewer")
      assert.strictEqual((yield* Effect.flip(PgMigrations.migrate({ schema: "future" }))).reason, "SchemaNewer")
      yield* control.unsafe("delete from future.migration where id <> 1")
      assert.strictEqual((yield* Effect.flip(open({ schema: "future" }))).reason, "SchemaOlder")
    })
  )

  it.effect("a schema name that would need escaping is refused, and so are options that cannot be", () =>
    Effect.gen(function* () {
      for (const schema of ['a"b', "a-b", "", "1a", "pg_x", "a".repeat(41)]) {
        assert.strictEqual((yield* Effect.flip(PgMigrations.migrate({ schema }))).reason, "SchemaInvalid")
      }
      assert.strictEqual((yield* Effect.flip(open({ maxConnections: 0 }))).reason, "PoolTooSmall")
      for (const queryTimeout of [-1, Number.NaN, "30 days", Duration.infinity] as const) {
        assert.strictEqual((yield* Effect.flip(open({ queryTimeout }))).reason, "TimeoutInvalid")
      }
      for (const journalRetention of [-1, Number.NaN, "59 seconds"] as const) {
        assert.strictEqual((yield* Effect.flip(open({ journalRetention }))).reason, "RetentionInvalid")
      }
    })
  )

  it.effect("a role that owns only the schema can migrate", () =>
    Effect.gen(function* () {
      const { control, name, url } = yield* Scratch
      yield* control.unsafe(
        `create role ${name}_app login password 'app'; create schema owned authorization ${name}_app; ` +
          `revoke create on database ${name} from public`
      )
      const limited = new URL(url)
      limited.username = `${name}_app`
      limited.password = "app"
      const applied = yield* Effect.scoped(
        Effect.flatMap(client(limited.href, 2), (limited) =>
          Effect.provideService(PgMigrations.migrate({ schema: "owned" }), PgClient.PgClient, limited)
        )
      )
      assert.deepStrictEqual(applied, all)
      yield* control.unsafe(`drop schema owned cascade; drop role ${name}_app`)
    })
  )

  it.effect("a database that is away is said to be", () =>
    Effect.gen(function* () {
      const away = PgClient.layer({ url: Redacted.make("postgresql://root@127.0.0.1:1/none"), connectTimeout: 500 })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(PgMessaging.layer.pipe(Layer.provide(away)))))
      assert.strictEqual(error._tag, "SqlError")
    })
  )

  it.effect("without testing the clock cannot be moved", () =>
    Effect.gen(function* () {
      const store = MessageStore.MessageStore
      const refused = Effect.flip(Effect.flatMap(store, (store) => store.advance(1000)))
      const error = yield* refused.pipe(Effect.provide(PgMessaging.layerWith({ migrate: true, notifications: false })))
      assert.strictEqual(error.reason, "Rejected")
      assert.match(error.detail, /testing: true/)
    })
  )
})
