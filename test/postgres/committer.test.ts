import { assert, describe, it } from "@effect/vitest"
import { type MessageStore, MessagingError } from "@holdfast/core"
import { Deferred, Effect, Fiber, Option } from "effect"
import { makeCommitter } from "./internal.ts"

type Units = ReadonlyArray<ReadonlyArray<MessageStore.Write>>

const unit = (key: string): Units => [[{ _tag: "Deduplicate", key, windowMillis: 1 }]]

const keyOf = (units: Units): ReadonlyArray<string> =>
  units.map(([write]) => (write?._tag === "Deduplicate" ? write.key : ""))

const refused = new MessagingError.MessagingError({ reason: "Conflict", detail: "refused" })

/** Lets all fibers run as far as they can. */
const quiet = Effect.repeatN(Effect.yieldNow(), 50)

/** A committer whose transactions end when they are let go, in their order. */
const make = Effect.gen(function* () {
  const groups: Array<ReadonlyArray<string>> = []
  const ends: Array<Deferred.Deferred<void>> = []
  const commit = yield* makeCommitter((units) =>
    Effect.gen(function* () {
      const end = yield* Deferred.make<void>()
      groups.push(keyOf(units))
      ends.push(end)
      yield* Deferred.await(end)
      return keyOf(units).map((key) => (key.startsWith("bad") ? Option.some(refused) : Option.none()))
    })
  )
  const send = (key: string) => Effect.zipLeft(Effect.fork(commit(unit(key))), quiet)
  const end = (group: number) => Effect.zipRight(Deferred.succeed(ends[group]!, undefined), quiet)
  return { groups, send, end, commit }
})

describe("group commit", () => {
  it.effect("lets one that comes alone leave at once", () =>
    Effect.gen(function* () {
      const { end, groups, send } = yield* make
      const fiber = yield* send("a")
      assert.deepStrictEqual(groups, [["a"]])
      yield* end(0)
      assert.deepStrictEqual(yield* Fiber.join(fiber), [Option.none()])
    })
  )

  it.effect("lets those leave together that came while commits were on their way, and answers each its own", () =>
    Effect.gen(function* () {
      const { end, groups, send } = yield* make
      const first = yield* Effect.forEach(["a", "b"], send)
      const rest = yield* Effect.forEach(["c", "bad", "e"], send)
      assert.deepStrictEqual(groups, [["a"], ["b"]])
      yield* end(0)
      assert.deepStrictEqual(groups, [["a"], ["b"], ["c", "bad", "e"]])
      yield* Effect.zipRight(end(1), end(2))
      const outcomes = yield* Effect.forEach([...first, ...rest], Fiber.join)
      assert.deepStrictEqual(
        outcomes.map(([outcome]) => Option.isNone(outcome!)),
        [true, true, true, false, true]
      )
    })
  )

  it.effect("goes on with the others while one commit waits for a lock", () =>
    Effect.gen(function* () {
      const { end, groups, send } = yield* make
      yield* send("stuck")
      const b = yield* send("b")
      const c = yield* send("c")
      yield* end(1)
      yield* Fiber.join(b)
      yield* end(2)
      yield* Fiber.join(c)
      assert.deepStrictEqual(groups, [["stuck"], ["b"], ["c"]])
      yield* end(0)
    })
  )

  it.effect("bounds a transaction, and never takes one caller's units apart", () =>
    Effect.gen(function* () {
      const { commit, end, groups, send } = yield* make
      yield* Effect.forEach(["a", "b"], send)
      const many = Array.from({ length: 400 }, (_, n) => unit(`${n}`)[0]!)
      yield* Effect.fork(commit(many))
      yield* Effect.fork(commit(many))
      yield* Effect.fork(commit([...many, ...many]))
      yield* quiet
      for (let group = 0; group < 5; group++) yield* end(group)
      assert.deepStrictEqual(
        groups.map((keys) => keys.length),
        [1, 1, 400, 400, 800]
      )
    })
  )

  it.effect("is nobody's child: a caller that waits for its fibers waits for its own units alone", () =>
    Effect.gen(function* () {
      const { commit, end, groups, send } = yield* make
      const caller = yield* Effect.fork(Effect.awaitAllChildren(commit(unit("a"))))
      yield* quiet
      const rest = yield* Effect.forEach(["b", "c"], send)
      yield* end(0)
      const ended = yield* Fiber.poll(caller)
      yield* Effect.forEach([1, 2], end)
      yield* Effect.forEach(rest, Fiber.join)
      assert.deepStrictEqual(groups, [["a"], ["b"], ["c"]])
      assert.isTrue(Option.isSome(ended))
    })
  )

  it.effect("tells all of a group of a defect, and works on", () =>
    Effect.gen(function* () {
      let broken = true
      const commit = yield* makeCommitter((units) =>
        broken ? Effect.die("broken") : Effect.succeed(units.map(() => Option.none()))
      )
      assert.strictEqual((yield* Effect.exit(commit(unit("a"))))._tag, "Failure")
      broken = false
      assert.deepStrictEqual(yield* commit(unit("b")), [Option.none()])
    })
  )
})
