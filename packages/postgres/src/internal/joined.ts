import type { SqlError } from "@effect/sql/SqlError"
import type { Transaction, TransactionScope, Write } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import type { Database } from "./database.ts"
import { remembered } from "./keys.ts"
import { payloadOf, topicOf } from "./notify.ts"
import { finish, refuseAborted, toUnitError } from "./owned.ts"
import { query } from "./pgQuery.ts"
import { Session } from "./session.ts"
import type { UnitScope } from "./unitScope.ts"
import { loadSaga } from "./views.ts"
import { write } from "./write.ts"

/**
 * What units that join share: savepoints are a stack, so those in one transaction of the user's take turns.
 *
 * @internal
 */
export interface Joining {
  readonly database: Database
  readonly notifications: boolean
  readonly locks: WeakMap<Pg.ClientBase, Effect.Semaphore>
}

/**
 * A unit inside a transaction that the caller has open: a savepoint of it. What it writes is flushed when it ends, and
 * commits with the caller's transaction.
 *
 * @internal
 */
export const joined = (
  options: Joining & {
    readonly pg: Pg.ClientBase
    readonly enter: (session: Session) => { readonly root: TransactionScope; readonly scope: UnitScope }
  }
): Transaction => {
  const { database, pg } = options
  const lock = lockOf(options.locks, pg)
  const name = `hf_unit_${++units}`
  const session = new Session(database, {
    acquire: Effect.as(lock.take(1), pg),
    begin: { name: undefined, text: `SAVEPOINT ${name}` },
    own: false
  })
  const { root, scope } = options.enter(session)
  const within: Database = {
    ...database,
    run: (statement, values) => Effect.map(query(pg, statement, values, database.timeoutMillis), ({ rows }) => rows)
  }
  const leave = Effect.suspend(() => (session.pg === undefined ? Effect.void : Effect.asVoid(lock.release(1))))
  const undo = Effect.suspend(() =>
    session.begun
      ? Effect.ignore(send(database, pg, `ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`))
      : Effect.void
  )
  return {
    root,
    joined: true,
    reads: {
      loadSaga: (saga, id) => Effect.mapError(loadSaga(within, saga, id), toUnitError),
      remembered: (keys) => Effect.mapError(remembered(within, keys), toUnitError)
    },
    finish: Effect.as(finish(session, scope), true),
    commit: (writes, beforeCommit) =>
      flush(options, session, writes).pipe(
        Effect.zipRight(beforeCommit),
        Effect.zipRight(Effect.mapError(send(database, pg, `RELEASE SAVEPOINT ${name}`), toUnitError)),
        Effect.tapErrorCause(() => undo),
        Effect.ensuring(leave),
        Effect.uninterruptible
      ),
    rollback: Effect.uninterruptible(Effect.ensuring(undo, leave))
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

let units = 0

const lockOf = (locks: Joining["locks"], pg: Pg.ClientBase): Effect.Semaphore => {
  const existing = locks.get(pg)
  if (existing !== undefined) return existing
  const lock = Effect.unsafeMakeSemaphore(1)
  locks.set(pg, lock)
  return lock
}

const send = (database: Database, pg: Pg.ClientBase, text: string): Effect.Effect<void, SqlError> =>
  Effect.asVoid(query(pg, { name: undefined, text }, [], database.timeoutMillis))

/** The notification travels in the caller's transaction: nobody here learns when that commits. */
const flush = (
  { database, notifications, pg }: Joining & { readonly pg: Pg.ClientBase },
  session: Session,
  writes: ReadonlyArray<Write>
): Effect.Effect<void, MessagingError> =>
  Effect.gen(function* () {
    yield* Effect.mapError(session.flush, toUnitError)
    yield* refuseAborted(session, pg)
    const { channels } = yield* Effect.mapError(write(database, pg, [writes]), toUnitError)
    if (!notifications || channels.size === 0) return
    const statement = { name: undefined, text: "select pg_notify($1::text, $2::text)" }
    const told = query(pg, statement, [topicOf(database.schema), payloadOf("", channels)], database.timeoutMillis)
    yield* Effect.mapError(told, toUnitError)
  })
