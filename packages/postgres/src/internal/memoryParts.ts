import { conflict, count, keyTaken, type Part } from "./part.ts"
import { interval, storable } from "./rows.ts"
import type { Staged } from "./staged.ts"

/** @internal */
export const insertSagas = ({ sagas }: Staged): Part | undefined => {
  const puts = sagas.filter(({ version }) => version === 1)
  if (puts.length === 0) return undefined
  return {
    name: "started",
    params: [
      puts.map(({ saga }) => saga),
      puts.map(({ id }) => id),
      puts.map(({ state }) => state),
      puts.map(({ completed }) => completed),
      puts.map(({ timers }) => JSON.stringify(timers))
    ],
    sql: (at, $) => [
      `started as (
        insert into ${at}saga (saga, id, version, state, completed, timers, created_at, updated_at)
        select l.saga, l.id, 1, l.state, l.completed, l.timers, (select now from clock), (select now from clock)
        from unnest(${$(1)}::text[], ${$(2)}::text[], ${$(3)}::text[], ${$(4)}::boolean[], ${$(5)}::text[])
          l (saga, id, state, completed, timers)
        on conflict do nothing returning 1)`
    ],
    result: count("started"),
    expected: puts.length,
    ...sagaChanged
  }
}

/** @internal */
export const updateSagas = ({ sagas }: Staged): Part | undefined => {
  const puts = sagas.filter(({ version }) => version !== 1)
  if (puts.length === 0) return undefined
  return {
    name: "changed",
    params: [
      puts.map(({ saga }) => saga),
      puts.map(({ id }) => id),
      puts.map(({ version }) => version),
      puts.map(({ state }) => state),
      puts.map(({ completed }) => completed),
      puts.map(({ timers }) => JSON.stringify(timers))
    ],
    sql: (at, $) => [
      `changed as (
        update ${at}saga s
        set version = l.version, state = l.state, completed = l.completed, timers = l.timers,
          updated_at = (select now from clock)
        from unnest(${$(1)}::text[], ${$(2)}::text[], ${$(3)}::int[], ${$(4)}::text[], ${$(5)}::boolean[], ${$(6)}::text[])
          l (saga, id, version, state, completed, timers)
        where s.saga = l.saga and s.id = l.id and s.version = l.version - 1 returning 1)`
    ],
    result: count("changed"),
    expected: puts.length,
    ...sagaChanged
  }
}

/** @internal */
export const remember = ({ remembered }: Staged): Part => ({
  name: "remembered",
  params: [remembered.map(({ key }) => key), remembered.map(({ windowMillis }) => windowMillis)],
  sql: (at, $) => [
    `remembered as (
      insert into ${at}deduplication as d (key, expires_at)
      select l.key, (select now from clock) + ${interval("l.millis")}
      from unnest(${$(1)}::text[], ${$(2)}::float8[]) with ordinality l (key, millis, place) order by place
      on conflict (key) do update set expires_at = excluded.expires_at where d.expires_at <= (select now from clock)
      returning 1)`
  ],
  result: count("remembered"),
  expected: remembered.length,
  ...conflict("The key is remembered already")
})

/** @internal */
export const complete = ({ completed }: Staged): Part => ({
  name: "completed",
  params: [
    completed.map(({ key }) => key),
    completed.map(({ token }) => token),
    completed.map(({ result }) => storable(result)),
    completed.map(({ windowMillis }) => windowMillis)
  ],
  sql: (at, $) => [
    `completed as (
      update ${at}idempotency i set result = l.result, expires_at = (select now from clock) + ${interval("l.millis")}
      from unnest(${$(1)}::text[], ${$(2)}::bigint[], ${$(3)}::text[], ${$(4)}::float8[]) l (key, token, result, millis)
      where i.key = l.key and i.token = l.token and i.result is null returning 1)`
  ],
  result: count("completed"),
  expected: completed.length,
  ...keyTaken
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const sagaChanged = conflict("Somebody else has changed the saga")
