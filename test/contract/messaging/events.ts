/**
 * Asynchronous handlers of one event are independent, and retries are durable.
 */
import { assert, it } from "@effect/vitest"
import { Channel, Envelope, Handler, MessageScheduler, MessagingTest } from "@holdfast/core"
import { Duration, Effect, Layer, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  alone,
  drain,
  expectRows,
  expectTimes,
  expectWaiting,
  hour,
  letters,
  minute,
  Orders,
  onlyLetter,
  Placed,
  placed,
  Ship,
  type System,
  second,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

const now = Effect.orDie(using((store) => store.now))

/** A handler that fails, as long as `fails` says, and notes when it ran. */
const failing = (name: string, fails: (run: number) => boolean = () => true) => {
  const runs: Array<number> = []
  const handler = Handler.event(Placed, {
    name,
    handle: () =>
      Effect.gen(function* () {
        runs.push(yield* now)
        yield* write(`${name} ${runs.length}`)
        if (fails(runs.length)) return yield* Effect.fail(`no ${runs.length}`)
      })
  })
  return { handler, runs, times: (start: number) => runs.map((at) => at - start) }
}

const times = (count: number) => Schedule.recurs(count)

export const events = <R>(backend: Backend<R>): void => {
  it.effect("each have a copy: one fails for ever, the others are done", () => {
    const bad = failing("bad")
    const good = ["A", "B"].map((name) => failing(name, () => false).handler.pipe(Handler.asynchronous(Orders)))
    return Effect.gen(function* () {
      yield* placed()
      yield* expectWaiting(3)
      yield* advance("1 minute")
      yield* expectRows("A 1", "B 1")
      yield* advance("1 hour")
      const letter = yield* onlyLetter
      assert.strictEqual(letter.envelope.endpoint, "bad")
      assert.strictEqual(bad.runs.length, 4)
      yield* expectRows("A 1", "B 1")
      yield* expectWaiting(0)
    }).pipe(
      within(
        backend,
        Handler.layer(
          bad.handler.pipe(
            Handler.asynchronous(Orders),
            Handler.retry(Schedule.spaced("2 minutes").pipe(Schedule.intersect(times(3))))
          ),
          ...good
        )
      )
    )
  })

  it.effect("each have their own retries", () => {
    const [slow, quick] = [failing("slow", (run) => run < 2), failing("quick", (run) => run < 3)]
    return Effect.gen(function* () {
      const start = yield* now
      yield* placed()
      yield* advance("2 hours")
      expectTimes(backend, slow.times(start), [0, hour])
      expectTimes(backend, quick.times(start), [0, minute, 2 * minute])
      yield* expectRows("slow 2", "quick 3")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(
      within(
        backend,
        Handler.layer(
          slow.handler.pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.spaced("1 hour"))),
          quick.handler.pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.spaced("1 minute")))
        )
      )
    )
  })

  it.effect("are handled beside synchronous ones, which run first", () => {
    const order: Array<string> = []
    const on = (name: string) => Handler.event(Placed, { name, handle: () => Effect.sync(() => void order.push(name)) })
    return Effect.gen(function* () {
      yield* placed()
      assert.deepStrictEqual(order, ["sync 1", "sync 2"])
      yield* drain
      assert.deepStrictEqual(order, ["sync 1", "sync 2", "async"])
      assert.strictEqual((yield* MessagingTest.handled(Placed)).length, 3)
    }).pipe(within(backend, Handler.layer(on("async").pipe(Handler.asynchronous(Orders)), on("sync 1"), on("sync 2"))))
  })

  it.effect("may have no handler at all", () =>
    Effect.gen(function* () {
      yield* placed()
      yield* expectWaiting(0)
    }).pipe(alone(backend))
  )
}

const exponential = Schedule.exponential("1 second")

class Retrying extends Channel.Tag<Retrying>()("test/Retrying", {
  messages: [Placed],
  retry: Schedule.intersect(Schedule.spaced("10 minutes"), times(1))
}) {}

