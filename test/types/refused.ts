/**
 * What the types refuse of messages, handlers and buses, with the wording.
 */
import { Channel, CommandBus, EventBus, Handler, Message, QueryBus } from "@holdfast/core"
import { Effect, flow, Layer, Schedule, Schema } from "effect"
import {
  Anything,
  GetTotal,
  getTotal,
  MailError,
  type Mailer,
  mail,
  OrderPlaced,
  Orders,
  OrdersChannel,
  OutOfStock,
  orderId,
  Pay,
  PaymentReceived,
  PlaceOrder,
  pay,
  placeOrder,
  ShipOrder,
  Shipping,
  sendConfirmation,
  ship,
  shipOrder,
  Tick
} from "./fixtures.ts"

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

// @refused "Missing `Self` generic - use `class Self extends Message.Command<Self>()(\"Tag\", { ... }) {}`"
export class SelflessCommand extends Message.Command()("SelflessCommand", {}) {}

// @refused "Missing `Self` generic - use `class Self extends Message.Query<Self>()(\"Tag\", { ... }) {}`"
export class SelflessQuery extends Message.Query()("SelflessQuery", { success: Schema.Number }) {}

// @refused "Missing `Self` generic - use `class Self extends Message.Event<Self>()(\"Tag\", { ... }) {}`"
export class SelflessEvent extends Message.Event()("SelflessEvent", {}) {}

// @refused Type '"GBP"' is not assignable to type '"EUR" | "USD"'.
export class Mistaken extends Message.Event<Mistaken>()("Mistaken", {
  version: 2,
  payload: { currency: Schema.Literal("EUR", "USD") },
  upcasters: { 1: Message.upcaster(Schema.Struct({}), () => ({ currency: "GBP" })) }
}) {}

// @refused Property 'currency' is missing in type '{ readonly id: string; }' but required in type '{ readonly currency: string; }'.
export class Forgetful extends Message.Command<Forgetful>()("Forgetful", {
  version: 2,
  payload: { id: Schema.String, currency: Schema.String },
  upcasters: { 1: Schema.Struct({ id: Schema.String }) }
}) {}

// @refused Type 'Mailer' is not assignable to type 'never'.
export class Mailing extends Message.Event<Mailing>()("Mailing", {
  version: 2,
  payload: { id: Schema.String },
  upcasters: { 1: {} as Schema.Schema<{ readonly id: string }, unknown, Mailer> }
}) {}

// @refused 'version' does not exist in type
export class Stored extends Message.Query<Stored>()("Stored", { version: 2, success: Schema.Number }) {}

// @refused Property 'success' is missing in type '{ payload: { orderId: typeof Schema.String; }; }'
export class Answerless extends Message.Query<Answerless>()("Answerless", { payload: { orderId: Schema.String } }) {}

// @refused 'error' does not exist in type '{ readonly payload?: {};
export class Refusable extends Message.Event<Refusable>()("Refusable", { payload: {}, error: OutOfStock }) {}

// @refused Property 'total' is missing in type '{ orderId: string & Brand<"OrderId">; }'
new PlaceOrder({ orderId })

// @refused Type 'string' is not assignable to type 'Brand<"OrderId">'
new PlaceOrder({ orderId: "A1", total: 1 })

// -----------------------------------------------------------------------------
// handlers
// -----------------------------------------------------------------------------

// @refused Property 'nope' does not exist on type 'PlaceOrder'
Handler.command(PlaceOrder, (command) => Effect.log(command.nope))

// @refused Type 'string' is not assignable to type 'number'
Handler.query(GetTotal, () => Effect.succeed("1"))

// @refused Type 'void' is not assignable to type 'number'
Handler.command(Pay, () => Effect.void)

// @refused Type '"Event"' is not assignable to type '"Command"'
Handler.command(OrderPlaced, () => Effect.void)

// @refused Type '"Command"' is not assignable to type '"Query"'
Handler.query(PlaceOrder, () => Effect.void)

// @refused Type '"Command"' is not assignable to type '"Event"'
Handler.event(ShipOrder, { name: "OnShip", handle: () => Effect.void })

// @refused Property 'name' is missing in type '{ handle: () => Effect.Effect<void, never, never>; }'
Handler.event(OrderPlaced, { handle: () => Effect.void })

