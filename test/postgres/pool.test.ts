/**
 * Pools that are exhausted: what is told, that nothing is lost, and that it passes.
 */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import {
  Channel,
  CommandBus,
  Consumer,
  Envelope,
  Handler,
  Message,
  MessageBus,
  MessageStore,
  UnitOfWork
} from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Redacted, Schedule, Schema } from "effect"
import { asWritten } from "../mistakes/page.ts"
import { client, Scratch } from "./database.ts"

class Write extends Message.Command<Write>()("Write", { payload: { id: Schema.String } }) {}
class Later extends Message.Command<Later>()("Later", { payload: { id: Schema.String } }) {}
class Work extends Channel.Tag<Work>()("test/Work", { messages: [Later] }) {}

const item = (id: string, attempt = 1) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`insert into item (id, attempt) values (${id}, ${attempt}) on conflict do nothing`
  )

/** One process on the scratch database: two connections for handlers, which are soon waited for in vain. */
const process = (options: PgMessaging.Options = {}, clientOptions: Partial<PgClient.PgClientConfig> = {}) =>
  Layer.unwrapEffect(
    Effect.map(Scratch, ({ control, url }) =>
      MessageBus.layer.pipe(
        Layer.provideMerge(PgChannel.layer(Work)),
        Layer.provideMerge(PgMessaging.layerWith({ migrate: true, acquireTimeout: "1 seconds", ...options })),
        Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 2, ...clientOptions })),
        Layer.provide(Layer.effectDiscard(control`create table if not exists item (id text primary key, attempt int)`))
      )
    )
  )

const writing = Handler.command(Write, ({ id }) => Effect.orDie(item(id)))

/** All of the pool's connections, until the effect given back is run. */
const hog = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const free = yield* Deferred.make<void>()
  const held = yield* Deferred.make<void>()
  yield* Effect.forkDaemon(
    Effect.scoped(
      Effect.replicateEffect(sql.reserve, 2).pipe(
        Effect.zipRight(Deferred.succeed(held, undefined)),
        Effect.zipRight(Deferred.await(free))
      )
    )
  )
  yield* Deferred.await(held)
  return Deferred.succeed(free, undefined)
})

const detail = (exit: Exit.Exit<unknown, any>): string => {
  const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  return error?._tag === "MessagingError" ? `${error.reason}: ${error.detail}` : String(exit)
}

const items = Effect.flatMap(
  Scratch,
  ({ control }) => control<{ id: string; attempt: number }>`select id, attempt from item order by id`.withoutTransform
)

const until = (what: string, condition: Effect.Effect<boolean, any, any>) =>
  Effect.retry(
    Effect.filterOrFail(
      condition,
      (met) => met,
      () => what
    ),
    Schedule.spaced("50 millis").pipe(Schedule.upTo("30 seconds"))
  ) as Effect.Effect<boolean, unknown, Scratch | MessageStore.MessageStore>

