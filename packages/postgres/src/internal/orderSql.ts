/**
 * What messages of one ordering key have in common, besides their channel: a number for the endpoint and the key. Two
 * keys of one number wait for each other, which costs them time and nothing else.
 *
 * @internal
 */
export const lane = (row: string): string =>
  `hashtextextended(${row}.ordering_key, hashtextextended(${row}.endpoint, 0))`

/** Whether messages with or without an ordering key wait: the most urgent, since an index leads straight there. */
export const anyReady = (at: string, channel: string, orderingKey: "is null" | "is not null"): string =>
  `(select priority from ${at}message
   where channel = ${channel} and lease_until is null and ordering_key ${orderingKey}
   order by priority desc limit 1) is not null`

/** Whether nobody of the lane is claimed, and no dead letter holds it up. */
export const isFree = (at: string, channel: string, number: string): string =>
  `(select 1 from ${at}message c where c.channel = ${channel} and ${lane("c")} = ${number}
     and c.ordering_key is not null and c.lease_until is not null limit 1) is null
   and (select 1 from ${at}dead_letter d where d.channel = ${channel} and ${lane("d")} = ${number}
     and d.ordering_key <> '' and d.place is not null limit 1) is null`

/** The first message of a lane. */
export const first = (at: string, channel: string, number: string, columns: string): string =>
  `select ${columns} from ${at}message f
   where f.channel = ${channel} and ${lane("f")} = ${number} and f.ordering_key is not null order by f.id limit 1`

/** The messages without an ordering key that are next, and those that are first of a lane which can be claimed. */
export const nextOrdered = (at: string, channel: string, limit: string, now: string, lanes: string): string =>
  `with ordered as materialized (
     select m.id, m.priority from unnest(${lanes}) l (lane)
     join lateral (${first(at, channel, "l.lane", "f.id")}) f on true
     join ${at}message m on m.id = f.id
     where m.available_at <= ${now} and ${isFree(at, channel, "l.lane")}
     for update of m skip locked
   ), unordered as materialized (
     select id, priority from ${at}message
     where channel = ${channel} and lease_until is null and ordering_key is null
     order by priority desc, id limit ${limit} for update skip locked
   )
   select id from (select * from ordered union all select * from unordered) n
   order by priority desc, id limit ${limit}`

/**
 * The lanes of a priority from one number to another whose first message, of that priority, can be claimed. One index
 * probe leads from each lane to the next, so that it does not matter how many messages wait in them.
 */
export const lanes = (at: string, range: Range): string => {
  const { channel, from, limit, now, priority, to } = range
  const after = (bound: string, looked: string) =>
    `select m.id, ${lane("m")} as lane, ${looked} as looked, m.available_at from ${at}message m
     where m.channel = ${channel} and m.priority = ${priority} and ${lane("m")} ${bound} and ${lane("m")} <= ${to}
       and m.ordering_key is not null and m.lease_until is null
     order by ${lane("m")}, m.id limit 1`
  return `with recursive walk as (
      (${after(`>= ${from}`, "1")})
      union all
      select n.* from walk w cross join lateral (${after("> w.lane", "w.looked + 1")}) n where w.looked < ${most}
    )
    select w.lane from walk w
    where w.available_at <= ${now} and w.id = (${first(at, channel, "w.lane", "f.id")})
      and ${isFree(at, channel, "w.lane")}
    limit ${limit}`
}

/**
 * Lanes that can be claimed among those of the newest messages: a key that had none until now is found at once, however
 * many others are held up.
 */
export const newest = (at: string, { channel, limit, now }: Pick<Range, "channel" | "limit" | "now">): string =>
  `select n.lane from (
     select min(id) as id, lane from (
       select m.id, m.channel, m.ordering_key, m.lease_until, ${lane("m")} as lane from ${at}message m
       order by m.id desc limit ${some}
     ) r
     where r.channel = ${channel} and r.ordering_key is not null and r.lease_until is null group by lane
   ) n
   join ${at}message m on m.id = n.id
   where m.available_at <= ${now} and n.id = (${first(at, channel, "n.lane", "f.id")})
     and ${isFree(at, channel, "n.lane")}
   limit ${limit}`

/** @internal */
export interface Range {
  readonly channel: string
  readonly priority: string
  readonly from: string
  readonly to: string
  readonly now: string
  readonly limit: string
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** At how many lanes one claim looks: if none of them is free, the next claim begins elsewhere. */
const most = 1_000

/** At how many of the newest messages, if it found no lane. */
const some = 200
