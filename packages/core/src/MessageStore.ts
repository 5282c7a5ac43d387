/**
 * Where everything durable is kept. What one unit of work does is a list of plain records; the store commits lists of
 * units. Saga state, dead letters, timers and the rest are views over this one service, so that no composition of
 * layers can lose atomicity.
 *
 * The interface speaks plain JSON: a database implements it without seeing a single message type.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type { Envelope, Failure } from "./Envelope.ts"
import * as memory from "./internal/memoryStore.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * When a message becomes available: after a while, or at an instant (milliseconds since 1970), both by the store's
 * clock.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const inAMinute: MessageStore.Due = { _tag: "After", millis: 60_000 }
 * const atNewYear: MessageStore.Due = { _tag: "At", epochMillis: Date.UTC(2030, 0, 1) }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Due =
  | { readonly _tag: "After"; readonly millis: number }
  | { readonly _tag: "At"; readonly epochMillis: number }

/**
 * A timer's name. Arming a timer again replaces it; `owner` groups the timers that end together.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isPayment = (timer: MessageStore.Timer) => timer.name === "payment"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Timer {
  readonly owner: string
  readonly name: string
}

/**
 * A consumer's claim on one message: `token` is the fence, and rises with every claim.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * // of two claims on one message
 * const isLater = (a: MessageStore.Lease, b: MessageStore.Lease) => BigInt(a.token) > BigInt(b.token)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  readonly channel: string
  readonly key: string
  readonly token: string
  /** The message has an ordering key: others wait for its end. */
  readonly ordered?: boolean | undefined
}

/**
 * A claimed message. `claimedAt` and `dueAt` are by the store's clock.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const waited = ({ availableAt, claimedAt }: MessageStore.Delivery) => claimedAt - availableAt // in milliseconds
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Delivery {
  readonly lease: Lease
  readonly envelope: Envelope
  readonly claimedAt: number
  /** When the message became available. */
  readonly availableAt: number
  /** How many consumers were lost while they had it. */
  readonly crashes: number
  readonly priority: number
  /** The copy was made for a subscription whose handler the publisher did not know: its delay is not applied yet. */
  readonly undelayed: boolean
}

/**
 * Why a message was given up.
 *
 * - `Exhausted`: the retries ended. - `Defect`: the handler died. - `Undecodable`: the payload does not fit the schema.
 * - `Crashed`: its consumers were lost too often. - `UnknownEndpoint`: nobody in this system handles it any more.
 * - `UnknownVersion`: nobody in this system knows so new a version of it.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const needsNewCode = (reason: MessageStore.ParkReason) => reason === "Defect" || reason === "Undecodable"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type ParkReason = "Exhausted" | "Defect" | "Undecodable" | "Crashed" | "UnknownEndpoint" | "UnknownVersion"

/**
 * What a unit of work writes.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isSend = (write: MessageStore.Write): write is MessageStore.Send => write._tag === "Send"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Write = Send | Publish | CancelTimer | Acknowledge | Retry | Park | SagaPut | Deduplicate | CompleteKey

/**
 * Puts a message on a stored channel; later when `due` says so, replacing an armed `timer` of that name. One with an
 * ordering key takes its place behind the others of its channel, endpoint and key; one that is sent for later, when its
 * time comes.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isDelayed = (write: MessageStore.Send) => write.due !== undefined
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Send {
  readonly _tag: "Send"
  readonly channel: string
  readonly envelope: Envelope
  readonly priority: number
  readonly due: Due | undefined
  readonly timer: Timer | undefined
}

/**
 * Puts a copy of an event on the channel of every persisted subscription, except for the endpoints already served.
 * Without a `due` of the publisher's, the copies are `undelayed`: their handlers' own delays are still to be applied.
 * Copies for `ordered` subscriptions get the empty ordering key, so that they are handed out in order, one at a time.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isServed = (write: MessageStore.Publish, endpoint: string) => write.except.includes(endpoint)
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Publish {
  readonly _tag: "Publish"
  readonly envelope: Envelope
  readonly priority: number
  readonly due: Due | undefined
  readonly except: ReadonlyArray<string>
}

/**
 * Disarms one timer, or without a name all of its owner's.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const cancelsAll = (write: MessageStore.CancelTimer) => write.name === undefined
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface CancelTimer {
  readonly _tag: "CancelTimer"
  readonly owner: string
  readonly name: string | undefined
}

/**
 * Removes a handled message. Fails the unit when the lease was lost.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const handled = ({ lease }: MessageStore.Delivery): MessageStore.Acknowledge => ({ _tag: "Acknowledge", lease })
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Acknowledge {
  readonly _tag: "Acknowledge"
  readonly lease: Lease
}

/**
 * Takes a message out of the ready ones until it is due again, with the history of its failures. One with an ordering
 * key keeps its place: those behind it wait.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const lastError = (write: MessageStore.Retry) => write.failures.at(-1)?.error
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Retry {
  readonly _tag: "Retry"
  readonly lease: Lease
  readonly failures: ReadonlyArray<Failure>
  readonly afterMillis: number
}

/**
 * Moves a message to the dead letters. Without a lease (a broker's message) the envelope itself is stored. The others of
 * its ordering key wait until it is replayed or deleted; the empty key holds up nobody, nor does a broker's message.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const describe = (write: MessageStore.Park) => `${write.envelope.tag} is given up (${write.reason}): ${write.error}`
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Park {
  readonly _tag: "Park"
  readonly channel: string
  readonly lease: Lease | undefined
  readonly envelope: Envelope
  readonly reason: ParkReason
  readonly error: string
  readonly fingerprint: string
}

/**
 * A saga's state. `version` is the one now written; the unit fails when the stored one is not `version - 1`.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isFirst = (write: MessageStore.SagaPut) => write.version === 1
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface SagaPut {
  readonly _tag: "SagaPut"
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly state: string
  readonly completed: boolean
  /** Name of each armed timer, and which arming of it counts. */
  readonly timers: Readonly<Record<string, string>>
}

