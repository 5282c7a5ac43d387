/**
 * Timeouts of sagas: rows that fire at their time, once.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, type Envelope, EventBus, Handler, MessageScheduler, Saga } from "@holdfast/core"
import { Effect, Layer, Option, Schema } from "effect"
import { type Backend, Ledger } from "./backend.ts"
import {
  advance,
  drain,
  expectTimes,
  expectWaiting,
  hour,
  isEmpty,
  letters,
  minute,
  Orders,
  Paid,
  Placed,
  pass,
  passUntil,
  placed,
  Ship,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

const now = Effect.orDie(using((store) => store.now))
const paid = (id = "1") => EventBus.publish(new Paid({ id }))

/** Placed arms "late" for an hour; what Paid and Ship do, the test says. It remembers when the timeout fired. */
const waiting = <E = never, R = never, E2 = never, R2 = never>(
  onPaid: Effect.Effect<unknown, E, R>,
  onLate: Effect.Effect<unknown, E2, R2> = Effect.void
) =>
  Saga.make("Waiting", { state: Schema.Array(Schema.Number) }).pipe(
    Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.as(Saga.arm("late", "1 hour"), []) }),
    Saga.on(Paid, { id: (_) => _.id, handle: (fired) => Effect.as(onPaid, fired) }),
    Saga.on(Ship, { id: (_) => _.id, handle: (fired) => Effect.succeed(Saga.complete(fired)) }),
    Saga.onTimeout("late", {
      handle: (fired) => Effect.map(Effect.zipRight(onLate, now), (at) => [...fired, at])
    }),
    Handler.asynchronous(Orders)
  )

const plain = waiting(Effect.void)

const instance = Effect.map(Saga.get({ name: "Waiting", state: Schema.Array(Schema.Number) }, "1"), Option.getOrThrow)

const expectFired = <R>(backend: Backend<R>, start: number, ...expected: ReadonlyArray<number>) =>
  Effect.map(instance, ({ state }) =>
    expectTimes(
      backend,
      state.map((at) => at - start),
      expected
    )
  )

/** Starts the saga now, and answers when. */
const started = Effect.gen(function* () {
  const start = yield* now
  yield* placed()
  yield* drain
  return start
})

