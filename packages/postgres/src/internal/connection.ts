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
export const isOurs = (connection: Connection): boolean => connection instanceof ScopeConnection

/**
 * The connection that code in a scope runs its SQL on. The scope is asked for with the first statement.
 *
 * @internal
 */
export const make = (scope: () => UnitScope): Connection => new ScopeConnection(scope)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

class ScopeConnection implements Connection {
  private readonly scope: () => UnitScope

  constructor(scope: () => UnitScope) {
    this.scope = scope
  }

  execute(...[text, params, transformRows]: Parameters<Connection["execute"]>) {
    return Effect.map(this.run(configOf(text, params)), (result) => {
      const rows = rowsOf(result)
      return transformRows === undefined ? rows : transformRows(rows)
    })
  }

  executeRaw(...[text, params]: Parameters<Connection["executeRaw"]>) {
    return this.run(configOf(text, params))
  }

  executeValues(...[text, params]: Parameters<Connection["executeValues"]>) {
    const config = { ...configOf(text, params), rowMode: "array" } as Pg.QueryConfig
    return Effect.map(this.run(config), (result) => result.rows)
  }

  executeUnprepared(...[text, params, transformRows]: Parameters<Connection["executeUnprepared"]>) {
    const asked = savepointAsked.exec(text)
    if (asked === null) return this.execute(text, params, transformRows)
    const [, rollback, name] = asked as unknown as [string, string | undefined, string]
    return Effect.flatMap(callerOf(this), (caller) =>
      Effect.as(
        rollback === undefined ? this.scope().savepoint(caller, name) : this.scope().rollbackTo(caller, name),
        []
      )
    )
  }

  executeStream(...[text, params, transformRows]: Parameters<Connection["executeStream"]>) {
    return stream(this, text, params, transformRows)
  }

  private run(config: Pg.QueryConfig): Effect.Effect<Pg.QueryResult, SqlError> {
    return Effect.flatMap(callerOf(this), (caller) => this.scope().statement(caller, config))
  }
}

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
