/**
 * The `MessageStore` in PostgreSQL. Applications provide it through `PgMessaging`; this module is for those who build
 * layers of their own.
 *
 * @since 0.1.0
 */

import type { SqlError } from "@effect/sql/SqlError"
import type { PgClient } from "@effect/sql-pg/PgClient"
import type { Encoded } from "@holdfast/core/MessageStore"
import { MessagingError } from "@holdfast/core/MessagingError"
import { commitSize } from "@holdfast/core/Metrics"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as EffectScope from "effect/Scope"
import * as Claim from "./internal/claim.ts"
import * as Clock from "./internal/clock.ts"
import { coalesce } from "./internal/coalesce.ts"
import { makeCommitter } from "./internal/committer.ts"
import * as Consumers from "./internal/consumers.ts"
import * as Database from "./internal/database.ts"
import { classify, isInfrastructure, toMessagingError } from "./internal/errors.ts"
import * as Flow from "./internal/flow.ts"
import { commitUnits } from "./internal/group.ts"
import { Held } from "./internal/held.ts"
import { janitor } from "./internal/janitor.ts"
import * as Journal from "./internal/journal.ts"
import * as Keys from "./internal/keys.ts"
import * as Leases from "./internal/leases.ts"
import * as Letters from "./internal/letters.ts"
import { listen } from "./internal/listen.ts"
import { live } from "./internal/live.ts"
import * as Migrate from "./internal/migrate.ts"
import { makeNotifier } from "./internal/notify.ts"
import { PgMessagingError } from "./internal/pgMessagingError.ts"
import { replay } from "./internal/replay.ts"
import * as Replays from "./internal/replays.ts"
import { stats } from "./internal/stats.ts"
import * as Transaction from "./internal/transaction.ts"
import * as Views from "./internal/views.ts"
import * as Wake from "./internal/wake.ts"

/**
 * How the store is opened. Its own connections, `maxConnections` (4), come on top of those of `PgClient`.
 *
 * @example
 * ```ts
 * import type { PgMessageStore } from "@holdfast/postgres"
 *
 * const behindPgBouncer: PgMessageStore.Options = { schema: "messaging", maxConnections: 2, notifications: false }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** Where the tables are: `holdfast` when left out. */
  readonly schema?: string | undefined
  readonly maxConnections?: number | undefined
  /** Without notifications (behind a pooler that cannot carry them) consumers poll. */
  readonly notifications?: boolean | undefined
  /** Lets tests move the clock. */
  readonly testing?: boolean | undefined
  /** After how long a statement of the store's own is given up: 30 seconds when left out, 24 days at most. */
  readonly queryTimeout?: Duration.DurationInput | undefined
  /** For how long the journal is kept: 14 days when left out, for ever when infinite. */
  readonly journalRetention?: Duration.DurationInput | undefined
  /**
   * How long a unit of work waits for a connection of `PgClient`'s pool, and SQL in `UnitOfWork.outside` for a second one:
   * 10 seconds when left out, 24 days at most. Then it fails with `Unavailable`.
   */
  readonly acquireTimeout?: Duration.DurationInput | undefined
}

