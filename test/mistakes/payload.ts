/**
 * Payloads, states and answers that their schemas refuse, and messages that are too large.
 */
import { Channel, CommandBus, Consumer, EventBus, Handler, Message, QueryBus, Saga } from "@holdfast/core"
import { Effect, Layer, Option, Schema } from "effect"
import { mistake } from "./page.ts"
import {
  confirm,
  dies,
  fails,
  GetTotal,
  Import,
  letter,
  logs,
  Memory,
  OrderPlaced,
  Orders,
  placed,
  Ship,
  send,
  ship,
  within,
  write
} from "./shop.ts"

const section = "Payload and schema"

const id = ({ id }: { readonly id: string }) => id
const stored = confirm.pipe(Handler.asynchronous(Orders))

/** A saga of orders that is moved by hand. */
const saga = (handle: (event: OrderPlaced) => Effect.Effect<{ readonly total: number }, never, Saga.CurrentSaga>) =>
  Saga.make("Fulfilment", { state: Schema.Struct({ total: Schema.Number }) }).pipe(
    Saga.startOn(OrderPlaced, { id, handle })
  )

const unreadable = write({
  _tag: "SagaPut",
  saga: "Fulfilment",
  id: "A1",
  version: 1,
  state: "{}",
  completed: false,
  timers: {}
})

class Impatient extends Channel.Tag<Impatient>()("shop/Orders", { deadLetter: { unknownEndpointAfter: 0 } }) {}

export const payload = (): void => {
  class Unsendable extends Message.Event<Unsendable>()("OrderPlaced", {
    payload: { total: Schema.transform(Schema.String, Schema.Any, { decode: (_) => _, encode: () => 1n as never }) }
  }) {}
  mistake(
    section,
    "a value that its schema cannot encode",
    fails(EventBus.publish(new Unsendable({ total: "" }))).pipe(within(Layer.empty))
  )
  mistake(
    section,
    "a handler that answers what its schema refuses",
    fails(QueryBus.ask(new GetTotal())).pipe(
      within(Handler.layer(Handler.query(GetTotal, () => Effect.succeed("many" as unknown as number))))
    )
  )
  mistake(
    section,
    "a stored payload that no longer decodes",
    logs("OrderPlaced was put", Effect.zipRight(send("OrderPlaced", "Confirm", "{}"), Consumer.drain(Orders))).pipe(
      within(Handler.layer(stored))
    )
  )
  mistake(
    section,
    "a renamed or removed handler",
    Effect.all([send("OrderPlaced", "Confirm", "{}"), Consumer.drain(Impatient)]).pipe(
      Effect.zipRight(letter),
      within(Layer.provideMerge(Handler.layer(ship), Channel.layerMemory(Impatient)))
    )
  )

  const starting = saga(() => Effect.succeed({ total: 1 }))
  mistake(
    section,
    "a saga state that no longer decodes",
    fails(Effect.zipRight(unreadable, Saga.get(starting, "A1"))).pipe(Effect.provide(Memory))
  )
  mistake(
    section,
    "a transition that returns a wrong state",
    fails(placed()).pipe(within(Handler.layer(saga(() => Effect.succeed({ total: "many" as unknown as number })))))
  )
  mistake(
    section,
    "a saga message without an identifier",
    fails(placed()).pipe(
      within(
        Handler.layer(
          Saga.make("Fulfilment", { state: Schema.Struct({}) }).pipe(
            Saga.startOn(OrderPlaced, { id: () => Option.none(), handle: () => Effect.succeed({}) })
          )
        )
      )
    )
  )

  const arming = saga(() => Effect.as(Saga.arm("payment", "1 hour"), { total: 1 }))
  mistake(section, "a timeout that nobody handles", dies(placed()).pipe(within(Handler.layer(arming))))
  mistake(
    section,
    "a saga with timeouts without a channel (untyped)",
    dies(placed()).pipe(
      within(
        Handler.layer(arming.pipe(Saga.onTimeout("payment", { handle: Effect.succeed })) as never) as Layer.Layer<never>
      )
    )
  )

  mistake(
    "Size",
    "an ordering key too long",
    fails(CommandBus.send(new Ship({ id: "x".repeat(300) }))).pipe(
      within(Handler.layer(ship.pipe(Handler.orderedBy(id))))
    )
  )
  mistake(
    "Size",
    "a message too large",
    fails(CommandBus.send(new Import({ content: "x".repeat(1_999_987) }))).pipe(
      within(Handler.layer(Handler.command(Import, () => Effect.void).pipe(Handler.asynchronous(Orders))))
    )
  )
}
