/**
 * The same shop, wholly in memory: the handlers are those of production, the layers below them are swapped.
 */
import { assert, describe, it } from "@effect/vitest"
import { Channel, CommandBus, DeadLetter, EventBus, MessagingTest, QueryBus, Saga } from "@holdfast/core"
import { Effect, Layer, Option, Ref } from "effect"
import { OrdersChannel, ShippingChannel } from "./src/channels.ts"
import { fulfilmentSaga, PaymentTimeout } from "./src/fulfilment.ts"
import { HandlersLive } from "./src/handlers.ts"
import { MailerTest } from "./src/mailer.ts"
import { GetOrder, OrderPaid, OrderPlaced, PayOrder, PlaceOrder, ShipOrder } from "./src/messages.ts"
import { Orders } from "./src/orders.ts"
import { Payments } from "./src/payments.ts"
import { Sales } from "./src/sales.ts"
import { Shipping } from "./src/shipping.ts"

const ShopTest = HandlersLive.pipe(
  Layer.provide([Shipping.layerMemory, PaymentTimeout.layer]),
  Layer.provide([Channel.layerMemory(OrdersChannel), Channel.layerMemory(ShippingChannel)]),
  Layer.provideMerge(Layer.mergeAll(Orders.layerMemory, Payments.layerMemory, Sales.layerMemory, MailerTest.layer)),
  Layer.provideMerge(MessagingTest.layer)
)

const email = "ada@example.org"
const teapots = new PlaceOrder({ sku: "teapot", quantity: 2, email })

const order = (orderId: typeof PlaceOrder.success.Type) => QueryBus.ask(new GetOrder({ orderId }))

