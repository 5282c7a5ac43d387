import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"

/**
 * Remembers how to take back what the unit being committed has changed.
 *
 * @internal
 */
export class Journal {
  private undo: Array<() => void> | undefined

  record(takeBack: () => void): void {
    this.undo?.push(takeBack)
  }

  /** Makes the changes one by one; at the first that answers an error, takes all of them back. */
  whole<A, E>(changes: ReadonlyArray<A>, make: (change: A) => Option.Option<E>): Option.Option<E> {
    const undo: Array<() => void> = []
    this.undo = undo
    let error: Option.Option<E> = Option.none()
    for (const change of changes) {
      error = make(change)
      if (Option.isSome(error)) break
    }
    this.undo = undefined
    if (Option.isSome(error)) for (const takeBack of undo.reverse()) takeBack()
    return error
  }
}

/**
 * Rows by key. Rows are values: a change puts another in place, so that it can be taken back. `index` follows them.
 *
 * @internal
 */
export class Table<V> {
  private readonly rows = new Map<string, V>()
  private readonly journal: Journal
  private readonly index: (before: V | undefined, after: V | undefined) => void

  constructor(journal: Journal, index: (before: V | undefined, after: V | undefined) => void = () => {}) {
    this.journal = journal
    this.index = index
  }

  get(key: string): V | undefined {
    return this.rows.get(key)
  }

  values(): ReadonlyArray<V> {
    return Array.from(this.rows.values())
  }

  /** Answers whether there was such a row. */
  delete(key: string): boolean {
    const before = this.rows.get(key)
    if (before === undefined) return false
    this.change(key, undefined)
    return true
  }

  set(key: string, row: V): void {
    this.change(key, row)
  }

  private change(key: string, row: V | undefined): void {
    const before = this.rows.get(key)
    this.journal.record(() => this.write(key, before))
    this.write(key, row)
  }

  private write(key: string, row: V | undefined): void {
    const before = this.rows.get(key)
    if (row === undefined) this.rows.delete(key)
    else this.rows.set(key, row)
    this.index(before, row)
  }
}

/**
 * Fibers that wait for a change.
 *
 * @internal
 */
export class Waiters {
  private changed: Deferred.Deferred<void> | undefined

  wake(): void {
    if (this.changed === undefined) return
    Deferred.unsafeDone(this.changed, Effect.void)
    this.changed = undefined
  }

  /**
   * Completes at the next change after this call, before the effect has even started, or after a while. The two sides
   * are interruptible so that the loser ends in an uninterruptible region too. A clock that stands on a fraction of a
   * millisecond leaves rests too small to move it: whoever waited for one would wait again at once, for ever.
   */
  wait(millis: number): Effect.Effect<void> {
    this.changed ??= Deferred.unsafeMake(FiberId.none)
    return Effect.race(
      Effect.interruptible(Deferred.await(this.changed)),
      Effect.interruptible(Effect.sleep(Math.ceil(millis)))
    )
  }
}
