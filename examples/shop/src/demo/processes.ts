/**
 * The shop's processes, as they would run on three machines: `node web.js`, and `node worker.js` twice.
 */
import { createServer } from "node:http"
import { execPath } from "node:process"
import { fileURLToPath } from "node:url"
import { Command, type CommandExecutor, FileSystem, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, Ref, Stream } from "effect"
import { connectionString, DemoDatabase } from "./database.ts"
import { DemoError } from "./waiting.ts"

/** Short enough to watch. In production these are 24 hours and 10 seconds. */
export const paymentTimeout = "6 seconds"
export const workerLease = "3 seconds"

/** What they log. */
export const logs = ".holdfast/demo-logs"

export class Processes extends Context.Tag("shop/demo/Processes")<
  Processes,
  {
    readonly url: string
    readonly pids: Readonly<Record<string, number>>
    /** `kill -9`: the process gets no chance to say anything to anybody. */
    readonly kill: (name: string) => Effect.Effect<void>
    /** Fails when a process ends that nobody killed. */
    readonly watch: Effect.Effect<never, DemoError>
  }
>() {
  static readonly layer = Layer.scoped(
    Processes,
    Effect.gen(function* () {
      const port = yield* freePort
      const web = yield* start("web", "web", { PORT: String(port) })
      const workers = yield* Effect.forEach(["worker 1", "worker 2"], (name) => start(name, "worker", {}))
      const children = [web, ...workers]
      return Processes.of({
        url: `http://127.0.0.1:${port}`,
        pids: Object.fromEntries(children.map(({ name, process }) => [name, process.pid])),
        kill: (name) =>
          Effect.forEach(children, (child) => (child.name === name ? kill(child) : Effect.void), { discard: true }),
        watch: Effect.forEach(children, watch, { concurrency: "unbounded" }).pipe(Effect.zipRight(Effect.never))
      })
    })
  )
}

interface Child {
  readonly name: string
  readonly process: CommandExecutor.Process
  readonly killed: Ref.Ref<boolean>
}

const start = Effect.fn("start")(function* (name: string, main: "web" | "worker", environment: Record<string, string>) {
  const fs = yield* FileSystem.FileSystem
  const database = yield* DemoDatabase
  const process = yield* Command.make(
    execPath,
    "--import",
    compiled("./tether.js"),
    fileURLToPath(compiled(`../${main}.js`))
  ).pipe(
    Command.env({
      DATABASE_URL: connectionString(database),
      HOST: "127.0.0.1",
      PROCESS_NAME: name,
      PAYMENT_TIMEOUT: paymentTimeout,
      WORKER_LEASE: workerLease,
      ...environment
    }),
    Command.start
  )
  yield* fs.makeDirectory(logs, { recursive: true })
  yield* Stream.merge(process.stdout, process.stderr).pipe(
    Stream.run(fs.sink(`${logs}/${name.replace(" ", "-")}.log`)),
    Effect.ignore,
    Effect.forkScoped
  )
  const child: Child = { name, process, killed: yield* Ref.make(false) }
  return child
})

const kill = ({ killed, process }: Child) =>
  Ref.set(killed, true).pipe(Effect.zipRight(process.kill("SIGKILL")), Effect.orDie)

const watch = Effect.fn("watch")(function* ({ killed, name, process }: Child) {
  yield* Effect.exit(process.exitCode)
  if (!(yield* Ref.get(killed))) return yield* new DemoError({ message: `${name} ended by itself` })
})

const compiled = (file: string) => new URL(file, import.meta.url).href

const freePort = HttpServer.HttpServer.pipe(
  Effect.map(({ address }) => (address._tag === "TcpAddress" ? address.port : 0)),
  Effect.provide(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
)
