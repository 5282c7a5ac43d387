import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Arena, send, settled, startWorker, until } from "./harness.ts"

describe("a worker that is killed", () => {
  for (const point of ["claimed", "before-commit", "after-commit"]) {
    for (const kind of ["Writes", "SendsOnly"] as const) {
      it.scopedLive(
        `${point}, when its handler ${kind === "Writes" ? "writes rows" : "only sends"}: all is done once`,
        () =>
          Effect.gen(function* () {
            for (const id of ["a", "b", "c"]) yield* send(id, kind)
            const first = yield* startWorker({ CRASH_AT: point, LEASE: "1 seconds" })
            assert.strictEqual(yield* first.ended, "SIGKILL")
            yield* startWorker({ LEASE: "1 seconds" })
            const once = Object.fromEntries(
              ["a", "b", "c"].flatMap((id) => [
                [`${id} followed`, 1],
                ...(kind === "Writes" ? [[`${id} worked`, 1]] : [])
              ])
            )
            assert.deepStrictEqual(yield* settled, { effects: once, dead: 0 })
          }).pipe(Effect.provide(Arena))
      )
    }
  }

  it.scopedLive("in the middle of a handler: its message runs again elsewhere within 15 seconds, by default", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const first = yield* startWorker({ SLOWNESS: "10 minutes" })
      yield* send("a", "Slow")
      yield* until((sql) => sql`SELECT 1 FROM started WHERE pid = ${first.pid}`)
      const second = yield* startWorker()
      yield* first.signal("SIGKILL")
      const [{ killed }] = yield* sql<{ killed: Date }>`SELECT clock_timestamp() AS killed`
      assert.deepStrictEqual(yield* settled, { effects: { "a followed": 1, "a worked": 1 }, dead: 0 })
      const [{ seconds, pid }] = yield* sql<{ seconds: number; pid: number }>`
        SELECT extract(epoch FROM at - ${killed})::float AS seconds, pid FROM effect WHERE effect = 'worked'
      `
      assert.strictEqual(pid, second.pid)
      assert.isBelow(seconds, 15)
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("again and again by one message: it becomes a dead letter, and the others are handled", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* send("bad", "Slow")
      for (let crash = 1; crash <= 5; crash++) {
        const worker = yield* startWorker({ SLOWNESS: "10 minutes", LEASE: "1 seconds" })
        yield* until((sql) => sql`SELECT 1 FROM started WHERE pid = ${worker.pid}`)
        yield* worker.signal("SIGKILL")
        yield* worker.ended
      }
      yield* send("good", "Writes")
      yield* startWorker({ SLOWNESS: "10 minutes", LEASE: "1 seconds" })
      assert.deepStrictEqual(yield* settled, { effects: { "good followed": 1, "good worked": 1 }, dead: 1 })
      const [letter] = yield* sql`SELECT reason, error FROM holdfast.dead_letter`
      assert.strictEqual(letter?.reason, "Crashed")
      assert.include(String(letter?.error), "5 consumers were lost")
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive(
    "by one message among twenty: it becomes a dead letter, the others are handled, and none of them is to blame",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const good = Array.from({ length: 19 }, (_, n) => `m${String(n).padStart(2, "0")}`)
        for (const id of good.slice(0, 7)) yield* send(id, "SendsOnly")
        yield* send("poison", "Kills")
        for (const id of good.slice(7)) yield* send(id, "SendsOnly")
        const working = Effect.gen(function* () {
          const worker = yield* startWorker({ CONCURRENCY: "10", LEASE: "1 seconds" })
          return yield* worker.ended
        }).pipe(Effect.scoped, Effect.forever)
        yield* Effect.forkScoped(working)
        yield* Effect.retry(settled, { times: 10 })
        const { dead, effects } = yield* settled
        assert.deepStrictEqual(effects, Object.fromEntries(good.map((id) => [`${id} followed`, 1])))
        assert.strictEqual(dead, 1)
        const [letter] = yield* sql`SELECT reason, attempt FROM holdfast.dead_letter`
        assert.deepStrictEqual(letter, { reason: "Crashed", attempt: 6 })
        assert.deepStrictEqual(yield* sql`SELECT id, attempt FROM started WHERE id <> 'poison' AND attempt > 1`, [])
        assert.deepStrictEqual(
          yield* sql`SELECT DISTINCT attempt FROM started WHERE id = 'poison' ORDER BY 1`,
          [1, 2, 3, 4, 5].map((attempt) => ({ attempt }))
        )
      }).pipe(Effect.provide(Arena)),
    600_000
  )
})

describe("a delayed message", () => {
  it.scopedLive("survives the workers that waited for it, and never comes early by the database's clock", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const due = new Date(Date.now() + 4_000)
      yield* send("later", "Writes", { at: due })
      const first = yield* startWorker({ LEASE: "1 seconds" })
      yield* send("now", "Writes")
      yield* until((sql) => sql`SELECT 1 FROM effect WHERE id = 'now'`)
      yield* first.signal("SIGKILL")
      yield* first.ended
      yield* startWorker({ LEASE: "1 seconds" })
      const { effects } = yield* settled
      assert.deepStrictEqual(effects, { "later followed": 1, "later worked": 1, "now followed": 1, "now worked": 1 })
      const early = yield* sql`SELECT id FROM effect WHERE id = 'later' AND at < ${due}`
      assert.deepStrictEqual(early, [])
    }).pipe(Effect.provide(Arena))
  )
})

