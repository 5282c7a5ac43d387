import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import {
  acknowledge,
  advance,
  claim,
  claimOne,
  commit,
  fresh,
  type It,
  ids,
  minute,
  park,
  refused,
  retry,
  second,
  sent,
  using
} from "./fixtures.ts"

/** Everything that ends a claim. */
const endings: Readonly<Record<string, (delivery: MessageStore.Delivery) => MessageStore.Write>> = {
  Acknowledge: acknowledge,
  Retry: (delivery) => retry(delivery, 0, { at: 1, error: "no" }),
  Park: (delivery) => park(delivery)
}

/** One claimed message on a channel of its own. */
const claimed = Effect.gen(function* () {
  const channel = fresh("orders")
  yield* sent(channel, 1)
  return { channel, delivery: yield* claimOne(channel) }
})

const renew = (...deliveries: ReadonlyArray<MessageStore.Delivery>) =>
  using((store) =>
    store.renew(
      deliveries.map(({ lease }) => lease),
      minute
    )
  )

const release = (afterMillis: number, ...deliveries: ReadonlyArray<MessageStore.Delivery>) =>
  using((store) =>
    store.release(
      deliveries.map(({ lease }) => lease),
      afterMillis
    )
  )

export const leases = (it: It): void => {
  it.effect("keeps a claimed message from others until the lease runs out", () =>
    Effect.gen(function* () {
      const { channel } = yield* claimed
      yield* advance(30 * second)
      assert.isEmpty(yield* claim(channel))
      yield* advance(minute)
      yield* claimOne(channel)
    })
  )

  it.effect("gives a message whose lease ran out back to its place, and counts the lost consumer", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const expected = yield* sent(channel, 3)
      const [first] = yield* claim(channel, 1)
      yield* advance(2 * minute)
      const [again, ...others] = yield* claim(channel)
      assert.deepStrictEqual(ids([again!, ...others]), expected)
      assert.deepStrictEqual([first!.crashes, first!.envelope.attempt], [0, 1])
      assert.deepStrictEqual([again!.crashes, again!.envelope.attempt], [1, 2])
      assert.deepStrictEqual(
        others.map((_) => _.crashes),
        [0, 0]
      )
    })
  )

  it.effect("burns nothing of what was claimed ahead, until it is started", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const expected = yield* sent(channel, 1)
      const ahead = using((store) => store.claim({ channel, limit: 1, leaseMillis: minute, owner: "w", ahead: true }))
      const start = (...leases: ReadonlyArray<MessageStore.Lease>) => using((store) => store.started(leases))
      yield* ahead
      yield* advance(2 * minute)
      const [second] = yield* ahead
      assert.deepStrictEqual([second!.crashes, second!.envelope.attempt], [0, 1])
      yield* start(second!.lease)
      yield* advance(2 * minute)
      const [third] = yield* ahead
      assert.deepStrictEqual([third!.crashes, third!.envelope.attempt], [1, 2])
      yield* start(second!.lease)
      yield* start()
      yield* advance(2 * minute)
      const [fourth] = yield* ahead
      assert.strictEqual(fourth!.crashes, 1)
      yield* start(fourth!.lease)
      yield* commit(acknowledge(fourth!))
      yield* start(fourth!.lease)
      assert.deepStrictEqual(ids([fourth!]), expected)
      assert.isEmpty(yield* claim(channel))
    })
  )

  it.effect("raises the token with every claim", () =>
    Effect.gen(function* () {
      const { channel, delivery } = yield* claimed
      const tokens = [delivery.lease.token]
      yield* release(0, delivery)
      const second = yield* claimOne(channel)
      tokens.push(second.lease.token)
      yield* commit(retry(second, 0))
      tokens.push((yield* claimOne(channel)).lease.token)
      yield* advance(2 * minute)
      tokens.push((yield* claimOne(channel)).lease.token)
      const numbers = tokens.map(BigInt)
      assert.isTrue(
        numbers.every((token, index) => index === 0 || token > numbers[index - 1]!),
        tokens.join(" < ")
      )
    })
  )

  for (const [name, ending] of Object.entries(endings)) {
    it.effect(`${name} fails the unit once another consumer has the message, whose claim holds`, () =>
      Effect.gen(function* () {
        const { channel, delivery } = yield* claimed
        yield* advance(2 * minute)
        const second = yield* claimOne(channel)
        assert.strictEqual(yield* refused(ending(delivery)), "LeaseLost")
        assert.isEmpty(yield* claim(channel))
        yield* commit(ending(second))
      })
    )

    it.effect(`${name} fails the unit once the lease ran out, even if nobody else has the message`, () =>
      Effect.gen(function* () {
        const { channel, delivery } = yield* claimed
        yield* advance(2 * minute)
        assert.strictEqual(yield* refused(ending(delivery)), "LeaseLost")
        assert.strictEqual((yield* claimOne(channel)).crashes, 1)
      })
    )

    it.effect(`${name} ends the claim: a second ending fails`, () =>
      Effect.gen(function* () {
        const { delivery } = yield* claimed
        yield* commit(ending(delivery))
        for (const again of Object.values(endings)) {
          assert.strictEqual(yield* refused(again(delivery)), "LeaseLost")
        }
      })
    )
  }

  it.effect("says in a sentence that the lease was lost", () =>
    Effect.gen(function* () {
      const { delivery } = yield* claimed
      yield* advance(2 * minute)
      const error = yield* Effect.flip(commit(acknowledge(delivery)))
      assert.match(error.detail, /^[A-Z].* .* .*/)
      assert.isFalse(error.isRetryable)
    })
  )

  it.effect("does not take a token for one that only looks like it", () =>
    Effect.gen(function* () {
      const { delivery } = yield* claimed
      const token = String(BigInt(delivery.lease.token) + 1n)
      const forged = { ...delivery, lease: { ...delivery.lease, token } }
      assert.strictEqual(yield* refused(acknowledge(forged)), "LeaseLost")
      yield* commit(acknowledge(delivery))
    })
  )

  it.effect("renews a lease, from now on", () =>
    Effect.gen(function* () {
      const { channel, delivery } = yield* claimed
      for (let times = 0; times < 4; times++) {
        yield* advance(30 * second)
        assert.isEmpty(yield* renew(delivery))
      }
      assert.isEmpty(yield* claim(channel))
      yield* commit(acknowledge(delivery))
    })
  )

  it.effect("counts the lost consumer when a renewed lease runs out", () =>
    Effect.gen(function* () {
      const { channel, delivery } = yield* claimed
      yield* renew(delivery)
      yield* advance(2 * minute)
      assert.strictEqual((yield* claimOne(channel)).crashes, 1)
    })
  )

  it.effect("answers the leases that were lost, and renews the others", () =>
    Effect.gen(function* () {
      const lost = yield* claimed
      const taken = yield* claimed
      yield* advance(2 * minute)
      yield* claimOne(taken.channel)
      const settled = yield* claimed
      yield* commit(acknowledge(settled.delivery))
      const kept = yield* claimed
      const all = [lost, kept, taken, settled].map((_) => _.delivery)
      const answer = yield* renew(...all)
      const expected = [lost, taken, settled].map((_) => _.delivery.lease)
      assert.sameDeepMembers([...answer], expected)
      yield* commit(acknowledge(kept.delivery))
    })
  )

  it.effect("does not bring a lease that ran out back to life", () =>
    Effect.gen(function* () {
      const { channel, delivery } = yield* claimed
      yield* advance(2 * minute)
      assert.deepStrictEqual(yield* renew(delivery), [delivery.lease])
      assert.strictEqual(yield* refused(acknowledge(delivery)), "LeaseLost")
      yield* claimOne(channel)
    })
  )

  it.effect("releases a message to its place, without counting an attempt", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const expected = yield* sent(channel, 3)
      const [first] = yield* claim(channel, 1)
      yield* release(0, first!)
      const deliveries = yield* claim(channel)
      assert.deepStrictEqual(ids(deliveries), expected)
      assert.deepStrictEqual([deliveries[0]!.crashes, deliveries[0]!.envelope.attempt], [0, 1])
    })
  )

  it.effect("releases a message for later, without counting an attempt", () =>
    Effect.gen(function* () {
      const { channel, delivery } = yield* claimed
      yield* release(10 * minute, delivery)
      yield* advance(5 * minute)
      assert.isEmpty(yield* claim(channel))
      yield* advance(6 * minute)
      const again = yield* claimOne(channel)
      assert.deepStrictEqual(again.envelope, delivery.envelope)
      assert.strictEqual(again.crashes, 0)
    })
  )

  it.effect("keeps failures and crashes over a release", () =>
    Effect.gen(function* () {
      const { channel } = yield* claimed
      yield* advance(2 * minute)
      yield* commit(retry(yield* claimOne(channel), 0, { at: 7, error: "no" }))
      yield* release(0, yield* claimOne(channel))
      yield* release(minute, yield* claimOne(channel))
      yield* advance(2 * minute)
      const again = yield* claimOne(channel)
      assert.deepStrictEqual([again.crashes, again.envelope.attempt], [1, 3])
      assert.deepStrictEqual(again.envelope.failures, [{ at: 7, error: "no" }])
    })
  )

  for (const afterMillis of [0, minute]) {
    it.effect(`leaves a lost lease alone when it is released after ${afterMillis} milliseconds`, () =>
      Effect.gen(function* () {
        const { channel, delivery } = yield* claimed
        yield* advance(2 * minute)
        const taker = yield* claimOne(channel)
        yield* release(afterMillis, delivery)
        assert.isEmpty(yield* claim(channel))
        yield* commit(acknowledge(taker))
      })
    )
  }

  it.effect("renews and releases nothing when there is no lease", () =>
    Effect.gen(function* () {
      assert.isEmpty(yield* renew())
      yield* release(0)
      yield* release(minute)
    })
  )

  it.effect("fails what the holder of a released lease still wants to write", () =>
    Effect.gen(function* () {
      const { delivery } = yield* claimed
      yield* release(0, delivery)
      assert.strictEqual(yield* refused(acknowledge(delivery)), "LeaseLost")
    })
  )
}
