import { due, expired, next } from "../claimSql.ts"
import type { Migration } from "../migrations.ts"
import { anyReady, lane, lanes, newest, nextOrdered } from "../orderSql.ts"

/** @internal */
export const ordering: Migration = {
  id: 2,
  name: "ordering",
  sql: (at) => [columns(at), indexes(at), claimable(at), claim(at), comments(at)].join("\n")
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const columns = (at: string): string => `
alter table ${at}message add column ordering_key text;
alter table ${at}scheduled add column ordering_key text;
alter table ${at}dead_letter add column ordering_key text, add column place bigint;
alter table ${at}subscription add column ordered boolean not null default false;
`

/** Messages without a key are in none of the indexes but the first, and those with one are not in that. */
const indexes = (at: string): string =>
  `
drop index ${at}message_ready;
create index message_ready on ${at}message (channel, priority desc, id)
  where lease_until is null and ordering_key is null;
create index message_lane on ${at}message (channel, (${lane("message")}), id) where ordering_key is not null;
create index message_lane_ready on ${at}message (channel, priority desc, (${lane("message")}), id)
  where ordering_key is not null and lease_until is null;
create unique index message_lane_leased on ${at}message (channel, (${lane("message")}))
  where ordering_key is not null and lease_until is not null;
create index message_lane_waiting on ${at}message (channel, available_at)
  where ordering_key is not null and lease_until is null;
create index dead_letter_lane on ${at}dead_letter (channel, (${lane("dead_letter")}))
  where ordering_key <> '' and place is not null;
`

/** A session keeps the plans it made while the tables were empty: a scan of them was cheap then, and is not for long. */
const indexed = "set enable_seqscan = off set jit = off"

/** Begins at a lane by chance, in each priority, so that no key waits for ever behind others. */
const claimable = (at: string): string => `
create function ${at}claimable_lanes(_channel text, _limit integer, _now timestamptz)
returns setof bigint language plpgsql ${indexed} set enable_sort = off as $$
declare
  _below bigint := 2147483648;
  _priority integer;
  _start bigint := hashtextextended(random()::text, 0);
  _found integer := 0;
  _more integer;
begin
  loop
    _priority := (
      select priority from ${at}message
      where channel = _channel and priority < _below and ordering_key is not null and lease_until is null
      order by priority desc limit 1
    );
    exit when _priority is null;
    return query ${lanes(at, { ...range, from: "_start", to: "9223372036854775807", limit: "_limit - _found" })};
    get diagnostics _more = row_count;
    _found := _found + _more;
    exit when _found >= _limit;
    return query ${lanes(at, { ...range, from: "(-9223372036854775808)", to: "_start - 1", limit: "_limit - _found" })};
    get diagnostics _more = row_count;
    _found := _found + _more;
    exit when _found >= _limit;
    _below := _priority;
  end loop;
  if _found = 0 then
    return query ${newest(at, { ...range, limit: "_limit" })};
  end if;
end $$;
`

const range = { channel: "_channel", priority: "_priority", now: "_now" }

/**
 * As before, and of each ordering key the first message. Whoever takes one has the lock of its lane, and looks again
 * once it has it: what another consumer has taken from the lane a moment ago is seen by then, and whatever is put before
 * it later waits.
 */
const claim = (at: string): string => `
create or replace function ${at}claim(_channel text, _limit integer, _lease_ms double precision, _owner text)
returns setof ${at}message language plpgsql ${indexed} as $$
declare
  _now timestamptz := ${at}now();
  _token bigint;
  _lanes bigint[];
  _alone boolean;
begin
  if exists (select from ${at}message where channel = _channel and lease_until is not null and lease_until <= _now) then
    update ${at}message set crashes = crashes + 1, lease_token = null, lease_until = null, lease_owner = null
    where id = any (array(${expired(at, "_channel", "_now")}));
  end if;
  if exists (select from ${at}scheduled where channel = _channel and due_at <= _now) then
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
  if ${anyReady(at, "_channel", "is not null")} then
    _lanes := array(
      select lane from ${at}claimable_lanes(_channel, _limit, _now) l (lane)
      where pg_try_advisory_xact_lock(hashtextextended('${at}' || _channel, lane))
    );
  end if;
  if cardinality(_lanes) > 0 then
    _token := nextval('${at}lease_token');
    return query
      update ${at}message
      set lease_token = _token, lease_until = _now + _lease_ms * interval '1 millisecond', lease_owner = _owner
      where id = any (array(${nextOrdered(at, "_channel", "_limit", "_now", "_lanes")}))
      returning *;
  elsif ${anyReady(at, "_channel", "is null")} then
    _token := nextval('${at}lease_token');
    return query
      update ${at}message
      set lease_token = _token, lease_until = _now + _lease_ms * interval '1 millisecond', lease_owner = _owner
      where id = any (array(${next(at, "_channel", "_limit")}))
      returning *;
  end if;
end $$;
`

const comments = (at: string): string => `
comment on column ${at}message.ordering_key is
  'Messages of one key, endpoint and channel are handled in the order of their ids; empty while the key is not known yet';
comment on column ${at}dead_letter.place is 'The id that the message had, and gets back if it has an ordering key';
comment on column ${at}subscription.ordered is 'Copies get an empty ordering key, until a consumer computes theirs';
comment on function ${at}claimable_lanes(text, integer, timestamptz) is
  'The ordering keys of which a message can be claimed, as numbers';
`
