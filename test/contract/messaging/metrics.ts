/**
 * What is counted and measured while messages come and go.
 */
import { assert, it } from "@effect/vitest"
import { DeadLetter, EventBus, Handler, Metrics } from "@holdfast/core"
import { Effect, Layer, Metric, MetricLabel, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  drain,
  eventually,
  expectRefused,
  minute,
  Orders,
  onlyLetter,
  Paid,
  Place,
  pass,
  place,
  refuse,
  Ship,
  second,
  ship,
  within
} from "./fixtures.ts"

/** What one series of the metric has. */
const valueOf = <Type, In, Out>(metric: Metric.Metric<Type, In, Out>, series: Record<string, string>) =>
  Metric.value(
    Metric.taggedWithLabels(
      metric,
      Object.entries(series).map(([key, value]) => MetricLabel.make(key, value))
    )
  )

const ofShip = { channel: Orders.channelName, endpoint: "Ship", message: "Ship" }

const counters = {
  sent: Metrics.sent,
  handled: Metrics.handled,
  failed: Metrics.failed,
  retried: Metrics.retried,
  deadLettered: Metrics.deadLettered,
  discarded: Metrics.discarded,
  expired: Metrics.expired,
  released: Metrics.released
}

/** The counters of a series that have risen while the effect ran: other tests count there too. */
const risen = <A, E, R>(effect: Effect.Effect<A, E, R>, series: Record<string, string> = ofShip) =>
  Effect.gen(function* () {
    const now = Effect.all(
      Object.fromEntries(
        Object.entries(counters).map(([name, metric]) => [
          name,
          Effect.map(valueOf(metric, series), ({ count }) => count)
        ])
      )
    )
    const before = yield* now
    yield* effect
    const after = yield* now
    return Object.fromEntries(
      Object.entries(after).flatMap(([name, count]) => (count > before[name]! ? [[name, count - before[name]!]] : []))
    )
  })

const gauge = (metric: Metric.Metric.Gauge<number>, channel = Orders.channelName) =>
  Effect.map(valueOf(metric, { channel }), ({ value }) => value)

const gauges = Effect.all([
  gauge(Metrics.depth),
  gauge(Metrics.scheduled),
  gauge(Metrics.deadLetters),
  Effect.map(gauge(Metrics.oldestAge), Math.floor)
])

