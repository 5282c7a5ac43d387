/**
 * What the types refuse of sagas, with the wording.
 */
import { Handler, Saga } from "@holdfast/core"
import { Effect, Layer, Option, Schema } from "effect"
import {
  counting,
  Fulfilment,
  fulfilment,
  fulfilOrders,
  GetTotal,
  mail,
  OrderPlaced,
  OrdersChannel,
  OutOfStock,
  orderId,
  Pay,
  PaymentReceived,
  PlaceOrder,
  ShipOrder,
  Shipping
} from "./fixtures.ts"

const empty = Saga.make("Fulfilment", { state: Fulfilment })
const started = empty.pipe(
  Saga.startOn(OrderPlaced, {
    id: (event) => event.orderId,
    handle: ({ orderId, total }) => Effect.succeed({ orderId, total, paid: false })
  })
)

// -----------------------------------------------------------------------------
// transitions
// -----------------------------------------------------------------------------

// @refused Property 'nope' does not exist on type '{ readonly orderId: string & Brand<"OrderId">
empty.pipe(Saga.on(PaymentReceived, { id: (event) => event.orderId, handle: (state) => Effect.log(state.nope) }))

// @refused Type 'number' is not assignable to type 'boolean'
empty.pipe(
  Saga.on(PaymentReceived, { id: (event) => event.orderId, handle: (state) => Effect.succeed({ ...state, paid: 1 }) })
)

// @refused Type 'number' is not assignable to type '{ readonly orderId: string & Brand<"OrderId">
empty.pipe(
  Saga.on(PaymentReceived, {
    id: (event) => event.orderId,
    handle: (state) => Effect.succeed(Saga.complete(state.total))
  })
)

// @refused Type '<State>(state: State) => Complete<State>' is not assignable to type 'Complete<
empty.pipe(Saga.on(PaymentReceived, { id: (event) => event.orderId, handle: () => Effect.succeed(Saga.complete) }))

// @refused Type 'void' is not assignable to type 'Complete<
empty.pipe(Saga.on(PaymentReceived, { id: (event) => event.orderId, handle: () => Effect.void }))

// @refused Type '{ orderId: string & Brand<"OrderId">; }' is missing the following properties from type
// @refused : total, paid
empty.pipe(
  Saga.startOn(OrderPlaced, {
    id: (event) => event.orderId,
    handle: (event) => Effect.succeed({ orderId: event.orderId })
  })
)

// @refused Property 'nope' does not exist on type 'OrderPlaced'
empty.pipe(
  Saga.startOn(OrderPlaced, {
    id: (event) => event.orderId,
    handle: (event) => Effect.succeed({ orderId: event.orderId, total: event.nope, paid: false })
  })
)

// @refused Property 'nope' does not exist on type 'PaymentReceived'
empty.pipe(Saga.on(PaymentReceived, { id: (event) => event.nope, handle: (state) => Effect.succeed(state) }))

// @refused Type 'number' is not assignable to type 'string | Option<string>'
empty.pipe(Saga.on(PaymentReceived, { id: () => 1, handle: (state) => Effect.succeed(state) }))

// @refused Type 'number' is not assignable to type 'string'
empty.pipe(Saga.on(PaymentReceived, { id: () => Option.some(1), handle: (state) => Effect.succeed(state) }))

// @refused Property 'nope' does not exist on type '{ readonly orderId: string & Brand<"OrderId">
empty.pipe(Saga.onTimeout("payment", { handle: (state) => Effect.log(state.nope) }))

// @refused Type '{ paid: true; }' is missing the following properties from type
// @refused : orderId, total
Saga.onTimeout(started, "payment", { handle: () => Effect.succeed({ paid: true }) })

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

// @refused "GetTotal is a query, which changes nothing, so it cannot move a saga: answer it with Saga.get"
empty.pipe(Saga.on(GetTotal, { id: (query) => query.orderId, handle: (state) => Effect.succeed(state) }))

