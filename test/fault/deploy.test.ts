import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { sendAfter, sendBefore, subscribeAfter } from "./deploy.ts"
import { Arena, settled, start, until } from "./harness.ts"

const rounds = (count: number) => Array.from({ length: count }, (_, index) => `${index}`)

describe("a rolling deploy", () => {
  it.scopedLive(
    "loses nothing, dead-letters nothing and does nothing twice, whichever build meets what",
    () =>
      Effect.gen(function* () {
        const old = yield* Effect.all([1, 2].map(() => start("deployed", { BUILD: "before" })))
        yield* until((sql) => sql`SELECT 1 FROM holdfast.subscription WHERE endpoint = 'First'`)
        yield* subscribeAfter

        // the new web processes are there first: only old workers meet what they send
        const early = rounds(10).map((round) => `early ${round}`)
        yield* Effect.forEach(early, sendAfter, { concurrency: 5, discard: true })
        yield* until(
          (sql) => sql`SELECT 1 FROM holdfast.deduplication WHERE key LIKE '["unknown","waits",%' HAVING count(*) >= 30`
        )

        // then both builds, of senders and of workers, under load
        const load = rounds(25)
        const sending = yield* Effect.fork(
          Effect.forEach(load, (id) => Effect.zipRight(Effect.all([sendBefore(id), sendAfter(id)]), Effect.sleep(20)), {
            concurrency: 4,
            discard: true
          })
        )
        yield* start("deployed", { BUILD: "after" })
        yield* start("deployed", { BUILD: "after" })
        yield* Fiber.join(sending)

        // the old workers go once what only they know is done
        yield* until((sql) => sql`SELECT 1 FROM effect WHERE id LIKE 'old %' HAVING count(*) >= ${load.length}`)
        for (const worker of old) yield* worker.signal("SIGTERM")
        for (const worker of old) yield* worker.ended

        const { dead, effects } = yield* Effect.retry(settled, { times: 2 })
        const expected = [
          ...load.flatMap((id) => [`v1 ${id} worked`, `before ${id} first`, `before ${id} second`]),
          ...load.map((id) => `old ${id} worked`),
          ...[...early, ...load].flatMap((id) => [
            `v2 ${id} worked`,
            `new ${id} worked`,
            `after ${id} first`,
            `after ${id} second`
          ])
        ]
        assert.deepStrictEqual(effects, Object.fromEntries(expected.toSorted().map((key) => [key, 1])))
        assert.strictEqual(dead, 0)
      }).pipe(Effect.provide(Arena)),
    120_000
  )
})
