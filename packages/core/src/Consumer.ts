/**
 * Consumers take messages from a channel and hand them to their handlers.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Channel from "./Channel.ts"
import type { HandledOn } from "./Handler.ts"
import { HandlerRegistry } from "./HandlerRegistry.ts"
import * as consumer from "./internal/consumer.ts"
import * as Input from "./internal/input.ts"
import { uuid7 } from "./internal/uuid.ts"
import type * as Message from "./Message.ts"
import { MessageStore } from "./MessageStore.ts"
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
  /** How many messages this consumer handles at once, and so holds in memory. 4 unless given. */
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
}

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
      yield* checkOptions(tag.channelName, options ?? {})
      const parts = yield* prepare(tag, options)
      yield* checkPool(tag, options)
      yield* Effect.retry(subscribe(tag), { while: (error) => error.isRetryable, schedule: starting })
      yield* consumer.run(parts, {
        concurrency: concurrencyOf(options),
        leaseMillis: leaseOf(options),
        pollMillis: Duration.toMillis(options?.pollInterval ?? "1 second"),
        drainMillis: Duration.toMillis(options?.drainTimeout ?? "30 seconds")
      })
      yield* Effect.logInfo(`Consuming for ${parts.endpoints().join(", ")}`)
    }).pipe(Effect.annotateLogs({ package: "@holdfast/core", module: "Consumer", channel: tag.channelName }))
  )

/**
 * Handles what is waiting on the channel now, one message after the other, and answers how many messages that was. For
 * tests and jobs that end. Messages that are put on the channel meanwhile are handled too; those due later are not.
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
  Effect.flatMap(prepare(tag, undefined), (parts) => consumer.drain(parts, { leaseMillis: leaseOf(undefined) }))

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
          .map((message) => ({ tag: message._tag, endpoint: entry.name, channel: channel.name }))
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

const concurrencyOf = (options: Options | undefined): number => options?.concurrency ?? 4

const leaseOf = (options: Options | undefined): number => Duration.toMillis(options?.lease ?? "10 seconds")

const checkOptions = (channel: string, options: Options): Effect.Effect<void, MessagingError> => {
  const of = `of the consumer of channel "${channel}"`
  return Input.reject(
    Input.wholeNumber(`the concurrency ${of}`, options.concurrency, 1),
    Input.duration(`the lease ${of}`, options.lease, { least: "1 second", most: "1 day" }),
    Input.duration(`the pollInterval ${of}`, options.pollInterval, { least: "1 millis", most: "1 day" }),
    Input.duration(`the drainTimeout ${of}`, options.drainTimeout, { least: "0 millis" })
  )
}

const prepare = <I>(tag: Channel.TagClass<I, any, any>, options: Options | undefined) =>
  Effect.gen(function* () {
    const channel: Channel.Channel = yield* tag
    const registry = yield* HandlerRegistry
    const store = yield* MessageStore
    const owner = yield* uuid7
    return consumer.make(store, registry, channel, tag.policy, { leaseMillis: leaseOf(options), owner })
  })

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
