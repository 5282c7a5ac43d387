/**
 * From order to parcel, over days and processes: the one place that knows what comes after what.
 */
import { CommandBus, Handler, Saga } from "@holdfast/core"
import { Config, Context, Duration, Effect, Layer, Schema } from "effect"
import { OrdersChannel } from "./channels.ts"
import { CancelOrder, OrderId, OrderPaid, OrderPlaced, OrderShipped, ShipOrder } from "./messages.ts"

/** How long a customer may take to pay: 24 hours, unless PAYMENT_TIMEOUT says otherwise. */
export class PaymentTimeout extends Context.Tag("shop/PaymentTimeout")<PaymentTimeout, Duration.Duration>() {
  static readonly layer = Layer.effect(
    PaymentTimeout,
    Config.withDefault(Config.duration("PAYMENT_TIMEOUT"), Duration.hours(24))
  )
}

const State = Schema.Struct({ orderId: OrderId, paid: Schema.Boolean })

const byOrder = (message: { readonly orderId: OrderId }) => message.orderId

/**
 * Workers handle messages side by side, so a quick payment may be handled before the order it is for: `OrderPaid` may
 * start the saga too. An `OrderPlaced` that then comes second finds it running and is ignored.
 */
export const fulfilmentSaga = Saga.make("Fulfilment", { state: State }).pipe(
  Saga.startOn(OrderPlaced, {
    id: byOrder,
    handle: Effect.fn("Fulfilment.placed")(function* ({ orderId }) {
      yield* Saga.arm("payment", yield* PaymentTimeout)
      return { orderId, paid: false }
    })
  }),
  Saga.startOn(OrderPaid, {
    id: byOrder,
    handle: ({ orderId }) => ship({ orderId, paid: true })
  }),
  Saga.on(OrderPaid, {
    id: byOrder,
    handle: Effect.fn("Fulfilment.paid")(function* (state) {
      yield* Saga.cancel("payment")
      return yield* ship({ ...state, paid: true })
    })
  }),
  Saga.on(OrderShipped, {
    id: byOrder,
    handle: (state) => Effect.succeed(Saga.complete(state))
  }),
  Saga.onTimeout("payment", {
    // a payment may be on its way here while the timeout fires: then nothing is cancelled, and the saga waits for it
    handle: Effect.fn("Fulfilment.timeout")(function* (state) {
      const cancelled = yield* CommandBus.send(new CancelOrder({ orderId: state.orderId }))
      return cancelled ? Saga.complete(state) : state
    })
  })
)

export const fulfilment = fulfilmentSaga.pipe(Handler.asynchronous(OrdersChannel))

const ship = (state: typeof State.Type) => Effect.as(CommandBus.send(new ShipOrder({ orderId: state.orderId })), state)