/**
 * A store, and the client whose `withTransaction` keeps to the units of that store.
 *
 * @example
 * ```ts
 * import { SqlClient } from "@effect/sql"
 * import { MessageStore } from "@holdfast/core"
 * import type { PgMessageStore } from "@holdfast/postgres"
 * import { Context } from "effect"
 *
 * // both, or SQL in handlers does not join their units
 * const contextOf = ({ client, store }: PgMessageStore.PgMessageStore) =>
 *   Context.make(MessageStore.MessageStore, store).pipe(Context.add(SqlClient.SqlClient, client))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface PgMessageStore {
  readonly store: Encoded
  readonly client: PgClient
}

/**
 * Opens a store on the database of the client. Refuses a database that is away or too old, and tables that are not
 * those of this build.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { PgMessageStore } from "@holdfast/postgres"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const { store } = yield* PgMessageStore.make(yield* PgClient.PgClient, { schema: "messaging" })
 *   return yield* store.depth("shop/Orders")
 * })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  client: PgClient,
  options: Options = {}
): Effect.Effect<PgMessageStore, PgMessagingError, EffectScope.Scope> =>
  Effect.gen(function* () {
    const schema = options.schema ?? Migrate.defaultSchema
    yield* checkPool(options.maxConnections)
    yield* checkTimeout("queryTimeout", options.queryTimeout)
    yield* checkTimeout("acquireTimeout", options.acquireTimeout)
    yield* checkRetention(options.journalRetention)
    yield* Migrate.checkServer(client)
    yield* Migrate.check(client, schema)
    const database = yield* Database.make({
      client: client.config,
      schema,
      maxConnections: options.maxConnections ?? 4,
      timeoutMillis: Duration.toMillis(options.queryTimeout ?? Duration.seconds(30))
    })
    const signals = yield* makeSignals(database, options.notifications ?? true)
    const transactions = yield* Effect.mapError(
      Transaction.make(
        database,
        { raw: client, waitMillis: Duration.toMillis(options.acquireTimeout ?? defaultWait) },
        options.notifications ?? true
      ),
      Migrate.toPgMessagingError
    )
    yield* janitor(database, Duration.toMillis(options.journalRetention ?? Duration.days(14)))
    const held = new Held()
    yield* Effect.addFinalizer(() => quickly(Leases.drop(database, held)))
    const commit = yield* makeCommitter((units, patience) => {
      commitSize.unsafeUpdate(units.length, [])
      return commitUnits(database, signals.put, units, patience)
    })
    const store: Encoded = {
      kind: "postgres",
      handlerConnections: client.config.maxConnections ?? 10,
      isInfrastructure,
      begin: Effect.map(transactions.begin(signals.put), (transaction) => ({
        ...transaction,
        commit: (writes, beforeCommit) =>
          Effect.map(transaction.commit(writes, beforeCommit), () => held.committed(writes))
      })),
      joins: transactions.joins,
      joining: transactions.joining,
      outside: Transaction.outside,
      commit: (units) => Effect.tap(commit(units), (outcomes) => held.ended(units, outcomes)),
      ...clock(database, options.testing ?? false),
      ...consuming(database, held, signals),
      ...consumers(database),
      flow: flow(database, held, signals),
      ...keys(database, signals.hub),
      ...(yield* asking(database)),
      ...views(database, signals),
      ...letters(database, signals)
    }
    return { store, client: transactions.client }
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** When the store closes: a database that is away then is not waited for. */
const quickly = (effect: Effect.Effect<void, SqlError>): Effect.Effect<void> =>
  effect.pipe(Effect.interruptible, Effect.timeoutOption(1000), live, Effect.ignore)

interface Signals {
  readonly hub: Wake.Hub
  /** Something was put on the channels: tells this process, and the others. */
  readonly put: (channels: ReadonlySet<string>) => Effect.Effect<void>
}

const checkPool = (maxConnections: number | undefined): Effect.Effect<void, PgMessagingError> =>
  maxConnections === undefined || maxConnections >= 1
    ? Effect.void
    : Effect.fail(
        new PgMessagingError({
          reason: "PoolTooSmall",
          detail: `maxConnections is ${maxConnections}. Give PgMessaging at least one connection of its own.`
        })
      )

const defaultWait = Duration.seconds(10)

/** A timer that is told to wait for longer does not wait at all. */
const longestTimer = Duration.days(24)

const checkTimeout = (
  name: string,
  timeout: Duration.DurationInput | undefined
): Effect.Effect<void, PgMessagingError> => {
  if (timeout === undefined || Duration.between(timeout, { minimum: "1 millis", maximum: longestTimer }))
    return Effect.void
  const shown = typeof timeout === "number" ? `${timeout} ms` : Duration.format(timeout)
  return new PgMessagingError({
    reason: "TimeoutInvalid",
    detail: `${name} is ${shown}. Give a duration between 1 ms and 24 days.`
  })
}

const checkRetention = (retention: Duration.DurationInput | undefined): Effect.Effect<void, PgMessagingError> => {
  const shortest = Duration.minutes(1)
  if (retention === undefined || Duration.greaterThanOrEqualTo(retention, shortest)) return Effect.void
  const shown = typeof retention === "number" ? `${retention} ms` : Duration.format(retention)
  return new PgMessagingError({
    reason: "RetentionInvalid",
    detail: `journalRetention is ${shown}. Give a duration of at least a minute, or none.`
  })
}

