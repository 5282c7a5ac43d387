/**
 * What is to be done once, by processes that know nothing of each other: a command that is sent with a key, and one
 * whose handler deduplicates.
 */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Channel, CommandBus, Consumer, Handler, Message, MessageBus, UnitOfWork } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Config, Duration, Effect, Either, Layer, Schedule, Schema } from "effect"
import { crashing } from "./crash.ts"

export class Declined extends Schema.TaggedError<Declined>()("Declined", { pid: Schema.Number }) {}

/** Answers which process did it. */
export class Pay extends Message.Command<Pay>()("Pay", {
  payload: { end: Schema.Literal("Answers", "Declines", "Dies") },
  success: Schema.Number,
  error: Declined
}) {}

/** Two of one book say the same. */
export class Book extends Message.Command<Book>()("Book", {
  payload: { book: Schema.String, fails: Schema.Boolean }
}) {}

export class Books extends Channel.Tag<Books>()("fault/Books", { messages: [Book] }) {}

const record = (id: string, effect: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`INSERT INTO effect (id, effect, pid) VALUES (${id}, ${effect}, ${process.pid})`
  )

const announce = (id: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    UnitOfWork.outside(sql`INSERT INTO started (id, pid) VALUES (${id}, ${process.pid})`)
  )

/** Until the test says go. */
const told = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  UnitOfWork.outside(sql`SELECT 1 FROM started WHERE id = 'go'`).pipe(
    Effect.repeat({ until: (rows) => rows.length > 0, schedule: Schedule.spaced("50 millis") })
  )
)

const pay = Handler.command(
  Pay,
  Effect.fn("pay")(function* ({ end }) {
    yield* Effect.orDie(announce("pay"))
    yield* Effect.orDie(record("pay", end))
    yield* Effect.sleep(yield* Effect.orDie(Config.duration("SLOWNESS")))
    if (end === "Declines") return yield* new Declined({ pid: process.pid })
    if (end === "Dies") return yield* Effect.dieMessage("bug")
    return process.pid
  })
)

export const book = Handler.command(
  Book,
  Effect.fn("book")(function* ({ book, fails }) {
    yield* announce(book)
    yield* record(book, "booked")
    if (yield* Config.boolean("WAITS").pipe(Config.withDefault(false))) yield* told
    if (fails) return yield* Effect.fail("no")
  })
).pipe(Handler.deduplicate({ key: ({ book }) => book }), Handler.asynchronous(Books))

const Database = PgClient.layerConfig({ url: Config.redacted("DATABASE_URL"), maxConnections: Config.succeed(8) })

/** Books, as a worker. */
export const Booking = Consumer.layer(Books, { concurrency: 1, lease: "2 seconds" }).pipe(
  Layer.provide(Handler.layer(book)),
  Layer.provide(MessageBus.layer),
  Layer.provide(PgChannel.layer(Books)),
  Layer.provide(PgMessaging.layer),
  Layer.provide(Database)
)

/** Sends with the key `k`, leaves in the table `answer` what it was answered, and ends. */
export const Paying = Effect.gen(function* () {
  const end = yield* Config.literal("Answers", "Declines", "Dies")("END").pipe(Config.withDefault("Answers" as const))
  const sql = yield* SqlClient.SqlClient
  const answer = yield* CommandBus.send(new Pay({ end }), { idempotencyKey: "k" }).pipe(
    Effect.map((pid) => `paid by ${pid}`),
    Effect.catchTag("Declined", ({ pid }) => Effect.succeed(`declined by ${pid}`)),
    Effect.sandbox,
    Effect.either
  )
  const text = Either.isRight(answer) ? answer.right : answer.left._tag
  yield* sql`INSERT INTO answer (pid, answer) VALUES (${process.pid}, ${text})`
}).pipe(
  Effect.provide(
    Layer.unwrapEffect(
      Effect.map(Config.string("CRASH_AT").pipe(Config.withDefault("nowhere")), (point) =>
        Handler.layer(pay).pipe(
          Layer.provideMerge(MessageBus.layer),
          Layer.provide(crashing(point)),
          Layer.provideMerge(PgMessaging.layer),
          Layer.provide(Database)
        )
      )
    )
  ),
  Effect.timeout(Duration.seconds(50))
)
