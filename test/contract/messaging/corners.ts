/**
 * Corners in which a message, a state or a consumer was lost.
 */
import { assert, it } from "@effect/vitest"
import {
  CommandBus,
  Consumer,
  DeadLetter,
  Envelope,
  EventBus,
  Handler,
  MessagingError,
  MessagingTest,
  Saga,
  UnitOfWork
} from "@holdfast/core"
import { Deferred, Effect, Exit, Fiber, FiberId, Layer, Option, Schedule, Schema, TestClock } from "effect"
import type { Backend } from "./backend.ts"
import { consume, withStore } from "./consuming.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  alone,
  conflicting,
  defect,
  drain,
  eventually,
  expectRows,
  expectShipped,
  expectWaiting,
  isEmpty,
  letters,
  minute,
  Orders,
  onlyLetter,
  Paid,
  Place,
  Placed,
  pass,
  passUntil,
  place,
  placed,
  rejected,
  Ship,
  second,
  settle,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

const shipping = Handler.command(Ship, ({ id }) => write(`shipped ${id}`)).pipe(Handler.asynchronous(Orders))

const paid = EventBus.publish(new Paid({ id: "1" }))

/** A saga that counts in the unit of its publisher; `meanwhile` runs between reading the state and writing it. */
const counting = <R>(meanwhile: Effect.Effect<unknown, never, R>) =>
  Saga.make("Counting", { state: Schema.Number }).pipe(
    Saga.startOn(Placed, { id: ({ id }) => id, handle: () => Effect.succeed(0) }),
    Saga.on(Paid, { id: ({ id }) => id, handle: (count) => Effect.as(meanwhile, count + 1) })
  )

const countOf = Effect.map(Saga.get({ name: "Counting", state: Schema.Number }, "1"), (instance) =>
  Option.getOrThrow(Option.map(instance, ({ state }) => state))
)

