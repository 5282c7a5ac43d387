/**
 * What the types refuse of handlers that return messages, of handlers of several commands, and of error channels, with
 * the wording.
 */
import { Channel, CommandBus, DeadLetter, EventBus, Handler, Message, MessageBus } from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import {
  Anything,
  counting,
  fulfilOrders,
  GetTotal,
  getTotal,
  OrderPlaced,
  OrdersChannel,
  OutOfStock,
  orderId,
  Pay,
  PaymentReceived,
  PlaceOrder,
  placeOrder,
  ShipOrder,
  Shipping,
  ship,
  shipOrder,
  Tick
} from "./fixtures.ts"

class Close extends Message.Command<Close>()("Close", {
  success: Schema.Struct({ status: Schema.Literal("open", "closed") })
}) {}

const placed = new OrderPlaced({ orderId, total: 1 })
const returning = Handler.command(ShipOrder, () => Effect.succeed(placed))
const paying = Handler.command(Pay, () => Effect.succeed(new PlaceOrder({ orderId, total: 1 })))

// -----------------------------------------------------------------------------
// returned messages
// -----------------------------------------------------------------------------

// @refused "The handler of ShipOrder returns OrderPlaced, and nothing says where it goes: add Handler.outputTo"
Handler.layer(returning)

// @refused "The handler of ShipOrder returns OrderPlaced, and nothing says where it goes: add Handler.outputTo before Handler.asynchronous"
returning.pipe(Handler.asynchronous(OrdersChannel))

// @refused "The handler of Tick returns OrderPlaced, and nothing says where it goes: add Handler.outputTo"
Handler.layer(Handler.event(Tick, { name: "OnTick", handle: () => Effect.succeed([placed]) }))

// @refused Only a handler with a channel can be delayed: add Handler.asynchronous first
returning.pipe(Handler.delay("1 second"))

// @refused Type 'Handler<typeof ShipOrder, never, never, Returns<OrderPlaced>>' is not assignable to type 'Handler<typeof ShipOrder, never, never, "Synchronous">'
export const annotated: Handler.Handler<typeof ShipOrder> = returning

// @refused "The handler of ShipOrder returns no message that Handler.outputTo could send: return one, or remove it"
ship.pipe(Handler.outputTo(OrderPlaced))

// @refused "The handler of ShipOrder returns no message that Handler.outputTo could send: return one, or remove it"
Handler.outputTo(shipOrder, OrderPlaced)

// @refused "The handler of GetTotal returns no message that Handler.outputTo could send: return one, or remove it"
getTotal.pipe(Handler.outputTo(OrderPlaced))

// @refused returns no message that Handler.outputTo could send: return one, or remove it"
counting.pipe(Handler.outputTo(ShipOrder))

// @refused "The handler of ShipOrder returns no message that Handler.outputTo could send: return one, or remove it"
returning.pipe(Handler.outputTo(OrderPlaced), Handler.outputTo(OrderPlaced))

// @refused "The handler of ShipOrder returns OrderPlaced, which its Handler.outputTo does not list"
returning.pipe(Handler.outputTo(Tick))

// @refused "The handler of ShipOrder returns OrderPlaced, which its Handler.outputTo does not list"
Handler.outputTo(returning, [Tick, PaymentReceived])

// @refused "The handler of Tick returns Tick, which its Handler.outputTo does not list"
Handler.event(Tick, { name: "OnTick", handle: () => Effect.succeed([placed, new Tick()]) }).pipe(
  Handler.outputTo(OrderPlaced)
)

// @refused Type '"Query"' is not assignable to type '"Event"'
returning.pipe(Handler.outputTo(GetTotal))

// @refused Type 'OrderPlaced' is not assignable to type 'number'
Handler.query(GetTotal, () => Effect.succeed(placed))

// @refused "PlaceOrder does not answer what Pay replies, so it cannot be its output"
paying.pipe(Handler.outputTo(PlaceOrder))

// @refused "OrderPlaced does not answer what Pay replies, so it cannot be its output"
Handler.command(Pay, () => Effect.succeed(placed)).pipe(Handler.outputTo(OrderPlaced))

// @refused "Pay replies, so its handler returns one message, whose answer is its own"
Handler.command(Pay, () => Effect.succeed([new Pay({ orderId })])).pipe(Handler.outputTo(Pay))

// @refused Type 'string' is not assignable to type 'number'
Handler.command(Pay, ({ orderId }) => (orderId === "" ? Effect.succeed("no") : Effect.succeed("none")))

