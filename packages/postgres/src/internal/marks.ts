/** Where claims of a channel look next: the arguments of `claim`, as far as they follow from earlier answers. */
export interface Look {
  readonly priorities: ReadonlyArray<number>
  readonly lows: ReadonlyArray<number>
  readonly lasts: ReadonlyArray<number>
  readonly leaseLow: number
}

/** And how to claim there. */
export interface Next extends Look {
  /** How far down to look at once, and how far if that gives fewer than were asked for. */
  readonly sweep: Depth
  readonly short: Depth
  /** The highest lease on the queue that was known when this was asked for. */
  readonly highestLease: number
}

/** Above what is leased and was seen; from the low mark on; all of it. */
export type Depth = 0 | 1 | 2

/** What an answer says of where it has looked. */
export interface Looked {
  readonly marks: ReadonlyArray<Mark & { readonly priority: number }>
  /** The lowest lease that there is: others that come are higher. */
  readonly leaseLow: number
  /** The highest token that it has given to messages of the queue. */
  readonly token: number | undefined
  readonly depth: Depth
  readonly micros: number
  readonly full: boolean
}

interface Mark {
  /** Nothing is below but what commits late. */
  readonly low: number
  /** The highest id that was leased to anybody, as far as is known. */
  readonly last: number
}

/**
 * What this process knows of a channel's queue: where its rows begin, so that a claim does not walk through the dead ones
 * before them, which a transaction that is open anywhere keeps from being removed.
 *
 * Late commits may be below all marks. Whatever comes up short looks for them, and every sixteenth claim, as long as
 * looking takes a twentieth of the time at most.
 */
export class Marks {
  private readonly known = new Map<number, Mark>()
  private leaseLow = 0
  private highestLease = 0
  private claims = 0
  private readonly swept = new Budget()
  private readonly sweptAll = new Budget()
  private owes = false

  look(): Look {
    const priorities = Array.from(this.known.keys()).sort((self, that) => that - self)
    const marks = priorities.map((priority) => this.known.get(priority)!)
    return {
      priorities,
      lows: marks.map(({ low }) => low),
      lasts: marks.map(({ last }) => last),
      leaseLow: this.leaseLow
    }
  }

  next(now: number): Next {
    const all = this.sweptAll.affords(now)
    const some = this.swept.isCheap || this.swept.affords(now)
    return {
      ...this.look(),
      highestLease: this.highestLease,
      sweep: all ? 2 : ++this.claims % 16 === 0 && some ? 1 : 0,
      short: all || this.sweptAll.isCheap ? 2 : some ? 1 : 0
    }
  }

  learn(now: number, { depth, full, leaseLow, marks, micros, token }: Looked): void {
    for (const { last, low, priority } of marks) {
      const before = this.known.get(priority)
      this.known.set(priority, {
        low: before === undefined || depth > 0 ? low : before.low,
        last: Math.max(before?.last ?? 0, last)
      })
    }
    for (const priority of this.known.keys()) if (this.known.size > mostPriorities) this.known.delete(priority)
    this.highestLease = Math.max(this.highestLease, token ?? 0)
    this.leaseLow = Math.max(this.leaseLow, leaseLow)
    if (depth === 1) this.swept.spend(now, micros)
    if (depth === 2) this.sweptAll.spend(now, micros)
    this.owes = !full && depth < 2
  }

  /** After how many milliseconds all is to be looked through, if the last claim would have done so and could not. */
  owed(now: number): number {
    return this.owes ? Math.max(1, Math.ceil(this.sweptAll.next - now)) : Number.POSITIVE_INFINITY
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Of more priorities, some are looked for anew each time. */
const mostPriorities = 32

/** Never more than a twentieth of the time. */
class Budget {
  next = 0
  isCheap = false

  affords(now: number): boolean {
    return now >= this.next
  }

  spend(now: number, micros: number): void {
    this.isCheap = micros < 1000
    this.next = now + (20 * micros) / 1000
  }
}