export const corners = <R>(backend: Backend<R>): void => {
  it.effect("a sender that died and sends again with its key gives other systems the same key", () => {
    const keys: Array<string> = []
    const placing = Handler.command(Place, () =>
      Effect.flatMap(Envelope.idempotencyKey, (key) =>
        keys.push(key) === 1 ? Effect.die("the process died") : Effect.succeed("placed")
      )
    )
    return Effect.gen(function* () {
      yield* Effect.exit(place("1", { idempotencyKey: "click-1" }))
      assert.strictEqual(yield* place("1", { idempotencyKey: "click-1" }), "placed")
      yield* place("1", { idempotencyKey: "click-2" })
      assert.strictEqual(keys[0], keys[1])
      assert.notStrictEqual(keys[1], keys[2])
    }).pipe(within(backend, Handler.layer(placing)))
  })

  it.effect("the delay of a copy runs from when it was made, however late its consumer comes", () => {
    const order: Array<string> = []
    const handler = Handler.event(Placed, {
      name: "B",
      handle: ({ id }) => Effect.sync(() => void order.push(id))
    }).pipe(Handler.asynchronous(Orders), Handler.delay("1 hour"))
    return Effect.gen(function* () {
      yield* using((store) => store.subscribe([{ tag: "Placed", endpoint: "B", channel: Orders.channelName }]))
      yield* placed()
      yield* Effect.zipRight(
        using((store) => store.advance(50 * minute)),
        TestClock.adjust(50 * minute)
      )
      const late = Handler.layer(handler).pipe(Layer.provideMerge(MessagingTest.layerStore))
      const consumed = (millis: number) => MessagingTest.advance(millis).pipe(Effect.provide(late))
      yield* consumed(minute)
      assert.deepStrictEqual(order, [])
      yield* consumed(10 * minute)
      assert.deepStrictEqual(order, ["1"])
    }).pipe(alone(backend))
  })

  it.effect("what messaging refused is not tried again: it would be refused again", () => {
    let tries = 0
    const shipping = Handler.command(Ship, () =>
      Effect.suspend(() => {
        tries++
        return new MessagingError.MessagingError({ reason: "Rejected", detail: "no" })
      })
    ).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(5)))
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      assert.strictEqual((yield* onlyLetter).reason, "Exhausted")
      assert.strictEqual(tries, 1)
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("a saga with timeouts on a broker's channel is told so when its layer is built", () => {
    const timed = Saga.make("Timed", { state: Schema.Number }).pipe(
      Saga.startOn(Ship, { id: ({ id }) => id, handle: () => Effect.as(Saga.arm("end", "1 day"), 0) }),
      Saga.onTimeout("end", { handle: (state) => Effect.succeed(Saga.complete(state)) }),
      Handler.asynchronous(Broker)
    )
    const broker = makeBroker().layer
    return Effect.gen(function* () {
      const sentence = yield* defect(Effect.scoped(Layer.build(Handler.layer(timed).pipe(Layer.provide(broker)))))
      assert.strictEqual(
        sentence,
        'Saga Timed has timeouts, which a store keeps, but channel "test/Broker" is a broker\'s: give it a channel ' +
          "that the store keeps"
      )
    }).pipe(alone(backend))
  })

  it.effect("a duplicate leaves a trace", () => {
    const once = shipping.pipe(Handler.deduplicate({ key: ({ id }) => id }))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* ship("a")
      yield* drain
      yield* expectRows("shipped a")
      const ignored = (yield* MessagingTest.log).flatMap((entry) => (entry._tag === "Ignored" ? [entry.detail] : []))
      assert.deepStrictEqual(ignored, ['Ship was handled already by "Ship" under the key "a"'])
    }).pipe(within(backend, Handler.layer(once)))
  })

  it.effect("a scope that ends after its unit is told so: what it sent is not dropped without a word", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const inside = yield* Deferred.make<void>()
      const late = yield* Deferred.make<string>()
      const slow = UnitOfWork.scope(
        ship("late").pipe(Effect.zipRight(Deferred.succeed(inside, undefined)), Effect.zipRight(Deferred.await(go)))
      )
      const daemon = Effect.forkDaemon(Effect.flatMap(defect(slow), (sentence) => Deferred.succeed(late, sentence)))
      const placing = Handler.command(Place, () => Effect.as(Effect.zipRight(daemon, Deferred.await(inside)), ""))
      yield* Effect.gen(function* () {
        yield* place()
        yield* Deferred.succeed(go, undefined)
        assert.match(yield* Deferred.await(late), /The unit of work has ended: a fiber outlived its handler/)
        yield* expectShipped()
      }).pipe(within(backend, Handler.layer(placing, shipping)))
    })
  )

  it.effect("scopes of one unit that move a saga at once lose no update", () =>
    Effect.gen(function* () {
      yield* placed()
      const exit = yield* Effect.exit(UnitOfWork.run(Effect.all([paid, paid], { concurrency: "unbounded" })))
      assert.strictEqual(yield* countOf, Exit.isSuccess(exit) ? 2 : 0)
      yield* UnitOfWork.run(Effect.all([paid, paid]))
      assert.strictEqual(yield* countOf, Exit.isSuccess(exit) ? 4 : 2)
    }).pipe(within(backend, Handler.layer(counting(Effect.yieldNow()))))
  )

  it.effect("a transition that publishes what moves its own saga loses no update: it is refused", () => {
    let left = 0
    const again = Effect.suspend(() => (left-- > 0 ? Effect.orDie(paid) : Effect.void))
    return Effect.gen(function* () {
      yield* placed()
      const error = yield* rejected(
        UnitOfWork.run(
          Effect.suspend(() => {
            left = 1
            return paid
          })
        )
      )
      assert.strictEqual(error.reason, "Conflict")
      assert.match(error.detail, /moved twice from one state/)
      assert.strictEqual(yield* countOf, 0)
    }).pipe(within(backend, Handler.layer(counting(again))))
  })

  it.effect("an effect after the commit that hangs does not keep its sender from being interrupted", () => {
    const started = Deferred.unsafeMake<void>(FiberId.none)
    const hanging = UnitOfWork.afterCommit(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never))
    return Effect.gen(function* () {
      const fiber = yield* Effect.fork(UnitOfWork.run(Effect.zipRight(write("a"), hanging)))
      yield* Deferred.await(started)
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* eventually("the sender has ended", Effect.map(Fiber.poll(interrupting), Option.isSome))
      yield* expectRows("a")
    }).pipe(alone(backend))
  })

  it.scoped("an effect after the commit that hangs does not keep a consumer from closing", () => {
    const started = Deferred.unsafeMake<void>(FiberId.none)
    const hanging = UnitOfWork.afterCommit(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never))
    const handler = Handler.command(Ship, () => hanging).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship("a")
      const closing = yield* Effect.fork(
        Effect.scoped(Effect.zipRight(consume({ drainTimeout: "1 second" }), Deferred.await(started)))
      )
      yield* passUntil("it is closed", Effect.map(Fiber.poll(closing), Option.isSome))
      assert.isTrue(yield* isEmpty())
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("Consumer.drain keeps the lease of a handler that takes longer than it", () => {
    const state = { started: 0 }
    const handler = Handler.command(Ship, () =>
      Effect.zipRight(
        Effect.sync(() => state.started++),
        Effect.zipRight(Effect.sleep("25 seconds"), write("done"))
      )
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship("a")
      const draining = yield* Effect.fork(Consumer.drain(Orders))
      yield* passUntil("it is drained", Effect.map(Fiber.poll(draining), Option.isSome))
      assert.strictEqual(yield* Fiber.join(draining), 1)
      assert.strictEqual(state.started, 1)
      yield* expectRows("done")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("Consumer.drain gives back what it is interrupted with, without burning an attempt", () => {
    const started = Deferred.unsafeMake<void>(FiberId.none)
    const handler = Handler.command(Ship, () =>
      Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship("a")
      const draining = yield* Effect.fork(Consumer.drain(Orders))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(draining)
      yield* settle
      assert.deepStrictEqual(yield* letters, [])
      const [delivery] = yield* using((store) =>
        store.claim({ channel: Orders.channelName, limit: 1, leaseMillis: second, owner: "next" })
      )
      assert.strictEqual(delivery?.envelope.attempt, 1)
      assert.deepStrictEqual(delivery?.envelope.failures, [])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("a consumer goes on after claiming or renewing died", () => {
    const died = { claims: 0, renewals: 0 }
    const state = { running: 0 }
    const gate = Deferred.unsafeMake<void>(FiberId.none)
    const handler = Handler.command(Ship, ({ id }) =>
      Effect.sync(() => state.running++).pipe(Effect.zipRight(Deferred.await(gate)), Effect.zipRight(write(id)))
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* withStore(
        (store) => ({
          claim: (options) =>
            Effect.suspend(() => (died.claims++ === 0 ? Effect.dieMessage("a broken row") : store.claim(options))),
          renew: (leases, millis) =>
            Effect.suspend(() =>
              died.renewals++ === 0 ? Effect.dieMessage("a broken row") : store.renew(leases, millis)
            )
        }),
        consume({ lease: "9 seconds" })
      )
      yield* ship("a")
      yield* passUntil(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      for (let passed = 0; passed < minute; passed += second) yield* pass(second)
      yield* Deferred.succeed(gate, undefined)
      yield* passUntil("it is handled", isEmpty())
      assert.strictEqual(state.running, 1)
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("of messages that were claimed together, the loss of one is not that of the others", () => {
    const state = { renewals: 0, running: 0, starts: 0 }
    const gate = Deferred.unsafeMake<void>(FiberId.none)
    const handler = Handler.command(Ship, ({ id }) =>
      Effect.sync(() => {
        state.running++
        state.starts++
      }).pipe(
        Effect.zipRight(Deferred.await(gate)),
        Effect.zipRight(write(id)),
        Effect.onInterrupt(() => Effect.sync(() => state.running--))
      )
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* ship("b")
      yield* withStore(
        (store) => ({
          renew: (leases, millis) =>
            Effect.map(store.renew(leases, millis), (lost) => (state.renewals++ === 0 ? leases.slice(0, 1) : lost))
        }),
        consume({ lease: "9 seconds" })
      )
      yield* passUntil(
        "both run",
        Effect.sync(() => state.running === 2)
      )
      yield* pass(4 * second)
      yield* passUntil(
        "one is given up",
        Effect.sync(() => state.running === 1)
      )
      yield* Deferred.succeed(gate, undefined)
      yield* passUntil("the other is done, and then that one", isEmpty())
      yield* expectRows("a", "b")
      assert.strictEqual(state.starts, 3)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("a broker's dead letter that is replayed is handled", () => {
    const broker = makeBroker()
    let mended = false
    const handler = Handler.command(Ship, () => (mended ? write("mended") : Effect.fail("no"))).pipe(
      Handler.asynchronous(Broker)
    )
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      mended = true
      const { key } = yield* onlyLetter
      const replayed = yield* Effect.flatMap(DeadLetter.DeadLetter, (letters) => letters.replay([key]))
      assert.strictEqual(replayed, 1)
      assert.strictEqual(yield* drain, 1)
      yield* expectRows("mended")
      assert.deepStrictEqual(yield* letters, [])
      yield* expectWaiting(0, Broker)
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("a broker's message is one dead letter, though its acknowledgement fails and it comes again", () => {
    const broker = makeBroker()
    const handler = Handler.command(Ship, () => Effect.fail("no")).pipe(Handler.asynchronous(Broker))
    return Effect.gen(function* () {
      broker.state.deaf = 2
      yield* ship("a")
      const draining = yield* Effect.fork(drain)
      yield* passUntil("it is drained", Effect.map(Fiber.poll(draining), Option.isSome))
      yield* onlyLetter
      yield* broker.redeliver
      assert.strictEqual(yield* drain, 1)
      yield* onlyLetter
      assert.strictEqual(broker.state.acknowledged.length, 1, "acknowledged again")
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("what a broker delivers again is acknowledged at once, whatever the handler's retries in place", () => {
    const broker = makeBroker()
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.retry(Schedule.spaced("1 second")),
      Handler.asynchronous(Broker)
    )
    return Effect.gen(function* () {
      yield* ship("a")
      assert.strictEqual(yield* drain, 1)
      yield* broker.redeliver
      const draining = yield* Effect.fork(drain)
      yield* eventually("it is drained", Effect.map(Fiber.poll(draining), Option.isSome))
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("a handler that names an event twice gets one copy", () => {
    const handler = Handler.event([Placed, Placed], { name: "Twice", handle: ({ id }) => write(id) }).pipe(
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* placed("1")
      assert.strictEqual(yield* drain, 1)
      yield* expectRows("1")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  for (const [what, runs] of [
    ["keeps its claim however long its work takes", 1],
    ["that lost its claim is not run again, and gets the answer of who took over", 2]
  ] as const) {
    it.effect(`a send with a key ${what}`, () => {
      let started = 0
      const placing = Handler.command(Place, () =>
        Effect.gen(function* () {
          const run = `run ${++started}`
          yield* Effect.sleep("25 seconds")
          yield* write(run)
          return run
        })
      )
      const send = place("1", { idempotencyKey: "k" })
      const frozen = withStore(() => ({ renewKey: () => Effect.void }), Effect.provide(send, CommandBus.layer))
      return Effect.gen(function* () {
        const first = yield* runs === 1 ? Effect.fork(send) : Effect.fork(frozen)
        yield* eventually(
          "it runs",
          Effect.sync(() => started === 1)
        )
        const other = yield* Effect.fork(send)
        yield* passUntil(
          "both have ended",
          Effect.map(Effect.all([Fiber.poll(first), Fiber.poll(other)]), (exits) => exits.every(Option.isSome))
        )
        assert.strictEqual(started, runs)
        assert.strictEqual(yield* Fiber.join(first), `run ${runs}`)
        assert.strictEqual(yield* Fiber.join(other), `run ${runs}`)
        yield* expectRows(`run ${runs}`)
      }).pipe(within(backend, Handler.layer(placing)))
    })
  }

  it.effect("a send with a key is one message to its handler, however often a conflict runs it again", () => {
    const ids: Array<string> = []
    return Effect.gen(function* () {
      yield* rejected(place("1", { idempotencyKey: "k" }))
      assert.isAbove(ids.length, 1)
      assert.strictEqual(new Set(ids).size, 1)
    }).pipe(within(backend, Handler.layer(remembering(ids))))
  })
}

/** Meets a conflict whenever it commits, and notes the id of its message. */
const remembering = (ids: Array<string>) =>
  Handler.command(Place, () =>
    Effect.gen(function* () {
      const { id } = yield* Envelope.CurrentEnvelope
      ids.push(id)
      yield* conflicting
      return ""
    })
  )
