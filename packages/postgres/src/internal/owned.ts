import type { SqlError } from "@effect/sql/SqlError"
import type { Transaction, TransactionScope, Write } from "@holdfast/core/MessageStore"
import { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Pg from "pg"
import { beginStatement, type CommitLost, commitStatement, ended, notCommitted, resolve, sendCommit } from "./commit.ts"
import { command, type Database } from "./database.ts"
import { classify, detailOf, isConnectionLost, sqlError, sqlState, toMessagingError } from "./errors.ts"
import { Exchange } from "./exchange.ts"
import { inTurn } from "./inTurn.ts"
import { exchange } from "./pgQuery.ts"
import { type Pool, reserve } from "./pool.ts"
import { Session } from "./session.ts"
import type { UnitScope } from "./unitScope.ts"
import { settling, toWriteError, write } from "./write.ts"

/**
 * A unit in a transaction of its own, on a connection of the user's pool.
 *
 * @internal
 */
export const owned = (options: {
  readonly database: Database
  readonly pool: Pool
  readonly put: (channels: ReadonlySet<string>) => Effect.Effect<void>
  readonly enter: (session: Session) => { readonly root: TransactionScope; readonly scope: UnitScope }
}): Transaction => {
  const { database, pool, put } = options
  let lease: Scope.CloseableScope | undefined
  const acquire = Effect.flatMap(Scope.make(), (made) => {
    lease = made
    return connect(pool, made)
  })
  const session = new Session(database, { acquire, begin: beginStatement, own: true })
  const { root, scope } = options.enter(session)
  const giveBack = Effect.suspend(() => (lease === undefined ? Effect.void : Scope.close(lease, Exit.void)))
  return {
    root,
    joined: false,
    finish: finish(session, scope),
    commit: (writes, beforeCommit) =>
      settle(database, session, writes, beforeCommit).pipe(
        Effect.flatMap(put),
        Effect.tapErrorCause(() => rollback(session)),
        Effect.tap(() => discardLost(session)),
        Effect.ensuring(giveBack),
        Effect.uninterruptible
      ),
    rollback: Effect.uninterruptible(Effect.ensuring(rollback(session), giveBack))
  }
}

/**
 * Waits for the statement under way, refuses later ones and lets those go that wait for a scope.
 *
 * @internal
 */
export const finish = (session: Session, scope: UnitScope): Effect.Effect<boolean> =>
  Effect.uninterruptible(
    inTurn(session.wire)(
      Effect.suspend(() => {
        session.finished = true
        return Effect.as(scope.abandonInner, session.pg !== undefined)
      })
    )
  )

/**
 * Why the transaction must not commit, if so.
 *
 * @internal
 */
export const refuseAborted = (session: Session, pg: Pg.ClientBase): Effect.Effect<void, MessagingError> => {
  const { doomed, failure } = session
  if (failure !== undefined && classify(failure) !== "Refused") return Effect.fail(toMessagingError(failure))
  if (doomed !== undefined) return Effect.fail(aborted(doomed, failure))
  if (failure !== undefined) {
    return Effect.fail(aborted(`An earlier error had aborted the transaction. ${detailOf(failure)}`, failure))
  }
  return pg.getTransactionStatus() === "I"
    ? Effect.fail(aborted("The handler ended the unit's transaction itself", undefined))
    : Effect.void
}

/**
 * What a failed write means for a unit with SQL of its own.
 *
 * @internal
 */
export const toUnitError = (error: SqlError | MessagingError): MessagingError =>
  error._tag === "SqlError" && sqlState(error) === "25P02"
    ? aborted("An earlier error had aborted the transaction", error)
    : toWriteError(error)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const aborted = (detail: string, cause: SqlError | undefined): MessagingError =>
  new MessagingError({ reason: "UnitAborted", detail, cause })

const connect = (pool: Pool, lease: Scope.CloseableScope): Effect.Effect<Pg.ClientBase, SqlError> =>
  Effect.flatMap(reserve(pool, lease), (connection) => {
    const { pg } = connection as { readonly pg?: Pg.PoolClient }
    return pg === undefined
      ? Effect.fail(sqlError("The client does not lend connections of the pg driver"))
      : Effect.succeed(pg)
  })

/** What commits nothing but the handler's SQL, or sends to a broker first, or has no id yet, takes a step more. */
const settle = (
  database: Database,
  session: Session,
  writes: ReadonlyArray<Write>,
  beforeCommit: Effect.Effect<void, MessagingError>
): Effect.Effect<ReadonlySet<string>, MessagingError> =>
  Effect.suspend(() => {
    const pg = session.pg!
    return Effect.zipRight(
      refuseAborted(session, pg),
      beforeCommit === Effect.void && session.xid !== undefined && writes.length > 0
        ? settleAtOnce(database, session, pg, session.xid, writes)
        : settleInSteps(database, session, pg, writes, beforeCommit)
    )
  })

const settleInSteps = (
  database: Database,
  session: Session,
  pg: Pg.ClientBase,
  writes: ReadonlyArray<Write>,
  beforeCommit: Effect.Effect<void, MessagingError>
): Effect.Effect<ReadonlySet<string>, MessagingError> =>
  Effect.gen(function* () {
    const { channels, xid } = yield* Effect.mapError(write(database, pg, [writes]), (error) => refusing(session, error))
    yield* beforeCommit
    yield* committed(database, session, yield* sendCommit(database, pg, xid))
    return channels
  })

/** COMMIT travels with the last statement: that compares the counts itself, and nothing commits after it has failed. */
const settleAtOnce = (
  database: Database,
  session: Session,
  pg: Pg.ClientBase,
  xid: string,
  writes: ReadonlyArray<Write>
): Effect.Effect<ReadonlySet<string>, MessagingError> => {
  const { timeoutMillis } = database
  const { channels, disarm, query, refusal } = settling(database, writes)
  const last = new Exchange({ query, after: commitStatement, timeoutMillis })
  const settled = Effect.matchEffect(exchange(pg, last), {
    onSuccess: ({ rows }) => Effect.as(ended(last.ended), channels(rows[0])),
    onFailure: (error) =>
      last.answered || isConnectionLost(error)
        ? Effect.flatMap(notCommitted(pg, xid, error), (lost) =>
            Effect.as(committed(database, session, lost), channels(undefined))
          )
        : Effect.fail(refusal(error) ?? refusing(session, error))
  })
  if (disarm === undefined) return settled
  return Effect.zipRight(
    Effect.mapError(exchange(pg, new Exchange({ query: disarm, timeoutMillis })), (error) => refusing(session, error)),
    settled
  )
}

const refusing = (session: Session, error: SqlError | MessagingError): MessagingError => {
  if (error._tag === "SqlError") session.failure ??= error
  return toUnitError(error)
}

const committed = (
  database: Database,
  session: Session,
  lost: CommitLost | undefined
): Effect.Effect<void, MessagingError> => {
  if (lost !== undefined) session.failure = lost.cause
  return resolve(database, lost)
}

const discardLost = ({ failure, pg }: Session): Effect.Effect<void> =>
  pg !== undefined && failure !== undefined && isConnectionLost(failure) ? destroy(pg) : Effect.void

/** A connection on which that fails must not go back to the pool: it would hand out an open transaction. */
const rollback = (session: Session): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { failure, pg } = session
    if (pg === undefined) return Effect.void
    if (failure !== undefined && isConnectionLost(failure)) return discardLost(session)
    return Effect.catchAll(command(session.database, pg, "ROLLBACK"), () => destroy(pg))
  }).pipe(Effect.asVoid)

/** The pool throws away a connection that has said it is broken. */
const destroy = (pg: Pg.ClientBase): Effect.Effect<void> =>
  Effect.sync(() => {
    pg.emit("error", new Error("The connection could not be rolled back"))
  })
