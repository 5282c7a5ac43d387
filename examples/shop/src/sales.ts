/**
 * What was sold, by product: a running sum, so a message that is handled twice would show.
 */
import { Context, Effect, Layer, Ref } from "effect"
import { tables } from "./schema.ts"

export class Sales extends Context.Tag("shop/Sales")<
  Sales,
  {
    readonly add: (sale: {
      readonly sku: string
      readonly quantity: number
      readonly total: number
    }) => Effect.Effect<void>
    readonly revenue: Effect.Effect<number>
  }
>() {
  static readonly layer = Layer.effect(
    Sales,
    Effect.map(tables, (sql) =>
      Sales.of({
        add: ({ quantity, sku, total }) =>
          sql`
            insert into shop.sales (sku, quantity, revenue) values (${sku}, ${quantity}, ${total})
            on conflict (sku) do update
            set quantity = sales.quantity + excluded.quantity, revenue = sales.revenue + excluded.revenue`.pipe(
            Effect.orDie,
            Effect.asVoid
          ),
        revenue: sql<{ revenue: number }>`select coalesce(sum(revenue), 0)::int as revenue from shop.sales`.pipe(
          Effect.orDie,
          Effect.map((rows) => rows[0]!.revenue)
        )
      })
    )
  )

  static readonly layerMemory = Layer.effect(
    Sales,
    Effect.map(Ref.make(0), (sum) =>
      Sales.of({ add: ({ total }) => Ref.update(sum, (revenue) => revenue + total), revenue: Ref.get(sum) })
    )
  )
}
