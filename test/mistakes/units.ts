/**
 * Handlers and units of work, in memory; those with SQL are in `database.ts`.
 */
import { Deduplication, Handler, Interceptor, MessagingTest, SagaStore, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { mistake } from "./page.ts"
import { dies, fails, logs, Memory, OrderPlaced, Ship, ship, shipped, within } from "./shop.ts"

const section = "Handlers and units of work"

const row = { saga: "Fulfilment", id: "A1", version: 1, state: "{}", completed: false, timers: {} }

export const units = (): void => {
  mistake(
    section,
    "Deduplication.once outside of a unit",
    Effect.flatMap(Deduplication.Deduplication, (deduplication) =>
      dies(deduplication.once("1", 1_000, Effect.void, Effect.void))
    ).pipe(Effect.provide(Memory))
  )
  mistake(
    section,
    "SagaStore.put outside of a unit",
    Effect.flatMap(SagaStore.SagaStore, (store) => dies(store.put(row))).pipe(Effect.provide(Memory))
  )
  mistake(
    section,
    "a saga moved twice from one state",
    Effect.flatMap(SagaStore.SagaStore, (store) =>
      fails(UnitOfWork.run(Effect.zipRight(store.put(row), store.put(row))))
    ).pipe(Effect.provide(Memory))
  )
  const returning = Handler.command(Ship, () => Effect.succeed(new OrderPlaced({ id: "A1" }) as unknown as void))
  mistake(section, "a returned message that nothing sends on", dies(shipped()).pipe(within(Handler.layer(returning))))
  mistake(
    section,
    "an effect after the commit that fails",
    logs("An effect", UnitOfWork.run(UnitOfWork.afterCommit(Effect.fail("away")))).pipe(Effect.provide(Memory))
  )
  class Late extends Interceptor.Tag<Late>()("shop/Late") {}
  const late = Interceptor.after(() => Effect.dieMessage("too late"))
  mistake(
    section,
    "an interceptor of a consumer that fails after the commit",
    logs(
      "An interceptor",
      Effect.zipRight(shipped(), MessagingTest.drain).pipe(
        within(
          Layer.merge(Handler.layer(ship), Interceptor.layer(Late, { at: "Consumer" })).pipe(
            Layer.provide(Layer.succeed(Late, late))
          )
        )
      )
    )
  )

  mistake(
    section,
    "a fiber that sends after its handler",
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const late = yield* UnitOfWork.run(Effect.forkDaemon(Effect.zipRight(Deferred.await(gate), shipped())))
      yield* Deferred.succeed(gate, undefined)
      return yield* dies(Fiber.join(late))
    }).pipe(within(Handler.layer(ship)))
  )
}
