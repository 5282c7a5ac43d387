/**
 * Two builds of one system. The second knows `Work` in a new version, `NewWork`, and a new handler of `Happened`; it
 * knows `OldWork` no longer.
 */
import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { Channel, CommandBus, Consumer, EventBus, Handler, Message, MessageBus } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Config, Effect, Layer, Schema } from "effect"

const payload = { id: Schema.String }

export class Happened extends Message.Event<Happened>()("Happened", { payload }) {}
export class OldWork extends Message.Command<OldWork>()("OldWork", { payload }) {}
export class NewWork extends Message.Command<NewWork>()("NewWork", { payload }) {}
export class WorkV1 extends Message.Command<WorkV1>()("Work", { payload }) {}
export class WorkV2 extends Message.Command<WorkV2>()("Work", {
  version: 2,
  payload: { name: Schema.String },
  upcasters: { 1: Message.upcaster(Schema.Struct(payload), ({ id }) => ({ name: id })) }
}) {}

class Before extends Channel.Tag<Before>()("Before", { name: "fault/Deploy" }) {}
class After extends Channel.Tag<After>()("After", { name: "fault/Deploy" }) {}

const record = (id: string, effect: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`INSERT INTO effect (id, effect, pid) VALUES (${id}, ${effect}, ${process.pid})`
  )

const before = [
  Handler.command(WorkV1, ({ id }) => record(id, "worked")).pipe(Handler.asynchronous(Before)),
  Handler.command(OldWork, ({ id }) => record(id, "worked")).pipe(Handler.asynchronous(Before)),
  Handler.event(Happened, { name: "First", handle: ({ id }) => record(id, "first") }).pipe(Handler.asynchronous(Before))
] as const

const after = [
  Handler.command(WorkV2, ({ name }) => record(name, "worked")).pipe(Handler.asynchronous(After)),
  Handler.command(NewWork, ({ id }) => record(id, "worked")).pipe(Handler.asynchronous(After)),
  Handler.event(Happened, { name: "First", handle: ({ id }) => record(id, "first") }).pipe(Handler.asynchronous(After)),
  Handler.event(Happened, { name: "Second", handle: ({ id }) => record(id, "second") }).pipe(
    Handler.asynchronous(After)
  )
] as const

const options = { concurrency: 4, lease: "2 seconds" } as const

/** A worker of the build that `BUILD` names. */
export const Worker = Layer.unwrapEffect(
  Effect.map(Config.literal("before", "after")("BUILD"), (build) =>
    build === "before"
      ? Consumer.layer(Before, options).pipe(
          Layer.provide(Handler.layer(...before)),
          Layer.provide(PgChannel.layer(Before))
        )
      : Consumer.layer(After, options).pipe(
          Layer.provide(Handler.layer(...after)),
          Layer.provide(PgChannel.layer(After))
        )
  )
).pipe(
  Layer.provide(MessageBus.layer),
  Layer.provide(PgMessaging.layer),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL"), maxConnections: Config.succeed(6) }))
)

/** What a web process of the old build sends, each time it is asked. */
export const sendBefore = (id: string) =>
  Effect.all([
    CommandBus.send(new WorkV1({ id: `v1 ${id}` })),
    CommandBus.send(new OldWork({ id: `old ${id}` })),
    EventBus.publish(new Happened({ id: `before ${id}` }))
  ]).pipe(
    Effect.provide(
      Handler.routes(...before).pipe(Layer.provideMerge(MessageBus.layer), Layer.provide(PgChannel.layer(Before)))
    )
  )

/** What one of the new build sends. */
export const sendAfter = (id: string) =>
  Effect.all([
    CommandBus.send(new WorkV2({ name: `v2 ${id}` })),
    CommandBus.send(new NewWork({ id: `new ${id}` })),
    EventBus.publish(new Happened({ id: `after ${id}` }))
  ]).pipe(
    Effect.provide(
      Handler.routes(...after).pipe(Layer.provideMerge(MessageBus.layer), Layer.provide(PgChannel.layer(After)))
    )
  )

/** Says that the new handlers want their events, before any of their workers runs. */
export const subscribeAfter = Consumer.subscribe(After).pipe(
  Effect.provide(
    Handler.layer(...after).pipe(Layer.provideMerge(MessageBus.layer), Layer.provideMerge(PgChannel.layer(After)))
  )
)