// @refused "The handler of ShipOrder fails with OutOfStock, which ShipOrder does not declare"
Handler.layer(
  Handler.command(ShipOrder, () => Effect.succeed(new PlaceOrder({ orderId, total: 1 }))).pipe(
    Handler.outputTo(PlaceOrder)
  )
)

// @refused Type '"opened"' is not assignable to type '"closed" | "open"'. Did you mean '"open"'?
Handler.command(Close, () => Effect.succeed({ status: "opened" }))

// @refused Type 'Handles<"ShipOrder">' is not assignable to type 'never'
Effect.runPromise(
  CommandBus.send(new PlaceOrder({ orderId, total: 1 })).pipe(
    Effect.provide(
      Handler.layer(
        Handler.command(PlaceOrder, () => Effect.succeed(new ShipOrder({ orderId }))).pipe(Handler.outputTo(ShipOrder))
      ).pipe(Layer.provideMerge(MessageBus.layerMemory))
    )
  )
)

// -----------------------------------------------------------------------------
// several commands
// -----------------------------------------------------------------------------

// @refused "Pay replies, so it has a handler of its own: use Handler.command"
Handler.commands([ShipOrder, Pay], { name: "Several", handle: () => Effect.void })

// @refused Type '"Event"' is not assignable to type '"Command"'
Handler.commands([ShipOrder, Tick], { name: "Several", handle: () => Effect.void })

// @refused Property 'name' is missing in type '{ handle: () => Effect.Effect<void, never, never>; }'
Handler.commands([ShipOrder], { handle: () => Effect.void })

// @refused "The handler of ShipOrder fails with OutOfStock, which ShipOrder does not declare"
Handler.layer(Handler.commands([PlaceOrder, ShipOrder], { name: "Several", handle: () => new OutOfStock({ orderId }) }))

// @refused "PlaceOrder declares an error that its sender could never see, so it cannot be asynchronous
Handler.commands([PlaceOrder, ShipOrder], { name: "Several", handle: () => Effect.void }).pipe(
  Handler.asynchronous(Anything)
)

// -----------------------------------------------------------------------------
// error channels and dead letters
// -----------------------------------------------------------------------------

class Errors extends Channel.Tag<Errors>()("shop/Errors", { messages: [DeadLetter.MessageFailed] }) {}

// @refused "shop/Shipping does not carry MessageFailed, so it cannot be an error channel: add it to its messages"
export class Deaf extends Channel.Tag<Deaf>()("shop/Deaf", { errorChannel: Shipping }) {}

// @refused "shop/Errors cannot be its own error channel: what fails there would be told to what fails there"
export class Mirror extends Channel.Tag<Mirror>()("shop/Errors", { errorChannel: Errors }) {}

// @refused "shop/Shipping does not carry MessageFailed, so it cannot be an error channel: add it to its messages"
shipOrder.pipe(Handler.errorChannel(Shipping))

// @refused "shop/Shipping does not carry MessageFailed, so it cannot be an error channel: add it to its messages"
Handler.errorChannel(shipOrder, Shipping)

// @refused "shop/Anything is the channel of this handler, so it cannot be its error channel: its failures need another"
ship.pipe(Handler.asynchronous(Anything), Handler.errorChannel(Anything))

const told = Handler.layer(shipOrder.pipe(Handler.errorChannel(Errors))).pipe(
  Layer.provideMerge(MessageBus.layerMemory),
  Layer.provide(Channel.layerMemory(OrdersChannel))
)

// @refused Type 'Errors & FailuresOnly' is not assignable to type 'never'
CommandBus.send(new ShipOrder({ orderId })).pipe(Effect.provide(told), Effect.runPromise)

// @refused "Only a handler with a channel can be given an error channel: add Handler.asynchronous first"
placeOrder.pipe(Handler.errorChannel(Errors))

// @refused "Only a handler with a channel can be given a dead-letter policy: add Handler.asynchronous first"
placeOrder.pipe(Handler.deadLetter({ onGivenUp: "Discard" }))

// @refused "Only a handler with a channel can be given a dead-letter policy: add Handler.asynchronous first"
Handler.deadLetter(placeOrder, { afterCrashes: 1 })

// @refused 'unknownEndpointAfter' does not exist in type 'DeadLetterOptions'
fulfilOrders.pipe(Handler.deadLetter({ unknownEndpointAfter: "1 hour" }))

// @refused Type '"Retry"' is not assignable to type 'OnGivenUp | undefined'
shipOrder.pipe(Handler.deadLetter({ onGivenUp: "Retry" }))

// @refused Type 'string' is not assignable to type 'Date | DateTime | undefined'
EventBus.publish(new Tick(), { at: "10 minutes" })
