/**
 * Channels that are paused for all who consume them.
 */
import { assert, it } from "@effect/vitest"
import { Channel, Consumer, Handler, MessagingTest } from "@holdfast/core"
import { Context, Effect, Layer } from "effect"
import type { Backend } from "./backend.ts"
import { consume, gated, plain } from "./consuming.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  drain,
  eventually,
  expectRows,
  expectWaiting,
  isEmpty,
  minute,
  Orders,
  pass,
  passUntil,
  Ship,
  second,
  settle,
  ship,
  within,
  write
} from "./fixtures.ts"

export const pausing = <R>(backend: Backend<R>): void => {
  it.scoped(
    "stops all consumers: what is in flight is finished, what is sent and due waits until it is resumed",
    () => {
      const { handler, open, state } = gated()
      return Effect.gen(function* () {
        yield* consume({ lease: "1 hour" })
        yield* consume({ lease: "1 hour" })
        yield* ship("1")
        yield* eventually(
          "it runs",
          Effect.sync(() => state.running === 1)
        )
        yield* ship("2", { delay: "1 minute" })
        yield* Consumer.pause(Orders)
        assert.deepStrictEqual(yield* Consumer.paused, [Orders.channelName])
        yield* ship("3")
        yield* pass(5 * second)
        assert.strictEqual(state.started, 1)
        yield* open
        yield* eventually(
          "it is finished",
          Effect.sync(() => state.running === 0)
        )
        yield* pass(minute)
        yield* expectRows("1")
        yield* expectWaiting(2)
        yield* Consumer.resume(Orders)
        yield* eventually("the others are handled, without a poll", isEmpty())
        yield* settle
        yield* expectRows("1", "2", "3")
        assert.deepStrictEqual(yield* Consumer.paused, [])
      }).pipe(within(backend, Handler.layer(handler)))
    }
  )

  it.effect("leaves nothing to drain, nor for consumers that end by themselves", () =>
    Effect.gen(function* () {
      yield* ship("a")
      yield* ship("b", { delay: "1 minute" })
      yield* Consumer.pause(Orders)
      assert.strictEqual(yield* Consumer.drain(Orders), 0)
      assert.strictEqual(yield* drain, 0)
      assert.strictEqual(yield* advance("1 hour"), 0)
      assert.strictEqual((yield* Consumer.run(Orders, { stopAfter: { empty: true } })).handled, 0)
      yield* expectRows()
      yield* Consumer.resume(Orders)
      assert.strictEqual(yield* MessagingTest.drain, 2)
      yield* expectRows("a", "b")
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.scoped("stops a broker's channel, which then is not asked for anything", () => {
    const broker = makeBroker()
    let asked = 0
    const counting = Layer.unwrapScoped(
      Effect.map(Layer.build(broker.layer), (context) => {
        const { driver } = Context.get(context, Broker) as Channel.Direct
        const counted = <A, E>(effect: Effect.Effect<A, E>) => Effect.tap(effect, () => Effect.sync(() => void asked++))
        // as a broker does, it tells at once that something waits
        const wake = (atMost: number) => (broker.state.waiting.length > 0 ? Effect.void : Effect.sleep(atMost))
        return Channel.layerDirect(Broker, {
          ...driver,
          claim: (options) => counted(driver.claim(options)),
          wake: (atMost) => counted(wake(atMost))
        })
      })
    )
    const shipping = Handler.command(Ship, ({ id }) => write(id)).pipe(Handler.asynchronous(Broker))
    return Effect.gen(function* () {
      yield* Consumer.pause(Broker)
      yield* ship("a")
      yield* Layer.build(Consumer.layer(Broker))
      yield* pass(5 * second)
      assert.strictEqual(yield* Consumer.drain(Broker), 0)
      yield* settle
      assert.strictEqual(asked, 0)
      yield* expectRows()
      yield* Consumer.resume(Broker)
      yield* passUntil(
        "it is handled",
        Effect.sync(() => broker.state.acknowledged.length === 1)
      )
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(shipping).pipe(Layer.provideMerge(counting))))
  })
}
