import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as MessageStore from "../MessageStore.ts"
import { isMessagingError, MessagingError, some } from "../MessagingError.ts"
import type { DirectDriver, DirectSend, Scope } from "../UnitOfWork.ts"
import * as Metrics from "./metrics.ts"

/**
 * The scope of the unit of work that the current fiber runs in. Provided to every handler; absent outside.
 *
 * @example
 * ```ts
 * import { UnitOfWork } from "@holdfast/core"
 * import { Effect, Option } from "effect"
 *
 * const inUnit = Effect.map(Effect.serviceOption(UnitOfWork.UnitOfWork), Option.isSome)
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class UnitOfWork extends Context.Tag("@holdfast/core/UnitOfWork")<UnitOfWork, Scope>() {}

/** Opens a root unit, runs the effect in it and commits. @internal */
export const root = <A, E, R>(
  store: MessageStore.Encoded,
  effect: Effect.Effect<A, E, R>,
  options?: {
    /** Writes that end the unit; or what tells them, when it ends. */
    readonly settle?: Settle | undefined
    /** Told as soon as the unit has committed, even if its fiber is interrupted meanwhile. */
    readonly onCommit?: (() => void) | undefined
    /** How often the unit is run again after conflicts: 5 times unless given. */
    readonly reruns?: number | undefined
  }
): Effect.Effect<A, E | MessagingError, R> => {
  const attempt = (left: number): Effect.Effect<A, E | MessagingError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(store.begin, (transaction) =>
        Effect.catchIf(
          runOnce(store, transaction, effect, options ?? {}, restore),
          (error): error is CommitConflict => error instanceof CommitConflict,
          ({ error }) =>
            left === 0 || transaction.joined
              ? Effect.fail(error)
              : restore(Effect.zipRight(Effect.yieldNow(), attempt(left - 1)))
        )
      )
    )
  return attempt(options?.reruns ?? maxReruns)
}

/**
 * A root unit that its owner drives without a fiber: runs code in it, ends it, and commits what it staged.
 *
 * @internal
 */
export interface Unit extends Scope {
  readonly writes: ReadonlyArray<MessageStore.Write>
  readonly direct: ReadonlyArray<DirectSend>
  readonly hooks: ReadonlyArray<Effect.Effect<void>>
  readonly begun: MessageStore.Transaction | undefined
  open: boolean
}

/** Opens a unit whose transaction begins when it is asked for. @internal */
export const open = (store: MessageStore.Encoded): Unit => new Frame(store, undefined)

/** All that a unit writes which has ended, or why it cannot. @internal */
export const writesOf = (
  unit: Unit,
  settle: ReadonlyArray<MessageStore.Write>
): ReadonlyArray<MessageStore.Write> | MessagingError => {
  const { writes } = unit as Frame
  if (writes.length === 0) return settle
  const all = [...writes, ...settle]
  return writes.filter(isSagaPut).length < 2 ? all : (overwrittenSaga(writes) ?? collapse(all))
}

/**
 * Commits a unit that has SQL or messages for a broker. One that has neither is only ended: its writes can be committed
 * together with those of others. Fails with `Conflict` when it may be run again.
 *
 * @internal
 */
export const commitOpen = (
  unit: Unit,
  settle: () => ReadonlyArray<MessageStore.Write>
): Effect.Effect<"Committed" | "WithoutSql", MessagingError> =>
  Effect.suspend(() => {
    const { begun, direct, store } = unit
    const ended = (withSql: boolean): Effect.Effect<"Committed" | "WithoutSql", MessagingError | CommitConflict> =>
      withSql || direct.length > 0
        ? Effect.as(commit(store, begun, unit as Frame, settle(), withSql), "Committed")
        : Effect.succeed("WithoutSql")
    return begun === undefined ? ended(false) : Effect.flatMap(begun.finish, ended)
  }).pipe(Effect.mapError((error) => (error instanceof CommitConflict ? error.error : error)))

