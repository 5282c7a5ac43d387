import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Channel, CommandBus, Consumer, Handler, Message, MessageBus } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Deferred, Effect, Layer, Redacted, Schema } from "effect"
import { Scratch } from "./database.ts"

class Ship extends Message.Command<Ship>()("Ship", { payload: { id: Schema.String } }) {}
class Orders extends Channel.Tag<Orders>()("test/Orders", { messages: [Ship] }) {}

/** One process: its own client, buses and registry on the scratch database. */
const process = (options: PgMessaging.Options, maxConnections = 4) =>
  Layer.unwrapEffect(
    Effect.map(Scratch, ({ url }) =>
      MessageBus.layer.pipe(
        Layer.provideMerge(PgChannel.layer(Orders)),
        Layer.provideMerge(PgMessaging.layerWith({ migrate: true, ...options })),
        Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections }))
      )
    )
  )

const shipping = <E>(handled: Deferred.Deferred<string, E>) =>
  Handler.command(Ship, ({ id }) => Deferred.succeed(handled, id)).pipe(Handler.asynchronous(Orders))

describe("a consumer on PostgreSQL", () => {
  for (const notifications of [true, false]) {
    const how = notifications ? "is told by another process, long before it would poll" : "polls, without notifications"
    it.scopedLive(`of messages that another process sends ${how}`, () =>
      Effect.gen(function* () {
        const handled = yield* Deferred.make<string>()
        const pollInterval = notifications ? "10 minutes" : "50 millis"
        yield* Layer.build(
          Consumer.layer(Orders, { pollInterval }).pipe(
            Layer.provide(Handler.layer(shipping(handled))),
            Layer.provide(process({ notifications }))
          )
        )
        const web = Handler.routes(shipping(handled)).pipe(Layer.provideMerge(process({ notifications })))
        yield* CommandBus.send(new Ship({ id: "a" })).pipe(Effect.provide(web))
        assert.strictEqual(yield* Deferred.await(handled), "a")
      }).pipe(Effect.provide(Scratch.layer))
    )
  }

  it.scopedLive(
    "that may handle more at once than the pool has connections does not start, and says what to change",
    () =>
      Effect.gen(function* () {
        const handled = yield* Deferred.make<string>()
        const consumers = Layer.merge(
          Consumer.layer(Orders, { concurrency: 2 }),
          Consumer.layer(Orders, { concurrency: 3 })
        )
        const error = yield* Effect.flip(
          Layer.build(consumers.pipe(Layer.provide(Handler.layer(shipping(handled))), Layer.provide(process({}, 4))))
        )
        assert.strictEqual(
          error.message,
          'Rejected: with channel "test/Orders" the consumers of this process handle 5 messages at once, but the database ' +
            "client has 4 connections: raise its maxConnections, or lower the concurrency"
        )
      }).pipe(Effect.provide(Scratch.layer))
  )
})
