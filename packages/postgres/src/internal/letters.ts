import type { SqlError } from "@effect/sql/SqlError"
import type { DeadLetterFilter, DeadLetterGroup, DeadLetterRow, ParkReason } from "@holdfast/core/MessageStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Database, named } from "./database.ts"
import { conditionsOf, letterOf, shown, tableOf } from "./letterSql.ts"
import type { Statement } from "./pgQuery.ts"
import { interval, isKey, millis, number, text } from "./rows.ts"

/**
 * A statement, its parameters, and nothing to be guessed.
 *
 * @internal
 */
export interface Asked {
  readonly statement: Statement
  readonly params: ReadonlyArray<unknown>
}

/** @internal */
export const listed = (database: Pick<Database, "at" | "schema">, filter: DeadLetterFilter): Asked => {
  const { code, hit, params, sql } = conditionsOf(filter, 2)
  return {
    statement: named(
      database,
      `letters_${code}`,
      `select ${shown(filter.archived)} from ${tableOf(database.at, filter)} d where ${sql} and ${hit}
       order by d.id desc limit $1::int`
    ),
    params: [filter.limit ?? 100, ...params]
  }
}

/** @internal */
export const deadLetters = (
  database: Database,
  filter: DeadLetterFilter
): Effect.Effect<ReadonlyArray<DeadLetterRow>, SqlError> => {
  const { params, statement } = listed(database, filter)
  return Effect.map(database.run(statement, params), (rows) => rows.map(letterOf))
}

/** @internal */
export const countDeadLetters = (database: Database, filter: DeadLetterFilter): Effect.Effect<number, SqlError> => {
  const { code, hit, params, sql } = conditionsOf(filter)
  const statement = named(
    database,
    `count_letters_${code}`,
    `select count(*) as found from ${tableOf(database.at, filter)} d where ${sql} and ${hit}`
  )
  return Effect.map(database.run(statement, params), ([row]) => number(row!, "found"))
}

/**
 * How many letters are read for a text before what was found is shown.
 *
 * @internal
 */
export const readForText = 2_000

/**
 * A page: at most so many letters are looked at, and the rest when the next page is asked for.
 *
 * @internal
 */
export const searched = (
  database: Pick<Database, "at" | "schema">,
  filter: DeadLetterFilter,
  before: string | undefined
): Asked => {
  const { code, hit, params, sql } = conditionsOf(filter, 4)
  const table = tableOf(database.at, filter)
  return {
    statement: named(
      database,
      `search_${code}`,
      `with looked as materialized (
         select d.id, ${hit} as hit from ${table} d where d.id < $1::bigint and ${sql} order by d.id desc limit $2::int
       ), found as materialized (select id from looked where hit order by id desc limit $3::int)
       select s.last, s.looked, s.hits, l.* from (
         select min(id) as last, count(*) as looked, count(*) filter (where hit) as hits from looked
       ) s left join lateral (
         select ${shown(filter.archived)} from ${table} d where d.id in (select id from found)
       ) l on true order by l.id desc`
    ),
    params: [before ?? "9223372036854775807", looksAt(filter), filter.limit ?? 100, ...params]
  }
}

/** @internal */
export const searchDeadLetters = (
  database: Database,
  filter: DeadLetterFilter,
  before: string | undefined
): Effect.Effect<{ readonly letters: ReadonlyArray<DeadLetterRow>; readonly next: string | undefined }, SqlError> => {
  if (before !== undefined && !isKey(before)) return Effect.succeed({ letters: [], next: undefined })
  const { params, statement } = searched(database, filter, before)
  return Effect.map(database.run(statement, params), (rows) => {
    const letters = rows.filter((row) => row.id != null).map(letterOf)
    const [first] = rows
    const more = number(first!, "looked") === looksAt(filter) || number(first!, "hits") > letters.length
    const last = number(first!, "hits") > letters.length ? letters.at(-1)!.key : text(first!, "last")
    return { letters, next: more ? last : undefined }
  })
}

/** @internal */
export const grouped = (database: Pick<Database, "at" | "schema">, filter: DeadLetterFilter): Asked => {
  const { code, hit, params, sql } = conditionsOf(filter, 2)
  const table = tableOf(database.at, filter)
  const all = (column: string) => `to_json(array_agg(distinct d.${column} collate "C"))::text`
  return {
    statement: named(
      database,
      `letter_groups_${code}`,
      `with groups as materialized (
         select d.fingerprint, count(*) as letters, min(d.parked_at) as first_at, max(d.parked_at) as last_at,
           max(d.id) as newest, ${all("channel")} as channels, ${all("endpoint")} as endpoints, ${all("tag")} as tags,
           ${all("reason")} as reasons
         from ${table} d where ${sql} and ${hit} group by d.fingerprint
         order by count(*) desc, d.fingerprint collate "C" limit $1::int
       )
       select g.fingerprint, g.letters, ${millis("g.first_at")} as first_at, ${millis("g.last_at")} as last_at, g.channels,
         g.endpoints, g.tags, g.reasons, d.error
       from groups g join ${table} d on d.id = g.newest order by g.letters desc, g.fingerprint collate "C"`
    ),
    params: [filter.limit ?? 100, ...params]
  }
}

/** @internal */
export const deadLetterGroups = (
  database: Database,
  filter: DeadLetterFilter
): Effect.Effect<ReadonlyArray<DeadLetterGroup>, SqlError> => {
  const { params, statement } = grouped(database, filter)
  return Effect.map(database.run(statement, params), (rows) =>
    rows.map((row) => ({
      fingerprint: text(row, "fingerprint"),
      count: number(row, "letters"),
      firstAt: number(row, "first_at"),
      lastAt: number(row, "last_at"),
      error: text(row, "error"),
      channels: JSON.parse(text(row, "channels")) as ReadonlyArray<string>,
      endpoints: JSON.parse(text(row, "endpoints")) as ReadonlyArray<string>,
      tags: JSON.parse(text(row, "tags")) as ReadonlyArray<string>,
      reasons: JSON.parse(text(row, "reasons")) as ReadonlyArray<ParkReason>
    }))
  )
}

