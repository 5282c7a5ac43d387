import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { DeadLetter, MessageStore } from "@holdfast/core"
import { PgMessaging } from "@holdfast/postgres"
import { Effect, Layer, Redacted } from "effect"
import { freshDatabase } from "../support/database.ts"
import { Jobs } from "./app.ts"
import { createTables, settled, startWorker, until } from "./harness.ts"

/** Looks on: it handles nothing and carries on no replay. */
const Arena = Layer.unwrapScoped(
  Effect.map(freshDatabase("replaying"), (server) =>
    PgMessaging.layerWith({ migrate: true }).pipe(
      Layer.provideMerge(Layer.effectDiscard(createTables)),
      Layer.provideMerge(PgClient.layer({ url: Redacted.make(Redacted.value(server.url)), maxConnections: 4 }))
    )
  )
)

const ids = Array.from({ length: 30 }, (_, index) => `letter ${index}`)

const parked = Effect.flatMap(MessageStore.MessageStore, (store) =>
  store.commit([
    ids.map((id) => ({
      _tag: "Park",
      channel: Jobs.channelName,
      lease: undefined,
      envelope: {
        id,
        tag: "Work",
        endpoint: "Work",
        attempt: 1,
        headers: {},
        payload: JSON.stringify({ _tag: "Work", id, kind: "Writes" }),
        failures: []
      },
      reason: "Exhausted",
      error: "no",
      fingerprint: "no"
    }))
  ])
)

describe("workers that are killed while they replay dead letters", () => {
  it.scopedLive(
    "leave the rest to the next one: each letter is replayed and handled once",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const deadLetters = yield* DeadLetter.DeadLetter
        yield* parked
        yield* deadLetters.replayAll({ tag: "Work" }, { canary: 2, rate: { limit: 1, interval: "40 millis" } })
        for (const least of [4, 12]) {
          const worker = yield* startWorker({ LEASE: "1 seconds" })
          yield* until((sql) => sql`SELECT 1 FROM holdfast.replay WHERE replayed >= ${least}`)
          yield* worker.signal("SIGKILL")
          yield* worker.ended
        }
        const [before] = yield* sql<{ state: string; left: number }>`
        SELECT state, (SELECT count(*)::int FROM holdfast.dead_letter) AS left FROM holdfast.replay`
        assert.strictEqual(before!.state, "Running")
        assert.isAbove(before!.left, 0)
        yield* Effect.all([startWorker({ LEASE: "1 seconds" }), startWorker({ LEASE: "1 seconds" })])
        yield* until((sql) => sql`SELECT 1 FROM holdfast.replay WHERE state = 'Done'`)
        const [replay] = yield* deadLetters.replays
        assert.strictEqual(replay!.replayed, ids.length)
        const once = Object.fromEntries(ids.flatMap((id) => [`${id} worked`, `${id} followed`]).map((key) => [key, 1]))
        assert.deepStrictEqual(yield* settled, { effects: once, dead: 0 })
      }).pipe(Effect.provide(Arena)),
    180_000
  )
})
