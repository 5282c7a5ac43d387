import type { Migration } from "../migrations.ts"

/** @internal */
export const deadLetters: Migration = {
  id: 5,
  name: "dead letters",
  sql: (at) =>
    [letters(at), indexes(at, "dead_letter"), indexes(at, "archived_letter"), replays(at), pauses(at)].join("\n")
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const letters = (at: string): string => `
alter table ${at}dead_letter add column original text, add column edited_at timestamptz;
comment on column ${at}dead_letter.original is 'The payload as it was sent, if somebody has edited it since';

create table ${at}archived_letter (
  like ${at}dead_letter including defaults,
  archived_at timestamptz not null,
  replayed_at timestamptz,
  primary key (id)
);
comment on table ${at}archived_letter is 'Dead letters that were put away, and what was edited and then replayed';
comment on column ${at}archived_letter.replayed_at is 'Set where this is only the record of an edited letter';
`

/** The groups are counted from an index alone: letters may be large. */
const indexes = (at: string, table: string): string => `
drop index if exists ${at}${table}_fingerprint;
create index ${table}_fingerprint on ${at}${table} (fingerprint, id) include (channel, endpoint, tag, reason, parked_at);
create index if not exists ${table}_channel on ${at}${table} (channel, id);
create index if not exists ${table}_message on ${at}${table} (message_id);
create index ${table}_parked on ${at}${table} (channel, parked_at);
`

const replays = (at: string): string => `
create table ${at}replay (
  id bigint generated always as identity primary key,
  filter text not null,
  canary integer not null,
  rate_limit integer,
  rate_interval_ms double precision,
  state text not null default 'Pending',
  detail text,
  total bigint not null,
  replayed bigint not null default 0,
  canaries text not null default '[]',
  position bigint not null default 0,
  up_to bigint not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  next_at timestamptz not null
);
create index replay_next on ${at}replay (next_at) where state in ('Pending', 'Canary', 'Running');
comment on table ${at}replay is 'Replays of many dead letters, which any process carries on';
comment on column ${at}replay.position is 'The last dead letter that was looked at; those up to up_to are still to come';
`

const pauses = (at: string): string => `
alter table ${at}paused add column reason text;
comment on column ${at}paused.reason is 'Why, where somebody has said it: such as what was given up';
`
