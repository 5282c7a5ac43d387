/**
 * Sends with an idempotency key do one thing.
 */
import { assert, it } from "@effect/vitest"
import { CommandBus, Handler, MessagingError, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, Exit, Fiber } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
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
      yield* ship("b", key)
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
}
