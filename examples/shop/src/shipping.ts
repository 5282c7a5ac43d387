/**
 * The warehouse: a list of what to pick, and a ramp where parcels are loaded. A piano takes its time.
 */
import { UnitOfWork } from "@holdfast/core"
import { Config, Context, Effect, Layer } from "effect"
import type { Order, OrderId } from "./messages.ts"
import { tables } from "./schema.ts"

export class Shipping extends Context.Tag("shop/Shipping")<
  Shipping,
  {
    readonly pick: (orderId: OrderId, quantity: number) => Effect.Effect<void>
    readonly load: (order: Order) => Effect.Effect<void>
  }
>() {
  static readonly layer = Layer.effect(
    Shipping,
    Effect.gen(function* () {
      const sql = yield* tables
      const process = yield* Config.withDefault(Config.string("PROCESS_NAME"), "worker")
      return Shipping.of({
        pick: (orderId, quantity) =>
          sql`insert into shop.picking_list (order_id, quantity) values (${orderId}, ${quantity})`.pipe(
            Effect.orDie,
            Effect.asVoid
          ),
        load: Effect.fn("Shipping.load")(function* ({ orderId, sku }: Order) {
          // a diary, kept even if this process dies: it commits on its own, outside of the handler's unit of work
          yield* sql`insert into shop.loading_diary (order_id, process) values (${orderId}, ${process})`.pipe(
            UnitOfWork.outside
          )
          yield* Effect.sleep(sku === "piano" ? "3 seconds" : "20 millis")
          yield* sql`insert into shop.parcels (order_id, loaded_by) values (${orderId}, ${process})`
        }, Effect.orDie)
      })
    })
  )

  static readonly layerMemory = Layer.succeed(Shipping, { pick: () => Effect.void, load: () => Effect.void })
}
