/**
 * What the compiler infers of messages, handlers, layers and buses, pinned: each line fails to compile on a drift.
 * Compiled, never run.
 */
import { HttpApiEndpoint } from "@effect/platform"
import type {
  DeadLetter,
  Deduplication,
  Envelope,
  HandlerRegistry,
  MessageScheduler,
  MessagingError,
  SagaStore,
  UnitOfWork
} from "@holdfast/core"
import {
  Channel,
  CommandBus,
  Consumer,
  EventBus,
  Handler,
  Journal,
  Message,
  MessageBus,
  type MessageStore,
  MessagingTest,
  Metrics,
  QueryBus
} from "@holdfast/core"
import type { Cause, Metric, Scope } from "effect"
import { Context, DateTime, Effect, flow, Layer, type Option, Schedule, Schema } from "effect"
import { equal, ok } from "./equal.ts"
import {
  Anything,
  FindOrder,
  GetTotal,
  getTotal,
  type MailError,
  type Mailer,
  mail,
  type OrderId,
  OrderPlaced,
  Orders,
  OrdersChannel,
  OrdersLive,
  OutOfStock,
  orderId,
  Pay,
  PaymentReceived,
  PlaceOrder,
  pay,
  placeOrder,
  ShipOrder,
  Shipping,
  ShippingLive,
  sendConfirmation,
  ship,
  shipOrder,
  shipPaid,
  Tick
} from "./fixtures.ts"
import { Audit } from "./interceptors.ts"

// -----------------------------------------------------------------------------
// messages
// -----------------------------------------------------------------------------

// A class is the schema of its instances, as it is stored and sent: with its tag.
ok(equal<PlaceOrder>()({} as typeof PlaceOrder.Type))
ok(
  equal<{ readonly _tag: "PlaceOrder"; readonly orderId: string; readonly total: number }>()(
    {} as Schema.Simplify<typeof PlaceOrder.Encoded>
  )
)
ok(equal<never>()({} as typeof PlaceOrder.Context))
ok(equal<Effect.Effect<PlaceOrder, import("effect/ParseResult").ParseError>>()(Schema.decodeUnknown(PlaceOrder)({})))
ok(equal<PlaceOrder>()(new PlaceOrder({ orderId, total: 1 })))
ok(equal<OrderId>()(new PlaceOrder({ orderId, total: 1 }).orderId))
ok(equal<Tick>()(new Tick()))

// The payload alone, for HTTP bodies.
ok(
  equal<Schema.Struct<{ orderId: Schema.brand<typeof Schema.UUID, "OrderId">; total: typeof Schema.Number }>>()(
    PlaceOrder.payload
  )
)
ok(equal<Schema.Struct<{}>>()(Tick.payload))

// Kind, tag and the schemas of the reply.
ok(equal<"Command">()(PlaceOrder.kind))
ok(equal<"Query">()(GetTotal.kind))
ok(equal<"Event">()(OrderPlaced.kind))
ok(equal<"PlaceOrder">()(PlaceOrder._tag))
ok(equal<"PlaceOrder">()(new PlaceOrder({ orderId, total: 1 })._tag))
ok(equal<typeof Schema.Void>()(PlaceOrder.success))
ok(equal<typeof OutOfStock>()(PlaceOrder.error))
ok(equal<typeof Schema.NumberFromString>()(Pay.success))
ok(equal<typeof Schema.Never>()(Pay.error))
ok(equal<typeof Schema.Number>()(GetTotal.success))
ok(equal<typeof Schema.Void>()(OrderPlaced.success))
ok(equal<OutOfStock>()({} as Message.Error<PlaceOrder>))
ok(equal<void>()(undefined as Message.Success<PlaceOrder>))
ok(equal<number>()({} as Message.Success<GetTotal>))
ok(equal<never>()({} as Message.Error<OrderPlaced>))

