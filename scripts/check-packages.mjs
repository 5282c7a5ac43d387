/**
 * Holds the packages to what a user gets: builds and packs each, installs the tarballs into empty projects outside of the
 * repository by the lines of their READMEs, type-checks programs against them and runs these, on memory and on PostgreSQL;
 * then follows docs/first-steps.md with them.
 *
 *     node scripts/check-packages.mjs
 */
import { spawnSync } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, isAbsolute, join, posix, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { followPage } from "./first-steps.mjs"
import { filesIn, packagesIn, repository } from "./source.mjs"
import { parseDiagnostics } from "./tsc.mjs"

const root = repository.replace(/[\\/]$/, "")
const published = /^(?:package\.json|README\.md|LICENSE|src\/.+\.ts|dist\/.+\.(?:js|d\.ts)(?:\.map)?)$/
const testing = /(?:^|\/)(?:tests?|__tests__|fixtures)\/|\.(?:test|spec)\./
const outputs = [".js", ".js.map", ".d.ts", ".d.ts.map"]
const required = ["description", "keywords", "license", "engines", "publishConfig"]

const readJson = (...path) => JSON.parse(readFileSync(join(...path), "utf8"))
const targetsOf = (entry) =>
  typeof entry === "string" ? [entry] : entry === null ? [] : Object.values(entry).flatMap(targetsOf)

/** The public modules of a package's folder: "Channel" for `src/Channel.ts`. */
const modulesOf = (folder) =>
  filesIn(join(folder, "src"), ".ts")
    .map((file) => file.replace(/\.ts$/, ""))
    .filter((name) => name !== "index" && !/(?:^|\/)(?:internal|handler|messageStore)\//.test(name))

const mapFaults = (folder, file) => {
  const { sourceRoot, sources } = readJson(folder, file)
  if (sourceRoot) return [`${file} has the sourceRoot "${sourceRoot}"`]
  return sources.flatMap((source) => {
    if (isAbsolute(source) || /^\w+:/.test(source))
      return [`${file} names the source "${source}", which is not relative`]
    const target = posix.join(posix.dirname(file), source)
    return existsSync(join(folder, target)) ? [] : [`${file} names the source "${source}", which is not in the package`]
  })
}

/** What is wrong with a package as it lies unpacked in `folder`: the faults of each check, by its name. */
export const packageFaults = (folder, { licence, machine = root }) => {
  const manifest = readJson(folder, "package.json")
  const files = filesIn(folder, "").filter((file) => statSync(join(folder, file)).isFile())
  const has = new Set(files)
  const built = files.flatMap((file) => /^dist\/(.+?)(?:\.d\.ts|\.js)(?:\.map)?$/.exec(file)?.[1] ?? [])
  const modules = modulesOf(folder)
  const index = has.has("src/index.ts") ? readFileSync(join(folder, "src/index.ts"), "utf8") : ""
  const listed = [...index.matchAll(/^export \* as (\w+) from "\.\/(.+)\.ts"$/gm)]
  const names = new Set(listed.map((match) => match[2]))
  const exported = Object.entries(manifest.exports ?? {})
  const machinePath = new RegExp(`(?<![\\w./-])${machine.replace(/[^\w/-]/g, "\\$&")}(?![\\w-])|file:///`)
  return {
    "holds its files and no others": [
      ...["README.md", "LICENSE", "src/index.ts", "dist/index.js"].flatMap((f) => (has.has(f) ? [] : [`lacks ${f}`])),
      ...files.flatMap((f) => (!published.test(f) || testing.test(f) ? [`${f} does not belong in a package`] : [])),
      ...(has.has("LICENSE") && readFileSync(join(folder, "LICENSE"), "utf8") !== licence
        ? ["LICENSE differs from that of the repository"]
        : [])
    ],
    "is built from its sources": [
      ...[...new Set(built)].flatMap((b) =>
        has.has(`src/${b}.ts`) ? [] : [`dist/${b}.js has no source: remove dist`]
      ),
      ...files.flatMap((f) => {
        const name = /^src\/(.+)\.ts$/.exec(f)?.[1]
        return name === undefined
          ? []
          : outputs.flatMap((o) => (has.has(`dist/${name}${o}`) ? [] : [`lacks dist/${name}${o}`]))
      })
    ],
    "exports what exists": [
      ...(manifest.exports?.["./internal/*"] === null ? [] : [`"./internal/*" is not closed`]),
      ...exported.flatMap(([, entry]) =>
        targetsOf(entry)
          .flatMap((target) => (target.includes("*") ? modules.map((m) => target.replaceAll("*", m)) : [target]))
          .flatMap((target) => (has.has(posix.normalize(target)) ? [] : [`exports ${target}, which does not exist`]))
      )
    ],
    "lists its modules in index.ts": [
      ...modules.flatMap((m) => (names.has(m) ? [] : [`src/${m}.ts is not in index.ts`])),
      ...[...names].flatMap((m) => (modules.includes(m) ? [] : [`index.ts lists ${m}, which is not a public module`])),
      ...listed.flatMap(([, as, m]) => (posix.basename(m) === as ? [] : [`index.ts calls ${m} ${as}`]))
    ],
    "names no path of this machine": [
      ...files.filter((file) => file.endsWith(".map")).flatMap((file) => mapFaults(folder, file)),
      ...files.flatMap((f) => (machinePath.test(readFileSync(join(folder, f), "utf8")) ? [`${f} names one`] : []))
    ],
    "has its metadata": [
      ...required.flatMap((field) => (manifest[field] === undefined ? [`package.json lacks ${field}`] : [])),
      ...(manifest.private ? ["package.json says private"] : []),
      ...(manifest.publishConfig?.access === "public" ? [] : ["package.json does not publish to the public"]),
      ...Object.keys(manifest.scripts ?? {}).flatMap((s) =>
        /install$|^prepare$/.test(s) ? [`runs "${s}" on install`] : []
      ),
      ...Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies }).flatMap(([name, range]) =>
        name.startsWith("@holdfast/") && range !== manifest.version
          ? [`needs ${name} ${range}, not its own version`]
          : []
      )
    ]
  }
}

