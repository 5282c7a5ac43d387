/** A process that handles messages with one library. It is started by `workers.ts`, and told what to do over IPC. */
import { Deferred, Effect, Logger, LogLevel } from "effect"
import { libraries } from "./libraries.ts"
import { now, type Payload } from "./queue.ts"
import type { FromWorker, Order, ToWorker } from "./workers.ts"

const order: Order = JSON.parse(process.argv[2]!)
const handled = new Int32Array(order.count * 2)
const waited = new Float32Array(order.count * 2)
let count = 0

const record = ({ at, n }: Payload) => {
  handled[count] = n
  waited[count] = now() - at
  count++
}

const tell = (message: FromWorker) =>
  Effect.async<void>((resume) => {
    process.send!(message, () => resume(Effect.void))
  })

const program = Effect.gen(function* () {
  const go = yield* Deferred.make<void>()
  const stop = yield* Deferred.make<void>()
  process.on("message", (message: ToWorker) => Deferred.unsafeDone(message === "go" ? go : stop, Effect.void))
  const library = libraries.find(({ name }) => name === order.library)!
  const memory = { peak: 0 }
  yield* Effect.gen(function* () {
    const start = yield* library.consume(order, record)
    yield* tell({ _tag: "Ready" })
    yield* Deferred.await(go)
    const report = Effect.suspend(() => {
      memory.peak = Math.max(memory.peak, process.memoryUsage.rss())
      return tell({ _tag: "Count", count })
    })
    yield* Effect.forkScoped(Effect.forever(Effect.delay(report, "20 millis")))
    yield* start
    yield* Deferred.await(stop)
  }).pipe(Effect.scoped)
  yield* tell({
    _tag: "Report",
    handled: handled.slice(0, count),
    waited: waited.slice(0, count),
    memory: memory.peak
  })
}).pipe(Logger.withMinimumLogLevel(LogLevel.Error))

Effect.runPromise(program).then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${error}\n`)
    process.exit(1)
  }
)
