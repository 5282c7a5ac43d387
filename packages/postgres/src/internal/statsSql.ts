/**
 * Counts what is on channels, each kind by an index of its own and no further than to `_most`.
 *
 * @internal
 */
export const countSql = (at: string): string => {
  const { leased, free, waiting } = {
    leased: `${at}message m where m.channel = c.channel and m.lease_until is not null`,
    free: `${at}message m where m.channel = c.channel and m.lease_until is null and m.ordering_key is null`,
    waiting: `${at}message m where m.channel = c.channel and m.lease_until is null and m.ordering_key is not null`
  }
  const scheduled = `${at}scheduled s where s.channel = c.channel`
  const now = "(select now from clock)"
  const ready = [leased, free, `${waiting} and m.available_at <= ${now}`, `${scheduled} and s.due_at <= ${now}`]
  const later = [`${waiting} and m.available_at > ${now}`, `${scheduled} and s.due_at > ${now}`]
  return `
    with clock as materialized (select ${at}now() as now)
    select c.channel, least(_most, ${ready.map(capped).join(" + ")}) as ready,
      least(_most, ${later.map(capped).join(" + ")}) as scheduled,
      ${capped(`${at}dead_letter d where d.channel = c.channel`)} as dead_letters,
      (extract(epoch from ${now} - least(
        (select min(available_at) from (select m.available_at from ${leased} limit _most) l),
        ${oldestOf(free)},
        (select m.available_at from ${waiting} and m.available_at <= ${now} order by m.available_at limit 1),
        (select s.due_at from ${scheduled} and s.due_at <= ${now} order by s.due_at limit 1)
      )) * 1000)::float8 as age
    from unnest(_channels) with ordinality c (channel, place) order by c.place`
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const capped = (rows: string): string => `(select count(*) from (select from ${rows} limit _most) n)`

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