// What is known of a class besides its schema, by Effect's own context.
class Audited extends Context.Reference<Audited>()("Audited", { defaultValue: () => false }) {}
class Refund extends Message.Command<Refund>()("Refund", { annotations: Context.make(Audited, true) }) {}
ok(equal<Context.Context<never>>()(Refund.messageAnnotations))
ok(equal<boolean>()(Context.get(Refund.messageAnnotations, Audited)))
ok(equal<boolean>()(Context.get(({} as Message.AnyClass).messageAnnotations, Audited)))

// What reads older versions is a schema of what the class is constructed with now, with the services of its fields.
const RefundedV1 = Schema.Struct({ id: Schema.String, cents: Schema.NumberFromString })
const refundedV1 = Message.upcaster(RefundedV1, (old) => {
  ok(equal<{ readonly id: string; readonly cents: number }>()(old))
  return { id: old.id, amount: old.cents / 100, currency: "EUR" }
})
ok(
  equal<
    Schema.Schema<
      { readonly id: string; readonly amount: number; readonly currency: "EUR" },
      { readonly id: string; readonly cents: string }
    >
  >()(refundedV1)
)
const RefundedV2 = Schema.Struct({ id: Schema.String, amount: Schema.Number, currency: Schema.String })
const refundedV2 = Message.upcaster(RefundedV2, (old) => ({ ...old, currency: "EUR" }))
const currencyOf = { "": "EUR", $: "USD" } as const
class Refunded extends Message.Event<Refunded>()("Refunded", {
  version: 4,
  payload: {
    id: Schema.String,
    amount: Schema.Number,
    currency: Schema.Literal("EUR", "USD"),
    why: Schema.String.pipe(
      Schema.propertySignature,
      Schema.withConstructorDefault(() => "")
    )
  },
  upcasters: {
    1: Schema.compose(refundedV1, refundedV2),
    2: refundedV2,
    3: Schema.Struct({
      id: Schema.String,
      amount: Schema.Number,
      currency: Schema.transformLiterals(["", currencyOf[""]], ["$", currencyOf.$]),
      why: Schema.optionalWith(Schema.String, { default: () => "" })
    })
  }
}) {}
ok(equal<number>()(Refunded.version))
ok(equal<Refunded>()({} as typeof Refunded.Type))

// A schema may need services: handlers and routes of the message need them, and so does whoever publishes an event.
class Sealed extends Message.Event<Sealed>()("Sealed", {
  payload: { text: {} as Schema.Schema<string, string, Mailer> }
}) {}
const seal = Handler.event(Sealed, { name: "Seal", handle: () => Effect.void })
ok(equal<Mailer>()({} as Message.Requirements<Sealed>))
ok(equal<never>()({} as Message.Requirements<OrderPlaced>))
ok(
  equal<Effect.Effect<void, MessagingError.MessagingError, EventBus.EventBus | Mailer>>()(
    EventBus.publish(new Sealed({ text: "" }))
  )
)
ok(equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | Mailer>>()(Handler.layer(seal)))
class Seals extends Channel.Tag<Seals>()("shop/Seals") {}
ok(
  equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | Mailer | Seals>>()(
    Handler.routes(seal.pipe(Handler.asynchronous(Seals)))
  )
)

// Any class is of its kind, and of no other.
ok(equal<[true, false, false]>()({} as Kinds<typeof PlaceOrder>))
ok(equal<[false, true, false]>()({} as Kinds<typeof GetTotal>))
ok(equal<[false, false, true]>()({} as Kinds<typeof OrderPlaced>))
type Kinds<M> = [
  M extends Message.AnyCommand ? true : false,
  M extends Message.AnyQuery ? true : false,
  M extends Message.AnyEvent ? true : false
]

// A message is a payload for HttpApi as it stands; so is its untagged struct.
const place = HttpApiEndpoint.post("place", "/orders").setPayload(PlaceOrder).addError(OutOfStock)
ok(equal<PlaceOrder>()({} as HttpApiEndpoint.HttpApiEndpoint.Payload<typeof place>))
const placeUntagged = HttpApiEndpoint.post("place", "/orders").setPayload(PlaceOrder.payload)
ok(
  equal<{ readonly orderId: OrderId; readonly total: number }>()(
    {} as HttpApiEndpoint.HttpApiEndpoint.Payload<typeof placeUntagged>
  )
)

