import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import {
  acknowledge,
  advance,
  after,
  claim,
  claimOne,
  commit,
  endsWithin,
  envelope,
  fresh,
  hour,
  type It,
  ids,
  minute,
  refused,
  second,
  send,
  sent,
  using
} from "./fixtures.ts"

const flow = <A, E, R>(f: (flow: MessageStore.Flow) => Effect.Effect<A, E, R>) => using((store) => f(store.flow))

const pause = (target: MessageStore.PauseTarget, reason?: string) => flow((_) => _.pause(target, reason))
const resume = (target: MessageStore.PauseTarget) => flow((_) => _.resume(target))
const refresh = (channel: string) => flow((_) => _.refresh(channel))
const depth = (channel: string) => using((store) => store.depth(channel))

/** The pauses of these names: other tests have theirs. */
const pausesOf = (...names: ReadonlyArray<string>) =>
  flow((_) =>
    Effect.map(_.pauses, (all) =>
      all.filter((each) => [each.channel, each.handler, each.tenant].some((name) => names.includes(name ?? "")))
    )
  )

/** Pauses a handler, and gives the key of that. */
const pausedHandler = (handler: string) =>
  Effect.gen(function* () {
    yield* pause({ handler })
    const [only] = yield* pausesOf(handler)
    return only!.key
  })

const hold = (deliveries: ReadonlyArray<MessageStore.Delivery>, by: string) =>
  flow((_) =>
    _.hold(
      deliveries.map(({ lease }) => lease),
      by
    )
  )

const rate = (limit: number, intervalMillis: number, channel = fresh("orders")): MessageStore.Limit => ({
  name: fresh("limit"),
  channel,
  limit,
  intervalMillis
})

const concurrency = (limit: number, channel = fresh("orders")): MessageStore.Limit => ({
  name: fresh("limit"),
  channel,
  limit,
  intervalMillis: undefined
})

/** Asks for as many messages under the limits, and answers which limit refused each. */
const take = (count: number, limits: ReadonlyArray<MessageStore.Limit>, owner = "worker") =>
  flow((_) => _.take({ owner, leaseMillis: minute, requests: Array.from({ length: count }, () => limits) }))

/** How many of so many began. */
const taken = (count: number, limit: MessageStore.Limit, owner?: string) =>
  Effect.map(take(count, [limit], owner), (answers) => answers.filter((answer) => answer === undefined).length)

const ordered = (channel: string, orderingKey: string) => send(channel, { envelope: envelope({ orderingKey }) })

