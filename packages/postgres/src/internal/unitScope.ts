import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { inTurn } from "./inTurn.ts"
import { type Caller, isInside, type Mark } from "./savepoints.ts"
import { refusal, type Session } from "./session.ts"

/**
 * One scope of a unit on its connection. Its statements take its gate one by one; a nested scope takes the gate of the
 * scope around it at its first statement, until it closes. So scopes that touch SQL run one at a time, and those that
 * do not run freely.
 *
 * @internal
 */
export class UnitScope {
  readonly session: Session
  readonly parent: UnitScope | undefined
  /** Who opened the scope: its statements count as theirs in the scope around it. */
  opener: Caller | undefined
  private readonly gate = Effect.unsafeMakeSemaphore(1)
  private mark: Mark | undefined
  private child: UnitScope | undefined
  private ended = false

  constructor(session: Session, parent: UnitScope | undefined) {
    this.session = session
    this.parent = parent
  }

  /** Runs a statement in the scope. */
  statement(caller: Caller, config: Pg.QueryConfig): Effect.Effect<Pg.QueryResult, SqlError> {
    const prepare = () => {
      if (this.closed) return refusal()
      this.session.savepoints.touch(this, caller)
      return undefined
    }
    return inTurn(this.gate)(Effect.zipRight(this.activate, this.session.exchange(prepare, config)))
  }

  /** What `sql.withTransaction` of the library asks for first. Sends nothing yet. */
  savepoint(caller: Caller, name: string): Effect.Effect<void, SqlError> {
    const push = Effect.suspend(() => {
      if (this.session.finished || this.closed) return Effect.fail(refusal())
      const around = this.session.savepoints.touch(this, caller)
      this.session.savepoints.push(this, around ?? this.mark, {
        name,
        depth: caller.depth + 1,
        fiber: caller.fiber,
        entry: undefined,
        mixed: false
      })
      return Effect.void
    })
    // the library asks in an uninterruptible region, but nothing has begun that would have to be ended
    return Effect.interruptible(inTurn(this.gate)(Effect.zipRight(this.activate, inTurn(this.session.wire)(push))))
  }

  /** What `sql.withTransaction` of the library asks for when it fails. Never waits for a scope inside, never fails. */
  rollbackTo(caller: Caller, name: string): Effect.Effect<void> {
    return this.exclusively(
      Effect.suspend(() => {
        const { savepoints } = this.session
        if (this.session.finished) return Effect.void
        const mark = savepoints.marks.findLast(
          ({ origin, scope }) => scope === this && origin?.name === name && origin.fiber === caller.fiber
        )
        if (mark === undefined) {
          this.session.doomed ??= overlapping
          return Effect.void
        }
        const above = savepoints.above(mark)
        if (mark.origin!.mixed || above.some((inner) => !isInside(inner, mark))) this.session.doomed ??= overlapping
        const inner = above.some(({ scope }) => scope !== this) ? this.abandonInner : Effect.void
        return Effect.zipRight(inner, this.session.undo(mark))
      })
    )
  }

  /** Ends the scope: keeps its SQL, or undoes it. */
  close(keep: boolean): Effect.Effect<void> {
    return this.exclusively(
      Effect.suspend(() => {
        const mark = this.mark
        if (this.ended) return Effect.void
        const undone = mark === undefined || keep ? Effect.void : this.session.undo(mark)
        if (mark !== undefined && keep) this.session.savepoints.keep(mark)
        return Effect.zipRight(undone, this.abandon)
      })
    )
  }

  /** Ends the scopes inside; those who wait for them are refused. */
  get abandonInner(): Effect.Effect<void> {
    return Effect.suspend(() => this.child?.abandon ?? Effect.void)
  }

  /** Ends the scope and those inside, and lets the scope around go on. */
  private get abandon(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.ended = true
      const { parent } = this
      if (parent === undefined || this.mark === undefined) return Effect.void
      this.mark = undefined
      parent.child = undefined
      return Effect.zipRight(this.abandonInner, parent.gate.release(1))
    })
  }

  private get closed(): boolean {
    return this.ended || (this.parent?.closed ?? false)
  }

  private exclusively(effect: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.uninterruptible(inTurn(this.session.wire)(effect))
  }

  /** Takes the gates of the scopes around, and has a savepoint sent with the next statement. */
  private get activate(): Effect.Effect<void, SqlError> {
    return Effect.suspend(() => {
      const { parent } = this
      if (parent === undefined || this.mark !== undefined) return Effect.void
      if (this.closed) return Effect.fail(refusal())
      return Effect.uninterruptibleMask((restore) =>
        Effect.zipRight(
          restore(parent.gate.take(1)),
          Effect.suspend(() => Effect.onError(restore(parent.activate), () => parent.gate.release(1)))
        ).pipe(Effect.flatMap(() => this.enter(parent)))
      )
    })
  }

  private enter(parent: UnitScope): Effect.Effect<void, SqlError> {
    return Effect.suspend(() => {
      if (this.closed || this.session.finished) return Effect.zipRight(parent.gate.release(1), Effect.fail(refusal()))
      const { savepoints } = this.session
      const around = this.opener === undefined ? undefined : savepoints.touch(parent, this.opener)
      this.mark = savepoints.push(this, around ?? parent.mark)
      parent.child = this
      return Effect.void
    })
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const overlapping =
  "Two sql.withTransaction ran at once in one scope of the unit, and one of them failed: undoing it would also have " +
  "undone the other. Use the SqlClient that PgMessaging.layer provides, whose withTransaction keeps them apart, or " +
  "run them one after the other"
