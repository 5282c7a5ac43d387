/**
 * What the types refuse to run: programs from which a layer is missing, with the wording.
 */
import {
  Channel,
  CommandBus,
  Consumer,
  Deduplication,
  EventBus,
  Handler,
  MessageBus,
  MessageScheduler,
  MessageStore,
  MessagingTest,
  QueryBus,
  SagaStore
} from "@holdfast/core"
import { Effect, Layer } from "effect"
import {
  counting,
  fulfilOrders,
  GetTotal,
  OrderPlaced,
  Orders,
  OrdersChannel,
  OrdersLive,
  orderId,
  PlaceOrder,
  ServicesLive,
  ShipOrder,
  Shipping,
  ShippingLive,
  ship,
  shipOrder,
  shipPaid
} from "./fixtures.ts"

const main = CommandBus.send(new PlaceOrder({ orderId, total: 1 }))
const total = QueryBus.ask(new GetTotal({ orderId }))
const placed = EventBus.publish(new OrderPlaced({ orderId, total: 1 }))
const Storage = Layer.mergeAll(MessageScheduler.layer, Deduplication.layer, SagaStore.layer).pipe(
  Layer.provideMerge(MessageStore.layerMemory)
)

const OrdersInMemory = Channel.layerMemory(OrdersChannel)

// Nothing is missing.
const Complete = OrdersLive.pipe(
  Layer.provideMerge(MessageBus.layer),
  Layer.provideMerge(Storage),
  Layer.provideMerge(OrdersInMemory),
  Layer.provide(ServicesLive)
)
Effect.runPromise(main.pipe(Effect.provide(Complete)))
Layer.launch(Consumer.layer(OrdersChannel).pipe(Layer.provide(Complete))).pipe(Effect.runPromise)

// -----------------------------------------------------------------------------
// programs
// -----------------------------------------------------------------------------

const NoChannel = OrdersLive.pipe(
  Layer.provideMerge(MessageBus.layer),
  Layer.provide(Storage),
  Layer.provide(ServicesLive)
)

// @refused Type 'OrdersChannel' is not assignable to type 'never'
main.pipe(Effect.provide(NoChannel), Effect.runPromise)

const NoScheduler = OrdersLive.pipe(
  Layer.provideMerge(MessageBus.layer),
  Layer.provide(MessageStore.layerMemory),
  Layer.provide(OrdersInMemory),
  Layer.provide(ServicesLive)
)

// @refused Type 'MessageScheduler' is not assignable to type 'never'
main.pipe(Effect.provide(NoScheduler), Effect.runPromise)

const NoMailer = OrdersLive.pipe(
  Layer.provideMerge(MessageBus.layer),
  Layer.provide(Storage),
  Layer.provide(OrdersInMemory),
  Layer.provide(Layer.succeed(Orders, { save: () => Effect.void, total: () => Effect.succeed(0) }))
)

// @refused Type 'Mailer' is not assignable to type 'never'
main.pipe(Effect.provide(NoMailer), Effect.runPromise)

// @refused Type 'Handles<"PlaceOrder">' is not assignable to type 'never'
Effect.runPromise(main.pipe(Effect.provide(MessageBus.layerMemory)))

// @refused Type 'Handles<"PlaceOrder">' is not assignable to type 'never'
main.pipe(Effect.provide(MessageBus.layerMemory), Effect.runPromise)

// @refused Type 'Handles<"GetTotal">' is not assignable to type 'never'
total.pipe(Effect.provide(MessageBus.layerMemory), Effect.runPromise)

// @refused Type 'Handles<"PlaceOrder">' is not assignable to type 'never'
main.pipe(Effect.provide(MessageBus.layer), Effect.runPromise)

// @refused Type 'MessageStore' is not assignable to type 'never'
placed.pipe(Effect.provide(MessageBus.layer), Effect.runPromise)

// @refused Type 'EventBus' is not assignable to type 'never'
placed.pipe(Effect.runPromise)

// @refused Type 'CommandBus' is not assignable to type 'never'
main.pipe(
  Effect.catchAll(() => Effect.void),
  Effect.provide(Handler.layer(ship)),
  Effect.runPromise
)

// -----------------------------------------------------------------------------
// workers
// -----------------------------------------------------------------------------

// @refused Type 'CommandBus' is not assignable to type 'never'
Layer.launch(ShippingLive.pipe(Layer.provide(OrdersInMemory))).pipe(Effect.runPromise)

// The command that `shipPaid` sends has no handler here.
const Alone = Handler.layer(shipPaid).pipe(Layer.provide(OrdersInMemory), Layer.provide(MessageBus.layerMemory))