// @refused "Pay replies, so it cannot move a saga: let a handler answer it and publish an event"
empty.pipe(Saga.on(Pay, { id: (command) => command.orderId, handle: (state) => Effect.succeed(state) }))

// @refused "Pay replies, so it cannot move a saga: let a handler answer it and publish an event"
Saga.on(started, Pay, { id: (command) => command.orderId, handle: (state) => Effect.succeed(state) })

// @refused "Pay replies, so it cannot move a saga: let a handler answer it and publish an event"
empty.pipe(Saga.startOn(Pay, { id: (command) => command.orderId, handle: () => Effect.never }))

// -----------------------------------------------------------------------------
// a saga is a handler
// -----------------------------------------------------------------------------

// @refused "Fulfilment has timeouts, which need a channel: add Handler.asynchronous"
Handler.layer(fulfilment)

// @refused "A handler of PaymentReceived fails with an untagged error, which its publisher cannot see
// @refused catch it, or add Handler.asynchronous"
Handler.layer(started.pipe(Saga.on(PaymentReceived, { id: (event) => event.orderId, handle: () => Effect.fail("no") })))

// What a command declares, the publisher of an event cannot see.
// @refused "A handler of OrderPlaced fails with OutOfStock, which its publisher cannot see
// @refused catch it, or add Handler.asynchronous"
Handler.layer(
  started.pipe(Saga.on(PlaceOrder, { id: (command) => command.orderId, handle: (state) => new OutOfStock(state) }))
)

// @refused "shop/Shipping does not carry OrderPlaced"
started.pipe(Handler.asynchronous(Shipping))

// @refused "Only a handler with a channel can be delayed: add Handler.asynchronous first"
fulfilment.pipe(Handler.delay("1 second"))

// @refused "A handler of PaymentReceived has no channel, so it cannot run elsewhere: add Handler.asynchronous"
Handler.routes(fulfilment)

// @refused Type 'Handler<typeof OrderPlaced, MailError, Mailer, "Synchronous">' is missing the following properties
mail.pipe(Saga.on(PaymentReceived, { id: (event) => event.orderId, handle: (state) => Effect.succeed(state) }))

// @refused Type 'Handler<typeof OrderPlaced | typeof PaymentReceived
// @refused [TypeId], state, transitions
fulfilOrders.pipe(Saga.on(ShipOrder, { id: (event) => event.orderId, handle: (state) => Effect.succeed(state) }))

// @refused "PlaceOrder declares an error that its sender could never see, so it cannot be asynchronous
// @refused publish an event"
started.pipe(
  Saga.on(PlaceOrder, { id: (command) => command.orderId, handle: (state) => Effect.succeed(state) }),
  Handler.asynchronous(OrdersChannel)
)

// @refused Property 'state' is missing in type 'Handler<typeof OrderPlaced, MailError, Mailer, "Synchronous">'
Saga.get(mail, orderId)

// @refused Property 'state' is missing in type 'Handler<typeof OrderPlaced | typeof PaymentReceived
Saga.get(fulfilOrders, orderId)

// @refused 'orderId' does not exist in type 'Schema<any, any, unknown>'
Saga.make("Plain", { state: { orderId: Schema.String } })

// -----------------------------------------------------------------------------
// timeouts
// -----------------------------------------------------------------------------

// @refused Type 'CurrentSaga' is not assignable to type 'never'
Saga.arm("payment", "24 hours").pipe(Effect.runPromise)

// @refused Type 'CurrentSaga' is not assignable to type 'never'
Effect.runPromise(Saga.cancel("payment"))

// @refused Type 'CurrentSaga' is not assignable to type 'never'
Handler.layer(Handler.event(OrderPlaced, { name: "Arms", handle: () => Saga.arm("payment", "1 day") })).pipe(
  Layer.launch,
  Effect.runPromise
)

// @refused Argument of type '"tomorrow"' is not assignable to parameter of type 'When'
Saga.arm("payment", "tomorrow")

// @refused Argument of type '(count: any) => Effect<any, never, never>'
counting.pipe(Saga.onTimeout("payment", (count) => Effect.succeed(count)))
