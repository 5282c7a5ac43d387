/**
 * Consumers take messages from a channel and hand them to their handlers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Channel from "./Channel.ts"
import type { HandledOn } from "./Handler.ts"
import { HandlerRegistry } from "./HandlerRegistry.ts"
import * as claiming from "./internal/claiming.ts"
import * as consumer from "./internal/consumer.ts"
import { check, claimingOf, concurrencyOf, drainOf, leaseOf } from "./internal/consumerOptions.ts"
import * as Input from "./internal/input.ts"
import { uuid7 } from "./internal/uuid.ts"
import * as wiring from "./internal/wiring.ts"
import type * as Message from "./Message.ts"
import { MessageStore, type Pause, type PauseTarget as StoredTarget } from "./MessageStore.ts"
import { MessagingError } from "./MessagingError.ts"

/**
 * How a consumer runs.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const patient: Consumer.Options = { concurrency: 10, lease: "30 seconds", drainTimeout: "1 minute" }
 * const OrdersConsumer = Consumer.layer(Orders, patient)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * How many messages this consumer handles at once. 4 unless given. While handlers are quick it also claims ahead what
   * they will have worked off in a moment.
   */
  readonly concurrency?: number | undefined
  /**
   * For how long a claim holds without renewal. A consumer renews three times in that while; one that is killed or
   * frozen loses its messages to others after it. 10 seconds unless given; between 1 second and 1 day.
   */
  readonly lease?: Duration.DurationInput | undefined
  /** How long to wait at most for a notification before looking again. 1 second unless given. */
  readonly pollInterval?: Duration.DurationInput | undefined
  /** How long handlers may finish when the layer closes, before they are interrupted and given back. 30 seconds. */
  readonly drainTimeout?: Duration.DurationInput | undefined
  /**
   * When to look at the channel. Each time, the consumer handles all that is waiting, also what comes meanwhile, and
   * then rests until the next one. `Schedule.fixed("1 minute")` looks every minute, for the first time after one; a
   * round that takes longer is followed by the next at once. `Schedule.cron("0 2 * * *", "UTC")` looks at two each
   * night. When the schedule ends, the consumer takes nothing more. Without one it takes messages as they come.
   */
  readonly schedule?: Schedule.Schedule<unknown> | undefined
}

/**
 * When a consumer that is run as an effect stops: as soon as one of these holds. They are looked at between messages.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 *
 * const recycled: Consumer.StopAfter = { messages: 10_000, duration: "6 hours", memory: 512 * 1024 * 1024 }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface StopAfter {
  /** So many messages are handled. It never claims more than are left of them. */
  readonly messages?: number | undefined
  /** So much time has passed since it began to consume. */
  readonly duration?: Duration.DurationInput | undefined
  /** Nothing is waiting and nothing of its own is in flight. What is due later, or is in flight elsewhere, counts not. */
  readonly empty?: boolean | undefined
  /** The process's resident set, as `MemoryUsage` tells it, is at least so many bytes. */
  readonly memory?: number | undefined
}