describe("handlers' pool that is exhausted", () => {
  it.scopedLive("fails a unit with a sentence, loses nothing of it, and serves the next as soon as one is free", () =>
    Effect.gen(function* () {
      const free = yield* hog
      const told = detail(yield* Effect.exit(CommandBus.send(new Write({ id: "a" }))))
      asWritten("Database", "handlers that wait for the pool in vain", told)
      assert.match(told, /^Unavailable: /)
      yield* free
      yield* CommandBus.send(new Write({ id: "b" }))
      assert.deepStrictEqual(yield* items, [{ id: "b", attempt: 1 }])
    }).pipe(Effect.provide(Handler.layer(writing).pipe(Layer.provideMerge(process()))), Effect.provide(Scratch.layer))
  )

  it.scopedLive("says the same when the pool has a shorter patience of its own", () =>
    Effect.gen(function* () {
      const free = yield* hog
      const told = detail(yield* Effect.exit(CommandBus.send(new Write({ id: "a" }))))
      asWritten("Database", "handlers that wait for the pool in vain", told)
      yield* free
      yield* CommandBus.send(new Write({ id: "b" }))
    }).pipe(
      Effect.provide(
        Handler.layer(writing).pipe(
          Layer.provideMerge(process({ acquireTimeout: "1 minute" }, { connectTimeout: "500 millis" }))
        )
      ),
      Effect.provide(Scratch.layer)
    )
  )

  it.scopedLive("burns no attempt of a message, and the consumer goes on by itself", () =>
    Effect.gen(function* () {
      let begun = 0
      const later = Handler.command(Later, ({ id }) =>
        Effect.flatMap(Envelope.CurrentEnvelope, ({ attempt }) =>
          Effect.suspend(() => {
            begun++
            return item(id, attempt)
          })
        )
      ).pipe(Handler.asynchronous(Work))
      yield* Effect.gen(function* () {
        const free = yield* hog
        yield* CommandBus.send(new Later({ id: "a" }))
        yield* Layer.build(Consumer.layer(Work, { concurrency: 2 }))
        yield* until(
          "it was tried twice",
          Effect.sync(() => begun > 1)
        )
        yield* free
        yield* until(
          "it is handled",
          Effect.map(items, (rows) => rows.length === 1)
        )
        assert.deepStrictEqual(yield* items, [{ id: "a", attempt: 1 }])
        const { countDeadLetters } = yield* MessageStore.MessageStore
        assert.strictEqual(yield* countDeadLetters({}), 0)
      }).pipe(Effect.provide(Handler.layer(later).pipe(Layer.provideMerge(process()))), Effect.provide(Scratch.layer))
    })
  )

  for (const [how, second] of [
    ["statements", item("second")],
    ["transactions", Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(item("second")))]
  ] as const) {
    it.scopedLive(`is no deadlock of units that use ${how} in UnitOfWork.outside: they fail in time`, () =>
      Effect.gen(function* () {
        // opening a connection takes its time too: the pool has both of them
        yield* Effect.flatMap(hog, (free) => free)
        const both = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const unit = (index: 0 | 1) =>
          UnitOfWork.run(
            Effect.gen(function* () {
              yield* item(`first ${index}`)
              yield* Deferred.succeed(both[index], undefined)
              yield* Deferred.await(both[1 - index]!)
              yield* Effect.orDie(UnitOfWork.outside(second))
            })
          )
        const exits = yield* Effect.all([Effect.exit(unit(0)), Effect.exit(unit(1))], { concurrency: 2 })
        const failed = exits.filter(Exit.isFailure)
        assert.isAtLeast(failed.length, 1)
        for (const exit of failed)
          asWritten("Database", "UnitOfWork.outside in as many units as there are connections", detail(exit))
        // and nothing is left behind: the pool is whole
        const sql = yield* SqlClient.SqlClient
        yield* Effect.scoped(Effect.replicateEffect(sql.reserve, 2)).pipe(Effect.timeout("10 seconds"))
        yield* UnitOfWork.run(Effect.zipRight(item("third"), UnitOfWork.outside(second)))
        const ids = (yield* items).map(({ id }) => id)
        assert.includeMembers(ids, ["second", "third"])
        assert.strictEqual(ids.filter((id) => id.startsWith("first")).length, 2 - failed.length)
      }).pipe(Effect.provide(process()), Effect.provide(Scratch.layer))
    )
  }
})