const makeSignals = (
  database: Database.Database,
  notifications: boolean
): Effect.Effect<Signals, never, EffectScope.Scope> =>
  Effect.gen(function* () {
    const hub = Wake.makeHub()
    const origin = yield* Effect.sync(() => globalThis.crypto.randomUUID())
    const tellOthers = notifications ? yield* makeNotifier(database, origin) : () => Effect.void
    if (notifications) yield* listen(database, hub, origin)
    const tell = (channels: ReadonlySet<string>) =>
      Effect.suspend(() => {
        for (const channel of channels) hub.signal(channel)
        return channels.size === 0 ? Effect.void : tellOthers(channels)
      })
    return { hub, put: tell }
  })

const mapped: <A>(effect: Effect.Effect<A, SqlError | MessagingError>) => Effect.Effect<A, MessagingError> =
  Effect.mapError((error) => (error._tag === "SqlError" ? toMessagingError(error) : error))

const clock = (database: Database.Database, testing: boolean): Pick<Encoded, "now" | "advance"> => ({
  now: mapped(Clock.now(database)),
  advance: (millis) => (testing ? mapped(Clock.advance(database, millis)) : Effect.fail(notForTests))
})

const notForTests = new MessagingError({
  reason: "Rejected",
  detail: "The clock of this store cannot be moved. For tests, open it with PgMessaging.layerWith({ testing: true })."
})

const consuming = (
  database: Database.Database,
  held: Held,
  { hub, put }: Signals
): Pick<Encoded, "claim" | "started" | "renew" | "release" | "wake" | "depth"> => ({
  claim: (options) => mapped(Claim.claim(database, held, options)),
  started: (leases) => (leases.length === 0 ? Effect.void : mapped(Leases.started(database, leases))),
  renew: (leases, leaseMillis) =>
    leases.length === 0 ? Effect.succeed([]) : mapped(Leases.renew(database, held, leases, leaseMillis)),
  release: (leases, afterMillis) =>
    leases.length === 0
      ? Effect.void
      : Effect.zipRight(
          mapped(Leases.release(database, held, leases, afterMillis)),
          put(new Set(leases.map(({ channel }) => channel)))
        ),
  wake: (channel, atMost) => Wake.wake(database, hub, held.marks(channel), channel, atMost),
  depth: (channel) => mapped(Views.depth(database, channel))
})

const consumers = (database: Database.Database): Pick<Encoded, "paused" | "heartbeat" | "consumed"> => ({
  paused: mapped(Consumers.paused(database)),
  heartbeat: (channel) => mapped(Consumers.heartbeat(database, channel)),
  consumed: (withinMillis) => mapped(Consumers.consumed(database, withinMillis))
})

const flow = (database: Database.Database, held: Held, { put }: Signals): Encoded["flow"] => ({
  pause: (target, reason) => mapped(Flow.pause(database, target, reason)),
  resume: (target) => mapped(Flow.resume(database, target, put)),
  pauses: mapped(Flow.pauses(database)),
  hold: (leases, by) =>
    Effect.flatMap(mapped(Flow.hold(database, held, leases, by)), (channels) =>
      Effect.as(put(channels), channels.size === 0)
    ),
  take: (options) => mapped(Flow.take(database, options)),
  giveBack: (owner, names) =>
    Effect.flatMap(mapped(Flow.giveBack(database, owner, names)), (channels) =>
      Effect.forEach(channels, (channel) => mapped(Flow.admit(database, channel, put)), { discard: true })
    ),
  renew: (owner, leaseMillis, permits) => mapped(Flow.renew(database, owner, leaseMillis, permits)),
  refresh: (channel) => mapped(Flow.refresh(database, channel, put))
})

const keys = (
  database: Database.Database,
  hub: Wake.Hub
): Pick<Encoded, "claimKey" | "renewKey" | "completeKey" | "releaseKey"> => ({
  claimKey: (key, leaseMillis) => mapped(Keys.claimKey(database, hub, key, leaseMillis)),
  renewKey: (key, token, leaseMillis) => mapped(Keys.renewKey(database, key, token, leaseMillis)),
  completeKey: (key, token, result, windowMillis) =>
    mapped(Keys.completeKey(database, hub, { key, token, result, windowMillis })),
  releaseKey: (key, token) => mapped(Keys.releaseKey(database, hub, key, token))
})

