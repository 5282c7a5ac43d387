/**
 * What the journal keeps: plain records. Part of `MessageStore`.
 *
 * @since 0.1.0
 */
import type { Metadata } from "../Envelope.ts"
import type { Due, ParkReason } from "./records.ts"

/**
 * What happened to a message.
 *
 * - `Sent`: it was put on a channel, for one handler. - `Published`: an event was published, to whomever handles it.
 * - `Handled`: a handler handled it. - `Failed`: an attempt failed. - `Retried`: it will be tried again, at `dueAt`.
 * - `DeadLettered`, `Discarded`: it was given up. - `Expired`: it was not begun within its time to live.
 * - `Replayed`: it came back from the dead letters.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const ends: ReadonlyArray<MessageStore.JournalEvent> = ["Handled", "DeadLettered", "Discarded", "Expired"]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type JournalEvent =
  | "Sent"
  | "Published"
  | "Handled"
  | "Failed"
  | "Retried"
  | "DeadLettered"
  | "Discarded"
  | "Expired"
  | "Replayed"

/**
 * Writes down what happened to a message, at the time of the commit by the store's clock: it is in the journal if and
 * only if the unit commits.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isAttempt = ({ event }: MessageStore.JournalEntry) => event === "Handled" || event === "Failed"
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface JournalEntry {
  readonly _tag: "JournalEntry"
  readonly event: JournalEvent
  readonly envelope: Metadata
  readonly channel: string | undefined
  /** When it is to be handled, if that is later. */
  readonly due: Due | undefined
  readonly durationMillis: number | undefined
  /** The consumer that had it: the owner of its lease. */
  readonly worker: string | undefined
  readonly reason: ParkReason | undefined
  readonly error: string | undefined
  readonly payload: string | undefined
}

/**
 * One line of the journal. Times are in milliseconds since 1970, by the store's clock.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const describe = ({ at, endpoint, event, tag }: MessageStore.JournalRow) =>
 *   `${new Date(at).toISOString()} ${event} ${tag} ${endpoint}`
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface JournalRow {
  /** Its place in the journal: what a search goes on after. */
  readonly key: string
  readonly event: JournalEvent
  readonly at: number
  /** The id of the message: copies for several handlers share it. */
  readonly id: string
  readonly tag: string
  /** The handler. Empty for what was published. */
  readonly endpoint: string
  /** The channel, if there was one between sender and handler. */
  readonly channel: string | undefined
  readonly attempt: number
  readonly correlationId: string
  /** The id of the message whose handler made this one. */
  readonly causationId: string | undefined
  readonly tenant: string | undefined
  /** The trace that the message belongs to, if it was sent inside of one. */
  readonly traceId: string | undefined
  readonly dueAt: number | undefined
  /** How long the attempt took. */
  readonly durationMillis: number | undefined
  /** The consumer that had it. */
  readonly worker: string | undefined
  readonly reason: ParkReason | undefined
  readonly error: string | undefined
  readonly payload: string | undefined
}

/**
 * Says which lines of the journal are meant; what is left out matches all.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const failuresOfMail: MessageStore.JournalQuery = { endpoint: "SendConfirmation", event: "Failed", limit: 20 }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface JournalQuery {
  /** The id of a message. */
  readonly id?: string | undefined
  readonly correlationId?: string | undefined
  readonly channel?: string | undefined
  readonly endpoint?: string | undefined
  readonly tag?: string | undefined
  readonly event?: JournalEvent | undefined
  /** Not before this time, in milliseconds. */
  readonly since?: number | undefined
  /** Before this time, in milliseconds. */
  readonly until?: number | undefined
  /** Goes on after the line with this key. */
  readonly after?: string | undefined
  readonly order?: "OldestFirst" | "NewestFirst" | undefined
  /** 100 when left out. */
  readonly limit?: number | undefined
}

/**
 * What is written to the journal, in the commits of the messages themselves.
 *
 * - `"Failures"`: what fails, and what becomes of it. Costs nothing while all goes well. - `"All"`: also what is sent,
 * published and handled. - `{ payload: true }`: all, and the encoded message with what is sent and published; mind that
 * it then stays for as long as the journal is kept. - `"Off"`: nothing, but for what was replayed.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders", { journal: "All" }) {}
 * class Prices extends Channel.Tag<Prices>()("shop/Prices", { journal: "Off" }) {}
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type JournalPolicy = "Off" | "Failures" | "All" | { readonly payload: boolean }
