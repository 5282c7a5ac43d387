/**
 * Payments received. The customer's idempotency key is handled by `CommandBus.send`, not here.
 */
import { Context, Effect, Layer, Ref } from "effect"
import type { OrderId } from "./messages.ts"
import { tables } from "./schema.ts"

export interface Payment {
  readonly orderId: OrderId
  readonly amount: number
}

export class Payments extends Context.Tag("shop/Payments")<
  Payments,
  {
    readonly record: (payment: Payment) => Effect.Effect<void>
    readonly total: Effect.Effect<number>
  }
>() {
  static readonly layer = Layer.effect(
    Payments,
    Effect.map(tables, (sql) =>
      Payments.of({
        record: ({ amount, orderId }) =>
          sql`insert into shop.payments (order_id, amount) values (${orderId}, ${amount})`.pipe(
            Effect.orDie,
            Effect.asVoid
          ),
        total: sql<{ total: number }>`select coalesce(sum(amount), 0)::int as total from shop.payments`.pipe(
          Effect.orDie,
          Effect.map((rows) => rows[0]!.total)
        )
      })
    )
  )

  static readonly layerMemory = Layer.effect(
    Payments,
    Effect.map(Ref.make(0), (sum) =>
      Payments.of({ record: ({ amount }) => Ref.update(sum, (total) => total + amount), total: Ref.get(sum) })
    )
  )
}
