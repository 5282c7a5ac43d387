/**
 * Channels carry messages from the one who sends to the one who handles. Each is a service of its own, so what is
 * behind it, memory, PostgreSQL or a broker, is a choice of `Layer`.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type { Envelope } from "./Envelope.ts"
import { tenant } from "./Headers.ts"
import * as Input from "./internal/input.ts"
import { problems } from "./internal/limits.ts"
import type { HearsFailures } from "./internal/refusedChannels.ts"
import type * as Message from "./Message.ts"
import type { Delivery, Due, JournalPolicy } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~@holdfast/core/Channel"

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~@holdfast/core/Channel"

/**
 * A channel kept by the `MessageStore`: what is sent on it becomes visible if and only if the unit that sent it
 * commits. `store` is the kind of store that must keep it.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const store = Effect.map(Orders, (channel) => (channel._tag === "Stored" ? channel.store : undefined))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Stored {
  readonly [TypeId]: TypeId
  readonly _tag: "Stored"
  readonly name: string
  readonly store: string
}

/**
 * A channel kept by a broker. What is sent on it leaves just before the unit commits: never lost, but if that commit
 * then fails, the message was a ghost. Handling is at least once; the unit remembers the message's id, so that effects
 * in the database happen once. Dead letters of it that are replayed wait in the store, and its consumers take both.
 * Publishers must know its event handlers (`Handler.routes`): no subscriptions are kept for it.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * const isDirect = (channel: Channel.Channel): channel is Channel.Direct => channel._tag === "Direct"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Direct {
  readonly [TypeId]: TypeId
  readonly _tag: "Direct"
  readonly name: string
  readonly driver: Driver
}

/**
 * What a channel's service is: where its messages are kept.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const keeperOf = (channel: Channel.Channel) => (channel._tag === "Stored" ? channel.store : "a broker")
 * const keeper = Effect.map(Orders, keeperOf)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Channel = Stored | Direct

/**
 * What a broker implements. Leases, delays and redelivery are the broker's own, and so is order: of the messages of one
 * endpoint and `orderingKey` it gives out the oldest, and the next only when that one was acknowledged. A released one
 * keeps its place. A dead letter is acknowledged at the broker, so it does not hold up its key.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * // sends, and never has anything to take
 * const printer: Channel.Driver = {
 *   send: (messages) => Effect.forEach(messages, ({ envelope }) => Effect.log(envelope.payload), { discard: true }),
 *   claim: () => Effect.succeed([]),
 *   renew: () => Effect.succeed([]),
 *   acknowledge: () => Effect.void,
 *   release: () => Effect.void,
 *   wake: (atMost) => Effect.sleep(atMost)
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Driver {
  /** Sends all or fails; returns once the broker has them safe. */
  readonly send: (
    messages: ReadonlyArray<{
      readonly envelope: Envelope
      readonly priority: number
      readonly due: Due | undefined
    }>
  ) => Effect.Effect<void, MessagingError>
  /** Takes up to `limit` messages that are waiting. */
  readonly claim: (options: {
    readonly limit: number
    readonly leaseMillis: number
  }) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>
  /** Answers the deliveries whose lease was lost. */
  readonly renew: (
    deliveries: ReadonlyArray<Delivery>,
    leaseMillis: number
  ) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>
  /** Handled: the broker forgets it. */
  readonly acknowledge: (delivery: Delivery) => Effect.Effect<void, MessagingError>
  /** Not handled: the broker gives `envelope` out again after a while. */
  readonly release: (delivery: Delivery, envelope: Envelope, afterMillis: number) => Effect.Effect<void, MessagingError>
  /** Completes when there may be something to claim, at the latest after `atMost` milliseconds. */
  readonly wake: (atMost: number) => Effect.Effect<void>
}

