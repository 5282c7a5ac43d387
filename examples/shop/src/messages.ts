/**
 * What the shop's parts say to each other. The first string of each class is its durable wire name.
 */
import { Message } from "@holdfast/core"
import { Schema } from "effect"

export const OrderId = Schema.NonEmptyString.pipe(Schema.brand("OrderId"))
export type OrderId = typeof OrderId.Type

export const Status = Schema.Literal("placed", "paid", "shipped", "cancelled")
export type Status = typeof Status.Type

// errors that a sender may see

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", {
  sku: Schema.String,
  available: Schema.Int
}) {}

export class OrderNotFound extends Schema.TaggedError<OrderNotFound>()("OrderNotFound", { orderId: OrderId }) {}

export class NotPayable extends Schema.TaggedError<NotPayable>()("NotPayable", { orderId: OrderId, status: Status }) {}

// commands: orders to do one thing

export class PlaceOrder extends Message.Command<PlaceOrder>()("PlaceOrder", {
  payload: {
    sku: Schema.NonEmptyString,
    quantity: Schema.Int.pipe(Schema.positive()),
    email: Schema.NonEmptyString
  },
  success: OrderId,
  error: OutOfStock
}) {}

export class Receipt extends Schema.Class<Receipt>("Receipt")({ orderId: OrderId, amount: Schema.Int }) {}

export class PayOrder extends Message.Command<PayOrder>()("PayOrder", {
  payload: { orderId: OrderId },
  success: Receipt,
  error: Schema.Union(OrderNotFound, NotPayable)
}) {}

/** Answers whether the order was cancelled: one that is paid by now is not. */
export class CancelOrder extends Message.Command<CancelOrder>()("CancelOrder", {
  payload: { orderId: OrderId },
  success: Schema.Boolean
}) {}

/** Answers nothing and refuses nothing, so it may travel a channel. */
export class ShipOrder extends Message.Command<ShipOrder>()("ShipOrder", { payload: { orderId: OrderId } }) {}

// events: facts

export class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", {
  payload: { orderId: OrderId, sku: Schema.String, quantity: Schema.Int, total: Schema.Int, email: Schema.String }
}) {}

export class OrderPaid extends Message.Event<OrderPaid>()("OrderPaid", { payload: { orderId: OrderId } }) {}

export class OrderShipped extends Message.Event<OrderShipped>()("OrderShipped", { payload: { orderId: OrderId } }) {}

// queries

export class Order extends Schema.Class<Order>("Order")({
  orderId: OrderId,
  sku: Schema.String,
  quantity: Schema.Int,
  total: Schema.Int,
  email: Schema.String,
  status: Status,
  /** What was done for the order, one line for each time it was done. */
  history: Schema.Array(Schema.String)
}) {}

export class GetOrder extends Message.Query<GetOrder>()("GetOrder", {
  payload: { orderId: OrderId },
  success: Order,
  error: OrderNotFound
}) {}
