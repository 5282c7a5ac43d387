import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect, Fiber } from "effect"
import {
  advance,
  commit,
  deduplicate,
  endsWithin,
  fresh,
  hour,
  type It,
  minute,
  refused,
  second,
  send,
  using
} from "./fixtures.ts"

const claimKey = (key: string, leaseMillis = minute) => using((store) => store.claimKey(key, leaseMillis))

/** Claims the key, which must be free. */
const taken = (key: string, leaseMillis = minute) =>
  Effect.map(claimKey(key, leaseMillis), (claim) =>
    claim._tag === "Claimed" ? claim.token : assert.fail("the key was answered already")
  )

const answer = (key: string, token: string, result: string): MessageStore.CompleteKey => ({
  _tag: "CompleteKey",
  key,
  token,
  result,
  windowMillis: hour
})

const completed = (result: string): MessageStore.KeyClaim => ({ _tag: "Completed", result })

const release = (key: string, token: string) => using((store) => store.releaseKey(key, token))

const complete = (key: string, token: string, result: string) =>
  using((store) => store.completeKey(key, token, result, hour))

export const keys = (it: It): void => {
  it.effect("gives a key to the first, and its unit's answer to those who come after", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      const result = ' {"total": 1.0, "ä":"🚀"}'
      yield* commit(answer(key, yield* taken(key), result))
      assert.deepStrictEqual(yield* claimKey(key), completed(result))
      assert.deepStrictEqual(yield* claimKey(key), completed(result))
      yield* taken(fresh("key"))
    })
  )

  it.effect("stores a declared answer outside of any unit", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      yield* complete(key, yield* taken(key), '"declared"')
      assert.deepStrictEqual(yield* claimKey(key), completed('"declared"'))
    })
  )

  it.effect("forgets an answer after its window", () =>
    Effect.gen(function* () {
      const [key, other] = [fresh("key"), fresh("key")]
      yield* commit(answer(key, yield* taken(key), "1"))
      yield* complete(other, yield* taken(other), "1")
      yield* advance(30 * minute)
      assert.deepStrictEqual(yield* claimKey(key), completed("1"))
      assert.deepStrictEqual(yield* claimKey(other), completed("1"))
      yield* advance(hour)
      yield* taken(key)
      yield* taken(other)
    })
  )

  it.effect("makes others wait until the key is answered", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      const token = yield* taken(key, 10 * hour)
      const waiting = yield* Effect.fork(claimKey(key))
      yield* advance(second)
      assert.isTrue((yield* waiting.poll)._tag === "None")
      yield* commit(answer(key, token, "1"))
      assert.deepStrictEqual(yield* endsWithin(hour, Fiber.join(waiting)), completed("1"))
    })
  )

  it.effect("gives the key to one who waits when it is released", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      const token = yield* taken(key, 10 * hour)
      const waiting = yield* Effect.fork(taken(key, 10 * hour))
      yield* advance(second)
      yield* release(key, token)
      yield* complete(key, yield* endsWithin(hour, Fiber.join(waiting)), "2")
      assert.deepStrictEqual(yield* claimKey(key), completed("2"))
    })
  )

  it.effect("gives the key to one who waits when the lease runs out", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      const first = yield* taken(key, 10 * minute)
      const second = yield* endsWithin(hour, taken(key, 10 * hour))
      assert.notStrictEqual(second, first)
      yield* commit(answer(key, second, "2"))
    })
  )

  it.effect("gives a key to one at a time, and all the rest the answer", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      let doing = 0
      const once = Effect.gen(function* () {
        const claim = yield* claimKey(key, 10 * hour)
        if (claim._tag === "Completed") return claim.result
        doing++
        yield* Effect.yieldNow()
        yield* complete(key, claim.token, "once")
        return claim._tag
      })
      const all = Effect.all(
        Array.from({ length: 10 }, () => once),
        { concurrency: "unbounded" }
      )
      const answers = yield* endsWithin(hour, all)
      assert.strictEqual(doing, 1)
      assert.deepStrictEqual(answers.toSorted(), ["Claimed", ...Array.from({ length: 9 }, () => "once")])
    })
  )

  it.effect("refuses the answer of one whose claim was lost, and takes that of the new holder", () =>
    Effect.gen(function* () {
      const [key, channel] = [fresh("key"), fresh("orders")]
      const late = yield* taken(key)
      yield* advance(2 * minute)
      const token = yield* taken(key)
      assert.strictEqual(yield* refused(send(channel), answer(key, late, "late")), "LeaseLost")
      assert.strictEqual((yield* Effect.flip(complete(key, late, "late"))).reason, "LeaseLost")
      assert.strictEqual((yield* using((store) => store.depth(channel))).ready, 0)
      yield* commit(send(channel), answer(key, token, "in time"))
      assert.deepStrictEqual(yield* claimKey(key), completed("in time"))
    })
  )

  it.effect("refuses a second answer, one to a released key and one to a key that nobody claimed", () =>
    Effect.gen(function* () {
      const [key, released, free] = [fresh("key"), fresh("key"), fresh("key")]
      const token = yield* taken(key)
      yield* complete(key, token, "1")
      assert.strictEqual(yield* refused(answer(key, token, "2")), "LeaseLost")
      assert.strictEqual((yield* Effect.flip(complete(key, token, "2"))).reason, "LeaseLost")
      assert.deepStrictEqual(yield* claimKey(key), completed("1"))

      const given = yield* taken(released)
      yield* release(released, given)
      assert.strictEqual(yield* refused(answer(released, given, "2")), "LeaseLost")
      assert.strictEqual(yield* refused(answer(free, token, "2")), "LeaseLost")
    })
  )

  it.effect("leaves a key alone when one releases it whose claim was lost or answered", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      const late = yield* taken(key)
      yield* advance(2 * minute)
      const token = yield* taken(key)
      yield* release(key, late)
      yield* complete(key, token, "1")
      yield* release(key, token)
      yield* release(fresh("key"), token)
      assert.deepStrictEqual(yield* claimKey(key), completed("1"))
    })
  )

  it.effect("leaves the claim to its holder when the unit with the answer fails", () =>
    Effect.gen(function* () {
      const [key, remembered] = [fresh("key"), fresh("key")]
      yield* commit(deduplicate(remembered))
      const token = yield* taken(key)
      assert.strictEqual(yield* refused(answer(key, token, "1"), deduplicate(remembered)), "Conflict")
      yield* commit(answer(key, token, "2"))
      assert.deepStrictEqual(yield* claimKey(key), completed("2"))
    })
  )

  it.effect("keeps idempotency keys apart from the keys of deduplication", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      yield* commit(deduplicate(key))
      yield* taken(key)
    })
  )
}
