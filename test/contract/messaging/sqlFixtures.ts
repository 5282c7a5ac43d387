/**
 * Short ways to say what handlers do with SQL.
 */
import { SqlClient } from "@effect/sql"
import { Handler } from "@holdfast/core"
import { Cause, Effect } from "effect"
import { CountRows, Orders, Place, Ship, ship } from "./fixtures.ts"

export const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))

export const sql = <A, E, R>(f: (sql: SqlClient.SqlClient) => Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, f)

/** A row that may be there already: then the statement fails, and aborts its transaction. */
export const insert = (entry: string) => sql((sql) => sql`insert into ledger (entry) values (${entry})`)

/** Tells an error and all that caused it. */
export const causes = (error: unknown): string =>
  Cause.isCause(error)
    ? [...Cause.failures(error), ...Cause.defects(error)].map(causes).join()
    : error instanceof Error
      ? `${"code" in error ? error.code : ""} ${error.message} ${causes(error.cause)}`
      : ""

export const both = (id: string) => Effect.zipRight(Effect.orDie(insert(id)), ship(id))

export const counting = Handler.query(CountRows, () =>
  Effect.map(
    sql((sql) => Effect.orDie(sql<{ count: number }>`select count(*)::int as count from ledger`)),
    ([row]) => row!.count
  )
)

/** Its failures are typed away: these tests are about what they undo. */
export const placing = <E, R>(body: Effect.Effect<unknown, E, R>) =>
  Handler.command(Place, () => Effect.as(body, "") as Effect.Effect<string, never, R>)
