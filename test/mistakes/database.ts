/**
 * What goes wrong with PostgreSQL, on one database.
 */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { layer } from "@effect/vitest"
import { Channel, Consumer, Handler, MessageBus, MessageStore, MessagingTest, UnitOfWork } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Context, Deferred, Effect, Fiber, Layer, Redacted } from "effect"
import * as Pg from "pg"
import { Scratch } from "../postgres/database.ts"
import { proxy } from "../postgres/proxy.ts"
import { mistakesIn } from "./page.ts"
import { building, dies, fails, Orders, ship, shipped } from "./shop.ts"

const section = "Database"
const unitSection = "Handlers and units of work"
const embeddedSection = "Embedded PostgreSQL"
const optionSection = "Configuration"

/** The client below messaging. */
class Raw extends Context.Tag("test/mistakes/Raw")<Raw, PgClient.PgClient>() {}

const clientOf = (change: (url: URL) => void = () => {}) =>
  Layer.unwrapEffect(
    Effect.map(Scratch, ({ url }) => {
      const address = new URL(url)
      change(address)
      return PgClient.layer({ url: Redacted.make(address.href), maxConnections: 10 })
    })
  )

const withOptions = (options: string) => clientOf((url) => url.searchParams.set("options", options))

/** Messaging on a client, and nothing that runs beside it. */
const open = <E, R>(options: PgMessaging.Options, client: Layer.Layer<PgClient.PgClient, E, R>) =>
  PgMessaging.layerWith({ notifications: false, ...options }).pipe(Layer.provide(client))

const opening = (options: PgMessaging.Options) => fails(building(open(options, clientOf())))

const openingOn = <E, R>(client: Layer.Layer<PgClient.PgClient, E, R>) =>
  fails(building(open({ migrate: true }, client)))

const run = (statement: string) => Effect.flatMap(Scratch, ({ control }) => control.unsafe(statement))

/** As an older or newer build has left the tables. */
const atVersion = (step: number) => (effect: Effect.Effect<string, unknown, Scratch>) =>
  Effect.acquireUseRelease(
    run(`update holdfast.migration set id = id + ${step}`),
    () => effect,
    () => Effect.orDie(run(`update holdfast.migration set id = id - ${step}`))
  )

const tables = `create table item (id text primary key);
  create table line (item text references item deferrable initially deferred)`

const Messaging = Handler.layer(ship).pipe(
  Layer.provideMerge(MessagingTest.layerStore),
  Layer.provideMerge(PgChannel.layer(Orders)),
  Layer.provideMerge(PgMessaging.layerWith({ migrate: true, notifications: false })),
  Layer.provideMerge(Layer.effect(Raw, PgClient.PgClient)),
  Layer.provide(Layer.effectDiscard(run(tables))),
  Layer.provide(clientOf())
)

const insert = (sql: SqlClient.SqlClient, id: string) => sql`insert into item (id) values (${id})`

/** The error of a unit that does this with SQL. */
const unit = <E, R>(body: (sql: SqlClient.SqlClient) => Effect.Effect<unknown, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => fails(UnitOfWork.run(body(sql))))

const stage = (...writes: ReadonlyArray<MessageStore.Write>) =>
  Effect.flatMap(UnitOfWork.UnitOfWork, (unit) => unit.stage(...writes))

/** A version that cannot follow on the one that is stored. */
const saga = {
  _tag: "SagaPut",
  saga: "Fulfilment",
  id: "1",
  version: 9,
  state: "{}",
  completed: false,
  timers: {}
} as const

/** The first begins before the second, and ends while that is open. */
const overlapping = (sql: SqlClient.SqlClient) =>
  Effect.gen(function* () {
    const first = yield* Deferred.make<void>()
    const second = yield* Deferred.make<void>()
    const ended = yield* Deferred.make<void>()
    const outer = Effect.all([
      insert(sql, "3"),
      Deferred.succeed(first, undefined),
      Deferred.await(second),
      insert(sql, "4")
    ])
    const inner = Effect.all([
      insert(sql, "5"),
      Deferred.succeed(second, undefined),
      Deferred.await(ended),
      Effect.fail("no")
    ])
    yield* Effect.all(
      [
        Effect.zipRight(sql.withTransaction(outer), Deferred.succeed(ended, undefined)),
        Effect.zipRight(Deferred.await(first), Effect.ignore(sql.withTransaction(inner)))
      ],
      { concurrency: "unbounded" }
    )
  })

/** The handlers were registered where no store was in sight. */
const ShippingApart = Handler.layer(ship).pipe(
  Layer.provideMerge(MessageBus.layer.pipe(Layer.provide(open({}, clientOf())))),
  Layer.provide(Channel.layerMemory(Orders))
)

/** A unit whose connection breaks at its COMMIT. */
const lostAtCommit = (options = "") =>
  Effect.gen(function* () {
    const { url } = yield* Scratch
    const { arm, url: through } = yield* proxy(url)
    const address = new URL(through)
    address.searchParams.set("options", options)
    return yield* unit((sql) =>
      Effect.zipRight(
        Effect.sync(() => arm("loseCommit")),
        insert(sql, "lost")
      )
    ).pipe(Effect.provide(open({}, PgClient.layer({ url: Redacted.make(address.href) }))))
  })

