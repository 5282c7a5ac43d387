/**
 * What the store itself costs: claims and acknowledges batches of 500, and prints the time of this process and of its
 * server processes for one message.
 *
 *     tsc -b && DATABASE_URL=... node test/dist/bench/micro/claims.js [messages] [batch]
 */
import { readFileSync } from "node:fs"
import { PgClient } from "@effect/sql-pg"
import { MessageStore } from "@holdfast/core"
import { PgMessaging } from "@holdfast/postgres"
import { Config, Effect, Layer, Option } from "effect"
import { payload } from "../queue.ts"

const messages = Number(process.argv[2] ?? 100_000)
const batch = Number(process.argv[3] ?? 500)
const schema = "claims_bench"

/** The seconds of CPU that each server process of this program has used; the server runs on this machine. */
const serverSeconds = Effect.map(
  Effect.flatMap(
    PgClient.PgClient,
    (sql) => sql<{ pid: number }>`select pid from pg_stat_activity where application_name = ${schema}`
  ),
  (rows) =>
    new Map(
      rows.map(({ pid }) => {
        const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
        return [pid, (Number(fields[11]) + Number(fields[12])) / 100] as const
      })
    )
)

const program = Effect.gen(function* () {
  const store = yield* MessageStore.MessageStore
  const sql = yield* PgClient.PgClient
  const headers = JSON.stringify({ correlationId: "c", messageVersion: "1" })
  const hasQueue = (yield* sql`select to_regclass(${`${schema}.queue`}) as found`)[0]!.found !== null
  const columns = "channel, message_id, tag, endpoint, payload, headers, priority"
  const values = `'c', gen_random_uuid()::text, 'Noop', 'Noop', '${JSON.stringify(payload(1))}', '${headers}', 0`
  yield* sql.unsafe(`truncate ${schema}.message`)
  yield* sql.unsafe(
    hasQueue
      ? `truncate ${schema}.queue; insert into ${schema}.queue (${columns}, undelayed, created_at)
         select ${values}, false, now() from generate_series(1, ${messages})`
      : `insert into ${schema}.message (${columns}, created_at, available_at)
         select ${values}, now(), now() from generate_series(1, ${messages})`
  )
  yield* sql.unsafe(`vacuum analyze ${schema}.${hasQueue ? "queue" : "message"}`)
  yield* sql.unsafe("checkpoint")
  const cpu = process.cpuUsage()
  const backends = yield* serverSeconds
  const began = performance.now()
  let claiming = 0
  let left = messages
  while (left > 0) {
    const from = performance.now()
    const deliveries = yield* store.claim({ channel: "c", limit: batch, leaseMillis: 60_000, owner: "bench" })
    claiming += performance.now() - from
    if (deliveries.length === 0) return yield* Effect.dieMessage(`${left} are left, and none is claimed`)
    const outcomes = yield* store.commit(deliveries.map(({ lease }) => [{ _tag: "Acknowledge", lease } as const]))
    if (outcomes.some(Option.isSome)) return yield* Effect.dieMessage("not acknowledged")
    left -= deliveries.length
  }
  const wall = performance.now() - began
  const used = process.cpuUsage(cpu)
  let server = 0
  for (const [pid, seconds] of yield* serverSeconds) server += seconds - (backends.get(pid) ?? 0)
  const per = (micros: number) => `${(micros / messages).toFixed(2)} us`
  console.log(
    `batch ${batch}: node ${per(used.user + used.system)}, server ${per(server * 1e6)} of CPU a message; ` +
      `${per(wall * 1000)} of time, ${per(claiming * 1000)} of it to claim`
  )
})

const Live = PgMessaging.layerWith({ migrate: true, schema, maxConnections: 1, notifications: false }).pipe(
  Layer.provideMerge(
    PgClient.layerConfig({ url: Config.redacted("DATABASE_URL"), applicationName: Config.succeed(schema) })
  )
)
await Effect.runPromise(Effect.repeatN(program, 2).pipe(Effect.provide(Live)))
