/**
 * Orders and the stock they take. Every change also adds a line to the order's history, which nothing but the unit of
 * work protects from being written twice: that is how the demo can tell that it was written once.
 */
import { type SqlClient, SqlSchema } from "@effect/sql"
import { Context, Effect, Layer, Option, Ref, Schema } from "effect"
import { catalogue } from "./catalogue.ts"
import { Order, OrderId, OutOfStock, type PlaceOrder, type Status } from "./messages.ts"
import { type Tables, tables } from "./schema.ts"

export class Orders extends Context.Tag("shop/Orders")<
  Orders,
  {
    /** Takes the goods from the stock and keeps the order. */
    readonly place: (order: PlaceOrder) => Effect.Effect<Placed, OutOfStock>
    readonly get: (orderId: OrderId) => Effect.Effect<Option.Option<Order>>
    /** Each of these answers whether the order was in a state for it; if not, nothing happens. */
    readonly pay: (orderId: OrderId) => Effect.Effect<boolean>
    readonly ship: (orderId: OrderId) => Effect.Effect<boolean>
    /** Puts the goods back. */
    readonly cancel: (orderId: OrderId) => Effect.Effect<boolean>
    /** Adds a line to the order's history. */
    readonly note: (orderId: OrderId, line: string) => Effect.Effect<void>
  }
>() {
  static readonly layer: Layer.Layer<Orders, never, SqlClient.SqlClient | Tables> = Layer.suspend(() => layerSql)
  static readonly layerMemory: Layer.Layer<Orders> = Layer.suspend(() => layerMemory)
}

export interface Placed {
  readonly orderId: OrderId
  readonly total: number
}

// -----------------------------------------------------------------------------
// PostgreSQL
// -----------------------------------------------------------------------------

/**
 * Inside a handler this SQL belongs to the handler's unit of work, with no word about it here. A `SqlError` dies: the
 * runtime knows an outage from a bug by looking at the cause, and the business has no answer to either.
 */
const layerSql = Layer.effect(
  Orders,
  Effect.gen(function* () {
    const sql = yield* tables
    const note = (orderId: OrderId, line: string) =>
      sql`insert into shop.history (order_id, line) values (${orderId}, ${line})`.pipe(Effect.orDie, Effect.asVoid)
    const move = (orderId: OrderId, from: Status, to: Status) =>
      sql`update shop.orders set status = ${to} where order_id = ${orderId} and status = ${from} returning order_id`.pipe(
        Effect.orDie,
        Effect.map((rows) => rows.length === 1),
        Effect.tap((moved) => (moved ? note(orderId, to) : Effect.void))
      )
    const takeStock = Effect.fn("Orders.takeStock")(function* ({ quantity, sku }: PlaceOrder) {
      const taken = yield* sql<{ price: number }>`
        update shop.stock set available = available - ${quantity}
        where sku = ${sku} and available >= ${quantity} returning price`
      if (taken[0] !== undefined) return taken[0].price
      const left = yield* sql<{ available: number }>`select available from shop.stock where sku = ${sku}`
      return yield* new OutOfStock({ sku, available: left[0]?.available ?? 0 })
    })
    const find = SqlSchema.findOne({
      Request: OrderId,
      Result: Order,
      execute: (orderId) => sql`
        select order_id as "orderId", sku, quantity, total, email, status,
          array(select line from shop.history h where h.order_id = o.order_id order by h.id) as history
        from shop.orders o where order_id = ${orderId}`
    })
    return Orders.of({
      place: Effect.fn("Orders.place")(
        function* (order: PlaceOrder) {
          const { email, quantity, sku } = order
          const total = (yield* takeStock(order)) * quantity
          const rows = yield* sql<{ orderId: string }>`
            insert into shop.orders (sku, quantity, total, email) values (${sku}, ${quantity}, ${total}, ${email})
            returning order_id as "orderId"`
          const orderId = OrderId.make(rows[0]!.orderId)
          yield* note(orderId, "placed")
          return { orderId, total }
        },
        Effect.catchTag("SqlError", Effect.die)
      ),
      get: (orderId) => Effect.orDie(find(orderId)),
      pay: (orderId) => move(orderId, "placed", "paid"),
      ship: (orderId) => move(orderId, "paid", "shipped"),
      cancel: Effect.fn("Orders.cancel")(function* (orderId: OrderId) {
        const cancelled = yield* move(orderId, "placed", "cancelled")
        if (cancelled) {
          yield* Effect.orDie(sql`
            update shop.stock s set available = available + o.quantity
            from shop.orders o where o.order_id = ${orderId} and s.sku = o.sku`)
        }
        return cancelled
      }),
      note
    })
  })
)

// -----------------------------------------------------------------------------
// memory
// -----------------------------------------------------------------------------

interface Shelves {
  readonly stock: Readonly<Record<string, number>>
  readonly orders: Readonly<Record<OrderId, typeof Order.Encoded>>
}

const layerMemory = Layer.effect(
  Orders,
  Effect.gen(function* () {
    const shelves = yield* Ref.make<Shelves>({
      stock: Object.fromEntries(catalogue.map(({ available, sku }) => [sku, available])),
      orders: {}
    })
    const move = (orderId: OrderId, from: Status, to: Status) =>
      Ref.modify(shelves, ({ orders, stock }) => {
        const order = orders[orderId]
        if (order?.status !== from) return [false, { orders, stock }]
        const back = to === "cancelled" ? { [order.sku]: (stock[order.sku] ?? 0) + order.quantity } : {}
        const moved = { ...order, status: to, history: [...order.history, to] }
        return [true, { stock: { ...stock, ...back }, orders: { ...orders, [orderId]: moved } }]
      })
    return Orders.of({
      place: Effect.fn("Orders.place")(function* ({ email, quantity, sku }: PlaceOrder) {
        const { orders, stock } = yield* Ref.get(shelves)
        const available = stock[sku] ?? 0
        if (available < quantity) return yield* new OutOfStock({ sku, available })
        const orderId = OrderId.make(`order-${Object.keys(orders).length + 1}`)
        const total = quantity * (catalogue.find((item) => item.sku === sku)?.price ?? 0)
        const order = { orderId, sku, quantity, total, email, status: "placed" as const, history: ["placed"] }
        yield* Ref.set(shelves, {
          stock: { ...stock, [sku]: available - quantity },
          orders: { ...orders, [orderId]: order }
        })
        return { orderId, total }
      }),
      get: (orderId) =>
        Effect.map(Ref.get(shelves), ({ orders }) =>
          Option.map(Option.fromNullable(orders[orderId]), Schema.decodeSync(Order))
        ),
      pay: (orderId) => move(orderId, "placed", "paid"),
      ship: (orderId) => move(orderId, "paid", "shipped"),
      cancel: (orderId) => move(orderId, "placed", "cancelled"),
      note: (orderId, line) =>
        Ref.update(shelves, ({ orders, stock }) => {
          const order = orders[orderId]
          if (order === undefined) return { orders, stock }
          return { stock, orders: { ...orders, [orderId]: { ...order, history: [...order.history, line] } } }
        })
    })
  })
)
