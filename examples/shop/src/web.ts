/**
 * The web process: answers customers, and leaves the rest to workers. Run as many as you like.
 */
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { MessageBus } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Config, Layer } from "effect"
import { OrdersChannel, ShippingChannel } from "./channels.ts"
import { WebHandlersLive } from "./handlers.ts"
import { HttpLive } from "./http.ts"
import { Orders } from "./orders.ts"
import { Payments } from "./payments.ts"
import { Tables } from "./schema.ts"

const ServerLive = NodeHttpServer.layerConfig(createServer, {
  host: Config.withDefault(Config.string("HOST"), "127.0.0.1"),
  port: Config.withDefault(Config.port("PORT"), 3000)
})

const Main = HttpLive.pipe(
  Layer.provide(ServerLive), // what is above is built later: it listens once all that follows is there
  Layer.provide(WebHandlersLive),
  Layer.provide([Orders.layer, Payments.layer, MessageBus.layer]),
  Layer.provide([PgChannel.layer(OrdersChannel), PgChannel.layer(ShippingChannel)]),
  Layer.provide(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(Tables.layer),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)

Layer.launch(Main).pipe(NodeRuntime.runMain) // leave a layer out, and the error here names it