export const flows = (it: It): void => {
  it.effect("lists pauses: what is paused, since when, why, and how many messages each holds", () =>
    Effect.gen(function* () {
      const [channel, handler, tenant] = [fresh("orders"), fresh("Confirm"), fresh("acme")]
      const before = yield* using((store) => store.now)
      yield* pause({ channel }, "maintenance")
      yield* pause({ handler, channel }, "the mail server moves")
      yield* pause({ tenant })
      yield* pause({ tenant }, "too late to say why")
      const after = yield* using((store) => store.now)
      const found = yield* pausesOf(channel, handler, tenant)
      assert.deepStrictEqual(
        found.map(({ key, pausedAt, ...rest }) => rest),
        [
          { channel, reason: "maintenance", held: 0 },
          { channel, handler, reason: "the mail server moves", held: 0 },
          { tenant, reason: undefined, held: 0 }
        ]
      )
      for (const { pausedAt } of found) assert.isTrue(pausedAt >= Math.floor(before) && pausedAt <= after + 1)
      assert.include(yield* using((store) => store.paused), channel)
      const other = fresh("orders")
      const targets = (name: string) =>
        Effect.map(refresh(name), ({ pauses }) =>
          pauses.filter((each) => each.handler === handler || each.tenant === tenant).map(({ key, ...rest }) => rest)
        )
      assert.deepStrictEqual(yield* targets(channel), [{ channel, handler }, { tenant }])
      assert.deepStrictEqual(yield* targets(other), [{ tenant }])
      yield* resume({ channel })
      yield* resume({ handler, channel })
      yield* resume({ tenant })
      yield* resume({ tenant })
      assert.deepStrictEqual(yield* pausesOf(channel, handler, tenant), [])
      assert.deepStrictEqual(yield* targets(channel), [])
    })
  )

  it.effect("sets messages aside for a pause without counting an attempt, and puts them back as they were", () =>
    Effect.gen(function* () {
      const [channel, handler] = [fresh("orders"), fresh("Confirm")]
      const all = yield* sent(channel, 3)
      const deliveries = yield* claim(channel)
      const key = yield* pausedHandler(handler)
      yield* hold(deliveries, key)
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(yield* depth(channel), { ready: 0, scheduled: 0, held: 3 })
      assert.deepStrictEqual(
        (yield* pausesOf(handler)).map(({ held }) => held),
        [3]
      )
      assert.isEmpty(yield* using((store) => store.scheduled({ channel })))
      yield* advance(hour)
      assert.isEmpty(yield* claim(channel))
      yield* resume({ handler })
      const again = yield* claim(channel)
      assert.deepStrictEqual(ids(again), all)
      for (const [index, delivery] of again.entries()) {
        assert.strictEqual(delivery.envelope.attempt, 1)
        assert.strictEqual(delivery.crashes, 0)
        assert.approximately(delivery.availableAt, deliveries[index]!.availableAt, 1)
        yield* commit(acknowledge(delivery))
      }
      assert.deepStrictEqual(yield* depth(channel), { ready: 0, scheduled: 0 })
    })
  )

  it.effect("keeps the order of a key whose first message is held, and holds up no other key", () =>
    Effect.gen(function* () {
      const [channel, handler] = [fresh("orders"), fresh("Confirm")]
      const writes = [ordered(channel, "a"), ordered(channel, "a"), ordered(channel, "b")]
      for (const write of writes) yield* commit(write)
      const [first, second, other] = writes.map((write) => write.envelope.id)
      const claimed = yield* claim(channel)
      assert.sameMembers([...ids(claimed)], [first, other])
      const key = yield* pausedHandler(handler)
      const [a, b] = ids(claimed)[0] === first ? claimed : claimed.toReversed()
      yield* hold([a!], key)
      yield* commit(acknowledge(b!))
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(yield* depth(channel), { ready: 1, scheduled: 0, held: 1 })
      yield* resume({ handler })
      const back = yield* claimOne(channel)
      assert.strictEqual(back.envelope.id, first)
      yield* commit(acknowledge(back))
      assert.strictEqual((yield* claimOne(channel)).envelope.id, second)
    })
  )

  it.effect("gives back what is to be held by a pause that has ended, and leaves lost leases alone", () =>
    Effect.gen(function* () {
      const [channel, handler] = [fresh("orders"), fresh("Confirm")]
      yield* sent(channel, 1)
      const delivery = yield* claimOne(channel)
      const key = yield* pausedHandler(handler)
      yield* resume({ handler })
      yield* hold([delivery], key)
      const again = yield* claimOne(channel)
      assert.strictEqual(again.envelope.attempt, 1)
      const other = yield* pausedHandler(handler)
      yield* hold([delivery], other)
      assert.deepStrictEqual(yield* depth(channel), { ready: 1, scheduled: 0 })
      yield* commit(acknowledge(again))
      yield* resume({ handler })
    })
  )

  it.effect("settles nothing that is held, and cancels a timer that is", () =>
    Effect.gen(function* () {
      const [channel, handler, owner] = [fresh("orders"), fresh("Confirm"), fresh("saga")]
      yield* commit(send(channel, { due: after(second), timer: { owner, name: "payment" } }))
      yield* advance(2 * second)
      const delivery = yield* claimOne(channel)
      yield* hold([delivery], yield* pausedHandler(handler))
      assert.strictEqual(yield* refused(acknowledge(delivery)), "LeaseLost")
      yield* commit({ _tag: "CancelTimer", owner, name: "payment" })
      assert.deepStrictEqual(yield* depth(channel), { ready: 0, scheduled: 0 })
      yield* resume({ handler })
      assert.isEmpty(yield* claim(channel))
    })
  )

  it.effect("wakes who waits when a pause ends", () =>
    Effect.gen(function* () {
      const [channel, handler] = [fresh("orders"), fresh("Confirm")]
      yield* sent(channel, 1)
      yield* hold([yield* claimOne(channel)], yield* pausedHandler(handler))
      const fiber = yield* Effect.fork(using((store) => store.wake(channel, 24 * hour)))
      yield* advance(second)
      yield* resume({ handler })
      yield* endsWithin(hour, fiber)
    })
  )

  it.effect("puts more messages back than go in one batch", () =>
    Effect.gen(function* () {
      const [channel, handler] = [fresh("orders"), fresh("Confirm")]
      const all = yield* sent(channel, 1_100)
      const key = yield* pausedHandler(handler)
      yield* hold(yield* claim(channel, 1_100), key)
      assert.deepStrictEqual(yield* depth(channel), { ready: 0, scheduled: 0, held: 1_100 })
      yield* resume({ handler })
      const first = yield* claim(channel, 1_000)
      const rest = yield* claim(channel, 1_000)
      assert.deepStrictEqual([...ids(first), ...ids(rest)], all)
    })
  )

  it.effect("lets no more begin in any while than a rate limit says", () =>
    Effect.gen(function* () {
      const limit = rate(5, 10 * second)
      const grants: Array<{ readonly before: number; readonly after: number }> = []
      for (let round = 0; round < 60; round++) {
        const before = yield* using((store) => store.now)
        const count = yield* taken(3, limit)
        const after = yield* using((store) => store.now)
        for (let grant = 0; grant < count; grant++) grants.push({ before, after })
        yield* advance([0, 137, 1_900, 700, 4_100][round % 5]!)
      }
      for (const { before } of grants) {
        const within = grants.filter((each) => each.before >= before && each.after < before + 10 * second)
        assert.isAtMost(within.length, 5)
      }
      // 60 rounds are 82 seconds: what there was room for was used
      assert.isAtLeast(grants.length, 30)
    })
  )

  it.effect("has all of a rate limit's room again once the interval has passed", () =>
    Effect.gen(function* () {
      const limit = rate(4, minute)
      assert.strictEqual(yield* taken(10, limit), 4)
      assert.strictEqual(yield* taken(1, limit), 0)
      yield* advance(50 * second)
      assert.strictEqual(yield* taken(1, limit), 0)
      yield* advance(12 * second)
      assert.strictEqual(yield* taken(10, limit), 4)
    })
  )

  it.effect("takes from all limits of a message or from none, and says which refuses", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const [wide, narrow] = [rate(3, minute, channel), concurrency(1, channel)]
      assert.deepStrictEqual(yield* take(2, [wide, narrow]), [undefined, narrow.name])
      assert.deepStrictEqual(yield* take(3, [wide]), [undefined, undefined, wide.name])
      assert.deepStrictEqual(yield* flow((_) => _.take({ owner: "a", leaseMillis: minute, requests: [[]] })), [
        undefined
      ])
    })
  )

  it.effect("follows a limit that a new build has changed", () =>
    Effect.gen(function* () {
      const limit = concurrency(1)
      assert.strictEqual(yield* taken(3, limit), 1)
      assert.strictEqual(yield* taken(3, { ...limit, limit: 3 }), 2)
      assert.strictEqual(yield* taken(3, limit), 0)
    })
  )

  it.effect("shares the permits of a concurrency limit among owners, until they are given back or lapse", () =>
    Effect.gen(function* () {
      const limit = concurrency(3)
      assert.strictEqual(yield* taken(2, limit, "a"), 2)
      assert.strictEqual(yield* taken(2, limit, "b"), 1)
      assert.strictEqual(yield* taken(1, limit, "b"), 0)
      yield* flow((_) => _.giveBack("a", [limit.name]))
      assert.strictEqual(yield* taken(2, limit, "b"), 1)
      yield* flow((_) => _.giveBack("nobody", [limit.name]))
      assert.strictEqual(yield* taken(1, limit, "b"), 0)
      yield* advance(40 * second)
      yield* flow((_) => _.renew("a", minute, [{ name: limit.name, count: 1 }]))
      yield* advance(40 * second)
      assert.strictEqual(yield* taken(3, limit, "c"), 2)
    })
  )

  it.effect("takes permits away that their owner does not know of", () =>
    Effect.gen(function* () {
      const [one, two] = [concurrency(2), concurrency(2)]
      yield* taken(2, one, "a")
      yield* taken(2, two, "a")
      yield* flow((_) => _.renew("a", minute, [{ name: one.name, count: 1 }]))
      assert.strictEqual(yield* taken(2, one, "b"), 1)
      assert.strictEqual(yield* taken(2, two, "b"), 2)
    })
  )

  it.effect("grants no more than there is room for when many ask at once", () =>
    Effect.gen(function* () {
      const limits = [rate(7, hour), concurrency(7)]
      const counts = yield* Effect.forEach(
        Array.from({ length: 24 }, (_, index) => index),
        (index) => taken(1, limits[index % 2]!, `worker ${index % 5}`),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(
        counts.reduce((sum, count) => sum + count),
        14
      )
    })
  )

  it.effect("lets what a concurrency limit holds go as permits are given back, before others", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const limit = concurrency(1, channel)
      const all = yield* sent(channel, 3)
      const deliveries = yield* claim(channel)
      assert.deepStrictEqual(yield* take(3, [limit]), [undefined, limit.name, limit.name])
      yield* hold(deliveries.slice(1), limit.name)
      assert.isEmpty(yield* claim(channel))
      assert.isDefined((yield* refresh(channel)).nextMillis)
      yield* commit(acknowledge(deliveries[0]!))
      yield* flow((_) => _.giveBack("worker", [limit.name]))
      const second = yield* claimOne(channel)
      assert.strictEqual(second.envelope.id, all[1])
      assert.strictEqual(second.envelope.attempt, 1)
      // one has its turn; who comes now finds none
      assert.strictEqual(yield* taken(2, limit), 1)
      yield* commit(acknowledge(second))
      yield* flow((_) => _.giveBack("worker", [limit.name]))
      const third = yield* claimOne(channel)
      assert.strictEqual(third.envelope.id, all[2])
      assert.isUndefined((yield* refresh(channel)).nextMillis)
      assert.strictEqual(yield* taken(2, limit), 1)
    })
  )

  it.effect("refuses others while messages are held, though there is room", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const limit = concurrency(2, channel)
      yield* sent(channel, 4)
      const deliveries = yield* claim(channel)
      yield* taken(2, limit, "a")
      yield* hold(deliveries.slice(2), limit.name)
      yield* advance(2 * minute)
      assert.strictEqual(yield* taken(1, limit, "b"), 0)
      yield* refresh(channel)
      assert.strictEqual(yield* taken(3, limit, "b"), 2)
    })
  )

  it.effect("lets all go that is held by a limit for which nobody asks any more", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const limit = { name: fresh("limit"), channel, limit: 1, intervalMillis: undefined }
      yield* sent(channel, 60)
      yield* using((store) => store.flow.take({ owner: "old", leaseMillis: second, requests: [[limit]] }))
      const claimed = yield* claim(channel, 60)
      const leases = claimed.map(({ lease }) => lease)
      yield* using((store) => store.flow.hold(leases, limit.name))
      yield* advance(second * 10)
      const goOn = using((store) => store.flow.refresh(channel))
      for (let times = 0; times < 10; times++) {
        yield* goOn
        yield* advance(3 * second)
      }
      const { held = 0 } = yield* using((store) => store.depth(channel))
      assert.isAtLeast(held, 49, "no faster than the limit while somebody may ask for it")
      yield* advance(3 * 60 * second)
      for (let times = 0; times < 10; times++) {
        yield* goOn
        yield* advance(3 * second)
      }
      assert.isUndefined((yield* using((store) => store.depth(channel))).held)
      assert.lengthOf(yield* claim(channel, 100), 60)
    })
  )

  it.effect("lets what a rate limit holds go when it has room, and says when that is", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const limit = rate(2, 10 * second, channel)
      const all = yield* sent(channel, 4)
      const deliveries = yield* claim(channel)
      assert.strictEqual(yield* taken(4, limit), 2)
      yield* hold(deliveries.slice(2), limit.name)
      const { nextMillis } = yield* refresh(channel)
      assert.isAtMost(nextMillis!, 10_300)
      assert.isAtLeast(nextMillis!, 1_000)
      assert.isEmpty((yield* claim(channel)).slice())
      yield* advance(nextMillis!)
      assert.isUndefined((yield* refresh(channel)).nextMillis)
      assert.deepStrictEqual(ids(yield* claim(channel)), all.slice(2))
      assert.strictEqual(yield* taken(2, limit), 2)
    })
  )
}