// @refused Type 'Handles<"ShipOrder">' is not assignable to type 'never'
Layer.launch(Alone).pipe(Effect.runPromise)

const WorkerWithoutChannel = Consumer.layer(OrdersChannel).pipe(
  Layer.provide(ShippingLive),
  Layer.provide(MessageBus.layerMemory)
)

// @refused Type 'OrdersChannel' is not assignable to type 'never'
Layer.launch(WorkerWithoutChannel).pipe(Effect.runPromise)

const WorkerWithoutHandlers = Consumer.layer(OrdersChannel).pipe(
  Layer.provide(OrdersInMemory),
  Layer.provide(MessageBus.layerMemory)
)

// @refused Type 'HandledOn<OrdersChannel>' is not assignable to type 'never'
Layer.launch(WorkerWithoutHandlers).pipe(Effect.runPromise)

// Routes say where handlers are; they handle nothing.
const WorkerWithRoutes = Consumer.layer(OrdersChannel).pipe(
  Layer.provide(Handler.routes(shipOrder)),
  Layer.provide(OrdersInMemory),
  Layer.provide(MessageBus.layerMemory)
)

// @refused Type 'HandledOn<OrdersChannel>' is not assignable to type 'never'
Layer.launch(WorkerWithRoutes).pipe(Effect.runPromise)

const WorkerOfAnotherChannel = Consumer.layer(Shipping).pipe(
  Layer.provide(ShippingLive),
  Layer.provide([OrdersInMemory, Channel.layerMemory(Shipping)]),
  Layer.provide(MessageBus.layerMemory)
)

// @refused Type 'HandledOn<Shipping>' is not assignable to type 'never'
Layer.launch(WorkerOfAnotherChannel).pipe(Effect.runPromise)

const WorkerWithoutStore = Consumer.layer(OrdersChannel).pipe(
  Layer.provide(ShippingLive),
  Layer.provide(OrdersInMemory),
  Layer.provide(MessageBus.layer)
)

// @refused Type 'MessageStore' is not assignable to type 'never'
Layer.launch(WorkerWithoutStore).pipe(Effect.runPromise)

const WithoutDeduplication = Handler.layer(ship.pipe(Handler.deduplicate({ key: (_) => _.orderId }))).pipe(
  Layer.provide(MessageBus.layer),
  Layer.provide(MessageStore.layerMemory)
)

// @refused Type 'Deduplication' is not assignable to type 'never'
Layer.launch(WithoutDeduplication).pipe(Effect.runPromise)

const WithoutSagaStore = Handler.layer(counting).pipe(
  Layer.provide(MessageBus.layer),
  Layer.provide(MessageStore.layerMemory)
)

// @refused Type 'SagaStore' is not assignable to type 'never'
Layer.launch(WithoutSagaStore).pipe(Effect.runPromise)

const SagaWithoutChannel = Handler.layer(fulfilOrders, shipOrder).pipe(
  Layer.provide(MessagingTest.layer),
  Layer.provide(ServicesLive)
)

// @refused Type 'OrdersChannel' is not assignable to type 'never'
Layer.launch(SagaWithoutChannel).pipe(Effect.runPromise)

// @refused Type 'OrdersChannel' is not assignable to type 'never'
Consumer.drain(OrdersChannel).pipe(Effect.provide(MessageBus.layerMemory), Effect.runPromise)

// @refused is missing the following properties from type 'TagClass<Orders, "shop/Orders", AnyClass>': [TypeId]
Consumer.layer(Orders)

// @refused 'concurency' does not exist in type 'Options'. Did you mean to write 'concurrency'?
Consumer.layer(OrdersChannel, { concurency: 10 })

// @refused 'message' does not exist in type 'StopAfter'. Did you mean to write 'messages'?
Consumer.run(OrdersChannel, { stopAfter: { message: 10 } })

// @refused Type 'string' is not assignable to type 'Schedule<unknown, unknown, never>'
Consumer.run(OrdersChannel, { schedule: "1 minute" })

// @refused Type 'HandledOn<OrdersChannel>' is not assignable to type 'never'
Consumer.run(OrdersChannel, { stopAfter: { empty: true } }).pipe(
  Effect.provide(Layer.merge(OrdersInMemory, MessageBus.layerMemory)),
  Effect.runPromise
)

// @refused 'reason' does not exist on type 'never'
Effect.map(Consumer.run(OrdersChannel, { concurrency: 10 }), (stopped) => stopped.reason)

// @refused Type 'HandlerRegistry' is not assignable to type 'never'
Effect.provide(MessagingTest.drain, MessageStore.layerMemory).pipe(Effect.runPromise)

// @refused Type '"Command"' is not assignable to type '"Event"'
MessagingTest.published(ShipOrder)
