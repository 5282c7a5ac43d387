import type { Envelope } from "../Envelope.ts"
import * as Headers from "../Headers.ts"
import type { DeadLetterFilter, DeadLetterGroup, DeadLetterRow, Filter, Park, Replay } from "../MessageStore.ts"
import type { Messages, Row } from "./memoryMessages.ts"
import { type Journal, Table } from "./memoryTable.ts"

interface Letter {
  readonly letter: DeadLetterRow
  readonly priority: number
  /** Where it was on its channel; nowhere if a broker had it. */
  readonly place: number | undefined
}

/**
 * A replay of many dead letters.
 *
 * @internal
 */
export interface ReplayRow {
  readonly replay: Replay
  /** The numbers of the last letter that was replayed, and of the last that will be. */
  readonly position: number
  readonly upTo: number
  readonly nextAt: number
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

  get(key: string): DeadLetterRow | undefined {
    return this.rows.get(key)?.letter
  }

  /** The number of the last one. */
  last(): number {
    return this.sequence
  }

  /** All that match, newest first. */
  matching(filter: DeadLetterFilter): ReadonlyArray<DeadLetterRow> {
    return this.rows
      .values()
      .map((row) => row.letter)
      .filter((letter) => isMeant(filter, letter))
      .sort((self, that) => Number(that.key) - Number(self.key))
  }

  groups(filter: DeadLetterFilter): ReadonlyArray<DeadLetterGroup> {
    const byFingerprint = new Map<string, Array<DeadLetterRow>>()
    for (const letter of this.matching(filter)) {
      const group = byFingerprint.get(letter.fingerprint)
      if (group === undefined) byFingerprint.set(letter.fingerprint, [letter])
      else group.push(letter)
    }
    return Array.from(byFingerprint.values(), groupOf).sort(
      (self, that) => that.count - self.count || (self.fingerprint < that.fingerprint ? -1 : 1)
    )
  }

  delete(keys: ReadonlyArray<string>): number {
    return keys.filter((key) => this.rows.delete(key)).length
  }

  archive(now: number, keys: ReadonlyArray<string>): number {
    return this.change(keys, (letter) => (letter.archivedAt === undefined ? { ...letter, archivedAt: now } : undefined))
  }

  restore(keys: ReadonlyArray<string>): number {
    return this.change(keys, ({ archivedAt, ...letter }) =>
      archivedAt === undefined || letter.replayedAt !== undefined ? undefined : letter
    )
  }

  edit(now: number, key: string, payload: string): boolean {
    const edited = (letter: DeadLetterRow): DeadLetterRow | undefined =>
      letter.archivedAt === undefined
        ? {
            ...letter,
            original: letter.original ?? letter.envelope.payload,
            editedAt: now,
            envelope: { ...letter.envelope, payload }
          }
        : undefined
    return this.change([key], edited) === 1
  }

  /** The oldest first. What somebody has edited leaves its original with the archived ones. */
  replay(
    now: number,
    keys: ReadonlyArray<string>,
    canaryOf?: string
  ): ReadonlyArray<{ readonly channel: string; readonly envelope: Envelope }> {
    const replayed: Array<{ readonly channel: string; readonly envelope: Envelope }> = []
    for (const key of keys.toSorted((self, that) => Number(self) - Number(that))) {
      const row = this.rows.get(key)
      if (row === undefined || row.letter.archivedAt !== undefined) continue
      if (row.letter.original === undefined) this.rows.delete(key)
      else this.rows.set(key, { ...row, letter: { ...row.letter, archivedAt: now, replayedAt: now } })
      const { channel } = row.letter
      const envelope = afresh(now, row.letter, canaryOf)
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

  private change(keys: ReadonlyArray<string>, f: (letter: DeadLetterRow) => DeadLetterRow | undefined): number {
    let changed = 0
    for (const key of new Set(keys)) {
      const row = this.rows.get(key)
      const letter = row === undefined ? undefined : f(row.letter)
      if (row === undefined || letter === undefined) continue
      this.rows.set(key, { ...row, letter })
      changed++
    }
    return changed
  }

  private holdUp({ letter, place }: Letter, letters: number): void {
    if (place !== undefined && letter.archivedAt === undefined) {
      this.messages.parked(letter.channel, letter.envelope, letters)
    }
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

const isMeant = (filter: DeadLetterFilter, letter: DeadLetterRow): boolean =>
  matches(filter, letter.channel, letter.envelope, letter.fingerprint) &&
  (letter.archivedAt !== undefined) === (filter.archived ?? false) &&
  (filter.keys === undefined || filter.keys.includes(letter.key)) &&
  (filter.reason === undefined || filter.reason === letter.reason) &&
  (filter.since === undefined || letter.parkedAt >= filter.since) &&
  (filter.until === undefined || letter.parkedAt <= filter.until) &&
  (filter.text === undefined || contains(letter.error, filter.text) || contains(letter.envelope.payload, filter.text))

const contains = (text: string, part: string): boolean => text.toLowerCase().includes(part.toLowerCase())

/** Of letters of one fingerprint, newest first. */
const groupOf = (letters: ReadonlyArray<DeadLetterRow>): DeadLetterGroup => {
  const [newest] = letters
  const times = letters.map(({ parkedAt }) => parkedAt)
  return {
    fingerprint: newest!.fingerprint,
    count: letters.length,
    firstAt: Math.min(...times),
    lastAt: Math.max(...times),
    error: newest!.error,
    channels: distinct(letters, (letter) => letter.channel),
    endpoints: distinct(letters, (letter) => letter.envelope.endpoint),
    tags: distinct(letters, (letter) => letter.envelope.tag),
    reasons: distinct(letters, (letter) => letter.reason)
  }
}

const distinct = <A extends string>(
  letters: ReadonlyArray<DeadLetterRow>,
  f: (letter: DeadLetterRow) => A
): ReadonlyArray<A> => Array.from(new Set(letters.map(f))).sort()

const afresh = (now: number, { envelope, key }: DeadLetterRow, canaryOf: string | undefined): Envelope => {
  const { [Headers.canaryOf]: _, ...headers } = envelope.headers
  return {
    ...envelope,
    attempt: 1,
    failures: [],
    headers: {
      ...headers,
      [Headers.replayedAt]: String(now),
      [Headers.replayOf]: key,
      ...(canaryOf === undefined ? undefined : { [Headers.canaryOf]: canaryOf })
    }
  }
}
