import type { Migration } from "../migrations.ts"

/** @internal */
export const consumers: Migration = {
  id: 3,
  name: "consumers",
  sql: (at) => `
create table ${at}paused (channel text primary key, paused_at timestamptz not null);
comment on table ${at}paused is 'Channels from which nothing is claimed until they are resumed';

create table ${at}consumed (channel text primary key, seen_at timestamptz not null) with (fillfactor = 50);
comment on table ${at}consumed is 'When each channel was last seen to have a consumer';
`
}
