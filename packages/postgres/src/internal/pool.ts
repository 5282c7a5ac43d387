import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import { isPoolFull, PoolExhausted, sqlError, withAdvice } from "./errors.ts"

/**
 * The pool of the user's client, in which nobody waits for ever.
 *
 * @internal
 */
export interface Pool {
  readonly raw: PgClient
  readonly waitMillis: number
}

/**
 * A connection for a unit of work, until the scope is closed.
 *
 * @internal
 */
export const reserve = (pool: Pool, lease: Scope.CloseableScope): Effect.Effect<Connection, SqlError> =>
  within(pool, lease, pool.waitMillis, (time) => {
    return (
      `All ${sizeOf(pool)} connections of PgClient were in use for ${time}: raise its maxConnections, or let less that ` +
      "uses the database run at once"
    )
  })

/**
 * A connection for SQL in `UnitOfWork.outside`. Its unit may keep one meanwhile: when all units do, none of them would
 * ever end. Those that began together do not give up together, so that one of them gets what another one gives back.
 *
 * @internal
 */
export const reserveOutside = (pool: Pool): Effect.Effect<Connection, SqlError, Scope.Scope> =>
  Effect.flatMap(Random.nextRange(1, 1.5), (factor) =>
    leased((lease) =>
      within(pool, lease, Math.ceil(pool.waitMillis * factor), (time) => {
        return (
          `SQL in UnitOfWork.outside waited ${time} for one of the ${sizeOf(pool)} connections of PgClient, while its unit may keep ` +
          "another: raise maxConnections above the number of units that run at once"
        )
      })
    )
  )

/**
 * `withTransaction` in `UnitOfWork.outside`.
 *
 * @internal
 */
export const transactionOutside = (pool: Pool): PgClient["withTransaction"] =>
  SqlClient.makeWithTransaction({
    transactionTag: SqlClient.TransactionConnection,
    spanAttributes: [],
    acquireConnection: Effect.flatMap(Scope.make(), (scope) =>
      Effect.map(Scope.extend(reserveOutside(pool), scope), (connection) => [scope, connection] as const)
    ),
    begin: (connection) => connection.executeUnprepared("BEGIN", [], undefined),
    savepoint: (connection, id) => connection.executeUnprepared(`SAVEPOINT effect_sql_${id}`, [], undefined),
    commit: (connection) => connection.executeUnprepared("COMMIT", [], undefined),
    rollback: (connection) => connection.executeUnprepared("ROLLBACK", [], undefined),
    rollbackSavepoint: (connection, id) =>
      connection.executeUnprepared(`ROLLBACK TO SAVEPOINT effect_sql_${id}`, [], undefined)
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** What the driver's pool has when nothing is said. */
const sizeOf = ({ raw }: Pool): number => raw.config.maxConnections ?? 10

const leased = <A, E>(use: (lease: Scope.CloseableScope) => Effect.Effect<A, E>): Effect.Effect<A, E, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.acquireRelease(Scope.make(), (lease) => Scope.close(lease, Exit.void)),
      (lease) => restore(use(lease))
    )
  )

/** A `reserve` that is interrupted leaks what the pool hands out later, so it goes on by itself and gives it back. */
const within = (
  { raw }: Pool,
  lease: Scope.CloseableScope,
  millis: number,
  sentence: (time: string) => string
): Effect.Effect<Connection, SqlError> => {
  const exhausted = () => {
    const text = sentence(Duration.format(Duration.millis(millis)))
    return sqlError(text, new PoolExhausted(text))
  }
  return Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.uninterruptible(Scope.extend(raw.reserve, lease))), (fiber) => {
      const giveBack = Effect.forkDaemon(Effect.zipRight(Fiber.await(fiber), Scope.close(lease, Exit.void)))
      // not a race of fibers: every unit waits here
      const waited = Effect.async<Connection, SqlError>((resume) => {
        const timer = setTimeout(() => resume(Effect.fail(exhausted())), millis)
        fiber.addObserver((exit) => {
          clearTimeout(timer)
          resume(exit)
        })
        return Effect.sync(() => clearTimeout(timer))
      })
      // it ends in an uninterruptible region too
      return restore(Effect.interruptible(waited)).pipe(
        Effect.onInterrupt(() => giveBack),
        Effect.tapError(() => giveBack),
        Effect.mapError((error) => (isPoolFull(error) ? exhausted() : withAdvice(error)))
      )
    })
  )
}
