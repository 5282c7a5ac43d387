/**
 * A unit of work commits whole or not at all.
 */
import { assert, it } from "@effect/vitest"
import { Handler, MessagingTest, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { type Backend, Ledger } from "./backend.ts"
import {
  advance,
  alone,
  conflicting,
  defect,
  drain,
  expectRefused,
  expectRows,
  expectShipped,
  expectWaiting,
  failing,
  Orders,
  Place,
  Placed,
  place,
  placed,
  Reserve,
  refuse,
  rejected,
  reserve,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"

const shipping = Handler.command(Ship, ({ id }) => write(`shipped ${id}`)).pipe(Handler.asynchronous(Orders))

/** Writes a row and sends a message, then ends as the effect does. */
const placing = <E, R>(end: Effect.Effect<unknown, E, R>) =>
  Handler.command(Place, ({ id }) =>
    write(id).pipe(Effect.zipRight(ship(id)), Effect.zipRight(end), Effect.as(`placed ${id}`))
  )

export const unitOfWork = <R>(backend: Backend<R>): void => {
  it.effect("commits the rows and the messages of a handler, and gives its answer", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* place(), "placed 1")
      yield* expectRows("1")
      yield* expectShipped("1")
      assert.strictEqual(yield* drain, 1)
      yield* expectRows("1", "shipped 1")
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(placing(Effect.void), shipping)))
  )

  it.effect("undoes all when the handler refuses, and gives the declared error", () =>
    Effect.gen(function* () {
      yield* expectRefused(place())
      yield* expectRows()
      yield* expectShipped()
    }).pipe(within(backend, Handler.layer(placing(refuse()), shipping)))
  )

  it.effect("undoes all when the handler dies", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* defect(place()), "bug")
      yield* expectRows()
      yield* expectShipped()
    }).pipe(within(backend, Handler.layer(placing(Effect.dieMessage("bug")), shipping)))
  )

  it.effect("undoes all when the sender is interrupted", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(place())
        yield* Deferred.await(reached)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        yield* expectRows()
        yield* expectShipped()
      }).pipe(
        within(
          backend,
          Handler.layer(placing(Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never)), shipping)
        )
      )
    })
  )

  it.effect("shows nothing to others before it commits", () =>
    Effect.gen(function* () {
      const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(place())
        yield* Deferred.await(reached)
        yield* expectRows()
        yield* expectShipped()
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(fiber)
        yield* expectRows("1")
        yield* expectShipped("1")
      }).pipe(
        within(
          backend,
          Handler.layer(placing(Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(go))), shipping)
        )
      )
    })
  )

  it.effect("cannot be interrupted while it commits: what was answered is what is stored", () =>
    Effect.gen(function* () {
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (id) => Effect.fork(place(String(id))))
      for (const [index, fiber] of fibers.entries()) {
        yield* Effect.repeatN(Effect.yieldNow(), index * 3)
        yield* Fiber.interruptFork(fiber)
      }
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      const succeeded = exits.flatMap((exit, index) => (Exit.isSuccess(exit) ? [String(index + 1)] : []))
      const rows = yield* Effect.flatMap(Ledger, (ledger) => ledger.rows)
      for (const id of succeeded) assert.include(rows, id)
      yield* expectWaiting(rows.length)
    }).pipe(within(backend, Handler.layer(placing(Effect.void), shipping)))
  )

  it.effect("runs synchronous event handlers in the publisher's unit", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("1", "seen 1")
      assert.strictEqual(yield* defect(placed("bad")), "bug")
      yield* expectRows("1", "seen 1")
      yield* expectShipped("1")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(placed("1")),
          shipping,
          Handler.event(Placed, {
            name: "See",
            handle: ({ id }) =>
              Effect.zipRight(Effect.orDie(write(`seen ${id}`)), id === "bad" ? Effect.dieMessage("bug") : Effect.void)
          })
        )
      )
    )
  )

  it.effect("is one for several sends in UnitOfWork.run", () =>
    Effect.gen(function* () {
      yield* UnitOfWork.run(Effect.all([place("1"), place("2"), write("3")]))
      yield* expectRows("1", "2", "3")
      yield* failing(UnitOfWork.run(Effect.all([place("4"), write("5"), refuse()])))
      yield* expectRows("1", "2", "3")
      yield* expectShipped("1", "2")
    }).pipe(within(backend, Handler.layer(placing(Effect.void), shipping)))
  )

  it.effect("is a nested scope for UnitOfWork.run inside a handler", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("1", "kept")
      yield* expectShipped("1")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(
            Effect.zipRight(
              Effect.ignore(UnitOfWork.run(Effect.all([write("gone"), ship("gone"), refuse()]))),
              UnitOfWork.run(write("kept"))
            )
          ),
          shipping
        )
      )
    )
  )

  it.effect("leaves alone what runs outside of it", () =>
    Effect.gen(function* () {
      yield* failing(place())
      yield* expectRows("outside")
      yield* expectShipped("outside")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(Effect.zipRight(UnitOfWork.outside(Effect.all([write("outside"), ship("outside")])), refuse())),
          shipping
        )
      )
    )
  )

  it.effect("does not see, outside of it, what it has staged itself", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectShipped("1")
    }).pipe(
      within(
        backend,
        Handler.layer(placing(UnitOfWork.outside(Effect.zipRight(expectRows(), expectWaiting(0)))), shipping)
      )
    )
  )

  it.effect("runs the effect as it is in a scope or outside, where there is no unit", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* UnitOfWork.scope(Effect.succeed(1)), 1)
      assert.strictEqual(yield* UnitOfWork.outside(Effect.succeed(2)), 2)
      yield* UnitOfWork.scope(write("a"))
      yield* expectRows("a")
    }).pipe(alone(backend))
  )

  it.effect("costs no commit when nothing was written", () =>
    Effect.gen(function* () {
      yield* UnitOfWork.run(Effect.void)
      assert.strictEqual(yield* UnitOfWork.run(Effect.succeed(1)), 1)
    }).pipe(alone(backend))
  )
}

