import { assert, it } from "@effect/vitest"
import { EventBus, Handler, Orchestrator, Saga, SagaStore, UnitOfWork } from "@holdfast/core"
import { Effect, Layer, Option, Schema } from "effect"
import type { PostgresBackend } from "./backend.ts"
import {
  conflicting,
  expectRefused,
  expectRows,
  expectShipped,
  expectWaiting,
  Paid,
  Place,
  Placed,
  place,
  placed,
  Reserve,
  refuse,
  rejected,
  reserve,
  systemOf,
  within
} from "./fixtures.ts"

import { both, insert, placing, shipping, sql } from "./sqlFixtures.ts"

export const callersTransaction = (backend: PostgresBackend): void => {
  const handlers = Handler.layer(placing(both("a")), shipping)
  const transaction = <A, E, R>(effect: Effect.Effect<A, E, R>) => sql((sql) => sql.withTransaction(effect))

  it.effect("is joined: what was sent commits with it", () =>
    Effect.gen(function* () {
      yield* transaction(
        Effect.gen(function* () {
          yield* insert("caller")
          yield* place()
          yield* expectWaiting(0)
        })
      )
      yield* expectRows("caller", "a")
      yield* expectShipped("a")
    }).pipe(within(backend, handlers))
  )

  it.effect("is joined: what was sent is undone with it", () =>
    Effect.gen(function* () {
      yield* Effect.ignore(transaction(Effect.all([insert("caller"), place(), refuse()])))
      yield* expectRows()
      yield* expectWaiting(0)
    }).pipe(within(backend, handlers))
  )

  it.effect("goes on when a send fails in it", () =>
    Effect.gen(function* () {
      yield* transaction(Effect.all([insert("caller"), Effect.ignore(reserve()), place()]))
      yield* expectRows("caller", "a")
      yield* expectShipped("a")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(both("a")),
          Handler.command(Reserve, () => Effect.zipRight(both("gone"), refuse())),
          shipping
        )
      )
    )
  )

  it.effect("goes on when a statement of a send fails in it", () =>
    Effect.gen(function* () {
      yield* transaction(Effect.all([insert("a"), Effect.exit(place()), insert("b")]))
      yield* expectRows("a", "b")
      yield* expectWaiting(0)
    }).pipe(within(backend, handlers))
  )

  it.effect("takes several sends, also at once", () =>
    Effect.gen(function* () {
      yield* transaction(
        Effect.forEach(
          ["1", "2", "3", "4"],
          (id) =>
            id === "3" ? Effect.ignore(UnitOfWork.run(Effect.zipRight(both(id), refuse()))) : UnitOfWork.run(both(id)),
          { concurrency: "unbounded" }
        )
      )
      yield* expectRows("1", "2", "4")
      yield* expectShipped("1", "2", "4")
    }).pipe(within(backend, handlers))
  )

  it.effect("refuses an idempotency key with a sentence", () =>
    Effect.gen(function* () {
      const error = yield* transaction(rejected(place("1", { idempotencyKey: "k" })))
      assert.strictEqual(error.reason, "Rejected")
      assert.match(error.detail, /cannot be used inside another unit of work or transaction/)
      yield* place("1", { idempotencyKey: "k" })
      yield* expectRows("a")
    }).pipe(within(backend, handlers))
  )

  it.effect("shows what earlier sends in it have written to sagas, orchestrators and deduplication", () => {
    const saga = Saga.make("Counts", { state: Schema.Number }).pipe(
      Saga.startOn(Placed, { id: ({ id }) => id, handle: () => Effect.succeed(1) }),
      Saga.on(Paid, { id: ({ id }) => id, handle: (count) => Effect.succeed(count + 1) })
    )
    let runs = 0
    const flow = Orchestrator.make("Flow", { input: Schema.String }).pipe(
      Orchestrator.andThen(
        Orchestrator.step("count", {
          input: Schema.String,
          output: Schema.Number,
          run: () => Effect.sync(() => ++runs)
        })
      )
    )
    const once = Handler.event(Placed, { name: "Once", handle: ({ id }) => Effect.orDie(insert(id)) }).pipe(
      Handler.deduplicate({ key: ({ id }) => id })
    )
    const start = Orchestrator.start(flow, "a", { id: "a" })
    const stored = Effect.flatMap(SagaStore.SagaStore, (sagas) => sagas.load("Counts", "a"))
    return Effect.gen(function* () {
      yield* transaction(Effect.all([placed("a"), placed("a"), EventBus.publish(new Paid({ id: "a" })), start, start]))
      assert.strictEqual(Option.getOrThrow(yield* stored).state, "2")
      assert.strictEqual(yield* Orchestrator.result(flow, "a"), 1)
      assert.strictEqual(runs, 1)
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(saga, flow, once)))
  })

  it.effect("is not run again after a conflict: the send fails with it", () => {
    let runs = 0
    return Effect.gen(function* () {
      const error = yield* transaction(rejected(place()))
      assert.strictEqual(error.reason, "Conflict")
      assert.strictEqual(runs, 1)
      yield* expectRows()
    }).pipe(
      within(backend, Handler.layer(placing(Effect.suspend(() => Effect.zipRight(insert(`${++runs}`), conflicting)))))
    )
  })
}

export const databases = (backend: PostgresBackend): void => {
  it.scoped("a handler built with another database's client writes there, on its own", () =>
    Effect.gen(function* () {
      const other = yield* Layer.build(backend.other)
      const handlers = Handler.layer(
        Handler.command(Place, ({ id }) =>
          both(id).pipe(Effect.zipRight(id === "refused" ? refuse() : Effect.void), Effect.as(""))
        ),
        shipping
      ).pipe(Layer.provide(Layer.succeedContext(other)))
      yield* Effect.gen(function* () {
        yield* place("kept")
        yield* expectRefused(place("refused"))
        yield* UnitOfWork.run(Effect.zipRight(insert("here"), place("within")))
        yield* expectRows("here")
        yield* expectShipped("kept", "within")
        yield* Effect.provide(expectRows("kept", "refused", "within"), other)
      }).pipe(Effect.provide(Layer.provideMerge(handlers, systemOf(backend, {}))))
    })
  )

  it.scoped("a handler uses another database's client outside of its unit", () =>
    Effect.gen(function* () {
      const other = yield* Layer.build(backend.other)
      const elsewhere = UnitOfWork.outside(Effect.provide(insert("there"), other))
      yield* Effect.gen(function* () {
        yield* expectRefused(place())
        yield* expectRows()
        yield* expectShipped()
        yield* Effect.provide(expectRows("there"), other)
      }).pipe(within(backend, Handler.layer(placing(Effect.all([both("here"), elsewhere, refuse()])), shipping)))
    })
  )
}
