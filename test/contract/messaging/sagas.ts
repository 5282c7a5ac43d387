/**
 * Sagas remember, and are moved by one message at a time.
 */
import { assert, it } from "@effect/vitest"
import { CommandBus, Consumer, Envelope, EventBus, Handler, MessagingTest, Saga, UnitOfWork } from "@holdfast/core"
import { Effect, Layer, Option, Schema } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  drain,
  expectRows,
  expectWaiting,
  failing,
  isEmpty,
  letters,
  Mails,
  Orders,
  onlyLetter,
  Paid,
  Place,
  Placed,
  passUntil,
  placed,
  Ship,
  ship,
  shipped,
  using,
  within,
  write
} from "./fixtures.ts"

const paid = (id = "1") => EventBus.publish(new Paid({ id }))

const State = Schema.Struct({ steps: Schema.Array(Schema.String) })

const step = (name: string) => (state: typeof State.Type) => Effect.succeed({ steps: [...state.steps, name] })

/** Placed starts it, Paid moves it on, a Paid with "end" completes it. */
const journey = Saga.make("Journey", { state: State }).pipe(
  Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.succeed({ steps: ["placed"] }) }),
  Saga.on(Paid, { id: (_) => _.id, handle: step("paid") }),
  Saga.on(Ship, { id: (_) => _.id, handle: (state) => Effect.map(step("shipped")(state), Saga.complete) })
)

const shippingOnMails = Handler.command(Ship, ({ id }) => write(`shipped ${id}`)).pipe(Handler.asynchronous(Mails))

/** A journey whose Paid does something else. */
const journeyWith = <E, R>(onPaid: (state: typeof State.Type) => Effect.Effect<typeof State.Type, E, R>) =>
  Saga.make("Journey", { state: State }).pipe(
    Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.succeed({ steps: ["placed"] }) }),
    Saga.on(Paid, { id: (_) => _.id, handle: onPaid }),
    Saga.onTimeout("late", { handle: step("late") }),
    Handler.asynchronous(Orders)
  )

const stored = Effect.map(
  Saga.get(journey, "1"),
  Option.map(({ completed, state, version }) => ({ ...state, completed, version }))
)

const expectSteps = (...steps: ReadonlyArray<string>) =>
  Effect.map(Saga.get(journey, "1"), (instance) =>
    assert.deepStrictEqual(Option.getOrUndefined(instance)?.state.steps, steps)
  )

const adding = Saga.make("Adding", { state: Schema.Number }).pipe(
  Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.succeed(1) }),
  Saga.on(Placed, { id: (_) => _.id, handle: (count) => Effect.as(Effect.yieldNow(), count + 1) })
)

