import { assert } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import {
  acknowledge,
  advance,
  after,
  claim,
  claimOne,
  commit,
  day,
  endsWithin,
  fresh,
  hour,
  type It,
  ids,
  minute,
  second,
  send,
  sent,
  using
} from "./fixtures.ts"

const pause = (channel: string) => using((store) => store.flow.pause({ channel }, undefined))
const resume = (channel: string) => using((store) => store.flow.resume({ channel }))
const paused = using((store) => store.paused)

const heartbeat = (channel: string) => using((store) => store.heartbeat(channel))

/** Those of the channels that were seen with a consumer. */
const consumed = (withinMillis: number, ...channels: ReadonlyArray<string>) =>
  using((store) => Effect.map(store.consumed(withinMillis), (all) => all.filter((name) => channels.includes(name))))

export const pausing = (it: It): void => {
  it.effect("gives out nothing from a paused channel until it is resumed, and leaves the others alone", () =>
    Effect.gen(function* () {
      const [channel, other] = [fresh("orders"), fresh("orders")]
      const first = yield* sent(channel, 2)
      yield* sent(other, 1)
      yield* pause(channel)
      yield* pause(channel)
      assert.include(yield* paused, channel)
      assert.notInclude(yield* paused, other)
      assert.isEmpty(yield* claim(channel))
      yield* claimOne(other)
      const second = yield* sent(channel, 1)
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(yield* using((store) => store.depth(channel)), { ready: 3, scheduled: 0 })
      yield* resume(channel)
      yield* resume(other)
      assert.notInclude(yield* paused, channel)
      assert.deepStrictEqual(ids(yield* claim(channel)), [...first, ...second])
    })
  )

  it.effect("lets who has claimed a message of a channel that is then paused renew, settle and release it", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 2)
      const [one, two] = yield* claim(channel)
      yield* pause(channel)
      assert.isEmpty(yield* using((store) => store.renew([one!.lease, two!.lease], hour)))
      yield* commit(acknowledge(one!))
      yield* using((store) => store.release([two!.lease], 0))
      assert.isEmpty(yield* claim(channel))
      yield* resume(channel)
      assert.strictEqual((yield* claimOne(channel)).envelope.id, two!.envelope.id)
    })
  )

  it.effect("lets delays run on while a channel is paused", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* pause(channel)
      yield* commit(send(channel, { due: after(10 * minute) }))
      yield* advance(11 * minute)
      assert.isEmpty(yield* claim(channel))
      yield* resume(channel)
      yield* claimOne(channel)
    })
  )

  it.effect("wakes who waits for a paused channel when it is resumed, and not for what waits on it", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      yield* pause(channel)
      const fiber = yield* Effect.fork(using((store) => store.wake(channel, day)))
      yield* advance(second)
      yield* advance(minute)
      assert.isTrue(Option.isNone(yield* fiber.poll))
      yield* resume(channel)
      yield* endsWithin(hour, Fiber.join(fiber))
    })
  )

  it.effect("tells which channels were seen with a consumer lately", () =>
    Effect.gen(function* () {
      const [a, b, c] = [fresh("orders"), fresh("orders"), fresh("orders")]
      yield* Effect.forEach([a, b, a], heartbeat)
      assert.sameMembers([...(yield* consumed(minute, a, b, c))], [a, b])
      yield* advance(2 * minute)
      yield* heartbeat(b)
      assert.deepStrictEqual(yield* consumed(minute, a, b, c), [b])
      assert.sameMembers([...(yield* consumed(hour, a, b, c))], [a, b])
    })
  )
}
