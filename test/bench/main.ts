/**
 * Measures Holdfast, its peers and bare `pg` side by side, and writes `docs/benchmarks.md` when every job was measured.
 *
 *     npm run bench -- [--only noop,send-10] [--rounds 3] [--scale 1] [--quick] [--full] [--note "a sentence"]
 */
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { Console, Effect, Logger, LogLevel } from "effect"
import { jobs } from "./jobs.ts"
import { describe } from "./machine.ts"
import { measure, type Plan } from "./measure.ts"
import { install } from "./peers.ts"
import { report } from "./report.ts"

const { values: args } = parseArgs({
  options: {
    only: { type: "string" },
    rounds: { type: "string" },
    scale: { type: "string" },
    quick: { type: "boolean", default: false },
    full: { type: "boolean", default: false },
    note: { type: "string" }
  }
})

const page = fileURLToPath(new URL("../../../docs/benchmarks.md", import.meta.url))

const plan: Plan = {
  rounds: Number(args.rounds ?? (args.quick ? 1 : 3)),
  scale: Number(args.scale ?? (args.quick ? 0.1 : 1)),
  full: args.full
}

const only = args.only === undefined ? undefined : args.only.split(",")
const chosen = jobs.filter(({ name }) => only?.some((each) => name === each || name.startsWith(`${each}-`)) ?? true)

const how =
  `${new Date().toISOString().slice(0, 10)}, ${plan.rounds === 1 ? "1 round" : `${plan.rounds} rounds`}, scale ${plan.scale} ` +
  (plan.full ? "of the full sizes" : "of the usual sizes (`--full` takes a backlog of 1,000,000 and the like)") +
  (args.note === undefined ? "" : `. ${args.note}`)

const program = Effect.gen(function* () {
  yield* install
  const server = yield* EmbeddedPostgres.fromConfig({ dataDirectory: ".holdfast/bench", durable: true })
  const machine = yield* describe(server)
  const measured = yield* Effect.forEach(chosen, (job) => measure(server, job, plan))
  const text = report(measured, machine, how)
  yield* Console.log(`\n${text}`)
  if (chosen.length === jobs.length) yield* Effect.sync(() => writeFileSync(page, text))
  const failed = measured.flatMap(({ results }) => results).filter(({ failure }) => failure !== undefined)
  if (failed.length > 0)
    yield* Effect.sync(() => {
      process.exitCode = 1
    })
}).pipe(Effect.scoped, Logger.withMinimumLogLevel(LogLevel.Error))

NodeRuntime.runMain(program)
