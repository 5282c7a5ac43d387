import type { SqlError } from "@effect/sql/SqlError"
import type { KeyClaim } from "@holdfast/core/MessageStore"
import { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import { type Database, named } from "./database.ts"
import { keyTaken } from "./part.ts"
import { bool, interval, storable, text } from "./rows.ts"
import type { Hub } from "./wake.ts"

/**
 * Which of the keys are remembered.
 *
 * @internal
 */
export const remembered = (
  database: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<ReadonlySet<string>, SqlError> =>
  Effect.map(
    database.run(
      named(
        database,
        "remembered",
        `select key from ${database.at}deduplication where key = any ($1::text[]) and expires_at > ${database.at}now()`
      ),
      [keys]
    ),
    (rows) => new Set(rows.map((row) => text(row, "key")))
  )

/**
 * Claims a key, or waits for the one who has it: for their end in this process, else by asking again.
 *
 * @internal
 */
export const claimKey = (
  database: Database,
  hub: Hub,
  key: string,
  leaseMillis: number
): Effect.Effect<KeyClaim, SqlError> => {
  const attempt = (delay: number): Effect.Effect<KeyClaim, SqlError> =>
    hub
      .listen(topic(key), (wait) =>
        Effect.tap(tryClaim(database, key, leaseMillis), (claim) =>
          claim === undefined ? Effect.interruptible(wait(delay)) : Effect.void
        )
      )
      .pipe(
        Effect.flatMap((claim) => (claim === undefined ? attempt(Math.min(delay * 2, 500)) : Effect.succeed(claim)))
      )
  return attempt(25)
}

/**
 * Extends a claim that is still its holder's.
 *
 * @internal
 */
export const renewKey = (
  database: Database,
  key: string,
  token: string,
  leaseMillis: number
): Effect.Effect<void, SqlError> => {
  const { at } = database
  const statement = named(
    database,
    "renew_key",
    `update ${at}idempotency set lease_until = ${at}now() + ${interval("$3::float8")}
     where key = $1::text and token = $2::bigint and result is null`
  )
  return Effect.asVoid(database.run(statement, [key, token, leaseMillis]))
}

/**
 * Stores an answer outside of any unit.
 *
 * @internal
 */
export const completeKey = (
  database: Database,
  hub: Hub,
  options: { readonly key: string; readonly token: string; readonly result: string; readonly windowMillis: number }
): Effect.Effect<void, SqlError | MessagingError> => {
  const { key, result, token, windowMillis } = options
  const { at } = database
  const statement = named(
    database,
    "complete_key",
    `update ${at}idempotency set result = $3::text, expires_at = ${at}now() + ${interval("$4::float8")}
     where key = $1::text and token = $2::bigint and result is null returning 1`
  )
  return Effect.flatMap(database.run(statement, [key, token, storable(result), windowMillis]), (rows) => {
    hub.signal(topic(key))
    return rows.length === 1 ? Effect.void : Effect.fail(keyLost)
  })
}

/** @internal */
export const releaseKey = (database: Database, hub: Hub, key: string, token: string): Effect.Effect<void, SqlError> => {
  const statement = named(
    database,
    "release_key",
    `delete from ${database.at}idempotency where key = $1::text and token = $2::bigint and result is null`
  )
  return Effect.map(database.run(statement, [key, token]), () => hub.signal(topic(key)))
}

/**
 * Where those wait who want the key: a name that no channel has.
 *
 * @internal
 */
export const topic = (key: string): string => `\u0000key ${key}`

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const keyLost = new MessagingError({ reason: keyTaken.otherwise, detail: keyTaken.detail })

/** One statement: a row that is neither new nor free is answered as it is. */
const tryClaim = (
  database: Database,
  key: string,
  leaseMillis: number
): Effect.Effect<KeyClaim | undefined, SqlError> => {
  const { at } = database
  const statement = named(
    database,
    "claim_key",
    `with clock as materialized (select ${at}now() as now), claimed as (
       insert into ${at}idempotency as i (key, token, lease_until)
       values ($1::text, nextval('${at}lease_token'), (select now from clock) + ${interval("$2::float8")})
       on conflict (key) do update
       set token = excluded.token, lease_until = excluded.lease_until, result = null, expires_at = null
       where case when i.result is null then i.lease_until else i.expires_at end <= (select now from clock)
       returning token
     )
     select true as claimed, token::text, null as result from claimed
     union all
     select false, null, result from ${at}idempotency
     where key = $1::text and result is not null and expires_at > (select now from clock)
       and not exists (select from claimed)`
  )
  return Effect.map(database.run(statement, [key, leaseMillis]), ([row]) => {
    if (row === undefined) return undefined
    return bool(row, "claimed")
      ? { _tag: "Claimed", token: text(row, "token") }
      : { _tag: "Completed", result: text(row, "result") }
  })
}
