import { assert } from "@effect/vitest"
import type { MessageStore, MessagingError } from "@holdfast/core"
import { Effect, Fiber } from "effect"
import {
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
  minute,
  park,
  retry,
  second,
  send,
  sent,
  using
} from "./fixtures.ts"

const wake = (channel: string, atMost = day) => using((store) => store.wake(channel, atMost))

/** Waits for the channel until there is something to claim: it may wake too often. */
const claimed = (
  channel: string
): Effect.Effect<MessageStore.Delivery, MessagingError.MessagingError, MessageStore.MessageStore> =>
  Effect.zipRight(wake(channel), claim(channel)).pipe(
    Effect.flatMap(([delivery]) => (delivery === undefined ? claimed(channel) : Effect.succeed(delivery)))
  )

/** Starts to wait for the channel, and lets the wait begin. */
const waiting = (channel: string) => Effect.tap(Effect.fork(wake(channel)), () => advance(second))

export const waking = (it: It): void => {
  it.effect("wakes at once when there is something to claim", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      yield* endsWithin(hour, wake(channel))
    })
  )

  it.effect("wakes when a message is committed", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const fiber = yield* waiting(channel)
      yield* sent(channel, 1)
      yield* endsWithin(hour, Fiber.join(fiber))
    })
  )

  it.effect("wakes all who wait", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const fibers = [yield* waiting(channel), yield* waiting(channel)]
      yield* sent(channel, 1)
      yield* endsWithin(hour, Effect.forEach(fibers, Fiber.join))
    })
  )

  it.effect("wakes when a subscription's copy is committed", () =>
    Effect.gen(function* () {
      const [channel, tag] = [fresh("orders"), fresh("Placed")]
      yield* using((store) => store.subscribe([{ tag, endpoint: fresh("Mail"), channel }]))
      const fiber = yield* waiting(channel)
      const { envelope } = send(channel)
      yield* commit({ _tag: "Publish", envelope: { ...envelope, tag }, priority: 0, due: undefined, except: [] })
      yield* endsWithin(hour, Fiber.join(fiber))
    })
  )

  it.effect("wakes when a message is released", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      const delivery = yield* claimOne(channel)
      const { lease } = delivery
      yield* using((store) => store.renew([lease], day))
      const fiber = yield* waiting(channel)
      yield* using((store) => store.release([lease], 0))
      yield* endsWithin(hour, Fiber.join(fiber))
    })
  )

  it.effect("wakes when a dead letter is replayed", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(park(undefined, { channel }))
      const fiber = yield* waiting(channel)
      const [letter] = yield* using((store) => store.deadLetters({ channel }))
      yield* using((store) => store.replay([letter!.key]))
      yield* endsWithin(hour, Fiber.join(fiber))
    })
  )

  it.effect("wakes when a message that waits for its time is due", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(send(channel, { due: after(10 * minute) }))
      yield* endsWithin(hour, claimed(channel))
    })
  )

  it.effect("wakes when a message is due that was committed while waiting", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const fiber = yield* waiting(channel)
      yield* commit(send(channel, { due: after(10 * minute) }))
      yield* endsWithin(hour, Effect.zipRight(Fiber.join(fiber), claimed(channel)))
    })
  )

  it.effect("wakes when a retry is due", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      yield* commit(retry(yield* claimOne(channel), 10 * minute))
      yield* endsWithin(hour, claimed(channel))
    })
  )

  it.effect("wakes when a scheduled message was moved to an earlier time", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(send(channel, { due: after(2 * day) }))
      const fiber = yield* waiting(channel)
      const [row] = yield* using((store) => store.scheduled({ channel }))
      yield* using((store) => store.reschedule(row!.key, after(minute)))
      yield* endsWithin(hour, Effect.zipRight(Fiber.join(fiber), claimed(channel)))
    })
  )

  it.effect("wakes when the lease of a lost consumer runs out", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      yield* claimOne(channel)
      yield* endsWithin(hour, claimed(channel))
    })
  )

  it.effect("wakes after a while anyway", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(send(channel, { due: after(30 * day) }))
      yield* endsWithin(hour, wake(channel, 10 * minute))
      yield* endsWithin(hour, wake(fresh("orders"), 10 * minute))
      yield* endsWithin(hour, wake(channel, 0))
      assert.strictEqual((yield* using((store) => store.depth(channel))).scheduled, 1)
    })
  )
}