const hooks: Array<string> = []
const note = (what: string) => UnitOfWork.afterCommit(Effect.sync(() => hooks.push(what)))

export const afterCommit = <R>(backend: Backend<R>): void => {
  const noted = Effect.sync(() => hooks.splice(0))

  it.effect("runs in order once the unit has committed, outside of it", () =>
    Effect.gen(function* () {
      yield* place()
      assert.deepStrictEqual(yield* noted, ["sub", "first", "second"])
    }).pipe(
      within(
        backend,
        Handler.layer(
          Handler.command(Place, () =>
            Effect.gen(function* () {
              yield* reserve()
              yield* note("first")
              yield* note("second")
              assert.deepStrictEqual(hooks, [])
              return ""
            })
          ),
          Handler.command(Reserve, () => Effect.zipRight(write("reserved"), note("sub")))
        )
      )
    )
  )

  it.effect("runs outside of the unit: it sees what was committed, and may send", () =>
    Effect.gen(function* () {
      yield* UnitOfWork.run(
        Effect.zipRight(
          write("a"),
          UnitOfWork.afterCommit(Effect.all([expectRows("a"), ship("afterwards"), note("ran")]))
        )
      )
      assert.deepStrictEqual(yield* noted, ["ran"])
      yield* expectShipped("afterwards")
    }).pipe(within(backend, Handler.layer(shipping)))
  )

  it.effect("is dropped with its scope, and with the unit", () =>
    Effect.gen(function* () {
      yield* place("1")
      assert.deepStrictEqual(yield* noted, ["kept"])
      yield* failing(place("2"))
      assert.deepStrictEqual(yield* noted, [])
      yield* rejected(UnitOfWork.run(Effect.zipRight(note("never"), conflicting)))
      assert.deepStrictEqual(yield* noted, [])
    }).pipe(
      within(
        backend,
        Handler.layer(
          Handler.command(Place, ({ id }) =>
            Effect.ignore(reserve()).pipe(
              Effect.zipRight(note("kept")),
              Effect.zipRight(id === "2" ? refuse() : Effect.succeed(""))
            )
          ),
          Handler.command(Reserve, () => Effect.zipRight(note("gone"), refuse()))
        )
      )
    )
  )

  it.effect("cannot undo what was committed when it fails", () =>
    Effect.gen(function* () {
      yield* UnitOfWork.run(
        Effect.all([
          write("a"),
          UnitOfWork.afterCommit(Effect.fail("no")),
          UnitOfWork.afterCommit(Effect.die("no")),
          note("b")
        ])
      )
      yield* expectRows("a")
      assert.deepStrictEqual(yield* noted, ["b"])
    }).pipe(alone(backend))
  )

  it.effect("runs at once where there is no unit", () =>
    Effect.gen(function* () {
      yield* note("now")
      assert.deepStrictEqual(yield* noted, ["now"])
    }).pipe(alone(backend))
  )

  it.effect("logs what was sent, published and handled only once it has committed", () =>
    Effect.gen(function* () {
      yield* failing(UnitOfWork.run(Effect.all([placed("gone"), ship("gone"), refuse()])))
      assert.deepStrictEqual(yield* MessagingTest.published(Placed), [])
      assert.deepStrictEqual(yield* MessagingTest.sent(Ship), [])
      yield* placed("kept")
      assert.deepStrictEqual(yield* MessagingTest.published(Placed), [new Placed({ id: "kept" })])
      yield* advance(0)
    }).pipe(within(backend, Handler.layer(shipping)))
  )
}