/** The packages that a README's first `npm i` line installs, and its `ts` blocks. */
export const readmeOf = (text) => ({
  install: (/^npm i (.*)$/m.exec(text)?.[1] ?? "").split(" ").filter((word) => word !== "" && !word.startsWith("-")),
  blocks: [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1])
})

/** The first program of a README, and what it says that the program prints. */
export const firstProgramOf = (text) => {
  const [, program, output] = /^```ts\n([\s\S]*?)^```$[\s\S]*?^```\n([\s\S]*?)\n```$/m.exec(text) ?? []
  return { program, output }
}

const memoryProgram = `
import { Channel, CommandBus, EventBus, Handler, Message, MessagingTest, Saga } from "@holdfast/core"
import { Command } from "@holdfast/core/Message"
// @ts-expect-error internal modules have no types
import type {} from "@holdfast/core/internal/handler"
import { Effect, Layer, Logger, LogLevel, Schedule, Schema, TestContext } from "effect"

export class Refused extends Schema.TaggedError<Refused>()("Refused", { id: Schema.String }) {}
export class Place extends Command<Place>()("Place", { payload: { id: Schema.String }, error: Refused }) {}
export class Placed extends Message.Event<Placed>()("Placed", { payload: { id: Schema.String } }) {}
export class Orders extends Channel.Tag<Orders>()("Orders", { messages: [Placed] }) {}

const said: Array<string> = []
const say = (line: string) => Effect.sync(() => void said.push(line))

export const place = Handler.command(
  Place,
  Effect.fn("place")(function* ({ id }) {
    if (id === "") return yield* new Refused({ id })
    yield* EventBus.publish(new Placed({ id }))
  })
)

let attempts = 0
export const confirm = Handler.event(Placed, {
  name: "Confirm",
  handle: ({ id }) =>
    Effect.suspend(() => {
      attempts += 1
      return attempts < 3 ? new Refused({ id }) : say(\`confirmed \${id} at attempt \${attempts}\`)
    })
}).pipe(
  Handler.asynchronous(Orders),
  Handler.retry(Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(5))))
)

export const fulfilment = Saga.make("Fulfilment", { state: Schema.Struct({ id: Schema.String }) }).pipe(
  Saga.startOn(Placed, {
    id: (placed) => placed.id,
    handle: ({ id }) => Effect.as(Saga.arm("payment", "24 hours"), { id })
  }),
  Saga.onTimeout("payment", { handle: (state) => Effect.as(say(\`\${state.id} timed out\`), Saga.complete(state)) }),
  Handler.asynchronous(Orders)
)

export const Live = Handler.layer(place, confirm, fulfilment).pipe(
  Layer.provideMerge(MessagingTest.layer),
  Layer.provideMerge(Channel.layerMemory(Orders))
)

export const program = Effect.gen(function* () {
  const refused = yield* Effect.flip(CommandBus.send(new Place({ id: "" })))
  yield* say(refused._tag)
  yield* CommandBus.send(new Place({ id: "A1" }))
  yield* MessagingTest.advance("1 minute")
  yield* MessagingTest.advance("24 hours")
  return said.join(", ")
})

console.log(
  await Effect.runPromise(
    program.pipe(
      Effect.provide(Live),
      Effect.provide(TestContext.TestContext),
      Logger.withMinimumLogLevel(LogLevel.Warning)
    )
  )
)
`
const memoryOutput = "Refused, confirmed A1 at attempt 3, A1 timed out"

