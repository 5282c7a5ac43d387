/**
 * A unit of work and the SQL of its handlers.
 */
import { SqlClient } from "@effect/sql"
import { assert, it } from "@effect/vitest"
import { Handler, MessagingTest, QueryBus, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import type { PostgresBackend } from "./backend.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  CountRows,
  conflicting,
  defect,
  drain,
  expectRefused,
  expectRows,
  expectShipped,
  Orders,
  Place,
  place,
  Reserve,
  refuse,
  rejected,
  reserve,
  Ship,
  ship,
  systemOf,
  within,
  write
} from "./fixtures.ts"

import { both, causes, counting, insert, placing, shipping, sql } from "./sqlFixtures.ts"

export const sqlScopes = (backend: PostgresBackend): void => {
  it.effect(
    "that die because the database is away are the infrastructure's failure, which their sender may retry",
    () => {
      const cutOff = sql((sql) => Effect.orDie(sql`select pg_terminate_backend(pg_backend_pid())`))
      const typo = sql((sql) => Effect.orDie(sql`selec`))
      return Effect.gen(function* () {
        const error = yield* rejected(place("away"))
        assert.strictEqual(error._tag, "MessagingError")
        assert.strictEqual(error.reason, "Unavailable")
        assert.isTrue(error.isRetryable)
        assert.include(yield* defect(place("bug")), "Failed to execute statement")
        yield* expectRows()
      }).pipe(
        within(
          backend,
          Handler.layer(
            Handler.command(Place, ({ id }) => Effect.as(Effect.zipRight(write(id), id === "away" ? cutOff : typo), ""))
          )
        )
      )
    }
  )

  it.effect("are sql.withTransaction too: what is written and sent in one that fails is undone alone", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("before", "kept")
      yield* expectShipped("before", "kept")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(
            Effect.all([
              both("before"),
              Effect.ignore(sql((sql) => sql.withTransaction(Effect.zipRight(both("gone"), refuse())))),
              sql((sql) => sql.withTransaction(both("kept")))
            ])
          ),
          shipping
        )
      )
    )
  )

  it.effect("keep apart when several sql.withTransaction run at once", () => {
    const names = Array.from({ length: 9 }, (_, index) => (index % 3 === 1 ? `gone ${index}` : `kept ${index}`))
    const kept = names.filter((name) => name.startsWith("kept"))
    return Effect.gen(function* () {
      yield* place()
      yield* expectRows("before", ...kept)
      yield* expectShipped("before", ...kept)
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(
            Effect.zipRight(
              both("before"),
              Effect.forEach(
                names,
                (name) =>
                  sql((sql) =>
                    sql.withTransaction(
                      Effect.all([both(name), name.startsWith("gone") ? refuse() : insert(`${name} again`)])
                    )
                  ).pipe(Effect.ignore),
                { concurrency: "unbounded" }
              )
            ).pipe(Effect.zipRight(sql((sql) => sql`delete from ledger where entry like '% again'`)))
          ),
          shipping
        )
      )
    )
  })

  it.effect("let a statement fail alone in sql.withTransaction", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("a", "b")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(Effect.all([insert("a"), Effect.either(sql((sql) => sql.withTransaction(insert("a")))), insert("b")]))
        )
      )
    )
  )

  it.effect("share the one connection for statements that run at once", () => {
    const names = Array.from({ length: 50 }, (_, index) => `row ${index}`)
    return Effect.gen(function* () {
      yield* place()
      yield* expectRows(...names)
    }).pipe(within(backend, Handler.layer(placing(Effect.forEach(names, insert, { concurrency: "unbounded" })))))
  })
}