/**
 * Remembers a key for a while. The unit fails when it is remembered already.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const forgetAt = (write: MessageStore.Deduplicate, now: number) => now + write.windowMillis
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Deduplicate {
  readonly _tag: "Deduplicate"
  readonly key: string
  readonly windowMillis: number
}

/**
 * Stores the answer of an idempotent send. The unit fails when the key's claim was lost.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const mayComplete = (write: MessageStore.CompleteKey, claimedWith: string | undefined) => write.token === claimedWith
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface CompleteKey {
  readonly _tag: "CompleteKey"
  readonly key: string
  readonly token: string
  readonly result: string
  readonly windowMillis: number
}

/**
 * A stored saga.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isOver = (row: MessageStore.SagaRow | undefined) => row?.completed ?? false
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface SagaRow {
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly state: string
  readonly completed: boolean
  readonly timers: Readonly<Record<string, string>>
}

/**
 * A message that waits for its time.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isDue = (scheduled: MessageStore.Scheduled, now: number) => scheduled.dueAt <= now
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Scheduled {
  /** Names the row for `reschedule` and `cancelScheduled`. */
  readonly key: string
  readonly channel: string
  readonly envelope: Envelope
  readonly dueAt: number
  readonly timer: Timer | undefined
}

/**
 * A message that was given up, as it was.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const describe = ({ envelope, error, reason }: MessageStore.DeadLetterRow) =>
 *   `${envelope.tag} of ${envelope.endpoint} (${reason}) after ${envelope.failures.length} failures: ${error}`
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DeadLetterRow {
  readonly key: string
  readonly channel: string
  readonly envelope: Envelope
  readonly reason: ParkReason
  readonly error: string
  readonly fingerprint: string
  readonly parkedAt: number
}

/**
 * Says which messages are meant; what is left out matches all.
 *
 * @example
 * ```ts
 * import { DeadLetter, type MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const mails: MessageStore.Filter = { endpoint: "SendConfirmation", limit: 1_000 }
 * const count = Effect.flatMap(DeadLetter.DeadLetter, (deadLetters) => deadLetters.count(mails))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Filter {
  readonly channel?: string | undefined
  readonly endpoint?: string | undefined
  readonly tag?: string | undefined
  /** The id of the message. */
  readonly id?: string | undefined
  readonly fingerprint?: string | undefined
  /** 100 when left out. */
  readonly limit?: number | undefined
}

/**
 * That an endpoint on a channel wants an event.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const wants = (subscription: MessageStore.Subscription, tag: string) => subscription.tag === tag
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Subscription {
  readonly tag: string
  readonly endpoint: string
  readonly channel: string
  /** The endpoint wants its messages in order: copies of publishers that do not know it wait for their key. */
  readonly ordered?: boolean | undefined
}

