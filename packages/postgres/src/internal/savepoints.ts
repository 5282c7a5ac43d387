import type { UnitScope } from "./unitScope.ts"

/**
 * A savepoint, or one that will be sent with the next statement. A scope of the unit has one from its first statement
 * on; `sql.withTransaction` of the library asks for others inside a scope, and those have an `origin`.
 *
 * @internal
 */
export interface Mark {
  readonly name: string
  readonly scope: UnitScope
  /** The `withTransaction` around this mark, if any. */
  readonly parent: Mark | undefined
  readonly origin: Origin | undefined
  sent: boolean
}

/**
 * Where a `withTransaction` of the library came from. It says when it begins and when it fails, but not when it
 * succeeds, so that has to be inferred.
 *
 * @internal
 */
export interface Origin {
  readonly name: string
  readonly depth: number
  readonly fiber: string
  /** The value by which statements inside are known: the library makes one for each `withTransaction`. */
  entry: object | undefined
  /** Statements that are not inside ran while it was open: undoing it would undo them. */
  mixed: boolean
}

/**
 * Who issues a statement: the fiber, and in which `withTransaction` it is.
 *
 * @internal
 */
export interface Caller {
  readonly fiber: string
  readonly entry: object | undefined
  readonly depth: number
}

/**
 * The savepoints of one connection, outermost first.
 *
 * @internal
 */
export class Savepoints {
  marks: Array<Mark> = []
  /** Savepoints that ended well: their RELEASE rides on the next statement, or is never sent. */
  private releases: Array<string> = []

  push(scope: UnitScope, parent: Mark | undefined, origin?: Origin): Mark {
    const mark: Mark = { name: `hf_${++names}`, scope, parent, origin, sent: false }
    this.marks.push(mark)
    return mark
  }

  /** What to send before the next statement. */
  pending(): { readonly text: ReadonlyArray<string>; readonly sent: () => void } {
    const unsent = this.marks.filter((mark) => !mark.sent)
    const text = [
      ...this.releases.map((name) => `RELEASE SAVEPOINT ${name}`),
      ...unsent.map(({ name }) => `SAVEPOINT ${name}`)
    ]
    const sent = () => {
      this.releases = []
      for (const mark of unsent) mark.sent = true
    }
    return { text, sent }
  }

  /** The savepoint and those in it ended well. */
  keep(mark: Mark): void {
    this.cut(mark)
    if (mark.sent) this.releases.push(mark.name)
  }

  /** The savepoint and those in it are to be undone. Answers what to send for it. */
  undo(mark: Mark): string | undefined {
    this.cut(mark)
    if (!mark.sent) return undefined
    this.releases = [] // those were inside
    return `ROLLBACK TO SAVEPOINT ${mark.name}; RELEASE SAVEPOINT ${mark.name}`
  }

  above(mark: Mark): ReadonlyArray<Mark> {
    const index = this.marks.indexOf(mark)
    return index < 0 ? [] : this.marks.slice(index + 1)
  }

  /** The `withTransaction` that the caller is in. */
  around(scope: UnitScope, caller: Caller): Mark | undefined {
    if (caller.entry === undefined || caller.depth === 0) return undefined
    const marks = this.marks.filter((mark) => mark.scope === scope && mark.origin?.depth === caller.depth)
    const known = marks.find((mark) => mark.origin!.entry === caller.entry)
    if (known !== undefined) return known
    const unknown = marks.filter((mark) => mark.origin!.entry === undefined)
    const mark =
      unknown.findLast((mark) => mark.origin!.fiber === caller.fiber) ?? (unknown.length === 1 ? unknown[0] : undefined)
    if (mark !== undefined) mark.origin!.entry = caller.entry
    return mark
  }

  /**
   * Notes that the caller is about to do something. A `withTransaction` of its own that it is no longer in has ended
   * well; one of another fiber may still be open, and now contains what is not its own.
   */
  touch(scope: UnitScope, caller: Caller): Mark | undefined {
    const around = this.around(scope, caller)
    for (const mark of this.marks.toReversed()) {
      if (mark.scope !== scope || mark.origin === undefined || isInside(around, mark)) continue
      if (mark.origin.fiber === caller.fiber && this.marks.at(-1) === mark) this.keep(mark)
      else mark.origin.mixed = true
    }
    return around
  }

  private cut(mark: Mark): void {
    const index = this.marks.indexOf(mark)
    if (index >= 0) this.marks = this.marks.slice(0, index)
  }
}

/**
 * Whether the mark is the outer one, or in it.
 *
 * @internal
 */
export const isInside = (mark: Mark | undefined, outer: Mark): boolean => {
  for (let current = mark; current !== undefined; current = current.parent) if (current === outer) return true
  return false
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Unique in the process: units that join one transaction of the user's share its names. */
let names = 0
