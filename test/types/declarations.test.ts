/**
 * A library of handlers and combinators, and a program that uses it from its emitted declarations: these name nothing that
 * the program could not import, so what the types refuse is refused there too.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const repository = fileURLToPath(new URL("../..", import.meta.url))
const core = join(repository, "packages/core")
const modules = readdirSync(join(core, "src"))
  .filter((file) => file.endsWith(".ts") && file !== "index.ts")
  .map((file) => file.slice(0, -3))

const library = `
import { Channel, Handler, Interceptor, Message, MessagingTest, Orchestrator, Saga } from "@holdfast/core"
import { Effect, Schedule, Schema } from "effect"
${modules.map((module) => `import * as ${module}_ from "@holdfast/core/${module}"`).join("\n")}

export const all = [${modules.map((module) => `{ ...${module}_ }`)}] as const

export class Ship extends Message.Command<Ship>()("Ship", { payload: { id: Schema.String } }) {}
export class Shipped extends Message.Event<Shipped>()("Shipped", { payload: { id: Schema.String } }) {}
export class Ships extends Channel.Tag<Ships>()("shop/Ships", { messages: [Ship] }) {}
export class Failures extends Channel.Tag<Failures>()("shop/Failures") {}
export class Timing extends Interceptor.Tag<Timing>()("shop/Timing") {}

export const onShips = Handler.asynchronous(Ships)
export const standard = [
  Handler.delay("1 second"), Handler.priority(1), Handler.timeToLive("1 hour"), Handler.timeout("1 second"),
  Handler.retry(Schedule.recurs(1)), Handler.deduplicate({ key: () => "1" }), Handler.errorChannel(Failures),
  Handler.deadLetter({ afterCrashes: 1 }), Handler.intercept(Timing), Handler.outputTo(Shipped)
] as const

export const ship = Handler.command(Ship, ({ id }) => Effect.succeed(new Shipped({ id })))
export const shipping = ship.pipe(Handler.outputTo(Shipped), onShips, Handler.errorChannel(Failures))
export const Live = Handler.layer(shipping)
export const handler = <R>(effect: Effect.Effect<void, never, R>) => Handler.command(Ship, () => effect)

export const text = { input: Schema.String, output: Schema.String, run: (value: string) => Effect.succeed(value) }
export const measure = Orchestrator.step("measure", { ...text, output: Schema.Number, run: () => Effect.succeed(1) })
export const thenMeasure = Orchestrator.andThen(measure)
export const flow = Orchestrator.make("Flow", { input: Schema.String }).pipe(thenMeasure)
export const saga = Saga.make("S", { state: Schema.Struct({ id: Schema.String }) }).pipe(
  Saga.startOn(Shipped, { id: (_) => _.id, handle: ({ id }) => Effect.as(Saga.arm("late", "1 day"), { id }) })
)
export const arm = Saga.arm("late", "1 day")
export const log = MessagingTest.log
`

const program = `
import { Handler } from "@holdfast/core"
import { Effect } from "effect"
import { arm, flow, handler, log, onShips, Shipped, thenMeasure } from "./library.js"

export const ship = handler(Effect.void).pipe(onShips)
export const again = { arm, flow, log, onShips, thenMeasure }

export const wrong = Handler.event(Shipped, { name: "W", handle: () => Effect.void }).pipe(onShips)
export const twice = flow.pipe(thenMeasure)
export const entry: typeof log extends Effect.Effect<ReadonlyArray<{ readonly _tag: infer Tag }>, any, any> ? Tag : never = "No"
`

describe("declarations that a library emits", () => {
  it("name what programs can import, and refuse there what they refuse in the library", () => {
    const built = compile("library", { "library.ts": library })
    assert.strictEqual(built.output, "")
    const used = compile("program", { "program.ts": program, "library.d.ts": built.declarations("library") })
    assert.include(used.output, `'"shop/Ships does not carry Shipped"'`)
    assert.include(used.output, `'"Step measure cannot follow step measure: it does not take what measure gives"'`)
    assert.include(used.output, `Type '"No"' is not assignable to type`)
    assert.strictEqual(used.output.match(/error TS\d+/g)?.length, 3, used.output)
    const named = [built.declarations("library"), used.declarations("program")].join().matchAll(internals)
    const unreachable = [...named].map(([, module]) => module!).filter((module) => !(`./${module}` in manifest.exports))
    assert.deepStrictEqual(unreachable, [])
  })
})

// -----------------------------------------------------------------------------
// the compiler
// -----------------------------------------------------------------------------

const manifest = JSON.parse(readFileSync(join(core, "package.json"), "utf8"))
const internals = /@holdfast\/core\/((?:internal|handler)\/\w+)/g

/** Compiles files as a user would, through the exports of the packages. */
const compile = (name: string, files: Record<string, string>) => {
  const folder = join(repository, "node_modules/.cache/holdfast-declarations", name)
  mkdirSync(folder, { recursive: true })
  const compilerOptions = { composite: false, outDir: "dist", noEmitOnError: false, tsBuildInfoFile: null }
  const extending = join(repository, "tsconfig.base.json")
  const config = JSON.stringify({ extends: extending, compilerOptions, files: Object.keys(files) })
  const written = { ...files, "package.json": `{ "type": "module" }`, "tsconfig.json": config }
  for (const [path, text] of Object.entries(written)) writeFileSync(join(folder, path), text)
  const tsc = join(repository, "node_modules/typescript/bin/tsc")
  const { stdout } = spawnSync(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { encoding: "utf8" })
  return { output: stdout, declarations: (file: string) => readFileSync(join(folder, `dist/${file}.d.ts`), "utf8") }
}
