/**
 * Messages that were given up, with their bytes, their cause and the history of their attempts. They wait for a
 * person: to be replayed to the handler that failed, mended, put away or dropped.
 *
 * @since 0.1.0
 */
import type * as Brand from "effect/Brand"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { HandlerRegistry } from "./HandlerRegistry.ts"
import * as Input from "./internal/input.ts"
import * as replaying from "./internal/replaying.ts"
import {
  type DeadLetterFilter,
  type DeadLetterGroup,
  type DeadLetterRow,
  type Encoded,
  MessageStore,
  type Replay
} from "./MessageStore.ts"
import { MessagingError } from "./MessagingError.ts"

export * from "./internal/messageFailed.ts"

/**
 * Where a search goes on: comes with a page, and is given with the next search.
 *
 * @example
 * ```ts
 * import { DeadLetter } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const secondPage = Effect.gen(function* () {
 *   const deadLetters = yield* DeadLetter.DeadLetter
 *   const { next } = yield* deadLetters.search({ text: "timed out" })
 *   return next === undefined ? [] : (yield* deadLetters.search({ text: "timed out", after: next })).letters
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Cursor = string & Brand.Brand<"@holdfast/core/DeadLetter/Cursor">

/**
 * What a search finds. As long as `next` is there, so may be more: a search for a text looks at a few thousand letters
 * at a time, and then answers what it has found among them, which may be nothing.
 *
 * @example
 * ```ts
 * import type { DeadLetter } from "@holdfast/core"
 *
 * const isLast = (page: DeadLetter.Page) => page.next === undefined
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Page {
  /** Newest first. */
  readonly letters: ReadonlyArray<DeadLetterRow>
  readonly next: Cursor | undefined
}

/**
 * Which letters: by their keys, or all that match.
 *
 * @example
 * ```ts
 * import type { DeadLetter } from "@holdfast/core"
 *
 * const two: DeadLetter.Selection = ["17", "18"]
 * const oldOnes: DeadLetter.Selection = { endpoint: "SendConfirmation", until: Date.UTC(2030, 0, 1) }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Selection = ReadonlyArray<string> | Omit<DeadLetterFilter, "limit">

/**
 * How a replay goes about it.
 *
 * @example
 * ```ts
 * import type { DeadLetter } from "@holdfast/core"
 *
 * const careful: DeadLetter.ReplayOptions = { canary: 5, rate: { limit: 50, interval: "1 second" } }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface ReplayOptions {
  /**
   * Replays so many first, and waits until they are handled. The rest follows only if none of them was given up again:
   * else the replay is `Stopped`, and the rest stays where it is.
   */
  readonly canary?: number | undefined
  /** Replays so many in each interval. */
  readonly rate?: { readonly limit: number; readonly interval: Duration.DurationInput } | undefined
}

/**
 * The dead letters.
 *
 * @example
 * ```ts
 * import { DeadLetter } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const replayLargest = Effect.gen(function* () {
 *   const deadLetters = yield* DeadLetter.DeadLetter
 *   const [largest] = yield* deadLetters.groups()
 *   if (largest === undefined) return undefined
 *   yield* Effect.log(`${largest.count} failed with: ${largest.error}`)
 *   return yield* deadLetters.replayAll({ fingerprint: largest.fingerprint }, { canary: 3 })
 * })
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class DeadLetter extends Context.Tag("@holdfast/core/DeadLetter")<
  DeadLetter,
  {
    /** Newest first, 100 unless `limit` says otherwise. */
    readonly list: (filter?: DeadLetterFilter) => Effect.Effect<ReadonlyArray<DeadLetterRow>, MessagingError>
    readonly count: (filter?: DeadLetterFilter) => Effect.Effect<number, MessagingError>
    /** What failed alike, the most frequent first: 100 groups unless `limit` says otherwise. */
    readonly groups: (filter?: DeadLetterFilter) => Effect.Effect<ReadonlyArray<DeadLetterGroup>, MessagingError>
    /** A page, newest first, of 100 unless `limit` says otherwise; the page behind that of `after`. */
    readonly search: (
      filter?: DeadLetterFilter & { readonly after?: Cursor | undefined }
    ) => Effect.Effect<Page, MessagingError>
    /** All of one letter, also of one that was put away. */
    readonly get: (key: string) => Effect.Effect<Option.Option<DeadLetterRow>, MessagingError>
    /**
     * Puts dead letters back to the handler that failed, and to no other, in one transaction: each is replayed once,
     * whoever asks. One with an ordering key comes back in its old place. Id and headers stay, attempts count from one
     * again, and the headers `replayedAt` and `replayOf` tell handlers. Answers how many were still there.
     */
    readonly replay: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
    /**
     * Begins to replay all that match now, oldest first, and answers at once. The replay is stored: any process with
     * `MessageBus.layer` or `DeadLetter.layerWorker` carries it on, and another one goes on where a killed one was. What
     * is given up again meanwhile is not replayed twice.
     */
    readonly replayAll: (
      filter: Omit<DeadLetterFilter, "limit" | "archived">,
      options?: ReplayOptions
    ) => Effect.Effect<Replay, MessagingError>
    /** The last 100 replays that `replayAll` began, newest first. */
    readonly replays: Effect.Effect<ReadonlyArray<Replay>, MessagingError>
    /** Ends a replay where it is. Answers whether it was not over yet. */
    readonly cancelReplay: (id: string) => Effect.Effect<boolean, MessagingError>
    /**
     * Gives a letter another payload, as JSON text; the original is kept with it, and with the archived letters when it
     * has been replayed. If this process knows the handler, the payload must be what its message's schema decodes, or the
     * edit fails with `Rejected`. Answers whether that was checked.
     */
    readonly edit: (key: string, payload: string) => Effect.Effect<{ readonly checked: boolean }, MessagingError>
    /**
     * Forgets dead letters, and lets those go that wait behind them for their ordering key. Answers how many were still
     * there. A filter must name something.
     */
    readonly discard: (which: Selection) => Effect.Effect<number, MessagingError>
    /**
     * Puts dead letters away, with all that is known of them: they show only when asked for, and those go on that wait
     * behind them for their ordering key. Answers how many were still there.
     */
    readonly archive: (which: Selection) => Effect.Effect<number, MessagingError>
    /** Takes archived letters back. Answers how many were there. */
    readonly restore: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
  }
