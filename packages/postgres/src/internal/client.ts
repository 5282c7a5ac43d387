import * as SqlClient from "@effect/sql/SqlClient"
import type { PgClient } from "@effect/sql-pg/PgClient"
import * as UnitOfWork from "@holdfast/core/UnitOfWork"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { isOurs } from "./connection.ts"

/**
 * The user's client, except that inside a unit of work its `withTransaction` is a nested scope of that unit: what is
 * staged in it is undone with its SQL, and two at once keep apart.
 *
 * @internal
 */
export const wrap = (raw: PgClient): PgClient => {
  const withTransaction: PgClient["withTransaction"] = (effect) =>
    Effect.contextWithEffect((context: Context.Context<never>) =>
      inUnit(context) ? UnitOfWork.scope(effect) : raw.withTransaction(effect)
    )
  const call = (...args: ReadonlyArray<unknown>) => (raw as any)(...args)
  const wrapped = Object.assign(call, raw, { withTransaction })
  return Object.assign(wrapped, { safe: wrapped }) as unknown as PgClient
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** A unit of another store leaves its connection in the context: that one is for `raw` to deal with. */
const inUnit = (context: Context.Context<never>): boolean => {
  if (context.unsafeMap.has(UnitOfWork.UnitOfWork.key) === false) return false
  const connection = context.unsafeMap.get(SqlClient.TransactionConnection.key) as
    | Context.Tag.Service<typeof SqlClient.TransactionConnection>
    | undefined
  return connection === undefined || isOurs(connection[0])
}
