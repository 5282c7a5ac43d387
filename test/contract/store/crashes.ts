import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import {
  acknowledge,
  advance,
  commit,
  envelope,
  fresh,
  type It,
  ids,
  minute,
  second,
  send,
  sent,
  using
} from "./fixtures.ts"

type Options = Partial<Parameters<MessageStore.Encoded["claim"]>[0]>

const claimAs = (channel: string, owner: string, options?: Options) =>
  using((store) => store.claim({ channel, limit: 10, leaseMillis: minute, owner, ...options }))

const started = (deliveries: ReadonlyArray<MessageStore.Delivery>) =>
  using((store) => store.started(deliveries.map(({ lease }) => lease)))

const settle = (deliveries: ReadonlyArray<MessageStore.Delivery>) =>
  Effect.forEach(deliveries, (delivery) => commit(acknowledge(delivery)))

const crashesOf = (deliveries: ReadonlyArray<MessageStore.Delivery>) => deliveries.map(({ crashes }) => crashes)

/** The consumer is lost. */
const lost = advance(2 * minute)

export const crashes = (it: It): void => {
  it.effect("burns nothing of several that a lost consumer had begun, and gives them out again in halves", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const all = yield* sent(channel, 4)
      assert.lengthOf(yield* claimAs(channel, "first"), 4)
      yield* lost
      const upper = yield* claimAs(channel, "second")
      const lower = yield* claimAs(channel, "third")
      assert.deepStrictEqual([ids(upper), ids(lower)], [all.slice(0, 2), all.slice(2)])
      assert.deepStrictEqual(crashesOf([...upper, ...lower]), [0, 0, 0, 0])
      yield* settle(upper)
      yield* lost
      const [one] = yield* claimAs(channel, "fourth")
      assert.deepStrictEqual([one!.envelope.id, one!.crashes], [all[2], 0])
      yield* lost
      const both = [...(yield* claimAs(channel, "fifth")), ...(yield* claimAs(channel, "sixth"))]
      assert.sameDeepMembers(
        both.map((delivery) => [delivery.envelope.id, delivery.crashes]),
        [
          [all[2], 1],
          [all[3], 0]
        ]
      )
      yield* settle(both)
      assert.isEmpty(yield* claimAs(channel, "seventh"))
    })
  )

  it.effect("gives out what may have ended a consumer apart from all else", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const suspects = yield* sent(channel, 2)
      yield* claimAs(channel, "first")
      yield* lost
      const others = yield* sent(channel, 2)
      const alone = yield* claimAs(channel, "second")
      assert.deepStrictEqual(ids(alone), suspects.slice(0, 1))
      assert.isEmpty(yield* claimAs(channel, "second"), "who has one gets nothing else")
      const other = yield* claimAs(channel, "third")
      assert.deepStrictEqual(ids(other), suspects.slice(1))
      const rest = yield* claimAs(channel, "fourth")
      assert.deepStrictEqual(ids(rest), others)
      yield* settle([...alone, ...other, ...rest])
    })
  )

  it.effect("gives a busy consumer nothing more while such messages wait, until it is free for them", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const suspects = yield* sent(channel, 2)
      yield* claimAs(channel, "first")
      yield* advance(30 * second)
      const [busy] = yield* sent(channel, 1)
      const own = yield* claimAs(channel, "second")
      assert.deepStrictEqual(ids(own), [busy!])
      yield* advance(45 * second)
      yield* sent(channel, 1)
      assert.isEmpty(yield* claimAs(channel, "second"))
      yield* settle(own)
      assert.deepStrictEqual(ids(yield* claimAs(channel, "second")), suspects.slice(0, 1))
    })
  )

  it.effect("knows all that a consumer had begun, also if its leases run out one after the other", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const all = yield* sent(channel, 2)
      yield* claimAs(channel, "first", { limit: 1 })
      yield* advance(30 * second)
      yield* claimAs(channel, "first", { limit: 1 })
      yield* advance(45 * second)
      const one = yield* claimAs(channel, "second")
      yield* settle(one)
      yield* advance(45 * second)
      const other = yield* claimAs(channel, "second")
      assert.deepStrictEqual(ids([...one, ...other]), all)
      assert.deepStrictEqual(crashesOf([...one, ...other]), [0, 0])
    })
  )

  it.effect("knows all that a consumer had begun, however many claims brought them", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const all = yield* sent(channel, 101)
      for (let index = 0; index < all.length; index++) yield* claimAs(channel, "first", { limit: 1 })
      yield* lost
      const again: Array<MessageStore.Delivery> = []
      for (let round = 0; again.length < all.length && round < 101; round++) {
        again.push(...(yield* claimAs(channel, `another ${round}`, { limit: 100 })))
      }
      assert.sameMembers(ids(again) as Array<string>, [...all])
      assert.deepStrictEqual(new Set(crashesOf(again)), new Set([0]))
    })
  )

  it.effect("counts a crash against a message that was alone, whatever was claimed ahead", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const all = yield* sent(channel, 4)
      yield* claimAs(channel, "first", { limit: 1 })
      yield* claimAs(channel, "first", { limit: 2, ahead: true })
      yield* claimAs(channel, "first", { limit: 1, ahead: true })
      yield* lost
      const again = yield* claimAs(channel, "second")
      assert.deepStrictEqual(ids(again), all)
      assert.deepStrictEqual(crashesOf(again), [1, 0, 0, 0])
    })
  )

  it.effect("takes what was claimed ahead for begun once it is started", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const all = yield* sent(channel, 3)
      yield* claimAs(channel, "first", { limit: 1, ahead: true })
      yield* started(yield* claimAs(channel, "first", { limit: 2, ahead: true }))
      yield* lost
      assert.deepStrictEqual(ids(yield* claimAs(channel, "second")), [all[1]])
      assert.deepStrictEqual(ids(yield* claimAs(channel, "third")), [all[2]])
      const rest = yield* claimAs(channel, "fourth")
      assert.deepStrictEqual([ids(rest), crashesOf(rest)], [[all[0]], [0]])
    })
  )

  it.effect("keeps the order of keys when it gives out one message after the other", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const keyed = (orderingKey: string) => send(channel, { envelope: envelope({ orderingKey }) })
      const sends = [keyed("a"), keyed("a"), keyed("b"), keyed("b")]
      yield* commit(...sends)
      const [a1, a2, b1, b2] = sends.map((each) => each.envelope.id)
      assert.sameMembers([...ids(yield* claimAs(channel, "first"))], [a1!, b1!])
      yield* lost
      const one = yield* claimAs(channel, "second")
      const other = yield* claimAs(channel, "third")
      assert.deepStrictEqual(ids([...one, ...other]), [a1, b1])
      assert.isEmpty(yield* claimAs(channel, "fourth"))
      yield* settle([...one, ...other])
      const rest = yield* claimAs(channel, "second")
      assert.sameMembers([...ids(rest)], [a2!, b2!])
      assert.deepStrictEqual(crashesOf(rest), [0, 0])
    })
  )

  it.effect("finds the one among many that ends its consumers, and counts no crash against another", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const all = yield* sent(channel, 20)
      const poison = all[12]!
      const counted = new Map<string, number>()
      const handled: Array<string> = []
      for (let round = 0; handled.length < 20 && round < 100; round++) {
        const batch = yield* claimAs(channel, `consumer ${round}`)
        for (const { crashes, envelope } of batch) counted.set(envelope.id, crashes)
        const doomed = batch.find(({ crashes, envelope }) => envelope.id === poison && crashes < 5)
        if (doomed !== undefined) yield* lost
        else {
          yield* settle(batch)
          handled.push(...ids(batch))
        }
      }
      assert.sameMembers(handled, [...all])
      assert.deepStrictEqual([counted.get(poison), new Set(counted.values()).size], [5, 2])
    })
  )
}
