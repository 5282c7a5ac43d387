import { Effect } from "effect"
import type { Pool } from "pg"
import { count, pool, query, writtenTable } from "../database.ts"
import { load, versions } from "../peers.ts"
import type { Handled, Kind, Library, Payload, Queue } from "../queue.ts"

/** What is used of pg-boss 10. */
interface PgBoss {
  readonly on: (event: "error", listener: () => void) => void
  readonly start: () => Promise<unknown>
  readonly stop: (options: { graceful: boolean; wait: boolean }) => Promise<void>
  readonly createQueue: (name: string) => Promise<void>
  readonly send: (name: string, data: Payload) => Promise<unknown>
  readonly insert: (jobs: ReadonlyArray<Insert>) => Promise<unknown>
  readonly fetch: (name: string, options: object) => Promise<ReadonlyArray<Job>>
  readonly complete: (name: string, ids: ReadonlyArray<string>) => Promise<unknown>
}

interface Job {
  readonly id: string
  readonly data: Payload
}

interface Insert {
  readonly name: string
  readonly data: Payload
  readonly startAfter?: Date
}

interface Module {
  readonly default: new (options: object) => PgBoss
}

const name = "work"
const loops: Record<Kind, number> = { noop: 2, keyed: 2, write: 2, saga: 2, journaled: 2 }

/**
 * `work` of version 10 waits half a second between batches that are handled sooner, so the documented `fetch` and
 * `complete` in a loop are its fastest way.
 */
export const pgBoss: Library = {
  name: "pg-boss",
  setting: (kind) =>
    `${versions["pg-boss"]}: fetch and complete of 1,000 in ${loops[kind]} loops, priority off` +
    (kind === "write" ? ", INSERT … ON CONFLICT DO NOTHING, 10 at once on connections of its own" : ""),
  open: (url) =>
    Effect.gen(function* () {
      const boss = yield* started(url)
      yield* Effect.promise(() => boss.createQueue(name))
      const connections = yield* pool(url, 1)
      yield* query(connections, writtenTable)
      return queue(boss, connections)
    }),
  consume: ({ kind, url }, handled) =>
    Effect.gen(function* () {
      const boss = yield* started(url)
      const connections = yield* pool(url, 10)
      const state = { stopped: false }
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          state.stopped = true
        })
      )
      const work = kind === "write" ? writeAll(connections, handled) : noopAll(handled)
      const lanes = () => Promise.all(Array.from({ length: loops[kind] }, () => consumeBatches(boss, work, state)))
      return Effect.asVoid(Effect.forkScoped(Effect.promise(lanes)))
    })
}

const started = (url: string) =>
  Effect.gen(function* () {
    const { default: Boss } = yield* load<Module>("pg-boss")
    return yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const boss = new Boss({ connectionString: url, max: 10, supervise: false, schedule: false })
        boss.on("error", () => {})
        await boss.start()
        return boss
      }),
      (boss) => Effect.promise(() => boss.stop({ graceful: false, wait: true }))
    )
  })

const queue = (boss: PgBoss, connections: Pool): Queue => {
  const due = "state < 'completed' AND start_after <= now()"
  return {
    send: (payload) => Effect.promise(() => boss.send(name, payload)),
    sendAll: (payloads) => Effect.promise(() => boss.insert(payloads.map((data) => ({ name, data })))),
    delayAll: (payloads) =>
      Effect.promise(() => {
        const startAfter = new Date(Date.now() + 24 * 60 * 60 * 1000)
        return boss.insert(payloads.map((data) => ({ name, data, startAfter })))
      }),
    left: count(connections, `SELECT count(*) FROM pgboss.job WHERE name = '${name}' AND ${due}`),
    effects: count(connections, "SELECT count(*) FROM written"),
    clear: Effect.zipRight(
      query(connections, "DELETE FROM pgboss.job WHERE start_after <= now()"),
      query(connections, "TRUNCATE written")
    )
  }
}

const consumeBatches = async (
  boss: PgBoss,
  work: (jobs: ReadonlyArray<Job>) => Promise<void>,
  state: { readonly stopped: boolean }
) => {
  while (!state.stopped) {
    const jobs = await boss.fetch(name, { batchSize: 1_000, priority: false })
    if (jobs.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    else {
      await work(jobs)
      await boss.complete(
        name,
        jobs.map(({ id }) => id)
      )
    }
  }
}

const noopAll = (handled: Handled) => async (jobs: ReadonlyArray<Job>) => jobs.forEach(({ data }) => void handled(data))

const writeAll = (connections: Pool, handled: Handled) => async (jobs: ReadonlyArray<Job>) => {
  const rest = [...jobs]
  const lane = async () => {
    for (let job = rest.pop(); job !== undefined; job = rest.pop()) {
      const text = "INSERT INTO written (n) VALUES ($1) ON CONFLICT DO NOTHING"
      await connections.query({ name: "write", text, values: [job.data.n] })
      handled(job.data)
    }
  }
  await Promise.all(Array.from({ length: 10 }, lane))
}
