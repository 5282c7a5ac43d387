/**
 * Options that cannot be.
 */
import {
  Channel,
  CommandBus,
  Consumer,
  DeadLetter,
  Deduplication,
  Handler,
  Journal,
  MessageScheduler,
  MessageStore,
  MessagingTest,
  Metrics,
  UnitOfWork
} from "@holdfast/core"
import { Effect, Layer } from "effect"
import { mistake } from "./page.ts"
import {
  building,
  confirm,
  dies,
  fails,
  Memory,
  Orders,
  PlaceOrder,
  placed,
  placing,
  Ship,
  ship,
  shipped,
  within
} from "./shop.ts"

const section = "Configuration"

const consumer = (options: Consumer.Options) =>
  fails(building(Layer.provide(Consumer.layer(Orders, options), Layer.provideMerge(Handler.layer(ship), Memory))))

const handler = (handlers: Layer.Layer<never, never, Layer.Layer.Success<typeof Memory>>) =>
  dies(building(Layer.provide(handlers, Memory)))

export const configuration = (): void => {
  mistake(section, "a consumer that handles nothing at once", consumer({ concurrency: 0 }))
  mistake(section, "a lease that ends before it can be renewed", consumer({ lease: "10 millis" }))
  mistake(section, "a consumer that never rests", consumer({ pollInterval: 0 }))
  mistake(section, "a drain that ends before it begins", consumer({ drainTimeout: -1 }))

  const limited = (limit: Handler.RateLimit<unknown>) => handler(Handler.layer(ship.pipe(Handler.rateLimit(limit))))
  const breaking = (breaker: Handler.CircuitBreaker) =>
    handler(Handler.layer(ship.pipe(Handler.circuitBreaker(breaker))))
  class Stuck extends Channel.Tag<Stuck>()("shop/Orders", { concurrencyLimit: { limit: 0 } }) {}
  mistake(section, "a rate limit under which nothing begins", limited({ limit: 0, interval: "1 second" }))
  mistake(section, "a rate limit without a while", limited({ limit: 1, interval: 0 }))
  mistake(section, "a limit that is none", limited({ limit: 2_000_000, interval: "1 second" }))
  mistake(section, "a concurrency limit under which nothing runs", dies(building(Channel.layerMemory(Stuck))))
  mistake(section, "a circuit that opens before a failure", breaking({ failures: 0, openFor: "1 second" }))
  mistake(section, "a circuit that is open for no time", breaking({ failures: 1, openFor: 0 }))
  mistake(section, "a pause of nothing", fails(Consumer.pause({ handler: "" })).pipe(Effect.provide(Memory)))

  class Nameless extends Channel.Tag<Nameless>()("shop/Orders", { name: "" }) {}
  class Small extends Channel.Tag<Small>()("shop/Orders", { maxBytes: 0 }) {}
  class Fragile extends Channel.Tag<Fragile>()("shop/Orders", { deadLetter: { afterCrashes: 0 } }) {}
  class Hasty extends Channel.Tag<Hasty>()("shop/Orders", { deadLetter: { unknownEndpointAfter: -1 } }) {}
  mistake(section, "a channel with an empty name", dies(building(Channel.layerMemory(Nameless))))
  mistake(section, "a channel that carries nothing", dies(building(Channel.layerMemory(Small))))
  mistake(section, "a channel that parks what no worker was lost over", dies(building(Channel.layerMemory(Fragile))))
  mistake(section, "a channel that waits for less than no time", dies(building(Channel.layerMemory(Hasty))))
  class Restless extends Channel.Tag<Restless>()("shop/Orders", { deadLetter: { resendAfter: 0 } }) {}
  class Tidy extends Channel.Tag<Tidy>()("shop/Orders", { deadLetter: { archiveAfter: 0 } }) {}
  class Forgetful extends Channel.Tag<Forgetful>()("shop/Orders", { deadLetter: { deleteAfter: 0 } }) {}
  mistake(section, "a channel that sends again at once", dies(building(Channel.layerMemory(Restless))))
  mistake(section, "a channel that puts letters away at once", dies(building(Channel.layerMemory(Tidy))))
  mistake(section, "a channel that forgets letters at once", dies(building(Channel.layerMemory(Forgetful))))
  mistake(
    section,
    "a handler that sends again at once",
    handler(Handler.layer(ship.pipe(Handler.deadLetter({ resendAfter: 0 }))) as never)
  )
  mistake(section, "a retry of half a time", handler(Handler.layer(ship.pipe(Handler.retry({ times: 0.5 }))) as never))
  mistake(
    section,
    "a handler that parks what no worker was lost over",
    dies(building(Handler.layer(ship.pipe(Handler.deadLetter({ afterCrashes: 0 }))))).pipe(Effect.provide(Memory))
  )

  mistake(
    section,
    "a handler that has no time",
    handler(Handler.layer(confirm.pipe(Handler.timeout({ duration: 0, onTimeout: () => undefined as never }))))
  )
  mistake(
    section,
    "a message that is never worth handling",
    handler(Handler.layer(ship.pipe(Handler.timeToLive(0))) as never)
  )
  mistake(
    section,
    "deduplication that remembers nothing",
    handler(Handler.layer(ship.pipe(Handler.deduplicate({ key: ({ id }) => id, window: 0 }))) as never)
  )
  mistake(
    section,
    "the same, said to Deduplication itself",
    Effect.flatMap(Deduplication.Deduplication, (deduplication) =>
      dies(UnitOfWork.run(deduplication.once("1", Number.NaN, Effect.void, Effect.void)))
    ).pipe(Effect.provide(Memory))
  )
  mistake(
    section,
    "an empty key for deduplication",
    fails(placed()).pipe(within(Handler.layer(confirm.pipe(Handler.deduplicate({ key: () => "" })))))
  )
  mistake(
    section,
    "a key for deduplication that no index holds",
    fails(placed()).pipe(within(Handler.layer(confirm.pipe(Handler.deduplicate({ key: () => "x".repeat(300) })))))
  )

  const place = (options: CommandBus.SendOptions) => CommandBus.send(new PlaceOrder({ id: "A1" }), options)
  mistake(
    section,
    "an empty idempotency key",
    fails(place({ idempotencyKey: "" })).pipe(within(Handler.layer(placing)))
  )
  mistake(
    section,
    "one idempotency key for several commands",
    fails(CommandBus.sendAll([new PlaceOrder({ id: "A1" })], { idempotencyKey: "1" } as {})).pipe(
      within(Handler.layer(placing))
    )
  )
  mistake(
    section,
    "an idempotency key that no index holds",
    fails(place({ idempotencyKey: "x".repeat(300) })).pipe(within(Handler.layer(placing)))
  )
  mistake(
    section,
    "an idempotency key that is kept for no time",
    fails(place({ idempotencyKey: { key: "1", window: 0 } })).pipe(within(Handler.layer(placing)))
  )
  mistake(
    section,
    "one idempotency key for two payloads",
    Effect.zipRight(
      CommandBus.send(new PlaceOrder({ id: "B2" }), { idempotencyKey: "1" }),
      fails(place({ idempotencyKey: "1" }))
    ).pipe(within(Handler.layer(placing)))
  )
  mistake(
    section,
    "a kept answer that a new build cannot read",
    Effect.gen(function* () {
      const { claimKey, completeKey } = yield* MessageStore.MessageStore
      const claim = yield* claimKey('["PlaceOrder","1"]', 1_000)
      if (claim._tag === "Claimed") yield* completeKey('["PlaceOrder","1"]', claim.token, "{}", 1_000)
      return yield* fails(place({ idempotencyKey: "1" }))
    }).pipe(within(Handler.layer(placing)))
  )
  mistake(
    section,
    "an idempotency key inside a handler",
    fails(UnitOfWork.run(place({ idempotencyKey: "1" }))).pipe(within(Handler.layer(placing)))
  )
  mistake(
    section,
    "delay or priority for a synchronous command",
    fails(shipped({ priority: 1 })).pipe(within(Handler.layer(Handler.command(Ship, () => Effect.void))))
  )
  mistake(
    section,
    "a priority that is no whole number",
    fails(shipped({ priority: Number.NaN })).pipe(within(Handler.layer(ship)))
  )
  mistake(
    section,
    "a list of no dead letters",
    Effect.flatMap(DeadLetter.DeadLetter, (letters) => fails(letters.list({ limit: 0 }))).pipe(Effect.provide(Memory))
  )
  const searching = (query: MessageStore.JournalQuery) =>
    Effect.flatMap(Journal.Journal, (journal) => fails(journal.search(query))).pipe(Effect.provide(Memory))
  const gauging = (options: Metrics.Options) =>
    dies(Effect.scoped(Layer.build(Metrics.layerWith(options))).pipe(Effect.provide(Memory)))
  mistake(section, "gauges that are read all the time", gauging({ interval: "10 millis" }))
  mistake(section, "gauges that count to nothing", gauging({ most: 0 }))
  mistake(section, "a page of the journal after what is no place in it", searching({ after: "42" }))
  mistake(section, "a search of the journal since no time", searching({ since: Number.NaN }))
  const letters = (use: (letters: DeadLetter.DeadLetter["Type"]) => Effect.Effect<unknown, unknown>) =>
    Effect.flatMap(DeadLetter.DeadLetter, (letters) => fails(use(letters)))
  const ofNone = (use: Parameters<typeof letters>[0]) => Effect.provide(letters(use), Memory)
  mistake(
    section,
    "dead letters of no time",
    ofNone((letters) => letters.search({ since: Number.NaN }))
  )
  mistake(
    section,
    "a replay that tries less than none",
    ofNone((letters) => letters.replayAll({}, { canary: -1 }))
  )
  mistake(
    section,
    "a replay of none at a time",
    ofNone((letters) => letters.replayAll({}, { rate: { limit: 0, interval: "1 second" } }))
  )
  mistake(
    section,
    "a replay without rest",
    ofNone((letters) => letters.replayAll({}, { rate: { limit: 1, interval: 0 } }))
  )
  mistake(
    section,
    "a discard of all dead letters",
    ofNone((letters) => letters.discard({}))
  )
  mistake(
    section,
    "an edit of a letter that is gone",
    ofNone((letters) => letters.edit("1", "{}"))
  )
  /** The one dead letter is edited so. */
  const edited = (payload: string) =>
    Effect.gen(function* () {
      yield* shipped()
      yield* Consumer.drain(Orders)
      return yield* letters((letters) => letters.edit("1", payload))
    }).pipe(within(Handler.layer(Handler.command(Ship, () => Effect.fail("no")).pipe(Handler.asynchronous(Orders)))))
  mistake(section, "an edit that is no JSON", edited("{"))
  mistake(section, "an edit that does not decode", edited("{}"))
  mistake(
    section,
    "a list of no waiting messages",
    Effect.flatMap(MessageScheduler.MessageScheduler, (scheduler) => fails(scheduler.list({ limit: -1 }))).pipe(
      Effect.provide(Memory)
    )
  )
  mistake(
    section,
    "a test that lets all time pass",
    fails(MessagingTest.advance(Number.POSITIVE_INFINITY)).pipe(Effect.provide(Memory))
  )
}
