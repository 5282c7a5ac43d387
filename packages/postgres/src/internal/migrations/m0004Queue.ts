import { due, expired, next } from "../claimSql.ts"
import type { Migration } from "../migrations.ts"
import { anyReady, nextOrdered } from "../orderSql.ts"

/** @internal */
export const queue: Migration = {
  id: 4,
  name: "queue",
  sql: (at) => [columns(at), claim(at)].join("\n")
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const columns = (at: string): string => `
alter table ${at}message add column lease_begun boolean not null default true;
comment on column ${at}message.lease_begun is
  'Whether the consumer has begun with it, so that losing the consumer counts against it';
`

const indexed = "set enable_seqscan = off set jit = off"

const claim = (at: string): string => `
create function ${at}claim(_channel text, _limit integer, _lease_ms double precision, _owner text, _ahead boolean)
returns setof ${at}message language plpgsql ${indexed} as $$
declare
  _now timestamptz := ${at}now();
  _token bigint;
  _lanes bigint[];
  _alone boolean;
begin
  if exists (select from ${at}message where channel = _channel and lease_until is not null and lease_until <= _now) then
    update ${at}message set crashes = crashes + case when lease_begun then 1 else 0 end, lease_token = null, lease_until = null, lease_owner = null
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
      set lease_token = _token, lease_until = _now + _lease_ms * interval '1 millisecond', lease_owner = _owner,
        lease_begun = not _ahead
      where id = any (array(${nextOrdered(at, "_channel", "_limit", "_now", "_lanes")}))
      returning *;
  elsif ${anyReady(at, "_channel", "is null")} then
    _token := nextval('${at}lease_token');
    return query
      update ${at}message
      set lease_token = _token, lease_until = _now + _lease_ms * interval '1 millisecond', lease_owner = _owner,
        lease_begun = not _ahead
      where id = any (array(${next(at, "_channel", "_limit")}))
      returning *;
  end if;
end $$;
`