/** Undoes a unit that failed, and says why it did. @internal */
export const undo = <E>(unit: Unit, cause: Cause.Cause<E>): Effect.Effect<Cause.Cause<E | MessagingError>> => {
  const { begun, store } = unit
  const why = Effect.sync(() => outage(store, cause))
  return begun === undefined ? why : Effect.zipRight(Effect.zipRight(begun.finish, begun.rollback), why)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const maxReruns = 5

type Settle = ReadonlyArray<MessageStore.Write> | (() => ReadonlyArray<MessageStore.Write>)

/** The commit met a conflict: the runtime re-runs for it, unlike for a conflict the effect itself failed with. */
class CommitConflict {
  readonly error: MessagingError
  constructor(error: MessagingError) {
    this.error = error
  }
}

class Frame implements Scope {
  readonly writes: Array<MessageStore.Write> = []
  readonly direct: Array<DirectSend> = []
  readonly hooks: Array<Effect.Effect<void>> = []
  open = true

  readonly store: MessageStore.Encoded
  readonly parent: Frame | undefined
  private opened: MessageStore.Transaction | undefined
  private inner: MessageStore.TransactionScope | undefined

  constructor(
    store: MessageStore.Encoded,
    parent: Frame | undefined,
    opened?: MessageStore.Transaction,
    inner?: MessageStore.TransactionScope
  ) {
    this.store = store
    this.parent = parent
    this.opened = opened
    this.inner = inner
  }

  /** The unit's, opened when it is first asked for. */
  get transaction(): MessageStore.Transaction {
    if (this.opened === undefined) {
      this.opened = this.parent?.transaction ?? Effect.runSync(this.store.begin)
      // who comes after the unit has ended finds a transaction that has ended too
      if (!this.open) Effect.runSync(this.opened.finish)
    }
    return this.opened
  }

  get sql(): MessageStore.TransactionScope {
    if (this.inner === undefined) this.inner = this.parent?.sql.nested() ?? this.transaction.root
    return this.inner
  }

  /** The transaction, if anybody has asked for it. */
  get begun(): MessageStore.Transaction | undefined {
    return this.opened
  }

  get reads(): MessageStore.Transaction["reads"] {
    return this.begun?.reads
  }

  stage(...writes: ReadonlyArray<MessageStore.Write>) {
    return this.whileOpen(() => this.writes.push(...writes))
  }

  stageDirect(send: DirectSend) {
    return this.whileOpen(() => this.direct.push(send))
  }

  stageAfterCommit(effect: Effect.Effect<void>) {
    return this.whileOpen(() => this.hooks.push(effect))
  }

  staged(): ReadonlyArray<MessageStore.Write> {
    const own = this.writes.toReversed()
    return this.parent === undefined ? own : own.concat(this.parent.staged())
  }

  pourInto(outer: Frame) {
    outer.writes.push(...this.writes)
    outer.direct.push(...this.direct)
    outer.hooks.push(...this.hooks)
  }

  private whileOpen(f: () => void): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.open) return Effect.dieMessage(finished)
      f()
      return Effect.void
    })
  }
}

const finished =
  "The unit of work has ended: a fiber outlived its handler and then sent a message. Wait for the fiber in the handler, " +
  "or start it in UnitOfWork.outside"

const runOnce = <A, E, R>(
  store: MessageStore.Encoded,
  transaction: MessageStore.Transaction,
  effect: Effect.Effect<A, E, R>,
  options: {
    readonly settle?: Settle | undefined
    readonly onCommit?: (() => void) | undefined
  },
  restore: <A2, E2, R2>(effect: Effect.Effect<A2, E2, R2>) => Effect.Effect<A2, E2, R2>
): Effect.Effect<A, E | MessagingError | CommitConflict, R> =>
  Effect.gen(function* () {
    const frame = new Frame(store, undefined, transaction)
    // its own fiber, so that fibers which the handler forked end with it
    const fiber = yield* Effect.fork(restore(enter(frame, effect)))
    const awaited = yield* Effect.exit(Effect.onInterrupt(restore(Fiber.await(fiber)), () => Fiber.interrupt(fiber)))
    const exit = Exit.flatten(awaited)
    const begun = yield* transaction.finish
    frame.open = false
    if (Exit.isFailure(exit)) {
      yield* transaction.rollback
      return yield* Effect.failCause(outage(store, exit.cause))
    }
    yield* Fiber.inheritAll(fiber)
    const settle = typeof options.settle === "function" ? options.settle() : (options.settle ?? [])
    yield* commit(store, transaction, frame, settle, begun)
    options.onCommit?.()
    Metrics.committed(frame.writes, frame.direct)
    yield* runHooks(frame.hooks, restore)
    return exit.value
  })

/** They run to their end; but who is interrupted waits no longer, or one that hangs would keep a consumer from closing. */
const runHooks = (
  hooks: ReadonlyArray<Effect.Effect<void>>,
  restore: <A2, E2, R2>(effect: Effect.Effect<A2, E2, R2>) => Effect.Effect<A2, E2, R2>
): Effect.Effect<void> =>
  hooks.length === 0
    ? Effect.void
    : Effect.flatMap(
        Effect.forkDaemon(Effect.interruptible(Effect.forEach(hooks, (hook) => hook, { discard: true }))),
        (fiber) => restore(Effect.asVoid(Fiber.await(fiber)))
      )

/** SQL that dies because the database is away is no bug of the handler: the sender hears what it was. */
const outage = <E>(store: MessageStore.Encoded, cause: Cause.Cause<E>): Cause.Cause<E | MessagingError> =>
  Option.isNone(Cause.failureOption(cause)) && some(cause, store.isInfrastructure)
    ? Cause.fail(
        new MessagingError({
          reason: "Unavailable",
          detail: `the database failed the handler, and what it had done is undone: ${innermost(Cause.squash(cause))}`,
          cause: Cause.squash(cause)
        })
      )
    : cause

