import { SqlClient } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { UnitOfWork } from "@holdfast/core"
import { Cause, Effect, Exit, Option } from "effect"
import { messaging, Scratch } from "./database.ts"
import { sent } from "./fixtures.ts"

/** Ends a server process of the database at random, every few milliseconds. */
const killer = Effect.flatMap(Scratch, ({ control }) =>
  control`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1`.pipe(
    Effect.ignore,
    Effect.delay(15),
    Effect.forever
  )
)

/** Three nested scopes at once, of which the second fails. */
const handler = (n: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const insert = (id: string) => sql`insert into item (id) values (${id})`
    const unit = yield* Effect.serviceOption(UnitOfWork.UnitOfWork)
    yield* Option.getOrThrow(unit).stage(sent("killed", String(n)))
    yield* insert(String(n))
    yield* Effect.forEach(
      [1, 2, 3],
      (k) =>
        Effect.either(
          UnitOfWork.scope(Effect.zipRight(insert(`${n}-${k}`), k === 2 ? Effect.fail("no") : Effect.void))
        ),
      { concurrency: "unbounded" }
    )
    if (n % 7 === 0) return yield* Effect.fail("declared")
    if (n % 11 === 0) return yield* Effect.interrupt
  })

const isUnknown = (exit: Exit.Exit<unknown, any>): boolean =>
  Exit.isFailure(exit) && Option.exists(Cause.failureOption(exit.cause), ({ reason }) => reason === "OutcomeUnknown")

layer(messaging(), { excludeTestServices: true })("while connections are killed at random", (it) => {
  it.effect("what succeeded is there whole, and nothing of what failed", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const sql = yield* SqlClient.SqlClient
      yield* control.unsafe("create table item (id text primary key)")
      const numbers = Array.from({ length: 400 }, (_, n) => n + 1)
      const units = Effect.forEach(numbers, (n) => Effect.exit(UnitOfWork.run(handler(n))), { concurrency: 12 })
      const exits = yield* Effect.raceFirst(units, killer)
      const found = yield* Effect.retry(control<{ id: string }>`select id from item`, { times: 5 })
      const sentOnes = yield* control<{ id: string }>`select message_id as id from holdfast.waiting`
      const there = new Set([...found.map(({ id }) => id), ...sentOnes.map(({ id }) => `sent ${id}`)])
      exits.forEach((exit, index) => {
        if (isUnknown(exit)) return
        const n = index + 1
        const expected = Exit.isSuccess(exit) ? [`${n}`, `${n}-1`, `${n}-3`, `sent ${n}`] : []
        const seen = [`${n}`, `${n}-1`, `${n}-2`, `${n}-3`, `sent ${n}`].filter((id) => there.has(id))
        assert.deepStrictEqual(seen, expected)
      })
      assert.isAbove(exits.filter(Exit.isSuccess).length, 0)
      yield* Effect.scoped(Effect.replicateEffect(Effect.retry(sql.reserve, { times: 5 }), 6)).pipe(
        Effect.timeout(5000)
      )
    })
  )
})