/**
 * What happens to messages that cannot be handled.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders", { maxBytes: 64 * 1024 }) {}
 *
 * const fits = (payload: string, policy: Channel.Policy) => new TextEncoder().encode(payload).length <= policy.maxBytes
 * fits("{}", Orders.policy) // true
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Policy {
  /** Durable retries of handlers that declare none of their own. Without one, the first failure is the last. */
  readonly retry: Schedule.Schedule<any, unknown, never> | undefined
  readonly deadLetter: DeadLetterPolicy
  /** The durable name of the channel that is told of each message that is given up. */
  readonly errorChannel: string | undefined
  /** What the journal keeps of its messages; `Journal.DefaultPolicy` unless given. */
  readonly journal: JournalPolicy | undefined
  /** The largest payload in bytes, encoded; a larger one fails at the sender with `TooLarge`. */
  readonly maxBytes: number
  /** How many of its messages may begin in any while. */
  readonly rateLimit: RateLimit | undefined
  /** How many of its messages are handled at once, by all consumers together. */
  readonly concurrencyLimit: ConcurrencyLimit | undefined
  /** Whose data a message is about, as its headers say. */
  readonly tenant: (headers: Readonly<Record<string, string>>) => string | undefined
}

/**
 * How many messages of a channel may begin in any while of `interval`, in all processes together; with a `key`, how many
 * of each key. One whose key is undefined is not limited.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * const fair: Channel.RateLimit = { limit: 100, interval: "1 minute", key: (headers) => headers.tenant }
 *
 * class Mails extends Channel.Tag<Mails>()("shop/Mails", { rateLimit: fair }) {}
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface RateLimit {
  readonly limit: number
  readonly interval: Duration.DurationInput
  readonly key?: ((headers: Readonly<Record<string, string>>) => string | undefined) | undefined
}

/**
 * How many messages of a channel are handled at once, in all processes together; with a `key`, how many of each key. One
 * whose key is undefined is not limited.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * const twoEach: Channel.ConcurrencyLimit = { limit: 2, key: (headers) => headers.tenant }
 *
 * class Reports extends Channel.Tag<Reports>()("shop/Reports", { concurrencyLimit: twoEach }) {}
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface ConcurrencyLimit {
  readonly limit: number
  readonly key?: ((headers: Readonly<Record<string, string>>) => string | undefined) | undefined
}

/**
 * When a message is given up, and what then.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * class Prices extends Channel.Tag<Prices>()("shop/Prices", { deadLetter: { onGivenUp: "Discard" } }) {}
 *
 * const policy: Channel.DeadLetterPolicy = Prices.policy.deadLetter
 * policy.onGivenUp // "Discard"
 * policy.afterCrashes // 5
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DeadLetterPolicy {
  readonly onGivenUp: OnGivenUp
  /** After how long a message is tried again with `"Resend"` and `"Release"`, in milliseconds. */
  readonly resendAfter: number
  /** How many consumers may be lost (killed, frozen) while they handle the message. */
  readonly afterCrashes: number
  /** How long a message waits for an endpoint or version that no consumer of the channel knows, in milliseconds. */
  readonly unknownEndpointAfter: number
  /** When dead letters are put away, and when they are forgotten, in milliseconds from their parking; never, if infinite. */
  readonly archiveAfter: number
  readonly deleteAfter: number
}

/**
 * What becomes of a message that is given up.
 *
 * - `Park`: it is put with the dead letters. - `Discard`: it is dropped, with an error in the log.
 * - `Resend`: after a while it comes again at the end of its channel, with its retries before it.
 * - `Release`: it keeps its place and its history, and is tried again once after each while, without end: what has its
 *   ordering key waits. - `Stop`: the channel is paused, with the reason, and the message stays where it is.
 *
 * A message that its consumers were lost with is parked instead of being given to the next ones; with `Stop` the channel
 * is paused as well.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * // nothing may overtake a booking that fails
 * class Ledger extends Channel.Tag<Ledger>()("bank/Ledger", { deadLetter: { onGivenUp: "Stop" } }) {}
 * const onGivenUp: Channel.OnGivenUp = Ledger.policy.deadLetter.onGivenUp
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type OnGivenUp = "Park" | "Discard" | "Resend" | "Release" | "Stop"

/**
 * The class of a channel. `M` is the union of message classes it carries.
 *
 * @example
 * ```ts
 * import { Channel, type Message } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders", { name: "orders" }) {}
 *
 * const nameOf = (channel: Channel.TagClass<any, string, Message.AnyClass>) => channel.channelName
 * nameOf(Orders) // "orders"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface TagClass<Self, Name extends string, out M extends Message.AnyClass>
  extends Context.Tag<Self, Channel> {
  new (_: never): Context.TagClassShape<Name, Channel>
  readonly [TypeId]: TypeId
  readonly key: Name
  /** The durable name: messages in flight are kept under it. */
  readonly channelName: string
  readonly messages: ReadonlyArray<M>
  readonly policy: Policy
}

