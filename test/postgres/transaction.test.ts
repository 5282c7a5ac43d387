import { SqlClient, SqlResolver, SqlSchema } from "@effect/sql"
import { assert, layer } from "@effect/vitest"
import { MessageStore, UnitOfWork } from "@holdfast/core"
import {
  Cause,
  Chunk,
  Context,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Ref,
  Schema,
  Stream
} from "effect"
import { ClientLive, client, messaging, Scratch } from "./database.ts"
import { sent } from "./fixtures.ts"

/** The client as it is below messaging: for code that captured it there. */
class Raw extends Context.Tag("test/postgres/Raw")<Raw, SqlClient.SqlClient>() {}

const Live = Layer.effectDiscard(
  Effect.flatMap(Scratch, ({ control }) =>
    control.unsafe(
      "create table item (id text primary key); create table child (id text references item (id) deferrable initially deferred)"
    )
  )
).pipe(
  Layer.provideMerge(Layer.effect(Raw, SqlClient.SqlClient).pipe(Layer.provide(ClientLive))),
  Layer.provideMerge(messaging())
)

const item = (id: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql`insert into item (id) values (${id})`)
const query = (text: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe(text))
/** Seen from outside of whatever transaction is open here. */
const outside = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(
    effect,
    (context: Context.Context<R>) =>
      Context.omit(SqlClient.TransactionConnection)(context as Context.Context<any>) as Context.Context<R>
  )
const items = Effect.flatMap(Scratch, ({ control }) =>
  Effect.map(control<{ id: string }>`select id from item order by id`, (rows) => rows.map(({ id }) => id))
).pipe(outside)
const count = (text: string) =>
  Effect.flatMap(Scratch, ({ control }) =>
    Effect.map(control.unsafe<{ n: number }>(`select count(*)::int as n from ${text}`), ([row]) => row!.n)
  ).pipe(outside)
const messages = (channel: string) => count(`holdfast.waiting where channel = '${channel}'`)
const stage = (channel: string, id: string) =>
  Effect.flatMap(Effect.serviceOption(UnitOfWork.UnitOfWork), (unit) =>
    Option.getOrThrow(unit).stage(sent(channel, id))
  )
const wipe = Effect.flatMap(Scratch, ({ control }) =>
  control.unsafe("truncate item, child, holdfast.message, holdfast.queue")
)
/** Nothing may be left open or lent, whatever a test did. */
const clean = Effect.gen(function* () {
  const idle = yield* count("pg_stat_activity where datname = current_database() and state like 'idle in%'")
  assert.strictEqual(idle, 0, "no transaction is left open")
})
const run = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.exit(UnitOfWork.run(effect))
const failure = (exit: Exit.Exit<unknown, unknown>): any =>
  Exit.isFailure(exit) ? Option.getOrElse(Cause.failureOption(exit.cause), () => Cause.squash(exit.cause)) : "Success"
