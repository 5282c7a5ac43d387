/**
 * Whatever one message does belongs to one unit of work: the SQL of its handlers, the messages they send, the state of
 * their sagas and the acknowledgement commit whole or not at all.
 *
 * Sending from outside opens a unit; sends, publishes and synchronous handlers inside it are nested scopes. A scope
 * that fails is undone alone: its staged writes are dropped, its SQL is rolled back to a savepoint, and the caller may
 * catch the error and go on. A handler that never touches SQL costs no transaction of its own.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Envelope } from "./Envelope.ts"
import * as unit from "./internal/unit.ts"
import { UnitOfWork } from "./internal/unit.ts"
import * as MessageStore from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * The sending half of a broker's driver. Sends all or fails; returns once the broker has them safe.
 *
 * @example
 * ```ts
 * import type { UnitOfWork } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const printer: UnitOfWork.DirectDriver = {
 *   send: (messages) => Effect.forEach(messages, ({ envelope }) => Effect.log(envelope.payload), { discard: true })
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DirectDriver {
  readonly send: (messages: ReadonlyArray<Omit<DirectSend, "driver">>) => Effect.Effect<void, MessagingError>
}

/**
 * A message for a broker, sent just before the unit commits.
 *
 * @example
 * ```ts
 * import type { UnitOfWork } from "@holdfast/core"
 *
 * const tagsOf = (sends: ReadonlyArray<UnitOfWork.DirectSend>) => sends.map(({ envelope }) => envelope.tag)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DirectSend {
  readonly driver: DirectDriver
  /** The name of the channel. */
  readonly channel: string
  readonly envelope: Envelope
  readonly priority: number
  readonly due: MessageStore.Due | undefined
}

/**
 * One scope of a unit, and what it has staged so far.
 *
 * @example
 * ```ts
 * import type { UnitOfWork } from "@holdfast/core"
 *
 * const depth = (scope: UnitOfWork.Scope): number => (scope.parent === undefined ? 0 : 1 + depth(scope.parent))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Scope {
  readonly parent: Scope | undefined
  readonly transaction: MessageStore.Transaction
  readonly sql: MessageStore.TransactionScope
  readonly store: MessageStore.Encoded
  /** What is stored, as the caller's own transaction sees it, if the unit runs inside one; else the store reads. */
  readonly reads: MessageStore.Transaction["reads"]
  /** Stages durable writes. Dies once the scope has ended. */
  readonly stage: (...writes: ReadonlyArray<MessageStore.Write>) => Effect.Effect<void>
  /** Stages a message for a broker. */
  readonly stageDirect: (send: DirectSend) => Effect.Effect<void>
  /** Stages an effect to run once the unit has committed. */
  readonly stageAfterCommit: (effect: Effect.Effect<void>) => Effect.Effect<void>
  /** What this scope and those around it have staged, newest first. */
  readonly staged: () => ReadonlyArray<MessageStore.Write>
}

