import type { SqlError } from "@effect/sql/SqlError"
import type { Flow, FlowState, Lease, Limit, Pause, PauseTarget } from "@holdfast/core/MessageStore"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { type Database, named } from "./database.ts"
import type { Held } from "./held.ts"
import { idOf, isQueued, numbers, priorityOf } from "./leaseKey.ts"
import type { Row } from "./pgQuery.ts"
import { bool, millis, number, storable, text } from "./rows.ts"

/** @internal */
export const pause = (
  database: Database,
  target: PauseTarget,
  reason: string | undefined
): Effect.Effect<void, SqlError> => {
  const statement = named(
    database,
    "pause",
    `with alone as materialized (
       select pg_advisory_xact_lock(hashtextextended('${database.at}pause ' || $1::text, 0)) as locked
     )
     insert into ${database.at}paused (channel, handler, tenant, reason, paused_at)
     select $1::text, $2::text, $3::text, $4::text, ${database.at}now() from alone
     on conflict (channel, handler, tenant) where resumed_at is null do nothing`
  )
  return Effect.asVoid(
    database.run(statement, [...parametersOf(target), reason === undefined ? null : storable(reason)])
  )
}

/** Ends a pause, and puts back what it held. Answers the channels that have something to claim now. @internal */
export const resume = (
  database: Database,
  target: PauseTarget,
  put: (channels: ReadonlySet<string>) => Effect.Effect<void>
): Effect.Effect<void, SqlError> => {
  if (isChannels(target))
    return Effect.zipRight(resumeChannel(database, target.channel), put(new Set([target.channel])))
  const statement = named(
    database,
    "resume",
    `update ${database.at}paused set resumed_at = ${database.at}now()
     where channel = $1::text and handler = $2::text and tenant = $3::text and resumed_at is null
     returning 'pause ' || id as key`
  )
  return Effect.flatMap(database.run(statement, parametersOf(target)), (rows) =>
    Effect.forEach(rows, (row) => putBack(database, text(row, "key"), put), { discard: true })
  )
}

/** @internal */
export const pauses = (database: Database): Effect.Effect<ReadonlyArray<Pause>, SqlError> => {
  const { at } = database
  const held = (key: string) => `(select count(*) from ${at}scheduled where held_by = ${key})
     + (select count(*) from ${at}message where held_by = ${key})`
  const statement = named(
    database,
    "pauses",
    `select case when place = 0 then 'channel ' || channel else 'pause ' || id end as key, channel, handler, tenant,
       reason, ${millis("paused_at")} as paused_at, case when place = 0 then 0 else ${held("'pause ' || p.id")} end as held
     from (
       select *, case when handler = '' and tenant = '' then 0 else 1 end as place from ${at}paused
       where resumed_at is null
     ) p
     order by place, case when place = 0 then channel end, id`
  )
  return Effect.map(database.run(statement, []), (rows) =>
    rows.map((row) => ({
      ...targetOf(row),
      pausedAt: number(row, "paused_at"),
      reason: row.reason ?? undefined,
      held: number(row, "held")
    }))
  )
}

/** Answers the channels of those that were given back instead. @internal */
export const hold = (
  database: Database,
  claimed: Held,
  leases: ReadonlyArray<Lease>,
  by: string
): Effect.Effect<ReadonlySet<string>, SqlError> => {
  const statement = named(
    database,
    "hold",
    `select channel from ${database.at}hold(
       $1::text, $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::int[], $7::bigint[]) h (channel)`
  )
  const [others, queued] = Arr.partition(leases, isQueued)
  const sorted = others.toSorted((self, that) => Number(self.key) - Number(that.key))
  const parameters = [
    ...[numbers(sorted.map(({ key }) => key)), numbers(sorted.map(({ token }) => token))],
    ...[queued.map(({ channel }) => channel), numbers(queued.map(({ token }) => token))],
    ...[numbers(queued.map(priorityOf)), numbers(queued.map(idOf))]
  ]
  return Effect.map(database.run(statement, [by, ...parameters]), (rows) => {
    for (const lease of queued) claimed.settled(lease)
    return new Set(rows.map((row) => text(row, "channel")))
  })
}

