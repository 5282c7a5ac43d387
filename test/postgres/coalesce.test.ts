import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { coalesce } from "./internal.ts"

/** Lets all fibers run as far as they can. */
const quiet = Effect.repeatN(Effect.yieldNow(), 50)

/** Statements that end when they are let go, in their order. One with a bad question in it is refused. */
const make = Effect.gen(function* () {
  const groups: Array<ReadonlyArray<string>> = []
  const ends: Array<Deferred.Deferred<void>> = []
  const ask = yield* coalesce(
    (questions: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        const end = yield* Deferred.make<void>()
        groups.push(questions)
        ends.push(end)
        yield* Deferred.await(end)
        if (questions.includes("away")) return yield* Effect.fail("away")
        if (questions.includes("bad")) return yield* Effect.fail("refused")
        return questions.map((question) => `${question}!`)
      }),
    (error) => error === "refused"
  )
  const send = (question: string) => Effect.zipLeft(Effect.fork(ask(question)), quiet)
  const end = (group: number) => Effect.zipRight(Deferred.succeed(ends[group]!, undefined), quiet)
  return { ask, end, groups, send }
})

describe("questions to the database", () => {
  it.effect("that come alone leave at once; those that come meanwhile leave together", () =>
    Effect.gen(function* () {
      const { end, groups, send } = yield* make
      const fibers = yield* Effect.forEach(["a", "b", "c", "d"], send)
      assert.deepStrictEqual(groups, [["a"], ["b"]])
      yield* end(0)
      assert.deepStrictEqual(groups, [["a"], ["b"], ["c", "d"]])
      yield* Effect.zipRight(end(1), end(2))
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), ["a!", "b!", "c!", "d!"])
    })
  )

  it.effect("that are asked in one turn leave together", () =>
    Effect.gen(function* () {
      const { ask, end, groups } = yield* make
      const fiber = yield* Effect.fork(Effect.forEach(["a", "b", "c"], ask, { concurrency: "unbounded" }))
      yield* quiet
      assert.deepStrictEqual(groups, [["a", "b", "c"]])
      yield* end(0)
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["a!", "b!", "c!"])
    })
  )

  it.effect("do not fail for what another asks, but all of them when the database is away", () =>
    Effect.gen(function* () {
      const { ask, end, groups } = yield* make
      const all = (questions: ReadonlyArray<string>) =>
        Effect.fork(Effect.forEach(questions, (question) => Effect.exit(ask(question)), { concurrency: "unbounded" }))
      const mixed = yield* all(["a", "bad", "c"])
      yield* quiet
      for (let group = 0; group < 4; group++) yield* end(group)
      assert.deepStrictEqual(groups, [["a", "bad", "c"], ["a"], ["bad"], ["c"]])
      assert.deepStrictEqual(yield* Fiber.join(mixed), [Exit.succeed("a!"), Exit.fail("refused"), Exit.succeed("c!")])
      const none = yield* all(["a", "away"])
      yield* quiet
      yield* end(4)
      assert.deepStrictEqual(yield* Fiber.join(none), [Exit.fail("away"), Exit.fail("away")])
    })
  )

  it.effect("go on when one who asked is interrupted", () =>
    Effect.gen(function* () {
      const { end, groups, send } = yield* make
      const fiber = yield* send("a")
      yield* Fiber.interrupt(fiber)
      yield* end(0)
      const next = yield* send("b")
      assert.deepStrictEqual(groups, [["a"], ["b"]])
      yield* end(1)
      assert.strictEqual(yield* Fiber.join(next), "b!")
    })
  )
})
