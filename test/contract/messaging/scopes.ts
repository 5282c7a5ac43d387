/**
 * Nested scopes of a unit of work: each can fail alone.
 */
import { assert, it } from "@effect/vitest"
import { Handler, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, Exit, Fiber } from "effect"
import type { Backend } from "./backend.ts"
import {
  expectRefused,
  expectRows,
  expectShipped,
  Orders,
  Place,
  place,
  Reserve,
  refuse,
  reserve,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"

const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))

const both = (id: string) => Effect.zipRight(write(id), ship(id))

/** Each nested command writes and sends under its name, then ends as its name says. */
const reserving = (reached: Effect.Effect<unknown> = Effect.void) =>
  Handler.command(Reserve, ({ id }) =>
    Effect.gen(function* () {
      yield* both(id)
      yield* reached
      if (id.startsWith("refused")) return yield* refuse()
      if (id.startsWith("dead")) return yield* Effect.dieMessage("bug")
      if (id.startsWith("stuck")) return yield* Effect.never
    })
  )

const caller = <E, R>(body: Effect.Effect<unknown, E, R>) => Handler.command(Place, () => Effect.as(body, ""))

export const scopes = <R>(backend: Backend<R>): void => {
  it.effect("are poured into their caller's when they succeed", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("a", "b")
      yield* expectShipped("a", "b")
    }).pipe(within(backend, Handler.layer(caller(Effect.all([reserve("a"), reserve("b")])), reserving(), shipping)))
  )

  it.effect("are undone alone when they fail before their caller wrote anything", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("after")
      yield* expectShipped("after")
    }).pipe(
      within(
        backend,
        Handler.layer(caller(Effect.zipRight(expectRefused(reserve("refused")), both("after"))), reserving(), shipping)
      )
    )
  )

  it.effect("are undone alone when they fail after their caller wrote something", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("before", "after", "sibling")
      yield* expectShipped("before", "after", "sibling")
    }).pipe(
      within(
        backend,
        Handler.layer(
          caller(Effect.all([both("before"), expectRefused(reserve("refused")), reserve("sibling"), both("after")])),
          reserving(),
          shipping
        )
      )
    )
  )

  it.effect("are undone alone though they wrote nothing but messages", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectShipped("before", "after")
    }).pipe(
      within(
        backend,
        Handler.layer(
          caller(
            Effect.all([
              ship("before"),
              Effect.ignore(UnitOfWork.scope(Effect.zipRight(ship("gone"), refuse()))),
              ship("after")
            ])
          ),
          shipping
        )
      )
    )
  )

  it.effect("are undone alone when they die", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("before", "after")
      yield* expectShipped("before", "after")
    }).pipe(
      within(
        backend,
        Handler.layer(
          caller(Effect.all([both("before"), Effect.exit(reserve("dead")), both("after")])),
          reserving(),
          shipping
        )
      )
    )
  )

  it.effect("are undone alone when they are interrupted", () =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const interrupting = Effect.gen(function* () {
        const fiber = yield* Effect.fork(reserve("stuck"))
        yield* Deferred.await(reached)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
      })
      yield* Effect.gen(function* () {
        yield* place()
        yield* expectRows("before", "after")
        yield* expectShipped("before", "after")
      }).pipe(
        within(
          backend,
          Handler.layer(
            caller(Effect.all([both("before"), interrupting, both("after")])),
            reserving(Deferred.succeed(reached, undefined)),
            shipping
          )
        )
      )
    })
  )

  it.effect("take those inside them along when they fail", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("kept")
      yield* expectShipped("kept")
    }).pipe(
      within(
        backend,
        Handler.layer(
          caller(
            Effect.zipRight(
              Effect.ignore(
                UnitOfWork.scope(Effect.all([reserve("inner"), UnitOfWork.scope(both("innermost")), refuse()]))
              ),
              UnitOfWork.scope(Effect.zipRight(Effect.ignore(reserve("refused")), both("kept")))
            )
          ),
          reserving(),
          shipping
        )
      )
    )
  )

  it.effect("fail with the unit when their caller fails after them", () =>
    Effect.gen(function* () {
      yield* expectRefused(place())
      yield* expectRows()
      yield* expectShipped()
    }).pipe(within(backend, Handler.layer(caller(Effect.zipRight(reserve("a"), refuse())), reserving(), shipping)))
  )

  it.effect("keep apart when they run at once: one fails, the others keep theirs", () =>
    Effect.gen(function* () {
      const names = Array.from({ length: 12 }, (_, index) => (index % 3 === 1 ? `refused ${index}` : `kept ${index}`))
      const kept = names.filter((name) => name.startsWith("kept"))
      yield* Effect.gen(function* () {
        yield* place()
        yield* expectRows("before", ...kept)
        yield* expectShipped("before", ...kept)
      }).pipe(
        within(
          backend,
          Handler.layer(
            caller(
              Effect.zipRight(
                both("before"),
                Effect.forEach(names, (name) => Effect.exit(reserve(name)), { concurrency: "unbounded" })
              )
            ),
            reserving(Effect.yieldNow()),
            shipping
          )
        )
      )
    })
  )

  it.effect("keep apart when they run at once and the caller wrote nothing yet", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("a", "b")
      yield* expectShipped("a", "b")
    }).pipe(
      within(
        backend,
        Handler.layer(
          caller(
            Effect.all([Effect.exit(reserve("refused")), reserve("a"), Effect.exit(reserve("dead")), reserve("b")], {
              concurrency: "unbounded"
            })
          ),
          reserving(Effect.yieldNow()),
          shipping
        )
      )
    )
  )

  it.effect("may be many and deep", () =>
    Effect.gen(function* () {
      const deep = (depth: number): Effect.Effect<void, never, any> =>
        depth === 0
          ? Effect.orDie(both("deepest"))
          : UnitOfWork.scope(
              Effect.zipRight(
                Effect.ignore(UnitOfWork.scope(Effect.zipRight(write(`gone ${depth}`), refuse()))),
                deep(depth - 1)
              )
            )
      yield* UnitOfWork.run(deep(20) as Effect.Effect<void>)
      yield* expectRows("deepest")
      yield* expectShipped("deepest")
    }).pipe(within(backend, Handler.layer(shipping)))
  )
}
