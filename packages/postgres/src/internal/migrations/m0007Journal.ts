import type { Migration } from "../migrations.ts"
import { countSql } from "../statsSql.ts"

/** @internal */
export const journal: Migration = {
  id: 7,
  name: "journal",
  sql: (at) => [table(at), attempts(at), stats(at), comments(at)].join("\n")
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/**
 * Rows are inserted at the end of each index, as their times and ids rise, and deleted from its beginning: nothing is
 * ever updated. Ids are compared by their bytes.
 */
const table = (at: string): string => `
create table ${at}journal (
  at timestamptz not null,
  id bigint generated always as identity,
  event text collate "C" not null,
  message_id text collate "C" not null,
  tag text collate "C" not null,
  endpoint text collate "C" not null,
  channel text collate "C",
  attempt integer not null,
  correlation_id text collate "C" not null,
  causation_id text collate "C",
  tenant text collate "C",
  trace_id text collate "C",
  due_at timestamptz,
  duration_ms real,
  worker text collate "C",
  reason text collate "C",
  error text,
  payload text,
  primary key (at, id)
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
create index journal_message on ${at}journal (message_id);
create index journal_correlation on ${at}journal (correlation_id, at, id);
`

const attempts = (at: string): string => `
create view ${at}attempt as
  select message_id, tag, endpoint, channel, attempt, event as outcome,
    at - duration_ms * interval '1 millisecond' as started_at, at as ended_at, duration_ms, worker, error,
    correlation_id, tenant, trace_id
  from ${at}journal where event in ('Handled', 'Failed');
`

/** A session keeps the plans it made while the tables were empty: a scan of them was cheap then, and is not for long. */
const stats = (at: string): string => `
create function ${at}channel_stats(_channels text[], _most integer)
returns table (channel text, ready bigint, scheduled bigint, held bigint, dead_letters bigint, age double precision)
language sql set enable_seqscan = off set jit = off as $$${countSql(at)} $$;
`

const comments = (at: string): string =>
  Object.entries(documentation)
    .map(([object, text]) => `comment on ${object.replace("@", at)} is '${text.replaceAll("'", "''")}';`)
    .join("\n")

const documentation: Readonly<Record<string, string>> = {
  "table @journal": "What happened to each message, written in the commit in which it happened",
  "column @journal.at": "When that commit was written, by the clock of all durable times",
  "column @journal.event": "Sent, Published, Handled, Failed, Retried, DeadLettered, Discarded, Expired or Replayed",
  "column @journal.message_id": "Identity over all hops; copies for several endpoints share it",
  "column @journal.endpoint": "The durable name of the handler; empty for what was published",
  "column @journal.channel": "Null when the sender waited for the handler",
  "column @journal.correlation_id": "The id of the conversation",
  "column @journal.causation_id": "The id of the message whose handler made this one",
  "column @journal.trace_id": "The OpenTelemetry trace that the message belongs to",
  "column @journal.due_at": "When it is to be handled: of what was sent for later, or is tried again",
  "column @journal.duration_ms": "How long the attempt took",
  "column @journal.worker": "The consumer that had it: message.lease_owner",
  "column @journal.payload": "The encoded message, where the channel's policy has it",
  "function @channel_stats(text[], integer)":
    "How much is on channels, and for how long the oldest has been there (ms)",
  "view @attempt": "The attempts in the journal, with their outcome, start and end"
}