/** What the driver said: errors of SQL say only what was tried. */
const innermost = (error: unknown): string => {
  let message = String(error)
  let current: unknown = error
  for (let depth = 0; depth < 8 && typeof current === "object" && current !== null; depth++) {
    const own = (current as { readonly message?: unknown }).message
    if (typeof own === "string" && own !== "") message = own
    current = (current as { readonly cause?: unknown }).cause
  }
  return message
}

/** Runs the effect in the scope: it finds the scope, and the scope's SQL if it uses the store's own database. */
const enter = <A, E, R>(frame: Frame, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.mapInputContext(
    effect,
    (context: Context.Context<R>) => frame.sql.provide(Context.add(context, UnitOfWork, frame)) as Context.Context<R>
  )

const commit = (
  store: MessageStore.Encoded,
  transaction: MessageStore.Transaction | undefined,
  frame: Frame,
  settle: ReadonlyArray<MessageStore.Write>,
  begun: boolean
): Effect.Effect<void, MessagingError | CommitConflict> => {
  const writes = writesOf(frame, settle)
  if (isMessagingError(writes))
    return Effect.zipRight(transaction?.rollback ?? Effect.void, Effect.fail(new CommitConflict(writes)))
  const sent = frame.direct.length === 0 ? Effect.void : sendDirect(frame.direct)
  const written =
    begun && transaction !== undefined
      ? transaction.commit(writes, sent)
      : Effect.zipRight(sent, commitAlone(store, writes))
  return Effect.mapError(written, (error) => (error.reason === "Conflict" ? new CommitConflict(error) : error))
}

const isSagaPut = (write: MessageStore.Write): boolean => write._tag === "SagaPut"

/** Two scopes of one unit that moved a saga from the same state: the second would undo the first without a word. */
const overwrittenSaga = (writes: ReadonlyArray<MessageStore.Write>): MessagingError | undefined => {
  const versions = new Map<string, number>()
  for (const write of writes) {
    if (write._tag !== "SagaPut") continue
    const key = JSON.stringify([write.saga, write.id])
    const before = versions.get(key)
    if (before !== undefined && write.version !== before + 1) {
      return new MessagingError({
        reason: "Conflict",
        detail:
          `The saga "${write.saga}" of "${write.id}" was moved twice from one state in this unit of work: by scopes that ` +
          "ran at once, or by an event that its own transition published. Move it by one after the other"
      })
    }
    versions.set(key, write.version)
  }
  return undefined
}

const commitAlone = (store: MessageStore.Encoded, writes: ReadonlyArray<MessageStore.Write>) =>
  writes.length === 0
    ? Effect.void
    : Effect.flatMap(store.commit([writes]), ([outcome]) =>
        outcome !== undefined && Option.isSome(outcome) ? Effect.fail(outcome.value) : Effect.void
      )

/** Several states of one saga in a unit are one write: the last, under the version that the first expected. */
const collapse = (writes: ReadonlyArray<MessageStore.Write>): ReadonlyArray<MessageStore.Write> => {
  const last = new Map<string, number>()
  const first = new Map<string, number>()
  writes.forEach((write, index) => {
    if (write._tag !== "SagaPut") return
    const key = JSON.stringify([write.saga, write.id])
    if (!first.has(key)) first.set(key, write.version)
    last.set(key, index)
  })
  if (last.size === 0) return writes
  return writes.flatMap((write, index): ReadonlyArray<MessageStore.Write> => {
    if (write._tag !== "SagaPut") return [write]
    const key = JSON.stringify([write.saga, write.id])
    return last.get(key) === index ? [{ ...write, version: first.get(key)! }] : []
  })
}

const sendDirect = (sends: ReadonlyArray<DirectSend>): Effect.Effect<void, MessagingError> => {
  const byDriver = new Map<DirectDriver, Array<DirectSend>>()
  for (const send of sends) {
    const group = byDriver.get(send.driver)
    if (group === undefined) byDriver.set(send.driver, [send])
    else group.push(send)
  }
  return Effect.forEach(byDriver, ([driver, group]) => driver.send(group), { discard: true })
}

/** Runs an effect in a nested scope of a unit. @internal */
export const nested = <A, E, R>(around: Scope, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      const outer = around as Frame
      if (!outer.open) return Effect.dieMessage(finished)
      const inner = new Frame(outer.store, outer, outer.transaction, outer.sql.nested())
      return Effect.exit(restore(enter(inner, effect))).pipe(
        Effect.flatMap((exit) => {
          inner.open = false
          if (Exit.isSuccess(exit) && !outer.open)
            return Effect.zipRight(inner.sql.close(false), Effect.dieMessage(finished))
          if (Exit.isSuccess(exit)) inner.pourInto(outer)
          return Effect.zipRight(inner.sql.close(Exit.isSuccess(exit)), exit)
        })
      )
    })
  )