export const metrics = <R>(backend: Backend<R>): void => {
  const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
  const once = Schedule.spaced("1 minute").pipe(Schedule.intersect(Schedule.recurs(1)))

  it.effect("count what is sent and handled", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* risen(Effect.all([ship("1"), ship("2")])), { sent: 2 })
      assert.deepStrictEqual(yield* risen(drain), { handled: 2 })
    }).pipe(within(backend, Handler.layer(shipping)))
  )

  it.effect("count nothing of what was undone", () => {
    const placing = Handler.command(Place, () => Effect.zipRight(ship(), refuse()))
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* risen(expectRefused(place())), {})
    }).pipe(within(backend, Handler.layer(placing, shipping)))
  })

  it.effect("count what is published, and each handler's copy as sent", () => {
    const [first, other] = ["First", "Other"].map((name) =>
      Handler.event(Paid, { name, handle: () => Effect.void }).pipe(Handler.asynchronous(Orders))
    )
    return Effect.gen(function* () {
      const published = Effect.map(valueOf(Metrics.published, { message: "Paid" }), ({ count }) => count)
      const before = yield* published
      const series = { channel: Orders.channelName, endpoint: "Other", message: "Paid" }
      assert.deepStrictEqual(yield* risen(EventBus.publish(new Paid({ id: "1" })), series), { sent: 1 })
      assert.strictEqual((yield* published) - before, 1)
    }).pipe(within(backend, Handler.layer(first!, other!)))
  })

  it.effect("count attempts that fail, and what becomes of the message", () => {
    const failing = Handler.command(Ship, () => Effect.fail("no")).pipe(
      Handler.asynchronous(Orders),
      Handler.retry(once)
    )
    return Effect.gen(function* () {
      yield* ship()
      assert.deepStrictEqual(yield* risen(drain), { failed: 1, retried: 1 })
      assert.deepStrictEqual(yield* risen(advance(minute)), { failed: 1, deadLettered: 1 })
      const deadLetters = yield* DeadLetter.DeadLetter
      yield* deadLetters.replay([(yield* onlyLetter).key])
      assert.deepStrictEqual(yield* risen(drain), { failed: 1, retried: 1 })
    }).pipe(within(backend, Handler.layer(failing)))
  })

  it.effect("count what is dropped, given back or too late", () => {
    const failing = Handler.command(Ship, () => Effect.fail("no")).pipe(
      Handler.asynchronous(Orders),
      Handler.deadLetter({ onGivenUp: "Discard" }),
      Handler.timeToLive("1 minute")
    )
    return Effect.gen(function* () {
      yield* ship()
      assert.deepStrictEqual(yield* risen(drain), { failed: 1, discarded: 1 })
      yield* ship()
      yield* pass(2 * minute)
      assert.deepStrictEqual(yield* risen(drain), { expired: 1 })
    }).pipe(within(backend, Handler.layer(failing)))
  })

  it.effect("measure how long a handler takes, and how long its message was under way", () => {
    const slow = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
    const histogram = (metric: Metric.Metric.Histogram<number>) => valueOf(metric, ofShip)
    return Effect.gen(function* () {
      const before = { duration: yield* histogram(Metrics.duration), latency: yield* histogram(Metrics.latency) }
      yield* ship()
      yield* pass(90 * second)
      yield* drain
      const [duration, latency] = [yield* histogram(Metrics.duration), yield* histogram(Metrics.latency)]
      assert.strictEqual(duration.count - before.duration.count, 1)
      assert.strictEqual(latency.count - before.latency.count, 1)
      const seconds = latency.sum - before.latency.sum
      assert.isTrue(seconds >= 90 && seconds < 150, `${seconds} seconds`)
    }).pipe(within(backend, Handler.layer(slow)))
  })

  it.effect("measure how many units one commit has", () =>
    Effect.gen(function* () {
      const before = yield* Metric.value(Metrics.commitSize)
      yield* ship()
      const after = yield* Metric.value(Metrics.commitSize)
      assert.isAbove(after.count, before.count)
    }).pipe(within(backend, Handler.layer(shipping)))
  )

  it.effect("count a broker's messages too", () => {
    const broker = makeBroker()
    const failing = Handler.command(Ship, () => Effect.fail("no")).pipe(
      Handler.asynchronous(Broker),
      Handler.retry(once)
    )
    const series = { ...ofShip, channel: Broker.channelName }
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* risen(ship(), series), { sent: 1 })
      assert.deepStrictEqual(yield* risen(drain, series), { failed: 1, retried: 1 })
    }).pipe(within(backend, Handler.layer(failing).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("show the depth of channels, what is scheduled and dead, and the age of the oldest", () => {
    const failing = Handler.command(Ship, () => Effect.fail("no")).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      yield* ship("2", { delay: "1 hour" })
      yield* Effect.all([ship("3"), ship("4")])
      yield* pass(90 * second)
      yield* Metrics.read()
      const [depth, scheduled, dead, age] = yield* gauges
      assert.deepStrictEqual([depth, scheduled, dead], [2, 1, 1])
      assert.isTrue(age >= 90 && age < 150, `${age} seconds`)
      yield* Metrics.read({ most: 1, channels: ["test/Elsewhere"] })
      assert.strictEqual(yield* gauge(Metrics.depth), 1)
      assert.strictEqual(yield* gauge(Metrics.depth, "test/Elsewhere"), 0)
    }).pipe(within(backend, Handler.layer(failing)))
  })

  it.effect("are read by their layer, again and again", () =>
    Effect.gen(function* () {
      yield* Layer.build(Metrics.layerWith({ interval: "5 seconds" }))
      yield* ship()
      yield* pass(5 * second)
      yield* eventually(
        "a depth of one",
        Effect.map(gauge(Metrics.depth), (depth) => depth === 1)
      )
      yield* drain
      yield* pass(5 * second)
      yield* eventually(
        "a depth of none",
        Effect.map(gauge(Metrics.depth), (depth) => depth === 0)
      )
    }).pipe(Effect.scoped, within(backend, Handler.layer(shipping)))
  )
}
