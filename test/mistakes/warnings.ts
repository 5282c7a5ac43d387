/**
 * What is warned of when a process starts, and stop conditions that are none.
 */
import { Channel, Consumer, Handler, MessageBus, MessageStore } from "@holdfast/core"
import { Effect, Layer, TestClock } from "effect"
import { mistake } from "./page.ts"
import { confirm, fails, logs, Orders, ship, within } from "./shop.ts"

const section = "Configuration"

const confirming = confirm.pipe(Handler.asynchronous(Orders))

const InMemory = Layer.provideMerge(MessageBus.layerMemory, Channel.layerMemory(Orders))

const consuming = Effect.scoped(Layer.build(Consumer.layer(Orders)))

export const warnings = (): void => {
  mistake(
    section,
    "a channel that nobody consumes",
    logs(
      "Nobody",
      TestClock.adjust("10 seconds").pipe(Effect.provide(Layer.provideMerge(Handler.layer(confirming, ship), InMemory)))
    )
  )
  mistake(
    section,
    "a forgotten pause",
    logs("Channel", Effect.zipRight(Consumer.pause(Orders), consuming).pipe(within(Handler.layer(ship))))
  )
  mistake(
    section,
    "a handler removed without Consumer.unsubscribe",
    logs(
      `"Confirm"`,
      Effect.flatMap(MessageStore.MessageStore, (store) =>
        store.subscribe([{ tag: "OrderPlaced", endpoint: "Confirm", channel: Orders.channelName }])
      ).pipe(Effect.zipRight(consuming), within(Handler.layer(ship)))
    )
  )
  mistake(
    section,
    "a stop condition that makes no sense",
    fails(Consumer.run(Orders, { stopAfter: { messages: 0 } })).pipe(within(Handler.layer(ship)))
  )
}
