import { first, isFree, lane } from "./orderSql.ts"

/** What `message` and `queue` hand out, as far as the client knows where to look: the arguments of `claim`. */
export interface Look {
  readonly channel: string
  readonly priorities: string
  readonly lows: string
  readonly lasts: string
  readonly leaseLow: string
}

/** The rows of a priority in the queue that nobody has leased yet, from a mark on. */
export const above = (at: string, channel: string, priority: string, mark: string): string =>
  `${at}queue q where q.channel = ${channel} and q.priority = ${priority} and q.id > ${mark}`

/** Whether a row of the queue is under a lease. */
export const under = (lease: string, row: string): string =>
  `${row}.channel = ${lease}.channel and ${row}.priority = ${lease}.priority
   and ${row}.id between ${lease}.from_id and ${lease}.last_id and (${lease}.ids is null or ${row}.id = any (${lease}.ids))`

/** The highest id of a priority that is under a lease. */
export const highest = (at: string, channel: string, leaseLow: string, priority: string): string =>
  `select max(l.last_id) from ${at}lease l
   where l.channel = ${channel} and l.id >= ${leaseLow} and l.priority = ${priority}`

/** Whether a priority that the client has no mark of has rows. */
export const anyUnknown = (at: string, { channel, priorities }: Look): string =>
  `exists (select from unnest(array[2147483648]::bigint[] || ${priorities}::bigint[],
       ${priorities}::bigint[] || array[-2147483649]::bigint[]) g (above, below),
     lateral (select from ${at}queue q where q.channel = ${channel} and q.priority < g.above and q.priority > g.below
       limit 1) found)`

/** Whether there are rows above all that is leased and above a mark. */
const anyHigher = (at: string, { channel, leaseLow, priorities }: Look, marks: string): string =>
  `exists (select from unnest(${priorities}, ${marks}) k (priority, mark),
     lateral (select from ${above(at, channel, "k.priority", `greatest(k.mark, (${highest(at, channel, leaseLow, "k.priority")}))`)}
       limit 1) found)`

/** Whether there are rows above all that is leased and that the client has seen. */
export const anyAbove = (at: string, look: Look): string => anyHigher(at, look, look.lasts)

/** Whether there are rows that nobody has leased, from the low marks on. */
export const anyLeft = (at: string, look: Look): string =>
  `(${anyHigher(at, look, look.lows)} or exists (select from unnest(${look.priorities}, ${look.lows}) k (priority, low),
     lateral (${lateIds(at, look.channel, "k.priority", "k.low", `(${highest(at, look.channel, look.leaseLow, "k.priority")})`, "1", look.leaseLow)}) found))`

/** The next ids of a priority, from above all that is leased. */
export const nextQueuedIds = (at: string, channel: string, priority: string, mark: string, limit: string): string =>
  `select q.id from ${above(at, channel, priority, mark)} order by q.id limit ${limit}`

/** The next rows of a priority, from above all that is leased. */
export const nextQueued = (at: string, channel: string, priority: string, mark: string, limit: string): string =>
  `select ${columns} from ${above(at, channel, priority, mark)} order by q.id limit ${limit}`

/** The ids between two marks that are not leased. The leased ones are listed, so that many leases do no harm. */
const lateIds = (
  at: string,
  channel: string,
  priority: string,
  mark: string,
  highest: string,
  limit: string,
  leaseLow: string
): string =>
  `select q.id from ${above(at, channel, priority, mark)} and q.id <= ${highest}
   except select u.id from ${at}lease l cross join lateral (
     select u.id from ${at}queue u where ${under("l", "u")} and u.id > ${mark}) u
   where l.channel = ${channel} and l.id >= ${leaseLow} and l.priority = ${priority}
   order by id limit ${limit}`

/** The rows of a priority that nobody has leased, among those that are. */
export const late = (
  at: string,
  channel: string,
  priority: string,
  mark: string,
  highest: string,
  limit: string,
  leaseLow: string
): string =>
  `select ${columns} from (${lateIds(at, channel, priority, mark, highest, limit, leaseLow)}) n
   join ${at}queue q on q.channel = ${channel} and q.priority = ${priority} and q.id = n.id
   order by q.id`

const columns = "q.id, q.message_id, q.tag, q.endpoint, q.payload, q.headers, q.undelayed, q.created_at"

/** The lowest row that is still there. */
export const lowest = (at: string, channel: string, priority: string, mark: string): string =>
  `select q.id from ${above(at, channel, priority, mark)} order by q.id limit 1`

/** The highest priority with rows between two others. */
export const priorityBetween = (at: string, channel: string, below: string, above: string): string =>
  `select q.priority from ${at}queue q
   where q.channel = ${channel} and q.priority < ${below} and q.priority > ${above} order by q.priority desc limit 1`

/** Leases on the queue that ran out. A unit that is just being settled keeps its own. */
export const expiredLeases = (at: string, channel: string, now: string, leaseLow: string): string =>
  `select l.id from ${at}lease l where l.channel = ${channel} and l.id >= ${leaseLow} and l.until <= ${now}
   order by l.id limit 100 for update skip locked`

/** The next of `message` to hand out, of those without an ordering key. */
export const next = (at: string, channel: string, limit: string): string =>
  `select id from ${at}message
   where channel = ${channel} and lease_until is null and ordering_key is null and suspects is null
   order by priority desc, id limit ${limit} for update skip locked`

/** Those, and the messages that are first of a lane which can be claimed. */
export const nextOrdered = (at: string, channel: string, limit: string, now: string, lanes: string): string =>
  `with ordered as materialized (
     select m.id, m.priority from unnest(${lanes}) l (lane)
     join lateral (${first(at, channel, "l.lane", "f.id")}) f on true
     join ${at}message m on m.id = f.id
     where m.available_at <= ${now} and m.suspects is null and ${isFree(at, channel, "l.lane")}
     for update of m skip locked
   ), unordered as materialized (
     select id, priority from ${at}message
     where channel = ${channel} and lease_until is null and ordering_key is null and suspects is null
     order by priority desc, id limit ${limit} for update skip locked
   )
   select id from (select * from ordered union all select * from unordered) n
   order by priority desc, id limit ${limit}`

/** Messages that may have killed their consumer and can be claimed, of groups of a size, or of any. */
export const suspects = (at: string, channel: string, now: string, size: string | undefined, limit: string): string =>
  `select s.id from ${at}message s
   where s.channel = ${channel} and s.suspects is not null and s.lease_until is null
     ${size === undefined ? "" : `and s.suspects = ${size}`}
     and case when s.ordering_key is null then true
       else s.available_at <= ${now} and s.id = (${first(at, channel, lane("s"), "f.id")})
         and ${isFree(at, channel, lane("s"))}
         and pg_try_advisory_xact_lock(hashtextextended('${at}' || ${channel}, ${lane("s")})) end
   order by s.priority desc, s.id limit ${limit} for update of s skip locked`

/** How many messages a consumer has begun, whether or not its leases on them have run out. */
export const begun = (at: string, channel: string, owner: string, leaseLow: string): string =>
  `(select count(*) from ${at}message b where b.channel = ${channel} and b.lease_until is not null
     and b.lease_begun and b.lease_owner is not distinct from ${owner})
   + (select count(*) from ${at}lease l join ${at}queue q on ${under("l", "q")}
     where l.channel = ${channel} and l.id >= ${leaseLow} and l.begun and l.owner is not distinct from ${owner})`