/** @internal */
export const deadLetter = (database: Database, key: string): Effect.Effect<Option.Option<DeadLetterRow>, SqlError> => {
  if (!isKey(key)) return Effect.succeedNone
  const statement = named(
    database,
    "letter",
    `select ${shown(false)} from ${database.at}dead_letter d where d.id = $1::bigint
     union all select ${shown(true)} from ${database.at}archived_letter d where d.id = $1::bigint`
  )
  return Effect.map(database.run(statement, [key]), ([row]) =>
    Option.map(Option.fromNullable(row), (row) => letterOf(row))
  )
}

/**
 * Answers the channel of each that was still there: others may have waited for it.
 *
 * @internal
 */
export const deleteDeadLetters = (
  database: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, SqlError> => {
  const statement = named(
    database,
    "delete_letters",
    `with archived as (delete from ${database.at}archived_letter where id = any ($1::bigint[]) returning channel),
     ${locked(database.at, "$1")},
     gone as (delete from ${database.at}dead_letter d using locked where d.id = locked.id returning d.channel)
     select channel from gone union all select channel from archived`
  )
  return channelsOf(database, statement, [keys.filter(isKey)])
}

/** @internal */
export const archiveDeadLetters = (
  database: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, SqlError> => {
  const statement = named(
    database,
    "archive_letters",
    `with ${locked(database.at, "$1")}, ${archiving(database.at, "locked")} select channel from archived`
  )
  return channelsOf(database, statement, [keys.filter(isKey)])
}

/** @internal */
export const restoreDeadLetters = (
  database: Database,
  keys: ReadonlyArray<string>
): Effect.Effect<number, SqlError> => {
  const statement = named(
    database,
    "restore_letters",
    `with taken as (
       delete from ${database.at}archived_letter where id = any ($1::bigint[]) and replayed_at is null returning *
     )
     insert into ${database.at}dead_letter (${columns}) overriding system value select ${columns} from taken returning 1`
  )
  return Effect.map(database.run(statement, [keys.filter(isKey)]), (rows) => rows.length)
}

/** @internal */
export const editDeadLetter = (database: Database, key: string, payload: string): Effect.Effect<boolean, SqlError> => {
  if (!isKey(key)) return Effect.succeed(false)
  const statement = named(
    database,
    "edit_letter",
    `update ${database.at}dead_letter
     set original = coalesce(original, payload), payload = $2::text, edited_at = ${database.at}now()
     where id = $1::bigint returning 1`
  )
  return Effect.map(database.run(statement, [key, payload]), (rows) => rows.length === 1)
}

/**
 * What a channel has kept for long enough, a thousand of each kind at a time; answers the channel of each.
 *
 * @internal
 */
export const sweepDeadLetters = (
  database: Database,
  options: { readonly channel: string; readonly archiveAfterMillis: number; readonly deleteAfterMillis: number }
): Effect.Effect<ReadonlyArray<string>, SqlError> => {
  const { at } = database
  const old = (table: string, after: string) =>
    `select id from ${at}${table} where channel = $1::text and parked_at <= (select ${at}now()) - ${interval(`${after}::float8`)}
     order by parked_at limit 1000 for update skip locked`
  const remove = (table: string) => {
    const statement = named(
      database,
      `sweep_${table}`,
      `delete from ${at}${table} where id = any (array(${old(table, "$2")})) returning channel`
    )
    return Number.isFinite(options.deleteAfterMillis)
      ? channelsOf(database, statement, [options.channel, options.deleteAfterMillis])
      : Effect.succeed([])
  }
  const putAway = named(
    database,
    "sweep_archive",
    `with locked as materialized (${old("dead_letter", "$2")}), ${archiving(at, "locked")} select channel from archived`
  )
  return Effect.map(
    Effect.all([
      remove("dead_letter"),
      remove("archived_letter"),
      Number.isFinite(options.archiveAfterMillis)
        ? channelsOf(database, putAway, [options.channel, options.archiveAfterMillis])
        : Effect.succeed([])
    ]),
    (swept) => swept.flat()
  )
}

/**
 * All that a letter has, but for its life among the archived ones.
 *
 * @internal
 */
export const columns = `id, channel, message_id, tag, endpoint, payload, headers, priority, failures, attempt, reason, error,
  fingerprint, parked_at, ordering_key, place, original, edited_at`

/**
 * Letters by their ids, locked in the same order by all.
 *
 * @internal
 */
export const locked = (at: string, parameter: string): string =>
  `locked as materialized (
     select id from ${at}dead_letter where id = any (${parameter}::bigint[]) order by id for update
   )`

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const archiving = (at: string, from: string): string =>
  `taken as (delete from ${at}dead_letter d using ${from} f where d.id = f.id returning d.*),
   archived as (
     insert into ${at}archived_letter (${columns}, archived_at) select ${columns}, (select ${at}now()) from taken
     returning channel
   )`

const looksAt = ({ limit, text }: DeadLetterFilter): number => (text === undefined ? (limit ?? 100) + 1 : readForText)

const channelsOf = (
  database: Database,
  statement: Statement,
  params: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<string>, SqlError> =>
  Effect.map(database.run(statement, params), (rows) => rows.map((row) => text(row, "channel")))