// A message may need services to be encoded: its handler's layer then requires them.
declare const Secret: Schema.Schema<string, string, Orders>
class Hide extends Message.Command<Hide>()("Hide", { payload: { secret: Secret } }) {}
ok(equal<Orders>()({} as typeof Hide.Context))
ok(
  equal<Layer.Layer<Handler.Handles<"Hide">, never, HandlerRegistry.HandlerRegistry | Orders>>()(
    Handler.layer(Handler.command(Hide, ({ secret }) => Effect.log(secret)))
  )
)

// -----------------------------------------------------------------------------
// channels
// -----------------------------------------------------------------------------

ok(equal<Layer.Layer<OrdersChannel>>()(Channel.layerMemory(OrdersChannel)))
ok(equal<Layer.Layer<OrdersChannel>>()(Channel.layerStored(OrdersChannel, "postgres")))
ok(equal<Layer.Layer<OrdersChannel>>()(Channel.layerDirect(OrdersChannel, {} as Channel.Driver)))
ok(equal<"shop/OrdersChannel">()(OrdersChannel.key))
ok(equal<ReadonlyArray<typeof OrderPlaced | typeof PaymentReceived | typeof ShipOrder>>()(OrdersChannel.messages))
ok(equal<ReadonlyArray<Message.AnyClass>>()(Anything.messages))

// -----------------------------------------------------------------------------
// handlers
// -----------------------------------------------------------------------------

ok(
  equal<Handler.Handler<typeof PlaceOrder, OutOfStock | MessagingError.MessagingError, Orders | EventBus.EventBus>>()(
    placeOrder
  )
)
ok(equal<Handler.Handler<typeof Pay>>()(pay))
ok(equal<Handler.Handler<typeof GetTotal, never, Orders>>()(getTotal))
ok(equal<Handler.Handler<typeof OrderPlaced, MailError, Mailer>>()(mail))
ok(equal<Handler.Handler<typeof ShipOrder, never, never, "Synchronous">>()(ship))

// What the schema encodes is not what the handler answers.
ok(
  equal<Handler.Handler<typeof FindOrder, OutOfStock, never>>()(
    Handler.query(FindOrder, ({ orderId }) =>
      Effect.filterOrFail(
        Effect.succeed({} as Option.Option<number>),
        () => true,
        () => new OutOfStock({ orderId })
      )
    )
  )
)

// Several events: the message is the union of them, and its tag tells which.
ok(
  equal<Handler.Handler<typeof OrderPlaced | typeof PaymentReceived>>()(
    Handler.event([OrderPlaced, PaymentReceived], {
      name: "Audit",
      handle: (event) => {
        ok(equal<OrderPlaced | PaymentReceived>()(event))
        return Effect.log(event._tag === "OrderPlaced" ? event.total : event.remindAt)
      }
    })
  )
)
ok(
  equal<Handler.Handler<typeof OrderPlaced | typeof PaymentReceived, never, Orders>>()(
    Handler.event([OrderPlaced, PaymentReceived], {
      name: "Audit",
      handle: Effect.fn("audit")(function* (event) {
        ok(equal<OrderPlaced | PaymentReceived>()(event))
        yield* Orders
      })
    })
  )
)

// -----------------------------------------------------------------------------
// asynchronous
// -----------------------------------------------------------------------------

ok(equal<Handler.Handler<typeof ShipOrder, never, OrdersChannel, "Asynchronous">>()(shipOrder))
ok(
  equal<
    Handler.Handler<
      typeof PaymentReceived,
      MessagingError.MessagingError,
      CommandBus.CommandBus | Handler.Handles<"ShipOrder"> | OrdersChannel,
      "Asynchronous"
    >
  >()(shipPaid)
)
ok(
  equal<
    Handler.Handler<
      typeof OrderPlaced,
      MailError,
      Mailer | OrdersChannel | MessageScheduler.MessageScheduler,
      "Asynchronous"
    >
  >()(sendConfirmation)
)
ok(equal<Handler.Handler<typeof ShipOrder, never, Anything, "Asynchronous">>()(Handler.asynchronous(ship, Anything)))

