/**
 * Everything messaging needs, in memory, under a virtual clock, with a log of what happened. Tests swap layers: the
 * handlers are the ones that run in production.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import type { Channel, Policy } from "./Channel.ts"
import * as CommandBus from "./CommandBus.ts"
import * as DeadLetter from "./DeadLetter.ts"
import * as Deduplication from "./Deduplication.ts"
import * as EventBus from "./EventBus.ts"
import * as HandlerRegistry from "./HandlerRegistry.ts"
import * as consumer from "./internal/consumer.ts"
import * as Input from "./internal/input.ts"
import { type Entry, Observer } from "./internal/observer.ts"
import * as Journal from "./Journal.ts"
import type * as Message from "./Message.ts"
import * as MessageScheduler from "./MessageScheduler.ts"
import * as MessageStore from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"
import * as QueryBus from "./QueryBus.ts"
import * as SagaStore from "./SagaStore.ts"

/**
 * One thing that happened. What a unit of work sent is logged once it has committed.
 *
 * @example
 * ```ts
 * import { MessagingTest } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const describe = (entry: MessagingTest.Entry) => `${entry._tag} ${entry.envelope.tag}`
 * const story = Effect.map(MessagingTest.log, (entries) => entries.map(describe)) // ["Published Tick", "Sent Tick", …]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type { Entry } from "./internal/observer.ts"

/**
 * What happened so far, in order.
 *
 * @example
 * ```ts
 * import { MessagingTest } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const forgetSetUp = Effect.map(MessagingTest.MessageLog, (log) => log.clear())
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class MessageLog extends Context.Tag("@holdfast/core/MessagingTest/MessageLog")<
  MessageLog,
  {
    readonly entries: () => ReadonlyArray<Entry>
    readonly clear: () => void
  }
>() {}

/**
 * What `MessagingTest.layer` provides.
 *
 * @example
 * ```ts
 * import { type MessageStore, MessagingTest } from "@holdfast/core"
 * import type { Layer } from "effect"
 *
 * // a layer of your own for tests, such as one on a test database
 * type TestLayer = Layer.Layer<MessagingTest.Messaging | MessageStore.MessageStore>
 * const inMemory: TestLayer = MessagingTest.layer
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Messaging =
  | CommandBus.CommandBus
  | QueryBus.QueryBus
  | EventBus.EventBus
  | HandlerRegistry.HandlerRegistry
  | MessageScheduler.MessageScheduler
  | DeadLetter.DeadLetter
  | Deduplication.Deduplication
  | SagaStore.SagaStore
  | Journal.Journal
  | MessageLog

/**
 * The buses, scheduler, dead letters, deduplication, sagas and the log over a message store of your choice: to run a
 * test's handlers on a real database.
 *
 * @example
 * ```ts
 * import { MessageStore, MessagingTest } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Testing = MessagingTest.layerStore.pipe(Layer.provideMerge(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStore: Layer.Layer<Messaging, never, MessageStore.MessageStore> = Layer.unwrapEffect(
  Effect.sync(() => {
    const entries: Array<Entry> = []
    const log = Layer.succeed(MessageLog, {
      entries: () => [...entries],
      clear: () => void entries.splice(0)
    })
    const observer = Layer.succeed(Observer, { observe: (entry) => void entries.push(entry) })
    return Layer.mergeAll(
      buses.pipe(Layer.provideMerge(HandlerRegistry.layer), Layer.provide(observer)),
      MessageScheduler.layer,
      DeadLetter.layer,
      Deduplication.layer,
      SagaStore.layer,
      Journal.layer,
      log
    )
  })
)

/**
 * Everything in memory. Time is the `Clock`'s, so under a `TestClock` a timeout of a day is one line.
 *
 * @example
 * ```ts
 * import { Channel, EventBus, Handler, Message, MessagingTest } from "@holdfast/core"
 * import { it } from "@effect/vitest"
 * import { Effect, Layer } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 * class Ticks extends Channel.Tag<Ticks>()("Ticks", { messages: [Tick] }) {}
 *
 * const onTick = Handler.event(Tick, { name: "OnTick", handle: () => Effect.void }).pipe(
 *   Handler.asynchronous(Ticks),
 *   Handler.delay("24 hours")
 * )
 *
 * const Live = Handler.layer(onTick).pipe(
 *   Layer.provideMerge(MessagingTest.layer),
 *   Layer.provideMerge(Channel.layerMemory(Ticks))
 * )
 *
 * it.effect("ticks a day later", () =>
 *   Effect.gen(function* () {
 *     yield* EventBus.publish(new Tick({}))
 *     yield* MessagingTest.advance("24 hours")
 *     const handled = yield* MessagingTest.handled(Tick) // one
 *   }).pipe(Effect.provide(Live)))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Messaging | MessageStore.MessageStore> = layerStore.pipe(
  Layer.provideMerge(MessageStore.layerMemory)
)

/**
 * Handles everything that is waiting now, on all channels with handlers here that are not paused, until nothing is.
 * Answers how many messages that was.
 *
 * @example
 * ```ts
 * import { MessagingTest } from "@holdfast/core"
 *
 * const handled = MessagingTest.drain
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const drain: Effect.Effect<number, MessagingError, HandlerRegistry.HandlerRegistry | MessageStore.MessageStore> =
  Effect.gen(function* () {
    const store = yield* MessageStore.MessageStore
    const registry = yield* HandlerRegistry.HandlerRegistry
    let total = 0
    while (true) {
      let handled = 0
      for (const [channel, policy] of channels(registry)) {
        const options = { leaseMillis: 10_000, owner: "test", concurrency: 1 }
        const parts = yield* consumer.make(store, registry, channel, policy, options)
        handled += yield* consumer.drain(parts, options)
      }
      if (handled === 0) return total
      total += handled
    }
  })

/**
 * Lets time pass: moves the `TestClock` and the store's clock together, stopping at each moment at which a message
 * becomes due, and handles what is waiting there. Answers how many messages that was.
 *
 * @example
 * ```ts
 * import { MessagingTest } from "@holdfast/core"
 *
 * const nextDay = MessagingTest.advance("24 hours")
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const advance = (
  duration: Duration.DurationInput
): Effect.Effect<number, MessagingError, HandlerRegistry.HandlerRegistry | MessageStore.MessageStore> =>
  Effect.gen(function* () {
    yield* Input.reject(Input.duration("the time to advance by", duration, { least: "0 millis", most: "36500 days" }))
    const store = yield* MessageStore.MessageStore
    const registry = yield* HandlerRegistry.HandlerRegistry
    let left = Duration.toMillis(duration)
    let handled = yield* drain
    while (true) {
      const now = yield* store.now
      const paused = yield* store.paused
      const open = channels(registry).filter(([channel]) => !paused.includes(channel.name))
      const dues = yield* Effect.forEach(open, ([channel]) => store.scheduled({ channel: channel.name, limit: 1 }))
      const limits = yield* Effect.forEach(open, ([channel]) => store.flow.refresh(channel.name))
      const next = Math.min(
        ...dues.flat().map((scheduled) => Math.max(1, Math.ceil(scheduled.dueAt - now))),
        ...limits.flatMap(({ nextMillis }) => (nextMillis === undefined ? [] : [nextMillis]))
      )
      const step = Math.min(left, next)
      yield* store.advance(step)
      yield* TestClock.adjust(step)
      handled += yield* drain
      left -= step
      if (left <= 0) return handled
    }
  })

/**
 * Everything that happened, in order.
 *
 * @example
 * ```ts
 * import { MessagingTest } from "@holdfast/core"
 *
 * const log = MessagingTest.log
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const log: Effect.Effect<ReadonlyArray<Entry>, never, MessageLog> = Effect.map(MessageLog, (_) => _.entries())

/**
 * The messages of a class that were sent to a channel, one for each handler, in order.
 *
 * @example
 * ```ts
 * import { Message, MessagingTest } from "@holdfast/core"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const ticks = MessagingTest.sent(Tick) // Effect<ReadonlyArray<Tick>, never, MessageLog>
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const sent = <M extends Message.AnyClass>(
  message: M
): Effect.Effect<ReadonlyArray<M["Type"]>, never, MessageLog> => messagesOf(message, "Sent")

/**
 * The events of a class that were published, in order.
 *
 * @example
 * ```ts
 * import { Message, MessagingTest } from "@holdfast/core"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const ticks = MessagingTest.published(Tick)
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const published = <M extends Message.AnyEvent>(
  message: M
): Effect.Effect<ReadonlyArray<M["Type"]>, never, MessageLog> => messagesOf(message, "Published")

/**
 * The messages of a class that were handled, one for each handler, in order.
 *
 * @example
 * ```ts
 * import { Message, MessagingTest } from "@holdfast/core"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const ticks = MessagingTest.handled(Tick)
 * ```
 *
 * @since 0.1.0
 * @category reading
 */
export const handled = <M extends Message.AnyClass>(
  message: M
): Effect.Effect<ReadonlyArray<M["Type"]>, never, MessageLog> => messagesOf(message, "Handled")

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Without the warnings of `MessageBus.layer`: tests consume by hand. */
const buses = Layer.mergeAll(CommandBus.layer, QueryBus.layer, EventBus.layer)

const channels = (registry: HandlerRegistry.HandlerRegistry["Type"]): ReadonlyArray<readonly [Channel, Policy]> => {
  const byName = new Map<string, readonly [Channel, Policy]>()
  for (const { local, route } of registry.all()) {
    if (local && route !== undefined) byName.set(route.channel.name, [route.channel, route.policy])
  }
  return [...byName.values()]
}

const messagesOf = <M extends Message.AnyClass>(message: M, tag: "Sent" | "Published" | "Handled") =>
  Effect.map(log, (entries) =>
    entries.flatMap((entry) =>
      entry._tag === tag && entry.envelope.tag === message._tag ? [entry.message as M["Type"]] : []
    )
  )
