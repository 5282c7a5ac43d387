import { due, expired } from "../claimSql.ts"
import type { Migration } from "../migrations.ts"
import { anyReady } from "../orderSql.ts"
import * as Sql from "../queueSql.ts"

/** @internal */
export const queue: Migration = {
  id: 4,
  name: "queue",
  sql: (at) => [tables(at), waits(at), takeBack(at), claim(at), settle(at), comments(at)].join("\n")
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/**
 * Ids of both tables come from one sequence, so that a message keeps its age when it moves. Leases of a channel are
 * given out under one lock, so that their ids rise in the order of their commits.
 */
const tables = (at: string): string => `
create table ${at}queue (
  id bigint not null default nextval('${at}message_id_seq'),
  created_at timestamptz not null,
  priority integer not null,
  undelayed boolean not null,
  channel text collate "C" not null,
  message_id text not null,
  tag text not null,
  endpoint text not null,
  payload text not null,
  headers text not null,
  primary key (channel, priority, id)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000);

create table ${at}lease (
  id bigint not null,
  until timestamptz not null,
  from_id bigint not null,
  last_id bigint not null,
  priority integer not null,
  peers integer,
  begun boolean not null,
  channel text collate "C" not null,
  owner text not null,
  ids bigint[],
  primary key (channel, id)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

alter table ${at}message add column lease_begun boolean not null default true, add column lease_peers integer,
  add column suspects integer;
create view ${at}waiting as
  select id, channel, priority, message_id, tag, endpoint, payload, headers, failures, crashes, undelayed, ordering_key,
    created_at, available_at
  from ${at}message
  union all
  select id, channel, priority, message_id, tag, endpoint, payload, headers, '[]', 0, undelayed, null,
    created_at, created_at
  from ${at}queue;
create index message_suspect on ${at}message (channel, id) where suspects is not null;
`

/**
 * A session keeps the plans it made while the tables were empty: a scan of them was cheap then, and is not for long. With
 * the plans thus narrowed there is nothing to gain from making them anew for each claim.
 */
const indexed =
  "set enable_seqscan = off set enable_bitmapscan = off set jit = off set plan_cache_mode = force_generic_plan"

const look: Sql.Look = {
  channel: "_channel",
  priorities: "_priorities",
  lows: "_lows",
  lasts: "_lasts",
  leaseLow: "_lease_low"
}

/** Whether the queue has something to claim: above what is leased, or from the low marks on if it is to be swept. */
const waits = (at: string): string => `
create function ${at}queue_waits(_channel text, _priorities integer[], _lows bigint[], _lasts bigint[],
  _lease_low bigint, _sweep boolean)
returns boolean language plpgsql ${indexed} as $$
begin
  if _sweep then
    return ${Sql.anyUnknown(at, look)} or ${Sql.anyLeft(at, look)};
  end if;
  return ${Sql.anyUnknown(at, look)} or ${Sql.anyAbove(at, look)};
end $$;
`

/**
 * Takes back what lost consumers had. What one had begun alone counts as a crash. Of several, nobody knows which it was:
 * they become suspects, and those of them that are taken back later remember how many they were.
 */
const takeBack = (at: string): string => `
create function ${at}take_back(_channel text, _now timestamptz, _lease_low bigint)
returns void language plpgsql ${indexed} as $$
declare
  _rows bigint[] := array(${expired(at, "_channel", "_now")});
  _leases bigint[] := array(${Sql.expiredLeases(at, "_channel", "_now", "_lease_low")});
  _owner text;
  _begun integer;
begin
  for _owner in
    select m.lease_owner from ${at}message m where m.id = any (_rows)
    union select l.owner from ${at}lease l where l.channel = _channel and l.id = any (_leases)
  loop
    _begun := ${Sql.begun(at, "_channel", "_owner", "_lease_low")};
    if _begun > 1 then
      update ${at}message m set lease_peers = greatest(m.lease_peers, _begun)
      where m.id = any (array(
        select b.id from ${at}message b where b.channel = _channel and b.lease_until is not null and b.lease_begun
          and b.lease_owner is not distinct from _owner and b.id <> all (_rows) for update skip locked));
      update ${at}lease l set peers = greatest(l.peers, _begun)
      where l.channel = _channel and l.id = any (array(
        select b.id from ${at}lease b where b.channel = _channel and b.id >= _lease_low and b.begun
          and b.owner is not distinct from _owner and b.id <> all (_leases) for update skip locked));
    end if;
    with gone as (
      delete from ${at}lease l where l.channel = _channel and l.id = any (_leases) and l.owner = _owner
      returning l.channel, l.priority, l.from_id, l.last_id, l.ids, l.begun, greatest(l.peers, _begun) as peers
    ), moved as (
      delete from ${at}queue q using gone g where ${Sql.under("g", "q")}
      returning q.*, g.begun, g.peers
    )
    insert into ${at}message (id, channel, message_id, tag, endpoint, payload, headers, priority, undelayed, created_at,
      available_at, crashes, suspects)
    overriding system value
    select id, channel, message_id, tag, endpoint, payload, headers, priority, undelayed, created_at, created_at,
      case when begun and peers <= 1 then 1 else 0 end, case when begun and peers > 1 then peers end
    from moved order by id;
    update ${at}message m set
      crashes = m.crashes + case when m.lease_begun and greatest(m.lease_peers, _begun) <= 1 then 1 else 0 end,
      suspects = case when not m.lease_begun then m.suspects
        when greatest(m.lease_peers, _begun) > 1 then greatest(m.lease_peers, _begun) end,
      lease_token = null, lease_until = null, lease_owner = null, lease_peers = null, lease_begun = true
    where m.id = any (_rows) and m.lease_owner is not distinct from _owner;
  end loop;
end $$;
`

/**
 * One round trip: take back what lost consumers had, bring in what is due, hand out. What is handed out of the queue is
 * chosen under a lock of the channel, which ends with this statement, and is not written anywhere but in the lease.
 *
 * The last rows say where to look the next time, one for each priority (the low mark, and the highest id that was
 * leased), and one for all: the lowest lease, the time, and how far was swept for how many microseconds.
 */
const claim = (at: string): string => `
create function ${at}claim(_channel text, _limit integer, _lease_ms double precision, _owner text, _ahead boolean,
  _priorities integer[], _lows bigint[], _lasts bigint[], _lease_low bigint, _sweep integer, _short integer,
  _done bigint[])
returns table (id bigint, token bigint, priority integer, message_id text, tag text, endpoint text, payload text,
  headers text, undelayed boolean, available bigint, failures text, crashes integer, ordering_key text)
language plpgsql ${indexed} as $$
#variable_conflict use_column
declare
  _now timestamptz := ${at}now();
  _until timestamptz := _now + _lease_ms * interval '1 millisecond';
  _picked bigint[];
  _lanes bigint[];
  _alone boolean;
  _size integer;
  _left integer := _limit;
  _room integer;
  _found integer;
  _level integer := _sweep;
  _marks bigint[] := _lows;
  _taken integer := 0;
  _peers bigint[];
  _cost interval := interval '0';
  _begun timestamptz;
  _at integer;
  _below bigint;
  _priority integer;
  _from bigint;
  _low bigint;
  _highest bigint;
  _token bigint;
begin
  if cardinality(_done) > 0 then
    delete from ${at}lease l where l.channel = _channel and l.id = any (_done);
  end if;
  -- a pause waits for claims that have begun, and they for it: what is sent once it is there, none of them takes
  perform pg_advisory_xact_lock_shared(hashtextextended('${at}pause ' || _channel, 0));
  -- of a channel alone: the step "flow" has others
  if exists (select from ${at}paused p where p.channel = _channel and p.handler = '' and p.tenant = '') then
    return;
  end if;
  -- losing a claim to a crash of the server costs nothing but handling what it has taken again
  perform set_config('synchronous_commit', 'off', true);
  if current_setting('transaction_isolation') <> 'read committed' then
    -- a snapshot that is older than another claim must not miss it
    insert into ${at}consumed as c (channel, seen_at) values (_channel, _now)
    on conflict (channel) do update set seen_at = excluded.seen_at;
  end if;
  if exists (select from ${at}message m where m.channel = _channel and m.lease_until is not null and m.lease_until <= _now)
    or exists (select from ${at}lease l where l.channel = _channel and l.id >= _lease_low and l.until <= _now) then
    perform ${at}take_back(_channel, _now, _lease_low);
  end if;
  if exists (select from ${at}scheduled s where s.channel = _channel and s.due_at <= _now) then
    _alone := pg_try_advisory_xact_lock(hashtextextended('${at}scheduled ' || _channel, 0));
    with moved as (
      delete from ${at}scheduled where id = any (array(${due(at, "_channel", "_now", "_alone")})) returning *
    )
    insert into ${at}message (channel, message_id, tag, endpoint, payload, headers, priority, failures, crashes,
      undelayed, timer_owner, timer_name, ordering_key, created_at, available_at)
    select channel, message_id, tag, endpoint, payload, headers, priority, failures, crashes,
      undelayed, timer_owner, timer_name, ordering_key, created_at, due_at
    from moved order by due_at, id;
  end if;

  -- suspects travel alone: a consumer that has some gets nothing else, and one that is busy gets none, nor others
  if exists (select from ${at}message m where m.channel = _channel and m.suspects is not null) then
    if exists (select from ${at}message m where m.channel = _channel and m.suspects is not null
        and m.lease_until is not null and m.lease_owner = _owner) then
      return;
    end if;
    select m.suspects into _size from ${at}message m
    where m.id = (${Sql.suspects(at, "_channel", "_now", undefined, "1")});
    if _size is not null then
      if exists (select from ${at}message m where m.channel = _channel and m.lease_until is not null
          and m.lease_owner = _owner)
        or exists (select from ${at}lease l where l.channel = _channel and l.id >= _lease_low and l.owner = _owner) then
        return;
      end if;
      _picked := array(${Sql.suspects(at, "_channel", "_now", "_size", "least(_limit, greatest(1, _size / 2))")});
    end if;
  end if;

  if _picked is null then
    if ${anyReady(at, "_channel", "is not null")} then
      _lanes := array(
        select lane from ${at}claimable_lanes(_channel, _limit, _now) l (lane)
        where pg_try_advisory_xact_lock(hashtextextended('${at}' || _channel, lane))
      );
    end if;
    if cardinality(_lanes) > 0 then
      _picked := array(${Sql.nextOrdered(at, "_channel", "_limit", "_now", "_lanes")});
    elsif ${anyReady(at, "_channel", "is null")} then
      _picked := array(${Sql.next(at, "_channel", "_limit")});
    end if;
    _picked := coalesce(_picked, '{}');

    -- looks without the lock while there is nothing
    _begun := clock_timestamp();
    if _level = 2 then
      _marks := array_fill(0::bigint, array[cardinality(_lows)]);
    end if;
    if not ${at}queue_waits(_channel, _priorities, _marks, _lasts, _lease_low, _level > 0) then
      if _short > _level then
        _level := _short;
        if _level = 2 then
          _marks := array_fill(0::bigint, array[cardinality(_lows)]);
        end if;
        if not ${at}queue_waits(_channel, _priorities, _marks, _lasts, _lease_low, true) then
          _left := 0;
        end if;
      else
        _left := 0;
      end if;
    end if;
    if _level > 0 then
      _cost := clock_timestamp() - _begun;
    end if;
    if _left > 0 and not pg_try_advisory_xact_lock(hashtextextended('${at}queue ' || _channel, 0)) then
      if cardinality(_picked) > 0 then
        _left := 0;
      else
        perform pg_advisory_xact_lock(hashtextextended('${at}queue ' || _channel, 0));
      end if;
    end if;
${walk(at)}
    _picked := _picked[1:_limit - _taken];
  end if;

  if cardinality(_picked) > 0 then
    _token := nextval('${at}lease_token');
    return query
      update ${at}message m
      set lease_token = _token, lease_until = _until, lease_owner = _owner, lease_begun = not _ahead, lease_peers = null
      where m.id = any (_picked)
      returning m.id, _token, m.priority, m.message_id, m.tag, m.endpoint, m.payload, m.headers, m.undelayed,
        ${inMillis("m.available_at")}, m.failures, m.crashes, m.ordering_key;
  end if;
  return query
    select k.low, null::bigint, k.priority, null, null, null, null, null, null::boolean, k.last, null, null::integer, null
    from unnest(_priorities, _lows, _lasts) k (priority, low, last);
  return query
    select (select min(l.id) from ${at}lease l where l.channel = _channel and l.id >= _lease_low),
      null::bigint, null::integer, null, null, null, null, null, null::boolean,
      ${inMillis("_now")}, _level::text, (extract(epoch from _cost) * 1000000)::integer, null;
end $$;
`

/** From the most urgent priority down, those between the ones that the client knows included. */
const walk = (at: string): string => `
    while _left > 0 loop
      _at := 0;
      _below := 2147483648;
      loop
        _priority := (${Sql.priorityBetween(at, "_channel", "_below", "coalesce(_priorities[_at + 1]::bigint, -2147483649)")});
        if _priority is null then
          exit when _at >= cardinality(_priorities);
          _at := _at + 1;
          _priority := _priorities[_at];
        else
          _priorities := _priorities[1:_at] || _priority || _priorities[_at + 1:];
          _lows := _lows[1:_at] || 0::bigint || _lows[_at + 1:];
          _lasts := _lasts[1:_at] || 0::bigint || _lasts[_at + 1:];
          _at := _at + 1;
        end if;
        _below := _priority;
        _room := _left;
        if cardinality(_picked) > 0 then
          _room := _left - (select count(*) from ${at}message m where m.id = any (_picked) and m.priority > _priority);
          exit when _room <= 0;
          _peers := array(select m.id from ${at}message m where m.id = any (_picked) and m.priority = _priority order by m.id);
        end if;
        _highest := coalesce((${Sql.highest(at, "_channel", "_lease_low", "_priority")}), 0);
        _from := greatest(_lasts[_at], _highest);
        if _level > 0 then
          _begun := clock_timestamp();
          _low := (${Sql.lowest(at, "_channel", "_priority", "case when _level = 2 then 0 else _lows[_at] end")});
          _lows[_at] := coalesce(_low - 1, _from);
          _found := 0;
          if _low <= _highest then
            -- what was committed late lies among the rows of leases
            _token := nextval('${at}lease_token');
            return query ${taking(at, ranked(Sql.late(at, "_channel", "_priority", "_low - 1", "_highest", "_room", "_lease_low")), true)};
            get diagnostics _found = row_count;
            _taken := _taken + _found;
            _left := _left - _found;
            _room := _room - _found;
          end if;
          if _found = 0 then
            _cost := _cost + (clock_timestamp() - _begun);
          end if;
          exit when _left <= 0;
          continue when _low is null or _room <= 0;
          _from := greatest(_low - 1, _highest);
        end if;
        _token := nextval('${at}lease_token');
        if cardinality(_picked) = 0 then
          return query ${takingRange(at)};
        else
          return query ${taking(at, ranked(Sql.nextQueued(at, "_channel", "_priority", "_from", "_room")), false)};
        end if;
        get diagnostics _found = row_count;
        if _found > 0 then
          _taken := _taken + _found;
          _left := _left - _found;
          _lasts[_at] := greatest(_lasts[_at], (
            select l.last_id from ${at}lease l where l.channel = _channel and l.id = _token));
          exit when _left <= 0;
        end if;
      end loop;
      exit when _left <= cardinality(_picked) or _short <= _level;
      _level := _short;
    end loop;`

/** What of `message` has the same priority and a lower id comes first. */
const ranked = (rows: string): string =>
  `select r.* from (
     select n.*, row_number() over (order by n.id)
       + case when cardinality(_peers) > 0 then width_bucket(n.id, _peers) else 0 end as place
     from (${rows}) n
   ) r where r.place <= _room order by r.id`

/** Takes all that can be seen from one id to another. */
const takingRange = (at: string): string =>
  `with leased as (
     insert into ${at}lease (channel, id, priority, from_id, last_id, until, owner, begun)
     select _channel, _token, _priority, min(i.id), max(i.id), _until, _owner, not _ahead
     from (${Sql.nextQueuedIds(at, "_channel", "_priority", "_from", "_room")}) i having count(*) > 0
     returning from_id, last_id
   )
   select ${answered()} from leased l cross join lateral (
     select q.* from ${at}queue q where q.channel = _channel and q.priority = _priority
       and q.id >= l.from_id and q.id <= l.last_id order by q.id) t`

/** What lies among the rows of other leases is named one by one. */
const taking = (at: string, rows: string, amongLeased: boolean): string =>
  `with taken as materialized (${rows}), leased as (
     insert into ${at}lease (channel, id, priority, from_id, last_id, ids, until, owner, begun)
     select _channel, _token, _priority, min(t.id), max(t.id),
       ${amongLeased ? "array_agg(t.id)" : "null"}, _until, _owner, not _ahead
     from taken t having count(*) > 0
   )
   select ${answered()} from taken t`

const answered =
  (): string => `t.id, _token, _priority, t.message_id, t.tag, t.endpoint, t.payload, t.headers, t.undelayed,
     ${inMillis("t.created_at")}, null::text, null::integer, null::text`

/** Whole milliseconds since 1970. Times have microseconds: half of one makes up for what a float lacks. */
const inMillis = (time: string): string => `floor(date_part('epoch', ${time}) * 1000 + 0.0005)::bigint`

/**
 * Takes one message out of the queue if its lease holds, and keeps that from being taken away until the transaction ends.
 * Answers how many that were. The server would make a plan for every unit that settles a message, if it were asked for
 * this by a statement with arrays.
 */
const settle = (at: string): string => `
create function ${at}settle(_channel text, _priority integer, _id bigint, _token bigint)
returns bigint language plpgsql ${indexed} as $$
declare
  _settled bigint;
begin
  perform from ${at}lease l
    where l.channel = _channel and l.id = _token and l.until > ${at}now() for key share;
  if not found then
    return 0;
  end if;
  delete from ${at}queue q where q.channel = _channel and q.priority = _priority and q.id = _id;
  get diagnostics _settled = row_count;
  return _settled;
end $$;
`

const comments = (at: string): string =>
  Object.entries(documentation)
    .map(([object, text]) => `comment on ${object.replace("@", at)} is '${text.replaceAll("'", "''")}';`)
    .join("\n")

const documentation: Readonly<Record<string, string>> = {
  "view @waiting": "All messages that wait for a consumer or that one has claimed: those of message and those of queue",
  "table @queue": "Messages that were never tried: inserted and deleted, never updated; who has them stands in lease",
  "column @queue.undelayed": "A copy for a subscription, whose handler's own delay was not applied yet",
  "table @message":
    "Messages that wait for a consumer or that one has claimed, apart from those in queue: with an ordering key, tried before, or come due",
  "column @message.lease_begun":
    "Whether the consumer has begun with it, so that losing the consumer counts against it",
  "column @message.lease_peers":
    "How many its consumer had begun when another of them was found lost; renewing forgets it",
  "column @message.suspects":
    "One of so many messages that a lost consumer had begun: given out in smaller groups, apart from others",
  "table @lease": "Which messages of queue a consumer has claimed, in one row for each claim",
  "column @lease.id": "The fence: only who claimed under this token may settle; rises with every claim of the channel",
  "column @lease.until": "Once past, the claim is lost",
  "column @lease.from_id": "The first of the messages that were claimed",
  "column @lease.last_id": "The last of the messages that were claimed",
  "column @lease.ids":
    "The messages that were claimed; null if that is all that could be seen from the first to the last",
  "column @lease.begun": "Whether the consumer has begun with them, so that losing the consumer counts against them",
  "column @lease.peers": "As in message",
  "function @claim(text, integer, double precision, text, boolean, integer[], bigint[], bigint[], bigint, integer, integer, bigint[])":
    "Hands out the next messages of a channel under a lease, and says where to look the next time",
  "function @queue_waits(text, integer[], bigint[], bigint[], bigint, boolean)":
    "Whether the queue has something to claim, as far as the client knows where to look",
  "function @take_back(text, timestamptz, bigint)": "Takes back what lost consumers had"
}
