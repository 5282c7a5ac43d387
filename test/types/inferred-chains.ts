/**
 * What the compiler infers of handlers that return messages, of handlers of several commands, and of error channels,
 * pinned. Compiled, never run.
 */
import type { CommandBus, Envelope, EventBus, HandlerRegistry, MessageStore, MessagingError } from "@holdfast/core"
import { Channel, DeadLetter, Handler, Message, Saga } from "@holdfast/core"
import { Effect, Layer, Schedule, Schema } from "effect"
import { equal, ok } from "./equal.ts"
import {
  OrderPlaced,
  Orders,
  OrdersChannel,
  OutOfStock,
  orderId,
  Pay,
  PaymentReceived,
  PlaceOrder,
  ShipOrder,
  shipOrder,
  Tick
} from "./fixtures.ts"

const Status = Schema.Literal("open", "closed")
class Close extends Message.Command<Close>()("Close", { success: Schema.Struct({ status: Status }) }) {}
class Toggle extends Message.Command<Toggle>()("Toggle", { payload: { on: Schema.Boolean }, success: Status }) {}
class Bill extends Message.Command<Bill>()("Bill", { success: Schema.Number, error: OutOfStock }) {}
class Echo extends Message.Command<Echo>()("Echo", { success: OrderPlaced }) {}

const ship = new ShipOrder({ orderId })
const placed = new OrderPlaced({ orderId, total: 1 })

type Synchronous<M extends Message.AnyClass, E = never, R = never> = Handler.Handler<M, E, R, "Synchronous">
type Returning<M extends Message.AnyClass, Next, E = never, R = never> = Handler.Handler<M, E, R, Handler.Returns<Next>>

// -----------------------------------------------------------------------------
// replies
// -----------------------------------------------------------------------------

// Literals are inferred by the reply, in whatever shape the handler is written.
ok(equal<Synchronous<typeof Close>>()(Handler.command(Close, () => Effect.succeed({ status: "open" }))))
ok(equal<Synchronous<typeof Close>>()(Handler.command(Close, (_) => Effect.succeed({ status: "open" }))))
ok(
  equal<Synchronous<typeof Close>>()(Handler.command(Close, () => Effect.map(Effect.void, () => ({ status: "open" }))))
)
ok(equal<Synchronous<typeof Toggle>>()(Handler.command(Toggle, () => Effect.succeed("open"))))
ok(
  equal<Synchronous<typeof Toggle>>()(
    Handler.command(Toggle, ({ on }) => (on ? Effect.succeed("open") : Effect.succeed("closed")))
  )
)
ok(
  equal<Synchronous<typeof Toggle, "no">>()(
    Handler.command(Toggle, ({ on }) => (on ? Effect.succeed("open") : Effect.fail("no" as const)))
  )
)
ok(
  equal<Synchronous<typeof Close, never, Orders>>()(
    Handler.command(Close, () =>
      Effect.gen(function* () {
        yield* Orders
        return { status: "open" }
      })
    )
  )
)
ok(
  equal<Synchronous<typeof Close, never, Orders>>()(
    Handler.command(
      Close,
      Effect.fn("close")(function* (command, envelope) {
        ok(equal<Close>()(command))
        ok(equal<Envelope.Metadata>()(envelope))
        yield* Orders
        return { status: "open" }
      })
    )
  )
)

// A handler that always fails, or never ends, answers nothing else.
ok(equal<Synchronous<typeof Pay, OutOfStock>>()(Handler.command(Pay, () => new OutOfStock({ orderId }))))
ok(equal<Synchronous<typeof Pay>>()(Handler.command(Pay, () => Effect.never)))

// A reply that is itself a message is the answer; what is not known is no message.
ok(equal<Synchronous<typeof Echo>>()(Handler.command(Echo, () => Effect.succeed(placed))))
ok(equal<Synchronous<typeof Pay>>()(Handler.command(Pay, () => Effect.succeed({} as any))))

// -----------------------------------------------------------------------------
// returned messages
// -----------------------------------------------------------------------------

