import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { type Database, named } from "./database.ts"
import type { Row } from "./pgQuery.ts"
import { interval, text } from "./rows.ts"

/** @internal */
export const paused = (database: Database): Effect.Effect<ReadonlyArray<string>, SqlError> =>
  Effect.map(
    database.run(
      named(
        database,
        "paused",
        `select channel from ${database.at}paused where handler = '' and tenant = '' order by channel`
      ),
      []
    ),
    channelsOf
  )

/** @internal */
export const heartbeat = (database: Database, channel: string): Effect.Effect<void, SqlError> => {
  const statement = named(
    database,
    "heartbeat",
    `insert into ${database.at}consumed (channel, seen_at) values ($1::text, ${database.at}now())
     on conflict (channel) do update set seen_at = greatest(consumed.seen_at, excluded.seen_at)`
  )
  return Effect.asVoid(database.run(statement, [channel]))
}

/** @internal */
export const consumed = (database: Database, withinMillis: number): Effect.Effect<ReadonlyArray<string>, SqlError> => {
  const statement = named(
    database,
    "consumed",
    `select channel from ${database.at}consumed
     where seen_at >= (select ${database.at}now()) - ${interval("$1::float8")} order by channel`
  )
  return Effect.map(database.run(statement, [withinMillis]), channelsOf)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const channelsOf = (rows: ReadonlyArray<Row>): ReadonlyArray<string> => rows.map((row) => text(row, "channel"))