describe("messaging's own pool that is exhausted", () => {
  it.scopedLive("says so, loses nothing, and serves the next as soon as one is free", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const store = yield* MessageStore.MessageStore
      yield* Effect.scoped(
        Effect.gen(function* () {
          const blocker = yield* control.reserve
          yield* blocker.executeUnprepared(
            "begin; lock table holdfast.subscription in access exclusive mode",
            [],
            undefined
          )
          yield* Effect.addFinalizer(() => Effect.orDie(blocker.executeUnprepared("rollback", [], undefined)))
          // each holds a connection while it waits for the lock
          const waiting = yield* Effect.replicateEffect(Effect.fork(store.subscriptions), 4)
          yield* until(
            "all of them are in use",
            Effect.map(
              control`select 1 from pg_stat_activity where wait_event_type = 'Lock'`,
              (rows) => rows.length === 4
            )
          )
          const told = detail(yield* Effect.exit(CommandBus.send(new Later({ id: "a" }))))
          asWritten("Database", "more at once than messaging has connections for", told)
          assert.match(told, /^Unavailable: /)
          yield* Effect.addFinalizer(() => Fiber.interruptAll(waiting))
        })
      )
      yield* CommandBus.send(new Later({ id: "b" }))
      assert.strictEqual((yield* store.depth("test/Work")).ready, 1)
    }).pipe(
      Effect.provide(
        Handler.routes(Handler.command(Later, () => Effect.void).pipe(Handler.asynchronous(Work))).pipe(
          Layer.provideMerge(process({}, { connectTimeout: "500 millis" }))
        )
      ),
      Effect.provide(Scratch.layer)
    )
  )
})

describe("a server that lends no more connections", () => {
  it.scopedLive("is told with what to do, and messages go on when it does again", () =>
    Effect.gen(function* () {
      const { control, name, url } = yield* Scratch
      const role = `${name}_limited`
      yield* Effect.acquireRelease(
        control.unsafe(
          `create role ${role} login password 'x' connection limit 6;
           grant create on database ${name} to ${role}; grant create on schema public to ${role}`
        ),
        () =>
          Effect.orDie(
            control.unsafe(`reassign owned by ${role} to current_user; drop owned by ${role}; drop role ${role}`)
          )
      )
      const limited = new URL(url)
      limited.username = role
      limited.password = "x"
      const later = Handler.command(Later, ({ id }) =>
        Effect.flatMap(Envelope.CurrentEnvelope, ({ attempt }) => item(id, attempt))
      ).pipe(Handler.asynchronous(Work))
      yield* Effect.gen(function* () {
        yield* control.unsafe(`grant all on item to ${role}`)
        // those that are there stay with others, and none is given out any more
        const others = yield* Effect.forkDaemon(
          Effect.scoped(
            Effect.flatMap(client(limited.href, 6), (sql) =>
              Effect.zipRight(
                Effect.ignore(
                  Effect.forever(
                    Effect.tap(sql.reserve, (connection) => connection.executeUnprepared("begin", [], undefined))
                  )
                ),
                Effect.never
              )
            )
          )
        )
        yield* until(
          "no connection is left",
          Effect.map(control`select 1 from pg_stat_activity where usename = ${role}`, (rows) => rows.length === 6)
        )
        // the pool has one connection, and asks for a second
        const unit = (id: string) => UnitOfWork.run(Effect.zipRight(Effect.orDie(item(id)), Effect.sleep("5 seconds")))
        const told = yield* Effect.exit(Effect.all([unit("u1"), unit("u2")], { concurrency: 2, discard: true }))
        asWritten("Database", "more connections than the server gives", detail(told))
        yield* CommandBus.send(new Later({ id: "a" })).pipe(
          Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo("20 seconds")))
        )
        yield* Fiber.interrupt(others)
        yield* Layer.build(Consumer.layer(Work, { concurrency: 2 }))
        yield* until(
          "it is handled",
          Effect.map(items, (rows) => rows.some(({ id }) => id === "a"))
        )
        assert.deepStrictEqual(
          (yield* items).filter(({ id }) => id === "a"),
          [{ id: "a", attempt: 1 }]
        )
      }).pipe(
        Effect.provide(Handler.layer(later).pipe(Layer.provideMerge(process({}, { url: Redacted.make(limited.href) }))))
      )
    }).pipe(Effect.scoped, Effect.provide(Scratch.layer))
  )
})