const one = Handler.command(ShipOrder, () => Effect.succeed(placed))
ok(equal<Returning<typeof ShipOrder, OrderPlaced>>()(one))
ok(equal<Returning<typeof Bill, Close>>()(Handler.command(Bill, () => Effect.succeed(new Close()))))
ok(
  equal<Returning<typeof Tick, ShipOrder | OrderPlaced>>()(
    Handler.event(Tick, {
      name: "OnTick",
      handle: Effect.fn("tick")(function* (_, { attempt }) {
        yield* Effect.void
        if (attempt === 1) return ship
        if (attempt === 2) return placed
        return undefined
      })
    })
  )
)
ok(
  equal<Returning<typeof Tick, ShipOrder | OrderPlaced>>()(
    Handler.event(Tick, {
      name: "OnTick",
      handle: (_, { attempt }) => (attempt === 1 ? Effect.succeed(ship) : Effect.succeed(placed))
    })
  )
)
ok(
  equal<Returning<typeof Tick, Array<ShipOrder>, never, Orders>>()(
    Handler.event([Tick], { name: "OnTick", handle: () => Effect.forEach([1, 2], () => Effect.as(Orders, ship)) })
  )
)
// The reply beside a message.
ok(equal<Returning<typeof Bill, Toggle>>()(Handler.command(Bill, () => Effect.succeed(1 as number | Toggle))))

// A test may run the function itself, and sees the message.
ok(equal<Effect.Effect<void | OrderPlaced>>()(one.handle(ship, {} as Envelope.Metadata)))

// Combinators that need no channel pass it through.
ok(equal<typeof one>()(one.pipe(Handler.retry(Schedule.recurs(1)))))

// -----------------------------------------------------------------------------
// outputTo
// -----------------------------------------------------------------------------

type Shipped = Synchronous<typeof ShipOrder, MessagingError.MessagingError, EventBus.EventBus>
ok(equal<Shipped>()(one.pipe(Handler.outputTo(OrderPlaced))))
ok(equal<Shipped>()(Handler.outputTo(one, OrderPlaced)))
ok(equal<Shipped>()(Handler.outputTo(one, [OrderPlaced, PaymentReceived])))

// A command brings its bus, its handler and its errors; several bring all of theirs.
ok(
  equal<
    Synchronous<
      typeof OrderPlaced,
      OutOfStock | MessagingError.MessagingError,
      CommandBus.CommandBus | Handler.Handles<"PlaceOrder"> | Handler.Handles<"ShipOrder"> | EventBus.EventBus
    >
  >()(
    Handler.event(OrderPlaced, {
      name: "Next",
      handle: () => Effect.succeed([ship, new Tick(), new PlaceOrder({ orderId, total: 1 })])
    }).pipe(Handler.outputTo([ShipOrder, Tick, PlaceOrder]))
  )
)

// An event that nobody may handle brings what its schema needs; a command's handler has that.
declare const Secret: Schema.Schema<string, string, Orders>
class Hidden extends Message.Event<Hidden>()("Hidden", { payload: { secret: Secret } }) {}
class Hide extends Message.Command<Hide>()("Hide", { payload: { secret: Secret } }) {}
ok(
  equal<
    Synchronous<
      typeof Tick,
      MessagingError.MessagingError,
      CommandBus.CommandBus | Handler.Handles<"Hide"> | EventBus.EventBus | Orders
    >
  >()(
    Handler.event(Tick, {
      name: "OnTick",
      handle: () => Effect.succeed([new Hidden({ secret: "" }), new Hide({ secret: "" })])
    }).pipe(Handler.outputTo([Hidden, Hide]))
  )
)
ok(
  equal<Synchronous<typeof Tick, MessagingError.MessagingError, CommandBus.CommandBus | Handler.Handles<"Hide">>>()(
    Handler.event(Tick, { name: "OnTick", handle: () => Effect.succeed(new Hide({ secret: "" })) }).pipe(
      Handler.outputTo(Hide)
    )
  )
)

// The next command answers what this one replies.
class Charge extends Message.Command<Charge>()("Charge", { success: Schema.NumberFromString }) {}
const chained = Handler.command(Bill, () => Effect.succeed(new Charge())).pipe(Handler.outputTo(Charge))
ok(
  equal<
    Layer.Layer<
      Handler.Handles<"Bill">,
      never,
      HandlerRegistry.HandlerRegistry | CommandBus.CommandBus | Handler.Handles<"Charge">
    >
  >()(Handler.layer(chained))
)
ok(
  equal<
    Layer.Layer<
      Handler.Handles<"Bill"> | Handler.Handles<"Charge">,
      never,
      HandlerRegistry.HandlerRegistry | CommandBus.CommandBus
    >
  >()(
    Handler.layer(
      chained,
      Handler.command(Charge, () => Effect.succeed(1))
    )
  )
)

