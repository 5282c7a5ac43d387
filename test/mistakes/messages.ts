/**
 * Tags and versions of messages, when the class is made and when an old or new one comes.
 */
import { Channel, Consumer, Handler, Message } from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import { mistake } from "./page.ts"
import { building, dies, letter, Memory, Orders, send, within } from "./shop.ts"

const wiring = "Wiring, found at start"
const payload = "Payload and schema"

/** What a class throws when it is made. */
const thrown = (make: () => unknown) =>
  Effect.flip(Effect.try({ try: make, catch: (error) => (error as Error).message })) as Effect.Effect<string, unknown>

const read = Message.upcaster(Schema.Struct({}), () => ({}))

const versions = (version: number, upcasters: Message.Upcasters<{}>) =>
  thrown(() => class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", { version, upcasters }) {})

class Impatient extends Channel.Tag<Impatient>()("shop/Orders", { deadLetter: { unknownEndpointAfter: 0 } }) {}

class Tick extends Message.Event<Tick>()("holdfast/Tick") {}
class First extends Message.Event<First>()("OrderPlaced") {}
class Third extends Message.Event<Third>()("OrderPlaced", { version: 3, upcasters: { 2: read } }) {}

/** The dead letter that a consumer makes of an OrderPlaced with these headers. */
const received = (event: typeof First | typeof Third, headers: Readonly<Record<string, string>>) =>
  Effect.all([send("OrderPlaced", "Confirm", "{}", headers), Consumer.drain(Impatient)]).pipe(
    Effect.zipRight(letter),
    within(
      Handler.layer(
        Handler.event(event as typeof First, { name: "Confirm", handle: () => Effect.void }).pipe(
          Handler.asynchronous(Orders)
        )
      ).pipe(Layer.provideMerge(Channel.layerMemory(Impatient)))
    )
  )

export const messages = (): void => {
  mistake(
    wiring,
    "an empty tag",
    thrown(() => class Nameless extends Message.Event<Nameless>()("") {})
  )
  mistake(
    wiring,
    "a tag of the runtime's own",
    dies(
      building(Layer.provide(Handler.layer(Handler.event(Tick, { name: "Audit", handle: () => Effect.void })), Memory))
    )
  )
  mistake(payload, "a version that is no version", versions(1.5, {}))
  mistake(payload, "an upcaster under a key that is no version", versions(2, { 0: read }))
  mistake(payload, "an upcaster for the class's own version", versions(2, { 2: read }))
  mistake(payload, "upcasters with a gap", versions(3, { 1: read }))
  mistake(payload, "a version without an upcaster", received(Third, {}))
  mistake(payload, "a version that no consumer knows yet", received(First, { messageVersion: "2" }))
}
