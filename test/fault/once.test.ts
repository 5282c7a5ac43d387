import { SqlClient } from "@effect/sql"
import { assert, describe, it } from "@effect/vitest"
import { CommandBus } from "@holdfast/core"
import { Effect } from "effect"
import { Arena, settled, start, until } from "./harness.ts"
import { Book } from "./once.ts"

const answers = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  Effect.map(sql<{ pid: number; answer: string }>`SELECT pid, answer FROM answer`, (rows) =>
    Object.fromEntries(rows.map(({ answer, pid }) => [pid, answer]))
  )
)

const effects = Effect.flatMap(SqlClient.SqlClient, (sql) => sql<{ pid: number }>`SELECT pid FROM effect`)

const working = until((sql) => sql`SELECT 1 FROM started`)

describe("processes that send with one key", () => {
  it.scopedLive("do it once, and all get the answer of who did it", () =>
    Effect.gen(function* () {
      const payers = yield* Effect.all(Array.from({ length: 4 }, () => start("payer", { SLOWNESS: "1 seconds" })))
      for (const payer of payers) assert.strictEqual(yield* payer.ended, 0)
      const [done, ...others] = yield* effects
      assert.deepStrictEqual(others, [])
      const answer = `paid by ${done!.pid}`
      assert.deepStrictEqual(yield* answers, Object.fromEntries(payers.map(({ pid }) => [pid, answer])))
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("all get the declared error of who did it, and nothing of what it did", () =>
    Effect.gen(function* () {
      const payers = yield* Effect.all(
        Array.from({ length: 3 }, () => start("payer", { END: "Declines", SLOWNESS: "1 seconds" }))
      )
      for (const payer of payers) assert.strictEqual(yield* payer.ended, 0)
      assert.deepStrictEqual(yield* effects, [])
      const sql = yield* SqlClient.SqlClient
      const [first, ...others] = yield* sql<{ pid: number }>`SELECT pid FROM started`
      assert.deepStrictEqual(others, [])
      const answer = `declined by ${first!.pid}`
      assert.deepStrictEqual(yield* answers, Object.fromEntries(payers.map(({ pid }) => [pid, answer])))
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("take over from one that was killed while it was at it, when its claim has ended", () =>
    Effect.gen(function* () {
      const first = yield* start("payer", { SLOWNESS: "10 minutes" })
      yield* working
      const second = yield* start("payer")
      yield* first.signal("SIGKILL")
      assert.strictEqual(yield* second.ended, 0)
      assert.deepStrictEqual(yield* answers, { [second.pid]: `paid by ${second.pid}` })
      assert.deepStrictEqual(yield* effects, [{ pid: second.pid }])
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("get the answer of one that was killed as soon as it had committed", () =>
    Effect.gen(function* () {
      const first = yield* start("payer", { CRASH_AT: "after-commit" })
      assert.strictEqual(yield* first.ended, "SIGKILL")
      const second = yield* start("payer")
      assert.strictEqual(yield* second.ended, 0)
      assert.deepStrictEqual(yield* answers, { [second.pid]: `paid by ${first.pid}` })
      assert.deepStrictEqual(yield* effects, [{ pid: first.pid }])
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("try again after one that died of a bug, at once", () =>
    Effect.gen(function* () {
      const first = yield* start("payer", { END: "Dies", SLOWNESS: "1 seconds" })
      yield* working
      const second = yield* start("payer")
      assert.strictEqual(yield* first.ended, 0)
      assert.strictEqual(yield* second.ended, 0)
      assert.deepStrictEqual(yield* answers, { [first.pid]: "Die", [second.pid]: `paid by ${second.pid}` })
      assert.deepStrictEqual(yield* effects, [{ pid: second.pid }])
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("go on after one that was frozen for longer than its claim: it answers what they did", () =>
    Effect.gen(function* () {
      const frozen = yield* start("payer", { SLOWNESS: "1 seconds" })
      yield* working
      yield* frozen.signal("SIGSTOP")
      const second = yield* start("payer")
      assert.strictEqual(yield* second.ended, 0)
      yield* frozen.signal("SIGCONT")
      assert.strictEqual(yield* frozen.ended, 0)
      const answer = `paid by ${second.pid}`
      assert.deepStrictEqual(yield* answers, { [frozen.pid]: answer, [second.pid]: answer })
      assert.deepStrictEqual(yield* effects, [{ pid: second.pid }])
    }).pipe(Effect.provide(Arena))
  )
})

describe("workers that meet two messages of one key at once", () => {
  const both = (fails: boolean) =>
    Effect.gen(function* () {
      yield* CommandBus.send(new Book({ book: "a", fails }))
      const first = yield* start("booker", { WAITS: "yes" })
      yield* until((sql) => sql`SELECT 1 FROM started WHERE pid = ${first.pid}`)
      yield* CommandBus.send(new Book({ book: "a", fails: false }))
      const second = yield* start("booker")
      yield* until((sql) => sql`SELECT 1 FROM effect WHERE pid = ${second.pid}`)
      yield* Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO started (id) VALUES ('go')`)
      return second
    })

  it.scopedLive("handle one of them", () =>
    Effect.gen(function* () {
      yield* both(false)
      assert.deepStrictEqual(yield* settled, { effects: { "a booked": 1 }, dead: 0 })
    }).pipe(Effect.provide(Arena))
  )

  it.scopedLive("handle the other when one fails", () =>
    Effect.gen(function* () {
      const second = yield* both(true)
      assert.deepStrictEqual(yield* settled, { effects: { "a booked": 1 }, dead: 1 })
      assert.deepStrictEqual(yield* effects, [{ pid: second.pid }])
    }).pipe(Effect.provide(Arena))
  )
})