// Data-first is data-last.
ok(equal<typeof shipOrder>()(Handler.asynchronous(ship, OrdersChannel)))

// -----------------------------------------------------------------------------
// delay
// -----------------------------------------------------------------------------

const paid = Handler.event(PaymentReceived, { name: "Remind", handle: () => Effect.void }).pipe(
  Handler.asynchronous(OrdersChannel)
)
type Delayed = Handler.Handler<
  typeof PaymentReceived,
  never,
  OrdersChannel | MessageScheduler.MessageScheduler,
  "Asynchronous"
>

ok(equal<Delayed>()(paid.pipe(Handler.delay("10 minutes"))))
ok(equal<Delayed>()(paid.pipe(Handler.delay(1_000))))
ok(equal<Delayed>()(paid.pipe(Handler.delay(new Date(0)))))
ok(equal<Delayed>()(paid.pipe(Handler.delay(DateTime.unsafeMake(0)))))
ok(equal<Delayed>()(paid.pipe(Handler.delay((message) => message.remindAt))))
ok(
  equal<Delayed>()(
    paid.pipe(
      Handler.delay((message) => {
        ok(equal<PaymentReceived>()(message))
        return "1 second"
      })
    )
  )
)

// Data-first is data-last.
ok(equal<Delayed>()(Handler.delay(paid, "10 minutes")))
ok(equal<Delayed>()(Handler.delay(paid, new Date(0))))
ok(
  equal<Delayed>()(
    Handler.delay(paid, (message) => {
      ok(equal<PaymentReceived>()(message))
      return message.remindAt
    })
  )
)

// -----------------------------------------------------------------------------
// priority, time to live, timeout
// -----------------------------------------------------------------------------

// What says only when a message is taken changes no type.
ok(equal<typeof paid>()(paid.pipe(Handler.priority(5))))
ok(equal<typeof paid>()(paid.pipe(Handler.timeToLive("1 minute"))))
ok(equal<typeof paid>()(Handler.priority(paid, 5)))
ok(equal<typeof paid>()(Handler.timeToLive(paid, "1 minute")))
ok(
  equal<typeof paid>()(
    paid.pipe(
      Handler.priority((message) => {
        ok(equal<PaymentReceived>()(message))
        return 5
      })
    )
  )
)

// Nor does what says which messages keep their order; the key comes from the message and its headers.
ok(
  equal<typeof paid>()(
    paid.pipe(
      Handler.orderedBy((message, headers) => {
        ok(equal<PaymentReceived>()(message))
        return headers.tenant
      })
    )
  )
)
ok(equal<typeof paid>()(Handler.orderedBy(paid, () => undefined)))

// limits and circuit breakers
ok(equal<typeof paid>()(paid.pipe(Handler.rateLimit({ limit: 1, interval: "1 second" }))))
ok(
  equal<typeof paid>()(
    paid.pipe(
      Handler.rateLimit({
        limit: 1,
        interval: "1 second",
        key: (message, headers) => {
          ok(equal<typeof PaymentReceived.Type>()(message))
          ok(equal<Readonly<Record<string, string>>>()(headers))
          return headers.tenant
        }
      }),
      Handler.concurrencyLimit({ limit: 2, key: (message) => message.orderId }),
      Handler.circuitBreaker({ failures: 5, openFor: "30 seconds" })
    )
  )
)
ok(equal<typeof paid>()(Handler.rateLimit(paid, { limit: 1, interval: 1_000, key: ({ orderId }) => orderId })))
ok(equal<typeof paid>()(Handler.concurrencyLimit(paid, { limit: 1, key: ({ orderId }) => orderId })))
ok(equal<typeof paid>()(Handler.circuitBreaker(paid, { failures: 1, openFor: 1_000 })))

