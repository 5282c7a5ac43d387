/**
 * What a send costs in CPU of this process alone: the real buses over a store that answers commits at once.
 *
 *     tsc -b && node test/dist/bench/micro/sending.js
 */
import { Channel, CommandBus, Handler, Message, MessageBus, MessageStore, UnitOfWork } from "@holdfast/core"
import { Console, Effect, Layer, Option, Schema } from "effect"
import { type Payload, payload } from "../queue.ts"

class Noop extends Message.Command<Noop>()("Noop", {
  payload: {
    n: Schema.Number,
    at: Schema.Number,
    key: Schema.String,
    customer: Schema.String,
    amount: Schema.Number,
    currency: Schema.String,
    note: Schema.String
  }
}) {}
class Work extends Channel.Tag<Work>()("bench/Work", { messages: [Noop] }) {}

const forgetful = Layer.effect(
  MessageStore.MessageStore,
  Effect.map(MessageStore.MessageStore, (store) => ({
    ...store,
    commit: (units: ReadonlyArray<unknown>) => Effect.succeed(units.map(() => Option.none()))
  }))
).pipe(Layer.provide(MessageStore.layerMemory))

const Live = Handler.layer(Handler.command(Noop, () => Effect.void).pipe(Handler.asynchronous(Work))).pipe(
  Layer.provideMerge(MessageBus.layer),
  Layer.provideMerge(Channel.layerMemory(Work)),
  Layer.provideMerge(forgetful)
)

const count = 1_000

const commands = (payloads: ReadonlyArray<Payload>) => payloads.map((each) => new Noop(each))
const each = Effect.suspend(() =>
  Effect.forEach(commands(payloads), (command) => CommandBus.send(command), { discard: true })
)
const payloads = Array.from({ length: count }, (_, n) => payload(n))

const cases = {
  "make the message": Effect.sync(() => commands(payloads)),
  send: each,
  "send in a unit": UnitOfWork.run(each),
  sendAll: Effect.suspend(() => CommandBus.sendAll(commands(payloads)))
}

const rounds = 100

const program = Effect.gen(function* () {
  for (const [name, run] of Object.entries(cases)) {
    yield* Effect.repeatN(run, 20)
    const before = process.cpuUsage()
    yield* Effect.repeatN(run, rounds - 1)
    const { system, user } = process.cpuUsage(before)
    yield* Console.log(`${name.padEnd(20)} ${((user + system) / rounds / count).toFixed(2).padStart(8)} us`)
  }
})

Effect.runPromise(Effect.provide(program, Live))
