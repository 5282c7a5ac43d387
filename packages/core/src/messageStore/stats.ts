/**
 * What is counted of a channel. Part of `MessageStore`.
 *
 * @since 0.1.0
 */

/**
 * How much is on a channel. A count stops at the most that was asked for.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isLate = ({ oldestAgeMillis = 0 }: MessageStore.ChannelStats) => oldestAgeMillis > 60_000
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface ChannelStats {
  readonly channel: string
  /** Those that wait for a consumer, and those that one has claimed. */
  readonly ready: number
  /** Those that wait for their time, or that a pause or a limit holds. */
  readonly scheduled: number
  /** Those that a pause or a limit has set aside. */
  readonly held: number
  readonly deadLetters: number
  /** How long the oldest of the ready ones has been available. */
  readonly oldestAgeMillis: number | undefined
}