describe("a sender that is killed", () => {
  it.scopedLive("before its unit commits: what it sent was never there", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* send("a", "Writes")
      const worker = yield* startWorker({ CRASH_AT: "before-commit", LEASE: "30 seconds" })
      yield* worker.ended
      const rows = yield* sql`SELECT tag FROM holdfast.waiting`
      assert.deepStrictEqual(rows, [{ tag: "Work" }])
    }).pipe(Effect.provide(Arena))
  )
})

describe("a worker that is stopped and goes on after its lease ended", () => {
  it.scopedLive("commits nothing: another worker did its work meanwhile", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* send("a", "Slow")
      const frozen = yield* startWorker({ SLOWNESS: "3 seconds", LEASE: "1 seconds" })
      yield* until((sql) => sql`SELECT 1 FROM started WHERE pid = ${frozen.pid}`)
      yield* frozen.signal("SIGSTOP")
      const other = yield* startWorker({ SLOWNESS: "1 millis", LEASE: "1 seconds" })
      yield* until((sql) => sql`SELECT 1 FROM effect WHERE pid = ${other.pid} AND effect = 'worked'`)
      yield* frozen.signal("SIGCONT")
      yield* send("b", "Writes")
      assert.deepStrictEqual(yield* settled, {
        effects: { "a followed": 1, "a worked": 1, "b followed": 1, "b worked": 1 },
        dead: 0
      })
      const rows = yield* sql`SELECT pid FROM effect WHERE id = 'a' AND effect = 'worked'`
      assert.deepStrictEqual(rows, [{ pid: other.pid }])
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("commits nothing even if nobody took its message meanwhile, and handles it anew", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* send("a", "Slow")
      const frozen = yield* startWorker({ SLOWNESS: "2 seconds", LEASE: "1 seconds" })
      yield* until((sql) => sql`SELECT 1 FROM started WHERE pid = ${frozen.pid}`)
      yield* frozen.signal("SIGSTOP")
      yield* until((sql) => sql`SELECT 1 FROM holdfast.lease WHERE until < clock_timestamp()`)
      yield* frozen.signal("SIGCONT")
      assert.deepStrictEqual(yield* settled, { effects: { "a followed": 1, "a worked": 1 }, dead: 0 })
      assert.strictEqual((yield* sql`SELECT 1 FROM started WHERE id = 'a'`).length, 2)
    }).pipe(Effect.provide(Arena))
  )
})

describe("backends that are terminated", () => {
  it.scopedLive("all of them, in the middle of handlers: nothing is lost, doubled or dead-lettered", () =>
    Effect.gen(function* () {
      const worker = yield* startWorker({ SLOWNESS: "300 millis", LEASE: "2 seconds" })
      const ids = Array.from({ length: 12 }, (_, n) => `m${String(n).padStart(2, "0")}`)
      for (const id of ids) yield* send(id, "Slow")
      for (let round = 0; round < 4; round++) {
        yield* until((sql) => sql`SELECT 1 FROM started HAVING count(*) > ${round * 3}`)
        yield* Effect.flatMap(
          SqlClient.SqlClient,
          (sql) => sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()`
        ).pipe(Effect.retry({ times: 20 }))
      }
      const { dead, effects } = yield* Effect.retry(settled, { times: 20 })
      assert.strictEqual(dead, 0)
      assert.deepStrictEqual(
        effects,
        Object.fromEntries(
          ids.flatMap((id) => [
            [`${id} followed`, 1],
            [`${id} worked`, 1]
          ])
        )
      )
      void worker
    }).pipe(Effect.provide(Arena))
  )
})

describe("a worker that is asked to stop", () => {
  it.scopedLive("finishes what it has, takes nothing new, and ends well", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const worker = yield* startWorker({ SLOWNESS: "1 seconds" })
      yield* send("a", "Slow")
      yield* until((sql) => sql`SELECT 1 FROM started WHERE id = 'a'`)
      yield* worker.signal("SIGTERM")
      yield* worker.ended
      assert.deepStrictEqual(yield* sql`SELECT id, effect FROM effect`, [{ id: "a", effect: "worked" }])
      assert.deepStrictEqual(yield* sql`SELECT crashes, tag FROM holdfast.waiting`, [{ crashes: 0, tag: "Worked" }])
      const leased =
        yield* sql`SELECT 1 FROM holdfast.lease WHERE EXISTS (SELECT FROM holdfast.queue q WHERE q.id BETWEEN from_id AND last_id)`
      assert.deepStrictEqual(leased, [])
    }).pipe(Effect.provide(Arena))
  )
})