// @refused Property 'total' does not exist on type 'PaymentReceived'
Handler.event([OrderPlaced, PaymentReceived], { name: "Audit", handle: (event) => Effect.log(event.total) })

// @refused Type 'Promise<void>' is missing the following properties from type 'Effect<void, unknown, unknown>'
Handler.command(ShipOrder, async () => {})

// -----------------------------------------------------------------------------
// asynchronous
// -----------------------------------------------------------------------------

// @refused "shop/Shipping does not carry OrderPlaced"
mail.pipe(Handler.asynchronous(Shipping))

// @refused "shop/Shipping does not carry OrderPlaced"
mail.pipe(flow(Handler.asynchronous(Shipping), Handler.retry(Schedule.recurs(3))))

// @refused "shop/Shipping does not carry OrderPlaced"
Handler.asynchronous(mail, Shipping)

// @refused "shop/OrdersChannel does not carry Tick"
Handler.event([OrderPlaced, Tick], { name: "Audit", handle: () => Effect.void }).pipe(
  Handler.asynchronous(OrdersChannel)
)

// @refused "GetTotal replies, so it cannot be asynchronous"
getTotal.pipe(Handler.asynchronous(Anything))

// @refused "Pay replies, so it cannot be asynchronous"
pay.pipe(Handler.asynchronous(Anything))

// @refused "PlaceOrder declares an error that its sender could never see, so it cannot be asynchronous: publish an event"
placeOrder.pipe(Handler.asynchronous(Anything))

// @refused is missing the following properties from type 'TagClass<Orders, "shop/Orders", AnyClass>': [TypeId]
ship.pipe(Handler.asynchronous(Orders))

// @refused is missing the following properties from type 'TagClass<Orders, "shop/Orders", AnyClass>': [TypeId]
Channel.layerMemory(Orders)

// @refused "Missing `Self` generic - use `class Self extends Channel.Tag<Self>()(\"key\", { ... }) {}`"
export class SelflessChannel extends Channel.Tag()("SelflessChannel") {}

// @refused Type 'Orders' is not assignable to type 'never'
export class Needy extends Channel.Tag<Needy>()("Needy", { retry: {} as Schedule.Schedule<number, unknown, Orders> }) {}

// -----------------------------------------------------------------------------
// delay, retry, deduplicate
// -----------------------------------------------------------------------------

// @refused "Only a handler with a channel can be delayed: add Handler.asynchronous first"
placeOrder.pipe(Handler.delay("1 second"))

// @refused "Only a handler with a channel can be delayed: add Handler.asynchronous first"
Handler.delay(placeOrder, "1 second")

// @refused "Only a handler with a channel can be given a priority: add Handler.asynchronous first"
placeOrder.pipe(Handler.priority(1))

// @refused "Only a handler with a channel can be given a time to live: add Handler.asynchronous first"
placeOrder.pipe(Handler.timeToLive("1 minute"))

// @refused "Only a handler with a channel can be given a rate limit: add Handler.asynchronous first"
placeOrder.pipe(Handler.rateLimit({ limit: 1, interval: "1 second" }))

// @refused "Only a handler with a channel can be given a concurrency limit: add Handler.asynchronous first"
placeOrder.pipe(Handler.concurrencyLimit({ limit: 1 }))

// @refused "Only a handler with a channel can be given a circuit breaker: add Handler.asynchronous first"
Handler.circuitBreaker(placeOrder, { failures: 1, openFor: "1 second" })

// @refused "Only a handler with a channel can be ordered: add Handler.asynchronous first"
placeOrder.pipe(Handler.orderedBy(() => "A1"))

// @refused "Only a handler with a channel can be ordered: add Handler.asynchronous first"
Handler.orderedBy(placeOrder, () => "A1")

// @refused Type 'number' is not assignable to type 'string'
shipOrder.pipe(Handler.orderedBy(() => 1))

// @refused Property 'nope' does not exist on type 'ShipOrder'
shipOrder.pipe(Handler.orderedBy((message) => message.nope))

// @refused "The handler of PlaceOrder fails with TimeoutException, which PlaceOrder does not declare"
Handler.layer(placeOrder.pipe(Handler.timeout("1 second")))

// @refused Argument of type '"soon"' is not assignable to parameter of type 'When'
shipOrder.pipe(Handler.delay("soon"))

