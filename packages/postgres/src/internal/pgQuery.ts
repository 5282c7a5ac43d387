import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { sqlError } from "./errors.ts"
import type { Exchange } from "./exchange.ts"

/**
 * A row as it came over the wire: the store's statements parse nothing, so that type parsers a user has set for the
 * whole driver do not reach them.
 *
 * @internal
 */
export type Row = Readonly<Record<string, string | null>>

/**
 * A statement of the store. With a name, the server keeps its plan.
 *
 * @internal
 */
export interface Statement {
  readonly name: string | undefined
  readonly text: string
  /** Rows as arrays instead, for those who read many. */
  readonly rowMode?: "array" | undefined
}

/** @internal */
export type Result = Pg.QueryResult<Row>

/**
 * Runs a statement on one connection. It is never cancelled: who interrupts this leaves the connection busy.
 *
 * @internal
 */
export const query = (
  pg: Pg.ClientBase,
  statement: Statement,
  values: ReadonlyArray<unknown>,
  timeoutMillis: number
): Effect.Effect<Result, SqlError> =>
  Effect.async((resume) =>
    send(pg, statement, values, timeoutMillis, (error, result) =>
      resume(error === undefined ? Effect.succeed(result) : Effect.fail(error))
    )
  )

/**
 * Runs a statement and the commands around it in one round trip. It is never cancelled, either.
 *
 * @internal
 */
export const exchange = (pg: Pg.ClientBase, exchange: Exchange): Effect.Effect<Result, SqlError> =>
  Effect.async((resume) => {
    exchange.callback = (error, result) =>
      resume(error ? Effect.fail(sqlError("Failed to execute statement", error)) : Effect.succeed(result))
    pg.query(exchange)
  })

/** @internal */
export const send = (
  pg: Pg.ClientBase,
  statement: Statement,
  values: ReadonlyArray<unknown>,
  timeoutMillis: number,
  done: (error: SqlError | undefined, result: Result) => void
): void => {
  const config = { ...configOf(statement, values), query_timeout: timeoutMillis }
  pg.query<Row>(config, (error: Error | null, result) => {
    done(error ? sqlError("Failed to execute statement", error) : undefined, result)
  })
}

/**
 * A statement of the store's as the driver takes it.
 *
 * @internal
 */
export const configOf = ({ name, rowMode, text }: Statement, values: ReadonlyArray<unknown>): Pg.QueryConfig => ({
  ...(name === undefined ? undefined : { name }),
  text,
  ...(rowMode === undefined ? undefined : { rowMode }),
  ...(values.length === 0 ? undefined : { values: values as Array<unknown> }),
  types
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const keep = (value: any): any => value
const types = { getTypeParser: () => keep }
