/**
 * What consumers and sagas say in the log, and in dead letters.
 */
import {
  Channel,
  Consumer,
  DeadLetter,
  EventBus,
  Handler,
  type HandlerRegistry,
  MessageStore,
  MessagingError,
  Saga
} from "@holdfast/core"
import { Effect, Fiber, Layer, Option, Schedule, Schema, TestClock } from "effect"
import { mistake } from "./page.ts"
import {
  confirm,
  letter,
  logs,
  OrderPlaced,
  Orders,
  PaymentReceived,
  placed,
  Ship,
  send,
  ship,
  shipped,
  within
} from "./shop.ts"

const section = "Consumers"

const away = new MessagingError.MessagingError({ reason: "Unavailable", detail: "PostgreSQL does not answer" })
const lost = new MessagingError.MessagingError({ reason: "LeaseLost", detail: "It ran out" })
const refused = new MessagingError.MessagingError({ reason: "Rejected", detail: "No" })

/** With the store changed, for what consumes. */
const withStore =
  (change: Partial<MessageStore.Encoded>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(MessageStore.MessageStore, (store) =>
      Effect.provideService(effect, MessageStore.MessageStore, { ...store, ...change })
    )

const handling = (handle: Effect.Effect<void, unknown>) =>
  Handler.event(OrderPlaced, { name: "Confirm", handle: () => handle }).pipe(Handler.asynchronous(Orders))

const idle = handling(Effect.void)

/** What is logged about one event that is handled so. */
const handled = (start: string, handle: Effect.Effect<void, unknown>) =>
  logs(start, Effect.zipRight(placed(), Consumer.drain(Orders)).pipe(within(Handler.layer(handling(handle)))))

const id = ({ id }: { readonly id: string }) => id
const fulfilment = Saga.make("Fulfilment", { state: Schema.Struct({}) }).pipe(
  Saga.startOn(OrderPlaced, { id, handle: () => Effect.succeed({}) }),
  Saga.on(PaymentReceived, { id, handle: (state) => Effect.succeed(Saga.complete(state)) })
)
const paid = EventBus.publish(new PaymentReceived({ id: "A1" }))
const moved = (...steps: ReadonlyArray<Effect.Effect<void, unknown, EventBus.EventBus>>) =>
  logs("Saga Fulfilment", Effect.all(steps).pipe(within(Handler.layer(fulfilment))))

class Errors extends Channel.Tag<Errors>()("shop/Errors", { messages: [DeadLetter.MessageFailed], maxBytes: 10 }) {}
const failing = Handler.command(Ship, () => Effect.fail("no")).pipe(
  Handler.asynchronous(Orders),
  Handler.errorChannel(Errors)
)
const alert = Handler.event(DeadLetter.MessageFailed, { name: "Alert", handle: () => Effect.void }).pipe(
  Handler.asynchronous(Errors)
)
const givenUp = (
  handlers: Layer.Layer<Handler.Handles<"Ship">, never, HandlerRegistry.HandlerRegistry | Orders | Errors>
) =>
  logs("Ship was given up", Effect.zipRight(shipped(), Consumer.drain(Orders))).pipe(
    within(handlers.pipe(Layer.provideMerge(Channel.layerMemory(Errors))))
  )

export const consuming = (): void => {
  mistake(section, "nobody listens to the error channel", givenUp(Handler.layer(failing)))
  mistake(section, "the error channel refuses what failed", givenUp(Handler.layer(failing, alert)))
  class Alarms extends Channel.Tag<Alarms>()("shop/Errors", { messages: [DeadLetter.MessageFailed] }) {}
  const alarm = Handler.event(DeadLetter.MessageFailed, { name: "Alert", handle: () => Effect.void }).pipe(
    Handler.asynchronous(Alarms)
  )
  mistake(
    section,
    "the broker of the error channel is away",
    logs(
      "Ship was given up",
      Effect.gen(function* () {
        yield* shipped()
        const draining = yield* Effect.fork(Consumer.drain(Orders))
        for (let second = 0; second < 10; second++) yield* TestClock.adjust("1 second")
        yield* Fiber.join(draining)
      })
    ).pipe(
      within(
        Handler.layer(failing.pipe(Handler.errorChannel(Alarms)), alarm).pipe(
          Layer.provideMerge(Channel.layerDirect(Alarms, { send: () => away } as never))
        )
      )
    )
  )
  mistake(
    section,
    "no worker handles the message",
    logs("Nobody", Effect.zipRight(send("OrderPlaced", "Confirm", "{}"), Consumer.drain(Orders))).pipe(
      within(Handler.layer(ship))
    )
  )
  mistake(
    section,
    "the store cannot be asked for messages",
    logs(
      "Claiming",
      Effect.scoped(
        Effect.zipRight(
          Layer.build(Consumer.layer(Orders)).pipe(withStore({ claim: () => Effect.fail(away) })),
          TestClock.adjust("1 second")
        )
      )
    ).pipe(within(Handler.layer(idle)))
  )
  mistake(section, "the handler fails because of an outage", handled("The infrastructure", Effect.fail(away)))
  mistake(section, "the process was frozen for longer than its lease", handled("The lease", Effect.fail(lost)))
  mistake(
    section,
    "the end of a message cannot be written",
    logs(
      "A message",
      Effect.zipRight(
        placed(),
        Consumer.drain(Orders).pipe(
          withStore({ commit: (units) => Effect.succeed(units.map(() => Option.some(refused))) })
        )
      )
    ).pipe(within(Handler.layer(idle)))
  )
  mistake(
    section,
    "the handler fails, and is tried again",
    logs("Failed", Effect.zipRight(placed(), Consumer.drain(Orders))).pipe(
      within(Handler.layer(handling(Effect.fail("no")).pipe(Handler.retry(Schedule.spaced("1 second")))))
    )
  )
  mistake(section, "the handler fails for the last time", handled("OrderPlaced was put", Effect.fail("no")))

  class Careless extends Channel.Tag<Careless>()("shop/Orders", { deadLetter: { onGivenUp: "Discard" } }) {}
  class Again extends Channel.Tag<Again>()("shop/Orders", { deadLetter: { onGivenUp: "Resend" } }) {}
  class Patient extends Channel.Tag<Patient>()("shop/Orders", { deadLetter: { onGivenUp: "Release" } }) {}
  class Strict extends Channel.Tag<Strict>()("shop/Orders", { deadLetter: { onGivenUp: "Stop" } }) {}
  /** What the log says when a message is given up on that channel. */
  const given = <I>(start: string, channel: Channel.TagClass<I, "shop/Orders", any>) =>
    logs(start, Effect.zipRight(placed(), Consumer.drain(channel))).pipe(
      within(
        Handler.layer(
          Handler.event(OrderPlaced, { name: "Confirm", handle: () => Effect.fail("no") }).pipe(
            Handler.asynchronous(channel)
          )
        ).pipe(Layer.provideMerge(Channel.layerMemory(channel))) as Layer.Layer<
          I,
          never,
          HandlerRegistry.HandlerRegistry
        >
      )
    )
  mistake(section, "the same on a channel that discards", given("Discarded", Careless))
  mistake(section, "the same on a channel that sends again", given("OrderPlaced was given up", Again))
  mistake(section, "the same on a channel that keeps it in its place", given("OrderPlaced was given up", Patient))
  mistake(section, "the same on a channel that stops", given("Channel", Strict))
  mistake(
    section,
    "the same, and nobody listens to its error channel",
    givenUp(Handler.layer(failing.pipe(Handler.deadLetter({ onGivenUp: "Resend" }))))
  )

  /** What the log says when the dead letters of the store cannot be worked with. */
  const working = (start: string, change: Partial<MessageStore.Encoded>) => {
    class Kept extends Channel.Tag<Kept>()("shop/Orders", { deadLetter: { deleteAfter: "1 day" } }) {}
    return logs(
      start,
      Effect.scoped(
        Effect.zipRight(Layer.build(DeadLetter.layerWorker).pipe(withStore(change)), TestClock.adjust("1 second"))
      )
    ).pipe(
      within(
        Handler.layer(Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Kept))).pipe(
          Layer.provideMerge(Channel.layerMemory(Kept))
        )
      )
    )
  }
  mistake(section, "replays of dead letters stand still", working("Dead letters", { replays: () => Effect.fail(away) }))
  mistake(
    section,
    "old dead letters are not put away",
    working("Old dead letters", { sweepDeadLetters: () => Effect.fail(away) })
  )
  mistake(
    section,
    "workers are lost again and again",
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      yield* placed()
      for (let worker = 0; worker < 5; worker++) {
        yield* store.claim({ channel: Orders.channelName, limit: 1, leaseMillis: 1_000, owner: "lost" })
        yield* TestClock.adjust("2 seconds")
      }
      yield* Consumer.drain(Orders)
      return yield* letter
    }).pipe(within(Handler.layer(idle)))
  )
  mistake(
    section,
    "a duplicate arrives",
    logs(
      "OrderPlaced was handled already",
      Effect.zipRight(placed(), placed()).pipe(within(Handler.layer(confirm.pipe(Handler.deduplicate({ key: id })))))
    )
  )
  mistake(section, "a saga does not exist yet", moved(paid))
  mistake(section, "a saga is started twice", moved(placed(), placed()))
  mistake(section, "a message for a saga that has ended", moved(placed(), paid, paid))

  const timed = fulfilment.pipe(Saga.onTimeout("payment", { handle: Effect.succeed }), Handler.asynchronous(Orders))
  const stale = JSON.stringify({ _tag: "holdfast/SagaTimeout", id: "A1", timeout: "payment", arming: "an earlier one" })
  mistake(
    section,
    "a timeout that was cancelled while it fired",
    logs(
      "Saga Fulfilment",
      Effect.all([placed(), send("holdfast/SagaTimeout", "Fulfilment", stale), Consumer.drain(Orders)]).pipe(
        within(Handler.layer(timed))
      )
    )
  )
}
