import type { SqlError } from "@effect/sql/SqlError"
import * as Headers from "@holdfast/core/Headers"
import type { Send } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import { transaction } from "./commit.ts"
import type { Database } from "./database.ts"
import { query, type Row } from "./pgQuery.ts"
import { isKey, millis, number, text } from "./rows.ts"
import { type Written, write } from "./write.ts"

/**
 * Puts dead letters back to their channels, as if sent now.
 *
 * @internal
 */
export const replay = (
  database: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<{ readonly count: number; readonly written: Written }, SqlError | MessagingError> =>
  Effect.map(
    transaction(database, (pg) =>
      Effect.gen(function* () {
        const { rows } = yield* query(pg, dig(database), [keys.filter(isKey)], database.timeoutMillis)
        const sends = rows.toSorted((self, that) => number(self, "id") - number(that, "id")).map(sendOf)
        return { ...(yield* write(database, pg, [sends])), count: sends.length }
      })
    ),
    ({ count, ...written }) => ({ count, written })
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const dig = (database: Database) => ({
  name: undefined,
  text: `delete from ${database.at}dead_letter where id = any ($1::bigint[])
    returning id, channel, message_id, tag, endpoint, payload, headers, priority, ${millis(`${database.at}now()`)} as now`
})

const sendOf = (row: Row): Send => ({
  _tag: "Send",
  channel: text(row, "channel"),
  envelope: {
    id: text(row, "message_id"),
    tag: text(row, "tag"),
    endpoint: text(row, "endpoint"),
    attempt: 1,
    headers: { ...JSON.parse(text(row, "headers")), [Headers.replayedAt]: text(row, "now") },
    payload: text(row, "payload"),
    failures: []
  },
  priority: number(row, "priority"),
  due: undefined,
  timer: undefined
})
