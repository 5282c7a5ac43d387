import { far, oldestHeld } from "../flowSql.ts"
import type { Migration } from "../migrations.ts"
import { content, interval, reschedulable } from "../rows.ts"

/** @internal */
export const flow: Migration = {
  id: 6,
  name: "flow",
  sql: (at) => [tables(at), hold(at), letGo(at), take(at), admit(at), comments(at)].join("\n")
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Held messages are due at the end of all times, so that nobody polls over them. */
const tables = (at: string): string => `
alter table ${at}message add column held_by text, add column held_from timestamptz;
alter table ${at}scheduled add column held_by text, add column held_from timestamptz;
create index message_held on ${at}message (held_by, created_at, id) where held_by is not null;
create index scheduled_held on ${at}scheduled (held_by, created_at, id) where held_by is not null;

alter table ${at}paused drop constraint paused_pkey,
  add column id bigint generated always as identity primary key,
  add column handler text not null default '',
  add column tenant text not null default '',
  add column resumed_at timestamptz;
create unique index paused_target on ${at}paused (channel, handler, tenant) where resumed_at is null;

create table ${at}flow_limit (
  name text primary key,
  channel text not null,
  quantity integer not null,
  interval_ms double precision,
  waiting boolean not null default false,
  tickets integer not null default 0,
  tickets_until timestamptz not null default '-infinity',
  used_at timestamptz not null
) with (fillfactor = 50);
create index flow_limit_waiting on ${at}flow_limit (channel, name) where waiting;
create index flow_limit_used on ${at}flow_limit (used_at);

create table ${at}flow_grant (
  name text not null,
  slot timestamptz not null,
  count integer not null,
  primary key (name, slot)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);

create table ${at}flow_permit (
  name text not null,
  owner text not null,
  count integer not null,
  until timestamptz not null,
  primary key (name, owner)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
create index flow_permit_owner on ${at}flow_permit (owner);
`

/**
 * Sets messages aside: those of `message`, then those of `queue`, which leave it. The pause or limit is locked first: who
 * resumes it or lets its messages go sees these, or is seen here. Answers the channels of those that were given back
 * instead, since their pause has ended.
 */
const hold = (at: string): string => `
create function ${at}hold(_by text, _ids bigint[], _tokens bigint[], _channels text[], _leases bigint[],
  _priorities integer[], _queued bigint[])
returns setof text language plpgsql as $$
declare
  _now timestamptz;
begin
  if _by like 'pause %' then
    perform from ${at}paused where id = substr(_by, 7)::bigint and resumed_at is null for share;
  else
    update ${at}flow_limit set waiting = true where name = _by;
  end if;
  if not found then
    _now := ${at}now();
    return query
      update ${at}message m set ${free}
      from unnest(_ids, _tokens) l (id, token)
      where ${leased} returning m.channel;
    return query
      with ${dequeued(at)}, released as (
        insert into ${at}message (id, ${queueColumns}, available_at) overriding system value
        select id, ${queueColumns}, created_at from gone order by id
      )
      select distinct channel from gone;
    return;
  end if;
  _now := ${at}now();
  update ${at}message m
  set ${free}, suspects = null, held_by = _by, held_from = m.available_at, available_at = ${far}
  from unnest(_ids, _tokens) l (id, token)
  where ${leased} and m.ordering_key is not null;
  with held as (
    delete from ${at}message m using unnest(_ids, _tokens) l (id, token)
    where ${leased} and m.ordering_key is null returning m.*
  )
  insert into ${at}scheduled (${content}, due_at, held_by, held_from)
  select ${reschedulable(at, "held", "failures")}, ${far}, _by, available_at from held order by id;
  if cardinality(_queued) > 0 then
    with ${dequeued(at)}
    insert into ${at}scheduled (${queueColumns}, due_at, held_by, held_from)
    select ${queueColumns}, ${far}, _by, created_at from gone order by id;
  end if;
end $$;
`

const free = "lease_token = null, lease_until = null, lease_owner = null, lease_peers = null, lease_begun = true"

const leased = "m.id = l.id and m.lease_token = l.token and m.lease_until > _now"

const queueColumns = "channel, message_id, tag, endpoint, payload, headers, priority, undelayed, created_at"

/** Takes messages out of the queue whose leases hold. */
const dequeued = (at: string): string =>
  `leases as materialized (
        select l.channel as lease_channel, l.id as token from ${at}lease l
        where (l.channel, l.id) in (select * from unnest(_channels, _leases)) and l.until > _now
        order by l.id for key share
      ), gone as (
        delete from ${at}queue q using unnest(_channels, _leases, _priorities, _queued) k (channel, token, priority, id)
        join leases h on h.lease_channel = k.channel and h.token = k.token
        where q.channel = k.channel and q.priority = k.priority and q.id = k.id
        returning q.*
      )`

/** Puts the oldest of the held messages back, as they were before. Answers their number. */
const letGo = (at: string): string => `
create function ${at}let_go(_by text, _limit integer) returns integer language plpgsql
set enable_seqscan = off set jit = off as $$
declare
  _ids bigint[];
  _in_place bigint[];
begin
  select array_agg(id) filter (where not in_place), array_agg(id) filter (where in_place) into _ids, _in_place
  from (${oldestHeld(at, "_by", "_limit")}) o;
  update ${at}scheduled set due_at = least(held_from, ${at}now()), held_by = null, held_from = null
  where id = any (_ids) and held_by = _by;
  update ${at}message set available_at = held_from, held_by = null, held_from = null
  where id = any (_in_place) and held_by = _by;
  return coalesce(cardinality(_ids), 0) + coalesce(cardinality(_in_place), 0);
end $$;
`

/**
 * Grants requests in their order, each whole or not at all. Limits are locked in the order of their names, so that two
 * consumers that ask at once are served one after the other. What a window has left is told from the grants in it: each
 * counts from the end of its fiftieth of the window, never from before.
 */
const take = (at: string): string => `
create function ${at}take(_owner text, _lease_ms double precision, _limits jsonb, _requests jsonb)
returns setof text language plpgsql set enable_seqscan = off set jit = off as $$
declare
  _now timestamptz;
  _limit record;
  _request jsonb;
  _name text;
  _refused text;
  _free jsonb := '{}';
  _taken jsonb := '{}';
  _used bigint;
  _step double precision;
begin
  insert into ${at}flow_limit (name, channel, quantity, interval_ms, used_at)
  select l.name, l.channel, l."limit", l."intervalMillis", ${at}now()
  from jsonb_to_recordset(_limits) l (name text, channel text, "limit" integer, "intervalMillis" double precision)
  order by l.name
  on conflict (name) do update
  set channel = excluded.channel, quantity = excluded.quantity, interval_ms = excluded.interval_ms,
    used_at = excluded.used_at
  where flow_limit.channel <> excluded.channel or flow_limit.quantity <> excluded.quantity
    or flow_limit.interval_ms is distinct from excluded.interval_ms
    or flow_limit.used_at < excluded.used_at - interval '1 minute';
  _now := ${at}now();
  for _limit in
    select f.* from ${at}flow_limit f join jsonb_to_recordset(_limits) l (name text) on l.name = f.name
  loop
    if _limit.interval_ms is null then
      delete from ${at}flow_permit where name = _limit.name and until <= _now;
      select coalesce(sum(count), 0) into _used from ${at}flow_permit where name = _limit.name;
    else
      delete from ${at}flow_grant
      where name = _limit.name and slot <= _now - ${interval("_limit.interval_ms")};
      select coalesce(sum(count), 0) into _used from ${at}flow_grant where name = _limit.name;
    end if;
    _used := _limit.quantity - _used;
    if _limit.waiting then
      _used := least(_used, case when _limit.tickets_until > _now then _limit.tickets else 0 end);
    end if;
    _free := jsonb_set(_free, array[_limit.name], to_jsonb(_used));
  end loop;
  for _request in select value from jsonb_array_elements(_requests) loop
    _refused := null;
    for _name in select value from jsonb_array_elements_text(_request) loop
      if (_free ->> _name)::bigint <= coalesce((_taken ->> _name)::bigint, 0) then
        _refused := _name;
        exit;
      end if;
    end loop;
    if _refused is null then
      for _name in select value from jsonb_array_elements_text(_request) loop
        _taken := jsonb_set(_taken, array[_name], to_jsonb(coalesce((_taken ->> _name)::bigint, 0) + 1));
      end loop;
    end if;
    return next _refused;
  end loop;
  for _limit in
    select f.*, t.value::integer as taken from jsonb_each_text(_taken) t join ${at}flow_limit f on f.name = t.key
  loop
    if _limit.interval_ms is null then
      insert into ${at}flow_permit as p (name, owner, count, until)
      values (_limit.name, _owner, _limit.taken, _now + ${interval("_lease_ms")})
      on conflict (name, owner) do update
      set count = case when p.until > _now then p.count else 0 end + excluded.count, until = excluded.until;
    else
      _step := greatest(1, _limit.interval_ms / 50);
      insert into ${at}flow_grant as g (name, slot, count)
      values (
        _limit.name, to_timestamp(ceil(extract(epoch from _now)::float8 * 1000 / _step) * _step / 1000), _limit.taken)
      on conflict (name, slot) do update set count = g.count + excluded.count;
    end if;
    if _limit.waiting then
      update ${at}flow_limit set tickets = greatest(0, tickets - _limit.taken) where name = _limit.name;
    end if;
  end loop;
end $$;
`

/**
 * Lets as many held messages go as the limits of the channel have room for, and gives them tickets for two seconds, so
 * that others do not take their turn. A limit that nobody asks for any more, since its handler has it no longer, lets go
 * twice as many each time. Answers after how many milliseconds there may be room for more: nothing if no more are held.
 */
const admit = (at: string): string => `
create function ${at}admit(_channel text, out moved integer, out next_ms double precision) language plpgsql
set enable_seqscan = off set jit = off as $$
declare
  _now timestamptz;
  _limit record;
  _used bigint;
  _until timestamptz;
  _tickets integer;
  _moved integer;
begin
  moved := 0;
  for _limit in
    select * from ${at}flow_limit where channel = _channel and waiting order by name for update skip locked
  loop
    _now := ${at}now();
    if _limit.interval_ms is null then
      select coalesce(sum(count), 0), min(until) into _used, _until
      from ${at}flow_permit where name = _limit.name and until > _now;
    else
      select coalesce(sum(count), 0), min(slot) + ${interval("_limit.interval_ms")} into _used, _until
      from ${at}flow_grant where name = _limit.name and slot > _now - ${interval("_limit.interval_ms")};
    end if;
    _tickets := case when _limit.tickets_until > _now then _limit.tickets else 0 end;
    _moved := 0;
    if _used = 0 and _limit.tickets > 0 and _tickets = 0 and _limit.used_at < _now - interval '2 minutes' then
      _moved := ${at}let_go(_limit.name, greatest(_limit.quantity, least(2 * _limit.tickets::bigint, 1000)::integer));
    elsif _limit.quantity - _used - _tickets > 0 then
      _moved := ${at}let_go(_limit.name, (_limit.quantity - _used - _tickets)::integer);
    end if;
    moved := moved + _moved;
    if exists (select from ${at}scheduled where held_by = _limit.name)
      or exists (select from ${at}message where held_by = _limit.name) then
      if _moved > 0 then
        update ${at}flow_limit set tickets = _tickets + _moved, tickets_until = _now + interval '2 seconds'
        where name = _limit.name;
      end if;
      next_ms := least(
        next_ms, coalesce(ceil(extract(epoch from _until - _now) * 1000), 1000),
        case when _tickets + _moved > 0 then 2000 end);
    else
      update ${at}flow_limit set waiting = false, tickets = 0, tickets_until = '-infinity' where name = _limit.name;
    end if;
  end loop;
end $$;
`

const comments = (at: string): string =>
  Object.entries(documentation)
    .map(([object, text]) => `comment on ${object.replace("@", at)} is '${text.replaceAll("'", "''")}';`)
    .join("\n")

const documentation: Readonly<Record<string, string>> = {
  "column @message.held_by": "The pause or limit by which a message with an ordering key is held in its place",
  "column @message.held_from": "When a held message had become available",
  "column @scheduled.held_by": "The pause or limit by which the message is held",
  "column @scheduled.held_from": "When a held message had become available",
  "table @paused":
    "Pauses of channels, from which nothing is claimed until they are resumed, and of handlers and tenants",
  "column @paused.channel": "Empty text stands for any",
  "column @paused.handler": "Empty text stands for any",
  "column @paused.tenant": "Empty text stands for any",
  "column @paused.resumed_at": "Set while the messages that it held are put back",
  "table @flow_limit": "Rate limits (with an interval) and concurrency limits (without one)",
  "column @flow_limit.waiting": "Messages are held by it: they go before others",
  "column @flow_limit.tickets": "How many of those that were let go have not begun yet",
  "table @flow_grant": "How many messages have begun lately under a rate limit, by fiftieths of its interval",
  "table @flow_permit": "How many messages each consumer handles under a concurrency limit",
  "function @hold(text, bigint[], bigint[], text[], bigint[], integer[], bigint[])":
    "Sets claimed messages aside for a pause or a limit",
  "function @let_go(text, integer)": "Puts the oldest held messages back",
  "function @take(text, double precision, jsonb, jsonb)": "Says which messages may begin under their limits",
  "function @admit(text)": "Lets held messages go for which the limits of a channel have room"
}