export const sqlUnits = (backend: PostgresBackend): void => {
  it.effect("take no connection of the pool for a handler without SQL", () =>
    Effect.gen(function* () {
      const held = yield* Deferred.make<void>()
      const client = yield* SqlClient.SqlClient
      const holding = yield* Effect.fork(
        Effect.scoped(
          Effect.flatMap(client.reserve, () => Effect.zipRight(Deferred.succeed(held, undefined), Effect.never))
        )
      )
      yield* Deferred.await(held)
      yield* place()
      yield* UnitOfWork.run(Effect.zipRight(ship("b"), QueryBus.ask(new CountRows({}))))
      yield* Fiber.interrupt(holding)
      yield* expectShipped("a", "b")
    }).pipe(
      Effect.provide(
        Handler.layer(
          placing(ship("a")),
          Handler.query(CountRows, () => Effect.succeed(1)),
          shipping
        ).pipe(Layer.provideMerge(systemOf(backend, { maxConnections: 1 })))
      )
    )
  )

  it.effect("leave no transaction open, however they end", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRefused(reserve())
      yield* Effect.exit(UnitOfWork.run(Effect.zipRight(insert("x"), Effect.die("bug"))))
      yield* Effect.exit(UnitOfWork.run(Effect.zipRight(insert("x"), Effect.interrupt)))
      const open = yield* sql(
        (sql) => sql<{ query: string }>`
          select query from pg_stat_activity
          where state like 'idle in transaction%' and query like '%ledger%' and datname = current_database()
            and pid in (select pid from pg_locks where relation = 'ledger'::regclass)`
      )
      assert.deepStrictEqual(open, [])
      yield* expectRows("a")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(insert("a")),
          Handler.command(Reserve, () => Effect.zipRight(write("b"), refuse()))
        )
      )
    )
  )

  it.effect("fail with UnitAborted and the first error when a handler swallows a SQL error", () =>
    Effect.gen(function* () {
      const error = yield* rejected(place())
      assert.strictEqual(error.reason, "UnitAborted")
      assert.include(causes(error), "23505")
      yield* expectRows()
      yield* expectShipped()
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(Effect.all([both("a"), Effect.ignore(insert("a")), Effect.ignore(insert("b")), ship("b")])),
          shipping
        )
      )
    )
  )

  it.effect("retry in place in a fresh unit after a statement that aborted the transaction", () => {
    let runs = 0
    return Effect.gen(function* () {
      yield* place()
      yield* expectRows("run 2")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(
            Effect.suspend(() => {
              runs++
              const once = insert(`run ${runs}`)
              return runs === 1 ? Effect.zipRight(once, once) : once
            })
          ).pipe(Handler.retry(Schedule.recurs(2)))
        )
      )
    )
  })

  it.effect("retry in place from the savepoint after a nested statement that aborted the transaction", () => {
    let runs = 0
    const reserving = Handler.command(
      Reserve,
      () =>
        Effect.suspend(() => {
          runs++
          const once = insert(`run ${runs}`)
          return runs === 1 ? Effect.zipRight(once, once) : once
        }).pipe(Effect.asVoid) as Effect.Effect<void, never, SqlClient.SqlClient>
    ).pipe(Handler.retry(Schedule.recurs(2)))
    return Effect.gen(function* () {
      yield* place()
      yield* expectRows("before", "run 2", "after")
    }).pipe(
      within(backend, Handler.layer(placing(Effect.all([insert("before"), reserve(), insert("after")])), reserving))
    )
  })

  it.effect("run again after a conflict with their SQL, in a fresh transaction", () => {
    let runs = 0
    return Effect.gen(function* () {
      yield* place()
      yield* expectRows("run 3")
      yield* expectShipped("run 3")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(Effect.suspend(() => Effect.zipRight(both(`run ${++runs}`), runs < 3 ? conflicting : Effect.void))),
          shipping
        )
      )
    )
  })

  it.effect("fail when the database refuses the COMMIT, and nothing was written", () =>
    Effect.gen(function* () {
      yield* sql((sql) => sql`create table child (entry text references ledger (entry) deferrable initially deferred)`)
      const error = yield* rejected(place())
      assert.strictEqual(error.reason, "Rejected")
      assert.match(error.detail, /refused the COMMIT/)
      yield* expectRows()
      yield* expectShipped()
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(
            Effect.zipRight(
              both("a"),
              sql((sql) => sql`insert into child values ('none')`)
            )
          ),
          shipping
        )
      )
    )
  )

  it.effect("send to brokers after all statements, just before COMMIT: not when one of them fails", () => {
    const broker = makeBroker()
    const sending = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Broker))
    return Effect.gen(function* () {
      yield* sql((sql) => sql`create table child (entry text references ledger (entry) deferrable initially deferred)`)
      const conflict = yield* rejected(UnitOfWork.run(Effect.all([both("a"), conflicting])))
      assert.strictEqual(conflict.reason, "Conflict")
      assert.strictEqual(broker.state.sent.length, 0)
      const orphan = sql((sql) => sql`insert into child values ('none')`)
      const refused = yield* rejected(UnitOfWork.run(Effect.all([both("b"), orphan])))
      assert.strictEqual(refused.reason, "Rejected")
      assert.strictEqual(broker.state.sent.length, 1, "a ghost, as documented")
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(sending).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("refuse the SQL of a fiber that outlived its handler, with a sentence", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const daemons: Array<Fiber.Fiber<Exit.Exit<unknown, unknown>>> = []
      const late = (entry: string) => Effect.zipRight(Deferred.await(go), Effect.exit(insert(entry)))
      const nested = Effect.zipRight(
        Deferred.await(go),
        Effect.exit(sql((sql) => sql.withTransaction(insert("late too"))))
      )
      yield* Effect.gen(function* () {
        yield* place()
        yield* Deferred.succeed(go, undefined)
        for (const daemon of daemons) {
          const exit = yield* Fiber.join(daemon)
          assert.match(Exit.isFailure(exit) ? causes(exit.cause) : "nothing", /outlived its handler/)
        }
        yield* expectRows("a")
      }).pipe(
        within(
          backend,
          Handler.layer(
            placing(
              Effect.gen(function* () {
                daemons.push(yield* Effect.forkDaemon(late("late")), yield* Effect.forkDaemon(nested))
                yield* insert("a")
              })
            )
          )
        )
      )
    })
  )

  it.effect("refuse it too when the handler came from a channel and had no SQL of its own", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const daemons: Array<Fiber.Fiber<Exit.Exit<unknown, unknown>>> = []
      const late = Effect.zipRight(Deferred.await(go), Effect.exit(insert("late")))
      const nested = Effect.zipRight(
        Deferred.await(go),
        Effect.exit(sql((sql) => sql.withTransaction(insert("late too"))))
      )
      const handler = Handler.command(Ship, () =>
        Effect.gen(function* () {
          daemons.push(yield* Effect.forkDaemon(late), yield* Effect.forkDaemon(nested))
        })
      ).pipe(Handler.asynchronous(Orders))
      yield* Effect.gen(function* () {
        yield* ship()
        yield* drain
        yield* Deferred.succeed(go, undefined)
        for (const daemon of daemons) {
          const exit = yield* Fiber.join(daemon)
          assert.match(Exit.isFailure(exit) ? causes(exit.cause) : "nothing", /outlived its handler|has ended/)
        }
        yield* expectRows()
      }).pipe(within(backend, Handler.layer(handler)))
    })
  )

  it.effect("join it late: what a handler from a channel wrote and sent first, in whatever scope, is one unit", () => {
    let tries = 0
    const handler = Handler.command(Ship, ({ id }) =>
      id === "sent"
        ? Effect.void
        : Effect.gen(function* () {
            yield* ship("sent")
            yield* Effect.ignore(UnitOfWork.scope(Effect.zipRight(insert("undone"), Effect.fail("no"))))
            yield* UnitOfWork.scope(insert("nested"))
            yield* Effect.all([insert("a"), sql((sql) => sql.withTransaction(insert("b")))], { concurrency: 2 })
            if (tries++ === 0) return yield* Effect.fail("again")
          })
    ).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(1)))
    return Effect.gen(function* () {
      yield* ship("first")
      yield* drain
      assert.strictEqual(tries, 2)
      yield* expectRows("a", "b", "nested")
      const sent = yield* MessagingTest.handled(Ship)
      assert.deepStrictEqual(sent.map(({ id }) => id).toSorted(), ["first", "sent"])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("show a query what they have not committed yet", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* place(), "1 then 2, outside 0")
      assert.strictEqual(yield* QueryBus.ask(new CountRows({})), 2)
    }).pipe(
      within(
        backend,
        Handler.layer(
          Handler.command(Place, () =>
            Effect.gen(function* () {
              const ask = QueryBus.ask(new CountRows({}))
              yield* write("a")
              const first = yield* ask
              yield* write("b")
              return `${first} then ${yield* ask}, outside ${yield* UnitOfWork.outside(ask)}`
            })
          ),
          counting
        )
      )
    )
  )

  it.effect("are not begun by a query: one that fails aborts nothing", () =>
    Effect.gen(function* () {
      yield* place()
      yield* expectRows("after")
    }).pipe(
      within(
        backend,
        Handler.layer(
          placing(Effect.zipRight(Effect.exit(QueryBus.ask(new CountRows({}))), insert("after"))),
          Handler.query(CountRows, () =>
            Effect.as(
              sql((sql) => Effect.orDie(sql`select 1 / 0`)),
              1
            )
          )
        )
      )
    )
  )
}
