import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { Context, Effect, Layer, Redacted, Ref } from "effect"
import { directory, query } from "./fixture.ts"

class Embedded extends Context.Tag("test/Embedded")<Embedded, EmbeddedPostgres.LocalServer>() {
  static readonly layer = Layer.scoped(
    Embedded,
    Effect.flatMap(directory, (dataDirectory) => EmbeddedPostgres.make({ dataDirectory, durable: false }))
  )
}

const ordersTable = Effect.flatMap(PgClient.PgClient, (sql) =>
  Effect.zipRight(sql`create table orders (id int)`, sql`insert into orders values (1)`)
)

it.layer(Embedded.layer)("databases", (it) => {
  it.effect("prepares a template once, however many ask for it at the same time", () =>
    Effect.gen(function* () {
      const server = yield* Embedded
      const runs = yield* Ref.make(0)
      const template = EmbeddedPostgres.template(
        server,
        "once",
        Effect.zipRight(
          ordersTable,
          Ref.update(runs, (_) => _ + 1)
        )
      )
      assert.deepStrictEqual(yield* Effect.all([template, template, template], { concurrency: "unbounded" }), [
        "once",
        "once",
        "once"
      ])
      assert.strictEqual(yield* Ref.get(runs), 1)
      const refused = yield* Effect.flip(query({ ...server, ...(yield* at(server, "once")) }, (sql) => sql`select 1`))
      assert.include(String(refused.cause), "not currently accepting connections")
    })
  )

  it.effect("clones a template into databases that do not see each other", () =>
    Effect.gen(function* () {
      const server = yield* Embedded
      const template = yield* EmbeddedPostgres.template(server, "cloned", ordersTable)
      const names = ["clone one", 'clone "two"', "select"]
      const clones = yield* Effect.forEach(
        names,
        (name) => EmbeddedPostgres.createDatabase(server, name, { template }),
        { concurrency: "unbounded" }
      )
      yield* query(clones[0]!, (sql) => sql`insert into orders values (2)`)
      const counts = yield* Effect.forEach(clones, (clone) =>
        query(
          clone,
          (sql) => sql<{ name: string; rows: number }>`
          select current_database() as name, (select count(*)::int from orders) as rows`
        )
      )
      assert.deepStrictEqual(counts.flat(), [
        { name: "clone one", rows: 2 },
        { name: 'clone "two"', rows: 1 },
        { name: "select", rows: 1 }
      ])
      const taken = yield* Effect.flip(EmbeddedPostgres.createDatabase(server, "select", { template }))
      assert.strictEqual(taken.reason, "DatabaseExists")
      yield* Effect.forEach(clones, (clone) => EmbeddedPostgres.dropDatabase(clone, clone.database))
      yield* EmbeddedPostgres.createDatabase(server, "select")
    })
  )

  it.effect("begins a template anew when its preparation failed", () =>
    Effect.gen(function* () {
      const server = yield* Embedded
      const failing = EmbeddedPostgres.template(server, "mended", Effect.zipRight(ordersTable, Effect.fail("half-way")))
      assert.strictEqual(yield* Effect.flip(failing), "half-way")
      const template = yield* EmbeddedPostgres.template(server, "mended", ordersTable)
      const clone = yield* EmbeddedPostgres.createDatabase(server, "mended_clone", { template })
      assert.deepStrictEqual(yield* query(clone, (sql) => sql`select id from orders`), [{ id: 1 }])
    })
  )

  it.effect("does not take a name that Postgres would cut, or a URL that is none", () =>
    Effect.gen(function* () {
      const server = yield* Embedded
      for (const name of ["", "x".repeat(64), "a\0b"]) {
        assert.strictEqual((yield* Effect.flip(EmbeddedPostgres.createDatabase(server, name))).reason, "InvalidName")
      }
      const error = yield* Effect.flip(EmbeddedPostgres.serverFromUrl(Redacted.make("secret words")))
      assert.strictEqual(error.reason, "ConnectFailed")
      assert.notInclude(JSON.stringify(error), "secret words")
    })
  )

  it.effect("treats a server given by its URL as its own", () =>
    Effect.gen(function* () {
      const local = yield* Embedded
      const server = yield* EmbeddedPostgres.serverFromUrl(local.url)
      assert.deepStrictEqual(
        { ...server, url: undefined, password: Redacted.value(server.password) },
        {
          url: undefined,
          host: "127.0.0.1",
          port: local.port,
          database: "holdfast",
          username: "postgres",
          password: Redacted.value(local.password),
          pid: undefined,
          dataDirectory: undefined,
          reused: true,
          version: local.version
        }
      )
      const template = yield* EmbeddedPostgres.template(server, "external", ordersTable)
      const clone = yield* EmbeddedPostgres.createDatabase(server, "external_clone", { template })
      assert.deepStrictEqual(yield* query(clone, (sql) => sql`select id from orders`), [{ id: 1 }])
    })
  )
})

const at = (server: EmbeddedPostgres.Server, database: string) =>
  Effect.sync(() => ({ url: Redacted.make(Redacted.value(server.url).replace(/[^/]*$/, database)) }))