// A timeout joins the errors, with or without a channel.
type TimedOut<H> =
  H extends Handler.Handler<infer M, infer E, infer R, infer M0>
    ? Handler.Handler<M, E | Cause.TimeoutException, R, M0>
    : never
ok(equal<TimedOut<typeof paid>>()(paid.pipe(Handler.timeout("5 seconds"))))
ok(equal<TimedOut<typeof paid>>()(Handler.timeout(paid, "5 seconds")))
ok(equal<TimedOut<typeof placeOrder>>()(placeOrder.pipe(Handler.timeout("5 seconds"))))
ok(
  equal<Handler.Handler<typeof PaymentReceived, "slow", OrdersChannel, "Asynchronous">>()(
    paid.pipe(Handler.timeout({ duration: "5 seconds", onTimeout: () => "slow" as const }))
  )
)

// -----------------------------------------------------------------------------
// retry
// -----------------------------------------------------------------------------

const mailLater = mail.pipe(Handler.asynchronous(OrdersChannel))

// In place it needs nothing; durably it needs the scheduler.
ok(equal<typeof mail>()(mail.pipe(Handler.retry(Schedule.recurs(3)))))
ok(
  equal<
    Handler.Handler<
      typeof OrderPlaced,
      MailError,
      Mailer | OrdersChannel | MessageScheduler.MessageScheduler,
      "Asynchronous"
    >
  >()(mailLater.pipe(Handler.retry(Schedule.exponential("1 second"))))
)
ok(
  equal<typeof sendConfirmation>()(
    mail.pipe(
      Handler.retry(Schedule.recurs(1)),
      Handler.asynchronous(OrdersChannel),
      Handler.retry(Schedule.spaced("5 seconds"))
    )
  )
)

// What handlers share is composed before there is a handler.
const inBackground = flow(
  Handler.asynchronous(OrdersChannel),
  Handler.intercept(Audit),
  Handler.timeout("1 second"),
  Handler.retry(Schedule.recurs(3)),
  Handler.priority(1),
  Handler.deadLetter({ afterCrashes: 1 })
)
ok(
  equal<
    Handler.Handler<
      typeof OrderPlaced,
      MailError | Cause.TimeoutException,
      Mailer | Audit | OrdersChannel | MessageScheduler.MessageScheduler,
      "Asynchronous"
    >
  >()(mail.pipe(inBackground))
)

// The schedule reads the handler's errors.
ok(
  equal<typeof sendConfirmation>()(
    mailLater.pipe(Handler.retry(Schedule.recurWhile((error: MailError) => error._tag === "MailError")))
  )
)
ok(
  equal<typeof placeOrder>()(
    placeOrder.pipe(
      Handler.retry(
        Schedule.recurs(3).pipe(
          Schedule.whileInput((error: OutOfStock | MessagingError.MessagingError) => error._tag === "MessagingError")
        )
      )
    )
  )
)

// Data-first is data-last.
ok(equal<typeof mail>()(Handler.retry(mail, Schedule.recurs(3))))
ok(equal<typeof sendConfirmation>()(Handler.retry(mailLater, Schedule.exponential("1 second"))))
ok(
  equal<typeof sendConfirmation>()(
    Handler.retry(
      mailLater,
      Schedule.recurWhile((error) => {
        ok(equal<MailError>()(error))
        return true
      })
    )
  )
)

// -----------------------------------------------------------------------------
// deduplicate
// -----------------------------------------------------------------------------

ok(
  equal<
    Handler.Handler<
      typeof ShipOrder,
      MessagingError.MessagingError,
      OrdersChannel | Deduplication.Deduplication,
      "Asynchronous"
    >
  >()(
    shipOrder.pipe(
      Handler.deduplicate({
        key: (message, envelope) => {
          ok(equal<ShipOrder>()(message))
          ok(equal<Envelope.Metadata>()(envelope))
          return message.orderId
        },
        window: "1 day"
      })
    )
  )
)
type Deduplicated = Handler.Handler<
  typeof ShipOrder,
  MessagingError.MessagingError,
  Deduplication.Deduplication,
  "Synchronous"