/**
 * How a consumer runs that ends by itself.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 *
 * const job: Consumer.RunOptions = { concurrency: 10, stopAfter: { empty: true } }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface RunOptions extends Options {
  readonly stopAfter?: StopAfter | undefined
}

/**
 * Why a consumer stopped, and how many messages it handled: those whose handler failed count, those given back do not.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const report = ({ handled, reason }: Consumer.Stopped) => Effect.log(`${handled} handled, stopped by ${reason}`)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Stopped {
  readonly reason: "Messages" | "Duration" | "Empty" | "Memory" | "Schedule"
  readonly handled: number
}

/**
 * Tells how much memory the process uses, in bytes: its resident set, or 0 where there is no such thing. Tests and other
 * platforms provide their own.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 * import { Effect, Layer } from "effect"
 *
 * const FullTest = Layer.succeed(Consumer.MemoryUsage, Effect.succeed(600 * 1024 * 1024))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class MemoryUsage extends Context.Reference<MemoryUsage>()("@holdfast/core/Consumer/MemoryUsage", {
  defaultValue: (): Effect.Effect<number> => Effect.sync(residentSet)
}) {}

/**
 * Runs a consumer of the channel for as long as the layer lives.
 *
 * Consumers of one channel, in any number of processes, compete: each message is handled by one of them, under a lease
 * that is renewed while the handler runs. A killed consumer's messages run again elsewhere when the lease ends; a
 * consumer that lost its lease can commit nothing. When the layer closes it takes nothing new, lets handlers finish,
 * and gives the rest back. While the database is away it waits and burns no attempts.
 *
 * It leaves the subscriptions of the channel's event handlers in the store, so that publishers which do not know them
 * make their copies. It fails to build when the consumers of this process may handle more at once than the database
 * pool of their handlers has connections.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const OrdersConsumer = Consumer.layer(Orders, { concurrency: 10, lease: "10 seconds" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <I, Name extends string, M extends Message.AnyClass>(
  tag: Channel.TagClass<I, Name, M>,
  options?: Options
): Layer.Layer<never, MessagingError, I | HandledOn<I> | HandlerRegistry | MessageStore> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const parts = yield* prepare(tag, options)
      yield* open(tag, parts, options)
      yield* claimUntilStopped(parts, options).pipe(
        Effect.tap(() => Effect.logInfo("The consumer's schedule has ended: it takes nothing more")),
        Effect.tapDefect((cause) => Effect.logError("The consumer's schedule died: it takes nothing more", cause)),
        Effect.forkScoped
      )
    }).pipe(annotated(tag))
  )

/**
 * Consumes the channel as `layer` does, as an effect: until the first condition of `stopAfter` holds or the schedule
 * ends. With neither it never ends by itself, and its type says so. For jobs, cron pods, and workers that are replaced
 * after a while or before they outgrow their memory.
 *
 * A message in flight is not interrupted by a condition: the consumer takes nothing new, lets handlers finish for
 * `drainTimeout`, gives the rest back, and then answers why it stopped and how many messages it handled. The same
 * happens when it is interrupted.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 * import { Effect, Schedule } from "effect"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * // a pod that cron starts
 * const job = Consumer.run(Orders, { stopAfter: { empty: true, duration: "50 minutes" } }).pipe(
 *   Effect.tap(({ handled, reason }) => Effect.log(`${handled} handled, stopped by ${reason}`))
 * )
 *
 * // a worker that its platform starts again
 * const recycled = Consumer.run(Orders, { concurrency: 10, stopAfter: { messages: 10_000, memory: 512 * 1024 * 1024 } })
 *
 * // a worker that wakes at two each night
 * const nightly = Consumer.run(Orders, { schedule: Schedule.cron("0 2 * * *", "Europe/Berlin") })
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const run: {
  <I, Name extends string, M extends Message.AnyClass>(
    tag: Channel.TagClass<I, Name, M>,
    options?: Options & { readonly schedule?: undefined; readonly stopAfter?: undefined }
  ): Effect.Effect<never, MessagingError, I | HandledOn<I> | HandlerRegistry | MessageStore>
  <I, Name extends string, M extends Message.AnyClass>(
    tag: Channel.TagClass<I, Name, M>,
    options: RunOptions
  ): Effect.Effect<Stopped, MessagingError, I | HandledOn<I> | HandlerRegistry | MessageStore>
} = ((tag: Channel.TagClass<any, string, any>, options?: RunOptions) => runUntilStopped(tag, options)) as any

/**
 * Handles what is waiting on the channel now, one message after the other, and answers how many messages that was. For
 * tests and jobs that end. Messages that are put on the channel meanwhile are handled too; those due later are not. A
 * paused channel has nothing to handle.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const handled = Consumer.drain(Orders) // Effect<number, MessagingError, Orders | HandlerRegistry | MessageStore>
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const drain = <I, Name extends string, M extends Message.AnyClass>(
  tag: Channel.TagClass<I, Name, M>
): Effect.Effect<number, MessagingError, I | HandlerRegistry | MessageStore> =>
  Effect.gen(function* () {
    const parts = yield* prepare(tag, undefined)
    yield* wiring.heartbeat(parts.store, tag.channelName)
    return yield* consumer.drain(parts, { leaseMillis: leaseOf(undefined) })
  }).pipe(Effect.scoped)

/**
 * Whose messages a pause of a handler, of a tenant, or of both together is of; on one channel, or on all.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 *
 * class Mails extends Channel.Tag<Mails>()("shop/Mails") {}
 *
 * const handler: Consumer.PauseTarget = { handler: "SendConfirmation" }
 * const tenant: Consumer.PauseTarget = { tenant: "acme" }
 * const both: Consumer.PauseTarget = { handler: "SendConfirmation", tenant: "acme", channel: Mails }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type PauseTarget = (
  | { readonly handler: string; readonly tenant?: string | undefined }
  | { readonly tenant: string; readonly handler?: string | undefined }
) & { readonly channel?: Channel.TagClass<any, string, any> | undefined }

/**
 * Stops all consumers, in all processes, until they are resumed: of a channel, from which none claims another message;
 * or of the messages of a handler or of a tenant, which are set aside when a consumer meets them. What is in flight is
 * finished; what is sent meanwhile, or becomes due, waits. Nothing counts as an attempt, and messages with an ordering
 * key keep their order. A pause of a handler or tenant holds in all processes within a second.
 *
 * The store remembers the pause, with its `reason`, so that it survives restarts and deployments. It holds for a
 * broker's channel too: messages of a paused handler or tenant come again from the broker every second.
 *
 * A handler is named by its durable name. The tenant of a message is what its channel says, its header `tenant` unless
 * the channel says otherwise. A name that is empty fails with `Rejected`.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const channel = Consumer.pause(Orders) // Effect<void, MessagingError, MessageStore>
 * const handler = Consumer.pause({ handler: "SendConfirmation" }, { reason: "the mail server moves" })
 * const tenant = Consumer.pause({ tenant: "acme", channel: Orders })
 * ```
 *
 * @since 0.1.0
 * @category pausing
 */