/** @internal */
export const take = (
  database: Database,
  { leaseMillis, owner, requests }: Parameters<Flow["take"]>[0]
): Effect.Effect<ReadonlyArray<string | undefined>, SqlError> => {
  const limits = new Map<string, Limit>()
  for (const limit of requests.flat()) limits.set(limit.name, limit)
  const statement = named(
    database,
    "take",
    `select refused from ${database.at}take($1::text, $2::float8, $3::jsonb, $4::jsonb) t (refused)`
  )
  const names = requests.map((request) => request.map(({ name }) => name))
  return Effect.map(
    database.run(statement, [owner, leaseMillis, JSON.stringify([...limits.values()]), JSON.stringify(names)]),
    (rows) => rows.map((row) => row.refused ?? undefined)
  )
}

/** Answers the channels that have messages held by those limits. @internal */
export const giveBack = (
  database: Database,
  owner: string,
  names: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<string>, SqlError> => {
  const { at } = database
  const statement = named(
    database,
    "give_back",
    `with gone as materialized (
       select name, count(*)::int as count from unnest($2::text[]) n (name) group by name
     ), given as (
       update ${at}flow_permit p set count = p.count - g.count from gone g
       where p.name = g.name and p.owner = $1::text and p.count > g.count
     ), ended as (
       delete from ${at}flow_permit p using gone g where p.name = g.name and p.owner = $1::text and p.count <= g.count
     )
     select distinct channel from ${at}flow_limit where name in (select name from gone) and waiting`
  )
  return Effect.map(database.run(statement, [owner, names]), (rows) => rows.map((row) => text(row, "channel")))
}

/** @internal */
export const renew = (
  database: Database,
  owner: string,
  leaseMillis: number,
  permits: ReadonlyArray<{ readonly name: string; readonly count: number }>
): Effect.Effect<void, SqlError> => {
  const { at } = database
  const statement = named(
    database,
    "renew_permits",
    `with held as materialized (select * from unnest($3::text[], $4::int[]) h (name, count)), gone as (
       delete from ${at}flow_permit where owner = $1::text and name not in (select name from held)
     )
     update ${at}flow_permit p
     set count = least(p.count, h.count), until = ${at}now() + ($2::float8 * interval '1 millisecond')
     from held h where p.name = h.name and p.owner = $1::text and p.until > ${at}now()`
  )
  const columns = [permits.map(({ name }) => name), permits.map(({ count }) => count)]
  return Effect.asVoid(database.run(statement, [owner, leaseMillis, ...columns]))
}

/** @internal */
export const refresh = (
  database: Database,
  channel: string,
  put: (channels: ReadonlySet<string>) => Effect.Effect<void>
): Effect.Effect<FlowState, SqlError> => {
  const { at } = database
  const statement = named(
    database,
    "flow",
    `select 'pause ' || id as key, channel, handler, tenant, resumed_at is not null as resumed
     from ${at}paused where (channel = '' or channel = $1::text) and (handler <> '' or tenant <> '')
     union all
     select '', $1::text, '', '', false
     where exists (select from ${at}flow_limit where channel = $1::text and waiting)`
  )
  return Effect.gen(function* () {
    const rows = yield* database.run(statement, [channel])
    for (const row of rows) if (bool(row, "resumed")) yield* putBack(database, text(row, "key"), put)
    const limited = rows.some((row) => row.key === "")
    return {
      pauses: rows.filter((row) => row.key !== "" && !bool(row, "resumed")).map(targetOf),
      nextMillis: limited ? yield* admit(database, channel, put) : undefined
    }
  })
}

/** Answers when there may be room for more. @internal */
export const admit = (
  database: Database,
  channel: string,
  put: (channels: ReadonlySet<string>) => Effect.Effect<void>
): Effect.Effect<number | undefined, SqlError> => {
  const statement = named(database, "admit", `select moved, next_ms from ${database.at}admit($1::text)`)
  return Effect.flatMap(database.run(statement, [channel]), ([row]) =>
    Effect.as(
      number(row!, "moved") > 0 ? put(new Set([channel])) : Effect.void,
      row!.next_ms === null ? undefined : Math.max(1, number(row!, "next_ms"))
    )
  )
}

/** Forgets limits that nobody has asked for a day: those of keys that come no more. @internal */
export const sweep = (database: Database): Effect.Effect<void, SqlError> => {
  const { at } = database
  const limits = named(
    database,
    "sweep_flow",
    `with gone as materialized (
       select name from ${at}flow_limit f
       where used_at < (select ${at}now()) - interval '1 day' - coalesce(interval_ms, 0) * interval '1 millisecond'
         and not waiting and not exists (
           select from ${at}flow_permit p where p.name = f.name and p.until > (select ${at}now()))
       order by used_at limit ${batch} for update skip locked
     ), grants as (
       delete from ${at}flow_grant where name in (select name from gone)
     ), permits as (
       delete from ${at}flow_permit where name in (select name from gone)
     )
     delete from ${at}flow_limit where name in (select name from gone) returning 1`
  )
  const untilDone: Effect.Effect<void, SqlError> = Effect.flatMap(database.run(limits, []), (rows) =>
    rows.length < batch ? Effect.void : untilDone
  )
  return untilDone
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const batch = 1_000

/** In batches, so that consumers begin while the rest is put back; then the pause is forgotten. */
const putBack = (
  database: Database,
  key: string,
  put: (channels: ReadonlySet<string>) => Effect.Effect<void>
): Effect.Effect<void, SqlError> => {
  const { at } = database
  const channels = named(
    database,
    "held_channels",
    `select channel from ${at}scheduled where held_by = $1::text
     union select channel from ${at}message where held_by = $1::text`
  )
  const letGo = named(database, "let_go", `select ${at}let_go($1::text, $2::int) as moved`)
  const forget = named(
    database,
    "flow_forget",
    `delete from ${at}paused where id = substr($1::text, 7)::bigint
       and not exists (select from ${at}scheduled where held_by = $1::text)
       and not exists (select from ${at}message where held_by = $1::text)`
  )
  return Effect.flatMap(database.run(channels, [key]), (rows) => {
    const woken = new Set(rows.map((row) => text(row, "channel")))
    const next: Effect.Effect<void, SqlError> = Effect.flatMap(database.run(letGo, [key, batch]), ([row]) =>
      number(row!, "moved") === 0 ? Effect.void : Effect.zipRight(put(woken), next)
    )
    return Effect.zipRight(next, Effect.asVoid(database.run(forget, [key])))
  })
}

/** Of a channel's pause nothing is held. */
const resumeChannel = (database: Database, channel: string): Effect.Effect<void, SqlError> => {
  const statement = named(
    database,
    "resume_channel",
    `delete from ${database.at}paused where channel = $1::text and handler = '' and tenant = ''`
  )
  return Effect.asVoid(database.run(statement, [channel]))
}

const isChannels = (target: PauseTarget): target is PauseTarget & { readonly channel: string } =>
  target.channel !== undefined && target.handler === undefined && target.tenant === undefined

const parametersOf = ({ channel, handler, tenant }: PauseTarget) => [channel ?? "", handler ?? "", tenant ?? ""]

const targetOf = (row: Row): PauseTarget & { readonly key: string } => {
  const named = (column: "channel" | "handler" | "tenant") => {
    const value = text(row, column)
    return value === "" ? undefined : { [column]: value }
  }
  return { key: text(row, "key"), ...named("channel"), ...named("handler"), ...named("tenant") }
}