const postgresProgram = `
import { rmSync } from "node:fs"
import { PgClient } from "@effect/sql-pg"
import { Channel, Consumer, EventBus, Handler, Message, MessageBus } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging, PgMigrations } from "@holdfast/postgres"
import { Deferred, Effect, Layer, Logger, LogLevel, Schema } from "effect"

export class Placed extends Message.Event<Placed>()("Placed", { payload: { id: Schema.String } }) {}
export class Orders extends Channel.Tag<Orders>()("Orders", { messages: [Placed] }) {}

const done = Deferred.unsafeMake<string>(undefined as never)
export const confirm = Handler.event(Placed, {
  name: "Confirm",
  handle: ({ id }) => Deferred.succeed(done, \`confirmed \${id} on PostgreSQL\`)
}).pipe(Handler.asynchronous(Orders))

export const program = Effect.gen(function* () {
  const server = yield* EmbeddedPostgres.make({ dataDirectory: "postgres", durable: false, force: true })
  yield* Effect.addFinalizer(() => Effect.sync(() => process.once("exit", () =>
    rmSync(server.dataDirectory, { recursive: true, force: true }))))
  const Live = Consumer.layer(Orders, { concurrency: 2 }).pipe(
    Layer.provide(Handler.layer(confirm)),
    Layer.provideMerge(MessageBus.layer),
    Layer.provideMerge(Layer.mergeAll(PgChannel.layer(Orders), PgMessaging.layer)),
    Layer.provide(PgMigrations.layer),
    Layer.provideMerge(PgClient.layer({ url: server.url, maxConnections: 10 }))
  )
  return yield* EventBus.publish(new Placed({ id: "A1" })).pipe(
    Effect.zipRight(Deferred.await(done)),
    Effect.timeout("30 seconds"),
    Effect.provide(Live)
  )
}).pipe(Effect.scoped)

console.log(await Effect.runPromise(program.pipe(Logger.withMinimumLogLevel(LogLevel.Warning))))
`
const postgresOutput = "confirmed A1 on PostgreSQL"

const stopServer = `
import { EmbeddedPostgres } from "@holdfast/embedded"
import { Effect } from "effect"
await Effect.runPromise(EmbeddedPostgres.stop())
`

const resolutions = {
  NodeNext: { module: "NodeNext", moduleResolution: "NodeNext" },
  Bundler: { module: "ESNext", moduleResolution: "Bundler" }
}

const run = (command, args, cwd) => {
  const shell = process.platform === "win32" && command === "npm"
  const result = spawnSync(command, args, { cwd, shell, encoding: "utf8", maxBuffer: 2 ** 28, timeout: 300_000 })
  const said = `${result.stdout}${result.stderr}${result.error ?? ""}`.trim()
  return { ok: result.status === 0, stdout: (result.stdout ?? "").trim(), said }
}
const must = (result) => {
  if (!result.ok) throw new Error(result.said)
  return result.stdout
}
const faultsOf = (result) => (result.ok ? [] : [result.said])
const tsc = (args, cwd) => run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), ...args], cwd)

/** An empty project with packages installed: names as npm takes them. */
const install = (folder, specs) => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, "package.json"), `{ "name": "user", "private": true, "type": "module" }\n`)
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"]
  return run("npm", ["i", ...flags, ...specs], folder)
}

