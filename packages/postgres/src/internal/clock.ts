import type { SqlError } from "@effect/sql/SqlError"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import { transaction } from "./commit.ts"
import { type Database, named } from "./database.ts"
import { query } from "./pgQuery.ts"
import { millis, number, text } from "./rows.ts"

/**
 * The store's clock, in milliseconds.
 *
 * @internal
 */
export const now = (database: Database): Effect.Effect<number, SqlError> =>
  Effect.map(database.run(named(database, "now", `select ${millis(`${database.at}now()`)} as now`), []), ([row]) =>
    number(row!, "now")
  )

/**
 * Moves the clock by replacing it, so that the one of production reads no offset. One at a time.
 *
 * @internal
 */
export const advance = (database: Database, by: number): Effect.Effect<void, SqlError | MessagingError> =>
  Effect.asVoid(
    transaction(database, (pg) =>
      Effect.gen(function* () {
        const run = (sql: string) => query(pg, { name: undefined, text: sql }, [], database.timeoutMillis)
        yield* run(`select pg_advisory_xact_lock(hashtextextended('holdfast/clock/${database.schema}', 0))`)
        const { rows } = yield* run(`select ${database.at}clock_offset_ms() as now, pg_current_xact_id()::text as xid`)
        yield* run(replacing(database.at, Math.round(number(rows[0]!, "now") + by)))
        return { xid: text(rows[0]!, "xid") }
      })
    )
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const replacing = (at: string, offset: number): string => `
  create or replace function ${at}clock_offset_ms() returns bigint language sql volatile
    as 'select ${offset}::bigint';
  create or replace function ${at}now() returns timestamptz language sql volatile
    as 'select clock_timestamp() + ${offset} * interval ''1 millisecond''';`