// @refused Property 'nope' does not exist on type 'ShipOrder'
shipOrder.pipe(Handler.delay((message) => message.nope))

// @refused Argument of type '(message: ShipOrder) => string & Brand<"OrderId">' is not assignable
shipOrder.pipe(Handler.delay((message) => message.orderId))

// @refused Argument of type '"soon"' is not assignable to parameter of type '((message: ShipOrder) => When) | When'
Handler.delay(shipOrder, "soon")

// @refused Type 'string & Brand<"OrderId">' is not assignable to type 'readonly [seconds: number, nanos: number]'
Handler.delay(shipOrder, (message) => message.orderId)

// @refused Type 'MailError' is not assignable to type 'string'
sendConfirmation.pipe(Handler.retry(Schedule.recurWhile((error: string) => error === "")))

// @refused Type 'MailError' is not assignable to type 'string'
Handler.retry(
  sendConfirmation,
  Schedule.recurWhile((error: string) => error === "")
)

// @refused Type 'Orders' is not assignable to type 'never'
sendConfirmation.pipe(Handler.retry({} as Schedule.Schedule<number, unknown, Orders>))

// @refused Type 'Orders' is not assignable to type 'never'
Handler.retry(sendConfirmation, {} as Schedule.Schedule<number, unknown, Orders>)

// @refused Argument of type 'number' is not assignable to parameter of type 'RetryOptions<MailError> | Schedule<unknown, MailError, never>'
sendConfirmation.pipe(Handler.retry(3))

// @refused "Pay replies, so a duplicate would have no answer: send it with an idempotencyKey"
pay.pipe(Handler.deduplicate({ key: (message) => message.orderId }))

// @refused "Pay replies, so a duplicate would have no answer: send it with an idempotencyKey"
Handler.deduplicate(pay, { key: (message) => message.orderId })

// @refused Property 'nope' does not exist on type 'ShipOrder'
shipOrder.pipe(Handler.deduplicate({ key: (message) => message.nope }))

// @refused "messageVersion is set by the runtime"
EventBus.publish(new Tick(), { headers: { messageVersion: "2" } })

// @refused Type 'number' is not assignable to type 'string'
shipOrder.pipe(Handler.deduplicate({ key: () => 1 }))

// @refused "Pay replies, so a duplicate would have no answer: send it with an idempotencyKey"
pay.pipe(Handler.deduplicate())

// @refused Type '"Ignore"' is not assignable to type '"Answer" | "Reject" | undefined'
CommandBus.send(new Pay({ orderId }), { idempotencyKey: { key: "1", onOtherPayload: "Ignore" } })

// -----------------------------------------------------------------------------
// layers of handlers
// -----------------------------------------------------------------------------

// @refused "The handler of ShipOrder fails with OutOfStock, which ShipOrder does not declare"
Handler.layer(Handler.command(ShipOrder, () => new OutOfStock({ orderId })))

// @refused "The handler of GetTotal fails with OutOfStock, which GetTotal does not declare"
Handler.layer(Handler.query(GetTotal, () => new OutOfStock({ orderId })))

// @refused "The handler of ShipOrder fails with an untagged error, which ShipOrder does not declare"
Handler.layer(Handler.command(ShipOrder, () => Effect.fail("no")))

// @refused "The handler of PlaceOrder fails with MailError, which PlaceOrder does not declare"
Handler.layer(Handler.command(PlaceOrder, () => new MailError({ cause: 1 })))

// @refused "A handler of OrderPlaced fails with MailError, which its publisher cannot see: catch it, or add Handler.asynchronous"
Handler.layer(mail)

// @refused "A handler of OrderPlaced fails with MailError, which its publisher cannot see
// @refused catch it, or add Handler.asynchronous"
Handler.layer(placeOrder, sendConfirmation, mail)

// @refused "A handler of Tick fails with OutOfStock, which its publisher cannot see
// @refused catch it, or add Handler.asynchronous"
Handler.layer(Handler.event([OrderPlaced, Tick], { name: "Audit", handle: () => new OutOfStock({ orderId }) }))

// @refused "A handler of Tick fails with an untagged error, which its publisher cannot see
// @refused catch it, or add Handler.asynchronous"
Handler.layer(Handler.event(Tick, { name: "OnTick", handle: () => Effect.fail("no") }))

