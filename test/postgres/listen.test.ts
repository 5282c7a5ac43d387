import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { MessageStore, UnitOfWork } from "@holdfast/core"
import { PgMessaging } from "@holdfast/postgres"
import { Context, Effect, Fiber, Layer, Option } from "effect"
import { ClientLive, messaging, Scratch } from "./database.ts"
import { sent } from "./fixtures.ts"

/** A second process on the same tables. */
const other = Effect.map(
  Layer.build(Layer.fresh(PgMessaging.layerWith({ testing: true }).pipe(Layer.provide(Layer.fresh(ClientLive))))),
  Context.get(MessageStore.MessageStore)
)
const listeners = Effect.flatMap(
  Scratch,
  ({ control }) =>
    control<{ pid: number }>`select pid from pg_stat_activity
    where datname = current_database() and query ilike 'listen %'`
)
const awaitListeners = (count: number) =>
  Effect.repeat(Effect.delay(listeners, 20), { until: (rows) => rows.length === count }).pipe(Effect.timeout(5000))
/** Completes when the wake comes from elsewhere: its own time is far away. */
const woken = (store: MessageStore.Encoded, channel: string) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(Effect.timed(store.wake(channel, 20_000)))
    yield* Effect.sleep(100)
    return Effect.timeout(Fiber.join(fiber), 3000)
  })

layer(messaging(), { excludeTestServices: true })("wake-ups between processes", (it) => {
  it.scoped("a commit in one process wakes a consumer in another", () =>
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      const second = yield* other
      yield* awaitListeners(2)
      const wake = yield* woken(second, "far")
      yield* store.commit([[sent("far", "1")]])
      yield* wake
    })
  )

  it.scoped("a unit in the user's own transaction wakes when that commits, here and there", () =>
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      const sql = yield* SqlClient.SqlClient
      const second = yield* other
      yield* awaitListeners(2)
      const wakes = [yield* woken(second, "joined"), yield* woken(store, "joined")]
      const stage = Effect.flatMap(Effect.serviceOption(UnitOfWork.UnitOfWork), (unit) =>
        Option.getOrThrow(unit).stage(sent("joined", "1"))
      )
      yield* sql.withTransaction(UnitOfWork.run(stage))
      yield* Effect.all(wakes)
    })
  )

  it.scoped("a listener whose server process is ended listens again, and wakes everybody once", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const store = yield* MessageStore.MessageStore
      const second = yield* other
      yield* awaitListeners(2)
      const wake = yield* woken(second, "healed")
      const [before] = [yield* listeners]
      yield* control`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query ilike 'listen %'`
      yield* wake
      yield* awaitListeners(2)
      const after = yield* listeners
      assert.isTrue(after.every(({ pid }) => before!.every((old) => old.pid !== pid)))
      const again = yield* woken(second, "healed")
      yield* store.commit([[sent("healed", "1")]])
      yield* again
    })
  )
})
