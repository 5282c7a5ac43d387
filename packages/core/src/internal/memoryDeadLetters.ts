import type { Envelope } from "../Envelope.ts"
import * as Headers from "../Headers.ts"
import type { DeadLetterRow, Filter, Park } from "../MessageStore.ts"
import type { Messages, Row } from "./memoryMessages.ts"
import { type Journal, Table } from "./memoryTable.ts"

interface Letter {
  readonly letter: DeadLetterRow
  readonly priority: number
  /** Where it was on its channel; nowhere if a broker had it. */
  readonly place: number | undefined
}

/**
 * The messages that were given up.
 *
 * @internal
 */
export class DeadLetters {
  private readonly rows: Table<Letter>
  private readonly messages: Messages
  private sequence = 0

  constructor(journal: Journal, messages: Messages) {
    this.messages = messages
    this.rows = new Table(journal, (before, after) => {
      if (before !== undefined) this.holdUp(before, -1)
      if (after !== undefined) this.holdUp(after, 1)
    })
  }

  /** Keeps the message as it was on the channel, not as the consumer understood it, with its whole history. */
  park(now: number, write: Park, row: Row | undefined): void {
    const { error, fingerprint, reason } = write
    const { attempt, failures } = write.envelope
    const envelope = row === undefined ? write.envelope : { ...row.envelope, attempt, failures }
    const { channel, priority } = row ?? { channel: write.channel, priority: 0 }
    const key = String(++this.sequence)
    const letter = { key, channel, envelope, reason, error, fingerprint, parkedAt: now }
    this.rows.set(key, { priority, letter, place: row?.sequence })
  }

  /** All that match, newest first. */
  matching(filter: Filter): ReadonlyArray<DeadLetterRow> {
    return this.rows
      .values()
      .map((row) => row.letter)
      .filter((letter) => matches(filter, letter.channel, letter.envelope, letter.fingerprint))
      .toReversed()
  }

  delete(keys: ReadonlyArray<string>): number {
    return keys.filter((key) => this.rows.delete(key)).length
  }

  /** The oldest first. */
  replay(
    now: number,
    keys: ReadonlyArray<string>
  ): ReadonlyArray<{ readonly channel: string; readonly envelope: Envelope }> {
    const replayed: Array<{ readonly channel: string; readonly envelope: Envelope }> = []
    for (const key of keys.toSorted((self, that) => Number(self) - Number(that))) {
      const row = this.rows.get(key)
      if (row === undefined) continue
      this.rows.delete(key)
      const { channel } = row.letter
      const envelope = afresh(now, row.letter.envelope)
      this.messages.add(now, {
        channel,
        place: row.letter.envelope.orderingKey === undefined ? undefined : row.place,
        envelope,
        priority: row.priority,
        due: undefined,
        timer: undefined,
        undelayed: false
      })
      replayed.push({ channel, envelope })
    }
    return replayed
  }

  private holdUp({ letter, place }: Letter, letters: number): void {
    if (place !== undefined) this.messages.parked(letter.channel, letter.envelope, letters)
  }
}

/**
 * Whether all that the filter names is so.
 *
 * @internal
 */
export const matches = (
  filter: Filter,
  channel: string,
  envelope: Envelope,
  fingerprint: string | undefined
): boolean =>
  (filter.channel === undefined || filter.channel === channel) &&
  (filter.endpoint === undefined || filter.endpoint === envelope.endpoint) &&
  (filter.tag === undefined || filter.tag === envelope.tag) &&
  (filter.id === undefined || filter.id === envelope.id) &&
  (filter.fingerprint === undefined || filter.fingerprint === fingerprint)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const afresh = (now: number, envelope: Envelope): Envelope => ({
  ...envelope,
  attempt: 1,
  failures: [],
  headers: { ...envelope.headers, [Headers.replayedAt]: String(now) }
})
