import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { MessageStore, UnitOfWork } from "@holdfast/core"
import { PgMessaging } from "@holdfast/postgres"
import { Cause, Effect, Exit, Layer, Option, Redacted } from "effect"
import { Scratch } from "./database.ts"
import { sent } from "./fixtures.ts"
import { type Fault, proxy } from "./proxy.ts"

const open = (url: string) =>
  PgMessaging.layerWith({ migrate: true, maxConnections: 2, notifications: false }).pipe(
    Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 2 }))
  )

layer(Scratch.layer, { excludeTestServices: true })("a connection lost at COMMIT", (it) => {
  const outcome = (fault: Fault) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { control, url } = yield* Scratch
        const { arm, url: through } = yield* proxy(url)
        yield* control.unsafe("drop table if exists item; create table item (id text primary key)")
        return yield* Effect.gen(function* () {
          const store = yield* MessageStore.MessageStore
          const sql = yield* SqlClient.SqlClient
          yield* control.unsafe("truncate holdfast.message, holdfast.queue")
          arm(fault)
          const unit = Effect.flatMap(Effect.serviceOption(UnitOfWork.UnitOfWork), (unit) =>
            Effect.zipRight(sql`insert into item (id) values ('a')`, Option.getOrThrow(unit).stage(sent("own", "1")))
          )
          const own = yield* Effect.exit(UnitOfWork.run(unit))
          arm(fault)
          const [first, second] = yield* store.commit([[sent("group", "1")], [sent("group", "2")]])
          const rows = yield* control<{ channel: string }>`select channel from holdfast.waiting order by id`
          const healthy = yield* Effect.exit(UnitOfWork.run(sql`select 1`))
          assert(Exit.isSuccess(healthy), "both pools recover")
          return {
            own: Exit.isSuccess(own) ? "ok" : (Option.getOrUndefined(Cause.failureOption(own.cause)) as any)?.reason,
            group: [first!, second!].map((outcome) => (Option.isNone(outcome) ? "ok" : outcome.value.reason)),
            rows: rows.map(({ channel }) => channel),
            items: (yield* control`select id from item`).length
          }
        }).pipe(Effect.provide(open(through)))
      })
    )

  it.effect("is asked for its outcome, and was committed", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* outcome("loseAnswer"), {
        own: "ok",
        group: ["ok", "ok"],
        rows: ["own", "group", "group"],
        items: 1
      })
    })
  )

  it.effect("is asked for its outcome, and was rolled back", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* outcome("loseCommit"), {
        own: "Unavailable",
        group: ["Unavailable", "Unavailable"],
        rows: [],
        items: 0
      })
    })
  )
})
