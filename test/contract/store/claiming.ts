import { assert } from "@effect/vitest"
import { Effect } from "effect"
import {
  acknowledge,
  advance,
  after,
  claim,
  claimOne,
  commit,
  type Features,
  fresh,
  type It,
  ids,
  minute,
  retry,
  send,
  sent,
  using
} from "./fixtures.ts"

export const claiming = (it: It, features: Features): void => {
  it.effect("delivers a message as it was sent, for the first time", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const write = send(channel)
      const headers = { correlationId: "c", "x-näme": "välue 🚀", empty: "" }
      const sentEnvelope = { ...write.envelope, tag: "shop/Placed", endpoint: "Mail", headers }
      const before = yield* using((store) => store.now)
      yield* commit({ ...write, envelope: sentEnvelope })
      const delivery = yield* claimOne(channel)
      const now = yield* using((store) => store.now)

      assert.deepStrictEqual(delivery.envelope, sentEnvelope)
      assert.strictEqual(delivery.lease.channel, channel)
      assert.strictEqual(delivery.crashes, 0)
      assert.isFalse(delivery.undelayed)
      assert.isTrue(before <= delivery.availableAt && delivery.availableAt <= delivery.claimedAt)
      assert.isTrue(delivery.claimedAt <= now)
    })
  )

  for (const payload of [
    '{"a":1}',
    ' { "b" : 1.0, "a":\t1e400 }\n',
    '{"cut',
    "",
    "\\u0000 'quoted' \"$1\" \\",
    "🚀 ä"
  ]) {
    it.effect(`keeps a payload byte for byte: ${JSON.stringify(payload)}`, () =>
      Effect.gen(function* () {
        const channel = fresh("orders")
        const write = send(channel)
        yield* commit({ ...write, envelope: { ...write.envelope, payload } })
        assert.strictEqual((yield* claimOne(channel)).envelope.payload, payload)
      })
    )
  }

  it.effect("claims higher priorities first, and within one the oldest first", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const sends = [0, 5, -1, 5, 0, 9].map((priority) => send(channel, { priority }))
      for (const write of sends) yield* commit(write)
      const inOrder = [5, 1, 3, 0, 4, 2].map((index) => sends[index]!.envelope.id)
      assert.deepStrictEqual(ids(yield* claim(channel)), inOrder)
    })
  )

  it.effect("keeps the order of the sends of one unit", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const expected = yield* sent(channel, 1_000)
      const claimed: Array<string> = []
      for (let batch = 0; batch < 4; batch++) claimed.push(...ids(yield* claim(channel, 250)))
      assert.deepStrictEqual(claimed, expected)
      assert.isEmpty(yield* claim(channel))
    })
  )

  it.effect("acknowledges 1,000 messages in one unit", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1_000)
      const deliveries = yield* claim(channel, 1_000)
      yield* commit(...deliveries.map(acknowledge))
      assert.deepStrictEqual(yield* using((store) => store.depth(channel)), { ready: 0, scheduled: 0 })
    })
  )

  it.effect("claims no more than the limit, and the rest the next time", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const expected = yield* sent(channel, 3)
      assert.deepStrictEqual(ids(yield* claim(channel, 2)), expected.slice(0, 2))
      assert.deepStrictEqual(ids(yield* claim(channel, 2)), expected.slice(2))
      assert.isEmpty(yield* claim(channel, 2))
    })
  )

  it.effect("never gives one message to two who claim at once", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const expected = yield* sent(channel, 100)
      const batches = yield* Effect.forEach(Array.from({ length: 30 }), () => claim(channel, 7), { concurrency: 8 })
      const rest = yield* claim(channel, 100)
      assert.deepStrictEqual(ids([...batches.flat(), ...rest]).toSorted(), expected.toSorted())
    })
  )

  it.effect("gives nobody the messages of another channel", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      assert.isEmpty(yield* claim(fresh("orders")))
      yield* claimOne(channel)
    })
  )

  it.effect("never delivers an acknowledged message again", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      yield* commit(acknowledge(yield* claimOne(channel)))
      yield* advance(2 * minute)
      assert.isEmpty(yield* claim(channel))
    })
  )

  it.effect("retries after a while, with the history of the failures and the next attempt", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      const first = yield* claimOne(channel)
      const failures = [
        { at: 1_700_000_000_000, error: "no stöck 🚀" },
        { at: 1_700_000_001_000, error: "" }
      ]
      yield* commit(retry(first, 10 * minute, failures[0]!))
      yield* advance(5 * minute)
      assert.isEmpty(yield* claim(channel))
      yield* advance(6 * minute)
      const second = yield* claimOne(channel)
      assert.deepStrictEqual(second.envelope, { ...first.envelope, failures: failures.slice(0, 1), attempt: 2 })
      assert.isAtLeast(second.availableAt, first.claimedAt + 10 * minute)
      assert.strictEqual(second.crashes, 0)

      yield* commit(retry(second, 0, failures[1]!))
      const third = yield* claimOne(channel)
      assert.deepStrictEqual(third.envelope, { ...first.envelope, failures, attempt: 3 })
    })
  )

  it.effect("counts failures and lost consumers as attempts, and keeps the latter over a retry", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      yield* claimOne(channel)
      yield* advance(2 * minute)
      const second = yield* claimOne(channel)
      assert.deepStrictEqual([second.crashes, second.envelope.attempt], [1, 2])
      yield* commit(retry(second, 0, { at: 1, error: "no" }))
      const third = yield* claimOne(channel)
      assert.deepStrictEqual([third.crashes, third.envelope.attempt], [1, 3])
      yield* advance(2 * minute)
      const fourth = yield* claimOne(channel)
      assert.deepStrictEqual([fourth.crashes, fourth.envelope.attempt], [2, 4])
    })
  )

  it.effect("counts ready and claimed messages together, and those that wait for their time", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const depth = using((store) => store.depth(channel))
      assert.deepStrictEqual(yield* depth, { ready: 0, scheduled: 0 })
      yield* sent(channel, 2)
      yield* commit(send(channel, { due: after(10 * minute) }))
      yield* sent(fresh("orders"), 1)
      assert.deepStrictEqual(yield* depth, { ready: 2, scheduled: 1 })
      const [first, second] = yield* claim(channel)
      assert.deepStrictEqual(yield* depth, { ready: 2, scheduled: 1 })
      yield* commit(acknowledge(first!))
      yield* commit(retry(second!, 10 * minute))
      assert.deepStrictEqual(yield* depth, { ready: 0, scheduled: 2 })
    })
  )

  if (features.frozenClock)
    it.effect("reads every time from its own clock", () =>
      Effect.gen(function* () {
        const channel = fresh("orders")
        yield* advance(minute)
        const now = yield* using((store) => store.now)
        yield* sent(channel, 1)
        yield* advance(minute)
        const { availableAt, claimedAt } = yield* claimOne(channel)
        assert.deepStrictEqual([availableAt, claimedAt], [now, now + minute])
      })
    )

  it.effect("moves its clock when told", () =>
    Effect.gen(function* () {
      const before = yield* using((store) => store.now)
      yield* advance(minute)
      assert.isAtLeast(yield* using((store) => store.now), before + minute)
    })
  )
}
