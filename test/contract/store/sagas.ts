import { assert } from "@effect/vitest"
import { Effect, Either, Option } from "effect"
import { advance, commit, day, deduplicate, fresh, hour, type It, minute, refused, sagaPut, using } from "./fixtures.ts"

const load = (put: { readonly saga: string; readonly id: string }) =>
  using((store) => Effect.map(store.loadSaga(put.saga, put.id), Option.getOrUndefined))

const remembered = (...keys: ReadonlyArray<string>) =>
  using((store) => Effect.map(store.remembered(keys), (found) => [...found].toSorted()))

export const sagas = (it: It): void => {
  it.effect("keeps a saga as it was last written", () =>
    Effect.gen(function* () {
      const put = sagaPut({ state: ' {"a": 1.0, "ä":"🚀"}', timers: { timeout: "t1", "other timer": "t2" } })
      const { _tag, ...first } = put
      assert.isUndefined(yield* load(put))
      yield* commit(put)
      assert.deepStrictEqual(yield* load(put), first)
      const second = { ...first, version: 2, state: "{}", completed: true, timers: {} }
      yield* commit({ _tag, ...second })
      assert.deepStrictEqual(yield* load(put), second)
    })
  )

  it.effect("keeps sagas of other names and ids apart", () =>
    Effect.gen(function* () {
      const [a, b] = [fresh("a"), fresh("b")]
      const puts = [
        sagaPut({ saga: a, id: b, state: "1" }),
        sagaPut({ saga: b, id: a, state: "2" }),
        sagaPut({ saga: a, id: a, state: "3" })
      ]
      yield* commit(...puts)
      for (const put of puts) assert.strictEqual((yield* load(put))?.state, put.state)
      assert.isUndefined(yield* load({ saga: b, id: b }))
    })
  )

  it.effect("refuses a version that is not the next, and keeps the stored state", () =>
    Effect.gen(function* () {
      const put = sagaPut({ state: "kept" })
      assert.strictEqual(yield* refused({ ...put, version: 2 }), "Conflict")
      yield* commit(put)
      yield* commit({ ...put, version: 2, state: "kept" })
      for (const version of [0, 1, 2, 4]) {
        assert.strictEqual(yield* refused({ ...put, version, state: "lost" }), "Conflict")
      }
      const row = yield* load(put)
      assert.deepStrictEqual([row?.version, row?.state], [2, "kept"])
      yield* commit({ ...put, version: 3 })
    })
  )

  for (const version of [1, 2]) {
    it.effect(`lets one of many writers of version ${version} win`, () =>
      Effect.gen(function* () {
        const put = sagaPut()
        if (version === 2) yield* commit(put)
        const outcomes = yield* Effect.forEach(
          Array.from({ length: 10 }, (_, writer) => ({ ...put, version, state: String(writer) })),
          (write) => Effect.either(Effect.as(commit(write), write.state)),
          { concurrency: "unbounded" }
        )
        const won = outcomes.filter(Either.isRight).map((outcome) => outcome.right)
        assert.lengthOf(won, 1)
        assert.isTrue(outcomes.filter(Either.isLeft).every((outcome) => outcome.left.reason === "Conflict"))
        assert.strictEqual((yield* load(put))?.state, won[0])
      })
    )
  }

  it.effect("remembers keys for their windows, and then forgets them", () =>
    Effect.gen(function* () {
      const [short, long, never] = [fresh("a"), fresh("b"), fresh("c")]
      yield* commit(deduplicate(short, 10 * minute), deduplicate(long, day))
      assert.deepStrictEqual(yield* remembered(short, long, never), [short, long].toSorted())
      assert.deepStrictEqual(yield* remembered(), [])
      yield* advance(5 * minute)
      assert.strictEqual(yield* refused(deduplicate(short)), "Conflict")
      yield* advance(hour)
      assert.deepStrictEqual(yield* remembered(short, long, never), [long])
      assert.strictEqual(yield* refused(deduplicate(long)), "Conflict")
      yield* commit(deduplicate(short))
      assert.strictEqual(yield* refused(deduplicate(short)), "Conflict")
    })
  )

  it.effect("lets one of many units win that remember the same key at once", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      const outcomes = yield* Effect.all(
        Array.from({ length: 10 }, () => Effect.either(commit(deduplicate(key)))),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(outcomes.filter(Either.isRight), 1)
      assert.isTrue(outcomes.filter(Either.isLeft).every((outcome) => outcome.left.reason === "Conflict"))
    })
  )
}
