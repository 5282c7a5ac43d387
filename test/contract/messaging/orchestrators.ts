/**
 * Orchestrators run their steps one after the other, here or on channels, and remember where they are.
 */
import { assert, it } from "@effect/vitest"
import {
  Consumer,
  DeadLetter,
  Envelope,
  Handler,
  HandlerRegistry,
  Headers,
  Interceptor,
  MessagingError,
  MessagingTest,
  Orchestrator,
  SagaStore
} from "@holdfast/core"
import { Cause, Context, Effect, Fiber, Layer, Option, Schedule, Schema, TestClock } from "effect"
import type { Backend } from "./backend.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  alone,
  defect,
  drain,
  expectRefused,
  expectRows,
  expectWaiting,
  failing,
  letters,
  Mails,
  minute,
  Orders,
  onlyLetter,
  Place,
  pass,
  passUntil,
  place,
  Refused,
  refuse,
  rejected,
  Ship,
  type System,
  second,
  settle,
  ship,
  shipped,
  using,
  within,
  write
} from "./fixtures.ts"

const text = { input: Schema.String, output: Schema.String }

/** A step that notes what it got in the ledger, and gives it on with its own name. */
const step = <const Name extends string>(name: Name) =>
  Orchestrator.step(name, { ...text, run: (input) => Effect.as(write(`${name} ${input}`), `${input}>${name}`) })

const [a, b, c, e, f] = [step("a"), step("b"), step("c"), step("e"), step("f")]
const onOrders = <const Name extends string>(name: Name) => step(name).pipe(Handler.asynchronous(Orders))
const onMails = <const Name extends string>(name: Name) => step(name).pipe(Handler.asynchronous(Mails))

const empty = Orchestrator.make("Flow", { input: Schema.String })
const local = empty.pipe(Orchestrator.andThen(a), Orchestrator.andThen(b))
const mixed = empty.pipe(
  Orchestrator.andThen(a),
  Orchestrator.andThen(onOrders("b")),
  Orchestrator.andThen(c),
  Orchestrator.andThen(onMails("d"))
)

type Flow<Out, Declared> = Orchestrator.Startable<"Flow", typeof Schema.String, Out, Declared>

const start = <Out, Declared>(flow: Flow<Out, Declared>, id = "1", options?: Orchestrator.StartOptions) =>
  Orchestrator.start(flow, id, { id, ...options })

const stand = <Out, Declared>(flow: Flow<Out, Declared>, id = "1") =>
  Effect.map(
    Orchestrator.get(flow, id),
    Option.match({
      onNone: () => undefined,
      onSome: ({ done, remaining, status }) => [status, done, remaining] as const
    })
  )

/** The last step refuses with the declared error as often as it is told to, or else with another. */
const failingStep = <E>(error: Effect.Effect<never, E, System>, times = Number.POSITIVE_INFINITY) => {
  let left = times
  return Orchestrator.step("fails", {
    ...text,
    error: Refused,
    run: (input) =>
      Effect.zipRight(
        Effect.zipRight(write(`fails ${input} ${left}`), ship(input)),
        Effect.suspend(() => (left-- > 0 ? error : Effect.succeed(`${input}>fails`)))
      )
  })
}

const shipping = Handler.command(Ship, ({ id }) => write(`shipped ${id}`)).pipe(Handler.asynchronous(Mails))

const ignored = Effect.map(MessagingTest.log, (log) =>
  log.flatMap((entry) => (entry._tag === "Ignored" ? [entry.detail] : []))
)

/** A process of its own over the same store. */
const process = <R, P>(backend: Backend<R>, handlers: Layer.Layer<P, unknown, System>) =>
  Effect.flatMap(Effect.context<System>(), (shared) =>
    Effect.map(
      Layer.build(
        handlers.pipe(
          Layer.provideMerge(MessagingTest.layerStore),
          Layer.provideMerge(Layer.merge(backend.channel(Orders), backend.channel(Mails))),
          Layer.provideMerge(Layer.succeedContext(shared))
        )
      ),
      (context) =>
        <A, E, R2>(effect: Effect.Effect<A, E, R2>) =>
          Effect.provide(effect, context)
    )
  )

