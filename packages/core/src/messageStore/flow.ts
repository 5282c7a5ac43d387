/**
 * How fast messages flow, across processes: pauses, limits, and what is held because of them. Part of `MessageStore`.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { MessagingError } from "../MessagingError.ts"
import type { Lease } from "./records.ts"

/**
 * What a pause is of: the messages for which everything it names is so. A channel alone is not claimed from at all.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const ofOneTenant: MessageStore.PauseTarget = { handler: "SendMail", tenant: "acme" }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface PauseTarget {
  /** The durable name of a channel. */
  readonly channel?: string | undefined
  /** The durable name of a handler. */
  readonly handler?: string | undefined
  readonly tenant?: string | undefined
}

/**
 * A pause that is not yet ended. `key` is how messages are held by it: a channel's pause holds none, they just wait.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const describe = ({ handler, held, reason }: MessageStore.Pause) => `${handler} is paused (${reason}): ${held} held`
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Pause extends PauseTarget {
  readonly key: string
  /** By the store's clock. */
  readonly pausedAt: number
  readonly reason: string | undefined
  /** How many messages are held by it. */
  readonly held: number
}

/**
 * How many messages may begin in any while of `intervalMillis`; or, where that is undefined, be handled at once.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const tenASecond: MessageStore.Limit = { name: "mails", channel: "shop/Mails", limit: 10, intervalMillis: 1_000 }
 * const oneAtOnce: MessageStore.Limit = { name: "books", channel: "shop/Books", limit: 1, intervalMillis: undefined }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Limit {
  /** Limits of one name are one limit, in all processes. */
  readonly name: string
  /** Whose messages are held by it. */
  readonly channel: string
  readonly limit: number
  readonly intervalMillis: number | undefined
}

/**
 * What a consumer must know from time to time: which handlers and tenants are paused on its channel, and after how many
 * milliseconds a limit may let more of the held messages go, if any are held by one.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isQuiet = ({ nextMillis, pauses }: MessageStore.FlowState) => pauses.length === 0 && nextMillis === undefined
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface FlowState {
  readonly pauses: ReadonlyArray<PauseTarget & { readonly key: string }>
  readonly nextMillis: number | undefined
}

/**
 * What a store does for pauses and limits. Times are by the store's clock.
 *
 * @example
 * ```ts
 * import { MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const reasons = Effect.gen(function* () {
 *   const { flow } = yield* MessageStore.MessageStore
 *   return (yield* flow.pauses).map(({ reason }) => reason)
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Flow {
  /** Begins a pause. One that there is already keeps its beginning and its reason. */
  readonly pause: (target: PauseTarget, reason: string | undefined) => Effect.Effect<void, MessagingError>
  /**
   * Ends a pause and lets the messages go that it held, oldest first, in batches. If this is cut off, `refresh` goes on
   * with it.
   */
  readonly resume: (target: PauseTarget) => Effect.Effect<void, MessagingError>
  /** All pauses, those of channels first. */
  readonly pauses: Effect.Effect<ReadonlyArray<Pause>, MessagingError>
  /**
   * Sets claimed messages aside until the pause ends or the limit lets them go, without counting an attempt: nobody
   * looks at them meanwhile. One with an ordering key keeps its place, and those behind it wait. `by` is the key of a
   * pause or the name of a limit. Where that pause has ended, they are given back at once, which answers false. Leases
   * that were lost are left alone.
   */
  readonly hold: (leases: ReadonlyArray<Lease>, by: string) => Effect.Effect<boolean, MessagingError>
  /**
   * Asks for as many messages as there are requests whether they may begin: a request lists the limits that its message
   * is under, and takes from all of them or from none. Answers, in their order, the name of a limit that refuses, or
   * undefined. A limit that holds messages lets those go first. Permits of limits without interval stay with the owner
   * until they are given back, or for `leaseMillis` after the last renewal.
   */
  readonly take: (options: {
    readonly owner: string
    readonly leaseMillis: number
    readonly requests: ReadonlyArray<ReadonlyArray<Limit>>
  }) => Effect.Effect<ReadonlyArray<string | undefined>, MessagingError>
  /** Gives permits back, one for each name, and lets as many held messages go. */
  readonly giveBack: (owner: string, names: ReadonlyArray<string>) => Effect.Effect<void, MessagingError>
  /** Says which permits the owner has, and has for another while: no others. */
  readonly renew: (
    owner: string,
    leaseMillis: number,
    permits: ReadonlyArray<{ readonly name: string; readonly count: number }>
  ) => Effect.Effect<void, MessagingError>
  /** Lets those held messages of the channel go for which a limit has room, and tells how things stand. */
  readonly refresh: (channel: string) => Effect.Effect<FlowState, MessagingError>
}
