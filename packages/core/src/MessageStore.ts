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
import * as memory from "./internal/memoryStore.ts"
import type { MessagingError } from "./MessagingError.ts"
import type { Flow } from "./messageStore/flow.ts"
import type { JournalQuery, JournalRow } from "./messageStore/journal.ts"
import type {
  DeadLetterFilter,
  DeadLetterGroup,
  DeadLetterRow,
  Replay,
  ReplayRequest,
  ReplayStep
} from "./messageStore/letters.ts"
import type {
  Delivery,
  Due,
  Filter,
  KeyClaim,
  Lease,
  SagaRow,
  Scheduled,
  Subscription,
  Write
} from "./messageStore/records.ts"

import type { ChannelStats } from "./messageStore/stats.ts"

export * from "./messageStore/flow.ts"
export * from "./messageStore/journal.ts"
export * from "./messageStore/letters.ts"
export * from "./messageStore/records.ts"
export * from "./messageStore/stats.ts"

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
  /**
   * Adds the writes, runs `beforeCommit`, and commits; on failure rolls back. Only if `finish` answered true. When
   * `beforeCommit` is `Effect.void`, nothing comes between the two.
   */
  readonly commit: (
    writes: ReadonlyArray<Write>,
    beforeCommit: Effect.Effect<void, MessagingError>
  ) => Effect.Effect<void, MessagingError>
  /** Undoes all. Never fails. */
  readonly rollback: Effect.Effect<void>
}

/**
 * How code with one context finds the SQL of its units, though none of them has begun a transaction yet.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * // a store without SQL
 * const nothingToJoin: MessageStore.Encoded["joining"] = (context) => ({ context, join: undefined })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Joining {
  /** The context for code in a unit, but for what `join` adds. */
  readonly context: Context.Context<never>
  /**
   * The service through which SQL joins the unit: at its first statement it asks for the unit's scope. Absent when the
   * code's SQL is another database's, or there is none.
   */
  readonly join:
    | {
        readonly key: string
        readonly service: (scope: () => TransactionScope) => unknown
      }
    | undefined
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

  /**
   * `begin` and `provide` for the many units of one context, such as a handler's: what can be known before is worked out
   * once, and a unit without SQL begins nothing. A store that has it answers `begin` without waiting. Without it every
   * unit begins at once, and each message that a consumer handles costs some times as much.
   */
  readonly joining?: ((context: Context.Context<never>) => Joining) | undefined
  /** Whether code in this context has a transaction open that a unit would join, rather than have one of its own. */
  readonly joins: (context: Context.Context<never>) => boolean

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
    /** Nothing of it is begun until `started` says so: a consumer that is lost before burns nothing. */
    readonly ahead?: boolean | undefined
  }) => Effect.Effect<ReadonlyArray<Delivery>, MessagingError>

  /** Marks what was claimed ahead as begun, before it is. Leases that were lost are left alone. */
  readonly started: (leases: ReadonlyArray<Lease>) => Effect.Effect<void, MessagingError>

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

  /** The channels that are paused, by name: nothing is claimed from them, by whatever process. */
  readonly paused: Effect.Effect<ReadonlyArray<string>, MessagingError>

  /** Pauses of channels, handlers and tenants, limits, and what is held because of them. */
  readonly flow: Flow

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

  // -- dead letters ------------------------------------------------------------

  /** Newest first. */
  readonly deadLetters: (filter: DeadLetterFilter) => Effect.Effect<ReadonlyArray<DeadLetterRow>, MessagingError>
  readonly countDeadLetters: (filter: DeadLetterFilter) => Effect.Effect<number, MessagingError>
  /**
   * Newest first, those before `before`, with where to go on: as long as that is defined there may be more, even if few or
   * none were found, since a store looks at a bounded number of letters at a time.
   */
  readonly searchDeadLetters: (
    filter: DeadLetterFilter,
    before: string | undefined
  ) => Effect.Effect<
    { readonly letters: ReadonlyArray<DeadLetterRow>; readonly next: string | undefined },
    MessagingError
  >
  /** The largest first. */
  readonly deadLetterGroups: (filter: DeadLetterFilter) => Effect.Effect<ReadonlyArray<DeadLetterGroup>, MessagingError>
  /** One that was put away, too. */
  readonly deadLetter: (key: string) => Effect.Effect<Option.Option<DeadLetterRow>, MessagingError>
  /**
   * Puts dead letters back to the handlers that failed, in one transaction, those with an ordering key in their old
   * place, and writes it down in the journal. Answers how many were still there. Of edited ones the original is archived.
   */
  readonly replay: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
  /** Also archived ones. */
  readonly deleteDeadLetters: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
  /** Puts dead letters away: they hold up nobody any more, and are not replayed until they are restored. */
  readonly archiveDeadLetters: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
  /** Takes them back, except for those of which a replay has left the original. */
  readonly restoreDeadLetters: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
  /** Gives a dead letter another payload, and keeps the first. Answers whether it was still there. */
  readonly editDeadLetter: (key: string, payload: string) => Effect.Effect<boolean, MessagingError>
  /** Archives and deletes what a channel has kept for long enough, up to some thousand letters. Answers how many. */
  readonly sweepDeadLetters: (options: {
    readonly channel: string
    readonly archiveAfterMillis: number
    readonly deleteAfterMillis: number
  }) => Effect.Effect<number, MessagingError>

  /** Begins a replay of all that match now, which `advanceReplay` carries on. */
  readonly startReplay: (request: ReplayRequest) => Effect.Effect<Replay, MessagingError>
  /** The newest first; or those of which a step is due, the oldest first. */
  readonly replays: (options: {
    readonly due: boolean
    readonly limit: number
  }) => Effect.Effect<ReadonlyArray<Replay>, MessagingError>
  /**
   * Takes one step, in one transaction with what is replayed. Answers how many letters that was; nothing if somebody else
   * has taken a step, or the replay is over.
   */
  readonly advanceReplay: (step: ReplayStep) => Effect.Effect<Option.Option<number>, MessagingError>
  /** Answers whether it was not over yet. */
  readonly cancelReplay: (id: string) => Effect.Effect<boolean, MessagingError>

  /** What the journal has of it, oldest first unless `order` says otherwise. */
  readonly journal: (query: JournalQuery) => Effect.Effect<ReadonlyArray<JournalRow>, MessagingError>

  /** How much is on the channels, in their order; none is counted further than to `most`. */
  readonly stats: (
    channels: ReadonlyArray<string>,
    most: number
  ) => Effect.Effect<ReadonlyArray<ChannelStats>, MessagingError>

  /**
   * How many messages wait on the channel, ready or claimed, and how many for their time; and, if there are any, how
   * many are held by a pause of their handler or tenant or by a limit.
   */
  readonly depth: (
    channel: string
  ) => Effect.Effect<
    { readonly ready: number; readonly scheduled: number; readonly held?: number | undefined },
    MessagingError
  >
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
