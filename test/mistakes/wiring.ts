/**
 * Wiring that the types cannot see.
 */
import {
  Channel,
  type CommandBus,
  DeadLetter,
  Handler,
  Interceptor,
  Message,
  MessageBus,
  QueryBus,
  Saga
} from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import { mistake } from "./page.ts"
import {
  building,
  confirm,
  dies,
  GetTotal,
  Memory,
  OrderPlaced,
  Orders,
  PaymentReceived,
  placing,
  Ship,
  shipped
} from "./shop.ts"

const section = "Wiring, found at start"

const starting = <P, E>(handlers: Layer.Layer<P, E, Layer.Layer.Success<typeof Memory>>) =>
  dies(building(Layer.provide(handlers, Memory)))

/** The same handler under another name, which the types do not allow. */
const renamed = <H extends object>(handler: H): H =>
  Object.setPrototypeOf({ ...handler, name: "Another" }, Object.getPrototypeOf(handler))

const getTotal = Handler.query(GetTotal, () => Effect.succeed(1))
const state = Schema.Struct({})
const started = Saga.make("Fulfilment", { state }).pipe(
  Saga.startOn(OrderPlaced, { id: ({ id }) => id, handle: () => Effect.succeed({}) })
)
const paid = { id: ({ id }: PaymentReceived) => id, handle: () => Effect.succeed({}) }
const event = (name: string) => Handler.event(OrderPlaced, { name, handle: () => Effect.void })

class Errors extends Channel.Tag<Errors>()("shop/Errors", { messages: [DeadLetter.MessageFailed] }) {}
class Alarms extends Channel.Tag<Alarms>()("shop/Alarms", { messages: [DeadLetter.MessageFailed] }) {}
const twoErrorChannels = MessageBus.layerErrorChannel(Alarms).pipe(
  Layer.provide(MessageBus.layerErrorChannel(Errors)),
  Layer.provide(Layer.merge(Channel.layerMemory(Errors), Channel.layerMemory(Alarms)))
)

export const wiring = (): void => {
  mistake(section, "two error channels of an application", starting(twoErrorChannels))
  mistake(section, "two handlers of one command", starting(Handler.layer(placing, renamed(placing))))
  mistake(section, "two handlers of one query", starting(Handler.layer(getTotal, renamed(getTotal))))
  mistake(
    section,
    "two handlers of one name",
    starting(Handler.layer(confirm, Handler.event(PaymentReceived, { name: "Confirm", handle: () => Effect.void })))
  )
  mistake(section, "one handler in two layers", starting(Layer.merge(Handler.layer(confirm), Handler.layer(confirm))))

  class Another extends Message.Event<Another>()("OrderPlaced") {}
  mistake(
    section,
    "two messages of one tag",
    starting(Handler.layer(confirm, Handler.event(Another, { name: "Audit", handle: () => Effect.void })))
  )

  class Copy extends Channel.Tag<Copy>()("shop/Copy", { name: "shop/Orders" }) {}
  mistake(
    section,
    "two channels of one name",
    starting(
      Handler.layer(
        event("Confirm").pipe(Handler.asynchronous(Orders)),
        event("Audit").pipe(Handler.asynchronous(Copy))
      ).pipe(Layer.provide(Channel.layerMemory(Copy)))
    )
  )

  mistake(section, "a handler with an empty name", starting(Handler.layer(event(""))))
  mistake(
    section,
    "a handler of no messages",
    starting(
      Handler.layer(Handler.event([], { name: "Audit", handle: () => Effect.void }) as never) as Layer.Layer<never>
    )
  )
  class A extends Interceptor.Tag<A>()("shop/A") {}
  class B extends Interceptor.Tag<B>()("shop/B") {}
  const nothing = Interceptor.before(() => Effect.void)
  mistake(
    section,
    "interceptors outside of each other",
    starting(
      Interceptor.layer(A, { at: "Bus", outside: [B] }).pipe(
        Layer.provideMerge(Interceptor.layer(B, { at: "Bus", outside: [A] })),
        Layer.provide(Layer.merge(Layer.succeed(A, nothing), Layer.succeed(B, nothing)))
      )
    )
  )
  mistake(
    section,
    "routes for a handler without a channel (untyped)",
    starting(Handler.routes(Handler.command(Ship, () => Effect.void) as never) as Layer.Layer<never>)
  )
  mistake(
    section,
    "one step of a saga twice",
    starting(Handler.layer(started.pipe(Saga.on(PaymentReceived, paid), Saga.on(PaymentReceived, paid))))
  )
  mistake(
    section,
    "a saga with timeouts on a direct channel",
    starting(
      Handler.layer(
        started.pipe(Saga.onTimeout("payment", { handle: Effect.succeed }), Handler.asynchronous(Orders))
      ).pipe(Layer.provide(Channel.layerDirect(Orders, {} as Channel.Driver)))
    )
  )

  const nobody = Effect.provide(MessageBus.layerMemory)
  mistake(
    section,
    "a command that nobody handles (untyped)",
    dies(nobody(shipped() as Effect.Effect<void, unknown, CommandBus.CommandBus>))
  )
  mistake(
    section,
    "a query that nobody handles (untyped)",
    dies(nobody(QueryBus.ask(new GetTotal()) as Effect.Effect<number, unknown, QueryBus.QueryBus>))
  )
}