const reason = (exit: Exit.Exit<unknown, unknown>): string => {
  const error = failure(exit)
  return error?.reason ?? error?._tag ?? String(error)
}
const ok = (exit: Exit.Exit<unknown, unknown>) =>
  assert(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")

layer(Live, { excludeTestServices: true })("the lazy transaction", (it) => {
  const scenario = <E>(
    name: string,
    effect: () => Effect.Effect<void, E, Scratch | Raw | MessageStore.MessageStore | SqlClient.SqlClient>
  ) => it.effect(name, () => wipe.pipe(Effect.zipRight(Effect.suspend(effect)), Effect.zipLeft(clean)))

  scenario("a unit without SQL takes no connection of the user's pool", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const all = Effect.replicateEffect(sql.reserve, 6)
      yield* Effect.scoped(Effect.zipRight(all, Effect.map(run(stage("lazy", "1")), ok)))
      ok(yield* run(sql.withTransaction(Effect.void)))
      assert.strictEqual(yield* messages("lazy"), 1)
    })
  )

  scenario("every way to run SQL joins the transaction", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const Item = Schema.Struct({ id: Schema.String })
      const one = SqlSchema.single({
        Request: Schema.String,
        Result: Item,
        execute: (id) => sql`select id from item where id = ${id}`
      })
      const resolver = yield* SqlResolver.findById("Item", {
        Id: Schema.String,
        Result: Item,
        ResultId: (_) => _.id,
        execute: (ids) => sql`select id from item where ${sql.in("id", ids)}`
      })
      const exit = yield* run(
        Effect.gen(function* () {
          yield* item("a")
          yield* sql.unsafe("insert into item (id) values ($1)", ["b"])
          yield* sql`insert into item ${sql.insert({ id: "c" })}`
          assert.deepStrictEqual(yield* sql`select id from item order by 1`.values, [["a"], ["b"], ["c"]])
          assert.strictEqual(((yield* sql`select 1`.raw) as { readonly command: string }).command, "SELECT")
          assert.strictEqual((yield* one("a")).id, "a")
          const found = yield* Effect.forEach(["a", "b", "x"], resolver.execute, {
            batching: true,
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(
            found.map((_) => _._tag),
            ["Some", "Some", "None"]
          )
          const seen = yield* sql`select generate_series(1, ${300}::int) as n`.stream.pipe(
            Stream.mapEffect((row) => Effect.as(sql`select 1`, row)),
            Stream.runCollect
          )
          assert.strictEqual(Chunk.size(seen), 300)
          const inserted = sql`insert into item (id) values ('d') returning id`.stream
          assert.strictEqual(Chunk.size(yield* Stream.runCollect(inserted)), 1)
          assert.deepStrictEqual(yield* items, [], "nothing is visible outside")
          return yield* Effect.fail("no")
        })
      )
      assert.strictEqual(failure(exit), "no")
      assert.deepStrictEqual(yield* items, [])
    })
  )

  scenario("SQL and messages commit together", () =>
    Effect.gen(function* () {
      ok(yield* run(Effect.all([item("a"), stage("together", "1")])))
      assert.deepStrictEqual(yield* items, ["a"])
      assert.strictEqual(yield* messages("together"), 1)
      assert.strictEqual(failure(yield* run(Effect.all([item("b"), stage("together", "2"), Effect.fail("no")]))), "no")
      assert.deepStrictEqual(yield* items, ["a"])
      assert.strictEqual(yield* messages("together"), 1)
    })
  )

  scenario("withTransaction undoes its SQL and its messages, and leaves the unit healthy", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      ok(
        yield* run(
          Effect.gen(function* () {
            for (const id of ["a", "b"]) yield* sql.withTransaction(item(id))
            yield* Effect.either(
              sql.withTransaction(Effect.all([sql.withTransaction(item("x")), stage("inner", "1"), Effect.fail("no")]))
            )
            yield* Effect.either(sql.withTransaction(Effect.all([item("y"), item("y")])))
            yield* item("c")
          })
        )
      )
      assert.deepStrictEqual(yield* items, ["a", "b", "c"])
      assert.strictEqual(yield* messages("inner"), 0)
    })
  )

  scenario("the library's own withTransaction is a savepoint too", () =>
    Effect.gen(function* () {
      const raw = yield* Raw
      ok(
        yield* run(
          Effect.gen(function* () {
            for (const id of ["a", "b"]) yield* raw.withTransaction(item(id))
            yield* Effect.either(raw.withTransaction(Effect.all([raw.withTransaction(item("x")), Effect.fail("no")])))
            yield* Effect.either(raw.withTransaction(Effect.all([item("y"), item("y")])))
            yield* Effect.either(
              UnitOfWork.scope(Effect.all([raw.withTransaction(item("z")), item("z2"), Effect.fail("no")]))
            )
            yield* item("c")
          })
        )
      )
      assert.deepStrictEqual(yield* items, ["a", "b", "c"])
    })
  )

  scenario("concurrent withTransaction keep apart: a failing one leaves its sibling's rows", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      ok(
        yield* run(
          Effect.all(
            [
              sql.withTransaction(Effect.all([item("a"), Effect.sleep(60), item("a2")])),
              Effect.either(
                sql.withTransaction(Effect.all([Effect.sleep(30), item("b"), Effect.sleep(60), Effect.fail("no")]))
              )
            ],
            { concurrency: "unbounded" }
          )
        )
      )
      assert.deepStrictEqual(yield* items, ["a", "a2"])
    })
  )

  scenario("concurrent withTransaction of a raw client never undo a sibling silently", () =>
    Effect.gen(function* () {
      const raw = yield* Raw
      const exit = yield* run(
        Effect.all(
          [
            raw.withTransaction(Effect.all([item("a"), Effect.sleep(60), item("a2")])),
            Effect.either(
              raw.withTransaction(Effect.all([Effect.sleep(30), item("b"), Effect.sleep(60), Effect.fail("no")]))
            )
          ],
          { concurrency: "unbounded" }
        )
      )
      assert.strictEqual(reason(exit), "UnitAborted")
      assert.match(failure(exit).detail, /Two sql.withTransaction ran at once/)
      assert.deepStrictEqual(yield* items, [])
      const calm = yield* run(
        raw.withTransaction(Effect.forEach(["a", "b", "c"], (id) => raw.withTransaction(item(id)), { concurrency: 1 }))
      )
      ok(calm)
      assert.deepStrictEqual(yield* items, ["a", "b", "c"])
    })
  )

  scenario("a raw withTransaction that fails undoes what ran in it concurrently", () =>
    Effect.gen(function* () {
      const raw = yield* Raw
      ok(
        yield* run(
          Effect.gen(function* () {
            yield* Effect.either(
              raw.withTransaction(
                Effect.zipRight(
                  Effect.all([item("x"), raw.withTransaction(item("y"))], { concurrency: "unbounded" }),
                  Effect.fail("no")
                )
              )
            )
            yield* item("a")
          })
        )
      )
      assert.deepStrictEqual(yield* items, ["a"])
    })
  )

  scenario("concurrent statements share the one connection", () =>
    Effect.gen(function* () {
      const ids = Array.from({ length: 50 }, (_, n) => `i${n}`)
      ok(yield* run(Effect.forEach(ids, item, { concurrency: "unbounded" })))
      assert.strictEqual((yield* items).length, 50)
    })
  )

  scenario("nested scopes that touch SQL take turns, and those that do not run freely", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      ok(
        yield* run(
          Effect.all(
            [
              UnitOfWork.scope(Effect.all([item("a"), Deferred.await(started), item("b")])),
              Effect.either(UnitOfWork.scope(Effect.all([Effect.sleep(20), item("x"), Effect.fail("no")]))),
              UnitOfWork.scope(Effect.zipRight(Effect.sleep(60), Deferred.succeed(started, undefined))),
              Effect.zipRight(Effect.sleep(30), item("c"))
            ],
            { concurrency: "unbounded" }
          )
        )
      )
      assert.deepStrictEqual(yield* items, ["a", "b", "c"])
    })
  )

  scenario("nested scopes are undone at any depth, before and after BEGIN", () =>
    Effect.gen(function* () {
      const failing = (...parts: ReadonlyArray<Effect.Effect<unknown, unknown, any>>) =>
        Effect.either(UnitOfWork.scope(Effect.all([...parts, Effect.fail("declared")])))
      const exit = yield* run(
        Effect.all([
          failing(stage("deep", "x"), item("x")),
          item("a"),
          failing(item("y"), UnitOfWork.scope(Effect.all([item("z"), stage("deep", "y")]))),
          UnitOfWork.scope(Effect.all([UnitOfWork.scope(item("b")), failing(item("w")), item("c")])),
          failing(Effect.die("bug").pipe(Effect.catchAllDefect(() => Effect.void))),
          stage("deep", "1")
        ])
      )
      ok(exit)
      assert.deepStrictEqual(yield* items, ["a", "b", "c"])
      assert.strictEqual(yield* messages("deep"), 1)
    })
  )

  scenario("interrupting a statement that waits its turn neither sends it nor cancels the one that runs", () =>
    Effect.gen(function* () {
      ok(
        yield* run(
          Effect.all([query("select pg_sleep(0.3)"), Effect.timeoutOption(item("late"), 50)], {
            concurrency: "unbounded"
          })
        )
      )
      assert.deepStrictEqual(yield* items, [])
    })
  )

  scenario("a fiber that outlives its handler is refused, whatever it calls", () =>
    Effect.gen(function* () {
      const raw = yield* Raw
      const go = yield* Deferred.make<void>()
      const late = yield* Ref.make<ReadonlyArray<Fiber.RuntimeFiber<unknown, any>>>([])
      const fork = (effect: Effect.Effect<unknown, unknown, SqlClient.SqlClient>) =>
        Effect.flatMap(Effect.forkDaemon(Effect.zipRight(Deferred.await(go), effect)), (fiber) =>
          Ref.update(late, (fibers) => [...fibers, fiber])
        )
      ok(
        yield* run(
          Effect.gen(function* () {
            yield* fork(item("late"))
            yield* fork(raw.withTransaction(item("late")))
            yield* UnitOfWork.scope(fork(item("late")))
            yield* Effect.yieldNow()
            yield* item("a")
          })
        )
      )
      yield* Deferred.succeed(go, undefined)
      for (const fiber of yield* Ref.get(late)) {
        assert.strictEqual(failure(yield* Fiber.await(fiber)).cause._tag, "UnitFinished")
      }
      assert.deepStrictEqual(yield* items, ["a"])
    })
  )

  scenario("a scope that a stray fiber keeps open does not hold the unit up", () =>
    Effect.gen(function* () {
      const opened = yield* Deferred.make<void>()
      const stray = UnitOfWork.scope(Effect.all([item("stray"), Deferred.succeed(opened, undefined), Effect.never]))
      let fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
      const exit = yield* run(
        Effect.gen(function* () {
          yield* UnitOfWork.scope(
            Effect.gen(function* () {
              fiber = yield* Effect.forkDaemon(stray)
              yield* Deferred.await(opened)
              return yield* Effect.fail("no")
            })
          ).pipe(Effect.either)
          yield* item("a")
        })
      ).pipe(Effect.timeout(5000))
      ok(exit)
      yield* Fiber.interrupt(fiber!)
      assert.deepStrictEqual(yield* items, ["a"])
    })
  )

  scenario("failure, defect and interruption roll back", () =>
    Effect.gen(function* () {
      assert.strictEqual(failure(yield* run(Effect.zipRight(item("a"), Effect.fail("declared")))), "declared")
      assert.strictEqual(failure(yield* run(Effect.zipRight(item("a"), Effect.die("bug")))), "bug")
      const fiber = yield* Effect.fork(run(Effect.zipRight(item("a"), query("select pg_sleep(10)"))))
      yield* Effect.sleep(150)
      const [took] = yield* Effect.timed(Fiber.interrupt(fiber))
      assert.isBelow(Duration.toMillis(took), 1000)
      const slow = Effect.zipRight(item("a"), query("select pg_sleep(10)")).pipe(Effect.timeout(150))
      assert.strictEqual(reason(yield* run(slow)), "TimeoutException")
      assert.deepStrictEqual(yield* items, [])
    })
  )

  scenario("a full pool does not delay the cancel of a statement that timed out", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const started = Date.now()
      const slow = query("select pg_sleep(3)").pipe(Effect.timeout(100))
      yield* Effect.scoped(Effect.zipRight(Effect.replicateEffect(sql.reserve, 5), run(slow)))
      assert.isBelow(Date.now() - started, 1500)
    })
  )

  scenario("a unit that waits for a full pool can be interrupted, and the connection comes back", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Effect.replicateEffect(sql.reserve, 6)
          const exit = yield* Effect.timeoutOption(run(item("a")), 100)
          assert(Option.isNone(exit))
        })
      )
      ok(yield* run(item("b")))
      yield* Effect.scoped(Effect.replicateEffect(sql.reserve, 6)).pipe(Effect.timeout(2000))
      assert.deepStrictEqual(yield* items, ["b"])
    })
  )

  scenario("a caught SQL error is reported with its first cause", () =>
    Effect.gen(function* () {
      const caught = yield* run(Effect.zipRight(item("a"), Effect.either(item("a"))))
      assert.strictEqual(reason(caught), "UnitAborted")
      assert.strictEqual(failure(caught).cause.cause.code, "23505")
      let later: any
      yield* run(
        Effect.gen(function* () {
          yield* item("a")
          yield* Effect.either(item("a"))
          later = yield* Effect.flip(item("b"))
        })
      )
      assert.match(later.message, /already aborted/)
      assert.strictEqual(later.cause.cause.code, "23505")
      const timedOut = yield* run(Effect.timeoutOption(query("select pg_sleep(10)"), 50))
      assert.strictEqual(reason(timedOut), "UnitAborted")
      ok(yield* run(Effect.zipRight(item("c"), Effect.either(UnitOfWork.scope(item("c"))))))
      assert.deepStrictEqual(yield* items, ["c"])
    })
  )

  scenario("a parameter that the driver cannot send does not abort the unit", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const circular: Record<string, unknown> = {}
      circular.self = circular
      ok(yield* run(Effect.all([item("a"), Effect.exit(sql.unsafe("select $1::text", [circular as any])), item("b")])))
      assert.deepStrictEqual(yield* items, ["a", "b"])
    })
  )

  scenario("a lost connection is a typed error everywhere, and the pool recovers", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const sql = yield* SqlClient.SqlClient
      const kill = Effect.gen(function* () {
        const [row] = yield* sql<{ pid: number }>`select pg_backend_pid() as pid`
        yield* UnitOfWork.outside(control`select pg_terminate_backend(${row!.pid})`)
        yield* Effect.sleep(50)
      })
      assert.strictEqual(reason(yield* run(Effect.zipRight(item("a"), kill))), "Unavailable")
      const inside = yield* run(sql.withTransaction(Effect.zipRight(kill, item("a"))))
      assert.strictEqual(reason(inside), "SqlError")
      const store = yield* MessageStore.MessageStore
      assert.isTrue(store.isInfrastructure(failure(inside)))
      ok(yield* run(item("b")))
      assert.deepStrictEqual(yield* items, ["b"])
    })
  )

  scenario("a deferred constraint at COMMIT is a typed failure", () =>
    Effect.gen(function* () {
      const exit = yield* run(Effect.all([query("insert into child values ('none')"), stage("deferred", "1")]))
      assert.strictEqual(reason(exit), "Rejected")
      assert.match(failure(exit).detail, /23503/)
      assert.strictEqual(yield* messages("deferred"), 0)
    })
  )

  scenario("a handler that ends the transaction itself is refused, and the unit fails", () =>
    Effect.gen(function* () {
      const exit = yield* run(Effect.all([item("a"), query("commit"), stage("ended", "1")]))
      assert.strictEqual(reason(exit), "UnitAborted")
      assert.strictEqual(yield* messages("ended"), 0)
    })
  )

  scenario("another database's client keeps out of the unit", () =>
    Effect.gen(function* () {
      const other = yield* Effect.flatMap(Scratch, ({ url }) => client(url, 1))
      const unit = Effect.gen(function* () {
        yield* item("mine")
        yield* UnitOfWork.scope(
          Effect.flatMap(SqlClient.SqlClient, (sql) => sql`insert into item (id) values ('other')`)
        ).pipe(Effect.provideService(SqlClient.SqlClient, other))
        return yield* Effect.fail("no")
      })
      yield* run(unit)
      assert.deepStrictEqual(yield* items, ["other"])
    }).pipe(Effect.scoped)
  )

  scenario("SQL outside of the unit commits on its own", () =>
    Effect.gen(function* () {
      yield* run(Effect.all([item("a"), UnitOfWork.outside(item("kept")), Effect.fail("no")]))
      assert.deepStrictEqual(yield* items, ["kept"])
    })
  )

  scenario("a unit inside the user's own transaction commits with it and is undone with it", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const raw = yield* Raw
      for (const client of [sql, raw]) {
        yield* wipe
        yield* client.withTransaction(
          Effect.gen(function* () {
            yield* item("a")
            yield* UnitOfWork.run(Effect.all([item("b"), stage("joined", "1")]))
            yield* Effect.either(UnitOfWork.run(Effect.all([item("x"), stage("joined", "x"), Effect.fail("no")])))
            yield* UnitOfWork.run(stage("joined", "2"))
            assert.strictEqual(yield* messages("joined"), 0)
          })
        )
        assert.deepStrictEqual(yield* items, ["a", "b"])
        assert.strictEqual(yield* messages("joined"), 2)
        yield* Effect.exit(
          client.withTransaction(
            Effect.zipRight(UnitOfWork.run(Effect.all([item("c"), stage("joined", "3")])), Effect.fail("no"))
          )
        )
        assert.deepStrictEqual(yield* items, ["a", "b"])
        assert.strictEqual(yield* messages("joined"), 2)
      }
    })
  )

  scenario("several units at once in one transaction of the user's take turns", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const unit = (id: string) =>
        UnitOfWork.run(
          Effect.all([item(id), Effect.sleep(10), id === "c" ? Effect.fail("no") : stage("turns", id)])
        ).pipe(Effect.either)
      yield* sql.withTransaction(Effect.forEach(["a", "b", "c", "d"], unit, { concurrency: "unbounded" }))
      assert.deepStrictEqual(yield* items, ["a", "b", "d"])
      assert.strictEqual(yield* messages("turns"), 3)
    })
  )

  scenario("another database's transaction is not joined", () =>
    Effect.gen(function* () {
      const { url } = yield* Scratch
      const base = new URL(url)
      base.pathname = "/postgres"
      const other = yield* client(base.href, 1)
      yield* Effect.exit(
        other.withTransaction(Effect.zipRight(UnitOfWork.run(stage("apart", "1")), Effect.fail("rolled back")))
      )
      assert.strictEqual(yield* messages("apart"), 1)
    }).pipe(Effect.scoped)
  )

  scenario("a conflict runs the unit again in a fresh transaction", () =>
    Effect.gen(function* () {
      const runs = yield* Ref.make(0)
      const put = Effect.gen(function* () {
        const attempt = yield* Ref.updateAndGet(runs, (_) => _ + 1)
        yield* item(`run${attempt}`)
        const unit = yield* Effect.map(Effect.serviceOption(UnitOfWork.UnitOfWork), Option.getOrThrow)
        yield* unit.stage({ _tag: "Deduplicate", key: attempt === 1 ? "taken" : "free", windowMillis: 60_000 })
      })
      const store = yield* MessageStore.MessageStore
      yield* store.commit([[{ _tag: "Deduplicate", key: "taken", windowMillis: 60_000 }]])
      ok(yield* run(put))
      assert.deepStrictEqual(yield* items, ["run2"])
    })
  )
})
