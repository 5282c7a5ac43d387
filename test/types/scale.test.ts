/**
 * Two hundred messages, handlers and services in one layer: the compiler stays quick, and still says what is missing.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"

const size = 200

describe("two hundred handlers in one layer", () => {
  it.live(
    "compile in seconds",
    () =>
      Effect.gen(function* () {
        const { output, status } = yield* check(
          "complete",
          program(() => true)
        )
        assert.strictEqual(status, 0, output)
        yield* Effect.log(`check ${seconds(output, "Check")} s, all ${seconds(output, "Total")} s`)
        assert.isBelow(seconds(output, "Check"), 20)
      }),
    120_000
  )

  it.live(
    "are refused when one of them is missing",
    () =>
      Effect.gen(function* () {
        const { output, status } = yield* check(
          "missing",
          program((index) => index !== 120)
        )
        assert.notStrictEqual(status, 0)
        assert.include(output, `Type 'Handles<"Message120">' is not assignable to type 'never'`)
        assert.strictEqual(output.match(/error TS\d+/g)?.length, 1, output)
      }),
    120_000
  )
})

// -----------------------------------------------------------------------------
// the program
// -----------------------------------------------------------------------------

const indices = Array.from({ length: size }, (_, index) => index)

/** Each handler needs a service of its own, and some send a command to the next. */
const program = (isHandled: (index: number) => boolean): string => {
  const handled = indices.filter(isHandled)
  const lists = {
    handlers: handled.map((index) => `handler${index}`),
    services: indices.map((index) => `Layer.succeed(Service${index}, { use: () => Effect.void })`),
    events: indices.filter((index) => kindOf(index) === "Event").map((index) => `Message${index}`)
  }
  return [
    `import { Channel, CommandBus, EventBus, Handler, Message, MessagingTest } from "@holdfast/core"`,
    `import { Context, Effect, Layer, Schedule, Schema } from "effect"`,
    `class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}`,
    ...indices.map(message),
    `class Events extends Channel.Tag<Events>()("Events", { messages: [${lists.events}] }) {}`,
    ...handled.map(handler),
    `const Handlers = Handler.layer(${lists.handlers})`,
    `const Services = Layer.mergeAll(${lists.services})`,
    `const Live = Handlers.pipe(`,
    `  Layer.provideMerge(MessagingTest.layer),`,
    `  Layer.provide(Channel.layerMemory(Events)),`,
    `  Layer.provide(Services)`,
    `)`,
    `CommandBus.send(new Message0({ id: "1" })).pipe(`,
    `  Effect.zipRight(CommandBus.send(new Message120({ id: "1" }))),`,
    `  Effect.zipRight(EventBus.publish(new Message1({ id: "1" }))),`,
    `  Effect.provide(Live),`,
    `  Effect.runPromise`,
    `)`
  ].join("\n")
}

const kindOf = (index: number): "Command" | "Query" | "Event" =>
  index % 2 === 1 ? "Event" : index % 8 === 2 ? "Query" : "Command"

const message = (index: number): string => {
  const kind = kindOf(index)
  const reply = kind === "Query" ? ", success: Schema.Number" : kind === "Command" ? ", error: Refused" : ""
  return (
    `class Message${index} extends Message.${kind}<Message${index}>()("Message${index}", ` +
    `{ payload: { id: Schema.String }${reply} }) {}\n` +
    `class Service${index} extends Context.Tag("Service${index}")<Service${index}, ` +
    `{ readonly use: (id: string) => Effect.Effect<void> }>() {}`
  )
}

const handler = (index: number): string => {
  const use = `Effect.flatMap(Service${index}, (service) => service.use(id))`
  switch (kindOf(index)) {
    case "Event":
      return (
        `const handler${index} = Handler.event(Message${index}, {\n` +
        `  name: "Handler${index}",\n` +
        `  handle: ({ id }) => ${use}\n` +
        `}).pipe(\n` +
        `  Handler.retry(Schedule.recurs(1)),\n` +
        `  Handler.asynchronous(Events),\n` +
        `  Handler.delay("1 second"),\n` +
        `  Handler.retry(Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(5)))),\n` +
        `  Handler.deduplicate({ key: (event) => event.id })\n` +
        `)`
      )
    case "Query":
      return `const handler${index} = Handler.query(Message${index}, ({ id }) => Effect.as(${use}, 1))`
    case "Command":
      return (
        `const handler${index} = Handler.command(Message${index}, Effect.fn("handler${index}")(function* ({ id }) {\n` +
        `  yield* ${use}\n` +
        (index % 8 === 4 ? `  yield* CommandBus.send(new Message${index + 2}({ id }))\n` : "") +
        `}))`
      )
  }
}

// -----------------------------------------------------------------------------
// the compiler
// -----------------------------------------------------------------------------

const repository = fileURLToPath(new URL("../..", import.meta.url))

const check = (name: string, source: string) =>
  Effect.sync(() => {
    const folder = join(repository, "node_modules/.cache/holdfast-scale", name)
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    writeFileSync(join(folder, "program.ts"), source)
    writeFileSync(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(repository, "tsconfig.base.json"),
        compilerOptions: { composite: false, declaration: false, declarationMap: false, noEmit: true },
        files: ["program.ts"]
      })
    )
    const tsc = spawnSync(
      join(repository, "node_modules/.bin/tsc"),
      ["-p", folder, "--pretty", "false", "--extendedDiagnostics"],
      { encoding: "utf8", maxBuffer: 2 ** 28 }
    )
    return { status: tsc.status, output: tsc.stdout + tsc.stderr }
  })

const seconds = (output: string, phase: "Check" | "Total"): number =>
  Number(new RegExp(`^${phase} time:\\s+([\\d.]+)s`, "m").exec(output)?.[1])
