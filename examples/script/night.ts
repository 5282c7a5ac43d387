/**
 * Three in the morning: charges fail, an operator finds what failed alike, tries one letter, and lets the rest follow.
 * `node dist/night.js` tells the night step by step.
 */
import { pathToFileURL } from "node:url"
import { Channel, CommandBus, Consumer, DeadLetter, Handler, Message, MessageBus } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Console, Context, Data, Effect, Layer, Ref, Schedule, Schema } from "effect"

export class Charge extends Message.Command<Charge>()("Charge", {
  payload: { orderId: Schema.String, currency: Schema.String }
}) {}

export class Errors extends Channel.Tag<Errors>()("night/Errors", { messages: [DeadLetter.MessageFailed] }) {}
export class Payments extends Channel.Tag<Payments>()("night/Payments", {
  messages: [Charge],
  deadLetter: { archiveAfter: "30 days", deleteAfter: "365 days" }
}) {}

class GatewayBroken extends Data.TaggedError("GatewayBroken")<{ readonly message: string }> {}
class UnknownCurrency extends Data.TaggedError("UnknownCurrency")<{ readonly message: string }> {}

/** Stands for a payment provider that was deployed badly this evening. */
export class Gateway extends Context.Tag("night/Gateway")<
  Gateway,
  { readonly broken: Ref.Ref<boolean>; readonly charged: Ref.Ref<ReadonlyArray<string>> }
>() {
  static readonly layer = Layer.effect(
    Gateway,
    Effect.all({ broken: Ref.make(true), charged: Ref.make<ReadonlyArray<string>>([]) })
  )
}

const charge = Handler.command(
  Charge,
  Effect.fn("charge")(function* ({ currency, orderId }) {
    const { broken, charged } = yield* Gateway
    if (yield* Ref.get(broken)) return yield* new GatewayBroken({ message: "502 from the gateway" })
    if (currency !== "EUR") return yield* new UnknownCurrency({ message: `no currency ${currency}` })
    yield* Ref.update(charged, (all) => [...all, orderId])
  })
).pipe(
  Handler.asynchronous(Payments),
  Handler.retryTags({
    UnknownCurrency: "Never",
    GatewayBroken: Schedule.jittered(Schedule.spaced("50 millis")).pipe(Schedule.intersect(Schedule.recurs(2)))
  })
)

/** What rings the telephone. */
const alert = Handler.event(DeadLetter.MessageFailed, {
  name: "Alert",
  handle: ({ endpoint, failures, reason }) =>
    Console.log(`alert: ${endpoint} gave up after ${failures.length} tries (${reason})`)
}).pipe(Handler.asynchronous(Errors))

export const Handlers = Layer.merge(Handler.layer(charge, alert), MessageBus.layerErrorChannel(Errors)).pipe(
  Layer.provideMerge(Gateway.layer)
)

const Live = Layer.merge(Consumer.layer(Payments), Consumer.layer(Errors)).pipe(
  Layer.provideMerge(Handlers),
  Layer.provideMerge(MessageBus.layer),
  Layer.provideMerge(Layer.merge(PgChannel.layer(Payments), PgChannel.layer(Errors))),
  Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(EmbeddedPostgres.layer)
)

/** The evening: four charges meet a broken gateway; one of them is wrong in itself. */
export const evening = Effect.forEach(
  [["1", "EURO"] as const, ...["2", "3", "4"].map((orderId) => [orderId, "EUR"] as const)],
  ([orderId, currency]) => CommandBus.send(new Charge({ orderId, currency })),
  { discard: true }
)

/** What the operator does, once the letters lie there; `settle` waits until replays have their end. */
export const night = Effect.fn("night")(function* <R>(settle: Effect.Effect<unknown, unknown, R>) {
  const deadLetters = yield* DeadLetter.DeadLetter
  const { broken } = yield* Gateway
  const [group] = yield* deadLetters.groups()
  yield* Console.log(`${group!.count} letters: ${group!.fingerprint}`)
  const { letters } = yield* deadLetters.search({ fingerprint: group!.fingerprint, text: "EURO" })
  const wrong = letters[0]!
  yield* Console.log(`one is wrong in itself: ${wrong.envelope.payload}`)
  const mended = { ...JSON.parse(wrong.envelope.payload), currency: "EUR" }
  yield* deadLetters.edit(wrong.key, JSON.stringify(mended))

  // too early: the first one comes back, and the others stay where they are
  yield* deadLetters.replayAll({ fingerprint: group!.fingerprint }, { canary: 1 })
  yield* settle
  const [tooEarly] = yield* deadLetters.replays
  yield* Console.log(`${tooEarly!.state}: ${tooEarly!.detail}`)

  yield* Ref.set(broken, false) // the gateway was rolled back
  yield* deadLetters.replayAll({ endpoint: "Charge" }, { canary: 1, rate: { limit: 50, interval: "1 second" } })
  yield* settle
  const [replay] = yield* deadLetters.replays
  yield* Console.log(`${replay!.state}: ${replay!.replayed} of ${replay!.total} were replayed`)
  return replay!
})

const main = Effect.gen(function* () {
  const deadLetters = yield* DeadLetter.DeadLetter
  const isQuiet = Effect.map(deadLetters.replays, (all) =>
    all.every(({ state }) => state === "Done" || state === "Stopped")
  )
  const again = Schedule.spaced("100 millis")
  yield* evening
  yield* Effect.repeat(deadLetters.count(), { until: (count) => count === 4, schedule: again })
  yield* night(Effect.repeat(isQuiet, { until: (quiet) => quiet, schedule: again }))
})

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href)
  await Effect.runPromise(Effect.scoped(Effect.provide(main, Live)))
