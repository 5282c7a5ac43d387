import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as UnitOfWork from "@holdfast/core/UnitOfWork"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { isOurs } from "./connection.ts"
import { type Pool, reserveOutside, transactionOutside } from "./pool.ts"

/**
 * Marks what runs in `UnitOfWork.outside`.
 *
 * @internal
 */
export class Outside extends Context.Tag("@holdfast/postgres/internal/Outside")<Outside, true>() {}

/**
 * The user's client, except that inside a unit of work its `withTransaction` is a nested scope of that unit: what is
 * staged in it is undone with its SQL, and two at once keep apart. In `UnitOfWork.outside` it waits for a connection for
 * as long as a unit does, not for ever.
 *
 * @internal
 */
export const wrap = (pool: Pool): PgClient => {
  const { raw } = pool
  const outsideTransaction = transactionOutside(pool)
  const withTransaction: PgClient["withTransaction"] = (effect) =>
    Effect.contextWithEffect((context: Context.Context<never>) => {
      if (inUnit(context)) return UnitOfWork.scope(effect)
      return isOutside(context) ? outsideTransaction(effect) : raw.withTransaction(effect)
    })
  const acquirers = new WeakMap<Connection.Acquirer, Connection.Acquirer>()
  const bounded = (statement: any): unknown => {
    const acquirer: Connection.Acquirer | undefined = statement?.acquirer
    if (acquirer === undefined) return statement
    // one for all: the library keeps things by it
    const own = acquirers.get(acquirer) ?? boundedAcquirer(pool, acquirer)
    acquirers.set(acquirer, own)
    return Object.assign(statement, { acquirer: own })
  }
  const call = (...args: ReadonlyArray<unknown>) => bounded((raw as any)(...args))
  const unsafe = (...args: ReadonlyArray<unknown>) => bounded((raw as any).unsafe(...args))
  const wrapped = Object.assign(call, raw, { unsafe, withTransaction })
  return Object.assign(wrapped, { safe: wrapped }) as unknown as PgClient
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const boundedAcquirer = (pool: Pool, acquirer: Connection.Acquirer): Connection.Acquirer =>
  Effect.contextWithEffect((context: Context.Context<never>) => (isOutside(context) ? reserveOutside(pool) : acquirer))

const isOutside = (context: Context.Context<never>): boolean =>
  context.unsafeMap.has(Outside.key) && !context.unsafeMap.has(SqlClient.TransactionConnection.key)

/** A unit of another store leaves its connection in the context: that one is for `raw` to deal with. */
const inUnit = (context: Context.Context<never>): boolean => {
  if (context.unsafeMap.has(UnitOfWork.UnitOfWork.key) === false) return false
  const connection = context.unsafeMap.get(SqlClient.TransactionConnection.key) as
    | Context.Tag.Service<typeof SqlClient.TransactionConnection>
    | undefined
  return connection === undefined || isOurs(connection[0])
}