>
ok(equal<Deduplicated>()(ship.pipe(Handler.deduplicate({ key: (message) => message.orderId }))))
ok(equal<Deduplicated>()(ship.pipe(Handler.deduplicate({ key: (_, { headers }) => headers.delivery }))))
ok(equal<Deduplicated>()(ship.pipe(Handler.deduplicate())))
ok(equal<Deduplicated>()(ship.pipe(Handler.deduplicate({ window: "1 day" }))))
ok(equal<Deduplicated>()(Handler.deduplicate(ship)))
ok(
  equal<
    Handler.Handler<
      typeof OrderPlaced,
      MailError | MessagingError.MessagingError,
      Mailer | Deduplication.Deduplication,
      "Synchronous"
    >
  >()(
    Handler.deduplicate(mail, {
      key: (message, envelope) => {
        ok(equal<OrderPlaced>()(message))
        ok(equal<Envelope.Metadata>()(envelope))
        return envelope.id
      }
    })
  )
)

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

ok(
  equal<
    Layer.Layer<
      Handler.Handles<"PlaceOrder"> | Handler.Handles<"GetTotal"> | Handler.HandledOn<OrdersChannel>,
      never,
      | HandlerRegistry.HandlerRegistry
      | Orders
      | EventBus.EventBus
      | Mailer
      | OrdersChannel
      | MessageScheduler.MessageScheduler
    >
  >()(OrdersLive)
)

// `shipPaid` sends a command that `shipOrder`, in the same layer, handles.
ok(
  equal<
    Layer.Layer<
      Handler.Handles<"ShipOrder"> | Handler.HandledOn<OrdersChannel>,
      never,
      HandlerRegistry.HandlerRegistry | CommandBus.CommandBus | OrdersChannel
    >
  >()(ShippingLive)
)

// In another layer it is a requirement.
ok(
  equal<
    Layer.Layer<
      Handler.HandledOn<OrdersChannel>,
      never,
      HandlerRegistry.HandlerRegistry | CommandBus.CommandBus | Handler.Handles<"ShipOrder"> | OrdersChannel
    >
  >()(Handler.layer(shipPaid))
)

// A synchronous event handler provides nothing that others could need.
ok(
  equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry>>()(
    Handler.layer(Handler.event(Tick, { name: "OnTick", handle: () => Effect.void }))
  )
)

// One `HandledOn` for each channel.
ok(
  equal<
    Layer.Layer<
      Handler.Handles<"ShipOrder"> | Handler.HandledOn<OrdersChannel> | Handler.HandledOn<Shipping>,
      never,
      HandlerRegistry.HandlerRegistry | OrdersChannel | Shipping
    >
  >()(Handler.layer(paid, Handler.asynchronous(ship, Shipping)))
)

// What the runtime gives to handlers, they do not require.
ok(
  equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | Orders>>()(
    Handler.layer(
      Handler.event(Tick, {
        name: "OnTick",
        handle: () => Effect.void as Effect.Effect<void, never, Orders | Handler.Given>
      })
    )
  )
)
ok(
  equal<true>()(
    {} as UnitOfWork.UnitOfWork | Scope.Scope | Envelope.CurrentEnvelope extends Handler.Given ? true : false
  )
)

// Routes require the channel, and nothing else of the handler's.
ok(
  equal<Layer.Layer<Handler.Handles<"ShipOrder">, never, HandlerRegistry.HandlerRegistry | OrdersChannel>>()(
    Handler.routes(sendConfirmation, shipPaid, shipOrder)
  )
)
ok(
  equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | OrdersChannel>>()(Handler.routes(sendConfirmation))
)

// -----------------------------------------------------------------------------
// buses
// -----------------------------------------------------------------------------

type Send<Tag extends string, A = void, E = never> = Effect.Effect<
  A,
  E | MessagingError.MessagingError,
  CommandBus.CommandBus | Handler.Handles<Tag>
