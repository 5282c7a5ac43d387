import type { Send } from "@holdfast/core/MessageStore"
import { conflict, type Part, unchecked } from "./part.ts"
import { dueColumns, interval } from "./rows.ts"
import type { Staged } from "./staged.ts"

/**
 * Most messages are due at once, and nothing more is to be known of them; and most of those are of one class, so that
 * what they share is sent and read once.
 *
 * @internal
 */
export const enqueue = (all: Staged["sent"]): Part | undefined => {
  const queued = all.every(isPlain) ? all : all.filter(isPlain)
  const [first] = queued
  if (first === undefined) return undefined
  return queued.every((send) => isAlike(first, send)) ? enqueueAlike(first, queued) : enqueueMixed(queued)
}

/** @internal */
export const sendNow = (all: Staged["sent"]): Part | undefined => {
  const sent = all.filter((send) => send.due === undefined && !isPlain(send))
  if (sent.length === 0) return undefined
  return {
    name: "sent",
    params: messageParams(sent),
    sql: (at, $) => [
      `sent as (
        insert into ${at}message (${messageColumns}, created_at, available_at)
        select ${messageColumns}, (select now from clock), (select now from clock)
        from unnest(${messageTable($)}) with ordinality l (${messageColumns}, place) order by place)`
    ],
    ...unchecked
  }
}

/** @internal */
export const sendLater = (all: Staged["sent"]): Part | undefined => {
  const sent = all.filter(({ due }) => due !== undefined)
  if (sent.length === 0) return undefined
  return {
    name: "later",
    params: [
      ...messageParams(sent),
      sent.map(({ due }) => dueColumns(due).after),
      sent.map(({ due }) => dueColumns(due).at)
    ],
    sql: (at, $) => [
      `later as materialized (
        select l.*, ${dueAt} as due_at, nextval('${at}scheduled_id_seq') as id
        from unnest(${messageTable($)}, ${$(12)}::float8[], ${$(13)}::float8[]) with ordinality
          l (${messageColumns}, after, at, place))`,
      `later_due as (
        insert into ${at}message (${messageColumns}, created_at, available_at)
        select ${messageColumns}, (select now from clock), (select now from clock)
        from later where due_at <= (select now from clock) order by place)`,
      `later_replaced as (
        delete from ${at}scheduled s using later l
        where l.due_at <= (select now from clock) and s.timer_owner = l.timer_owner and s.timer_name = l.timer_name)`,
      `later_scheduled as (
        insert into ${at}scheduled (id, ${messageColumns}, created_at, due_at)
        select id, ${messageColumns}, (select now from clock), due_at
        from later where due_at > (select now from clock) order by timer_owner, timer_name, place
        on conflict (timer_owner, timer_name) where timer_owner is not null do update
        set ${["id", ...messageColumns.split(", "), "created_at", "due_at"].map((_) => `${_} = excluded.${_}`).join(", ")},
          crashes = 0, undelayed = false)`
    ],
    ...unchecked
  }
}

