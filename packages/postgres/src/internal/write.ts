import type { SqlError } from "@effect/sql/SqlError"
import type { Write } from "@holdfast/core/MessageStore"
import { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { type Database, named } from "./database.ts"
import { detailOf, sqlState, toMessagingError } from "./errors.ts"
import { Exchange } from "./exchange.ts"
import type { Part } from "./part.ts"
import { configOf, exchange, type Result, type Row, type Statement } from "./pgQuery.ts"
import { number, text } from "./rows.ts"
import { collect, type Staged } from "./staged.ts"
import { textArray, textArraysIn } from "./textArray.ts"
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
 * or a version, key or claim is not what it should be; the transaction must then be rolled back. What is to be sent
 * before, such as BEGIN, travels with it.
 *
 * @internal
 */
export const write = (
  database: Database,
  pg: Pg.ClientBase,
  units: ReadonlyArray<ReadonlyArray<Write>>,
  before: ReadonlyArray<Statement> = []
): Effect.Effect<Written, SqlError | MessagingError> =>
  Effect.suspend(() => {
    const staged = collect(units)
    const parts = partsOf(staged)
    const statement = statementOf(database, parts, "write")
    const query = composed(
      statement,
      parts.flatMap(({ params }) => params)
    )
    const written = (before: ReadonlyArray<Statement>) =>
      Effect.flatMap(run(database, pg, before, query), ({ rows }) => answer(staged, parts, rows[0]!))
    const disarm = disarming(database, staged)
    return disarm === undefined
      ? written(before)
      : Effect.zipRight(
          run(database, pg, before, disarm),
          Effect.suspend(() => written([]))
        )
  })

/**
 * What writes a unit and then commits, in one round trip: the database itself compares the counts, and refuses.
 *
 * @internal
 */
export interface Settling {
  /** What comes before, if timers are involved. */
  readonly disarm: Pg.QueryConfig | undefined
  /** The last statement before COMMIT. */
  readonly query: Pg.QueryConfig
  /** The channels to wake once it has committed; without the answer, those that are known anyway. */
  readonly channels: (row: Row | undefined) => ReadonlySet<string>
  /** What the database refused, if that is what the failure means. */
  readonly refusal: (error: SqlError) => MessagingError | undefined
}

/** @internal */
export const settling = (database: Database, writes: ReadonlyArray<Write>): Settling => {
  const staged = collect([writes])
  const parts = partsOf(staged)
  const statement = statementOf(database, parts, "settle")
  const values = parts.flatMap(({ expected, params }) => (expected === undefined ? params : [...params, expected]))
  return {
    disarm: disarming(database, staged),
    query: composed(statement, values),
    channels: (row) => (row === undefined ? staged.channels : channelsOf(staged, row)),
    refusal: (error) => {
      const refused = refusedIn(error)
      const part = parts.find(({ name }) => name === refused)
      return part && new MessagingError({ reason: part.otherwise, detail: part.detail })
    }
  }
}

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

/**
 * The text of the statement. One that settles has a parameter more for each count, and fails if that is another.
 *
 * @internal
 */
export const compose = (at: string, parts: ReadonlyArray<Part>, kind: Kind = "write"): string => {
  let used = 0
  const tables = [`clock as materialized (select ${at}now() as now)`]
  const results = ["pg_current_xact_id()::text as xid"]
  for (const part of parts) {
    const first = used
    tables.push(...part.sql(at, (index) => `$${first + index}`))
    used += part.params.length
    if (part.result === undefined) continue
    const checked = kind === "settle" && part.expected !== undefined
    results.push(`${checked ? refuse(part.name, part.result, `$${++used}::bigint`) : part.result} as ${part.name}`)
  }
  return `with ${tables.join(",\n")}\nselect ${results.join(", ")}`
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

type Kind = "write" | "settle"

interface Composed extends Statement {
  readonly textArrays: ReadonlyArray<number>
}

const statements = new Map<string, Composed>()

/** Which writes there are decides on the text. Names of statements are short: each kind of write is one bit. */
const statementOf = (database: Database, parts: ReadonlyArray<Part>, kind: Kind): Composed => {
  let code = 0
  for (const { name } of parts) code += bits.get(name)!
  const key = `${database.at}${kind}${code}`
  const known = statements.get(key)
  if (known !== undefined) return known
  const text = compose(database.at, parts, kind)
  const statement = {
    ...named(database, `${kind}_${code.toString(36)}`, text),
    textArrays: textArraysIn(text)
  }
  statements.set(key, statement)
  return statement
}

const composed = (statement: Composed, values: Array<unknown>): Pg.QueryConfig => {
  for (const place of statement.textArrays) values[place] = textArray(values[place] as ReadonlyArray<string | null>)
  return configOf(statement, values)
}

const bits: ReadonlyMap<string, number> = new Map(kinds.map((name, place) => [name, 2 ** place]))

const disarming = (database: Database, { disarmed }: Staged): Pg.QueryConfig | undefined =>
  disarmed.length === 0
    ? undefined
    : configOf(named(database, "disarm", `select ${database.at}disarm($1::text[], $2::text[], $3::boolean[])`), [
        disarmed.map(({ owner }) => owner),
        disarmed.map(({ name }) => name ?? null),
        disarmed.map(({ armed }) => armed)
      ])

const run = (
  { timeoutMillis }: Database,
  pg: Pg.ClientBase,
  before: ReadonlyArray<Statement>,
  query: Pg.QueryConfig
): Effect.Effect<Result, SqlError> => exchange(pg, new Exchange({ before, query, timeoutMillis }))

const answer = (staged: Staged, parts: ReadonlyArray<Part>, row: Row): Effect.Effect<Written, MessagingError> => {
  for (const part of parts) {
    if (part.expected === undefined || number(row, part.name) === part.expected) continue
    return Effect.fail(new MessagingError({ reason: part.otherwise, detail: part.detail }))
  }
  return Effect.succeed({ xid: text(row, "xid"), channels: channelsOf(staged, row) })
}

const channelsOf = ({ channels }: Staged, row: Row): ReadonlySet<string> =>
  row.published ? new Set([...channels, ...JSON.parse(text(row, "published"))]) : channels

/** No expression of SQL raises an error of its own, but a cast quotes what it cannot read. */
const refuse = (name: string, count: string, expected: string): string =>
  `case when ${count} = ${expected} then 0 else (${`'${refused}${name} '`} || ${count})::int end`

const refused = "holdfast refuses "

const refusedIn = (error: SqlError): string | undefined =>
  sqlState(error) === "22P02" ? /"holdfast refuses (\w+) /.exec(detailOf(error))?.[1] : undefined
