/**
 * What a message costs in CPU with the real store: in this process, and in the server's if it runs on this machine.
 *
 *     tsc -b && node test/dist/bench/micro/store.js [--only send-1,write] [--count 20000]
 */
import { existsSync, readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { Console, Deferred, Effect, Logger, LogLevel } from "effect"
import { fresh, pool } from "../database.ts"
import { inCalls } from "../jobs/handling.ts"
import { sendFrom } from "../jobs/sending.ts"
import { type Kind, type Library, type Payload, payload, type Queue } from "../queue.ts"
import { bare } from "../queues/bare.ts"
import { holdfast } from "../queues/holdfast.ts"

const { values: args } = parseArgs({ options: { only: { type: "string" }, count: { type: "string" } } })

const only = args.only?.split(",")
const count = Number(args.count ?? 20_000)

interface Case {
  readonly name: string
  /** Holdfast when left out; bare `pg` tells how busy the machine is. */
  readonly library?: Library
  readonly kind: Kind
  /** What part of `count` it does. */
  readonly share: number
  readonly fill?: (queue: Queue, count: number) => Effect.Effect<void>
  /** Tells when half is done, if only what comes then counts: by then the code is warm. */
  readonly run: (queue: Queue, count: number, url: string, half: () => void) => Effect.Effect<void>
}

const from = (callers: number) => (queue: Queue, count: number) =>
  sendFrom(
    callers,
    queue,
    Array.from({ length: count }, (_, n) => [payload(n)])
  )

const fill = (queue: Queue, count: number) =>
  inCalls(count, (from, to) => queue.sendAll(Array.from({ length: to - from }, (_, k) => payload(from + k))))

const handle =
  (kind: Kind, library: Library = holdfast) =>
  (_: Queue, count: number, url: string, half: () => void) =>
    Effect.scoped(
      Effect.gen(function* () {
        const all = yield* Deferred.make<void>()
        let left = count
        const handled = (_: Payload) => {
          if (--left === count >> 1) half()
          if (left === 0) Deferred.unsafeDone(all, Effect.void)
        }
        const start = yield* library.consume({ url, kind, processes: 1 }, handled)
        yield* start
        yield* Deferred.await(all)
      })
    )

const cases: ReadonlyArray<Case> = [
  { name: "pg-send-1", library: bare, kind: "noop", share: 0.2, run: from(1) },
  { name: "send-1", kind: "noop", share: 0.2, run: from(1) },
  { name: "send-10", kind: "noop", share: 0.5, run: from(10) },
  { name: "send-100", kind: "noop", share: 1, run: from(100) },
  { name: "send-1000-in-a-call", kind: "noop", share: 2, run: fill },
  { name: "noop", kind: "noop", share: 2.5, fill, run: handle("noop") },
  { name: "pg-write", library: bare, kind: "write", share: 0.25, fill, run: handle("write", bare) },
  { name: "write", kind: "write", share: 0.25, fill, run: handle("write") },
  { name: "pg-saga", library: bare, kind: "saga", share: 0.25, fill, run: handle("saga", bare) },
  { name: "saga", kind: "saga", share: 0.25, fill, run: handle("saga") }
]

/** Milliseconds of CPU that the backends of the database have used; not a number if they run elsewhere. */
const serverMillis = (url: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const connections = yield* pool(url, 1)
      const { rows } = yield* Effect.promise(() =>
        connections.query<{ pid: number }>(
          "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
      )
      return rows.reduce((sum, { pid }) => sum + millisOf(pid), 0)
    })
  )

const millisOf = (pid: number): number => {
  const path = `/proc/${pid}/stat`
  if (!existsSync(path)) return Number.NaN
  const fields = readFileSync(path, "utf8").split(") ")[1]!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

const measure = (server: EmbeddedPostgres.Server, { fill, kind, library = holdfast, name, run, share }: Case) =>
  Effect.scoped(
    Effect.gen(function* () {
      const url = yield* fresh(server)
      const queue = yield* library.open(url, kind)
      const total = Math.round(count * share)
      if (fill === undefined) yield* run(queue, Math.min(2_000, total), url, () => {})
      else yield* fill(queue, total)
      const before = yield* serverMillis(url)
      let counted = total
      let cpu = process.cpuUsage()
      let began = performance.now()
      yield* run(queue, total, url, () => {
        counted = total >> 1
        cpu = process.cpuUsage()
        began = performance.now()
      })
      const millis = performance.now() - began
      const { system, user } = process.cpuUsage(cpu)
      // the connections of a consumer have closed by now, and took their share with them
      const backends = fill === undefined ? (yield* serverMillis(url)) - before : Number.NaN
      yield* Console.log(
        `${name.padEnd(20)} ${((user + system) / counted).toFixed(1).padStart(8)} us here ` +
          `${((backends * 1000) / counted).toFixed(1).padStart(8)} us in the server ` +
          `${((counted * 1000) / millis).toFixed(0).padStart(8)} /s`
      )
    })
  )

const program = Effect.gen(function* () {
  const server = yield* EmbeddedPostgres.fromConfig({ dataDirectory: ".holdfast/bench", durable: true })
  for (const each of cases) {
    if (only === undefined || only.includes(each.name)) yield* measure(server, each)
  }
}).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.Error))

NodeRuntime.runMain(program)
