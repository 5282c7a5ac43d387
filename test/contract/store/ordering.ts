/**
 * Ordering keys: of each key only the first message is handed out, and that one at a time.
 */
import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect, Fiber, Option } from "effect"
import {
  acknowledge,
  advance,
  after,
  claim,
  claimOne,
  commit,
  day,
  envelope,
  fresh,
  type It,
  ids,
  minute,
  park,
  refused,
  retry,
  second,
  send,
  using
} from "./fixtures.ts"

/** A message of the key; its id says which. */
const keyed = (
  channel: string,
  orderingKey: string | undefined,
  id: string,
  options: Partial<MessageStore.Send> = {}
): MessageStore.Send =>
  send(channel, { envelope: envelope({ id, ...(orderingKey === undefined ? {} : { orderingKey }) }), ...options })

/** Sends messages of a key in one unit: `a1`, `a2` and so on, of the key `a`. */
const sent = (channel: string, ...names: ReadonlyArray<string>) =>
  commit(...names.map((name) => keyed(channel, name[0], name)))

const claimed = (channel: string, limit?: number) => Effect.map(claim(channel, limit), ids)
const depth = (channel: string) => using((store) => store.depth(channel))
const release = (delivery: MessageStore.Delivery, millis: number) =>
  using((store) => store.release([delivery.lease], millis))
const scheduled = (channel: string) => using((store) => store.scheduled({ channel }))
const letters = (channel: string) => using((store) => store.deadLetters({ channel }))

/** Takes and handles all that can be had, one after the other. */
const drained = (channel: string) =>
  Effect.gen(function* () {
    const order: Array<string> = []
    for (;;) {
      const [delivery] = yield* claim(channel, 1)
      if (delivery === undefined) return order
      order.push(delivery.envelope.id)
      yield* commit(acknowledge(delivery))
    }
  })

/** Whether a consumer that waits for the channel is told at once when this happens. */
const wakes = <E, R>(channel: string, effect: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(using((store) => store.wake(channel, day)))
    yield* Effect.repeatN(
      using((store) => store.now),
      3
    )
    assert.isTrue(Option.isNone(yield* fiber.poll), "nothing to claim yet")
    yield* effect
    yield* Fiber.join(fiber)
  })