/** Type-checks every file of `src/` as a user would, without leave to skip declarations. Faults of others are notes. */
const typeCheck = (folder, name, types) => {
  const compilerOptions = {
    ...{
      target: "ES2022",
      strict: true,
      exactOptionalPropertyTypes: true,
      skipLibCheck: false,
      declaration: true,
      types
    },
    ...{ rootDir: "src", outDir: `dist-${name}`, ...resolutions[name] }
  }
  writeFileSync(join(folder, `${name}.json`), JSON.stringify({ compilerOptions, include: ["src"] }))
  const result = tsc(["-p", `${name}.json`, "--pretty", "false"], folder)
  const found = parseDiagnostics(result.stdout, folder)
  if (!result.ok && found.length === 0) return { faults: [result.said], notes: [] }
  const faults = []
  const notes = new Set()
  for (const { code, file, line, message } of found) {
    const path = file === undefined ? "" : relative(folder, file).split("\\").join("/")
    const other = /^node_modules\/(?!@holdfast\/)((?:@[^/]+\/)?[^/]+)/.exec(path)
    if (other === null) faults.push(`${path}:${line}: ${code}: ${message}`)
    else notes.add(`declarations of ${other[1]} have errors of their own (${code})`)
  }
  return { faults, notes: [...notes] }
}

const write = (folder, files) => {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
}

const importFaults = (folder, internals, publics) => {
  const probe = `
    for (const name of ${JSON.stringify(publics)}) await import(name).catch((e) => console.log(name + ": " + e))
    for (const name of ${JSON.stringify(internals)}) await import(name).then(
      () => console.log(name + " can be imported"),
      (e) => e.code === "ERR_PACKAGE_PATH_NOT_EXPORTED" || console.log(name + ": " + e))`
  const result = run(process.execPath, ["--input-type=module", "-e", probe], folder)
  return result.ok && result.stdout === "" ? [] : [result.said]
}

const outputFaults = (folder, file, expected) => {
  const { ok, said, stdout } = run(process.execPath, [file], folder)
  return ok && stdout === expected ? [] : [`printed "${said}" and not "${expected}"`]
}