export const database = (): void =>
  layer(Scratch.layer)("on one database", (it) => {
    const mistake = mistakesIn(it)

    mistake(optionSection, "no connection for messaging itself", opening({ maxConnections: 0 }))
    mistake(optionSection, "a statement that is given no time", opening({ queryTimeout: 0 }))
    mistake(optionSection, "a journal that would be forgotten as it is written", opening({ journalRetention: 0 }))
    mistake(optionSection, "a unit that may not wait for a connection", opening({ acquireTimeout: 0 }))
    mistake(optionSection, "a schema name that needs quoting", opening({ schema: "my-app", migrate: true }))

    // before the tables are there
    mistake(section, "SchemaMissing", opening({}))
    mistake(
      section,
      "MigrationFailed",
      Effect.gen(function* () {
        const { name } = yield* Scratch
        const role = `${name}_reader`
        return yield* Effect.acquireUseRelease(
          run(`create role ${role}`),
          () => openingOn(withOptions(`-c role=${role}`)),
          () => Effect.orDie(run(`drop role ${role}`))
        )
      })
    )
    mistake(
      section,
      "TooOld",
      Effect.zipRight(
        run(`create schema old;
          create function old.current_setting(text) returns text language sql as
            $$ select case $1 when 'server_version' then '14.11' else '140011' end $$;
          create schema blind;
          create function blind.pg_xact_status(xid8) returns text language sql as $$ select 'unknown' $$`),
        openingOn(withOptions("-c search_path=old,pg_catalog"))
      )
    )
    const nowhere = Effect.sync(() => new Pg.Pool({ host: "127.0.0.1", port: 1 }))
    mistake(section, "Unreachable", openingOn(PgClient.layerFromPool({ acquire: nowhere })))
    mistake(
      section,
      "the client cannot connect",
      fails(building(PgClient.layer({ url: Redacted.make("postgresql://root@127.0.0.1:1/none") })))
    )

    it.layer(Messaging)("with its tables", (it) => {
      const mistake = mistakesIn(it)
      mistake(section, "SchemaNewer", opening({}).pipe(atVersion(1_000)))
      mistake(section, "SchemaOlder", opening({}).pipe(atVersion(-1_000)))
      mistake(
        optionSection,
        "more concurrency than connections",
        fails(building(Consumer.layer(Orders, { concurrency: 20 })))
      )
      mistake(
        optionSection,
        "advance on a store of production",
        Effect.flatMap(MessageStore.MessageStore, (store) => fails(store.advance(1_000)))
      )
      mistake(
        "Wiring, found at start",
        "a memory channel with PgMessaging",
        dies(building(Handler.layer(ship).pipe(Layer.provide([MessageBus.layer, Channel.layerMemory(Orders)]))))
      )

      mistake(
        unitSection,
        "a SQL error that was caught",
        unit((sql) => Effect.zipRight(insert(sql, "1"), Effect.ignore(insert(sql, "1"))))
      )
      mistake(
        unitSection,
        "COMMIT or ROLLBACK in a handler",
        unit((sql) => sql`COMMIT`)
      )
      mistake(
        unitSection,
        "two failing withTransaction at once on the bare client",
        Effect.flatMap(Raw, (raw) => unit(() => overlapping(raw)))
      )
      mistake(
        unitSection,
        "a deferred constraint that fails at COMMIT",
        unit((sql) => sql`insert into line (item) values ('none')`)
      )
      mistake(
        unitSection,
        "a fiber that runs SQL after its handler",
        Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          const gate = yield* Deferred.make<void>()
          const late = yield* UnitOfWork.run(
            Effect.zipRight(
              insert(sql, "2"),
              Effect.forkDaemon(Effect.zipRight(Deferred.await(gate), insert(sql, "late")))
            )
          )
          yield* Deferred.succeed(gate, undefined)
          const error = yield* Effect.flip(Fiber.join(late))
          return (error.cause as Error).message
        })
      )

      mistake(
        section,
        "the connection of a handler is lost",
        unit((sql) => Effect.orDie(sql`select pg_terminate_backend(pg_backend_pid())`))
      )
      mistake(
        section,
        "many writers on one saga",
        unit(() => stage(saga))
      )
      mistake(
        "Payload and schema",
        "a text with a NUL character",
        unit(() => stage({ _tag: "Deduplicate", key: "a\u0000b", windowMillis: 1_000 }))
      )
      mistake(
        section,
        "a sender frozen for longer than its idempotency key holds",
        unit(() => stage({ _tag: "CompleteKey", key: "1", token: "1", result: "", windowMillis: 1_000 }))
      )
      mistake(
        section,
        "a worker frozen for longer than its lease",
        unit(() => stage({ _tag: "Acknowledge", lease: { channel: "shop/Orders", key: "1", token: "1" } }))
      )
      mistake(section, "the database goes away", lostAtCommit())
      mistake(
        section,
        "it goes away during COMMIT, and cannot say how that ended",
        lostAtCommit("-c search_path=blind,public,pg_catalog")
      )
    })

    // where no store is in sight when the handlers are registered
    mistake("Wiring, found at start", "the same, met when sending", Effect.provide(dies(shipped()), ShippingApart))

    const server = Effect.flatMap(Scratch, ({ url }) => EmbeddedPostgres.serverFromUrl(Redacted.make(url)))
    const creating = (name: string, options?: { readonly template?: string }) =>
      Effect.flatMap(server, (server) => fails(EmbeddedPostgres.createDatabase(server, name, options)))
    mistake(embeddedSection, "a database without a name", creating(""))
    mistake(
      embeddedSection,
      "a database that is there",
      Effect.flatMap(Scratch, ({ name }) => creating(name))
    )
    mistake(embeddedSection, "a database from a template that is not there", creating("new", { template: "none" }))
    mistake(
      embeddedSection,
      "a server that is too old",
      Effect.flatMap(Scratch, ({ url }) => {
        const address = new URL(url)
        address.searchParams.set("options", "-c search_path=old,pg_catalog")
        return fails(EmbeddedPostgres.serverFromUrl(Redacted.make(address.href)))
      })
    )
  })