export const ordering = (it: It): void => {
  it.effect("hands out the first of each key, and the next once that one was handled", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1", "a2", "b1", "a3", "b2")
      yield* using((store) => store.wake(channel, day))
      const [a1, b1, ...rest] = yield* claim(channel)
      assert.deepStrictEqual([ids([a1!, b1!]), rest], [["a1", "b1"], []])
      assert.deepStrictEqual([a1!.envelope.orderingKey, a1!.lease.ordered], ["a", true])
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(yield* depth(channel), { ready: 5, scheduled: 0 })
      yield* wakes(channel, commit(acknowledge(b1!)))
      assert.deepStrictEqual(yield* claimed(channel), ["b2"])
      yield* commit(acknowledge(a1!))
      assert.deepStrictEqual(yield* drained(channel), ["a2", "a3"])
    })
  )

  it.effect("keeps keys of several endpoints and channels apart", () =>
    Effect.gen(function* () {
      const [channel, other] = [fresh("orders"), fresh("orders")]
      const of = (endpoint: string, id: string) =>
        send(channel, { envelope: envelope({ id, endpoint, orderingKey: "a" }) })
      yield* commit(of("Mail", "m1"), of("Book", "b1"), of("Mail", "m2"), keyed(other, "a", "o1"))
      assert.deepStrictEqual(yield* claimed(channel), ["m1", "b1"])
      assert.deepStrictEqual(yield* claimed(other), ["o1"])
    })
  )

  it.effect("keeps the place of what is tried again: the others of its key wait, and nobody else", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1", "a2")
      const first = yield* claimOne(channel)
      yield* commit(retry(first, 10 * minute, { at: 1, error: "no" }))
      assert.deepStrictEqual(yield* depth(channel), { ready: 1, scheduled: 1 })
      yield* sent(channel, "b1")
      assert.deepStrictEqual(yield* drained(channel), ["b1"])
      yield* wakes(channel, advance(11 * minute))
      const again = yield* claimOne(channel)
      assert.deepStrictEqual(again.envelope, {
        ...first.envelope,
        failures: [{ at: 1, error: "no" }],
        attempt: 2
      })
      assert.isAtLeast(again.availableAt, first.claimedAt + 10 * minute)
      assert.strictEqual(yield* refused(acknowledge(first)), "LeaseLost")
      yield* commit(acknowledge(again))
      assert.deepStrictEqual(yield* drained(channel), ["a2"])
    })
  )

  it.effect("keeps the place of what is given back, now or for later", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1", "a2")
      yield* release(yield* claimOne(channel), 0)
      const delivery = yield* claimOne(channel)
      assert.strictEqual(delivery.envelope.id, "a1")
      yield* release(delivery, 10 * minute)
      yield* release(delivery, 0)
      assert.isEmpty(yield* claim(channel))
      yield* advance(11 * minute)
      const again = yield* claimOne(channel)
      assert.deepStrictEqual([again.envelope.id, again.envelope.attempt, again.crashes], ["a1", 1, 0])
    })
  )

  it.effect("keeps the place of what a lost consumer had", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1", "a2")
      yield* claimOne(channel)
      yield* advance(minute + second)
      const again = yield* claimOne(channel)
      assert.deepStrictEqual([again.envelope.id, again.crashes], ["a1", 1])
      assert.isEmpty(yield* claim(channel))
    })
  )

  it.effect("lists what waits for its retry, moves it, and cancels it, which lets the next one go", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1", "a2")
      yield* commit(retry(yield* claimOne(channel), 10 * minute, { at: 1, error: "no" }))
      yield* commit(keyed(channel, undefined, "later", { due: after(20 * minute) }))
      const [row, later] = yield* scheduled(channel)
      assert.deepStrictEqual([row!.envelope.id, row!.envelope.attempt, row!.channel], ["a1", 2, channel])
      assert.strictEqual(later!.envelope.id, "later")
      assert.isBelow(row!.dueAt, later!.dueAt)
      assert.deepStrictEqual(ids(yield* using((store) => store.scheduled({ channel, limit: 1 }))), ["a1"])
      assert.isTrue(yield* using((store) => store.reschedule(row!.key, after(hourAndHalf))))
      assert.deepStrictEqual(ids(yield* scheduled(channel)), ["later", "a1"])
      yield* wakes(
        channel,
        using((store) => store.reschedule(row!.key, after(0)))
      )
      const delivery = yield* claimOne(channel)
      assert.isFalse(yield* using((store) => store.reschedule(row!.key, after(0))))
      assert.isFalse(yield* using((store) => store.cancelScheduled(row!.key)))
      yield* commit(retry(delivery, 10 * minute, { at: 2, error: "no" }))
      yield* wakes(
        channel,
        using((store) => store.cancelScheduled(row!.key))
      )
      assert.isFalse(yield* using((store) => store.cancelScheduled(row!.key)))
      assert.deepStrictEqual(yield* drained(channel), ["a2"])
    })
  )

  it.effect("gives a delayed message its place when it is due, and lets nobody wait for it before", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(keyed(channel, "a", "a0", { due: after(minute) }))
      yield* advance(2 * minute)
      assert.deepStrictEqual(yield* drained(channel), ["a0"])
      yield* commit(keyed(channel, "a", "a1", { due: after(10 * minute) }), keyed(channel, "a", "a2"))
      assert.deepStrictEqual(yield* drained(channel), ["a2"])
      yield* sent(channel, "a3")
      yield* advance(11 * minute)
      yield* sent(channel, "a4")
      const only = yield* claimOne(channel)
      assert.strictEqual(only.envelope.id, "a3")
      yield* release(only, 0)
      const order = yield* drained(channel)
      assert.deepStrictEqual(order.toSorted(), ["a1", "a3", "a4"])
      assert.isBelow(order.indexOf("a3"), order.indexOf("a1"))
    })
  )

  it.effect("holds a key up behind its dead letter, which comes back in its place when it is replayed", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1", "a2", "b1", "a3")
      const [a1, b1] = yield* claim(channel)
      yield* commit(park(a1!))
      yield* commit(acknowledge(b1!))
      yield* sent(channel, "a4", "b2")
      assert.deepStrictEqual(yield* drained(channel), ["b2"])
      const [letter] = yield* letters(channel)
      assert.strictEqual(letter!.envelope.orderingKey, "a")
      yield* wakes(
        channel,
        using((store) => store.replay([letter!.key]))
      )
      const replayed = yield* claimOne(channel)
      assert.deepStrictEqual([replayed.envelope.id, replayed.envelope.orderingKey], ["a1", "a"])
      assert.isDefined(replayed.envelope.headers.replayedAt)
      yield* commit(park(replayed))
      assert.isEmpty(yield* claim(channel))
      const [again] = yield* letters(channel)
      assert.strictEqual(yield* using((store) => store.replay([again!.key, letter!.key])), 1)
      assert.deepStrictEqual(yield* drained(channel), ["a1", "a2", "a3", "a4"])
    })
  )

  it.effect("lets a key go on when its dead letter is deleted", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1")
      yield* commit(park(yield* claimOne(channel)))
      yield* sent(channel, "a2")
      assert.isEmpty(yield* claim(channel))
      const [letter] = yield* letters(channel)
      yield* wakes(
        channel,
        using((store) => store.deleteDeadLetters([letter!.key]))
      )
      assert.deepStrictEqual(yield* drained(channel), ["a2"])
    })
  )

  it.effect("does not hold a key up behind a broker's dead letter, nor what has no key behind any", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(keyed(channel, "a", "a1"), keyed(channel, undefined, "x"))
      yield* commit(park(undefined, { channel, envelope: envelope({ id: "a0", orderingKey: "a" }) }))
      const deliveries = yield* claim(channel)
      assert.deepStrictEqual(ids(deliveries), ["a1", "x"])
      yield* commit(park(deliveries[1]!))
      yield* commit(keyed(channel, undefined, "y"))
      assert.deepStrictEqual(yield* claimed(channel), ["y"])
      const [, letter] = yield* letters(channel)
      assert.deepStrictEqual([letter!.envelope.id, letter!.envelope.orderingKey], ["a0", "a"])
      yield* using((store) => store.replay([letter!.key]))
      yield* commit(acknowledge(deliveries[0]!))
      assert.deepStrictEqual(yield* claimed(channel), ["a0"])
    })
  )

  it.effect("takes keys by the priority of their first messages, and reorders none", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(
        keyed(channel, "a", "a1"),
        keyed(channel, "a", "a2", { priority: 9 }),
        keyed(channel, "b", "b1", { priority: 5 }),
        keyed(channel, undefined, "x", { priority: 3 }),
        keyed(channel, "c", "c1", { priority: 7 }),
        keyed(channel, "c", "c2", { priority: -1 })
      )
      assert.deepStrictEqual(yield* drained(channel), ["c1", "b1", "x", "a1", "a2", "c2"])
    })
  )

  it.effect("shares the limit between keys and what has none, the oldest first", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1")
      yield* commit(keyed(channel, undefined, "x1"), keyed(channel, undefined, "x2"))
      yield* sent(channel, "b1")
      yield* commit(keyed(channel, undefined, "x3"))
      assert.deepStrictEqual(yield* claimed(channel, 2), ["a1", "x1"])
      assert.deepStrictEqual(yield* claimed(channel, 2), ["x2", "b1"])
      assert.deepStrictEqual(yield* claimed(channel, 2), ["x3"])
    })
  )

  it.effect("claims no more keys than the limit, and comes to all of them", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const names = Array.from({ length: 30 }, (_, index) => String.fromCharCode(97 + index))
      for (const place of [1, 2, 3]) yield* sent(channel, ...names.map((name) => `${name}${place}`))
      const order: Array<string> = []
      while (order.length < 90) {
        const deliveries = yield* claim(channel, 5)
        assert.isTrue(deliveries.length > 0 && deliveries.length <= 5)
        assert.lengthOf(new Set(deliveries.map((delivery) => delivery.envelope.orderingKey)), deliveries.length)
        order.push(...ids(deliveries))
        yield* commit(...deliveries.map(acknowledge))
      }
      for (const name of names) {
        assert.deepStrictEqual(
          order.filter((id) => id[0] === name),
          [`${name}1`, `${name}2`, `${name}3`]
        )
      }
      assert.deepStrictEqual(yield* depth(channel), { ready: 0, scheduled: 0 })
    })
  )

  it.effect("passes no key over while others have messages", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      for (let place = 1; place <= 20; place++) yield* sent(channel, ...["a", "b", "c", "d"].map((key) => key + place))
      const keys = new Set<string | undefined>()
      for (let round = 0; round < 20; round++) {
        const [delivery] = yield* claim(channel, 1)
        keys.add(delivery!.envelope.orderingKey)
        yield* commit(acknowledge(delivery!))
      }
      assert.isAbove(keys.size, 1)
    })
  )

  it.effect("never has two of one key claimed, however many claim at once", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const names = Array.from({ length: 200 }, (_, index) => `${"abc"[index % 3]}${Math.floor(index / 3)}`)
      yield* sent(channel, ...names)
      const running = new Set<string>()
      const order: Array<string> = []
      const worker = Effect.gen(function* () {
        while (order.length < names.length) {
          for (const delivery of yield* claim(channel, 2)) {
            const key = delivery.envelope.orderingKey!
            assert.isFalse(running.has(key), `two of ${key} at once`)
            running.add(key)
            order.push(delivery.envelope.id)
            yield* Effect.yieldNow()
            running.delete(key)
            yield* commit(acknowledge(delivery))
          }
          yield* Effect.yieldNow()
        }
      })
      yield* Effect.all(
        Array.from({ length: 20 }, () => worker),
        { concurrency: "unbounded" }
      )
      for (const key of "abc") {
        assert.deepStrictEqual(
          order.filter((id) => id[0] === key),
          names.filter((id) => id[0] === key)
        )
      }
    })
  )

  it.effect("takes a unit back whole: what it would have let go stays held up", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, "a1", "a2", "b1")
      const [a1, b1] = yield* claim(channel)
      yield* commit(acknowledge(b1!))
      assert.strictEqual(yield* refused(acknowledge(a1!), acknowledge(b1!)), "LeaseLost")
      assert.strictEqual(yield* refused(park(a1!), acknowledge(b1!)), "LeaseLost")
      assert.isEmpty(yield* claim(channel))
      yield* wakes(channel, commit(acknowledge(a1!)))
      assert.deepStrictEqual(yield* drained(channel), ["a2"])
    })
  )

  it.effect("hands out the copies for an ordered endpoint one at a time, until their keys are known", () =>
    Effect.gen(function* () {
      const [tag, channel, endpoint, other] = [fresh("Placed"), fresh("orders"), fresh("Track"), fresh("Mail")]
      yield* using((store) => store.subscribe([{ tag, channel, endpoint }]))
      yield* using((store) =>
        store.subscribe([
          { tag, channel, endpoint, ordered: true },
          { tag, channel, endpoint: other }
        ])
      )
      const rows = yield* using((store) => store.subscriptions)
      assert.isTrue(rows.find((row) => row.endpoint === endpoint)?.ordered)
      const copy = (id: string): MessageStore.Publish => ({
        _tag: "Publish",
        envelope: envelope({ id, tag, endpoint: "" }),
        priority: 0,
        due: undefined,
        except: []
      })
      yield* commit(copy("1"), copy("2"), copy("3"))
      const deliveries = yield* claim(channel)
      const [first] = deliveries.filter((delivery) => delivery.envelope.endpoint === endpoint)
      assert.lengthOf(deliveries, 4)
      assert.deepStrictEqual([first!.envelope.id, first!.envelope.orderingKey], ["1", ""])
      yield* commit(
        acknowledge(first!),
        keyed(channel, "a", "1 of a", { envelope: { ...first!.envelope, orderingKey: "a" } })
      )
      const [second, keyedNow, ...more] = yield* claim(channel)
      assert.deepStrictEqual([second!.envelope.id, second!.envelope.orderingKey], ["2", ""])
      assert.deepStrictEqual([keyedNow!.envelope.id, keyedNow!.envelope.orderingKey], ["1", "a"])
      assert.isEmpty(more)
      // a copy whose key nobody could compute holds up nobody, and comes back in its place
      yield* commit(park(second!))
      const third = yield* claimOne(channel)
      assert.strictEqual(third.envelope.id, "3")
      yield* using((store) => Effect.flatMap(store.deadLetters({ channel }), ([row]) => store.replay([row!.key])))
      yield* release(third, 0)
      assert.deepStrictEqual(yield* claimed(channel), ["2"])
    })
  )
}

const hourAndHalf = 90 * minute