export const durableRetries = <R>(backend: Backend<R>): void => {
  const retrying = (
    name: string,
    expected: ReadonlyArray<number>,
    shape: (
      handler: ReturnType<typeof failing>["handler"]
    ) => Handler.Handler<typeof Placed, any, System, "Asynchronous">,
    fails?: (run: number) => boolean
  ) =>
    it.effect(name, () => {
      const { handler, times } = failing("Fail", fails)
      return Effect.gen(function* () {
        const start = yield* now
        yield* placed()
        yield* advance("1 hour")
        expectTimes(backend, times(start), expected)
        assert.strictEqual((yield* letters).length, fails === undefined ? 1 : 0)
        yield* expectWaiting(0)
      }).pipe(within(backend, Handler.layer(shape(handler))))
    })

  retrying(
    "follow an exponential schedule that ends",
    [0, 1, 3, 7].map((s) => s * second),
    (handler) => handler.pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.intersect(exponential, times(3))))
  )

  retrying(
    "follow a fixed schedule",
    [0, 10, 20, 30].map((m) => m * minute),
    (handler) =>
      handler.pipe(
        Handler.asynchronous(Orders),
        Handler.retry(Schedule.intersect(Schedule.fixed("10 minutes"), times(3)))
      )
  )

  retrying("end at once for errors that the schedule does not want", [0, second], (handler) =>
    handler.pipe(
      Handler.asynchronous(Orders),
      Handler.retry(exponential.pipe(Schedule.whileInput((error: any) => error !== "no 2")))
    )
  )

  retrying(
    "follow a schedule limited by elapsed time",
    [0, 10, 20].map((m) => m * minute),
    (handler) =>
      handler.pipe(
        Handler.asynchronous(Orders),
        Handler.retry(Schedule.spaced("10 minutes").pipe(Schedule.upTo("15 minutes")))
      )
  )

  retrying(
    "come after those in place, which count as one attempt",
    [0, 0, 0, 60, 60, 60].map((s) => s * second),
    (handler) =>
      handler.pipe(
        Handler.retry(times(2)),
        Handler.asynchronous(Orders),
        Handler.retry(Schedule.intersect(Schedule.spaced("1 minute"), times(1)))
      )
  )

  retrying(
    "are not needed when one in place succeeds",
    [0, 0],
    (handler) => handler.pipe(Handler.retry(times(2)), Handler.asynchronous(Orders)),
    (run) => run < 2
  )

  retrying("do not happen without a schedule: the first failure is the last", [0], (handler) =>
    handler.pipe(Handler.asynchronous(Orders))
  )

  retrying(
    "end when the handler succeeds",
    [0, 1, 3].map((s) => s * second),
    (handler) => handler.pipe(Handler.asynchronous(Orders), Handler.retry(exponential)),
    (run) => run < 3
  )

  retrying("end when the schedule waits for ever", [0], (handler) =>
    handler.pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.spaced(Duration.infinity)))
  )

  it.effect("are the channel's, unless the handler has its own", () => {
    const [channels, own] = [failing("channel's"), failing("own")]
    return Effect.gen(function* () {
      const start = yield* now
      yield* placed()
      yield* advance("1 hour")
      expectTimes(backend, channels.times(start), [0, 10 * minute])
      expectTimes(backend, own.times(start), [0, minute, 2 * minute])
    }).pipe(
      within(
        backend,
        Handler.layer(
          channels.handler.pipe(Handler.asynchronous(Retrying)),
          own.handler.pipe(
            Handler.asynchronous(Retrying),
            Handler.retry(Schedule.intersect(Schedule.spaced("1 minute"), times(2)))
          )
        ).pipe(Layer.provideMerge(backend.channel(Retrying)))
      )
    )
  })

  it.effect("show in the envelope: its attempt, and the history of its failures", () => {
    const attempts: Array<number> = []
    const handler = Handler.command(Ship, () =>
      Effect.zipRight(
        Effect.map(Envelope.CurrentEnvelope, ({ attempt }) => void attempts.push(attempt)),
        Effect.fail(`no ${attempts.length + 1}`)
      )
    ).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.intersect(exponential, times(2))))
    return Effect.gen(function* () {
      const start = yield* now
      yield* ship()
      yield* advance("1 minute")
      assert.deepStrictEqual(attempts, [1, 2, 3])
      const { envelope } = yield* onlyLetter
      assert.strictEqual(envelope.attempt, 3)
      expectTimes(
        backend,
        envelope.failures.map(({ at }) => at - start),
        [0, second, 3 * second]
      )
      for (const [index, { error }] of envelope.failures.entries()) assert.include(error, `no ${index + 1}`)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("can be listed while they wait, and moved", () => {
    const { handler, runs } = failing("Fail", (run) => run < 2)
    return Effect.gen(function* () {
      const scheduler = yield* MessageScheduler.MessageScheduler
      yield* placed()
      yield* drain
      const [waiting] = yield* scheduler.list()
      assert.strictEqual(waiting!.envelope.failures.length, 1)
      yield* scheduler.move(waiting!.key, "1 second")
      yield* advance("1 minute")
      assert.strictEqual(runs.length, 2)
    }).pipe(
      within(
        backend,
        Handler.layer(handler.pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.spaced("1 hour"))))
      )
    )
  })
}