>

ok(equal<Send<"PlaceOrder", void, OutOfStock>>()(CommandBus.send(new PlaceOrder({ orderId, total: 1 }))))
ok(equal<Send<"Pay", number>>()(CommandBus.send(new Pay({ orderId }), { idempotencyKey: "pay-1" })))
ok(
  equal<Send<"Pay", number>>()(
    CommandBus.send(new Pay({ orderId }), { idempotencyKey: { key: "1", window: "1 day", onOtherPayload: "Answer" } })
  )
)
ok(equal<Send<"ShipOrder">>()(CommandBus.send(new ShipOrder({ orderId }))))
ok(
  equal<Send<"ShipOrder">>()(
    CommandBus.send(new ShipOrder({ orderId }), {
      headers: { tenant: "acme", correlationId: "1" },
      delay: "10 minutes",
      at: new Date(0),
      priority: 1,
      idempotencyKey: undefined
    })
  )
)
ok(equal<Send<"ShipOrder">>()(CommandBus.send(new ShipOrder({ orderId }), { at: DateTime.unsafeMake(0) })))

// All are sent, or none: what any of them may fail with, and the answers of all.
ok(
  equal<Send<"PlaceOrder", Array<void>, OutOfStock>>()(
    CommandBus.sendAll([new PlaceOrder({ orderId, total: 1 }), new PlaceOrder({ orderId, total: 2 })], { priority: 1 })
  )
)
ok(
  equal<Send<"Pay" | "ShipOrder", Array<number | void>>>()(
    CommandBus.sendAll(new Set([new Pay({ orderId }), new ShipOrder({ orderId })]), { delay: "10 minutes" })
  )
)

type Ask<Tag extends string, A, E = never> = Effect.Effect<
  A,
  E | MessagingError.MessagingError,
  QueryBus.QueryBus | Handler.Handles<Tag>
>

ok(equal<Ask<"GetTotal", number>>()(QueryBus.ask(new GetTotal({ orderId }))))
ok(
  equal<Ask<"FindOrder", Option.Option<number>, OutOfStock>>()(
    QueryBus.ask(new FindOrder({ orderId }), { headers: { tenant: "acme" } })
  )
)

type Publish = Effect.Effect<void, MessagingError.MessagingError, EventBus.EventBus>

ok(equal<Publish>()(EventBus.publish(new OrderPlaced({ orderId, total: 1 }))))
ok(equal<Publish>()(EventBus.publish(new Tick(), { headers: { tenant: "acme" }, delay: "10 minutes", priority: 1 })))

ok(equal<Publish>()(EventBus.publishAll([new OrderPlaced({ orderId, total: 1 }), new Tick()], { delay: "1 minute" })))

// The services themselves answer alike, without `Handles`.
ok(
  equal<Effect.Effect<void, OutOfStock | MessagingError.MessagingError>>()(
    ({} as CommandBus.CommandBus["Type"]).send(new PlaceOrder({ orderId, total: 1 }))
  )
)
ok(
  equal<Effect.Effect<number, MessagingError.MessagingError>>()(
    ({} as QueryBus.QueryBus["Type"]).ask(new GetTotal({ orderId }))
  )
)

ok(
  equal<
    Layer.Layer<
      CommandBus.CommandBus | QueryBus.QueryBus | EventBus.EventBus | HandlerRegistry.HandlerRegistry,
      never,
      MessageStore.MessageStore
    >
  >()(MessageBus.layer)
)

// -----------------------------------------------------------------------------
// consumers
// -----------------------------------------------------------------------------

type Consumes = OrdersChannel | HandlerRegistry.HandlerRegistry | MessageStore.MessageStore

ok(
  equal<Layer.Layer<never, MessagingError.MessagingError, Consumes | Handler.HandledOn<OrdersChannel>>>()(
    Consumer.layer(OrdersChannel, { concurrency: 10, lease: "10 seconds" })
  )
)
ok(equal<Effect.Effect<number, MessagingError.MessagingError, Consumes>>()(Consumer.drain(OrdersChannel)))

