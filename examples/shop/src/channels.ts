/**
 * The two roads between processes. What is behind them, memory or PostgreSQL, is a choice of `Layer` in the mains.
 */
import { Channel } from "@holdfast/core"
import { Schedule } from "effect"
import { OrderPaid, OrderPlaced, OrderShipped, ShipOrder } from "./messages.ts"

export class OrdersChannel extends Channel.Tag<OrdersChannel>()("shop/OrdersChannel", {
  messages: [OrderPlaced, OrderPaid, OrderShipped]
}) {}

/** Loading takes long, so it has a road of its own: mails and sales do not wait behind a piano. */
export class ShippingChannel extends Channel.Tag<ShippingChannel>()("shop/ShippingChannel", {
  messages: [ShipOrder],
  retry: Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(5)))
}) {}
