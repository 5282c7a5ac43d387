import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Duration, Effect } from "effect"
import { now, type Queue, type Work } from "./queue.ts"

/** What a worker process is started with. */
export interface Order extends Work {
  readonly library: string
  readonly count: number
}

export type ToWorker = "go" | "stop"

export type FromWorker = { readonly _tag: "Ready" } | { readonly _tag: "Count"; readonly count: number } | Report

/** What a worker handled, in its order, and how many milliseconds after it was sent. */
export interface Report {
  readonly _tag: "Report"
  readonly handled: Int32Array
  readonly waited: Float32Array
  /** The largest resident set seen, in bytes. */
  readonly memory: number
}

/** When how many had been handled, by all processes together. */
export interface Sample {
  readonly at: number
  readonly count: number
}

export interface Drained {
  /** From the start of the consumers until all is handled and acknowledged. */
  readonly millis: number
  readonly began: number
  readonly samples: ReadonlyArray<Sample>
  readonly reports: ReadonlyArray<Report>
}

const script = fileURLToPath(new URL("./worker.js", import.meta.url))

/** A hundredth of a second a message, and half a minute to start: who is slower has stopped. */
const patience = ({ count }: Order) => Duration.seconds(30 + Math.ceil(count / 100))

/**
 * Starts worker processes and waits until they are connected; then lets them handle `order.count` messages, while
 * `meanwhile` runs, and stops them.
 */
export const drain = (order: Order, queue: Queue, meanwhile: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    const workers = yield* Effect.forEach(Array.from({ length: order.processes }), () => launch(order), {
      concurrency: "unbounded"
    })
    const samples: Array<Sample> = []
    const began = now()
    const finished = Effect.async<void>((resume) => {
      const counts = workers.map(() => 0)
      workers.forEach((worker, i) => {
        worker.on("message", (message: FromWorker) => {
          if (message._tag !== "Count") return
          counts[i] = message.count
          const count = counts.reduce((sum, each) => sum + each, 0)
          samples.push({ at: now() - began, count })
          if (count >= order.count) resume(Effect.void)
        })
        worker.send("go" satisfies ToWorker)
      })
    })
    yield* Effect.all([finished, meanwhile], { concurrency: "unbounded" })
    yield* Effect.repeat(Effect.delay(queue.left, "1 millis"), { until: (left) => left === 0 })
    const millis = now() - began
    const reports = yield* Effect.forEach(workers, stop, { concurrency: "unbounded" })
    const drained: Drained = { millis, began, samples, reports }
    return drained
  }).pipe(
    Effect.timeoutFail({
      duration: patience(order),
      onTimeout: () =>
        new Error(`${order.library} did not handle ${order.count} messages within ${Duration.format(patience(order))}`)
    }),
    Effect.orDie
  )

const launch = (order: Order) =>
  Effect.acquireRelease(
    Effect.async<ChildProcess>((resume) => {
      const worker = fork(script, [JSON.stringify(order)], { serialization: "advanced" })
      worker.once("exit", (code) => resume(Effect.dieMessage(`a worker of ${order.library} ended with ${code}`)))
      worker.on("message", (message: FromWorker) => {
        if (message._tag === "Ready") resume(Effect.succeed(worker))
      })
    }),
    (worker) => Effect.sync(() => void worker.kill("SIGKILL"))
  )

/** Its report, once it has ended. */
const stop = (worker: ChildProcess) =>
  Effect.async<Report>((resume) => {
    worker.on("message", (message: FromWorker) => {
      if (message._tag === "Report") worker.once("exit", () => resume(Effect.succeed(message)))
    })
    worker.send("stop" satisfies ToWorker)
  })
