/**
 * Sends with an idempotency key do one thing.
 */
import { assert, it } from "@effect/vitest"
import { CommandBus, Handler, Message, MessageBus, MessagingError, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, Exit, Fiber, Layer, Schema } from "effect"
import type { Backend } from "./backend.ts"
import { withStore } from "./consuming.ts"
import {
  advance,
  alone,
  defect,
  expectRefused,
  expectRows,
  expectShipped,
  Orders,
  Place,
  pass,
  place,
  Reserve,
  refuse,
  rejected,
  Ship,
  second,
  settle,
  ship,
  within,
  write
} from "./fixtures.ts"
import { process } from "./versions.ts"

const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
const reserving = Handler.command(Reserve, () => write("reserved"))

/** Writes, sends and answers differently each time; until `from`, ends as the effect does instead. */
const placing = (from = 1, end: Effect.Effect<unknown, any, never> = Effect.void) => {
  let count = 0
  return Handler.command(Place, () =>
    Effect.gen(function* () {
      count++
      yield* write(`run ${count}`)
      yield* ship(`run ${count}`)
      if (count < from) yield* end as Effect.Effect<unknown>
      return `answer ${count}`
    })
  )
}

const key = { idempotencyKey: "k" }

export const idempotency = <R>(backend: Backend<R>): void => {
  it.effect("answer as the first did, without doing it again", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* place("1", key), "answer 1")
      assert.strictEqual(yield* place("1", key), "answer 1")
      yield* expectRows("run 1")
      yield* expectShipped("run 1")
    }).pipe(within(backend, Handler.layer(placing(), shipping)))
  )

  it.effect("do another thing under another key, another command or no key", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* place("1", key), "answer 1")
      assert.strictEqual(yield* place("1", { idempotencyKey: "other" }), "answer 2")
      assert.strictEqual(yield* place("1"), "answer 3")
      yield* CommandBus.send(new Reserve({ id: "1" }), key)
      yield* CommandBus.send(new Reserve({ id: "1" }), key)
      yield* expectRows("run 1", "run 2", "run 3", "reserved")
    }).pipe(within(backend, Handler.layer(placing(), shipping, reserving)))
  )

  it.effect("keep the declared error too, and nothing of what it undid", () =>
    Effect.gen(function* () {
      yield* expectRefused(place("1", key), "first")
      yield* expectRefused(place("1", key), "first")
      yield* expectRows()
      yield* expectShipped()
    }).pipe(within(backend, Handler.layer(placing(2, refuse("first")), shipping)))
  )

  it.effect("may be tried again after an outage", () =>
    Effect.gen(function* () {
      const error = yield* rejected(place("1", key))
      assert.strictEqual(error.reason, "Unavailable")
      assert.strictEqual(yield* place("1", key), "answer 2")
      assert.strictEqual(yield* place("1", key), "answer 2")
      yield* expectRows("run 2")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(2, new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" })),
          shipping
        )
      )
    )
  )

  it.effect("may be tried again after a defect, and after an interruption", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* defect(place("1", key)), "bug")
      assert.strictEqual(yield* place("1", key), "answer 2")
      yield* expectRows("run 2")
    }).pipe(within(backend, Handler.layer(placing(2, Effect.dieMessage("bug")), shipping)))
  )

  it.effect("may be tried again after an interruption", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const stuck = Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never)
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(place("1", key))
        yield* Deferred.await(reached)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        assert.strictEqual(yield* place("1", key), "answer 2")
        yield* expectRows("run 2")
      }).pipe(within(backend, Handler.layer(placing(2, stuck), shipping)))
    })
  )

  it.effect("wait for one another: one effect, one answer", () =>
    Effect.gen(function* () {
      const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(go))
      yield* Effect.gen(function* () {
        const first = yield* Effect.fork(place("1", key))
        yield* Deferred.await(reached)
        const others = yield* Effect.forEach([1, 2, 3], () => Effect.fork(place("1", key)))
        yield* settle
        for (const other of others) assert.strictEqual((yield* other.poll)._tag, "None")
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual(yield* Fiber.join(first), "answer 1")
        // those of another process would ask again after a while
        const answers = yield* Effect.fork(Effect.forEach(others, Fiber.join))
        yield* pass(5 * second)
        assert.deepStrictEqual(yield* Fiber.join(answers), ["answer 1", "answer 1", "answer 1"])
        yield* expectRows("run 1")
        yield* expectShipped("run 1")
      }).pipe(within(backend, Handler.layer(placing(2, slow), shipping)))
    })
  )

  it.effect("pass to one who waits when the first one fails", () =>
    Effect.gen(function* () {
      const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = Deferred.succeed(reached, undefined).pipe(
        Effect.zipRight(Deferred.await(go)),
        Effect.zipRight(Effect.dieMessage("bug"))
      )
      yield* Effect.gen(function* () {
        const first = yield* Effect.fork(Effect.exit(place("1", key)))
        yield* Deferred.await(reached)
        const other = yield* Effect.fork(place("1", key))
        yield* settle
        yield* Deferred.succeed(go, undefined)
        assert.isTrue(Exit.isFailure(yield* Fiber.join(first)))
        yield* pass(5 * second)
        assert.strictEqual(yield* Fiber.join(other), "answer 2")
      }).pipe(within(backend, Handler.layer(placing(2, slow), shipping)))
    })
  )

  it.effect("are remembered for seven days, not longer", () =>
    Effect.gen(function* () {
      yield* place("1", key)
      yield* advance("167 hours")
      assert.strictEqual(yield* place("1", key), "answer 1")
      yield* advance("2 hours")
      assert.strictEqual(yield* place("1", key), "answer 2")
    }).pipe(within(backend, Handler.layer(placing(), shipping)))
  )

  it.effect("put an asynchronous command on its channel once", () =>
    Effect.gen(function* () {
      yield* ship("a", key)
      yield* ship("a", key)
      yield* expectShipped("a")
    }).pipe(within(backend, Handler.layer(shipping)))
  )

  it.effect("are refused inside another unit of work, with a sentence", () =>
    Effect.gen(function* () {
      const error = yield* rejected(UnitOfWork.run(place("1", key)))
      assert.strictEqual(error.reason, "Rejected")
      assert.match(error.detail, /cannot be used inside another unit of work or transaction/)
      yield* expectRows()
      assert.strictEqual(yield* place("1", key), "answer 1")
    }).pipe(within(backend, Handler.layer(placing(), shipping)))
  )

  it.effect("are refused with another payload, and do nothing", () =>
    Effect.gen(function* () {
      yield* place("1", key)
      const error = yield* rejected(place("2", key))
      assert.strictEqual(error.reason, "Rejected")
      assert.match(error.detail, /^the idempotencyKey "k" was used for a Place of another payload: nothing was done/)
      assert.strictEqual(yield* place("1", key), "answer 1")
      assert.strictEqual(yield* place("2", { idempotencyKey: { key: "k", onOtherPayload: "Answer" } }), "answer 1")
      yield* expectRows("run 1")
    }).pipe(within(backend, Handler.layer(placing(), shipping)))
  )

  it.effect("are refused with another payload after a declared error too", () =>
    Effect.gen(function* () {
      yield* expectRefused(place("1", key), "first")
      assert.strictEqual((yield* rejected(place("2", key))).reason, "Rejected")
      yield* expectRefused(place("2", { idempotencyKey: { key: "k", onOtherPayload: "Answer" } }), "first")
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(placing(2, refuse("first")), shipping)))
  )

  it.effect("answer what an older version of the message was answered, whatever it looked like", () => {
    const tag = `Versioned`
    class Old extends Message.Command<Old>()(tag, { payload: { id: Schema.String }, success: Schema.String }) {}
    class New extends Message.Command<New>()(tag, {
      version: 2,
      upcasters: { 1: Message.upcaster(Schema.Struct({ id: Schema.String }), ({ id }) => ({ name: id })) },
      payload: { name: Schema.String },
      success: Schema.String
    }) {}
    return Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(Handler.command(Old, ({ id }) => Effect.succeed(id))))
      const after = yield* process(backend, Handler.layer(Handler.command(New, ({ name }) => Effect.succeed(name))))
      yield* before(Effect.flatMap(CommandBus.CommandBus, (bus) => bus.send(new Old({ id: "old" }), key)))
      const sent = after(Effect.flatMap(CommandBus.CommandBus, (bus) => bus.send(new New({ name: "new" }), key)))
      assert.strictEqual(yield* sent, "old")
    }).pipe(Effect.scoped, alone(backend))
  })

  it.effect("fail with a typed error when the stored answer does not fit a new build's schema", () => {
    const tag = `Changed`
    class Old extends Message.Command<Old>()(tag, { success: Schema.String }) {}
    class New extends Message.Command<New>()(tag, { success: Schema.Number }) {}
    return Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(Handler.command(Old, () => Effect.succeed("old"))))
      const after = yield* process(backend, Handler.layer(Handler.command(New, () => Effect.succeed(1))))
      yield* before(Effect.flatMap(CommandBus.CommandBus, (bus) => bus.send(new Old(), key)))
      const error = yield* rejected(after(Effect.flatMap(CommandBus.CommandBus, (bus) => bus.send(new New(), key))))
      assert.strictEqual(error.reason, "Rejected")
      assert.match(
        error.detail,
        /^Changed was done under the idempotencyKey "k", but the answer that was kept does not/
      )
    }).pipe(Effect.scoped, alone(backend))
  })

  it.effect("are remembered for the window they are given", () => {
    const brief = { idempotencyKey: { key: "k", window: "1 hour" } } as const
    return Effect.gen(function* () {
      yield* place("1", brief)
      yield* advance("50 minutes")
      assert.strictEqual(yield* place("1", brief), "answer 1")
      yield* advance("20 minutes")
      assert.strictEqual(yield* place("1", brief), "answer 2")
    }).pipe(within(backend, Handler.layer(placing(), shipping)))
  })

  it.effect("take any characters for a key, up to a length", () =>
    Effect.gen(function* () {
      const keys = ["\u0000", "\ud800", "\ufffd", '"', " ", "x".repeat(255)]
      for (const idempotencyKey of [...keys, ...keys]) yield* place("1", { idempotencyKey })
      yield* expectRows(...keys.map((_, index) => `run ${index + 1}`))
      const error = yield* rejected(place("1", { idempotencyKey: "x".repeat(256) }))
      assert.strictEqual(
        error.message,
        "Rejected: the idempotencyKey of Place is 256 characters long: one has at most 255. Use an id, or a hash"
      )
      const window = yield* rejected(place("1", { idempotencyKey: { key: "k", window: 0 } }))
      assert.match(
        window.message,
        /^Rejected: The window of an idempotencyKey of Place is 0 ms: give a duration between/
      )
    }).pipe(within(backend, Handler.layer(placing(), shipping)))
  )

  it.effect("may be waited for by one who gives up, which changes nothing for the others", () =>
    Effect.gen(function* () {
      const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(go))
      yield* Effect.gen(function* () {
        const first = yield* Effect.fork(place("1", key))
        yield* Deferred.await(reached)
        const [impatient, patient] = [yield* Effect.fork(place("1", key)), yield* Effect.fork(place("1", key))]
        yield* settle
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(impatient)))
        yield* Deferred.succeed(go, undefined)
        assert.strictEqual(yield* Fiber.join(first), "answer 1")
        yield* pass(5 * second)
        assert.strictEqual(yield* Fiber.join(patient), "answer 1")
        yield* expectRows("run 1")
      }).pipe(within(backend, Handler.layer(placing(2, slow), shipping)))
    })
  )

  it.effect("give a key back that was claimed for one who had given up meanwhile", () =>
    Effect.gen(function* () {
      const [asked, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      yield* Effect.gen(function* () {
        // the answer of the store comes when nobody waits for it any more
        const slowly = withStore(
          (store) => ({
            claimKey: (key, leaseMillis) =>
              Deferred.succeed(asked, undefined).pipe(
                Effect.zipRight(store.claimKey(key, leaseMillis)),
                Effect.zipLeft(Deferred.await(go))
              )
          }),
          Effect.provide(place("1", key), Handler.layer(placing(), shipping).pipe(Layer.provideMerge(MessageBus.layer)))
        )
        const impatient = yield* Effect.fork(slowly)
        yield* Deferred.await(asked)
        yield* Fiber.interrupt(impatient)
        yield* Deferred.succeed(go, undefined)
        yield* settle
        // at once: without waiting for a lease
        assert.strictEqual(yield* place("1", key), "answer 1")
      }).pipe(within(backend, Handler.layer(placing(), shipping)))
    })
  )
}
