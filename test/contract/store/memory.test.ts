import { assert, it, layer } from "@effect/vitest"
import { MessageStore } from "@holdfast/core"
import { type Clock, Duration, Effect, Fiber, Option } from "effect"
import {
  acknowledge,
  advance,
  after,
  claim,
  claimOne,
  commit,
  day,
  fresh,
  hour,
  ids,
  minute,
  refused,
  second,
  send,
  sent,
  using
} from "./fixtures.ts"
import { suite } from "./suite.ts"

suite("memory", () => MessageStore.layerMemory, { kind: "memory", frozenClock: true })

const wake = (channel: string) => using((store) => store.wake(channel, day))

/** Lets other fibers run, without moving time. */
const standstill = Effect.repeatN(Effect.yieldNow(), 20)

layer(MessageStore.layerMemory)("MessageStore, memory alone", (it) => {
  it.effect("keeps a lease until the millisecond it ends", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 2)
      const [first, late] = yield* claim(channel)
      yield* advance(minute - 1)
      yield* commit(acknowledge(first!))
      yield* advance(1)
      assert.strictEqual(yield* refused(acknowledge(late!)), "LeaseLost")
      yield* claimOne(channel)
    })
  )

  it.effect("wakes at the due time, neither sooner nor for what cannot be claimed yet", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const fiber = yield* Effect.fork(wake(channel))
      yield* standstill
      yield* commit(send(channel, { due: after(10 * minute) }))
      yield* advance(10 * minute - 1)
      assert.isTrue(Option.isNone(yield* fiber.poll))
      yield* advance(1)
      yield* Fiber.join(fiber)
    })
  )

  it.effect("wakes when the lease runs out, and not while it is renewed", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      const { lease } = yield* claimOne(channel)
      const fiber = yield* Effect.fork(wake(channel))
      yield* advance(minute - 1)
      yield* using((store) => store.renew([lease], minute))
      yield* advance(minute - 1)
      assert.isTrue(Option.isNone(yield* fiber.poll))
      yield* advance(1)
      yield* Fiber.join(fiber)
    })
  )

  it.effect("does not wake for a unit that failed", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const fiber = yield* Effect.fork(wake(channel))
      yield* standstill
      const lease = { channel, key: "1", token: "0" }
      assert.strictEqual(yield* refused(send(channel), { _tag: "Acknowledge", lease }), "LeaseLost")
      yield* advance(hour)
      assert.isTrue(Option.isNone(yield* fiber.poll))
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("wakes those who wait without time moving, in an uninterruptible region too", () =>
    Effect.gen(function* () {
      const [channel, key] = [fresh("orders"), fresh("key")]
      const claimed = yield* using((store) => store.claimKey(key, hour))
      const waking = yield* Effect.fork(Effect.uninterruptible(wake(channel)))
      const claiming = yield* Effect.fork(Effect.uninterruptible(using((store) => store.claimKey(key, hour))))
      yield* standstill
      yield* sent(channel, 1)
      const token = claimed._tag === "Claimed" ? claimed.token : assert.fail()
      yield* using((store) => store.completeKey(key, token, "1", hour))
      yield* Fiber.join(waking)
      assert.deepStrictEqual(yield* Fiber.join(claiming), { _tag: "Completed", result: "1" })
    })
  )

  it.effect("gives a key away at the millisecond its lease ends", () =>
    Effect.gen(function* () {
      const key = fresh("key")
      yield* using((store) => store.claimKey(key, minute))
      const fiber = yield* Effect.fork(using((store) => store.claimKey(key, minute)))
      yield* advance(minute - 1)
      assert.isTrue(Option.isNone(yield* fiber.poll))
      yield* advance(1)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Claimed")
    })
  )

  it.effect("keeps the order of many messages that come and go", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const sends = Array.from({ length: 5_000 }, (_, index) => send(channel, { priority: (index * 7919) % 10 }))
      yield* commit(...sends)
      const ahead = { channel, limit: 1_000, leaseMillis: minute, owner: "worker", ahead: true }
      const given = yield* using((store) => store.claim(ahead))
      const released = given.filter((_, index) => index % 3 === 0).map((delivery) => delivery.lease)
      yield* using((store) => store.release(released, 0))
      yield* advance(2 * minute)
      const inOrder = sends.toSorted((self, that) => that.priority - self.priority)
      assert.deepStrictEqual(ids(yield* claim(channel, 5_000)), ids(inOrder))
    })
  )

  it.effect("keeps the order of what waits while some of it is cancelled", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const seconds = Array.from({ length: 500 }, (_, index) => ((index * 7919) % 1_000) + 1)
      const sends = seconds.map((each) => send(channel, { due: after(each * second) }))
      yield* commit(...sends)
      const rows = yield* using((store) => store.scheduled({ channel, limit: 500 }))
      const doomed = rows.filter((_, index) => index % 3 === 1)
      for (const row of doomed) assert.isTrue(yield* using((store) => store.cancelScheduled(row.key)))
      yield* advance(hour)
      const kept = rows.filter((row) => !doomed.includes(row))
      assert.deepStrictEqual(ids(yield* claim(channel, 500)), ids(kept))
    })
  )
})

it.effect("MessageStore, memory: waits for a fraction of a millisecond without spinning", () =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    let now = 0.1
    let sleeps = 0
    // moves in whole milliseconds, as the clocks of machines do
    const coarse: Clock.Clock = {
      ...clock,
      currentTimeMillis: Effect.sync(() => now),
      sleep: (duration) =>
        Effect.suspend(() => {
          now += Math.trunc(Duration.toMillis(duration))
          return ++sleeps > 100 ? Effect.dieMessage("it spins") : Effect.void
        })
    }
    const store = yield* MessageStore.MessageStore
    yield* Effect.withClock(store.wake("orders", 0.2), coarse)
    assert.isBelow(sleeps, 3)
  }).pipe(Effect.provide(MessageStore.layerMemory))
)