export const pause = (
  what: Channel.TagClass<any, string, any> | PauseTarget,
  options?: { readonly reason?: string | undefined }
): Effect.Effect<void, MessagingError, MessageStore> =>
  Effect.zipRight(
    checkPause(what),
    Effect.flatMap(MessageStore, ({ flow }) => flow.pause(pauseOf(what), options?.reason))
  )

/**
 * Ends a pause, which is named as it was begun, and wakes consumers: what was set aside is handled, oldest first. Does
 * nothing where there is no such pause.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const channel = Consumer.resume(Orders)
 * const handler = Consumer.resume({ handler: "SendConfirmation" })
 * ```
 *
 * @since 0.1.0
 * @category pausing
 */
export const resume = (
  what: Channel.TagClass<any, string, any> | PauseTarget
): Effect.Effect<void, MessagingError, MessageStore> =>
  Effect.zipRight(
    checkPause(what),
    Effect.flatMap(MessageStore, ({ flow }) => flow.resume(pauseOf(what)))
  )

/**
 * The names of the channels that are paused.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 *
 * const names = Consumer.paused // Effect<ReadonlyArray<string>, MessagingError, MessageStore>
 * ```
 *
 * @since 0.1.0
 * @category pausing
 */
export const paused: Effect.Effect<ReadonlyArray<string>, MessagingError, MessageStore> = Effect.flatMap(
  MessageStore,
  (store) => store.paused
)

