import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as EffectScope from "effect/Scope"
import { type Database, named } from "./database.ts"
import { sweep as sweepFlow } from "./flow.ts"
import { live } from "./live.ts"
import type { Statement } from "./pgQuery.ts"

/**
 * Forgets keys that have expired, some thousand at a time. What has expired the database's clock says; when to look is
 * nobody's to wait for.
 *
 * @internal
 */
export const janitor = (database: Database): Effect.Effect<void, never, EffectScope.Scope> =>
  sweep(database).pipe(
    Effect.catchAllCause((cause) => Effect.logDebug("Expired keys were not removed; trying again in a minute", cause)),
    Effect.schedule(Schedule.jittered(Schedule.spaced("1 minute"))),
    live,
    Effect.forkScoped,
    Effect.asVoid
  )

/** @internal */
export const sweep = (database: Database): Effect.Effect<void, SqlError> => {
  const { at } = database
  const deduplication = named(
    database,
    "sweep_deduplication",
    `delete from ${at}deduplication where key = any (array(
       select key from ${at}deduplication where expires_at <= (select ${at}now())
       order by expires_at limit ${batch} for update skip locked)) returning 1`
  )
  // an abandoned claim may still be completed by its holder, so it is kept for another hour
  const idempotency = named(
    database,
    "sweep_idempotency",
    `delete from ${at}idempotency where key = any (array(
       select key from ${at}idempotency
       where coalesce(expires_at, lease_until) <= (select ${at}now())
         and (result is not null or lease_until <= (select ${at}now()) - interval '1 hour')
       order by coalesce(expires_at, lease_until) limit ${batch} for update skip locked)) returning 1`
  )
  return Effect.zipRight(untilEmpty(database, deduplication), untilEmpty(database, idempotency)).pipe(
    Effect.zipRight(sweepFlow(database))
  )
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const batch = 2000

const untilEmpty = (database: Database, statement: Statement): Effect.Effect<void, SqlError> =>
  Effect.flatMap(database.run(statement, []), (rows) =>
    rows.length < batch ? Effect.void : untilEmpty(database, statement)
  )