describe("the shop", () => {
  it.effect("places an order, and tells the mailer, the warehouse and the books of it", () =>
    Effect.gen(function* () {
      const orderId = yield* CommandBus.send(teapots)
      assert.deepStrictEqual((yield* order(orderId)).history, ["placed"])
      yield* MessagingTest.drain
      const { history, status } = yield* order(orderId)
      assert.strictEqual(status, "placed")
      assert.sameMembers([...history], ["placed", "confirmed", "on the picking list", "in the sales figures"])
      const mails = yield* Ref.get((yield* MailerTest).sent)
      assert.deepStrictEqual(
        mails.map((mail) => mail.to),
        [email]
      )
      assert.strictEqual(yield* (yield* Sales).revenue, 60)
    }).pipe(Effect.provide(ShopTest))
  )

  it.effect("refuses an order that the stock cannot serve, and publishes nothing", () =>
    Effect.gen(function* () {
      const refusal = yield* Effect.flip(CommandBus.send(new PlaceOrder({ sku: "piano", quantity: 4, email })))
      assert.strictEqual(refusal._tag, "OutOfStock")
      assert.strictEqual((yield* MessagingTest.published(OrderPlaced)).length, 0)
    }).pipe(Effect.provide(ShopTest))
  )

  it.effect("ships what is paid, and the saga ends", () =>
    Effect.gen(function* () {
      const orderId = yield* CommandBus.send(teapots)
      yield* MessagingTest.drain
      yield* MessagingTest.advance("23 hours")
      yield* CommandBus.send(new PayOrder({ orderId }))
      yield* MessagingTest.drain
      assert.strictEqual((yield* order(orderId)).status, "shipped")
      assert.isTrue(Option.getOrThrow(yield* Saga.get(fulfilmentSaga, orderId)).completed)
      yield* MessagingTest.advance("24 hours")
      assert.strictEqual((yield* order(orderId)).status, "shipped")
    }).pipe(Effect.provide(ShopTest))
  )

  it.effect("takes a payment once, however often the customer sends it", () =>
    Effect.gen(function* () {
      const orderId = yield* CommandBus.send(teapots)
      const pay = CommandBus.send(new PayOrder({ orderId }), { idempotencyKey: "click-1" })
      const receipts = yield* Effect.all([pay, pay, pay], { concurrency: "unbounded" })
      assert.deepStrictEqual(
        receipts.map(({ amount }) => amount),
        [60, 60, 60]
      )
      assert.strictEqual(yield* (yield* Payments).total, 60)
      const other = yield* Effect.flip(CommandBus.send(new PayOrder({ orderId }), { idempotencyKey: "click-2" }))
      assert.strictEqual(other._tag, "NotPayable")
    }).pipe(Effect.provide(ShopTest))
  )

  it.effect("ships once when the payment is handled before the order it is for", () =>
    Effect.gen(function* () {
      const orderId = yield* CommandBus.send(teapots)
      yield* (yield* Orders).pay(orderId)
      yield* EventBus.publish(new OrderPaid({ orderId }), { priority: 1 }) // overtakes OrderPlaced
      yield* MessagingTest.advance("24 hours")
      assert.strictEqual((yield* order(orderId)).status, "shipped")
      assert.strictEqual((yield* MessagingTest.handled(ShipOrder)).length, 1)
      assert.isTrue(Option.getOrThrow(yield* Saga.get(fulfilmentSaga, orderId)).completed)
    }).pipe(Effect.provide(ShopTest))
  )

  it.effect("cancels nothing when the timeout fires while the payment is on its way", () =>
    Effect.gen(function* () {
      const orderId = yield* CommandBus.send(teapots)
      yield* (yield* Orders).pay(orderId)
      yield* EventBus.publish(new OrderPaid({ orderId }), { delay: "25 hours" })
      yield* MessagingTest.advance("24 hours")
      assert.strictEqual((yield* order(orderId)).status, "paid")
      yield* MessagingTest.advance("1 hour")
      assert.strictEqual((yield* order(orderId)).status, "shipped")
    }).pipe(Effect.provide(ShopTest))
  )

  it.effect("cancels what is not paid after 24 hours, and puts the goods back", () =>
    Effect.gen(function* () {
      const pianos = new PlaceOrder({ sku: "piano", quantity: 3, email })
      const orderId = yield* CommandBus.send(pianos)
      yield* MessagingTest.advance("23 hours")
      assert.strictEqual((yield* order(orderId)).status, "placed")
      yield* MessagingTest.advance("1 hour")
      assert.strictEqual((yield* order(orderId)).status, "cancelled")
      assert.isTrue(Option.getOrThrow(yield* Saga.get(fulfilmentSaga, orderId)).completed)
      const late = yield* Effect.flip(CommandBus.send(new PayOrder({ orderId })))
      assert.strictEqual(late._tag, "NotPayable")
      yield* CommandBus.send(pianos)
    }).pipe(Effect.provide(ShopTest))
  )

  it.effect(
    "retries a failing mail after 1, 2 and 4 seconds, then keeps it as a dead letter until it is replayed",
    () =>
      Effect.gen(function* () {
        const { failing, sent } = yield* MailerTest
        const deadLetters = yield* DeadLetter.DeadLetter
        const attempts = Effect.map(MessagingTest.log, (log) =>
          log.filter((entry) => entry._tag === "Failed").map((entry) => entry.envelope.attempt)
        )
        yield* Ref.set(failing, [email])
        const orderId = yield* CommandBus.send(teapots)
        yield* MessagingTest.drain
        assert.deepStrictEqual(yield* attempts, [1])
        yield* MessagingTest.advance("999 millis")
        assert.deepStrictEqual(yield* attempts, [1])
        yield* MessagingTest.advance("1 milli")
        assert.deepStrictEqual(yield* attempts, [1, 2])
        yield* MessagingTest.advance("2 seconds")
        assert.deepStrictEqual(yield* attempts, [1, 2, 3])
        assert.strictEqual(yield* deadLetters.count(), 0)
        yield* MessagingTest.advance("4 seconds")
        assert.deepStrictEqual(yield* attempts, [1, 2, 3, 4])

        const letters = yield* deadLetters.list({ endpoint: "SendConfirmation" })
        assert.strictEqual(letters.length, 1)
        assert.strictEqual(letters[0]!.reason, "Exhausted")
        assert.strictEqual(letters[0]!.envelope.failures.length, 4)
        // the other two handlers of the event never noticed
        assert.include((yield* order(orderId)).history, "on the picking list")
        assert.include((yield* order(orderId)).history, "in the sales figures")

        yield* Ref.set(failing, [])
        assert.strictEqual(yield* deadLetters.replay(letters.map(({ key }) => key)), 1)
        yield* MessagingTest.drain
        const mails = yield* Ref.get(sent)
        assert.deepStrictEqual(
          mails.map((mail) => mail.idempotencyKey),
          [`SendConfirmation:${letters[0]!.envelope.id}`]
        )
        assert.strictEqual(yield* deadLetters.count(), 0)
        assert.strictEqual(yield* (yield* Sales).revenue, 60)
      }).pipe(Effect.provide(ShopTest))
  )
})
