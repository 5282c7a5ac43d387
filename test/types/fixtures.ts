/**
 * A small shop: what the type tests infer from and refuse.
 */
import { Channel, CommandBus, EventBus, Handler, Message, Saga } from "@holdfast/core"
import { Context, Effect, Layer, Option, Schedule, Schema } from "effect"

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

export const OrderId = Schema.UUID.pipe(Schema.brand("OrderId"))
export type OrderId = typeof OrderId.Type

export const orderId = OrderId.make("7f1d2a52-3b8e-4f5c-9b1d-0c2f8f0a1b2c")

export class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { orderId: OrderId }) {}

export class MailError extends Schema.TaggedError<MailError>()("MailError", { cause: Schema.Defect }) {}

/** Declares an error, so its sender waits. */
export class PlaceOrder extends Message.Command<PlaceOrder>()("PlaceOrder", {
  payload: { orderId: OrderId, total: Schema.Number },
  error: OutOfStock
}) {}

/** Answers, so its sender waits. */
export class Pay extends Message.Command<Pay>()("Pay", {
  payload: { orderId: OrderId },
  success: Schema.NumberFromString
}) {}

/** Declares neither an answer nor an error, so it may travel a channel. */
export class ShipOrder extends Message.Command<ShipOrder>()("ShipOrder", { payload: { orderId: OrderId } }) {}

export class GetTotal extends Message.Query<GetTotal>()("GetTotal", {
  payload: { orderId: OrderId },
  success: Schema.Number
}) {}

export class FindOrder extends Message.Query<FindOrder>()("FindOrder", {
  payload: { orderId: OrderId },
  success: Schema.Option(Schema.Number),
  error: OutOfStock
}) {}

export class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", {
  payload: { orderId: OrderId, total: Schema.Number }
}) {}

export class PaymentReceived extends Message.Event<PaymentReceived>()("PaymentReceived", {
  payload: { orderId: OrderId, remindAt: Schema.Date }
}) {}

export class Tick extends Message.Event<Tick>()("Tick") {}

// -----------------------------------------------------------------------------
// channels and services
// -----------------------------------------------------------------------------

export class OrdersChannel extends Channel.Tag<OrdersChannel>()("shop/OrdersChannel", {
  messages: [OrderPlaced, PaymentReceived, ShipOrder],
  retry: Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(5)))
}) {}

/** Carries one message. */
export class Shipping extends Channel.Tag<Shipping>()("shop/Shipping", { messages: [ShipOrder] }) {}

/** Carries everything. */
export class Anything extends Channel.Tag<Anything>()("shop/Anything") {}

export class Orders extends Context.Tag("shop/Orders")<
  Orders,
  {
    readonly save: (orderId: OrderId, total: number) => Effect.Effect<void>
    readonly total: (orderId: OrderId) => Effect.Effect<number>
  }
>() {}

export class Mailer extends Context.Tag("shop/Mailer")<
  Mailer,
  { readonly send: (to: string, subject: string) => Effect.Effect<void, MailError> }
>() {}

export const ServicesLive = Layer.mergeAll(
  Layer.succeed(Orders, { save: () => Effect.void, total: () => Effect.succeed(0) }),
  Layer.succeed(Mailer, { send: () => Effect.void })
)

// -----------------------------------------------------------------------------
// handlers
// -----------------------------------------------------------------------------

export const placeOrder = Handler.command(
  PlaceOrder,
  Effect.fn("placeOrder")(function* ({ orderId, total }) {
    if (total > 1_000) return yield* new OutOfStock({ orderId })
    const orders = yield* Orders
    yield* orders.save(orderId, total)
    yield* EventBus.publish(new OrderPlaced({ orderId, total }))
  })
)

export const pay = Handler.command(Pay, () => Effect.succeed(12))

export const getTotal = Handler.query(
  GetTotal,
  Effect.fn("getTotal")(function* ({ orderId }) {
    const orders = yield* Orders
    return yield* orders.total(orderId)
  })
)

/** Fails with `MailError`: nobody waits for an event's handler once it has a channel. */
export const mail = Handler.event(OrderPlaced, {
  name: "SendConfirmation",
  handle: Effect.fn("mail")(function* (event) {
    const mailer = yield* Mailer
    yield* mailer.send(event.orderId, "Thanks for your order")
  })
})

export const sendConfirmation = mail.pipe(
  Handler.asynchronous(OrdersChannel),
  Handler.delay("10 minutes"),
  Handler.retry(
    Schedule.exponential("1 second").pipe(
      Schedule.intersect(Schedule.recurs(3)),
      Schedule.whileInput((error: MailError) => error._tag === "MailError")
    )
  )
)

export const shipPaid = Handler.event([PaymentReceived], {
  name: "ShipPaid",
  handle: (event) => CommandBus.send(new ShipOrder({ orderId: event.orderId }))
}).pipe(Handler.asynchronous(OrdersChannel))

/** In the sender's unit of work. */
export const ship = Handler.command(ShipOrder, ({ orderId }) => Effect.log(`Shipping ${orderId}`))

export const shipOrder = ship.pipe(Handler.asynchronous(OrdersChannel))

export const OrdersLive = Handler.layer(placeOrder, getTotal, sendConfirmation)

export const ShippingLive = Handler.layer(shipPaid, shipOrder)

// -----------------------------------------------------------------------------
// sagas
// -----------------------------------------------------------------------------

export const Fulfilment = Schema.Struct({ orderId: OrderId, total: Schema.Number, paid: Schema.Boolean })

/** Without timeouts, without a channel. */
export const counting = Saga.make("Counting", { state: Schema.Number }).pipe(
  Saga.startOn(OrderPlaced, { id: (event) => event.orderId, handle: () => Effect.succeed(1) }),
  Saga.on(PaymentReceived, {
    id: (event, headers) => Option.fromNullable(headers.tenant).pipe(Option.map(() => event.orderId)),
    handle: (count) => Effect.succeed(Saga.complete(count + 1))
  })
)

/** With timeouts, before it has a channel. */
export const fulfilment = Saga.make("Fulfilment", { state: Fulfilment }).pipe(
  Saga.startOn(OrderPlaced, {
    id: (event) => event.orderId,
    handle: ({ orderId, total }) => Effect.as(Saga.arm("payment", "24 hours"), { orderId, total, paid: false })
  }),
  Saga.on(PaymentReceived, {
    id: (event) => event.orderId,
    handle: Effect.fn("shipPaidOrder")(function* (state, event) {
      yield* CommandBus.send(new ShipOrder({ orderId: event.orderId }))
      yield* Saga.cancel("payment")
      return Saga.complete({ ...state, paid: true })
    })
  }),
  Saga.onTimeout("payment", {
    handle: Effect.fn("remind")(function* (state) {
      const mailer = yield* Mailer
      yield* mailer.send(state.orderId, "Still waiting")
      return state
    })
  })
)

export const fulfilOrders = fulfilment.pipe(
  Handler.asynchronous(OrdersChannel),
  Handler.retry(Schedule.spaced("5 seconds"))
)