// @refused "A handler of OrderPlaced fails with MailError, which its publisher cannot see
// @refused catch it, or add Handler.asynchronous"
Handler.layer(mail.pipe(Handler.retry(Schedule.recurs(3))))

// @refused "The handler of ShipOrder fails with OutOfStock, which ShipOrder does not declare"
Handler.layer(Handler.command(ShipOrder, (): Effect.Effect<void, OutOfStock | MailError> => Effect.void))

// @refused Type 'Effect<void, never, never>' is missing the following properties from type 'Handler<any
Handler.layer(Effect.void)

// @refused Type 'typeof ShipOrder' is missing the following properties from type 'Handler<any
Handler.layer(ShipOrder)

// @refused Type 'Layer<never, never, never>' is missing the following properties from type 'Handler<any
Handler.layer(placeOrder, Layer.empty)

// @refused "A handler of ShipOrder has no channel, so it cannot run elsewhere: add Handler.asynchronous"
Handler.routes(ship)

// @refused "A handler of PlaceOrder has no channel, so it cannot run elsewhere: add Handler.asynchronous"
Handler.routes(shipOrder, placeOrder)

// -----------------------------------------------------------------------------
// buses
// -----------------------------------------------------------------------------

// @refused Type '"Event"' is not assignable to type '"Command"'
CommandBus.send(new OrderPlaced({ orderId, total: 1 }))

// @refused Type '"Query"' is not assignable to type '"Command"'
CommandBus.send(new GetTotal({ orderId }))

// @refused Type '"Command"' is not assignable to type '"Event"'
EventBus.publish(new ShipOrder({ orderId }))

// @refused Type '"Command"' is not assignable to type '"Query"'
QueryBus.ask(new PlaceOrder({ orderId, total: 1 }))

// @refused 'orderId' does not exist in type 'Message<"Command", string, any, any, any>'
CommandBus.send({ _tag: "ShipOrder", orderId })

// @refused Property '[TypeId]' is missing in type 'typeof ShipOrder'
CommandBus.send(ShipOrder)

// @refused "causationId is set by the runtime"
CommandBus.send(new ShipOrder({ orderId }), { headers: { causationId: "1" } })

// @refused "timestamp is set by the runtime"
CommandBus.send(new ShipOrder({ orderId }), { headers: { timestamp: "1" } })

// @refused "traceparent is set by the runtime"
CommandBus.send(new ShipOrder({ orderId }), { headers: { traceparent: "1" } })

// @refused "replayedAt is set by the runtime"
EventBus.publish(new Tick(), { headers: { replayedAt: "1" } })

// @refused Type 'number' is not assignable to type 'string'
QueryBus.ask(new GetTotal({ orderId }), { headers: { tenant: 1 } })

// @refused Object literal may only specify known properties, and 'wait' does not exist in type 'SendOptions'
CommandBus.send(new ShipOrder({ orderId }), { wait: true })

// @refused Type '"soon"' is not assignable to type 'When | undefined'
CommandBus.send(new ShipOrder({ orderId }), { delay: "soon" })

// @refused Type 'string' is not assignable to type 'Date | DateTime | undefined'
CommandBus.send(new ShipOrder({ orderId }), { at: "10 minutes" })

// @refused Type 'string' is not assignable to type 'number'
CommandBus.send(new ShipOrder({ orderId }), { priority: "high" })

// @refused "a key is of one command: use CommandBus.send"
CommandBus.sendAll([new ShipOrder({ orderId })], { idempotencyKey: "1" })

// @refused Type '"Event"' is not assignable to type '"Command"'
CommandBus.sendAll([new OrderPlaced({ orderId, total: 1 })])

// @refused Type '"Command"' is not assignable to type '"Event"'
EventBus.publishAll([new ShipOrder({ orderId })])

// @refused 'idempotencyKey' does not exist in type 'PublishOptions'
EventBus.publish(new Tick(), { idempotencyKey: "1" })

// @refused Object literal may only specify known properties, and 'delay' does not exist in type 'AskOptions'
QueryBus.ask(new GetTotal({ orderId }), { delay: "1 second" })

// @refused The handler of ShipOrder has a channel already, and a handler has one: remove the other Handler.asynchronous
export const twoChannels = shipOrder.pipe(Handler.asynchronous(Anything))
