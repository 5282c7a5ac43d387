import { mkdtemp, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { ConfigProvider, Effect, Either, Layer, Redacted } from "effect"
import { asWritten } from "../mistakes/page.ts"
import { directory, isThere, listen, query } from "./fixture.ts"

const withConfig = (values: Record<string, string>) =>
  Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(values))))

const whoAmI = Effect.flatMap(
  PgClient.PgClient,
  (sql) => sql<{ database: string; port: number }>`select current_database() as database, inet_server_port() as port`
)

describe.concurrent("EmbeddedPostgres", () => {
  it.scopedLive("starts, answers, and asks everybody for a password", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const server = yield* EmbeddedPostgres.make({ dataDirectory, durable: false, settings: { work_mem: "5MB" } })
      const [row] = yield* query(
        server,
        (sql) => sql<Record<string, string>>`select current_setting('fsync') as fsync, current_database() as database,
          current_setting('work_mem') as memory, current_setting('listen_addresses') as addresses,
          current_setting('max_connections') as connections, current_setting('unix_socket_directories') as sockets`
      )
      assert.deepStrictEqual(row, {
        fsync: "off",
        database: "holdfast",
        memory: "5MB",
        addresses: "127.0.0.1",
        connections: "100",
        sockets: ""
      })
      assert.strictEqual(server.reused, false)
      assert.strictEqual(Redacted.value(server.password).length, 32)
      const { mode } = yield* Effect.promise(() => stat(join(server.dataDirectory, "cluster", "password")))
      assert.strictEqual(mode & 0o777, 0o600)
      const stranger = yield* Effect.either(
        query(
          { ...server, url: Redacted.make(`postgresql://postgres:x@127.0.0.1:${server.port}/postgres`) },
          (sql) => sql`select 1`
        )
      )
      assert.isTrue(Either.isLeft(stranger))
    })
  )

  it.scopedLive("keeps what was committed when the server is killed", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const first = yield* EmbeddedPostgres.make({ dataDirectory })
      yield* query(first, (sql) => Effect.zipRight(sql`create table kept (id int)`, sql`insert into kept values (7)`))
      process.kill(first.pid, "SIGKILL")
      const second = yield* EmbeddedPostgres.make({ dataDirectory })
      assert.notStrictEqual(second.pid, first.pid)
      assert.isFalse(second.reused)
      assert.deepStrictEqual(yield* query(second, (sql) => sql`select id from kept`), [{ id: 7 }])
      assert.deepStrictEqual(yield* query(second, (sql) => sql`show fsync`), [{ fsync: "on" }])
    })
  )

  it.scopedLive("reuses a running server, leaves it when asked to keep it, and stops it by its directory", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const options = { dataDirectory, durable: false, keep: true }
      const first = yield* Effect.scoped(EmbeddedPostgres.make(options))
      const second = yield* Effect.scoped(EmbeddedPostgres.make({ ...options, keep: false, database: "other" }))
      assert.isTrue(second.reused)
      assert.strictEqual(second.pid, first.pid)
      assert.strictEqual(second.database, "other")
      assert.isTrue(yield* isThere(first.pid), "the one who attached does not stop it")
      for (const refused of [{ durable: true }, { port: 1 }, { settings: { work_mem: "5MB" } }]) {
        const error = yield* Effect.flip(EmbeddedPostgres.make({ ...options, ...refused }))
        assert.strictEqual(error.reason, "InUse")
        asWritten("Embedded PostgreSQL", "another option for a server that runs", error.message)
      }
      assert.isTrue(yield* EmbeddedPostgres.stop(dataDirectory))
      assert.isFalse(yield* isThere(first.pid))
      assert.isFalse(yield* EmbeddedPostgres.stop(dataDirectory))
    })
  )

  it.scopedLive("lets two that start at once share one server", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const start = EmbeddedPostgres.make({ dataDirectory, durable: false })
      const servers = yield* Effect.all([start, start], { concurrency: "unbounded" })
      assert.strictEqual(new Set(servers.map((server) => server.pid)).size, 1)
      assert.strictEqual(servers.filter((server) => !server.reused).length, 1)
    })
  )

  it.live("refuses in production unless it is forced", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.scoped(EmbeddedPostgres.make()))
      assert.strictEqual(error.reason, "Refused")
      assert.include(error.message, "DATABASE_URL")
      assert.include(error.message, "force: true")
    }).pipe(withConfig({ NODE_ENV: "production" }))
  )

  it.scopedLive("runs in production when it is forced, on the port asked for, and leaves no process behind", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const port = yield* Effect.scoped(listen)
      const start = EmbeddedPostgres.make({ dataDirectory, durable: false, force: true, port })
      const server = yield* Effect.scoped(
        Effect.gen(function* () {
          const server = yield* start
          assert.strictEqual(server.port, port)
          assert.isTrue(yield* isThere(server.pid))
          return server
        })
      )
      assert.isFalse(yield* isThere(server.pid))
      const log = yield* Effect.promise(() => readFile(join(server.dataDirectory, "server.log"), "utf8"))
      assert.include(log, "database system is shut down")
    }).pipe(withConfig({ NODE_ENV: "production" }))
  )

  it.scopedLive("says which port is taken, and why a server does not start", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const port = yield* listen
      const taken = yield* Effect.flip(EmbeddedPostgres.make({ dataDirectory, durable: false, port }))
      assert.strictEqual(taken.reason, "InUse")
      asWritten("Embedded PostgreSQL", "a port that is taken", taken.message)
      assert.include(taken.detail, String(port))
      const settings = { no_such_setting: "1" }
      const wrong = yield* Effect.flip(EmbeddedPostgres.make({ dataDirectory, durable: false, settings }))
      assert.strictEqual(wrong.reason, "StartFailed")
      asWritten("Embedded PostgreSQL", "a setting that PostgreSQL does not know", wrong.message)
      assert.include(wrong.message, "no_such_setting")
    })
  )

  it.scopedLive("gives a client by its layer, of DATABASE_URL when that is set", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const server = yield* EmbeddedPostgres.make({ dataDirectory, durable: false, database: "first" })
      const layer = EmbeddedPostgres.layerWith({ dataDirectory, durable: false, database: "second", maxConnections: 1 })
      const unset = yield* whoAmI.pipe(Effect.provide(layer), withConfig({ DATABASE_URL: "" }))
      assert.deepStrictEqual(unset, [{ database: "second", port: server.port }])
      const nowhere = EmbeddedPostgres.layerWith({ dataDirectory: "/dev/null/none" })
      const set = yield* whoAmI.pipe(
        Effect.provide(nowhere),
        withConfig({ DATABASE_URL: Redacted.value(server.url), NODE_ENV: "production" })
      )
      assert.deepStrictEqual(set, [{ database: "first", port: server.port }])
      const named = yield* EmbeddedPostgres.fromConfig({ dataDirectory: "/dev/null/none" }).pipe(
        withConfig({ DATABASE_URL: Redacted.value(server.url) })
      )
      assert.deepStrictEqual([named.database, named.port, named.pid], ["first", server.port, undefined])
      const ignored = yield* whoAmI.pipe(
        Effect.provide(EmbeddedPostgres.layerWith({ dataDirectory, durable: false, ignoreDatabaseUrl: true })),
        withConfig({ DATABASE_URL: "postgresql://nobody@127.0.0.1:1/none" })
      )
      assert.deepStrictEqual(ignored, [{ database: "holdfast", port: server.port }])
    })
  )

  it.scoped("starts under a test clock too", () =>
    Effect.gen(function* () {
      const dataDirectory = yield* directory
      const layer = EmbeddedPostgres.layerWith({ dataDirectory, durable: false, ignoreDatabaseUrl: true })
      assert.strictEqual((yield* Effect.provide(whoAmI, Layer.fresh(layer)))[0]?.database, "holdfast")
    })
  )

  it.live.runIf(process.getuid?.() === 0)("puts root's data where the server's user can reach it", () =>
    Effect.gen(function* () {
      const closed = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-closed-"))),
        (path) => Effect.promise(() => rm(path, { recursive: true }))
      )
      const server = yield* EmbeddedPostgres.make({ dataDirectory: join(closed, "data"), durable: false })
      assert.match(server.dataDirectory, /^\/var\/tmp\/holdfast-[0-9a-f]{12}$/)
      const again = yield* EmbeddedPostgres.make({ dataDirectory: join(closed, "data"), durable: false })
      assert.isTrue(again.reused)
      return server.dataDirectory
    }).pipe(
      Effect.scoped,
      Effect.flatMap((path) => Effect.promise(() => rm(path, { recursive: true })))
    )
  )
})
