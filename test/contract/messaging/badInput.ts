/**
 * Numbers, durations, dates and keys that are none: refused with a sentence, and nothing is written.
 */
import { assert, it } from "@effect/vitest"
import { Channel, Consumer, DeadLetter, Handler, MessageScheduler, MessagingTest } from "@holdfast/core"
import { Duration, Effect, Layer } from "effect"
import type { Backend } from "./backend.ts"
import { consume, plain } from "./consuming.ts"
import {
  alone,
  defect,
  drain,
  expectRows,
  expectWaiting,
  letters,
  Orders,
  onlyLetter,
  Place,
  Placed,
  place,
  placed,
  rejected,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"

const noTimes = [Number.NaN, Number.POSITIVE_INFINITY, Duration.infinity, 1e20, new Date(Number.NaN)]
const noPriorities = [Number.NaN, 0.5, Number.POSITIVE_INFINITY, 2 ** 31]

export const badInput = <R>(backend: Backend<R>): void => {
  it.effect("times and priorities that a sender gives", () =>
    Effect.gen(function* () {
      for (const delay of noTimes) {
        assert.include((yield* rejected(ship("1", { delay }))).message, "Rejected: Ship cannot be held back")
        assert.include((yield* rejected(placed("1", { delay }))).message, "Rejected: Placed cannot be held back")
      }
      yield* rejected(ship("1", { at: new Date("tomorrow") }))
      for (const priority of noPriorities) {
        assert.include((yield* rejected(ship("1", { priority }))).message, `cannot have the priority ${priority}`)
        assert.include((yield* rejected(placed("1", { priority }))).message, `cannot have the priority ${priority}`)
      }
      yield* expectWaiting(0)
      yield* ship("past", { delay: -5_000, priority: -(2 ** 31 - 1) })
      assert.strictEqual(yield* drain, 1)
      yield* expectRows("past")
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("times that a waiting message is moved to, keys that nothing has, and lists of less than one", () =>
    Effect.gen(function* () {
      const scheduler = yield* MessageScheduler.MessageScheduler
      const deadLetter = yield* DeadLetter.DeadLetter
      yield* ship("1", { delay: "1 hour" })
      const [waiting] = yield* scheduler.list()
      for (const when of noTimes) yield* rejected(scheduler.move(waiting!.key, when))
      assert.deepStrictEqual(yield* scheduler.list(), [waiting])
      for (const key of ["", "no key", "-1", "99999999999999999999"]) {
        assert.isFalse(yield* scheduler.move(key, "1 hour"))
        assert.isFalse(yield* scheduler.cancel(key))
        assert.strictEqual(yield* deadLetter.replay([key]), 0)
        assert.strictEqual(yield* deadLetter.discard([key]), 0)
      }
      for (const limit of [0, -1, 1.5, Number.NaN]) {
        assert.include((yield* rejected(scheduler.list({ limit }))).message, `the limit is ${limit}`)
        assert.include((yield* rejected(deadLetter.list({ limit }))).message, `the limit is ${limit}`)
      }
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("a date that a handler computes for a copy whose publisher did not know it", () => {
    const later = Handler.event(Placed, { name: "Later", handle: ({ id }) => write(id) }).pipe(
      Handler.asynchronous(Orders),
      Handler.delay(({ id }) => new Date(id))
    )
    return Effect.gen(function* () {
      yield* Consumer.subscribe(Orders)
      yield* placed("never").pipe(Effect.provide(MessagingTest.layerStore))
      yield* drain
      const { error, reason } = yield* onlyLetter
      assert.strictEqual(reason, "Defect")
      assert.include(error, "Placed cannot be held back until an invalid date")
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(later)))
  })

  it.effect("options of a consumer, which then takes nothing", () =>
    Effect.gen(function* () {
      yield* ship("1")
      const refused: ReadonlyArray<readonly [Consumer.Options, string]> = [
        ...[0, -1, 1.5, Number.NaN].map((concurrency) => [{ concurrency }, `the concurrency`] as const),
        ...[0, "999 millis", Number.NaN, Duration.infinity, "2 days"].map(
          (lease) => [{ lease: lease as Duration.DurationInput }, "the lease"] as const
        ),
        ...[0, -1, Duration.infinity].map((pollInterval) => [{ pollInterval }, "the pollInterval"] as const),
        ...[-1, Number.NaN].map((drainTimeout) => [{ drainTimeout }, "the drainTimeout"] as const)
      ]
      for (const [options, what] of refused) {
        const { message } = yield* rejected(Effect.scoped(consume(options)))
        assert.include(message, `Rejected: ${what} of the consumer of channel "test/Orders" is `)
      }
      yield* expectWaiting(1)
      yield* Effect.scoped(consume({ concurrency: 1, lease: "1 second", pollInterval: 1, drainTimeout: 0 }))
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("keys that are empty, and so would be the same for all", () => {
    const shipping = plain.pipe(Handler.deduplicate({ key: ({ id }) => id }))
    const placing = Handler.command(Place, ({ id }) => Effect.as(write(id), id))
    return Effect.gen(function* () {
      assert.include((yield* rejected(place("1", { idempotencyKey: "" }))).message, "empty idempotencyKey")
      yield* ship("")
      yield* drain
      assert.include((yield* onlyLetter).error, 'the key of Ship for Handler.deduplicate of "Ship" is empty')
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(shipping, placing)))
  })

  it.effect("what a handler or a channel says of itself", () => {
    const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      for (const none of [0, -1, Number.NaN]) {
        for (const handler of [
          shipping.pipe(Handler.timeToLive(none)),
          shipping.pipe(Handler.timeout(none)),
          shipping.pipe(Handler.timeout({ duration: none, onTimeout: () => "late" })),
          shipping.pipe(Handler.deduplicate({ key: ({ id }) => id, window: none }))
        ]) {
          assert.match(yield* defect(Effect.scoped(Layer.build(Handler.layer(handler)))), /"Ship" is .*: give/)
        }
        class Wrong extends Channel.Tag<Wrong>()("test/Wrong", { maxBytes: none }) {}
        class Fragile extends Channel.Tag<Fragile>()("test/Wrong", { deadLetter: { afterCrashes: none } }) {}
        const sentence = defect(Effect.scoped(Layer.build(backend.channel(Wrong))))
        assert.strictEqual(yield* sentence, `maxBytes of channel "test/Wrong" is ${none}: give at least 1`)
        assert.include(yield* defect(Effect.scoped(Layer.build(backend.channel(Fragile)))), "afterCrashes of channel")
      }
      const endless = shipping.pipe(Handler.timeToLive(Duration.infinity), Handler.timeout(Duration.infinity))
      class Unbounded extends Channel.Tag<Unbounded>()("test/Unbounded", {
        maxBytes: Number.POSITIVE_INFINITY,
        deadLetter: { afterCrashes: Number.POSITIVE_INFINITY, unknownEndpointAfter: 0 }
      }) {}
      yield* Effect.scoped(Layer.build(Layer.merge(Handler.layer(endless), backend.channel(Unbounded))))
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(alone(backend))
  })
}