export const orchestrators = <R>(backend: Backend<R>): void => {
  it.effect("run steps without a channel at once, in the unit of their starter", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* start(local), "1")
      assert.deepStrictEqual(yield* stand(local), ["Completed", ["a", "b"], []])
      assert.strictEqual(yield* Orchestrator.result(local, "1"), "1>a>b")
      yield* expectRows("a 1", "b 1>a")
      const own = yield* Orchestrator.start(local, "2")
      assert.match(own, /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
      assert.strictEqual(yield* Orchestrator.result(local, own), "2>a>b")
      assert.strictEqual(Option.getOrThrow(yield* Orchestrator.get(local, own)).version, 1, "one write")
      const row = yield* using((store) => store.loadSaga("Flow", own))
      assert.isTrue(Option.getOrThrow(row).completed)
    }).pipe(within(backend, Handler.layer(local)))
  )

  it.effect("store where they are at each step that has a channel, and go on there", () =>
    Effect.gen(function* () {
      yield* start(mixed)
      assert.deepStrictEqual(yield* stand(mixed), ["Running", ["a"], ["b", "c", "d"]])
      yield* expectRows("a 1")
      assert.strictEqual(yield* Consumer.drain(Orders), 1)
      assert.deepStrictEqual(yield* stand(mixed), ["Running", ["a", "b", "c"], ["d"]])
      yield* expectWaiting(1, Mails)
      assert.strictEqual(yield* Consumer.drain(Mails), 1)
      assert.deepStrictEqual(yield* stand(mixed), ["Completed", ["a", "b", "c", "d"], []])
      assert.strictEqual(yield* Orchestrator.result(mixed, "1"), "1>a>b>c>d")
      yield* expectRows("a 1", "b 1>a", "c 1>a>b", "d 1>a>b>c")
      yield* expectWaiting(0)
      assert.deepStrictEqual(
        (yield* MessagingTest.log).map(({ _tag, envelope }) => `${_tag} ${envelope.endpoint}`),
        ["Sent Flow/b", "Handled Flow", "Sent Flow/d", "Handled Flow/b", "Handled Flow/d"]
      )
    }).pipe(within(backend, Handler.layer(mixed)))
  )

  it.scoped("run to their end under consumers, each instance for itself", () =>
    Effect.gen(function* () {
      const ids = ["1", "2", "3", "4", "5", "6"]
      yield* Effect.forEach(ids, (id) => start(mixed, id))
      yield* Layer.build(
        Layer.merge(Consumer.layer(Orders, { lease: "1 hour" }), Consumer.layer(Mails, { lease: "1 hour" }))
      )
      const results = yield* Effect.fork(Effect.forEach(ids, (id) => Orchestrator.result(mixed, id)))
      yield* passUntil("all have ended", Effect.map(Fiber.poll(results), Option.isSome))
      assert.deepStrictEqual(
        yield* Fiber.join(results),
        ids.map((id) => `${id}>a>b>c>d`)
      )
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(mixed)))
  )

  it.scoped("start on a channel when they have one, also from a process that only has their routes", () => {
    const flow = mixed.pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      const web = yield* process(backend, Handler.routes(flow))
      const worker = yield* process(backend, Handler.layer(flow))
      yield* web(start(flow))
      const known = yield* web(Effect.map(HandlerRegistry.HandlerRegistry, (registry) => registry.byName("Flow/b")))
      assert.deepStrictEqual([known?.local, known?.route?.channel.name], [false, Orders.channelName])
      assert.deepStrictEqual(yield* web(stand(flow)), ["Running", [], ["a", "b", "c", "d"]])
      yield* expectRows()
      assert.strictEqual(yield* worker(drain), 3)
      assert.strictEqual(yield* web(Orchestrator.result(flow, "1")), "1>a>b>c>d")
    }).pipe(alone(backend))
  })

  it.effect("wait as Handler.delay says of the value, and let those with the higher priority go first", () => {
    const order: Array<string> = []
    const flow = empty.pipe(
      Orchestrator.andThen(
        Orchestrator.step("waits", {
          ...text,
          run: (input) =>
            Effect.as(
              Effect.sync(() => order.push(input)),
              input
            )
        }).pipe(
          Handler.asynchronous(Orders),
          Handler.delay((input) => `${input.length} minutes`),
          Handler.priority((input) => input.charCodeAt(0))
        )
      )
    )
    return Effect.gen(function* () {
      yield* Effect.forEach(["333", "a", "b", "22"], (id) => start(flow, id))
      yield* advance("59 seconds")
      assert.deepStrictEqual(order, [])
      yield* pass(2 * second)
      yield* drain
      assert.deepStrictEqual(order, ["b", "a"])
      yield* advance("3 minutes")
      assert.deepStrictEqual(order, ["b", "a", "22", "333"])
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("keep the order that Handler.orderedBy says of the value, over retries", () => {
    const order: Array<string> = []
    const flow = empty.pipe(
      Orchestrator.andThen(
        Orchestrator.step("keeps", {
          ...text,
          run: (input, { attempt }) =>
            input === "x1" && attempt === 1
              ? Effect.fail("not yet")
              : Effect.as(
                  Effect.sync(() => order.push(input)),
                  input
                )
        }).pipe(
          Handler.asynchronous(Orders),
          Handler.retry(Schedule.spaced("1 minute")),
          Handler.orderedBy((input) => input[0])
        )
      )
    )
    return Effect.gen(function* () {
      yield* Effect.forEach(["x1", "x2", "y1"], (id) => start(flow, id))
      yield* drain
      assert.deepStrictEqual(order, ["y1"])
      yield* advance("1 minute")
      assert.deepStrictEqual(order, ["y1", "x1", "x2"])
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("run what a plan chose, in its order, among other steps; an empty plan passes the value on", () => {
    const chosen: Record<string, ReadonlyArray<"b" | "c" | "d">> = { "1>a": ["d", "b"], "2>a": [], "3>a": ["c"] }
    const flow = empty.pipe(
      Orchestrator.andThen(a),
      Orchestrator.plan([b, onOrders("c"), onMails("d")], (value) => Effect.succeed(chosen[value]!)),
      Orchestrator.andThen(e)
    )
    return Effect.gen(function* () {
      yield* Effect.forEach(["1", "2", "3"], (id) => start(flow, id))
      assert.deepStrictEqual(yield* stand(flow, "1"), ["Running", ["a"], ["d", "b", "e"]])
      yield* drain
      const results = yield* Effect.forEach(["1", "2", "3"], (id) => Orchestrator.result(flow, id))
      assert.deepStrictEqual(results, ["1>a>d>b>e", "2>a>e", "3>a>c>e"])
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.scoped("keep the plan they were given when a new version plans otherwise", () => {
    const planning = (names: ReadonlyArray<"b" | "c" | "d">) =>
      empty.pipe(
        Orchestrator.plan([onOrders("b"), c, onOrders("d")], () => Effect.succeed(names)),
        Orchestrator.andThen(onOrders("a")),
        Orchestrator.plan([e, f], () => Effect.succeed(names.length === 2 ? ["e"] : ["f"]))
      )
    const [old, now] = [planning(["d", "b"]), planning(["c"])]
    return Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(old))
      const after = yield* process(backend, Handler.layer(now))
      yield* before(start(old, "1"))
      yield* after(start(now, "2"))
      assert.deepStrictEqual(yield* after(stand(now, "1")), ["Running", [], ["d", "b", "a"]])
      yield* after(drain)
      assert.strictEqual(yield* after(Orchestrator.result(now, "1")), "1>d>b>a>f", "what is not planned yet is new")
      assert.strictEqual(yield* after(Orchestrator.result(now, "2")), "2>c>a>f")
    }).pipe(alone(backend))
  })

  it.effect("refuse a plan of steps they do not have, or of one step twice", () => {
    const flow = empty.pipe(
      Orchestrator.plan([a, b], (names) => Effect.succeed(names.split(",") as ReadonlyArray<"a" | "b">))
    )
    return Effect.gen(function* () {
      const unknown = yield* rejected(start(flow, "a,z"))
      assert.strictEqual(
        unknown.message,
        'Rejected: a plan of orchestrator Flow chose "z", which is not one of its steps'
      )
      const twice = yield* rejected(start(flow, "a,b,a"))
      assert.strictEqual(twice.message, 'Rejected: a plan of orchestrator Flow chose "a" twice: a step runs once')
      assert.isUndefined(yield* stand(flow, "a,z"), "nothing was started")
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("start once under one id, one after the other and at once", () => {
    const other = Orchestrator.make("Other", { input: Schema.String }).pipe(Orchestrator.andThen(onOrders("e")))
    const again = Orchestrator.start(other, "2", { id: "2" })
    return Effect.gen(function* () {
      yield* start(mixed)
      assert.strictEqual(yield* Orchestrator.start(mixed, "other", { id: "1" }), "1")
      yield* expectRows("a 1")
      yield* Effect.all([again, again, again], { concurrency: "unbounded" })
      yield* expectWaiting(2)
      yield* drain
      assert.strictEqual(yield* start(mixed), "1")
      yield* expectRows("a 1", "b 1>a", "c 1>a>b", "d 1>a>b>c", "e 2")
    }).pipe(within(backend, Handler.layer(mixed, other)))
  })

  it.effect("exist if and only if the unit that started them commits", () => {
    let fails = true
    const placing = Handler.command(Place, () =>
      Effect.zipRight(
        start(mixed),
        Effect.suspend(() => (fails ? refuse() : Effect.succeed("")))
      )
    )
    return Effect.gen(function* () {
      yield* expectRefused(place())
      assert.isUndefined(yield* stand(mixed))
      yield* expectWaiting(0)
      fails = false
      yield* place()
      yield* expectRows("a 1")
      yield* expectWaiting(1)
    }).pipe(within(backend, Handler.layer(mixed, placing)))
  })

  it.effect("let their result be awaited: with growing rests, and no longer than the timeout", () => {
    const flow = empty.pipe(Orchestrator.andThen(onOrders("b")))
    return Effect.gen(function* () {
      yield* start(flow)
      const sagas = yield* SagaStore.SagaStore
      const row = yield* sagas.load("Flow", "1")
      let looks = 0
      const frozen = SagaStore.SagaStore.of({
        ...sagas,
        load: () =>
          Effect.as(
            Effect.sync(() => looks++),
            row
          )
      })
      const impatient = yield* Effect.fork(
        Effect.provideService(Orchestrator.result(flow, "1", { timeout: "3 seconds" }), SagaStore.SagaStore, frozen)
      )
      for (let i = 0; i < 120; i++) yield* TestClock.adjust("25 millis")
      assert.instanceOf(yield* Effect.flip(Fiber.join(impatient)), Cause.TimeoutException)
      assert.strictEqual(looks, 8, "after 0, 25, 75, 175, 375, 775, 1575 and 2575 milliseconds")
      const patient = yield* Effect.fork(Orchestrator.result(flow, "1", { timeout: "1 hour" }))
      yield* settle
      assert.isTrue(Option.isNone(yield* Fiber.poll(patient)))
      yield* drain
      yield* pass(second)
      assert.strictEqual(yield* Fiber.join(patient), "1>b")
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("reject to wait for what does not exist, or cannot go on before the waiting unit commits", () => {
    const flow = empty.pipe(Orchestrator.andThen(onOrders("b")))
    const placing = Handler.command(Place, () =>
      Effect.orDie(Effect.zipRight(start(flow), Orchestrator.result(flow, "1")))
    )
    return Effect.gen(function* () {
      const unknown = yield* rejected(Orchestrator.result(flow, "x"))
      assert.strictEqual(unknown.message, 'Rejected: Flow has no instance "x": start it first')
      assert.isTrue(Option.isNone(yield* Orchestrator.get(flow, "x")))
      const inside = 'Flow "1" goes on once this unit of work has committed: wait for its result after that'
      assert.include(yield* defect(place()), inside)
    }).pipe(within(backend, Handler.layer(flow, placing)))
  })

  const places = [
    [
      "in the starter's unit",
      (flow: Orchestrator.Orchestrator<"Flow", typeof Schema.String, string, never, any, any>) =>
        flow.pipe(Orchestrator.andThen(failingStep(refuse())))
    ],
    [
      "on a channel",
      (flow: Orchestrator.Orchestrator<"Flow", typeof Schema.String, string, never, any, any>) =>
        flow.pipe(
          Orchestrator.andThen(
            failingStep(refuse()).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(5)))
          )
        )
    ]
  ] as const
  for (const [where, last] of places) {
    it.effect(`end with a declared error ${where}: what that step did is undone, and it is not tried again`, () => {
      const flow = last(empty.pipe(Orchestrator.andThen(a))).pipe(Orchestrator.andThen(c))
      return Effect.gen(function* () {
        yield* start(flow)
        yield* advance("1 hour")
        yield* expectRefused(Orchestrator.result(flow, "1"))
        assert.deepStrictEqual(yield* stand(flow), ["Failed", ["a"], ["fails", "c"]])
        yield* expectRows("a 1")
        assert.deepStrictEqual(yield* shipped, [])
        assert.deepStrictEqual(yield* letters, [])
        yield* expectWaiting(0)
        yield* start(flow)
        yield* expectRefused(Orchestrator.result(flow, "1"))
      }).pipe(within(backend, Handler.layer(flow, shipping)))
    })
  }

  it.effect("try a step again in place first, from where it began, declared errors too", () => {
    const flow = empty.pipe(
      Orchestrator.andThen(a),
      Orchestrator.andThen(failingStep(refuse(), 2).pipe(Handler.retry(Schedule.recurs(2))))
    )
    let tries = 0
    const hopeless = Orchestrator.step("hopeless", {
      ...text,
      run: () =>
        Effect.zipRight(
          Effect.sync(() => tries++),
          Effect.fail("no")
        )
    }).pipe(Handler.retry(Schedule.recurs(2)), Handler.asynchronous(Orders))
    const other = Orchestrator.make("Other", text).pipe(Orchestrator.andThen(hopeless))
    return Effect.gen(function* () {
      yield* start(flow)
      assert.strictEqual(yield* Orchestrator.result(flow, "1"), "1>a>fails")
      yield* expectRows("a 1", "fails 1>a 0")
      assert.deepStrictEqual(yield* shipped, ["1>a"])
      yield* Orchestrator.start(other, "1")
      yield* Consumer.drain(Orders)
      assert.strictEqual(tries, 3)
      yield* onlyLetter
    }).pipe(within(backend, Handler.layer(flow, other, shipping)))
  })

  it.effect(
    "close what a step opened before the next begins, and take no failure of messaging for a declared one",
    () => {
      const seen: Array<string> = []
      const opening = <const Name extends string>(name: Name) =>
        Orchestrator.step(name, {
          ...text,
          run: (input) =>
            Effect.as(
              Effect.acquireRelease(
                Effect.sync(() => seen.push(name)),
                () => Effect.sync(() => seen.push(`${name} closed`))
              ),
              input
            )
        })
      const away = Orchestrator.step("away", {
        ...text,
        error: Schema.Unknown,
        run: () => new MessagingError.MessagingError({ reason: "Rejected", detail: "not now" })
      })
      const flow = empty.pipe(
        Orchestrator.andThen(opening("one")),
        Orchestrator.andThen(opening("two")),
        Orchestrator.andThen(away)
      )
      return Effect.gen(function* () {
        assert.strictEqual((yield* rejected(start(flow))).detail, "not now")
        assert.isUndefined(yield* stand(flow))
        assert.deepStrictEqual(seen, ["one", "one closed", "two", "two closed"])
      }).pipe(within(backend, Handler.layer(flow)))
    }
  )

  it.effect(
    "retry a step on a channel for other errors, then leave a dead letter, and go on there when it is replayed",
    () => {
      const attempts: Array<number> = []
      let broken = true
      const fragile = Orchestrator.step("fragile", {
        ...text,
        run: (input, { attempt }) =>
          Effect.zipRight(
            write(`fragile ${attempts.push(attempt)}`),
            broken ? Effect.fail(new Error("no network")) : Effect.succeed(`${input}>fragile`)
          )
      }).pipe(
        Handler.asynchronous(Orders),
        Handler.retry(Schedule.spaced("1 minute").pipe(Schedule.intersect(Schedule.recurs(2))))
      )
      const flow = empty.pipe(Orchestrator.andThen(a), Orchestrator.andThen(fragile), Orchestrator.andThen(c))
      return Effect.gen(function* () {
        yield* start(flow)
        yield* advance("10 minutes")
        const { envelope, error, key } = yield* onlyLetter
        assert.strictEqual(envelope.endpoint, "Flow/fragile")
        assert.include(error, "no network")
        assert.deepStrictEqual(attempts, [1, 2, 3])
        assert.deepStrictEqual(yield* stand(flow), ["Running", ["a"], ["fragile", "c"]])
        broken = false
        yield* Effect.flatMap(DeadLetter.DeadLetter, (deadLetter) => deadLetter.replay([key]))
        yield* drain
        assert.strictEqual(yield* Orchestrator.result(flow, "1"), "1>a>fragile>c")
        yield* expectRows("a 1", "fragile 4", "c 1>a>fragile")
      }).pipe(within(backend, Handler.layer(flow)))
    }
  )

  it.effect("limit each try of a step with Handler.timeout", () => {
    const slow = Orchestrator.step("slow", { ...text, run: () => Effect.never }).pipe(
      Handler.asynchronous(Orders),
      Handler.timeout("5 seconds")
    )
    const flow = empty.pipe(Orchestrator.andThen(slow))
    return Effect.gen(function* () {
      yield* start(flow)
      const draining = yield* Effect.fork(drain)
      yield* passUntil("it is given up", Effect.map(draining.poll, Option.isSome))
      assert.include((yield* onlyLetter).error, "TimeoutException")
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("undo the step on a channel when one after it dies in the same worker, and fail no start by halves", () => {
    let dies = true
    const dying = Orchestrator.step("dying", {
      ...text,
      run: (input) => Effect.suspend(() => (dies ? Effect.dieMessage("boom") : Effect.succeed(input)))
    })
    const flow = empty.pipe(Orchestrator.andThen(a), Orchestrator.andThen(onOrders("b")), Orchestrator.andThen(dying))
    const other = Orchestrator.make("Other", { input: Schema.String }).pipe(
      Orchestrator.andThen(c),
      Orchestrator.andThen(dying)
    )
    return Effect.gen(function* () {
      yield* start(flow)
      yield* drain
      yield* expectRows("a 1")
      assert.deepStrictEqual(yield* stand(flow), ["Running", ["a"], ["b", "dying"]])
      assert.strictEqual(yield* defect(Orchestrator.start(other, "1", { id: "1" })), "boom")
      assert.isTrue(Option.isNone(yield* Orchestrator.get(other, "1")))
      yield* expectRows("a 1")
      dies = false
      yield* Effect.flatMap(DeadLetter.DeadLetter, (deadLetter) =>
        Effect.flatMap(deadLetter.list(), (all) => deadLetter.replay(all.map(({ key }) => key)))
      )
      yield* drain
      yield* expectRows("a 1", "b 1>a")
      assert.strictEqual(yield* Orchestrator.result(flow, "1"), "1>a>b")
    }).pipe(within(backend, Handler.layer(flow, other)))
  })

  it.effect("go on after a worker was lost, and ignore a message that comes again or is for no instance", () =>
    Effect.gen(function* () {
      yield* start(mixed)
      const [delivery] = yield* using((store) =>
        store.claim({ channel: Orders.channelName, limit: 1, leaseMillis: minute, owner: "other" })
      )
      const { envelope } = delivery!
      const again = (changes: Partial<Envelope.Envelope> = {}) =>
        using((store) =>
          store.commit([
            [
              {
                _tag: "Send",
                channel: Orders.channelName,
                envelope: { ...envelope, ...changes },
                priority: 0,
                due: undefined,
                timer: undefined
              }
            ]
          ])
        )
      yield* pass(2 * minute)
      assert.strictEqual(yield* Consumer.drain(Orders), 1)
      yield* again()
      yield* Consumer.drain(Orders)
      yield* Consumer.drain(Mails)
      yield* again()
      yield* again({ payload: envelope.payload.replace('"hop":2', '"hop":3') })
      yield* again({ payload: envelope.payload.replace('"1"', '"9"') })
      yield* Consumer.drain(Orders)
      assert.deepStrictEqual(yield* ignored, [
        'Flow "1" has gone on already, so this message for Flow/b does not move it',
        'Flow "1" has ended, so this message for Flow/b does not move it',
        'Flow "1" has ended, so this message for Flow/b does not move it',
        'Flow "9" does not exist, so this message for Flow/b does not move it'
      ])
      yield* expectRows("a 1", "b 1>a", "c 1>a>b", "d 1>a>b>c")
    }).pipe(within(backend, Handler.layer(mixed)))
  )

  it.effect("end when a step answers nothing, here or on a channel, and go on with what it answers else", () => {
    const maybe = <const Name extends string>(name: Name) =>
      Orchestrator.step(name, {
        input: Schema.String,
        output: Schema.UndefinedOr(Schema.String),
        run: (input) => Effect.succeed(input === name ? undefined : input)
      })
    const last = Orchestrator.step("last", {
      input: Schema.String,
      run: (input) => Effect.as(write(input), "nobody's to see")
    })
    const flow = empty.pipe(
      Orchestrator.andThen(maybe("x")),
      Orchestrator.andThen(maybe("y").pipe(Handler.asynchronous(Orders))),
      Orchestrator.andThen(last)
    )
    return Effect.gen(function* () {
      yield* Effect.forEach(["x", "y", "z"], (id) => start(flow, id))
      yield* drain
      assert.deepStrictEqual(yield* stand(flow, "x"), ["Completed", ["x"], []])
      assert.deepStrictEqual(yield* stand(flow, "y"), ["Completed", ["x", "y"], []])
      assert.deepStrictEqual(yield* stand(flow, "z"), ["Completed", ["x", "y", "last"], []])
      for (const id of ["x", "y", "z"]) assert.isUndefined(yield* Orchestrator.result(flow, id))
      yield* expectRows("z")
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("keep values as the schemas of their steps encode them, classes and dates too", () => {
    class Image extends Schema.Class<Image>("Image")({ taken: Schema.Date, url: Schema.URL }) {}
    const stamp = Orchestrator.step("stamp", {
      input: Schema.Date,
      output: Image,
      run: (taken) => Effect.succeed(new Image({ taken, url: new URL("https://a.test/1") }))
    }).pipe(Handler.asynchronous(Orders))
    const look = Orchestrator.step("look", {
      input: Image,
      output: Schema.OptionFromNullOr(Schema.URL),
      run: (image) =>
        Effect.as(
          Effect.sync(() => assert.instanceOf(image, Image)),
          Option.some(image.url)
        )
    }).pipe(Handler.asynchronous(Mails))
    const flow = Orchestrator.make("Dated", { input: Schema.Date }).pipe(
      Orchestrator.andThen(stamp),
      Orchestrator.andThen(look)
    )
    return Effect.gen(function* () {
      const id = yield* Orchestrator.start(flow, new Date(0))
      yield* drain
      assert.strictEqual(Option.getOrThrow(yield* Orchestrator.result(flow, id)).href, "https://a.test/1")
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("pass headers and the conversation through all steps, and give each step a key of its own", () => {
    const seen: Array<Envelope.Metadata> = []
    const keys: Array<string> = []
    const looking = <const Name extends string>(name: Name) =>
      Orchestrator.step(name, {
        ...text,
        run: (input, envelope) =>
          Effect.map(Envelope.idempotencyKey, (key) => {
            seen.push(envelope)
            keys.push(key)
            return input
          })
      })
    const flow = empty.pipe(
      Orchestrator.andThen(looking("a")),
      Orchestrator.andThen(looking("b")),
      Orchestrator.andThen(looking("c").pipe(Handler.asynchronous(Orders))),
      Orchestrator.andThen(looking("d").pipe(Handler.asynchronous(Mails)))
    )
    return Effect.gen(function* () {
      yield* start(flow, "1", { headers: { [Headers.tenant]: "acme", own: "yes" } })
      yield* drain
      assert.deepStrictEqual(
        seen.map(({ endpoint, headers }) => [endpoint, headers[Headers.tenant], headers.own]),
        ["a", "b", "c", "d"].map((name) => [`Flow/${name}`, "acme", "yes"])
      )
      const first = seen[0]!.id
      for (const { headers } of seen) assert.strictEqual(headers[Headers.correlationId], first)
      assert.deepStrictEqual(
        seen.map(({ headers }) => headers[Headers.causationId]),
        [undefined, undefined, first, seen[2]!.id]
      )
      assert.strictEqual(new Set(keys).size, 4)
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect(
    "meet interceptors: of a step with its input, of the orchestrator with its messages, and when it is started",
    () => {
      const seen: Array<string> = []
      class Looks extends Interceptor.Tag<Looks>()("test/Looks") {}
      const looking = Layer.succeed(
        Looks,
        Interceptor.before(({ handler, kind, message }) =>
          Effect.sync(
            () => void seen.push(`${kind} ${handler} ${typeof message === "string" ? message : message._tag}`)
          )
        )
      )
      const adding = Interceptor.layerSending(() => Effect.succeed({ [Headers.tenant]: "acme" }))
      const flow = empty.pipe(
        Orchestrator.andThen(a.pipe(Handler.intercept(Looks))),
        Orchestrator.andThen(b.pipe(Handler.intercept(Looks), Handler.asynchronous(Orders)))
      )
      return Effect.gen(function* () {
        yield* start(flow)
        yield* drain
        assert.strictEqual(yield* Orchestrator.result(flow, "1"), "1>a>b")
        const tenants = (yield* MessagingTest.log).map(({ envelope }) => envelope.headers[Headers.tenant])
        assert.deepStrictEqual(tenants, ["acme", "acme", "acme"])
        assert.deepStrictEqual(seen, [
          "Event Flow holdfast/OrchestratorStep",
          "Command a 1",
          "Event Flow/b holdfast/OrchestratorStep",
          "Command b 1>a"
        ])
      }).pipe(
        within(
          backend,
          Layer.merge(Handler.layer(flow.pipe(Handler.intercept(Looks))), adding).pipe(Layer.provide(looking))
        )
      )
    }
  )

  it.effect("give all steps what an interceptor of the orchestrator provides", () => {
    class Owner extends Context.Tag("test/Owner")<Owner, string>() {}
    class Owned extends Interceptor.Tag<Owned>()("test/Owned", { provides: Owner }) {}
    const owning = Layer.succeed(
      Owned,
      Interceptor.before(({ envelope, handler }) => Effect.succeed(`${handler} of ${envelope.headers.owner}`))
    )
    const sign = <const Name extends string>(name: Name) =>
      Orchestrator.step(name, { ...text, run: (input) => Effect.map(Owner, (owner) => `${input}>${name}: ${owner}`) })
    const onMails = sign("c").pipe(Handler.asynchronous(Mails))
    const flow = empty.pipe(
      Orchestrator.andThen(sign("a")),
      Orchestrator.andThen(sign("b").pipe(Handler.asynchronous(Orders))),
      Orchestrator.plan([onMails], () => Effect.succeed(["c"])),
      Orchestrator.andThen(sign("d")),
      Handler.intercept(Owned)
    )
    return Effect.gen(function* () {
      yield* start(flow, "1", { headers: { owner: "ada" } })
      yield* drain
      const result = yield* Orchestrator.result(flow, "1")
      assert.strictEqual(result, "1>a: Flow of ada>b: Flow/b of ada>c: Flow/c of ada>d: Flow/c of ada")
    }).pipe(within(backend, Handler.layer(flow).pipe(Layer.provide(owning))))
  })

  it.effect("give a start that is tried again under its id the same key for other systems", () => {
    const keys: Array<string> = []
    const charge = Orchestrator.step("charge", {
      ...text,
      run: (input) =>
        Effect.flatMap(Envelope.idempotencyKey, (key) =>
          keys.push(key) === 1 ? Effect.dieMessage("killed") : Effect.succeed(input)
        )
    })
    const flow = empty.pipe(Orchestrator.andThen(charge))
    return Effect.gen(function* () {
      yield* defect(start(flow))
      yield* start(flow)
      assert.strictEqual(keys[0], keys[1])
      yield* start(flow, "2")
      assert.notStrictEqual(keys[0], keys[2])
    }).pipe(within(backend, Handler.layer(flow)))
  })

  it.effect("refuse what their schemas refuse: the input, an answer, and what is stored", () => {
    const wrong = Orchestrator.step("wrong", { ...text, run: () => Effect.succeed(7 as never) })
    const flow = empty.pipe(Orchestrator.andThen(wrong))
    const later = Orchestrator.make("Later", { input: Schema.String }).pipe(
      Orchestrator.andThen(onOrders("b")),
      Orchestrator.andThen(c)
    )
    const huge = Orchestrator.make("Huge", { input: Schema.BigIntFromSelf })
    const put = (state: string) =>
      using((store) =>
        store.commit([[{ _tag: "SagaPut", saga: "Later", id: "1", version: 2, state, completed: false, timers: {} }]])
      )
    return Effect.gen(function* () {
      const input = yield* rejected(start(flow, 7 as never, { id: "1" }))
      assert.include(input.message, "Rejected: orchestrator Flow cannot take this input")
      const noId = yield* rejected(start(flow, ""))
      assert.strictEqual(noId.message, "Rejected: orchestrator Flow was started under an empty id")
      const answer = yield* rejected(start(flow))
      assert.include(
        answer.message,
        "Rejected: step wrong of orchestrator Flow answered a value that its schema refuses"
      )
      yield* Orchestrator.start(later, "1", { id: "1" })
      const state = { _tag: "Orchestrator", status: "Running", hop: 2, value: 7, done: [], remaining: [{ step: "b" }] }
      yield* put(JSON.stringify(state))
      yield* drain
      assert.include(
        (yield* onlyLetter).error,
        'what the start gave to Later "1" does not fit its schema: make the schema read old values'
      )
      yield* using((store) =>
        store.commit([
          [{ _tag: "SagaPut", saga: "Flow", id: "s", version: 1, state: '{"paid":true}', completed: false, timers: {} }]
        ])
      )
      assert.include(
        (yield* failing(Orchestrator.get(flow, "s"))).detail,
        '"s" is not stored as an instance of orchestrator Flow'
      )
    }).pipe(within(backend, Handler.layer(flow, later, huge)))
  })

  it.scoped(
    "leave a dead letter when a new version has lost a step or a plan of theirs, and go on when it is back",
    () => {
      const full = empty.pipe(
        Orchestrator.andThen(onOrders("a")),
        Orchestrator.andThen(b),
        Orchestrator.plan([c], () => Effect.succeed(["c"]))
      )
      const without = [
        empty.pipe(Orchestrator.andThen(onOrders("a"))),
        empty.pipe(Orchestrator.andThen(onOrders("a")), Orchestrator.andThen(b))
      ]
      const sentences = [
        'Flow "1" needs step "b", which the orchestrator does not have: put it back',
        "orchestrator Flow has no plan 1 any more: put it back, and replay"
      ]
      return Effect.gen(function* () {
        const whole = yield* process(backend, Handler.layer(full))
        yield* whole(start(full))
        for (const [index, flow] of without.entries()) {
          const lost = yield* process(backend, Handler.layer(flow))
          yield* lost(drain)
          const letter = yield* onlyLetter
          assert.include(letter.error, sentences[index])
          yield* Effect.flatMap(DeadLetter.DeadLetter, (deadLetter) => deadLetter.replay([letter.key]))
        }
        yield* whole(drain)
        assert.strictEqual(yield* whole(Orchestrator.result(full, "1")), "1>a>b>c")
      }).pipe(alone(backend))
    }
  )

  it.scoped("give no step or plan a value that it does not take, and answer no result of another type", () => {
    const Cents = Schema.Struct({ cents: Schema.Number })
    const charged: Array<unknown> = []
    const charge = <A, I>(input: Schema.Schema<A, I>) =>
      Orchestrator.step("charge", {
        input,
        output: input,
        run: (amount) =>
          Effect.as(
            Effect.sync(() => charged.push(amount)),
            amount
          )
      }).pipe(Handler.asynchronous(Mails))
    const price = Orchestrator.step("price", {
      input: Schema.String,
      output: Schema.Number,
      run: (input) => Effect.succeed(input.length)
    }).pipe(Handler.asynchronous(Orders))
    const convert = Orchestrator.step("convert", {
      input: Schema.Number,
      output: Cents,
      run: (euros) => Effect.succeed({ cents: 100 * euros })
    })
    const priced = empty.pipe(Orchestrator.andThen(price))
    const planning = Orchestrator.make("Planned", { input: Schema.String }).pipe(Orchestrator.andThen(price))
    const old = priced.pipe(Orchestrator.andThen(charge(Schema.Number)))
    const oldPlan = planning.pipe(Orchestrator.plan([charge(Schema.Number)], () => Effect.succeed(["charge"] as const)))
    const now = priced.pipe(Orchestrator.andThen(convert), Orchestrator.andThen(charge(Cents)))
    const nowPlan = planning.pipe(
      Orchestrator.andThen(convert),
      Orchestrator.plan([charge(Cents)], () => Effect.succeed(["charge"] as const))
    )
    const longer = old.pipe(Orchestrator.andThen(convert))
    return Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(old, oldPlan))
      const after = yield* process(backend, Handler.layer(now, nowPlan))
      yield* before(start(old, "1"))
      yield* before(Consumer.drain(Orders))
      yield* before(Orchestrator.start(oldPlan, "22", { id: "2" }))
      yield* after(drain)
      assert.deepStrictEqual(charged, [])
      const errors = (yield* letters).map(({ error }) => error.split("\n")[0]).toSorted()
      assert.match(errors[0]!, /plan 1 of orchestrator Planned was given a value that its schema refuses/)
      assert.match(errors[1]!, /step charge of orchestrator Flow was given a value that its schema refuses/)
      yield* Effect.flatMap(DeadLetter.DeadLetter, (deadLetter) =>
        Effect.flatMap(deadLetter.list(), (all) => deadLetter.replay(all.map(({ key }) => key)))
      )
      yield* before(drain)
      assert.strictEqual(yield* Orchestrator.result(old, "1"), 1)
      assert.strictEqual(yield* Orchestrator.result(oldPlan, "2"), 2)
      assert.strictEqual(
        (yield* rejected(Orchestrator.result(longer, "1"))).message,
        'Rejected: Flow "1" ended with what charge gave, which is no result any more'
      )
    }).pipe(alone(backend))
  })

  it.effect("are told as a mistake when two steps have one name, or a channel is a broker's", () => {
    const sentence = (flow: any, channels: Layer.Layer<any> = Layer.empty as Layer.Layer<any>) =>
      defect(
        Effect.scoped(
          Layer.build(Handler.layer(flow).pipe(Layer.provide(channels)) as Layer.Layer<never, never, System>)
        )
      )
    const broker = makeBroker().layer
    return Effect.gen(function* () {
      const twice = 'Orchestrator Flow has two steps named "a": names are durable, so each has its own'
      assert.strictEqual(yield* sentence(local.pipe(Orchestrator.andThen(onOrders("a")))), twice)
      assert.strictEqual(yield* sentence(empty.pipe(Orchestrator.plan([a, b, a], () => Effect.succeed([])))), twice)
      const hasty = a.pipe(
        Handler.timeout({
          duration: "0 millis",
          onTimeout: () => new MessagingError.MessagingError({ reason: "Unavailable", detail: "slow" })
        })
      )
      assert.include(yield* sentence(empty.pipe(Orchestrator.andThen(hasty))), 'The timeout of the handler "a" is 0')
      const stored =
        'which a store keeps, but channel "test/Broker" is a broker\'s: give it a channel that the store keeps'
      assert.strictEqual(
        yield* sentence(local.pipe(Handler.asynchronous(Broker)), broker),
        `Orchestrator Flow has messages of its own, ${stored}`
      )
      assert.strictEqual(
        yield* sentence(empty.pipe(Orchestrator.andThen(a.pipe(Handler.asynchronous(Broker)))), broker),
        `Step a of orchestrator Flow has messages of its own, ${stored}`
      )
      const nobody = Orchestrator.start(Orchestrator.make("Nobody", text), "1") as Effect.Effect<
        string,
        unknown,
        System
      >
      assert.strictEqual(yield* defect(nobody), "No handler is registered for orchestrator Nobody")
    }).pipe(alone(backend))
  })
}
