/**
 * A worker: takes messages from both channels and handles them. Run as many as you like, on as many machines; a killed
 * one's messages are handled by another when its lease ends.
 */
import { NodeRuntime } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Consumer, MessageBus } from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Config, Effect, Layer } from "effect"
import { OrdersChannel, ShippingChannel } from "./channels.ts"
import { PaymentTimeout } from "./fulfilment.ts"
import { WorkerHandlersLive } from "./handlers.ts"
import { Mailer } from "./mailer.ts"
import { Orders } from "./orders.ts"
import { Sales } from "./sales.ts"
import { Tables } from "./schema.ts"
import { Shipping } from "./shipping.ts"

const ConsumersLive = Config.withDefault(Config.duration("WORKER_LEASE"), "10 seconds").pipe(
  Effect.map((lease) =>
    Layer.mergeAll(
      Consumer.layer(OrdersChannel, { concurrency: 4, lease }),
      Consumer.layer(ShippingChannel, { concurrency: 4, lease })
    )
  ),
  Layer.unwrapEffect
)

const Main = ConsumersLive.pipe(
  Layer.provide(WorkerHandlersLive),
  Layer.provide([Orders.layer, Sales.layer, Shipping.layer, Mailer.layer, PaymentTimeout.layer, MessageBus.layer]),
  Layer.provide([PgChannel.layer(OrdersChannel), PgChannel.layer(ShippingChannel)]),
  Layer.provide(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(Tables.layer),
  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
)

Layer.launch(Main).pipe(NodeRuntime.runMain) // leave a layer out, and the error here names it