/**
 * All pauses, of channels, handlers and tenants: since when, why, and how many messages each has set aside. With
 * `onGivenUp: "Stop"` the reason says what was given up, and by whom.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const report = Effect.flatMap(Consumer.pauses, (pauses) =>
 *   Effect.forEach(pauses, ({ channel, handler, held, reason, tenant }) =>
 *     Effect.log(`${channel ?? handler ?? tenant} is paused (${reason ?? "no reason given"}), ${held} messages are held`)
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category pausing
 */
export const pauses: Effect.Effect<ReadonlyArray<Pause>, MessagingError, MessageStore> = Effect.flatMap(
  MessageStore,
  (store) => store.flow.pauses
)

/**
 * The circuit of a handler in this process: see `Handler.circuitBreaker`. `failures` counts those in a row.
 *
 * @example
 * ```ts
 * import type { Consumer } from "@holdfast/core"
 *
 * const isWell = ({ state }: Consumer.Circuit) => state === "Closed"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Circuit {
  readonly handler: string
  readonly state: "Closed" | "Open" | "HalfOpen"
  readonly failures: number
}

/**
 * The circuits of this process, of handlers that have met them: for health checks and dashboards.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const isHealthy = Effect.map(Consumer.circuits, (circuits) => circuits.every(({ state }) => state === "Closed"))
 * ```
 *
 * @since 0.1.0
 * @category pausing
 */
export const circuits: Effect.Effect<ReadonlyArray<Circuit>, never, HandlerRegistry> = Effect.map(
  HandlerRegistry,
  (registry) => Array.from(registry.circuits.values(), ({ failures, handler, state }) => ({ failures, handler, state }))
)

/**
 * Leaves the subscriptions of the channel's event handlers in the store without consuming: what `layer` does when it
 * starts. For deployments that prepare a new version before its workers run.
 *
 * @example
 * ```ts
 * import { Channel, Consumer } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const prepared = Consumer.subscribe(Orders)
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const subscribe = <I, Name extends string, M extends Message.AnyClass>(
  tag: Channel.TagClass<I, Name, M>
): Effect.Effect<void, MessagingError, I | HandlerRegistry | MessageStore> =>
  Effect.gen(function* () {
    const channel: Channel.Channel = yield* tag
    const registry = yield* HandlerRegistry
    const store = yield* MessageStore
    if (channel._tag === "Direct") return
    const subscriptions = registry
      .all()
      .filter((entry) => entry.local && entry.route?.channel.name === channel.name)
      .flatMap((entry) =>
        entry.messages
          .filter((message) => message.kind === "Event")
          .map((message) => ({
            tag: message._tag,
            endpoint: entry.name,
            channel: channel.name,
            ordered: entry.route?.orderingKey !== undefined
          }))
      )
    if (subscriptions.length > 0) yield* store.subscribe(subscriptions)
  })

/**
 * Ends the subscriptions of an event handler that was removed for good: no more copies are made for it. Those already
 * made wait on its channel for the channel's `unknownEndpointAfter`, and are then dead letters.
 *
 * @example
 * ```ts
 * import { Consumer } from "@holdfast/core"
 *
 * const retired = Consumer.unsubscribe("SendOldNewsletter")
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const unsubscribe = (endpoint: string): Effect.Effect<void, MessagingError, MessageStore> =>
  Effect.flatMap(MessageStore, (store) => store.unsubscribe(endpoint))

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** A database that is away for a moment when the process starts. */
const starting = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("2 seconds")),
  Schedule.upTo("30 seconds")
)

const annotated = (tag: Channel.TagClass<any, any, any>) =>
  Effect.annotateLogs({ package: "@holdfast/core", module: "Consumer", channel: tag.channelName })

const residentSet = (): number => {
  const { process } = globalThis as { readonly process?: { readonly memoryUsage?: { readonly rss?: () => number } } }
  return process?.memoryUsage?.rss?.() ?? 0
}

