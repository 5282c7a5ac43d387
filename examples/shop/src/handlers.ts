/**
 * What happens when a message arrives. A handler's SQL, the messages it sends and the end of the message it handles
 * commit together, or not at all.
 */
import { Envelope, EventBus, Handler } from "@holdfast/core"
import { Effect, Layer, Option, Schedule } from "effect"
import { OrdersChannel, ShippingChannel } from "./channels.ts"
import { fulfilment } from "./fulfilment.ts"
import { Mailer } from "./mailer.ts"
import {
  CancelOrder,
  GetOrder,
  NotPayable,
  type OrderId,
  OrderNotFound,
  OrderPaid,
  OrderPlaced,
  OrderShipped,
  PayOrder,
  PlaceOrder,
  Receipt,
  ShipOrder
} from "./messages.ts"
import { Orders } from "./orders.ts"
import { Payments } from "./payments.ts"
import { Sales } from "./sales.ts"
import { Shipping } from "./shipping.ts"

// -----------------------------------------------------------------------------
// while the sender waits
// -----------------------------------------------------------------------------

export const placeOrder = Handler.command(
  PlaceOrder,
  Effect.fn("placeOrder")(function* (order) {
    const { orderId, total } = yield* (yield* Orders).place(order)
    const { email, quantity, sku } = order
    yield* EventBus.publish(new OrderPlaced({ orderId, sku, quantity, total, email }))
    return orderId
  })
)

export const payOrder = Handler.command(
  PayOrder,
  Effect.fn("payOrder")(function* ({ orderId }) {
    const orders = yield* Orders
    const order = yield* find(orderId)
    if (!(yield* orders.pay(orderId))) return yield* new NotPayable({ orderId, status: order.status })
    yield* (yield* Payments).record({ orderId, amount: order.total })
    yield* EventBus.publish(new OrderPaid({ orderId }))
    return new Receipt({ orderId, amount: order.total })
  })
)

export const cancelOrder = Handler.command(CancelOrder, ({ orderId }) =>
  Effect.flatMap(Orders, (orders) => orders.cancel(orderId))
)

export const getOrder = Handler.query(GetOrder, ({ orderId }) => find(orderId))

// -----------------------------------------------------------------------------
// later, in a worker: each of the three has its own copy of OrderPlaced, its own retries and its own end
// -----------------------------------------------------------------------------

export const sendConfirmation = Handler.event(OrderPlaced, {
  name: "SendConfirmation",
  handle: Effect.fn("SendConfirmation")(function* ({ email, orderId }) {
    const idempotencyKey = yield* Envelope.idempotencyKey
    yield* (yield* Mailer).send({ to: email, subject: `Your ${orderId}`, idempotencyKey })
    yield* (yield* Orders).note(orderId, "confirmed")
  })
}).pipe(
  Handler.asynchronous(OrdersChannel),
  // again after 1, 2 and 4 seconds, in whichever worker is then free; after that it is a dead letter
  Handler.retry(Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(3))))
)

export const pickGoods = Handler.event(OrderPlaced, {
  name: "PickGoods",
  handle: Effect.fn("PickGoods")(function* ({ orderId, quantity }) {
    yield* (yield* Shipping).pick(orderId, quantity)
    yield* (yield* Orders).note(orderId, "on the picking list")
  })
}).pipe(Handler.asynchronous(OrdersChannel))

export const updateSales = Handler.event(OrderPlaced, {
  name: "UpdateSales",
  handle: Effect.fn("UpdateSales")(function* (placed) {
    yield* (yield* Sales).add(placed)
    yield* (yield* Orders).note(placed.orderId, "in the sales figures")
  })
}).pipe(Handler.asynchronous(OrdersChannel))

export const shipOrder = Handler.command(
  ShipOrder,
  Effect.fn("shipOrder")(function* ({ orderId }) {
    yield* (yield* Shipping).load(yield* find(orderId))
    yield* (yield* Orders).ship(orderId)
    yield* EventBus.publish(new OrderShipped({ orderId }))
  })
).pipe(Handler.asynchronous(ShippingChannel))

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

const inWorkers = [sendConfirmation, pickGoods, updateSales, shipOrder, fulfilment] as const

/**
 * What the web process handles itself, and where it sends the rest: for that it needs the channels, but no mailer and
 * no warehouse.
 */
export const WebHandlersLive = Layer.merge(Handler.layer(placeOrder, payOrder, getOrder), Handler.routes(...inWorkers))

/** What workers handle. */
export const WorkerHandlersLive = Handler.layer(cancelOrder, ...inWorkers)

/** All of it in one process: for tests. */
export const HandlersLive = Handler.layer(placeOrder, payOrder, getOrder, cancelOrder, ...inWorkers)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const find = Effect.fn("find")(function* (orderId: OrderId) {
  const order = yield* (yield* Orders).get(orderId)
  return yield* Option.match(order, {
    onNone: () => Effect.fail(new OrderNotFound({ orderId })),
    onSome: Effect.succeed
  })
})
