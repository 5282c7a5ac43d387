import { Heap } from "./memoryHeap.ts"
import type { Row } from "./memoryMessages.ts"

/**
 * The messages of one ordering key: one of them at most is offered to consumers.
 *
 * @internal
 */
export class Sequence {
  /** Those that nobody has claimed, by their place. */
  readonly rows = new Heap<Row>((self, that) => self.sequence < that.sequence)
  claimed = 0
  /** How many dead letters hold it up. */
  letters = 0
  offered: Row | undefined

  get isEmpty(): boolean {
    return this.rows.size === 0 && this.claimed === 0 && this.letters === 0
  }

  /** The oldest, unless another of the key is claimed or a dead letter. */
  next(): Row | undefined {
    return this.claimed === 0 && this.letters === 0 ? this.rows.peek() : undefined
  }
}

/**
 * The ordering keys of a channel. `offer` gets the message that a key now offers, and takes back the one before.
 *
 * @internal
 */
export class Sequences {
  private readonly sequences = new Map<string, Sequence>()
  private readonly offer: (before: Row | undefined, after: Row | undefined) => void

  constructor(offer: (before: Row | undefined, after: Row | undefined) => void) {
    this.offer = offer
  }

  change(endpoint: string, orderingKey: string, f: (sequence: Sequence) => void): void {
    const key = JSON.stringify([endpoint, orderingKey])
    const sequence = this.sequences.get(key) ?? new Sequence()
    f(sequence)
    if (sequence.isEmpty) this.sequences.delete(key)
    else this.sequences.set(key, sequence)
    const next = sequence.next()
    if (next === sequence.offered) return
    this.offer(sequence.offered, next)
    sequence.offered = next
  }
}
