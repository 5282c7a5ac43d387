import { SqlClient, type SqlError } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Channel, CommandBus, Consumer, Handler, Message, MessageBus, UnitOfWork } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Clock, Console, Effect, Exit, Layer, Logger, LogLevel, Redacted, Schedule, Schema, Scope } from "effect"
import * as Pg from "pg"

/**
 * Messages a second through a PostgreSQL channel, against bare `pg` doing the same statements in the same run. The
 * contenders take turns, three rounds; the median counts, and only the ratio means something elsewhere.
 */

const messages = 3_000
const rounds = 3
const connections = 10

class Noop extends Message.Command<Noop>()("Noop", { payload: { n: Schema.Number } }) {}
class Write extends Message.Command<Write>()("Write", { payload: { n: Schema.Number } }) {}
class Noops extends Channel.Tag<Noops>()("bench/Noops", { messages: [Noop] }) {}
class Writes extends Channel.Tag<Writes>()("bench/Writes", { messages: [Write] }) {}

const noop = Handler.command(Noop, () => Effect.void).pipe(Handler.asynchronous(Noops))
const write = Handler.command(Write, ({ n }) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.asVoid(sql`INSERT INTO written (n) VALUES (${n})`)).pipe(
    Effect.orDie
  )
).pipe(Handler.asynchronous(Writes))

const Messaging = (client: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError>) =>
  Handler.layer(noop, write).pipe(
    Layer.provideMerge(MessageBus.layer),
    Layer.provideMerge(Layer.mergeAll(PgChannel.layer(Noops), PgChannel.layer(Writes))),
    Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
    Layer.provideMerge(client)
  )

const perSecond = <E, R>(work: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function* () {
    const start = yield* Clock.currentTimeMillis
    yield* work
    return Math.round((messages * 1000) / ((yield* Clock.currentTimeMillis) - start))
  })

/** From the start of a consumer over a full channel until the channel is empty. */
const consumed = <I, Name extends string, M extends Message.AnyClass>(tag: Channel.TagClass<I, Name, M>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const rate = yield* perSecond(
      Effect.gen(function* () {
        yield* Layer.buildWithScope(Consumer.layer(tag, { concurrency: connections }), scope)
        yield* empty(tag.channelName)
      })
    )
    yield* Scope.close(scope, Exit.void)
    return rate
  })

const empty = (channel: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`SELECT 1 WHERE NOT EXISTS (SELECT FROM holdfast.message WHERE channel = ${channel})`
  ).pipe(
    Effect.filterOrFail((rows) => rows.length > 0),
    Effect.retry(Schedule.spaced("10 millis"))
  )

const fill = <A, R>(send: (n: number) => Effect.Effect<A, any, R>) =>
  UnitOfWork.run(
    Effect.forEach(
      Array.from({ length: messages }, (_, n) => n),
      send,
      { discard: true }
    )
  )

/** What the channel does for one message, by hand: claim it, do the work, delete it. */
const bare = (pool: Pg.Pool, channel: string, writes: boolean) =>
  Effect.promise(async () => {
    const lane = async () => {
      const client = await pool.connect()
      for (;;) {
        const { rows } = await client.query({
          name: "claim",
          text: `UPDATE bare SET lease_until = now() + interval '10 s' WHERE id = (
            SELECT id FROM bare WHERE channel = $1 AND lease_until IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
          ) RETURNING id, payload`,
          values: [channel]
        })
        if (rows.length === 0) break
        const { n } = JSON.parse(rows[0].payload)
        if (writes) {
          await client.query("BEGIN")
          await client.query({ name: "insert", text: "INSERT INTO written (n) VALUES ($1)", values: [n] })
        }
        await client.query({ name: "delete", text: "DELETE FROM bare WHERE id = $1", values: [rows[0].id] })
        if (writes) await client.query("COMMIT")
      }
      client.release()
    }
    await Promise.all(Array.from({ length: connections }, lane))
  })

const fillBare = (channel: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`INSERT INTO bare (channel, payload) SELECT ${channel}::text, json_build_object('n', n)::text
      FROM generate_series(1, ${messages}::int) n`
  )

const median = (values: ReadonlyArray<number>) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

const line = (name: string, rates: ReadonlyArray<number>, reference?: ReadonlyArray<number>) =>
  Console.log(
    `${name.padEnd(44)} ${String(median(rates)).padStart(7)}/s   (${Math.min(...rates)} to ${Math.max(...rates)})` +
      (reference === undefined ? "" : `   ${(median(rates) / median(reference)).toFixed(2)} of bare pg`)
  )

const tables = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE written (n int)`
  yield* sql`CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, channel text, payload text,
    lease_until timestamptz) WITH (fillfactor = 50)`
  yield* sql`CREATE INDEX ON bare (channel, id) WHERE lease_until IS NULL`
})

const bench = (url: string) =>
  Effect.gen(function* () {
    yield* tables
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() => new Pg.Pool({ connectionString: url, max: connections })),
      (pool) => Effect.promise(() => pool.end())
    )
    const rates = { bareNoop: [], noop: [], bareWrite: [], write: [] } as Record<string, Array<number>>
    for (let round = 0; round < rounds; round++) {
      yield* fillBare("noop")
      rates.bareNoop!.push(yield* perSecond(bare(pool, "noop", false)))
      yield* fill((n) => CommandBus.send(new Noop({ n })))
      rates.noop!.push(yield* consumed(Noops))
      yield* fillBare("write")
      rates.bareWrite!.push(yield* perSecond(bare(pool, "write", true)))
      yield* fill((n) => CommandBus.send(new Write({ n })))
      rates.write!.push(yield* consumed(Writes))
    }
    yield* Console.log(`${messages} messages, ${connections} at once, ${rounds} rounds in turn: median (min to max)\n`)
    yield* line("bare pg: claim, delete", rates.bareNoop!)
    yield* line("Holdfast: no-op handler", rates.noop!, rates.bareNoop)
    yield* line("bare pg: claim, BEGIN, INSERT, DELETE, COMMIT", rates.bareWrite!)
    yield* line("Holdfast: handler that writes one row, once", rates.write!, rates.bareWrite)
  })

const program = Effect.gen(function* () {
  const server = yield* EmbeddedPostgres.fromConfig({ dataDirectory: ".holdfast/bench", durable: true })
  const database = yield* Effect.acquireRelease(
    EmbeddedPostgres.createDatabase(server, `holdfast_bench_${process.pid}`),
    ({ database }) => Effect.orDie(EmbeddedPostgres.dropDatabase(server, database))
  )
  const url = Redacted.value(database.url)
  yield* bench(url).pipe(
    Effect.provide(Messaging(PgClient.layer({ url: Redacted.make(url), maxConnections: connections })))
  )
}).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.Warning))

Effect.runPromise(program)
