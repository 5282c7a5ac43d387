/**
 * What a store keeps of dead letters and of their replay: plain records. Part of `MessageStore`.
 *
 * @since 0.1.0
 */
import type { Envelope } from "../Envelope.ts"
import type { Filter, ParkReason } from "./records.ts"

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
  /** The payload as it was sent, if somebody has edited it since. */
  readonly original?: string | undefined
  readonly editedAt?: number | undefined
  /** It was put away: it is not shown unless it is asked for, and holds up nobody. */
  readonly archivedAt?: number | undefined
  /** Of an edited letter that was replayed: what is left of it, to look at. */
  readonly replayedAt?: number | undefined
}

/**
 * Says which dead letters are meant; what is left out matches all.
 *
 * @example
 * ```ts
 * import { DeadLetter, type MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const timeouts: MessageStore.DeadLetterFilter = { endpoint: "SendConfirmation", text: "timed out" }
 * const found = Effect.flatMap(DeadLetter.DeadLetter, (deadLetters) => deadLetters.search(timeouts))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DeadLetterFilter extends Filter {
  readonly keys?: ReadonlyArray<string> | undefined
  readonly reason?: ParkReason | undefined
  /** Is in the error or in the payload; whether letters are large or small does not matter. */
  readonly text?: string | undefined
  /** Parked at this time or later, in milliseconds by the store's clock. */
  readonly since?: number | undefined
  /** Parked at this time or earlier. */
  readonly until?: number | undefined
  /** Those that were put away, instead of those that were not. */
  readonly archived?: boolean | undefined
}

/**
 * Dead letters that failed alike.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const line = ({ count, fingerprint }: MessageStore.DeadLetterGroup) => `${count} x ${fingerprint}`
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface DeadLetterGroup {
  readonly fingerprint: string
  readonly count: number
  /** When the first and the last of them were parked. */
  readonly firstAt: number
  readonly lastAt: number
  /** The error of the last. */
  readonly error: string
  readonly channels: ReadonlyArray<string>
  readonly endpoints: ReadonlyArray<string>
  readonly tags: ReadonlyArray<string>
  readonly reasons: ReadonlyArray<ParkReason>
}

/**
 * How far a replay is.
 *
 * - `Pending`: nothing is replayed yet. - `Canary`: the first ones are, and are waited for. - `Running`: the rest follows.
 * - `Done`: all that matched are. - `Stopped`: one of the first ones was given up again. - `Cancelled`: by somebody.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isOver = (state: MessageStore.ReplayState) => state === "Done" || state === "Stopped" || state === "Cancelled"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type ReplayState = "Pending" | "Canary" | "Running" | "Done" | "Stopped" | "Cancelled"

/**
 * What is asked of a replay: which dead letters, how many of them first, and how fast.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const careful: MessageStore.ReplayRequest = {
 *   filter: { endpoint: "SendConfirmation" },
 *   canary: 3,
 *   rate: { limit: 50, intervalMillis: 1_000 }
 * }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface ReplayRequest {
  readonly filter: DeadLetterFilter
  readonly canary: number
  readonly rate: { readonly limit: number; readonly intervalMillis: number } | undefined
}

/**
 * A replay of many dead letters: a row, which any process carries on.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const progress = ({ replayed, state, total }: MessageStore.Replay) => `${state}: ${replayed} of about ${total}`
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Replay extends ReplayRequest {
  readonly id: string
  readonly state: ReplayState
  /** Why it was stopped. */
  readonly detail: string | undefined
  /** How many matched when it began. */
  readonly total: number
  readonly replayed: number
  /** The keys of those that were replayed first. */
  readonly canaries: ReadonlyArray<string>
  readonly createdAt: number
  readonly updatedAt: number
  /** Rises with every step. */
  readonly version: number
}

/**
 * The next step of a replay, which is taken if nobody has taken one since `version`: up to `limit` dead letters go back,
 * oldest first, and it is looked at again after a while.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const rest = (replay: MessageStore.Replay): MessageStore.ReplayStep => ({
 *   id: replay.id,
 *   version: replay.version,
 *   limit: 500,
 *   canary: false,
 *   state: "Running",
 *   detail: undefined,
 *   afterMillis: 0
 * })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface ReplayStep {
  readonly id: string
  readonly version: number
  readonly limit: number
  /** These are the ones that are waited for. */
  readonly canary: boolean
  /** What comes after it; `Done` instead, when none is left. */
  readonly state: ReplayState
  readonly detail: string | undefined
  readonly afterMillis: number
}
