import { Effect } from "effect"
import type { Pool, PoolClient } from "pg"
import { count, pool, query, writtenTable } from "../database.ts"
import { type Handled, type Kind, type Library, type Payload, type Queue, sagas } from "../queue.ts"

/** The limit: what a program that needs no library would write for the one job. */
export const bare: Library = {
  name: "pg",
  setting: (kind) => settings[kind],
  open: (url) =>
    Effect.gen(function* () {
      const connections = yield* pool(url, 10)
      yield* query(connections, tables)
      yield* query(connections, `INSERT INTO saga SELECT 'key-' || n, 1, $1 FROM generate_series(0, ${sagas - 1}) n`, [
        JSON.stringify({ steps: 0 })
      ])
      return queue(connections)
    }),
  consume: ({ kind, url }, handled) =>
    Effect.gen(function* () {
      const connections = yield* pool(url, 10)
      const lanes = kind === "noop" || kind === "keyed" ? 2 : 10
      const clients = yield* Effect.acquireRelease(
        Effect.promise(() => Promise.all(Array.from({ length: lanes }, () => connections.connect()))),
        (clients) => Effect.sync(() => clients.forEach((client) => void client.release()))
      )
      const state = { stopped: false }
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          state.stopped = true
        })
      )
      if (kind === "noop" || kind === "keyed") {
        return start(clients, (client) => batches(client, handled, state))
      }
      const { rows } = yield* Effect.promise(() => clients[0]!.query("SELECT id, payload FROM bare ORDER BY id"))
      const next = rows.values()
      return start(clients, (client) => oneByOne(client, next, kind === "write" ? writeOnce : step, handled))
    })
}

const settings: Record<Kind, string> = {
  noop: "claim 500 with SKIP LOCKED, delete them, 2 connections a process",
  keyed: "claim 500 with SKIP LOCKED, delete them, 2 connections a process, no keys",
  write: "BEGIN, INSERT, DELETE, COMMIT on 10 connections; claims nothing",
  saga: "BEGIN, SELECT FOR UPDATE, UPDATE, INSERT, COMMIT on 10 connections; claims and settles nothing",
  journaled: "keeps no journal"
}

const tables = `
  CREATE TABLE bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text NOT NULL, lease_until timestamptz)
    WITH (fillfactor = 50);
  CREATE TABLE saga (id text PRIMARY KEY, version int NOT NULL, state text NOT NULL) WITH (fillfactor = 50);
  CREATE TABLE outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text NOT NULL);
  ${writtenTable}`

const queue = (connections: Pool): Queue => ({
  send: (payload) =>
    Effect.promise(() =>
      connections.query({
        name: "send",
        text: "INSERT INTO bare (payload) VALUES ($1)",
        values: [JSON.stringify(payload)]
      })
    ),
  sendAll: (payloads) =>
    Effect.promise(() =>
      connections.query({
        name: "sendAll",
        text: "INSERT INTO bare (payload) SELECT unnest($1::text[])",
        values: [payloads.map((each) => JSON.stringify(each))]
      })
    ),
  delayAll: () => Effect.dieMessage("bare pg has no delayed messages"),
  // a saga step is done when its message is sent: the five statements do not settle what it came from
  left: count(connections, "SELECT (SELECT count(*) FROM bare) - (SELECT count(*) FROM outbox)"),
  effects: count(connections, "SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM outbox)"),
  clear: query(connections, "TRUNCATE bare, outbox, written")
})

const start = (clients: Array<PoolClient>, lane: (client: PoolClient) => Promise<void>) =>
  Effect.forkScoped(Effect.promise(() => Promise.all(clients.map(lane)))).pipe(Effect.asVoid)

const batches = async (client: PoolClient, handled: Handled, state: { readonly stopped: boolean }) => {
  while (!state.stopped) {
    const { rows } = await client.query({
      name: "claim",
      text: `UPDATE bare SET lease_until = now() + interval '10 s' WHERE id = ANY(ARRAY(
        SELECT id FROM bare WHERE lease_until IS NULL ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED
      )) RETURNING id, payload`
    })
    if (rows.length === 0) return
    for (const row of rows) handled(JSON.parse(row.payload))
    const ids = rows.map(({ id }) => id)
    await client.query({ name: "delete", text: "DELETE FROM bare WHERE id = ANY($1::bigint[])", values: [ids] })
  }
}

type Row = { readonly id: string; readonly payload: string }

/** All rows, shared by the lanes: whoever is free takes the next. */
const oneByOne = async (
  client: PoolClient,
  rows: IterableIterator<Row>,
  work: (client: PoolClient, id: string, payload: Payload) => Promise<void>,
  handled: Handled
) => {
  for (const row of rows) {
    const payload: Payload = JSON.parse(row.payload)
    await client.query("BEGIN")
    await work(client, row.id, payload)
    await client.query("COMMIT")
    handled(payload)
  }
}

const writeOnce = async (client: PoolClient, id: string, { n }: Payload) => {
  await client.query({ name: "write", text: "INSERT INTO written (n) VALUES ($1)", values: [n] })
  await client.query({ name: "settle", text: "DELETE FROM bare WHERE id = $1", values: [id] })
}

const step = async (client: PoolClient, _: string, payload: Payload) => {
  const { rows } = await client.query({
    name: "load",
    text: "SELECT state FROM saga WHERE id = $1 FOR UPDATE",
    values: [payload.key]
  })
  const { steps } = JSON.parse(rows[0].state)
  await client.query({
    name: "store",
    text: "UPDATE saga SET state = $2, version = version + 1 WHERE id = $1",
    values: [payload.key, JSON.stringify({ steps: steps + 1 })]
  })
  const text = "INSERT INTO outbox (payload) VALUES ($1)"
  await client.query({ name: "out", text, values: [JSON.stringify(payload)] })
}
