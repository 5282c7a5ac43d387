import type { SqlError } from "@effect/sql/SqlError"
import type { Write } from "@holdfast/core/MessageStore"
import { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { type Database, named } from "./database.ts"
import { toMessagingError } from "./errors.ts"
import type { Part } from "./part.ts"
import { query, type Row } from "./pgQuery.ts"
import { number, text } from "./rows.ts"
import { collect, type Staged } from "./staged.ts"
import { kinds, partsOf } from "./writeParts.ts"

/**
 * What the writes did: the transaction's id, by which a lost COMMIT can be asked for, and the channels to wake.
 *
 * @internal
 */
export interface Written {
  readonly xid: string
  readonly channels: ReadonlySet<string>
}

/**
 * Writes any number of units with one statement, and one before it if timers are involved. Fails when a lease was lost
 * or a version, key or claim is not what it should be; the transaction must then be rolled back.
 *
 * @internal
 */
export const write = Effect.fnUntraced(function* (
  database: Database,
  pg: Pg.ClientBase,
  units: ReadonlyArray<ReadonlyArray<Write>>
) {
  const staged = collect(units)
  const { at, timeoutMillis } = database
  if (staged.disarmed.length > 0) {
    const owners = staged.disarmed.map(({ owner }) => owner)
    const names = staged.disarmed.map(({ name }) => name ?? null)
    const armed = staged.disarmed.map(({ armed }) => armed)
    const text = `select ${at}disarm($1::text[], $2::text[], $3::boolean[])`
    yield* query(pg, named(database, "disarm", text), [owners, names, armed], timeoutMillis)
  }
  const parts = partsOf(staged)
  const statement = named(database, `write_${codeOf(parts)}`, compose(at, parts))
  const result = yield* query(
    pg,
    statement,
    parts.flatMap(({ params }) => params),
    timeoutMillis
  )
  return yield* answer(staged, parts, result.rows[0]!)
})

/**
 * What a failure of `write` means.
 *
 * @internal
 */
export const toWriteError = (error: SqlError | MessagingError): MessagingError => {
  if (error._tag === "MessagingError") return error
  const known = toMessagingError(error)
  return known.reason === "Rejected" && known.detail.startsWith("PostgreSQL answered 23505")
    ? new MessagingError({ reason: "Conflict", detail: "Somebody else wrote the same key first", cause: error })
    : known
}

/** @internal */
export const compose = (at: string, parts: ReadonlyArray<Part>): string => {
  let used = 0
  const tables = [`clock as materialized (select ${at}now() as now)`]
  const results = ["pg_current_xact_id()::text as xid"]
  for (const part of parts) {
    const first = used
    tables.push(...part.sql(at, (index) => `$${first + index}`))
    used += part.params.length
    if (part.result !== undefined) results.push(`${part.result} as ${part.name}`)
  }
  return `with ${tables.join(",\n")}\nselect ${results.join(", ")}`
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Names of statements are short: each kind of write is one bit. */
const codeOf = (parts: ReadonlyArray<Part>): string =>
  parts.reduce((code, { name }) => code + 2 ** kinds.indexOf(name), 0).toString(36)

const answer = (staged: Staged, parts: ReadonlyArray<Part>, row: Row): Effect.Effect<Written, MessagingError> => {
  for (const part of parts) {
    if (part.expected === undefined || number(row, part.name) === part.expected) continue
    return Effect.fail(new MessagingError({ reason: part.otherwise, detail: part.detail }))
  }
  const channels = new Set(staged.channels)
  if (row.published) for (const channel of JSON.parse(text(row, "published"))) channels.add(channel)
  return Effect.succeed({ xid: text(row, "xid"), channels })
}
