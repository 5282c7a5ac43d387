import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Channel, Consumer, Envelope, Handler, Message, MessageBus, UnitOfWork } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Config, Duration, Effect, Layer, Schema } from "effect"

export class Task extends Message.Command<Task>()("Task", { payload: { id: Schema.String } }) {}
export class Charge extends Message.Command<Charge>()("Charge", { payload: { id: Schema.String } }) {}
export class Book extends Message.Command<Book>()("Book", { payload: { id: Schema.String } }) {}

export class Tasks extends Channel.Tag<Tasks>()("fault/Tasks", { messages: [Task, Charge, Book] }) {}

/** Notes its beginning at once, whatever becomes of the unit, and its end in the unit. */
const noted = ({ id }: { readonly id: string }) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const { attempt } = yield* Envelope.CurrentEnvelope
    yield* UnitOfWork.outside(sql`INSERT INTO begun (id, pid, attempt) VALUES (${id}, ${process.pid}, ${attempt})`)
    yield* Effect.sleep("20 millis")
    yield* sql`INSERT INTO done (id, pid) VALUES (${id}, ${process.pid})`
  })

export const task = Handler.command(Task, noted).pipe(Handler.asynchronous(Tasks))

/** At most ten begin in any two seconds. */
export const charge = Handler.command(Charge, noted).pipe(
  Handler.asynchronous(Tasks),
  Handler.rateLimit({ limit: 10, interval: "2 seconds" })
)

/** At most three run at once. */
export const book = Handler.command(Book, noted).pipe(
  Handler.asynchronous(Tasks),
  Handler.concurrencyLimit({ limit: 3 })
)

export const Worker = Layer.unwrapEffect(
  Effect.gen(function* () {
    const lease = yield* Config.duration("LEASE").pipe(Config.withDefault(Duration.seconds(10)))
    return Consumer.layer(Tasks, { concurrency: 4, lease })
  })
).pipe(
  Layer.provide(Handler.layer(task, charge, book)),
  Layer.provide(MessageBus.layer),
  Layer.provide(PgChannel.layer(Tasks)),
  Layer.provide(PgMessaging.layer),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL"), maxConnections: Config.succeed(8) }))
)
