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
  day,
  envelope,
  type Features,
  fresh,
  hour,
  type It,
  ids,
  minute,
  retry,
  send,
  using
} from "./fixtures.ts"

const scheduled = (filter: MessageStore.Filter) => using((store) => store.scheduled(filter))

export const scheduling = (it: It, features: Features): void => {
  it.effect("holds a message back for a while", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const write = send(channel, { due: after(10 * minute), priority: 9 })
      const before = yield* using((store) => store.now)
      yield* commit(write)
      assert.isEmpty(yield* claim(channel))
      yield* advance(5 * minute)
      assert.isEmpty(yield* claim(channel))
      yield* advance(6 * minute)
      const delivery = yield* claimOne(channel)
      assert.deepStrictEqual(delivery.envelope, write.envelope)
      assert.isTrue(before + 10 * minute <= delivery.availableAt && delivery.availableAt <= delivery.claimedAt)
      yield* commit(acknowledge(delivery))
      assert.deepStrictEqual(yield* using((store) => store.depth(channel)), { ready: 0, scheduled: 0 })
    })
  )

  it.effect("holds a message back until an instant of the store's clock", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const epochMillis = (yield* using((store) => store.now)) + day
      yield* commit(send(channel, { due: { _tag: "At", epochMillis } }))
      yield* advance(23 * hour)
      assert.isEmpty(yield* claim(channel))
      yield* advance(2 * hour)
      assert.strictEqual((yield* claimOne(channel)).availableAt, epochMillis)
    })
  )

  const past: ReadonlyArray<MessageStore.Due> = [after(0), after(-minute), { _tag: "At", epochMillis: 1 }]
  for (const due of past) {
    it.effect(`makes a message that is due in the past ready at once: ${JSON.stringify(due)}`, () =>
      Effect.gen(function* () {
        const channel = fresh("orders")
        yield* commit(send(channel, { due }))
        assert.deepStrictEqual(yield* using((store) => store.depth(channel)), { ready: 1, scheduled: 0 })
        yield* claimOne(channel)
      })
    )
  }

  it.effect("keeps the priority of a message that waited", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const urgent = send(channel, { due: after(minute), priority: 1 })
      const ready = send(channel)
      yield* commit(urgent, ready)
      yield* advance(2 * minute)
      assert.deepStrictEqual(ids(yield* claim(channel)), ids([urgent, ready]))
    })
  )

  it.effect("claims the most urgent of those that became due, whatever the limit", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const urgent = send(channel, { due: after(20 * minute), priority: 1 })
      yield* commit(send(channel, { due: after(10 * minute) }), urgent)
      yield* advance(30 * minute)
      assert.deepStrictEqual(ids(yield* claim(channel, 1)), ids([urgent]))
    })
  )

  it.effect("hands out those that became due by their due time", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const late = send(channel, { due: after(20 * minute) })
      const early = send(channel, { due: after(10 * minute) })
      yield* commit(late, early)
      yield* advance(30 * minute)
      assert.deepStrictEqual(ids(yield* claim(channel)), ids([early, late]))
    })
  )

  if (features.frozenClock)
    it.effect("makes a message available at its due time, not a millisecond sooner", () =>
      Effect.gen(function* () {
        const channel = fresh("orders")
        yield* commit(send(channel, { due: after(1_000) }))
        yield* advance(999)
        assert.isEmpty(yield* claim(channel))
        yield* advance(1)
        const delivery = yield* claimOne(channel)
        assert.strictEqual(delivery.availableAt, delivery.claimedAt)
      })
    )

  it.effect("shows what waits for its time, by due time, retries and timers too", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const timer = { owner: fresh("saga"), name: "timeout" }
      const last = send(channel, { due: after(3 * hour) })
      const armed = send(channel, { due: after(2 * hour), timer })
      const retried = send(channel)
      yield* commit(last, armed, retried, send(fresh("orders"), { due: after(hour) }))
      const before = yield* using((store) => store.now)
      yield* commit(retry(yield* claimOne(channel), hour, { at: 1, error: "no" }))
      yield* commit(send(channel))

      const rows = yield* scheduled({ channel })
      assert.deepStrictEqual(ids(rows), ids([retried, armed, last]))
      assert.deepStrictEqual(
        rows.map((row) => row.timer),
        [undefined, timer, undefined]
      )
      assert.deepStrictEqual(rows[0]!.envelope.failures, [{ at: 1, error: "no" }])
      assert.deepStrictEqual(rows[1]!.envelope, armed.envelope)
      assert.isTrue(rows.every((row) => row.channel === channel))
      assert.isTrue(before + hour <= rows[0]!.dueAt && rows[0]!.dueAt <= before + hour + minute)
    })
  )

  it.effect("shows only what matches all that the filter names", () =>
    Effect.gen(function* () {
      const [channel, other] = [fresh("orders"), fresh("orders")]
      const due = after(hour)
      const a = send(channel, { due, envelope: envelope({ tag: "A", endpoint: "One" }) })
      const b = send(channel, { due, envelope: envelope({ tag: "A", endpoint: "Two" }) })
      const c = send(channel, { due, envelope: envelope({ tag: "B", endpoint: "One" }) })
      const d = send(other, { due, envelope: envelope({ tag: "A", endpoint: "One" }) })
      for (const write of [a, b, c, d]) yield* commit(write)
      const shown = (filter: MessageStore.Filter) => Effect.map(scheduled(filter), ids)
      assert.deepStrictEqual(yield* shown({ channel }), ids([a, b, c]))
      assert.deepStrictEqual(yield* shown({ channel, tag: "A" }), ids([a, b]))
      assert.deepStrictEqual(yield* shown({ channel, endpoint: "One" }), ids([a, c]))
      assert.deepStrictEqual(yield* shown({ channel, endpoint: "One", tag: "A" }), ids([a]))
      assert.deepStrictEqual(yield* shown({ id: d.envelope.id }), ids([d]))
      assert.deepStrictEqual(yield* shown({ channel, id: d.envelope.id }), [])
      assert.deepStrictEqual(yield* shown({ channel, limit: 2 }), ids([a, b]))
    })
  )

  it.effect("shows 100 of those that wait unless told otherwise", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(...Array.from({ length: 101 }, () => send(channel, { due: after(hour) })))
      assert.lengthOf(yield* scheduled({ channel }), 100)
      assert.lengthOf(yield* scheduled({ channel, limit: 1_000 }), 101)
    })
  )

  it.effect("moves a scheduled message to another time", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(send(channel, { due: after(10 * minute) }))
      const [row] = yield* scheduled({ channel })
      const move = (due: MessageStore.Due) => using((store) => store.reschedule(row!.key, due))
      assert.isTrue(yield* move(after(day)))
      yield* advance(hour)
      assert.isEmpty(yield* claim(channel))
      assert.isTrue(yield* move({ _tag: "At", epochMillis: (yield* using((store) => store.now)) + minute }))
      yield* advance(2 * minute)
      yield* claimOne(channel)
      assert.isFalse(yield* move(after(minute)))
    })
  )

  it.effect("moves a scheduled message to now", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(send(channel, { due: after(day) }))
      const [row] = yield* scheduled({ channel })
      assert.isTrue(yield* using((store) => store.reschedule(row!.key, after(0))))
      yield* claimOne(channel)
    })
  )

  it.effect("cancels a scheduled message once", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const kept = send(channel, { due: after(2 * hour) })
      yield* commit(send(channel, { due: after(hour) }), kept)
      const [row] = yield* scheduled({ channel })
      const cancel = using((store) => store.cancelScheduled(row!.key))
      assert.isTrue(yield* cancel)
      assert.isFalse(yield* cancel)
      yield* advance(day)
      assert.deepStrictEqual(ids(yield* claim(channel)), ids([kept]))
    })
  )
}
