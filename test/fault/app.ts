import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Channel, Consumer, Envelope, EventBus, Handler, Message, MessageBus, UnitOfWork } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Config, Duration, Effect, Layer, Schema } from "effect"
import { crashing } from "./crash.ts"

/** Work whose effects are rows that can be counted: what was done twice is there twice. */
export class Work extends Message.Command<Work>()("Work", {
  payload: { id: Schema.String, kind: Schema.Literal("Writes", "SendsOnly", "Slow", "Kills") }
}) {}

export class Worked extends Message.Event<Worked>()("Worked", { payload: { id: Schema.String } }) {}

export class Jobs extends Channel.Tag<Jobs>()("fault/Jobs", { messages: [Work, Worked] }) {}

const record = (id: string, effect: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`INSERT INTO effect (id, effect, pid) VALUES (${id}, ${effect}, ${process.pid})`
  )

/** Committed at once, whatever becomes of the unit: so the test sees who is inside a handler. */
const announce = (id: string) =>
  Effect.flatMap(Effect.all([SqlClient.SqlClient, Envelope.CurrentEnvelope]), ([sql, { attempt }]) =>
    UnitOfWork.outside(sql`INSERT INTO started (id, pid, attempt) VALUES (${id}, ${process.pid}, ${attempt})`)
  )

export const work = Handler.command(
  Work,
  Effect.fn("work")(function* ({ id, kind }) {
    yield* announce(id)
    if (kind === "Kills") process.kill(process.pid, "SIGKILL")
    if (kind !== "SendsOnly") yield* record(id, "worked")
    yield* EventBus.publish(new Worked({ id }))
    if (kind === "Slow") yield* Effect.sleep(yield* Config.duration("SLOWNESS"))
  })
).pipe(Handler.asynchronous(Jobs))

export const follow = Handler.event(Worked, { name: "Follow", handle: ({ id }) => record(id, "followed") }).pipe(
  Handler.asynchronous(Jobs)
)

export const Worker = Layer.unwrapEffect(
  Effect.gen(function* () {
    const lease = yield* Config.duration("LEASE").pipe(Config.withDefault(Duration.seconds(10)))
    const crashAt = yield* Config.string("CRASH_AT").pipe(Config.withDefault("nowhere"))
    const concurrency = yield* Config.integer("CONCURRENCY").pipe(Config.withDefault(2))
    return Consumer.layer(Jobs, { concurrency, lease }).pipe(
      Layer.provide(Handler.layer(work, follow)),
      Layer.provide(MessageBus.layer),
      Layer.provide(PgChannel.layer(Jobs)),
      Layer.provide(crashing(crashAt)),
      Layer.provide(PgMessaging.layer),
      Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL"), maxConnections: Config.succeed(12) }))
    )
  })
)