/**
 * What claiming an idempotency key gives: the right to do it, or what was answered before.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const answerOf = (claim: MessageStore.KeyClaim) => (claim._tag === "Completed" ? claim.result : undefined)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type KeyClaim =
  | { readonly _tag: "Claimed"; readonly token: string }
  | { readonly _tag: "Completed"; readonly result: string }

/**
 * One scope's share of a unit's transaction. Nothing is sent to the database before the scope's first statement.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * // runs the effect, and undoes its SQL
 * const rehearse = <A, E>(scope: MessageStore.TransactionScope, effect: Effect.Effect<A, E>) => {
 *   const inner = scope.nested()
 *   return effect.pipe(Effect.mapInputContext(inner.provide), Effect.ensuring(inner.close(false)))
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface TransactionScope {
  /** The context for code in this scope: if it uses the store's own database, its SQL joins the transaction. */
  readonly provide: (context: Context.Context<never>) => Context.Context<never>
  /** The context for a query: joins the transaction only if it has begun. */
  readonly provideQuery: (context: Context.Context<never>) => Context.Context<never>
  /** A scope inside, whose SQL can be undone alone. Scopes that touch SQL run one at a time. */
  readonly nested: () => TransactionScope
  /** Ends a nested scope: keeps its SQL, or undoes it. Never fails: what cannot be undone cannot commit. */
  readonly close: (keep: boolean) => Effect.Effect<void>
}

/**
 * A unit's lazy transaction.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * // runs the effect in a unit that writes nothing
 * const rehearse = <A, E>(store: MessageStore.Encoded, effect: Effect.Effect<A, E>) =>
 *   Effect.acquireUseRelease(
 *     store.begin,
 *     (transaction: MessageStore.Transaction) => Effect.mapInputContext(effect, transaction.root.provide),
 *     (transaction) => Effect.zipRight(transaction.finish, transaction.rollback)
 *   )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Transaction {
  readonly root: TransactionScope
  /** The unit runs inside the caller's own transaction: it can neither be re-run nor outlive it. */
  readonly joined: boolean
  /** Reads as the caller's own transaction sees it, with what earlier units have written there; else the store reads. */
  readonly reads?: Pick<Encoded, "loadSaga" | "remembered"> | undefined
  /** Waits for the statement under way and refuses later ones. Answers whether there is SQL to commit. */
  readonly finish: Effect.Effect<boolean>
  /** Adds the writes, runs `beforeCommit`, and commits; on failure rolls back. Only if `finish` answered true. */
  readonly commit: (
    writes: ReadonlyArray<Write>,
    beforeCommit: Effect.Effect<void, MessagingError>
  ) => Effect.Effect<void, MessagingError>
  /** Undoes all. Never fails. */
  readonly rollback: Effect.Effect<void>
}

