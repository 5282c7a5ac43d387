import { Effect } from "effect"
import type { Pool } from "pg"
import { count, pool, query, writtenTable } from "../database.ts"
import { load, versions } from "../peers.ts"
import type { Kind, Library, Payload, Queue } from "../queue.ts"

/** What is used of graphile-worker 0.17. */
interface GraphileWorker {
  readonly Logger: new (factory: () => () => void) => unknown
  readonly makeWorkerUtils: (options: { pgPool: Pool; logger: unknown }) => Promise<Utils>
  readonly run: (options: object) => Promise<{ readonly stop: () => Promise<void> }>
}

interface Job {
  readonly identifier: string
  readonly payload: Payload
  readonly queueName?: string
  readonly runAt?: Date
}

interface Utils {
  readonly migrate: () => Promise<void>
  readonly addJob: (identifier: string, payload: Payload, spec: { queueName?: string }) => Promise<unknown>
  readonly addJobs: (jobs: ReadonlyArray<Job>) => Promise<unknown>
  readonly release: () => Promise<void>
}

/** A local queue fetches many jobs of a named queue at once, and then they run side by side: not for what has an order. */
const local = (kind: Kind) => (kind === "keyed" ? "" : "localQueue 500, ")

const concurrency: Record<Kind, number> = { noop: 24, keyed: 24, write: 10, saga: 10, journaled: 24 }

export const graphileWorker: Library = {
  name: "graphile-worker",
  setting: (kind) =>
    `${versions["graphile-worker"]}: concurrentJobs ${concurrency[kind]}, ${local(kind)}completeJobBatchDelay 0` +
    (kind === "write" ? ", INSERT … ON CONFLICT DO NOTHING on 10 connections of its own" : "") +
    (kind === "keyed" ? ", queueName" : ""),
  open: (url, kind) =>
    Effect.gen(function* () {
      const { Logger, makeWorkerUtils } = yield* load<GraphileWorker>("graphile-worker")
      const logger = new Logger(() => () => {})
      const connections = yield* pool(url, 10)
      const utils = yield* Effect.acquireRelease(
        Effect.promise(() => makeWorkerUtils({ pgPool: connections, logger })),
        (utils) => Effect.promise(() => utils.release())
      )
      yield* Effect.promise(() => utils.migrate())
      yield* query(connections, writtenTable)
      return queue(utils, connections, kind)
    }),
  consume: ({ kind, url }, handled) =>
    Effect.gen(function* () {
      const { Logger, run } = yield* load<GraphileWorker>("graphile-worker")
      const connections = yield* pool(url, 10)
      const work = async (payload: Payload) => {
        if (kind === "write") {
          const text = "INSERT INTO written (n) VALUES ($1) ON CONFLICT DO NOTHING"
          await connections.query({ name: "write", text, values: [payload.n] })
        }
        handled(payload)
      }
      const options = {
        taskList: { work },
        noHandleSignals: true,
        preset: {
          worker: {
            connectionString: url,
            maxPoolSize: 10,
            concurrentJobs: concurrency[kind],
            ...(kind === "keyed" ? {} : { localQueue: { size: 500 } }),
            completeJobBatchDelay: 0,
            failJobBatchDelay: 0,
            logger: new Logger(() => () => {})
          }
        }
      }
      return Effect.acquireRelease(
        Effect.promise(() => run(options)),
        (runner) => Effect.promise(() => runner.stop())
      ).pipe(Effect.asVoid)
    })
}

const queue = (utils: Utils, connections: Pool, kind: Kind): Queue => {
  const keyed = (payload: Payload) => (kind === "keyed" ? { queueName: payload.key } : {})
  const addAll = (payloads: ReadonlyArray<Payload>, spec: { runAt?: Date }) =>
    Effect.promise(() =>
      utils.addJobs(payloads.map((payload) => ({ identifier: "work", payload, ...keyed(payload), ...spec })))
    )
  return {
    send: (payload) => Effect.promise(() => utils.addJob("work", payload, keyed(payload))),
    sendAll: (payloads) => addAll(payloads, {}),
    delayAll: (payloads) => Effect.suspend(() => addAll(payloads, { runAt: tomorrow() })),
    left: count(connections, "SELECT count(*) FROM graphile_worker._private_jobs WHERE run_at <= now()"),
    effects: count(connections, "SELECT count(*) FROM written"),
    clear: Effect.zipRight(
      query(connections, "DELETE FROM graphile_worker._private_jobs WHERE run_at <= now()"),
      query(connections, "TRUNCATE written")
    )
  }
}

const tomorrow = () => new Date(Date.now() + 24 * 60 * 60 * 1000)
