import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as EffectScope from "effect/Scope"
import { type Database, named } from "./database.ts"
import { sweep as sweepFlow } from "./flow.ts"
import { forget } from "./journal.ts"
import { live } from "./live.ts"
import type { Statement } from "./pgQuery.ts"
import { number, text } from "./rows.ts"

/**
 * Forgets keys that have expired and the oldest of the journal, some thousand at a time. What has expired the database's
 * clock says; when to look is nobody's to wait for.
 *
 * @internal
 */
export const janitor = (database: Database, journalMillis: number): Effect.Effect<void, never, EffectScope.Scope> =>
  Effect.zipRight(sweep(database), forget(database, journalMillis)).pipe(
    Effect.catchAllCause((cause) =>
      Effect.logDebug("What has expired was not removed; trying again in a minute", cause)
    ),
    Effect.schedule(Schedule.jittered(Schedule.spaced("1 minute"))),
    live,
    Effect.forkScoped,
    Effect.asVoid
  )

/** @internal */
export const sweep = (database: Database): Effect.Effect<void, SqlError> => {
  const { deduplication, idempotency } = sweepSql(database.at)
  return Effect.zipRight(
    untilEmpty(database, named(database, "sweep_deduplication", deduplication)),
    untilEmpty(database, named(database, "sweep_idempotency", idempotency))
  ).pipe(Effect.zipRight(sweepFlow(database)))
}

/** @internal */
export const sweepSql = (at: string) => ({
  deduplication: expired(at, "deduplication", "expires_at", "true"),
  // an abandoned claim may still be completed by its holder, so it is kept for another hour
  idempotency: expired(
    at,
    "idempotency",
    "coalesce(expires_at, lease_until)",
    `(result is not null or lease_until <= (select ${at}now()) - interval '1 hour')`
  )
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const batch = 2000

/**
 * The next ones from a time on. Each begins where the last one ended: in the index those that were removed stand before it
 * until they are vacuumed, and as long as an old snapshot is open, that is never.
 */
const expired = (at: string, table: string, time: string, condition: string): string =>
  `with gone as (
     select ctid as place, ${time} as time from ${at}${table}
     where ${time} >= $1::timestamptz and ${time} <= (select ${at}now()) and ${condition}
     order by ${time} limit ${batch} for update skip locked
   ), removed as (
     delete from ${at}${table} where ctid = any (array(select place from gone))
   )
   select count(*)::int as count, max(time)::text as last from gone`

const untilEmpty = (database: Database, statement: Statement, from = "-infinity"): Effect.Effect<void, SqlError> =>
  Effect.flatMap(database.run(statement, [from]), ([row]) =>
    row === undefined || number(row, "count") < batch ? Effect.void : untilEmpty(database, statement, text(row, "last"))
  )