const pauseOf = (what: Channel.TagClass<any, string, any> | PauseTarget): StoredTarget => {
  if (typeof what === "function") return { channel: what.channelName }
  const { channel, handler, tenant } = what
  return { channel: channel?.channelName, handler, tenant }
}

/** In a store, an empty text stands for any. */
const checkPause = (what: Channel.TagClass<any, string, any> | PauseTarget): Effect.Effect<void, MessagingError> => {
  if (typeof what === "function") return Effect.void
  const { handler, tenant } = what
  const named = handler !== "" && tenant !== "" && (handler !== undefined || tenant !== undefined)
  return Input.reject(named ? undefined : "a pause needs the name of a handler or of a tenant, and a name is not empty")
}

const prepare = <I>(tag: Channel.TagClass<I, any, any>, options: Options | undefined) =>
  Effect.gen(function* () {
    const channel: Channel.Channel = yield* tag
    const registry = yield* HandlerRegistry
    const store = yield* MessageStore
    const owner = yield* uuid7
    const concurrency = concurrencyOf(options)
    return yield* consumer.make(store, registry, channel, tag.policy, {
      leaseMillis: leaseOf(options),
      owner,
      concurrency
    })
  })

const runUntilStopped = <I>(
  tag: Channel.TagClass<I, any, any>,
  options: RunOptions | undefined
): Effect.Effect<Stopped, MessagingError, I | HandlerRegistry | MessageStore> =>
  Effect.gen(function* () {
    const parts = yield* prepare(tag, options)
    const reason = yield* open(tag, parts, options).pipe(
      Effect.zipRight(claimUntilStopped(parts, options)),
      Effect.scoped
    )
    const { handled } = parts.slots
    yield* Effect.logInfo(`Stopped (${reason}) after ${handled} messages`)
    return { reason, handled }
  }).pipe(annotated(tag))

/** What comes before the first claim. When the scope closes, what is in flight is drained. */
const open = <I>(tag: Channel.TagClass<I, any, any>, parts: consumer.Parts, options: RunOptions | undefined) =>
  Effect.gen(function* () {
    yield* check(tag.channelName, options ?? {})
    yield* checkPool(tag, options)
    yield* Effect.retry(subscribe(tag), { while: (error) => error.isRetryable, schedule: starting })
    yield* Effect.retry(parts.flow.refresh, { while: (error) => error.isRetryable, schedule: starting })
    yield* wiring.warnOfChannel(parts.store, parts.registry, tag.channelName)
    yield* wiring.heartbeat(parts.store, tag.channelName)
    yield* consumer.open(parts, { leaseMillis: leaseOf(options), drainMillis: drainOf(options) })
    yield* Effect.logInfo(`Consuming for ${parts.endpoints().join(", ")}`)
  })

const claimUntilStopped = (parts: consumer.Parts, options: RunOptions | undefined) =>
  Effect.flatMap(MemoryUsage, (usage) => claiming.claimUntil(parts, claimingOf(options, usage)))

const checkPool = (
  tag: Channel.TagClass<any, any, any>,
  options: Options | undefined
): Effect.Effect<void, MessagingError, HandlerRegistry | MessageStore | Scope.Scope> =>
  Effect.gen(function* () {
    const registry = yield* HandlerRegistry
    const { handlerConnections } = yield* MessageStore
    const concurrency = concurrencyOf(options)
    const sum = yield* Effect.acquireRelease(
      Effect.sync(() => registry.reserve(concurrency)),
      () => Effect.sync(() => registry.reserve(-concurrency))
    )
    if (handlerConnections === undefined || sum <= handlerConnections) return
    return yield* new MessagingError({
      reason: "Rejected",
      detail:
        `with channel "${tag.channelName}" the consumers of this process handle ${sum} messages at once, but the ` +
        `database client has ${handlerConnections} connections: raise its maxConnections, or lower the concurrency`
    })
  })
