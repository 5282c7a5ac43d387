import { SqlClient } from "@effect/sql"
import { SqlError } from "@effect/sql/SqlError"
import { PgClient } from "@effect/sql-pg"
import { assert, it, layer } from "@effect/vitest"
import { MessageStore, UnitOfWork } from "@holdfast/core"
import { Context, Effect, Exit, Fiber, Option, TestClock } from "effect"
import { messaging, Scratch } from "./database.ts"
import { sent } from "./fixtures.ts"
import {
  channelsOf,
  classify,
  Database,
  isInfrastructure,
  payloadOf,
  quote,
  sweep,
  toMessagingError
} from "./internal.ts"

const answered = (code: string) => new SqlError({ cause: Object.assign(new Error("no"), { code, severity: "ERROR" }) })
const broken = (code: string | undefined, message = "no") =>
  new SqlError({ cause: Object.assign(new Error(message), { code }) })

it("SQL states and connection errors fall into three classes", () => {
  for (const state of ["08006", "53300", "57P01"]) assert.strictEqual(classify(answered(state)), "Unavailable")
  for (const state of ["40001", "40P01"]) assert.strictEqual(classify(answered(state)), "Conflict")
  for (const state of ["23505", "57014", "25P02"]) assert.strictEqual(classify(answered(state)), "Refused")
  assert.strictEqual(classify(broken("EPIPE")), "Unavailable")
  assert.strictEqual(classify(broken(undefined, "Connection terminated unexpectedly")), "Unavailable")
  assert.strictEqual(classify(broken(undefined, "Converting circular structure to JSON")), "Refused")
  assert.isTrue(isInfrastructure(answered("57P03")))
  assert.isFalse(isInfrastructure(answered("23505")))
  assert.isFalse(isInfrastructure(new Error("ECONNREFUSED by a mail server")))
})

it("a statement of the store's own that ran into a limit of the database may be tried again", () => {
  const reasons = ["57014", "55P03", "22008", "40001"].map((state) => toMessagingError(answered(state)).reason)
  assert.deepStrictEqual(reasons, ["Unavailable", "Unavailable", "Rejected", "Conflict"])
})

it("identifiers are quoted, whatever is in them", () => {
  assert.strictEqual(quote('a"; drop table x; --'), '"a""; drop table x; --"')
})

it("a notification names its channels, or means all when they are too many or unreadable", () => {
  const channels = new Set(["a", 'b"\n'])
  assert.deepStrictEqual(channelsOf("me", payloadOf("you", channels)), ["a", 'b"\n'])
  assert.deepStrictEqual(channelsOf("me", payloadOf("me", channels)), [])
  const many = new Set(Array.from({ length: 500 }, (_, n) => `channel ${n}`))
  assert.strictEqual(channelsOf("me", payloadOf("you", many)), "all")
  for (const payload of [undefined, "", "{", '"x"', "[1]"]) assert.strictEqual(channelsOf("me", payload), "all")
})