/** Runs every check; `report` is told the name of each, its faults and notes. */
const checkPackages = async (folder, report) => {
  const packages = packagesIn(root).map((name) => ({
    folder: `packages/${name}`,
    ...readJson(root, "packages", name, "package.json")
  }))
  const built = tsc(["-b", ...packages.map((p) => p.folder)], root)
  report("the packages build", faultsOf(built))
  if (!built.ok) return

  const packed = join(folder, "packed")
  mkdirSync(packed)
  const flags = ["--json", "--ignore-scripts", "--loglevel=error", "--pack-destination", packed]
  const names = packages.map((p) => p.name)
  const made = JSON.parse(must(run("npm", ["pack", ...names.flatMap((name) => ["-w", name]), ...flags], root)))
  const tarballs = new Map(Object.values(made).map(({ filename, name }) => [name, join(packed, filename)]))
  const versions = new Set(packages.map((p) => p.version))
  report("the packages have one version", versions.size === 1 ? [] : [[...versions].join(", ")])

  // What the READMEs say to install, at the versions that the repository tests with.
  const pinned = readJson(root, "package.json").devDependencies
  const specOf = (name) => tarballs.get(name) ?? (pinned[name] === undefined ? name : `${name}@${pinned[name]}`)
  const readmes = packages.map((p) => ({ ...p, ...readmeOf(readFileSync(join(root, p.folder, "README.md"), "utf8")) }))
  for (const { blocks, install: line, name, peerDependencies } of readmes) {
    const missing = [name, ...Object.keys(peerDependencies)].filter((needed) => !line.includes(needed))
    const faults = missing.map((needed) => `its npm i line lacks ${needed}`)
    report(
      `${name}: its README installs what it needs and has an example`,
      blocks.length > 0 ? faults : [...faults, "no example"]
    )
  }

  const alone = join(folder, "alone")
  const core = readmes.find((p) => p.name === "@holdfast/core")
  report("@holdfast/core installs alone", faultsOf(install(alone, core.install.map(specOf))))
  const whole = join(folder, "whole")
  const everything = [...new Set(readmes.flatMap((p) => p.install)), "@types/node"]
  const installed = install(whole, everything.map(specOf))
  report("all packages install together", faultsOf(installed))
  if (!installed.ok) return

  const licence = readFileSync(join(root, "LICENSE"), "utf8")
  for (const { name } of packages) {
    const checks = packageFaults(join(whole, "node_modules", name), { licence })
    for (const [check, faults] of Object.entries(checks)) report(`${name}: ${check}`, faults)
  }
  const tree = run("npm", ["ls", "--all", "--json"], alone)
  const needs = Object.keys(JSON.parse(tree.stdout || "{}").dependencies?.["@holdfast/core"]?.dependencies ?? {})
  const strays = needs.filter((name) => name !== "effect").map((name) => `it depends on ${name}`)
  report("@holdfast/core: depends on effect and nothing else", [...faultsOf(tree), ...strays])

  const at = (name) => join(whole, "node_modules", name)
  const publics = ({ name }) => [name, ...modulesOf(at(name)).map((module) => `${name}/${module}`)]
  const internals = ({ name }) =>
    filesIn(join(at(name), "dist/internal"), ".js").map((file) => `${name}/internal/${file.replace(/\.js$/, "")}`)
  const modulesFile = (list) =>
    list
      .flatMap(publics)
      .map((m, i) => `export * as m${i} from "${m}"\n`)
      .join("")
  const examples = (list) =>
    Object.fromEntries(
      list.flatMap((p) => p.blocks.map((block, i) => [`src/readme/${p.folder.slice(9)}${i}.ts`, block]))
    )
  const first = firstProgramOf(readFileSync(join(root, "README.md"), "utf8"))
  write(alone, {
    ...{ "src/memory.ts": memoryProgram, "src/first.ts": first.program },
    ...{ "src/modules.ts": modulesFile([core]), ...examples([core]) }
  })
  write(whole, {
    ...{ "src/memory.ts": memoryProgram, "src/postgres.ts": postgresProgram },
    ...{ "src/modules.ts": modulesFile(packages), ...examples(readmes) }
  })
  for (const resolution of Object.keys(resolutions)) {
    for (const [project, types, what] of [
      [alone, [], "@holdfast/core alone"],
      [whole, ["node"], "all packages"]
    ]) {
      const { faults, notes } = typeCheck(project, resolution, types)
      report(`programs with ${what} compile under ${resolution}`, faults, notes)
    }
  }
  for (const p of packages) {
    report(
      `${p.name}: public modules can be imported, internal ones cannot`,
      importFaults(whole, internals(p), publics(p))
    )
  }
  report("a program with @holdfast/core alone runs", outputFaults(alone, "dist-NodeNext/memory.js", memoryOutput))
  report("the first program of README.md runs", outputFaults(alone, "dist-NodeNext/first.js", first.output))
  report(
    "a program with all packages runs on PostgreSQL",
    outputFaults(whole, "dist-NodeNext/postgres.js", postgresOutput)
  )
  await checkFirstSteps(folder, names, report)
}

/** Follows docs/first-steps.md beside the packed packages, and stops its server if a fault has left one. */
const checkFirstSteps = async (folder, names, report) => {
  const pack = `npm pack ${names.map((name) => `-w ${name}`).join(" ")} --pack-destination ../packed`
  const packing = ["npm ci", "npx tsc -b", "mkdir ../packed", pack]
  const page = readFileSync(join(root, "docs/first-steps.md"), "utf8")
  const begun = performance.now()
  let failed = false
  const shop = await followPage({ checkout: join(folder, "checkout"), packing, page }, (check, faults) => {
    failed ||= faults.length > 0
    report(`first steps: ${check}`, faults)
  })
  console.log(`     first steps took ${Math.round((performance.now() - begun) / 1000)} s`)
  if (failed && existsSync(join(shop, "node_modules/@holdfast/embedded")))
    run(process.execPath, ["--input-type=module", "-e", stopServer], shop)
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-packages-")))
  chmodSync(folder, 0o711) // or root's servers, which run as another user, would keep their data elsewhere
  if (!relative(root, folder).startsWith("..")) throw new Error("the temp folder lies in the repository")
  try {
    await checkPackages(folder, (check, faults, notes = []) => {
      console.log(`${faults.length === 0 ? "ok  " : "FAIL"} ${check}`)
      for (const note of notes) console.log(`     note: ${note}`)
      for (const fault of faults) console.log(`     ${fault.replaceAll("\n", "\n     ")}`)
      if (faults.length > 0) process.exitCode = 1
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