/**
 * Runs an effect as one unit of work: several sends and SQL of your own that commit together. Inside a unit it is a
 * nested scope of that one.
 *
 * When the commit meets a conflict (somebody else changed the same saga, a duplicate key), nothing was written and the
 * effect runs again in a fresh unit, five times at most. Effects outside of the database may therefore happen again.
 *
 * @example
 * ```ts
 * import { CommandBus, Handler, Message, UnitOfWork } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class Reserve extends Message.Command<Reserve>()("Reserve", { payload: { sku: Schema.String } }) {}
 *
 * const both = UnitOfWork.run(
 *   Effect.all([CommandBus.send(new Reserve({ sku: "a" })), CommandBus.send(new Reserve({ sku: "b" }))])
 * )
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const run = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E | MessagingError, Exclude<R, UnitOfWork> | MessageStore.MessageStore> =>
  Effect.contextWithEffect((context: Context.Context<R | MessageStore.MessageStore>) =>
    Option.isSome(Context.getOption(context, UnitOfWork))
      ? scope(effect)
      : unit.root(Context.get(context, MessageStore.MessageStore), effect)
  ) as Effect.Effect<A, E | MessagingError, Exclude<R, UnitOfWork> | MessageStore.MessageStore>

/**
 * Runs an effect in a nested scope of the current unit: if it fails, dies or is interrupted, what it staged and its SQL
 * are undone, and the unit goes on if the caller catches the error. Outside of a unit it runs the effect as it is.
 *
 * @example
 * ```ts
 * import { UnitOfWork } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const attempt = UnitOfWork.scope(Effect.fail("no stock")).pipe(Effect.orElseSucceed(() => undefined))
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const scope = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.contextWithEffect((context: Context.Context<R>) => {
    const outer = Context.getOption(context, UnitOfWork)
    return Option.isNone(outer) ? effect : unit.nested(outer.value, effect)
  })

/**
 * Runs an effect outside of the current unit: its SQL uses the pool and commits on its own, and what it sends is sent
 * whether or not the unit commits. Use it for another database's client, whose statements would otherwise run on the
 * unit's connection, and for records that must survive a failure.
 *
 * Its SQL takes a second connection while the unit keeps its own: the pool needs more connections than handlers that use
 * this run at once, or they wait for each other for ever.
 *
 * @example
 * ```ts
 * import { UnitOfWork } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const audited = UnitOfWork.outside(Effect.log("tried"))
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const outside = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(effect, (context: Context.Context<R>) => {
    const unit = Context.getOption(context, UnitOfWork)
    if (Option.isNone(unit)) return context
    const omitted = Context.omit(UnitOfWork)(context as Context.Context<R | UnitOfWork>)
    return unit.value.store.outside(omitted as Context.Context<never>) as Context.Context<R>
  })

/**
 * Runs an effect once the unit has committed, in this process: for caches, sockets and metrics. It is dropped with its
 * scope, and lost if the process dies first: what must happen belongs in a message. Its failures are logged. Outside of
 * a unit it runs at once; in a unit that joined your own `sql.withTransaction` it runs when the unit's part of that
 * transaction is written, which may still be undone.
 *
 * @example
 * ```ts
 * import { UnitOfWork } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const notify = UnitOfWork.afterCommit(Effect.log("the order is stored"))
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const afterCommit = <E, R>(effect: Effect.Effect<unknown, E, R>): Effect.Effect<void, never, R> =>
  Effect.contextWithEffect((context: Context.Context<R>) => {
    const unit = Context.getOption(context, UnitOfWork)
    const hook = outside(effect).pipe(
      Effect.provide(context),
      Effect.catchAllCause((cause) => Effect.logWarning("An effect after the commit failed", cause)),
      Effect.asVoid
    )
    return Option.isNone(unit) ? hook : unit.value.stageAfterCommit(hook)
  })

/**
 * Opens a root unit on the store, runs the effect in it and commits. `settle` adds the last writes: the
 * acknowledgement of the message being handled. For consumers and buses; in applications use `run`.
 *
 * @example
 * ```ts
 * import { MessageStore, UnitOfWork } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const nothing = Effect.flatMap(MessageStore.MessageStore, (store) => UnitOfWork.root(store, Effect.void))
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const root: <A, E, R>(
  store: MessageStore.Encoded,
  effect: Effect.Effect<A, E, R>,
  options?: {
    /** Writes that end the unit; or what tells them, when it ends. */
    readonly settle?: ReadonlyArray<MessageStore.Write> | (() => ReadonlyArray<MessageStore.Write>) | undefined
    /** Told as soon as the unit has committed, even if its fiber is interrupted meanwhile. */
    readonly onCommit?: (() => void) | undefined
    /** How often the unit is run again after conflicts: 5 times unless given. */
    readonly reruns?: number | undefined
  }
) => Effect.Effect<A, E | MessagingError, R> = unit.root

export { UnitOfWork } from "./internal/unit.ts"