>() {}

/**
 * The dead letters of the message store.
 *
 * @example
 * ```ts
 * import { DeadLetter, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const DeadLetters = DeadLetter.layer.pipe(Layer.provide(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<DeadLetter, never, MessageStore> = Layer.effect(
  DeadLetter,
  Effect.map(MessageStore, (store) => {
    const limited = <A>(filter: DeadLetterFilter | undefined, answer: Effect.Effect<A, MessagingError>) =>
      Effect.zipRight(Input.reject(Input.wholeNumber("the limit", filter?.limit, 1), timesOf(filter)), answer)
    return DeadLetter.of({
      list: (filter = {}) => limited(filter, store.deadLetters(filter)),
      count: (filter = {}) => limited(filter, store.countDeadLetters(filter)),
      groups: (filter = {}) => limited(filter, store.deadLetterGroups(filter)),
      search: ({ after, ...filter } = {}) =>
        limited(filter, store.searchDeadLetters(filter, after)) as Effect.Effect<Page, MessagingError>,
      get: store.deadLetter,
      replay: store.replay,
      replayAll: (filter, options) => replayAll(store, filter, options ?? {}),
      replays: store.replays({ due: false, limit: 100 }),
      cancelReplay: store.cancelReplay,
      edit: (key, payload) => edit(store, key, payload),
      discard: (which) => Effect.zipRight(refuseAll(which), selected(store, which, store.deleteDeadLetters)),
      archive: (which) => selected(store, which, store.archiveDeadLetters),
      restore: store.restoreDeadLetters
    })
  })
)

/**
 * Carries on replays that somebody has begun, here or elsewhere, and keeps to the retention of the channels whose
 * handlers this process knows. Part of `MessageBus.layer`: for those who build layers of their own.
 *
 * @example
 * ```ts
 * import { DeadLetter, HandlerRegistry, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Worker = DeadLetter.layerWorker.pipe(
 *   Layer.provide(HandlerRegistry.layer),
 *   Layer.provide(MessageStore.layerMemory)
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWorker: Layer.Layer<never, never, MessageStore | HandlerRegistry> = Layer.scopedDiscard(
  Effect.gen(function* () {
    const store = yield* MessageStore
    const registry = yield* HandlerRegistry
    yield* replaying
      .work(store, () => policiesOf(registry))
      .pipe(Effect.annotateLogs({ package: "@holdfast/core", module: "DeadLetter" }), Effect.forkScoped)
  })
)

/**
 * Takes the steps of replays that are due now, and answers how many letters went back. For tests and jobs: processes
 * with `MessageBus.layer` do it by themselves.
 *
 * @example
 * ```ts
 * import { DeadLetter, MessagingTest } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const replayed = Effect.gen(function* () {
 *   const deadLetters = yield* DeadLetter.DeadLetter
 *   yield* deadLetters.replayAll({ endpoint: "SendConfirmation" }, { canary: 1 })
 *   yield* DeadLetter.runReplays // the first one
 *   yield* MessagingTest.advance("1 second") // is handled
 *   return yield* DeadLetter.runReplays // the rest
 * })
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const runReplays: Effect.Effect<number, MessagingError, MessageStore> = Effect.flatMap(MessageStore, (store) =>
  Effect.map(replaying.workOff(store), ({ replayed }) => replayed)
)

/**
 * Archives and deletes what the channels have kept for long enough, by `archiveAfter` and `deleteAfter` of those whose
 * handlers this process knows. Answers how many letters. For tests and jobs, as `runReplays`.
 *
 * @example
 * ```ts
 * import { DeadLetter } from "@holdfast/core"
 *
 * const swept = DeadLetter.runRetention // Effect<number, MessagingError, MessageStore | HandlerRegistry>
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const runRetention: Effect.Effect<number, MessagingError, MessageStore | HandlerRegistry> = Effect.flatMap(
  MessageStore,
  (store) => Effect.flatMap(HandlerRegistry, (registry) => replaying.keep(store, policiesOf(registry)))
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const policiesOf = (registry: HandlerRegistry["Type"]) =>
  new Map(
    registry
      .all()
      .flatMap(({ route }) => (route === undefined ? [] : [[route.channel.name, route.policy.deadLetter] as const]))
  )

const replayAll = (
  store: Encoded,
  filter: DeadLetterFilter,
  { canary = 0, rate }: ReplayOptions
): Effect.Effect<Replay, MessagingError> =>
  Effect.zipRight(
    Input.reject(
      timesOf(filter),
      Input.wholeNumber("canary", canary, 0),
      Input.wholeNumber("the limit of the rate", rate?.limit, 1),
      Input.duration("the interval of the rate", rate?.interval, { least: "1 millis", most: "365 days" })
    ),
    Effect.suspend(() => {
      const { archived: _, limit: __, ...chosen } = filter
      return store.startReplay({
        filter: chosen,
        canary,
        rate: rate === undefined ? undefined : { limit: rate.limit, intervalMillis: Duration.toMillis(rate.interval) }
      })
    })
  )

const timesOf = (filter: DeadLetterFilter | undefined): Input.Problem => {
  const wrong = [filter?.since, filter?.until].find((time) => time !== undefined && Number.isNaN(time))
  return wrong === undefined ? undefined : `a time of the filter is ${wrong}: give milliseconds since 1970`
}

const isKeys = (which: Selection): which is ReadonlyArray<string> => Array.isArray(which)

const selected = (
  store: Encoded,
  which: Selection,
  change: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
): Effect.Effect<number, MessagingError> => (isKeys(which) ? change(which) : replaying.each(store, which, change))

const refuseAll = (which: Selection): Effect.Effect<void, MessagingError> =>
  Input.reject(
    isKeys(which) ||
      Object.entries(which).some(([name, value]) => name !== "archived" && value !== undefined && value !== "")
      ? undefined
      : "a filter that names nothing would discard every dead letter: to do that, give { since: 0 }"
  )

const edit = (
  store: Encoded,
  key: string,
  payload: string
): Effect.Effect<{ readonly checked: boolean }, MessagingError> =>
  Effect.gen(function* () {
    const letter = yield* store.deadLetter(key)
    if (Option.isNone(letter) || letter.value.archivedAt !== undefined) return yield* gone(key)
    const value = yield* Effect.mapError(
      Effect.try(() => JSON.parse(payload) as unknown),
      (cause) => refused(key, `it is not JSON: ${cause.error}`, cause)
    )
    const { envelope } = letter.value
    const registry = yield* Effect.serviceOption(HandlerRegistry)
    const entry = Option.getOrUndefined(registry)?.byName(envelope.endpoint)
    const known =
      entry !== undefined && [...entry.messages, ...entry.internal].some(({ _tag }) => _tag === envelope.tag)
    if (known) {
      yield* Effect.mapError(entry.decode(envelope, value), (cause) =>
        refused(key, `${envelope.tag} does not decode it: ${cause instanceof Error ? cause.message : cause}`, cause)
      )
    }
    return (yield* store.editDeadLetter(key, payload)) ? { checked: known } : yield* gone(key)
  })

const gone = (key: string) =>
  new MessagingError({ reason: "Rejected", detail: `There is no dead letter "${key}" to edit: was it replayed?` })

const refused = (key: string, why: string, cause: unknown) =>
  new MessagingError({ reason: "Rejected", detail: `The payload for dead letter "${key}" was refused: ${why}`, cause })
