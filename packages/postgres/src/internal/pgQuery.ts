import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { sqlError } from "./errors.ts"

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

/** @internal */
export const send = (
  pg: Pg.ClientBase,
  { name, rowMode, text }: Statement,
  values: ReadonlyArray<unknown>,
  timeoutMillis: number,
  done: (error: SqlError | undefined, result: Result) => void
): void => {
  const config: Pg.QueryConfig & { readonly query_timeout: number } = {
    ...(name === undefined ? undefined : { name }),
    text,
    ...(rowMode === undefined ? undefined : { rowMode }),
    ...(values.length === 0 ? undefined : { values: values as Array<unknown> }),
    types: { getTypeParser: () => keep },
    query_timeout: timeoutMillis
  }
  pg.query<Row>(config, (error: Error | null, result) => {
    done(error ? sqlError("Failed to execute statement", error) : undefined, result)
  })
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const keep = (value: any): any => value