// Then it may travel.
ok(
  equal<
    Handler.Handler<
      typeof OrderPlaced,
      MessagingError.MessagingError,
      CommandBus.CommandBus | Handler.Handles<"ShipOrder"> | OrdersChannel,
      "Asynchronous"
    >
  >()(
    Handler.event(OrderPlaced, { name: "Next", handle: () => Effect.succeed(ship) }).pipe(
      Handler.outputTo(ShipOrder),
      Handler.asynchronous(OrdersChannel)
    )
  )
)

// -----------------------------------------------------------------------------
// several commands
// -----------------------------------------------------------------------------

const several = Handler.commands([ShipOrder, PlaceOrder], {
  name: "Several",
  handle: (command, envelope) => {
    ok(equal<ShipOrder | PlaceOrder>()(command))
    ok(equal<Envelope.Metadata>()(envelope))
    return Effect.log(command._tag === "PlaceOrder" ? command.total : command.orderId)
  }
})
ok(equal<Synchronous<typeof ShipOrder | typeof PlaceOrder>>()(several))
ok(
  equal<
    Layer.Layer<Handler.Handles<"ShipOrder"> | Handler.Handles<"PlaceOrder">, never, HandlerRegistry.HandlerRegistry>
  >()(Handler.layer(several))
)
ok(
  equal<Returning<typeof ShipOrder, OrderPlaced, never, Orders>>()(
    Handler.commands([ShipOrder], { name: "Several", handle: () => Effect.as(Orders, placed) })
  )
)

// -----------------------------------------------------------------------------
// envelopes in sagas
// -----------------------------------------------------------------------------

Saga.make("Looking", { state: Schema.Number }).pipe(
  Saga.startOn(Tick, {
    id: () => "1",
    handle: (message, envelope) => {
      ok(equal<Tick>()(message))
      ok(equal<Envelope.Metadata>()(envelope))
      return Effect.succeed(1)
    }
  }),
  Saga.on(OrderPlaced, {
    id: () => "1",
    handle: Effect.fn("on")(function* (state, message, envelope) {
      ok(equal<number>()(state))
      ok(equal<OrderPlaced>()(message))
      ok(equal<Envelope.Metadata>()(envelope))
      return yield* Effect.succeed(1)
    })
  }),
  Saga.onTimeout("late", {
    handle: (state, envelope) => {
      ok(equal<number>()(state))
      ok(equal<Envelope.Metadata>()(envelope))
      return Effect.succeed(1)
    }
  })
)

// -----------------------------------------------------------------------------
// error channels and dead letters
// -----------------------------------------------------------------------------

class Errors extends Channel.Tag<Errors>()("shop/Errors", { messages: [DeadLetter.MessageFailed, Tick] }) {}
class Everything extends Channel.Tag<Everything>()("shop/Everything") {}
class Told extends Channel.Tag<Told>()("shop/Told", { messages: [ShipOrder], errorChannel: Errors }) {}
ok(equal<ReadonlyArray<typeof ShipOrder>>()(Told.messages))

// The channel is needed, but nothing is handled on it.
const told = shipOrder.pipe(Handler.errorChannel(Errors))
ok(
  equal<Handler.Handler<typeof ShipOrder, never, OrdersChannel | (Errors & Handler.FailuresOnly), "Asynchronous">>()(
    told
  )
)
ok(equal<typeof told>()(Handler.errorChannel(shipOrder, Errors)))
Handler.errorChannel(shipOrder, Everything)
ok(
  equal<
    Layer.Layer<
      Handler.Handles<"ShipOrder"> | Handler.HandledOn<OrdersChannel>,
      never,
      HandlerRegistry.HandlerRegistry | OrdersChannel | (Errors & Handler.FailuresOnly)
    >
  >()(Handler.layer(told))
)
ok(
  equal<
    Layer.Layer<
      Handler.Handles<"ShipOrder"> | Handler.HandledOn<OrdersChannel>,
      never,
      HandlerRegistry.HandlerRegistry | OrdersChannel
    >
  >()(Handler.layer(told).pipe(Layer.provide(Channel.layerMemory(Errors))))
)
ok(
  equal<Layer.Layer<Handler.Handles<"ShipOrder">, never, HandlerRegistry.HandlerRegistry | OrdersChannel>>()(
    Handler.routes(told)
  )
)

ok(equal<typeof shipOrder>()(shipOrder.pipe(Handler.deadLetter({ onGivenUp: "Discard" }))))
ok(equal<typeof shipOrder>()(Handler.deadLetter(shipOrder, { afterCrashes: 1 })))
ok(equal<MessageStore.ParkReason>()({} as DeadLetter.MessageFailed["reason"]))
