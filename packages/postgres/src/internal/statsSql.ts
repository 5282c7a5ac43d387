import { far } from "./flowSql.ts"

/**
 * Counts what is on channels, each kind by an index of its own and no further than to `_most`.
 *
 * @internal
 */
export const countSql = (at: string): string => {
  const { free, leased, queued, waiting } = {
    queued: `${at}queue q where q.channel = c.channel`,
    leased: `${at}message m where m.channel = c.channel and m.lease_until is not null`,
    free: `${at}message m where m.channel = c.channel and m.lease_until is null and m.ordering_key is null`,
    waiting: `${at}message m where m.channel = c.channel and m.lease_until is null and m.ordering_key is not null`
  }
  const scheduled = `${at}scheduled s where s.channel = c.channel`
  const now = "(select now from clock)"
  const ready = [
    capped(queued, "q.priority, q.id"),
    capped(leased, "m.lease_until"),
    capped(free, "m.priority desc, m.id"),
    capped(`${waiting} and m.available_at <= ${now}`, "m.available_at"),
    capped(`${scheduled} and s.due_at <= ${now}`, "s.due_at, s.id")
  ]
  const later = [
    capped(`${waiting} and m.available_at > ${now} and m.available_at < ${far}`, "m.available_at"),
    capped(`${scheduled} and s.due_at > ${now} and s.due_at < ${far}`, "s.due_at, s.id")
  ]
  // at the end of the indexes of the time
  const held = [
    capped(`${waiting} and m.available_at >= ${far}`, "m.available_at"),
    capped(`${scheduled} and s.due_at >= ${far}`, "s.due_at, s.id")
  ]
  return `
    with clock as materialized (select ${at}now() as now)
    select c.channel, least(_most, ${ready.join(" + ")}) as ready,
      least(_most, ${later.join(" + ")}) as scheduled,
      least(_most, ${held.join(" + ")}) as held,
      ${capped(`${at}dead_letter d where d.channel = c.channel`, "d.id")} as dead_letters,
      (extract(epoch from ${now} - least(
        (select min(available_at) from (select m.available_at from ${leased} order by m.lease_until limit _most) l),
        ${oldestQueued(queued)},
        ${oldestOf(free)},
        (select m.available_at from ${waiting} and m.available_at <= ${now} order by m.available_at limit 1),
        (select s.due_at from ${scheduled} and s.due_at <= ${now} order by s.due_at limit 1)
      )) * 1000)::float8 as age
    from unnest(_channels) with ordinality c (channel, place) order by c.place`
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** In the order of the index, so that the server reads no more than it counts. */
const capped = (rows: string, order: string): string =>
  `(select count(*) from (select from ${rows} order by ${order} limit _most) n)`

/** The first of each priority is the oldest of it: one probe of the index each. */
const oldestOf = (rows: string): string => `(
  with recursive first as (
    (select m.priority, m.available_at from ${rows} order by m.priority desc, m.id limit 1)
    union all
    select n.* from first cross join lateral (
      select m.priority, m.available_at from ${rows} and m.priority < first.priority order by m.priority desc, m.id limit 1
    ) n
  )
  select min(available_at) from (select available_at from first limit 100) f)`

/** The same of an index that rises: first the priorities, then the first of each. */
const oldestQueued = (rows: string): string => `(
  with recursive level as (
    (select q.priority from ${rows} order by q.priority desc limit 1)
    union all
    select n.priority from level cross join lateral (
      select q.priority from ${rows} and q.priority < level.priority order by q.priority desc limit 1
    ) n
  )
  select min(f.created_at) from (select priority from level limit 100) l cross join lateral (
    select q.created_at from ${rows} and q.priority = l.priority order by q.id limit 1
  ) f)`
