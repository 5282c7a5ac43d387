import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Pg from "pg"
import type { Caller } from "./savepoints.ts"
import type { UnitScope } from "./unitScope.ts"

/**
 * Whether a connection is one that a unit of work gave to its handlers.
 *
 * @internal
 */
export const isOurs = (connection: Connection): boolean => ours.has(connection)

/**
 * The connection that code in a scope runs its SQL on.
 *
 * @internal
 */
export const make = (scope: UnitScope): Connection => {
  const run = (config: Pg.QueryConfig) => Effect.flatMap(callerOf(connection), (_) => scope.statement(_, config))
  const rows: Connection["execute"] = (text, params, transformRows) =>
    Effect.map(run(configOf(text, params)), (result) => {
      const rows = rowsOf(result)
      return transformRows === undefined ? rows : transformRows(rows)
    })
  const connection: Connection = {
    execute: rows,
    executeRaw: (text, params) => run(configOf(text, params)),
    executeValues: (text, params) =>
      Effect.map(run({ ...configOf(text, params), rowMode: "array" } as Pg.QueryConfig), (result) => result.rows),
    executeUnprepared: (text, params, transformRows) => {
      const asked = savepointAsked.exec(text)
      if (asked === null) return rows(text, params, transformRows)
      const [, rollback, name] = asked as unknown as [string, string | undefined, string]
      return Effect.flatMap(callerOf(connection), (caller) =>
        Effect.as(rollback === undefined ? scope.savepoint(caller, name) : scope.rollbackTo(caller, name), [])
      )
    },
    executeStream: (text, params, transformRows) => stream(connection, text, params, transformRows)
  }
  ours.add(connection)
  return connection
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const ours = new WeakSet<Connection>()

/** What a nested `sql.withTransaction` of the library sends. */
const savepointAsked = /^(ROLLBACK TO )?SAVEPOINT (effect_sql_\d+)$/

const configOf = (text: string, params: ReadonlyArray<unknown>): Pg.QueryConfig => ({
  text,
  values: params as Array<unknown>
})

/** Several statements in one text have several results. */
const rowsOf = (result: Pg.QueryResult | ReadonlyArray<Pg.QueryResult>): ReadonlyArray<any> =>
  Array.isArray(result) ? result.map(({ rows }) => rows ?? []) : ((result as Pg.QueryResult).rows ?? [])

const callerOf = (connection: Connection): Effect.Effect<Caller> =>
  Effect.withFiberRuntime((fiber) => {
    const entry = fiber.currentContext.unsafeMap.get(SqlClient.TransactionConnection.key) as
      | readonly [Connection, number]
      | undefined
    const here = entry?.[0] === connection
    return Effect.succeed({
      fiber: FiberId.threadName(fiber.id()),
      entry: here ? entry : undefined,
      depth: here ? entry[1] : 0
    })
  })

let cursors = 0

/** The driver's cursor would occupy the connection until the stream ends; one of SQL lets other statements in between. */
const stream: (
  connection: Connection,
  ...args: Parameters<Connection["executeStream"]>
) => Stream.Stream<any, SqlError> = (connection, text, params, transformRows) => {
  if (!/^\s*(select|values)\b/i.test(text)) {
    return Stream.unwrap(Effect.map(connection.execute(text, params, transformRows), Stream.fromIterable))
  }
  const name = `hf_cursor_${++cursors}`
  const open = connection.executeRaw(`DECLARE ${name} NO SCROLL CURSOR FOR ${text}`, params)
  const close = Effect.ignore(connection.executeRaw(`CLOSE ${name}`, []))
  const fetch = connection.execute(`FETCH 128 FROM ${name}`, [], transformRows).pipe(
    Effect.mapError(Option.some),
    Effect.flatMap((rows) =>
      rows.length === 0 ? Effect.fail(Option.none()) : Effect.succeed(Chunk.unsafeFromArray(rows as Array<any>))
    )
  )
  return Stream.unwrapScoped(
    Effect.as(
      Effect.acquireRelease(open, (_, exit) => (exit._tag === "Success" ? close : Effect.void)),
      Stream.repeatEffectChunkOption(fetch)
    )
  )
}
