/**
 * What the suites run on: a store and its channels, and a ledger in which handlers write as applications do.
 */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Channel, type Message, MessageStore, UnitOfWork } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Context, Effect, Layer, Redacted } from "effect"
import { serverUrl } from "../../support/database.ts"

/** What handlers write beside messages: kept if and only if the unit of work commits. */
export class Ledger extends Context.Tag("test/Ledger")<
  Ledger,
  {
    readonly write: (entry: string) => Effect.Effect<void>
    /** What is committed, in order. */
    readonly rows: Effect.Effect<ReadonlyArray<string>>
  }
>() {}

export interface Backend<R = never> {
  readonly name: string
  /** A store of its own for every build, whose clock tests may move. */
  readonly layer: Layer.Layer<MessageStore.MessageStore | Ledger | R, unknown>
  readonly channel: <Self, Name extends string, M extends Message.AnyClass>(
    tag: Channel.TagClass<Self, Name, M>
  ) => Layer.Layer<Self>
  readonly features: {
    /** Handlers have SQL. */
    readonly sql: boolean
    /** Time passes only when told, so that instants can be compared to the millisecond. */
    readonly frozenClock: boolean
  }
}

const ledgerMemory = Layer.sync(Ledger, () => {
  const rows: Array<string> = []
  return {
    write: (entry) => UnitOfWork.afterCommit(Effect.sync(() => rows.push(entry))),
    rows: Effect.sync(() => [...rows])
  }
})

export const memory: Backend = {
  name: "memory",
  layer: Layer.merge(MessageStore.layerMemory, ledgerMemory),
  channel: Channel.layerMemory,
  features: { sql: false, frozenClock: true }
}

// -- PostgreSQL ----------------------------------------------------------------

const databaseUrl = Effect.map(serverUrl, Redacted.value)

export type Sql = PgClient.PgClient | SqlClient.SqlClient

export interface PostgresBackend extends Backend<Sql> {
  /** As `layer`, with that many connections for handlers. */
  readonly layerWith: (options: { readonly maxConnections?: number }) => PostgresBackend["layer"]
  /** A client of another database, with a ledger of its own. */
  readonly other: Layer.Layer<Sql | Ledger, unknown>
}

/** The database as the schema's tables alone show it. */
const clientOf = (schema: string, maxConnections: number) =>
  Layer.unwrapEffect(
    Effect.map(databaseUrl, (text) => {
      const url = new URL(text)
      url.searchParams.set("options", `-c search_path=${schema}`)
      return PgClient.layer({ url: Redacted.make(url.href), maxConnections })
    })
  )

const statement = (text: string) => Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.orDie(sql.unsafe(text)))

/** Drops the schema once all that uses it has ended. */
const dropped = (schema: string) =>
  Layer.scopedDiscard(
    Effect.flatMap(Effect.context<SqlClient.SqlClient>(), (context) =>
      Effect.addFinalizer(() => Effect.provide(statement(`drop schema if exists ${schema} cascade`), context))
    )
  )

const ledgerSql = Layer.effect(
  Ledger,
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* statement("create table ledger (place bigint generated always as identity, entry text not null unique)")
    return {
      write: (entry) => Effect.orDie(sql`insert into ledger (entry) values (${entry})`),
      rows: sql<{ entry: string }>`select entry from ledger order by place`.pipe(
        Effect.map((rows) => rows.map((row) => row.entry)),
        Effect.orDie,
        UnitOfWork.outside
      )
    }
  })
)

const named = (name: string) => `${name}_${globalThis.crypto.randomUUID().replaceAll("-", "")}`

const layerWith: PostgresBackend["layerWith"] = (options) =>
  Layer.unwrapEffect(
    Effect.sync(() => {
      const schema = named("test")
      return ledgerSql.pipe(
        Layer.provideMerge(PgMessaging.layerWith({ schema, migrate: true, testing: true })),
        Layer.provide(dropped(schema)),
        Layer.provide(clientOf(schema, options.maxConnections ?? 10))
      )
    })
  )

/** A database of its own, dropped at the end. */
const other = Layer.unwrapScoped(
  Effect.gen(function* () {
    const database = named("other")
    const url = new URL(yield* databaseUrl)
    const administration = Layer.fresh(PgClient.layer({ url: Redacted.make(url.href), maxConnections: 1 }))
    const run = (text: string) => Effect.provide(statement(text), administration)
    yield* Effect.acquireRelease(run(`create database ${database}`), () =>
      Effect.orDie(run(`drop database ${database} with (force)`))
    )
    url.pathname = `/${database}`
    return ledgerSql.pipe(Layer.provideMerge(PgClient.layer({ url: Redacted.make(url.href), maxConnections: 4 })))
  })
)

export const postgres: PostgresBackend = {
  name: "PostgreSQL",
  layer: layerWith({}),
  layerWith,
  other,
  channel: PgChannel.layer,
  features: { sql: true, frozenClock: false }
}
