/**
 * Consumers that look by a schedule, and those that end by themselves.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, Handler } from "@holdfast/core"
import { type Clock, Duration, Effect, Fiber, Logger, Option, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import { consume, gated, ids, plain, withStore } from "./consuming.ts"
import {
  defect,
  eventually,
  expectRows,
  expectWaiting,
  isEmpty,
  letters,
  minute,
  Orders,
  pass,
  Ship,
  second,
  settle,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

/** Writes its id, after it sent the messages that its id names behind a colon. */
const chained = Handler.command(Ship, ({ id }) => {
  const [name, next] = id.split(":")
  return Effect.zipRight(write(name!), next === undefined ? Effect.void : ship(next))
}).pipe(Handler.asynchronous(Orders))

const ended = (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Effect.map(fiber.poll, Option.isSome)

/** As the platform has them: a timer that is set for longer than 2^31 ms is never due. Those of days are at once. */
const platformTimers = Effect.map(Effect.clock, (clock) => {
  const days: Array<number> = []
  const sleep = (duration: Duration.Duration) => {
    if (Duration.toMillis(duration) >= 2 ** 31) return Effect.never
    return Duration.toDays(duration) < 1
      ? clock.sleep(duration)
      : Effect.sync(() => void days.push(Duration.toDays(duration)))
  }
  return { days, clock: Object.assign(Object.create(clock), { sleep }) as Clock.Clock }
})

export const schedules = <R>(backend: Backend<R>): void => {
  it.scoped("look at a fixed rate: all that waits then is handled, also what comes of it", () =>
    Effect.gen(function* () {
      yield* Effect.forEach(["1", "2", "3:4"], (id) => ship(id))
      yield* consume({ schedule: Schedule.fixed("1 minute"), concurrency: 2, lease: "1 hour" })
      yield* pass(minute - second)
      yield* expectRows()
      yield* pass(second)
      yield* eventually("all are handled", isEmpty())
      yield* settle
      yield* expectRows("1", "2", "3", "4")
      yield* pass(5 * second) // it has found the channel empty by now, and rests
      yield* ship("5")
      yield* pass(minute - 6 * second)
      yield* expectRows("1", "2", "3", "4")
      yield* pass(second)
      yield* eventually("the late one is handled", isEmpty())
    }).pipe(within(backend, Handler.layer(chained)))
  )

  it.scoped("look when cron says", () =>
    Effect.gen(function* () {
      yield* ship("a")
      yield* consume({ schedule: Schedule.cron("5,25 * * * *", "UTC"), lease: "1 hour" })
      yield* pass(5 * minute - second)
      yield* expectRows()
      yield* pass(second)
      yield* eventually("it is handled at five past", isEmpty())
      yield* pass(5 * second) // it has found the channel empty by now, and rests
      yield* ship("b")
      yield* pass(20 * minute - 6 * second)
      yield* expectRows("a")
      yield* pass(second)
      yield* eventually("the other is handled at twenty-five past", isEmpty())
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.scoped("take nothing more once the schedule has ended", () =>
    Effect.gen(function* () {
      const twice = Schedule.fixed("1 minute").pipe(Schedule.intersect(Schedule.recurs(2)))
      yield* consume({ schedule: twice, lease: "1 hour" })
      const running = yield* Effect.fork(Consumer.run(Orders, { schedule: twice, lease: "1 hour" }))
      for (const id of ["a", "b"]) {
        yield* ship(id)
        yield* settle
        yield* pass(minute)
        yield* eventually("it is handled", isEmpty())
      }
      const { handled, reason } = yield* Fiber.join(running)
      assert.strictEqual(reason, "Schedule")
      assert.isAtMost(handled, 2)
      yield* pass(5 * second) // the other has ended too
      yield* ship("c")
      yield* pass(5 * minute)
      yield* expectRows("a", "b")
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("last longer than the timers of the platform, as durations do", () =>
    Effect.gen(function* () {
      const { clock, days } = yield* platformTimers
      yield* ship("a")
      const monthly = { schedule: Schedule.fixed("30 days"), stopAfter: { empty: true } }
      for (const options of [monthly, { stopAfter: { duration: "30 days" } }] as const) {
        const running = yield* Effect.fork(Effect.withClock(Consumer.run(Orders, options), clock))
        yield* eventually("it ends", ended(running))
        yield* Fiber.join(running)
      }
      assert.deepStrictEqual(days, [24, 6, 24, 6])
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.scoped("tell the log when they die", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    return Effect.gen(function* () {
      let steps = 0
      const broken = Schedule.mapEffect(Schedule.fixed("1 minute"), () =>
        Effect.suspend(() => (++steps === 3 ? Effect.dieMessage("broken") : Effect.void))
      )
      yield* consume({ schedule: broken, lease: "1 hour" })
      yield* pass(minute)
      yield* pass(minute)
      yield* eventually(
        "it is told",
        Effect.sync(() => lines.some((line) => line.startsWith("The consumer's schedule died")))
      )
    }).pipe(Effect.provide(Logger.add(logger)), within(backend, Handler.layer(plain)))
  })

  it.scoped("are refused at once when cron cannot read the expression", () =>
    Effect.gen(function* () {
      const sentence = yield* defect(consume({ schedule: Schedule.cron("at two") }))
      assert.match(sentence, /cron expression/i)
    }).pipe(within(backend, Handler.layer(plain)))
  )
}

export const stopConditions = <R>(backend: Backend<R>): void => {
  it.scoped("so many messages: never more are claimed than are left", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* Effect.forEach(ids(5), (id) => ship(id))
      const running = yield* Effect.fork(Consumer.run(Orders, { concurrency: 10, stopAfter: { messages: 3 } }))
      yield* eventually(
        "three run",
        Effect.sync(() => state.running === 3)
      )
      yield* settle
      assert.strictEqual(state.started, 3)
      yield* open
      assert.deepStrictEqual(yield* Fiber.join(running), { reason: "Messages", handled: 3 })
      yield* expectWaiting(2)
      const rest = yield* Consumer.run(Orders, { concurrency: 1, stopAfter: { messages: 2, empty: true } })
      assert.deepStrictEqual(rest, { reason: "Messages", handled: 2 })
      yield* expectRows(...ids(5))
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("so many messages: what fails counts, what is given back does not", () => {
    const failing = Handler.command(Ship, ({ id }) => (id === "bad" ? Effect.fail("no") : write(id))).pipe(
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      const stranger = { id: "1", tag: "Ship", endpoint: "Gone", attempt: 1, headers: {}, payload: "{}", failures: [] }
      const send = { _tag: "Send", channel: Orders.channelName, envelope: stranger, priority: 0 } as const
      yield* using((store) => store.commit([[{ ...send, due: undefined, timer: undefined }]]))
      yield* Effect.forEach(["bad", "good", "later"], (id) => ship(id))
      const stopped = yield* Consumer.run(Orders, { concurrency: 1, stopAfter: { messages: 2 } })
      assert.deepStrictEqual(stopped, { reason: "Messages", handled: 2 })
      yield* expectRows("good")
      assert.strictEqual((yield* letters).length, 1)
      yield* expectWaiting(2)
    }).pipe(within(backend, Handler.layer(failing)))
  })

  it.effect("nothing is waiting: also what came meanwhile is handled", () =>
    Effect.gen(function* () {
      yield* Effect.forEach(["1", "2:3", "4"], (id) => ship(id))
      yield* ship("later", { delay: "1 hour" })
      const stopped = yield* Consumer.run(Orders, { concurrency: 2, stopAfter: { empty: true } })
      assert.deepStrictEqual(stopped, { reason: "Empty", handled: 4 })
      assert.deepStrictEqual(yield* Consumer.run(Orders, { stopAfter: { empty: true } }), {
        reason: "Empty",
        handled: 0
      })
      yield* expectRows("1", "2", "3", "4")
    }).pipe(within(backend, Handler.layer(chained)))
  )

  it.scoped("nothing is waiting: not while one of its own is in flight, and others are taken beside it", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* ship("a")
      const running = yield* Effect.fork(Consumer.run(Orders, { lease: "1 hour", stopAfter: { empty: true } }))
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      yield* pass(3 * second) // it looks again
      assert.isFalse(yield* ended(running))
      yield* ship("b")
      yield* eventually(
        "the other runs too",
        Effect.sync(() => state.running === 2)
      )
      yield* open
      assert.deepStrictEqual(yield* Fiber.join(running), { reason: "Empty", handled: 2 })
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("a duration: what is in flight is finished, and nothing new is taken", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* ship("a")
      const options: Consumer.RunOptions = { lease: "1 hour", stopAfter: { duration: "1 minute" } }
      const running = yield* Effect.fork(Consumer.run(Orders, options))
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      yield* pass(minute)
      yield* ship("b")
      yield* settle
      assert.deepStrictEqual([state.started, state.interrupted, yield* ended(running)], [1, 0, false])
      yield* open
      assert.deepStrictEqual(yield* Fiber.join(running), { reason: "Duration", handled: 1 })
      yield* expectRows("a")
      yield* expectWaiting(1)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("a duration, also while it rests; and what outlasts the drain is given back and not counted", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      const schedule = Schedule.fixed("1 hour")
      const resting = yield* Effect.fork(
        Consumer.run(Orders, { schedule, lease: "1 hour", stopAfter: { duration: "90 seconds" } })
      )
      yield* ship("a")
      const options: Consumer.RunOptions = { lease: "1 hour", drainTimeout: "5 seconds" }
      const running = yield* Effect.fork(Consumer.run(Orders, { ...options, stopAfter: { duration: "1 minute" } }))
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      yield* pass(minute)
      yield* pass(30 * second)
      assert.deepStrictEqual(yield* Fiber.join(running), { reason: "Duration", handled: 0 })
      assert.deepStrictEqual(yield* Fiber.join(resting), { reason: "Duration", handled: 0 })
      assert.strictEqual(state.interrupted, 1)
      yield* expectWaiting(1)
    }).pipe(Effect.ensuring(open), within(backend, Handler.layer(handler)))
  })

  it.effect("memory: looked at between messages", () => {
    let used = 0
    const growing = Handler.command(Ship, ({ id }) =>
      Effect.zipRight(
        write(id),
        Effect.sync(() => {
          used += 100
        })
      )
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* Effect.forEach(ids(5), (id) => ship(id))
      const stopped = yield* Consumer.run(Orders, { concurrency: 1, stopAfter: { memory: 300 } }).pipe(
        Effect.provideService(
          Consumer.MemoryUsage,
          Effect.sync(() => used)
        )
      )
      assert.deepStrictEqual(stopped, { reason: "Memory", handled: 3 })
      yield* expectRows("1", "2", "3")
      yield* expectWaiting(2)
      const real = yield* Consumer.run(Orders, { stopAfter: { memory: 1024 * 1024 } })
      assert.deepStrictEqual(real, { reason: "Memory", handled: 0 }, "of this process, unless a test says otherwise")
    }).pipe(within(backend, Handler.layer(growing)))
  })

  it.scoped("an interruption drains as well", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* ship("a")
      const running = yield* Effect.fork(Consumer.run(Orders, { lease: "1 hour" }))
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      const interrupting = yield* Effect.fork(Fiber.interrupt(running))
      yield* settle
      assert.isFalse(yield* ended(interrupting))
      yield* open
      yield* Fiber.join(interrupting)
      assert.strictEqual(state.interrupted, 0)
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect(
    "it registers as the layer does: a pool that is too small and conditions that make no sense are refused",
    () =>
      Effect.gen(function* () {
        const few = withStore(
          () => ({ handlerConnections: 3 }),
          Consumer.run(Orders, { concurrency: 4, stopAfter: { empty: true } })
        )
        assert.strictEqual((yield* Effect.flip(few)).reason, "Rejected")
        for (const stopAfter of [{ messages: 0 }, { duration: -1 }, { memory: 0.5 }]) {
          const error = yield* Effect.flip(Consumer.run(Orders, { stopAfter }))
          assert.match(error.detail, /^stopAfter\.\w+ of the consumer of channel "test\/Orders" is .*: give a/)
        }
      }).pipe(within(backend, Handler.layer(plain)))
  )
}
