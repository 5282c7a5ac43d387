import type { SqlError } from "@effect/sql/SqlError"
import type { ChannelStats } from "@holdfast/core/MessageStore"
import * as Effect from "effect/Effect"
import { type Database, named } from "./database.ts"
import { number, text } from "./rows.ts"

/**
 * Counts what is on the channels, each kind by an index of its own and no further than to `most`.
 *
 * @internal
 */
export const stats = (
  database: Database,
  channels: ReadonlyArray<string>,
  most: number
): Effect.Effect<ReadonlyArray<ChannelStats>, SqlError> =>
  channels.length === 0
    ? Effect.succeed([])
    : Effect.map(
        database.run(named(database, "stats", `select * from ${database.at}channel_stats($1::text[], $2::integer)`), [
          channels,
          Math.min(most, 2_147_483_647)
        ]),
        (rows) =>
          rows.map((row) => ({
            channel: text(row, "channel"),
            ready: number(row, "ready"),
            scheduled: number(row, "scheduled"),
            held: number(row, "held"),
            deadLetters: number(row, "dead_letters"),
            oldestAgeMillis: row.age === null ? undefined : Math.max(0, number(row, "age"))
          }))
      )