export const sagas = <R>(backend: Backend<R>): void => {
  const both = [
    ["in the publisher's unit", journey],
    ["over a channel", journey.pipe(Handler.asynchronous(Orders))]
  ] as const

  for (const [where, saga] of both) {
    it.effect(`start, go on and complete ${where}`, () =>
      Effect.gen(function* () {
        yield* placed()
        yield* drain
        assert.deepStrictEqual(yield* stored, Option.some({ steps: ["placed"], completed: false, version: 1 }))
        yield* paid()
        yield* drain
        yield* ship()
        yield* drain
        assert.deepStrictEqual(
          yield* stored,
          Option.some({ steps: ["placed", "paid", "shipped"], completed: true, version: 3 })
        )
      }).pipe(within(backend, Handler.layer(saga)))
    )

    it.effect(`keep the last state when complete, and ignore what comes later ${where}`, () =>
      Effect.gen(function* () {
        yield* placed()
        yield* drain
        yield* ship()
        yield* drain
        const last = yield* stored
        yield* Effect.all([placed(), paid(), ship()])
        yield* drain
        assert.deepStrictEqual(yield* stored, last)
        assert.deepStrictEqual(yield* letters, [])
      }).pipe(within(backend, Handler.layer(saga)))
    )
  }

  it.effect("ignore what does not start them, and what would start them again", () =>
    Effect.gen(function* () {
      yield* paid()
      assert.isTrue(Option.isNone(yield* Saga.get(journey, "1")))
      yield* placed()
      yield* placed()
      yield* expectSteps("placed")
      const log = yield* MessagingTest.log
      assert.deepStrictEqual(
        log.flatMap((entry) => (entry._tag === "Ignored" ? [entry.detail] : [])),
        [
          'Saga Journey "1" does not exist, so Paid does not move it',
          'Saga Journey "1" exists already, so Placed does not move it'
        ]
      )
    }).pipe(within(backend, Handler.layer(journey)))
  )

  it.effect("keep their instances apart", () =>
    Effect.gen(function* () {
      yield* Effect.all([placed("1"), placed("2"), paid("2")])
      yield* expectSteps("placed")
      assert.strictEqual(Option.getOrThrow(yield* Saga.get(journey, "2")).version, 2)
    }).pipe(within(backend, Handler.layer(journey)))
  )

  it.effect("start or go on with one message, by whether the instance exists", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 3; i++) yield* placed()
      assert.strictEqual(Option.getOrThrow(yield* Saga.get(adding, "1")).state, 3)
    }).pipe(within(backend, Handler.layer(adding)))
  )

  it.effect("start once when two messages would start them at once", () =>
    Effect.gen(function* () {
      yield* Effect.all([placed(), placed(), placed()], { concurrency: "unbounded" })
      assert.strictEqual(Option.getOrThrow(yield* Saga.get(adding, "1")).state, 3)
    }).pipe(within(backend, Handler.layer(adding)))
  )

  it.scoped("lose no update of fifty messages handled at once, and burn no attempt", () => {
    const attempts = new Set<number>()
    const look = Effect.map(Envelope.CurrentEnvelope, ({ attempt }) => void attempts.add(attempt))
    const saga = Saga.make("Adding", { state: Schema.Number }).pipe(
      Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.as(look, 1) }),
      Saga.on(Placed, {
        id: (_) => _.id,
        handle: (count) => Effect.as(Effect.zipRight(look, Effect.yieldNow()), count + 1)
      }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* Effect.forEach(Array.from({ length: 50 }), () => placed())
      yield* Layer.build(Consumer.layer(Orders, { concurrency: 8, lease: "1 hour" }))
      yield* passUntil("all are handled", isEmpty())
      assert.strictEqual(Option.getOrThrow(yield* Saga.get(adding, "1")).state, 50)
      assert.deepStrictEqual([...attempts], [1])
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.effect("find their instance by a header, or by an Option", () => {
    const saga = Saga.make("ByHeader", { state: State }).pipe(
      Saga.startOn(Placed, {
        id: (_, headers) => Option.fromNullable(headers.tenant),
        handle: () => Effect.succeed({ steps: [] })
      })
    )
    return Effect.gen(function* () {
      yield* placed("1", { headers: { tenant: "acme" } })
      assert.isTrue(Option.isSome(yield* Saga.get(saga, "acme")))
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.effect("put a message without an identifier with the dead letters", () => {
    const saga = Saga.make("NoId", { state: State }).pipe(
      Saga.startOn(Placed, { id: () => Option.none(), handle: () => Effect.succeed({ steps: [] }) }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      const { error, reason } = yield* onlyLetter
      assert.strictEqual(reason, "Exhausted")
      assert.include(error, "Placed has no identifier for saga NoId")
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.effect("refuse a state that does not fit their schema, stored or new", () => {
    const now = Saga.make("Journey", { state: Schema.Struct({ id: Schema.String }) }).pipe(
      Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.succeed({ id: 7 as any }) }),
      Saga.on(Paid, { id: (_) => _.id, handle: Effect.succeed })
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      assert.include((yield* onlyLetter).error, "a transition of saga Journey returned a state that its schema refuses")
      const put = { saga: "Journey", id: "1", version: 1, state: '{"old":1}', completed: false, timers: {} }
      yield* using((store) => store.commit([[{ _tag: "SagaPut", ...put }]]))
      yield* paid()
      yield* drain
      assert.include((yield* letters)[0]!.error, 'the stored state of saga Journey "1" does not fit its schema')
      assert.include((yield* failing(Saga.get(now, "1"))).detail, "does not fit its schema")
    }).pipe(within(backend, Handler.layer(now.pipe(Handler.asynchronous(Orders)))))
  })

  it.effect("are untouched by a transition that fails: state, rows, messages and timers", () => {
    const refusing = journeyWith((state) =>
      Effect.all([write("gone"), ship("gone"), Saga.arm("late", "1 minute"), Effect.fail("no")]).pipe(Effect.as(state))
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      yield* paid()
      yield* advance("1 hour")
      yield* expectRows()
      assert.deepStrictEqual(yield* shipped, [])
      const instance = Option.getOrThrow(yield* Saga.get(journey, "1"))
      assert.deepStrictEqual(instance.timeouts, [])
      assert.strictEqual(instance.version, 1)
      assert.strictEqual((yield* letters).length, 1)
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(refusing, shippingOnMails)))
  })

  it.effect("commit the rows and messages of a transition with its state", () => {
    const writing = journeyWith((state) => Effect.as(Effect.all([write("kept"), ship("kept")]), state))
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      yield* paid()
      yield* drain
      yield* expectRows("kept", "shipped kept")
      assert.strictEqual(Option.getOrThrow(yield* Saga.get(journey, "1")).version, 2)
    }).pipe(within(backend, Handler.layer(writing, shippingOnMails)))
  })

  it.effect("are read as the unit at hand has made them, and outside as they are stored", () => {
    const seen: Array<number | undefined> = []
    const look = Effect.map(Saga.get(adding, "1"), (instance) => void seen.push(Option.getOrUndefined(instance)?.state))
    const placing = Handler.command(Place, () =>
      Effect.as(Effect.all([look, placed(), look, placed(), look, UnitOfWork.outside(look)]), "")
    )
    return Effect.gen(function* () {
      yield* CommandBus.send(new Place({ id: "1" }))
      yield* look
      assert.deepStrictEqual(seen, [undefined, 1, 2, undefined, 2])
      assert.strictEqual(Option.getOrThrow(yield* Saga.get(adding, "1")).version, 1, "one write")
    }).pipe(within(backend, Handler.layer(placing, adding)))
  })

  it.effect("forget what a nested scope that failed made of them", () => {
    const placing = Handler.command(Place, () =>
      Effect.all([
        placed(),
        Effect.ignore(UnitOfWork.scope(Effect.zipRight(placed(), Effect.fail("no")))),
        placed()
      ]).pipe(Effect.as(""))
    )
    return Effect.gen(function* () {
      yield* CommandBus.send(new Place({ id: "1" }))
      assert.strictEqual(Option.getOrThrow(yield* Saga.get(adding, "1")).state, 2)
    }).pipe(within(backend, Handler.layer(placing, adding)))
  })
}