/**
 * What a database implements.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const backlog = (store: MessageStore.Encoded, channels: ReadonlyArray<string>) =>
 *   Effect.reduce(channels, 0, (sum, channel) => Effect.map(store.depth(channel), ({ ready }) => sum + ready))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Encoded {
  /** Names the implementation: a stored channel says which one keeps it. */
  readonly kind: string

  /** The store's clock, in milliseconds: the only one that decides when something is due. */
  readonly now: Effect.Effect<number, MessagingError>

  /** How many handlers may use the database at once, where the store knows it: the size of the user's pool. */
  readonly handlerConnections: number | undefined

  /** Moves the store's clock. For tests: a store not opened for them refuses. */
  readonly advance: (millis: number) => Effect.Effect<void, MessagingError>

  /** Whether a failure is the database's fault, not the handler's. */
  readonly isInfrastructure: (error: unknown) => boolean

  /** Opens a unit's lazy transaction, or joins the one the caller has open. */
  readonly begin: Effect.Effect<Transaction, MessagingError>

  /** The context without what a unit added to it: SQL under it uses the pool and commits on its own. */
  readonly outside: (context: Context.Context<never>) => Context.Context<never>

  /**
   * Commits units that have no SQL of their own, each whole or not at all, and answers in their order. One that fails
   * does not disturb the others.
   */
  readonly commit: (
    units: ReadonlyArray<ReadonlyArray<Write>>
  ) => Effect.Effect<ReadonlyArray<Option.Option<MessagingError>>>

  // -- consuming ---------------------------------------------------------------

  /**
   * Claims up to `limit` available messages: higher priority first, then oldest first. Of an ordering key it is only
   * ever the first, and that only while no other of the key is claimed or a dead letter; among keys whose first messages
   * have one priority, any may be taken before the others. None from a paused channel.
   */
  readonly claim: (options: {
    readonly channel: string
    readonly limit: number
    readonly leaseMillis: number
    readonly owner: string
  }) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>

  /** Extends leases that have not run out, and answers those that were lost. */
  readonly renew: (
    leases: ReadonlyArray<Lease>,
    leaseMillis: number
  ) => Effect.Effect<ReadonlyArray<Lease>, MessagingError>

  /**
   * Gives messages back after a while, without counting an attempt; one with an ordering key keeps its place. Leases
   * that were lost are left alone.
   */
  readonly release: (leases: ReadonlyArray<Lease>, afterMillis: number) => Effect.Effect<void, MessagingError>

  /**
   * Completes when the channel may have something to claim: a hint that may come too often, and after `atMost`
   * milliseconds comes anyway. One that is due sooner comes sooner. On a paused channel nothing is to be claimed.
   */
  readonly wake: (channel: string, atMost: number) => Effect.Effect<void>

  /** From now on nothing is claimed from the channel, by whatever process, until it is resumed. */
  readonly pause: (channel: string) => Effect.Effect<void, MessagingError>
  /** Ends a pause, and wakes the channel's consumers. */
  readonly resume: (channel: string) => Effect.Effect<void, MessagingError>
  /** The channels that are paused, by name. */
  readonly paused: Effect.Effect<ReadonlyArray<string>, MessagingError>

  /** Notes that the channel has a consumer, now by the store's clock. */
  readonly heartbeat: (channel: string) => Effect.Effect<void, MessagingError>
  /** The channels with a heartbeat that is at most so old, by name. */
  readonly consumed: (withinMillis: number) => Effect.Effect<ReadonlyArray<string>, MessagingError>

  // -- subscriptions -----------------------------------------------------------

  /** Remembers subscriptions until they are removed. */
  readonly subscribe: (subscriptions: ReadonlyArray<Subscription>) => Effect.Effect<void, MessagingError>
  readonly unsubscribe: (endpoint: string) => Effect.Effect<void, MessagingError>
  readonly subscriptions: Effect.Effect<ReadonlyArray<Subscription>, MessagingError>

  // -- views -------------------------------------------------------------------

  readonly loadSaga: (saga: string, id: string) => Effect.Effect<Option.Option<SagaRow>, MessagingError>

  /** Which of the keys are remembered. */
  readonly remembered: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlySet<string>, MessagingError>

  /** Claims an idempotency key; while somebody else has it, waits for them to end or for their lease to run out. */
  readonly claimKey: (key: string, leaseMillis: number) => Effect.Effect<KeyClaim, MessagingError>
  /** Extends a claim that is still its holder's; does nothing to one that was lost or answered. */
  readonly renewKey: (key: string, token: string, leaseMillis: number) => Effect.Effect<void, MessagingError>
  /** Stores an answer outside of any unit: a declared error, whose unit was rolled back. */
  readonly completeKey: (
    key: string,
    token: string,
    result: string,
    windowMillis: number
  ) => Effect.Effect<void, MessagingError>
  /** Gives a claim up, so that the send can be tried again. */
  readonly releaseKey: (key: string, token: string) => Effect.Effect<void, MessagingError>

  /** Also those that wait for a retry in their place among others of an ordering key. */
  readonly scheduled: (filter: Filter) => Effect.Effect<ReadonlyArray<Scheduled>, MessagingError>
  /** Moves a scheduled message. Answers whether it was still there. */
  readonly reschedule: (key: string, due: Due) => Effect.Effect<boolean, MessagingError>
  readonly cancelScheduled: (key: string) => Effect.Effect<boolean, MessagingError>

  readonly deadLetters: (filter: Filter) => Effect.Effect<ReadonlyArray<DeadLetterRow>, MessagingError>
  readonly countDeadLetters: (filter: Filter) => Effect.Effect<number, MessagingError>
  /**
   * Puts dead letters back to the handlers that failed, in one transaction, those with an ordering key in their old
   * place. Answers how many were still there.
   */
  readonly replay: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
  readonly deleteDeadLetters: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>

  /** How many messages wait on the channel, ready or claimed, and how many for their time. */
  readonly depth: (
    channel: string
  ) => Effect.Effect<{ readonly ready: number; readonly scheduled: number }, MessagingError>
}

/**
 * The service.
 *
 * @example
 * ```ts
 * import { MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const depth = Effect.flatMap(MessageStore.MessageStore, (store) => store.depth("shop/Orders"))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class MessageStore extends Context.Tag("@holdfast/core/MessageStore")<MessageStore, Encoded>() {}

/**
 * Keeps everything in this process, by the process's clock. For tests and first programs: nothing survives the layer.
 *
 * @example
 * ```ts
 * import { MessageBus, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Messaging = MessageBus.layer.pipe(Layer.provideMerge(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<MessageStore> = Layer.effect(MessageStore, memory.make)