/** What handlers that run at once ask for goes in one statement. */
const asking = (database: Database.Database): Effect.Effect<Pick<Encoded, "loadSaga" | "remembered">> =>
  Effect.gen(function* () {
    const isRefused = (error: SqlError) => classify(error) === "Refused"
    const load = yield* coalesce(
      (asked: ReadonlyArray<{ readonly saga: string; readonly id: string }>) => Views.loadSagas(database, asked),
      isRefused
    )
    const recall = yield* coalesce(
      (asked: ReadonlyArray<ReadonlyArray<string>>) =>
        Effect.map(Keys.remembered(database, asked.flat()), (known) =>
          asked.map((keys): ReadonlySet<string> => new Set(keys.filter((key) => known.has(key))))
        ),
      isRefused
    )
    return {
      loadSaga: (saga, id) => mapped(load({ saga, id })),
      remembered: (keys) => mapped(recall(keys))
    }
  })

const views = (
  database: Database.Database,
  { put }: Signals
): Pick<
  Encoded,
  "scheduled" | "reschedule" | "cancelScheduled" | "subscribe" | "unsubscribe" | "subscriptions" | "journal" | "stats"
> => {
  const moved = (channel: Effect.Effect<Option.Option<string>, SqlError>) =>
    Effect.flatMap(mapped(channel), (channel) =>
      Effect.as(put(new Set(Option.toArray(channel))), Option.isSome(channel))
    )
  return {
    subscribe: (subscriptions) => mapped(Views.subscribe(database, subscriptions)),
    unsubscribe: (endpoint) => mapped(Views.unsubscribe(database, endpoint)),
    subscriptions: mapped(Views.subscriptions(database)),
    stats: (channels, most) => mapped(stats(database, channels, most)),
    journal: (query) => mapped(Journal.read(database, query)),
    scheduled: (filter) => mapped(Views.scheduled(database, filter)),
    reschedule: (key, due) => moved(Views.reschedule(database, key, due)),
    cancelScheduled: (key) => moved(Views.cancelScheduled(database, key))
  }
}

const letters = (
  database: Database.Database,
  { put }: Signals
): Pick<
  Encoded,
  | "deadLetters"
  | "countDeadLetters"
  | "searchDeadLetters"
  | "deadLetterGroups"
  | "deadLetter"
  | "replay"
  | "deleteDeadLetters"
  | "archiveDeadLetters"
  | "restoreDeadLetters"
  | "editDeadLetter"
  | "sweepDeadLetters"
  | "startReplay"
  | "replays"
  | "advanceReplay"
  | "cancelReplay"
> => {
  // others may have waited for what is gone from these channels
  const freed = (channels: Effect.Effect<ReadonlyArray<string>, SqlError>) =>
    Effect.flatMap(mapped(channels), (channels) => Effect.as(put(new Set(channels)), channels.length))
  return {
    deadLetters: (filter) => mapped(Letters.deadLetters(database, filter)),
    countDeadLetters: (filter) => mapped(Letters.countDeadLetters(database, filter)),
    searchDeadLetters: (filter, before) => mapped(Letters.searchDeadLetters(database, filter, before)),
    deadLetterGroups: (filter) => mapped(Letters.deadLetterGroups(database, filter)),
    deadLetter: (key) => mapped(Letters.deadLetter(database, key)),
    replay: (keys) =>
      Effect.flatMap(mapped(replay(database, keys)), ({ channels, keys }) => Effect.as(put(channels), keys.length)),
    deleteDeadLetters: (keys) => freed(Letters.deleteDeadLetters(database, keys)),
    archiveDeadLetters: (keys) => freed(Letters.archiveDeadLetters(database, keys)),
    restoreDeadLetters: (keys) => mapped(Letters.restoreDeadLetters(database, keys)),
    editDeadLetter: (key, payload) => mapped(Letters.editDeadLetter(database, key, payload)),
    sweepDeadLetters: (options) => freed(Letters.sweepDeadLetters(database, options)),
    startReplay: (request) => mapped(Replays.startReplay(database, request)),
    replays: (options) => mapped(Replays.replays(database, options)),
    advanceReplay: (step) =>
      Effect.flatMap(mapped(Replays.advanceReplay(database, step)), (taken) =>
        Option.isNone(taken) ? Effect.succeedNone : Effect.as(put(taken.value.channels), Option.some(taken.value.count))
      ),
    cancelReplay: (id) => mapped(Replays.cancelReplay(database, id))
  }
}