type Run<A> = Effect.Effect<A, MessagingError.MessagingError, Consumes | Handler.HandledOn<OrdersChannel>>
ok(equal<Run<never>>()(Consumer.run(OrdersChannel)))
ok(equal<Run<never>>()(Consumer.run(OrdersChannel, { concurrency: 10, lease: "10 seconds" })))
ok(equal<Run<Consumer.Stopped>>()(Consumer.run(OrdersChannel, { stopAfter: { messages: 10, memory: 512 * 1024 } })))
ok(equal<Run<Consumer.Stopped>>()(Consumer.run(OrdersChannel, { schedule: Schedule.fixed("1 minute") })))
ok(equal<Run<Consumer.Stopped>>()(Consumer.run(OrdersChannel, {} as Consumer.RunOptions)))

type Stored<A> = Effect.Effect<A, MessagingError.MessagingError, MessageStore.MessageStore>
ok(equal<Stored<void>>()(Consumer.pause(OrdersChannel)))
ok(equal<Stored<void>>()(Consumer.resume(OrdersChannel)))
ok(equal<Stored<ReadonlyArray<string>>>()(Consumer.paused))
ok(equal<Effect.Effect<void, MessagingError.MessagingError, Consumes>>()(Consumer.subscribe(OrdersChannel)))
ok(
  equal<Effect.Effect<void, MessagingError.MessagingError, MessageStore.MessageStore>>()(
    Consumer.unsubscribe("SendConfirmation")
  )
)

// -----------------------------------------------------------------------------
// seen from outside
// -----------------------------------------------------------------------------

ok(equal<Layer.Layer<Journal.Journal, never, MessageStore.MessageStore>>()(Journal.layer))
ok(
  equal<Effect.Effect<Journal.Page, MessagingError.MessagingError, Journal.Journal>>()(
    Effect.flatMap(Journal.Journal, (journal) => journal.search({ event: "Failed" }))
  )
)
ok(equal<ReadonlyArray<Journal.Node>>()(Journal.trees([])))
ok(equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | MessageStore.MessageStore>>()(Metrics.layer))
ok(
  equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | MessageStore.MessageStore>>()(
    Metrics.layerWith({ interval: "1 minute" })
  )
)
ok(equal<Metric.Metric.Counter<number>>()(Metrics.handled))
ok(equal<Metric.Metric.Gauge<number>>()(Metrics.oldestAge))
ok(equal<Layer.Layer<Journal.DefaultPolicy>>()(Layer.succeed(Journal.DefaultPolicy, "All")))

// -----------------------------------------------------------------------------
// tests
// -----------------------------------------------------------------------------

ok(
  equal<
    Layer.Layer<
      | CommandBus.CommandBus
      | QueryBus.QueryBus
      | EventBus.EventBus
      | HandlerRegistry.HandlerRegistry
      | MessageScheduler.MessageScheduler
      | DeadLetter.DeadLetter
      | Deduplication.Deduplication
      | SagaStore.SagaStore
      | Journal.Journal
      | MessagingTest.MessageLog
      | MessageStore.MessageStore
    >
  >()(MessagingTest.layer)
)
ok(equal<Effect.Effect<ReadonlyArray<ShipOrder>, never, MessagingTest.MessageLog>>()(MessagingTest.sent(ShipOrder)))
ok(
  equal<Effect.Effect<ReadonlyArray<OrderPlaced>, never, MessagingTest.MessageLog>>()(
    MessagingTest.published(OrderPlaced)
  )
)
ok(equal<Effect.Effect<ReadonlyArray<Pay>, never, MessagingTest.MessageLog>>()(MessagingTest.handled(Pay)))
ok(
  equal<
    Effect.Effect<number, MessagingError.MessagingError, HandlerRegistry.HandlerRegistry | MessageStore.MessageStore>
  >()(MessagingTest.advance("24 hours"))
)