layer(messaging(), { excludeTestServices: true })("PgMessaging", (it) => {
  it.effect("a query joins the transaction only once it has begun", () =>
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      const sql = yield* SqlClient.SqlClient
      const context = Context.make(SqlClient.SqlClient, sql) as Context.Context<never>
      const transaction = yield* store.begin
      const joins = () => transaction.root.provideQuery(context).unsafeMap.has(SqlClient.TransactionConnection.key)
      assert.isFalse(joins())
      yield* Effect.provide(sql`select 1`, transaction.root.provide(context))
      assert.isTrue(joins())
      assert.isTrue(yield* transaction.finish)
      assert.isFalse(joins())
      yield* transaction.rollback
    })
  )

  it.effect("what runs before the commit and fails undoes the unit", () =>
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      const sql = yield* SqlClient.SqlClient
      const transaction = yield* store.begin
      yield* Effect.provide(sql`select 1`, transaction.root.provide(Context.make(SqlClient.SqlClient, sql) as any))
      yield* transaction.finish
      const exit = yield* Effect.exit(
        transaction.commit([sent("before", "1")], Effect.dieMessage("the broker is away"))
      )
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(yield* store.depth("before"), { ready: 0, scheduled: 0 })
    })
  )

  it.effect("a connection that cannot be rolled back does not go back to the pool", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const sql = yield* SqlClient.SqlClient
      let pid = 0
      yield* Effect.exit(
        UnitOfWork.run(
          Effect.gen(function* () {
            const [row] = yield* sql<{ pid: number }>`select pg_backend_pid() as pid`
            pid = row!.pid
            const entry = yield* Effect.serviceOption(SqlClient.TransactionConnection)
            assert(Option.isSome(entry))
            yield* UnitOfWork.outside(control`select pg_terminate_backend(${pid})`)
            return yield* Effect.fail("no")
          })
        )
      )
      const pids = yield* Effect.scoped(
        Effect.map(
          Effect.replicateEffect(
            Effect.flatMap(sql.reserve, (connection) =>
              connection.execute("select pg_backend_pid() as pid", [], undefined)
            ),
            6
          ),
          (rows) => rows.map(([row]) => row.pid)
        )
      )
      assert.notInclude(pids, pid)
    })
  )

  it.effect("expired keys are removed, and abandoned claims an hour later", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const store = yield* MessageStore.MessageStore
      const rows = Effect.map(
        control<{
          n: number
        }>`select (select count(*) from holdfast.deduplication) + (select count(*) from holdfast.idempotency) as n`,
        ([row]) => Number(row!.n)
      )
      yield* store.commit([[{ _tag: "Deduplicate", key: "k", windowMillis: 1000 }]])
      yield* store.claimKey("abandoned", 1000)
      const client = yield* PgClient.PgClient
      const database = yield* Database.make({
        client: client.config,
        schema: "holdfast",
        maxConnections: 1,
        timeoutMillis: 5000
      })
      yield* sweep(database)
      assert.strictEqual(yield* rows, 2)
      yield* store.advance(2000)
      yield* sweep(database)
      assert.strictEqual(yield* rows, 1)
      yield* store.advance(3_600_000)
      yield* sweep(database)
      assert.strictEqual(yield* rows, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("the janitor removes as many keys as there are, whatever old snapshot is open, and no others", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql.unsafe(`
        insert into holdfast.deduplication (key, expires_at)
        select 'many ' || n, holdfast.now() + case when n <= 9000 then -n else n end * interval '1 second'
        from generate_series(1, 9500) n`)
      const snapshot = yield* sql.reserve
      yield* snapshot.executeUnprepared("begin isolation level repeatable read; select 1", [], undefined)
      const database = yield* Database.make({
        client: (yield* PgClient.PgClient).config,
        schema: "holdfast",
        maxConnections: 1,
        timeoutMillis: 5000
      })
      const statements: Array<ReadonlyArray<unknown>> = []
      const run: typeof database.run = (statement, values) =>
        Effect.suspend(() => {
          statements.push(values)
          return database.run(statement, values)
        })
      yield* sweep({ ...database, run })
      const [left] = yield* sql`select count(*)::int as n from holdfast.deduplication where key like 'many %'`
      assert.deepStrictEqual(left, { n: 500 })
      // five of 2,000 at most, each from where the last one ended, one for the answers, and one for limits
      assert.strictEqual(statements.length, 7)
      assert.strictEqual(new Set(statements.slice(0, 5).map(([from]) => from)).size, 5)
      yield* snapshot.executeUnprepared("rollback", [], undefined)
    }).pipe(Effect.scoped)
  )

  it.effect("the client keeps all its forms, and says how many handlers it can serve", () =>
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const store = yield* MessageStore.MessageStore
      assert.strictEqual(store.handlerConnections, 6)
      assert.strictEqual(sql("a b").value, "a b")
      assert.strictEqual(sql.safe, sql)
      assert.strictEqual(sql.withoutTransforms(), sql)
      const [statement] = sql`select ${sql.literal("1")} as ${sql("x")}, ${2} as y`.compile()
      assert.strictEqual(statement, 'select 1 as "x", $1 as y')
      const [row] = yield* sql`select ${sql.json({ a: 1 })}::jsonb as json`
      assert.deepStrictEqual(row, { json: { a: 1 } })
    })
  )
})

layer(messaging({ notifications: false }))("under a test's clock", (it) => {
  it.effect("nothing that only works needs time to pass", () =>
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      const sql = yield* SqlClient.SqlClient
      yield* store.commit([[sent("clock", "1")]])
      yield* UnitOfWork.run(sql`select 1`)
      yield* store.wake("clock", 60_000)
      assert.strictEqual((yield* store.claim({ channel: "clock", limit: 1, leaseMillis: 1000, owner: "w" })).length, 1)
    })
  )

  it.effect("waiting follows it", () =>
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      const fiber = yield* Effect.fork(store.wake("waiting", 60_000))
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 50)))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
    })
  )
})
