import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { CommandBus, Consumer, Handler, MessageBus } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Effect, Layer, Redacted } from "effect"
import { freshDatabase } from "../support/database.ts"
import { Book, book, Charge, charge, Task, Tasks, task } from "./flowApp.ts"
import { start as startFile, until } from "./harness.ts"

/** A database with what the workers note, and a sender on it that handles nothing itself. */
const Arena = Layer.unwrapScoped(
  Effect.map(freshDatabase("flow"), (server) =>
    Handler.routes(task, charge, book).pipe(
      Layer.provideMerge(MessageBus.layer),
      Layer.provide(PgChannel.layer(Tasks)),
      Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
      Layer.provideMerge(Layer.effectDiscard(createTables)),
      Layer.provideMerge(PgClient.layer({ url: Redacted.make(Redacted.value(server.url)), maxConnections: 4 }))
    )
  )
)

const createTables = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE begun (id text, pid int, attempt int, at timestamptz DEFAULT clock_timestamp())`
  yield* sql`CREATE TABLE done (id text, pid int, at timestamptz DEFAULT clock_timestamp())`
})

const start = startFile("flowWorker")

const ids = (count: number) => Array.from({ length: count }, (_, n) => `m${String(n).padStart(3, "0")}`)

const done = (count: number) => until((sql) => sql`SELECT 1 FROM done HAVING count(*) >= ${count}`)

/** Everything was begun once, at its first attempt, and done once; nothing is left. */
const handledOnce = (expected: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* done(expected.length)
    yield* until(
      (sql) =>
        sql`SELECT 1 WHERE NOT EXISTS (SELECT FROM holdfast.message) AND NOT EXISTS (SELECT FROM holdfast.scheduled)`
    )
    const sql = yield* SqlClient.SqlClient
    const begun = yield* sql<{ id: string; attempt: number }>`SELECT id, attempt FROM begun ORDER BY id`
    assert.deepStrictEqual(
      begun,
      expected.map((id) => ({ id, attempt: 1 }))
    )
    const ended = yield* sql<{ id: string }>`SELECT id FROM done ORDER BY id`
    assert.deepStrictEqual(
      ended.map(({ id }) => id),
      expected
    )
    assert.deepStrictEqual(yield* sql`SELECT 1 FROM holdfast.dead_letter`, [])
  })

describe("workers that are asked to stop under load", () => {
  it.scopedLive(
    "end well, one after the other, and nothing is lost or delivered twice",
    () =>
      Effect.gen(function* () {
        const all = ids(100)
        const first = yield* start
        const second = yield* start
        yield* Effect.forEach(all, (id) => CommandBus.send(new Task({ id })), { concurrency: 20, discard: true })
        yield* done(10)
        yield* first.signal("SIGTERM")
        assert.strictEqual(yield* first.ended, 0)
        yield* start
        yield* done(50)
        yield* second.signal("SIGTERM")
        assert.strictEqual(yield* second.ended, 0)
        yield* handledOnce(all)
      }).pipe(Effect.provide(Arena)),
    180_000
  )
})

describe("a rate limit over several processes", () => {
  it.scopedLive("is kept: so many messages take at least so long", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* start
      yield* start
      yield* start
      const all = ids(25)
      const [sent] = yield* sql<{ at: Date }>`SELECT clock_timestamp() AS at`
      for (const id of all) yield* CommandBus.send(new Charge({ id }))
      yield* handledOnce(all)
      const begun = yield* sql<{ seconds: number }>`
        SELECT extract(epoch FROM at - ${sent!.at})::float AS seconds FROM begun ORDER BY at
      `
      // whatever the machine does in between, the eleventh comes two seconds after the first, and so on
      const seconds = begun.map((row) => row.seconds)
      assert.isAtLeast(seconds[10]!, 2)
      assert.isAtLeast(seconds[20]!, 4)
      const processes = yield* sql`SELECT DISTINCT pid FROM begun`
      assert.isAtLeast(processes.length, 2)
    }).pipe(Effect.provide(Arena))
  )
})

describe("a concurrency limit over several processes", () => {
  it.scopedLive("is kept, and what a killed one was at is free again after its lease", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const killed = yield* startFile("flowWorker", { LEASE: "2 seconds" })
      yield* startFile("flowWorker", { LEASE: "2 seconds" })
      yield* startFile("flowWorker", { LEASE: "2 seconds" })
      const all = ids(30)
      for (const id of all) yield* CommandBus.send(new Book({ id }))
      yield* until((sql) => sql`SELECT 1 FROM begun WHERE pid = ${killed.pid}`)
      yield* killed.signal("SIGKILL")
      yield* killed.ended
      yield* done(30)
      const ended = yield* sql<{ id: string }>`SELECT id FROM done ORDER BY id`
      assert.deepStrictEqual(
        ended.map(({ id }) => id),
        all
      )
      // each handler ran, at the least, from its note to its last statement
      const [most] = yield* sql<{ n: number }>`
        SELECT max(n)::int AS n FROM (
          SELECT (
            SELECT count(*) FROM begun b JOIN done d USING (id, pid) WHERE b.at <= a.at AND d.at > a.at
          ) AS n FROM begun a
        ) o
      `
      assert.isAtMost(most!.n, 3)
    }).pipe(Effect.provide(Arena))
  )
})

describe("a pause over several processes", () => {
  it.scopedLive("holds the messages of its handler everywhere, and gives all of them back", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* Consumer.pause({ handler: "Task" })
      yield* start
      yield* start
      const all = ids(50)
      for (const id of all) yield* CommandBus.send(new Task({ id }))
      yield* until((sql) => sql`SELECT 1 FROM holdfast.scheduled WHERE held_by IS NOT NULL HAVING count(*) = 50`)
      assert.deepStrictEqual(yield* sql`SELECT id FROM begun`, [])
      yield* Consumer.resume({ handler: "Task" })
      yield* handledOnce(all)
    }).pipe(Effect.provide(Arena))
  )
})