/** @internal */
export const publish = ({ published }: Staged): Part => ({
  name: "published",
  params: [
    published.map(({ envelope }) => envelope.id),
    published.map(({ envelope }) => envelope.tag),
    published.map(({ envelope }) => envelope.payload),
    published.map(({ envelope }) => JSON.stringify(envelope.headers)),
    published.map(({ priority }) => priority),
    published.map(({ envelope }) => JSON.stringify(envelope.failures)),
    published.map(({ except }) => JSON.stringify(except)),
    published.map(({ due }) => dueColumns(due).after),
    published.map(({ due }) => dueColumns(due).at)
  ],
  sql: (at, $) => [
    `copies as materialized (
      select s.channel, e.message_id, e.tag, s.endpoint, e.payload, e.headers, e.priority, e.failures,
        e.after is null and e.at is null as undelayed,
        case when s.ordered then '' end as ordering_key, ${dueAt} as due_at, e.place
      from unnest(${[1, 2, 3, 4].map((index) => `${$(index)}::text[]`).join(", ")}, ${$(5)}::int[], ${$(6)}::text[],
        ${$(7)}::text[], ${$(8)}::float8[], ${$(9)}::float8[]) with ordinality
        e (message_id, tag, payload, headers, priority, failures, except_for, after, at, place)
      join ${at}subscription s on s.tag = e.tag
      where s.endpoint <> all (array(select json_array_elements_text(e.except_for::json))))`,
    `copies_due as (
      insert into ${at}message (${copied}, created_at, available_at)
      select ${copied}, (select now from clock), (select now from clock)
      from copies where due_at <= (select now from clock) and (ordering_key is not null or failures <> '[]')
      order by place, endpoint)`,
    `copies_queued as (
      insert into ${at}queue (${queuedColumns}, undelayed, created_at)
      select ${queuedColumns}, undelayed, (select now from clock)
      from copies where due_at <= (select now from clock) and ordering_key is null and failures = '[]'
      order by place, endpoint)`,
    `copies_scheduled as (
      insert into ${at}scheduled (${copied}, created_at, due_at)
      select ${copied}, (select now from clock), due_at
      from copies where due_at > (select now from clock) order by place, endpoint)`
  ],
  result: "(select json_agg(distinct channel) from copies)",
  expected: undefined,
  ...conflict("")
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Nothing is to be known of it that `queue` has no column for. */
const isPlain = ({ due, envelope, timer }: Send): boolean =>
  due === undefined && timer === undefined && envelope.orderingKey === undefined && envelope.failures.length === 0

const isAlike = (self: Send, that: Send): boolean =>
  self.channel === that.channel &&
  self.priority === that.priority &&
  self.envelope.tag === that.envelope.tag &&
  self.envelope.endpoint === that.envelope.endpoint

const enqueueAlike = ({ channel, envelope: { endpoint, tag }, priority }: Send, queued: Staged["sent"]): Part => ({
  name: "alike",
  params: [
    ...[channel, tag, endpoint, priority],
    queued.map(({ envelope }) => envelope.id),
    queued.map(({ envelope }) => envelope.payload),
    queued.map(({ envelope }) => JSON.stringify(envelope.headers))
  ],
  sql: (at, $) => [
    `alike as (
      insert into ${at}queue (${queuedColumns}, undelayed, created_at)
      select ${$(1)}::text, message_id, ${$(2)}::text, ${$(3)}::text, payload, headers, ${$(4)}::int, false,
        (select now from clock)
      from unnest(${$(5)}::text[], ${$(6)}::text[], ${$(7)}::text[])
        with ordinality l (message_id, payload, headers, place) order by place)`
  ],
  ...unchecked
})

const enqueueMixed = (queued: Staged["sent"]): Part => ({
  name: "queued",
  params: [
    queued.map(({ channel }) => channel),
    queued.map(({ envelope }) => envelope.id),
    queued.map(({ envelope }) => envelope.tag),
    queued.map(({ envelope }) => envelope.endpoint),
    queued.map(({ envelope }) => envelope.payload),
    queued.map(({ envelope }) => JSON.stringify(envelope.headers)),
    queued.map(({ priority }) => priority)
  ],
  sql: (at, $) => [
    `queued as (
      insert into ${at}queue (${queuedColumns}, undelayed, created_at)
      select ${queuedColumns}, false, (select now from clock)
      from unnest(${[1, 2, 3, 4, 5, 6].map((index) => `${$(index)}::text[]`).join(", ")}, ${$(7)}::int[])
        with ordinality l (${queuedColumns}, place) order by place)`
  ],
  ...unchecked
})

const queuedColumns = "channel, message_id, tag, endpoint, payload, headers, priority"

const messageParams = (sent: Staged["sent"]) => [
  sent.map(({ channel }) => channel),
  sent.map(({ envelope }) => envelope.id),
  sent.map(({ envelope }) => envelope.tag),
  sent.map(({ envelope }) => envelope.endpoint),
  sent.map(({ envelope }) => envelope.payload),
  sent.map(({ envelope }) => JSON.stringify(envelope.headers)),
  sent.map(({ priority }) => priority),
  sent.map(({ envelope }) => JSON.stringify(envelope.failures)),
  sent.map(({ timer }) => timer?.owner ?? null),
  sent.map(({ timer }) => timer?.name ?? null),
  sent.map(({ envelope }) => envelope.orderingKey ?? null)
]

const messageTable = ($: (index: number) => string): string =>
  `${[1, 2, 3, 4, 5, 6].map((index) => `${$(index)}::text[]`).join(", ")}, ${$(7)}::int[], ${$(8)}::text[],
    ${$(9)}::text[], ${$(10)}::text[], ${$(11)}::text[]`

const messageColumns =
  "channel, message_id, tag, endpoint, payload, headers, priority, failures, timer_owner, timer_name, ordering_key"

const dueAt = `coalesce((select now from clock) + ${interval("after")}, to_timestamp(at / 1000.0), (select now from clock))`

const copied = "channel, message_id, tag, endpoint, payload, headers, priority, failures, undelayed, ordering_key"