export const timeouts = <R>(backend: Backend<R>): void => {
  it.effect("get the envelope of what fired them, as the other transitions do", () => {
    const seen: Array<Envelope.Metadata> = []
    const look = (state: string, envelope: Envelope.Metadata) =>
      Effect.as(
        Effect.sync(() => seen.push(envelope)),
        state
      )
    const saga = Saga.make("Looking", { state: Schema.String }).pipe(
      Saga.startOn(Placed, {
        id: (_) => _.id,
        handle: (_, envelope) => Effect.zipLeft(look("started", envelope), Saga.arm("late", "1 hour"))
      }),
      Saga.on(Paid, { id: (_) => _.id, handle: (state, _, envelope) => look(state, envelope) }),
      Saga.onTimeout("late", { handle: look }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* placed("1", { headers: { step: "one" } })
      yield* drain
      yield* EventBus.publish(new Paid({ id: "1" }), { headers: { step: "two" } })
      yield* advance("1 hour")
      const [started, moved, fired] = seen
      assert.deepStrictEqual([started!.headers.step, moved!.headers.step, fired!.headers.step], ["one", "two", "one"])
      assert.deepStrictEqual([started!.tag, moved!.tag], ["Placed", "Paid"])
      assert.strictEqual(fired!.headers.causationId, started!.id)
      for (const { attempt, endpoint } of seen) assert.deepStrictEqual([attempt, endpoint], [1, "Looking"])
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.effect("fire at their time, not before, and once", () =>
    Effect.gen(function* () {
      const start = yield* started
      assert.deepStrictEqual((yield* instance).timeouts, ["late"])
      yield* advance("59 minutes")
      yield* expectFired(backend, start)
      yield* advance("3 minutes")
      yield* expectFired(backend, start, hour)
      assert.deepStrictEqual((yield* instance).timeouts, [])
      yield* advance("10 hours")
      yield* expectFired(backend, start, hour)
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("are moved to a later time when they are armed again", () =>
    Effect.gen(function* () {
      const start = yield* started
      yield* advance("30 minutes")
      yield* paid()
      yield* advance("5 hours")
      yield* expectFired(backend, start, 2.5 * hour)
    }).pipe(within(backend, Handler.layer(waiting(Saga.arm("late", "2 hours")))))
  )

  it.effect("are moved to an earlier time when they are armed again", () =>
    Effect.gen(function* () {
      const start = yield* started
      yield* paid()
      yield* advance("5 hours")
      yield* expectFired(backend, start, 10 * minute)
    }).pipe(within(backend, Handler.layer(waiting(Saga.arm("late", "10 minutes")))))
  )

  it.effect("may be armed for an instant, and one in the past fires at once", () =>
    Effect.gen(function* () {
      yield* started
      yield* paid()
      assert.strictEqual(yield* drain, 2)
      assert.strictEqual((yield* instance).state.length, 1)
    }).pipe(within(backend, Handler.layer(waiting(Saga.arm("late", new Date(0))))))
  )

  it.effect("do not fire when they were cancelled", () =>
    Effect.gen(function* () {
      const start = yield* started
      yield* paid()
      yield* drain
      assert.deepStrictEqual((yield* instance).timeouts, [])
      yield* advance("5 hours")
      yield* expectFired(backend, start)
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(waiting(Saga.cancel("late")))))
  )

  it.effect("may be cancelled and armed again in one transition", () =>
    Effect.gen(function* () {
      const start = yield* started
      yield* paid()
      yield* advance("5 hours")
      yield* expectFired(backend, start, 3 * hour)
    }).pipe(
      within(
        backend,
        Handler.layer(
          waiting(Effect.all([Saga.cancel("late"), Saga.arm("late", "10 minutes"), Saga.arm("late", "3 hours")]))
        )
      )
    )
  )

  it.effect("may arm themselves again", () => {
    let left = 3
    const again = Effect.suspend(() => (--left > 0 ? Saga.arm("late", "1 hour") : Effect.void))
    return Effect.gen(function* () {
      const start = yield* started
      yield* advance("10 hours")
      yield* expectFired(backend, start, hour, 2 * hour, 3 * hour)
    }).pipe(within(backend, Handler.layer(waiting(Effect.void, again))))
  })

  it.effect("end with their saga", () =>
    Effect.gen(function* () {
      const start = yield* started
      yield* ship()
      yield* drain
      yield* expectWaiting(0)
      assert.deepStrictEqual((yield* instance).timeouts, [])
      yield* advance("5 hours")
      yield* expectFired(backend, start)
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("that were on their way when their saga completed are ignored", () =>
    Effect.gen(function* () {
      const start = yield* started
      const { key } = (yield* using((store) => store.scheduled({})))[0]!
      yield* using((store) => store.reschedule(key, { _tag: "After", millis: 0 }))
      const [timeout] = yield* using((store) =>
        store.claim({ channel: Orders.channelName, limit: 1, leaseMillis: minute, owner: "other" })
      )
      yield* ship()
      yield* drain
      yield* using((store) => store.release([timeout!.lease], 0))
      assert.strictEqual(yield* drain, 1)
      yield* expectFired(backend, start)
      assert.deepStrictEqual(yield* letters, [])
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("that were on their way when they were armed again fire once, at the new time", () =>
    Effect.gen(function* () {
      const start = yield* started
      const { key } = (yield* using((store) => store.scheduled({})))[0]!
      yield* using((store) => store.reschedule(key, { _tag: "After", millis: 0 }))
      const [timeout] = yield* using((store) =>
        store.claim({ channel: Orders.channelName, limit: 1, leaseMillis: minute, owner: "other" })
      )
      yield* paid()
      yield* drain
      yield* using((store) => store.release([timeout!.lease], 0))
      yield* advance("5 hours")
      yield* expectFired(backend, start, 2 * hour)
    }).pipe(within(backend, Handler.layer(waiting(Saga.arm("late", "2 hours")))))
  )

  it.effect("and a completion at the same moment: exactly one of the two ends the saga", () => {
    const ends: Array<string> = []
    const saga = Saga.make("Waiting", { state: Schema.Array(Schema.Number) }).pipe(
      Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.as(Saga.arm("late", "1 hour"), []) }),
      Saga.on(Ship, {
        id: (_) => _.id,
        handle: (state) =>
          Effect.as(
            Effect.sync(() => ends.push("shipped")),
            Saga.complete(state)
          )
      }),
      Saga.onTimeout("late", {
        handle: (state) =>
          Effect.as(
            Effect.sync(() => ends.push("late")),
            Saga.complete(state)
          )
      }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* started
      yield* ship("1", { delay: "1 hour" })
      yield* advance("2 hours")
      assert.strictEqual(ends.length, 1)
      assert.isTrue((yield* instance).completed)
      assert.deepStrictEqual(yield* letters, [])
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.scoped("and a completion handled at once: one of the two commits, the other is ignored", () => {
    let branches = 0
    const ending = (how: string) => () =>
      Effect.as(
        Effect.suspend(() => write(`${how} ${++branches}`)),
        Saga.complete<ReadonlyArray<number>>([])
      )
    const saga = Saga.make("Waiting", { state: Schema.Array(Schema.Number) }).pipe(
      Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.as(Saga.arm("late", "1 hour"), []) }),
      Saga.on(Ship, { id: (_) => _.id, handle: ending("shipped") }),
      Saga.onTimeout("late", { handle: ending("late") }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      const names = ["1", "2", "3", "4", "5", "6"]
      for (const id of names) {
        yield* placed(id)
        yield* ship(id, { delay: "1 hour" })
      }
      yield* drain
      yield* pass(hour)
      yield* Layer.build(Consumer.layer(Orders, { concurrency: 8 }))
      yield* passUntil("all have ended", isEmpty())
      const rows = yield* Effect.flatMap(Ledger, (ledger) => ledger.rows)
      assert.strictEqual(rows.length, names.length)
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.effect("can be listed, and of several each fires in its own time", () => {
    const fired: Array<string> = []
    const on = (name: string) => ({
      handle: (state: {}) =>
        Effect.as(
          Effect.sync(() => fired.push(name)),
          state
        )
    })
    const saga = Saga.make("Several", { state: Schema.Struct({}) }).pipe(
      Saga.startOn(Placed, {
        id: (_) => _.id,
        handle: () => Effect.as(Effect.all([Saga.arm("second", "2 hours"), Saga.arm("first", "1 hour")]), {})
      }),
      Saga.onTimeout("first", on("first")),
      Saga.onTimeout("second", on("second")),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* started
      const scheduler = yield* MessageScheduler.MessageScheduler
      assert.deepStrictEqual(
        (yield* scheduler.list({ endpoint: "Several" })).map(({ timer }) => timer?.name),
        ["first", "second"]
      )
      yield* advance("3 hours")
      assert.deepStrictEqual(fired, ["first", "second"])
    }).pipe(within(backend, Handler.layer(saga)))
  })
}