/**
 * The shape by which a requirement is known to be a channel.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 * class Mailer {}
 *
 * type Channels = Extract<Orders | Mailer, Channel.Shape> // Orders
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Shape = Context.TagClassShape<any, Channel>

type MissingSelf = 'Missing `Self` generic - use `class Self extends Channel.Tag<Self>()("key", { ... }) {}`'

/**
 * Declares a channel as a service: which messages it carries, and what happens to those that fail.
 *
 * `name` is the durable name; it is the service's key unless given, and messages in flight name it, so choose one when
 * the class moves. `retry` is used by handlers without one of their own. A message is given up when retries end, when its
 * handler dies, when its payload does not decode, when `afterCrashes` consumers (5) were lost with it, or when for
 * `unknownEndpointAfter` (one hour) nobody knew its endpoint or version. It is then parked, or what else `onGivenUp` says,
 * and a `DeadLetter.MessageFailed` is put on the `errorChannel` in the same commit. Dead letters are kept until somebody
 * decides, or put away after `archiveAfter` and forgotten after `deleteAfter`. Handlers may override `retry`,
 * `deadLetter` and `errorChannel`. `maxBytes` is 1 MiB. `journal` says what is written down of its messages. `rateLimit`
 * and `concurrencyLimit` are for all messages of the channel, besides those of their handlers; `tenant` says whose a
 * message is for `Consumer.pause`, the header `tenant` unless given. The channel's layer dies when the name is empty, or
 * a number less than one.
 *
 * @example
 * ```ts
 * import { Channel, Message } from "@holdfast/core"
 * import { Schedule, Schema } from "effect"
 *
 * class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", { payload: { orderId: Schema.String } }) {}
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders", {
 *   messages: [OrderPlaced],
 *   retry: Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(5)))
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Tag =
  <Self = never>() =>
  <
    const Name extends string,
    const Messages extends ReadonlyArray<Message.AnyClass> = ReadonlyArray<Message.AnyClass>,
    Errors extends TagClass<any, string, any> = never
  >(
    key: Name,
    options?: {
      readonly messages?: Messages | undefined
      readonly name?: string | undefined
      readonly retry?: Schedule.Schedule<any, unknown, never> | undefined
      readonly deadLetter?: {
        readonly onGivenUp?: OnGivenUp | undefined
        readonly resendAfter?: Duration.DurationInput | undefined
        readonly afterCrashes?: number | undefined
        readonly unknownEndpointAfter?: Duration.DurationInput | undefined
        readonly archiveAfter?: Duration.DurationInput | undefined
        readonly deleteAfter?: Duration.DurationInput | undefined
      }
      readonly errorChannel?: (Errors & HearsFailures<Name, Errors>) | undefined
      readonly maxBytes?: number | undefined
      readonly journal?: JournalPolicy | undefined
      readonly rateLimit?: RateLimit | undefined
      readonly concurrencyLimit?: ConcurrencyLimit | undefined
      readonly tenant?: ((headers: Readonly<Record<string, string>>) => string | undefined) | undefined
    }
  ): [Self] extends [never] ? MissingSelf : TagClass<Self, Name, Messages[number]> =>
    class extends Context.Tag(key)<any, Channel>() {
      static readonly [TypeId]: TypeId = TypeId
      static readonly channelName = options?.name ?? key
      static readonly messages = options?.messages ?? []
      static readonly policy: Policy = {
        retry: options?.retry,
        deadLetter: {
          onGivenUp: options?.deadLetter?.onGivenUp ?? "Park",
          resendAfter: Input.millisOf(options?.deadLetter?.resendAfter ?? "1 minute"),
          afterCrashes: options?.deadLetter?.afterCrashes ?? 5,
          unknownEndpointAfter: Input.millisOf(options?.deadLetter?.unknownEndpointAfter ?? "1 hour"),
          archiveAfter: Input.millisOf(options?.deadLetter?.archiveAfter ?? Number.POSITIVE_INFINITY),
          deleteAfter: Input.millisOf(options?.deadLetter?.deleteAfter ?? Number.POSITIVE_INFINITY)
        },
        errorChannel: options?.errorChannel?.channelName,
        maxBytes: options?.maxBytes ?? 1024 * 1024,
        journal: options?.journal,
        rateLimit: options?.rateLimit,
        concurrencyLimit: options?.concurrencyLimit,
        tenant: options?.tenant ?? ((headers) => headers[tenant])
      }
    } as any

/**
 * Makes a stored channel: for stores, whose drivers offer it as their `layer`.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const OrdersInMemory = Channel.layerStored(Orders, "memory")
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStored = <Self, Name extends string, M extends Message.AnyClass>(
  tag: TagClass<Self, Name, M>,
  store: string
): Layer.Layer<Self> => checked(tag, { [TypeId]: TypeId, _tag: "Stored", name: tag.channelName, store })

/**
 * Keeps the channel's messages in memory, with the memory `MessageStore`. Nothing survives the process.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const OrdersInMemory = Channel.layerMemory(Orders)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory = <Self, Name extends string, M extends Message.AnyClass>(
  tag: TagClass<Self, Name, M>
): Layer.Layer<Self> => layerStored(tag, "memory")

/**
 * Sends and takes through a broker's driver. A message leaves just before its unit commits, so it is never lost, but
 * exists although nothing was written when that commit then fails.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Audit extends Channel.Tag<Audit>()("shop/Audit") {}
 *
 * const AuditLive = Channel.layerDirect(Audit, {
 *   send: (messages) => Effect.log(`${messages.length} sent`),
 *   claim: () => Effect.succeed([]),
 *   renew: () => Effect.succeed([]),
 *   acknowledge: () => Effect.void,
 *   release: () => Effect.void,
 *   wake: (atMost) => Effect.sleep(atMost)
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerDirect = <Self, Name extends string, M extends Message.AnyClass>(
  tag: TagClass<Self, Name, M>,
  driver: Driver
): Layer.Layer<Self> => checked(tag, { [TypeId]: TypeId, _tag: "Direct", name: tag.channelName, driver })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** The channel, unless its tag says what cannot be. */
const checked = <Self, Name extends string>(tag: TagClass<Self, Name, any>, channel: Channel): Layer.Layer<Self> => {
  const { deadLetter, maxBytes } = tag.policy
  const of = `of channel "${channel.name}"`
  return Layer.effect(
    tag,
    Effect.as(
      Input.dieOn(
        channel.name === "" ? "A channel has an empty name: messages are kept under it, so give it one" : undefined,
        Input.atLeastOne(`maxBytes ${of}`, maxBytes),
        Input.atLeastOne(`afterCrashes ${of}`, deadLetter.afterCrashes),
        Input.duration(`resendAfter ${of}`, deadLetter.resendAfter, { least: "1 millis", most: "36500 days" }),
        Input.duration(`archiveAfter ${of}`, deadLetter.archiveAfter, { least: "1 minute" }),
        Input.duration(`deleteAfter ${of}`, deadLetter.deleteAfter, { least: "1 minute" }),
        Input.duration(`unknownEndpointAfter ${of}`, deadLetter.unknownEndpointAfter, { least: "0 millis" }),
        ...problems(of, tag.policy)
      ),
      channel
    )
  )
}
