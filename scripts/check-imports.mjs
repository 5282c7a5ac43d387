/**
 * Holds the shape of the packages: no import cycle, core's modules in their rows, packages that import only what they may, one
 * module an import, and nothing in `src` that a service stands for.
 *
 *     node scripts/check-imports.mjs [root]
 */
import { readFileSync, realpathSync } from "node:fs"
import { join, posix } from "node:path"
import { fileURLToPath } from "node:url"
import { filesIn, lineAt, packagesIn, repository, scan } from "./source.mjs"

/** Core's modules. Each may import rows above its own, and modules listed before it in its row. */
const rows = [
  ["Message", "Envelope", "Headers"],
  [
    ...["MessagingError", "MessageStore", "UnitOfWork", "Channel", "MessageScheduler", "Deduplication"],
    "SagaStore",
    ...["Journal", "RetryPolicy", "HandlerRegistry", "Metrics", "DeadLetter", "Interceptor"]
  ],
  ["CommandBus", "QueryBus", "EventBus", "Handler"],
  ["MessageBus", "Consumer", "Outbox"],
  [
    ...["EventStore", "Snapshot", "Repository", "Aggregate", "Saga", "ProjectionStore", "Projection"],
    ...["Orchestrator", "Recurring"]
  ],
  ["workflow/*"],
  ["Operations", "MessagingTest"]
]

/** What a package may import besides its own files and core; a package not listed may import whatever it declares. */
const allowed = {
  core: ["effect"],
  postgres: ["effect", "@effect/sql", "@effect/sql-pg", "@effect/experimental", "pg", "node:"],
  embedded: ["effect", "@effect/sql", "@effect/sql-pg", "@effect/experimental", "node:"]
}
const typesOnly = { postgres: ["@effect/experimental"] }

const forbidden = [
  [/\bDate\.now\b/g, "Date.now", "use Clock"],
  [/\bMath\.random\b/g, "Math.random", "use Random"],
  [/\bprocess\.env\b/g, "process.env", "use Config"],
  [/\bconsole\./g, "console", "use Effect.log"]
]
const maxLines = 700

const clause = String.raw`(?:\*(?:\s*as\s+[\w$]+)?|\{[^{}]*\}|[\w$]+(?:\s*,\s*(?:\{[^{}]*\}|\*\s*as\s+[\w$]+))?)`
const importPattern = new RegExp(
  String.raw`(?<![.\w$])(?:(?:import|export)(\s+type(?=[\s{*])(?!\s+from\s*["']))?\s*${clause}\s*from\s*|import\s*\(?\s*)(["'])( *)\2`,
  "g"
)

const order = rows.flat()
const entryOf = (name) => (name.startsWith("workflow/") ? "workflow/*" : name)
/** Not a public module: internals, and the parts of a module too long for one file. */
const isInternal = (name) => /(?:^|\/)(?:internal|handler|messageStore)\//.test(name)
const isIndex = (name) => /(?:^|\/)index$/.test(name)
const packageOf = (specifier) =>
  specifier.startsWith("node:") ? "node:" : (/^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier)

const importsOf = (name, source, code) =>
  [...code.matchAll(importPattern)].map((match) => {
    const end = match.index + match[0].length - 1
    const specifier = source.slice(end - match[3].length, end)
    const relative = specifier.startsWith(".")
    const target = relative ? posix.join(posix.dirname(name), specifier).replace(/\.ts$/, "") : undefined
    return { specifier, relative, target, typeOnly: match[1] !== undefined, line: lineAt(source, match.index) }
  })

const readPackage = (root, folder) => {
  const manifest = JSON.parse(readFileSync(join(root, "packages", folder, "package.json"), "utf8"))
  const modules = filesIn(join(root, "packages", folder, "src"), ".ts").map((file) => {
    const name = file.replace(/\.ts$/, "")
    const path = `packages/${folder}/src/${file}`
    const source = readFileSync(join(root, path), "utf8")
    const { code } = scan(source)
    return { name, path, source, code, imports: importsOf(name, source, code) }
  })
  const declared = { ...manifest.dependencies, ...manifest.peerDependencies, ...manifest.optionalDependencies }
  return { folder, declared: Object.keys(declared), modules, byName: new Map(modules.map((m) => [m.name, m])) }
}

const relativeFault = ({ specifier, target }) => {
  if (!specifier.endsWith(".ts")) return `"${specifier}" does not end in .ts.`
  if (target.startsWith("../")) return `"${specifier}" leaves the package's src folder; import the package by its name.`
  if (isIndex(target)) return `"${specifier}" is a barrel; import the module itself.`
  return undefined
}

const packageFault = ({ declared, folder }, { specifier, typeOnly }) => {
  const name = packageOf(specifier)
  if (name.startsWith("@holdfast/")) {
    if (name === `@holdfast/${folder}`)
      return `"${specifier}" is this package itself; import its file by a relative path.`
    if (specifier.startsWith(`${name}/internal/`)) return `"${specifier}" is internal to ${name}.`
    if (folder === "core") return `core imports only effect/*, not "${specifier}".`
    if (name !== "@holdfast/core")
      return `packages never import each other, only @holdfast/core; "${specifier}" is a sibling.`
  } else if (allowed[folder]?.includes(name) === false) {
    return folder === "core"
      ? `core imports only effect/*, not "${specifier}".`
      : `${folder} may not import "${specifier}"; it may import ${allowed[folder].join(", ")} and @holdfast/core.`
  }
  if (name !== "node:" && !declared.includes(name)) return `${name} is not declared in packages/${folder}/package.json.`
  if (!typeOnly && typesOnly[folder]?.includes(name)) return `${folder} may import only types from "${specifier}".`
  if (specifier === name && /^(?:effect$|@effect\/|@holdfast\/)/.test(name)) {
    return `"${specifier}" is a barrel; import one module a line, such as "${name}/Module".`
  }
  return undefined
}

const moduleFaults = (pkg, { code, imports, path, source }) => {
  const lines = source.replace(/\n$/, "").split("\n").length
  return [
    ...imports.flatMap((entry) => {
      const fault = entry.relative ? relativeFault(entry) : packageFault(pkg, entry)
      return fault === undefined ? [] : [`${path}:${entry.line}: ${fault}`]
    }),
    ...forbidden.flatMap(([pattern, name, instead]) =>
      [...code.matchAll(pattern)].map((m) => `${path}:${lineAt(source, m.index)}: ${name} is not for src; ${instead}.`)
    ),
    ...(lines > maxLines
      ? [`${path}:${lines}: the file has ${lines} lines, over ${maxLines}; split it by concept.`]
      : [])
  ]
}

const cycleFaults = ({ byName, modules }) => {
  const faults = []
  const done = new Set()
  const visit = (module, trail) => {
    for (const { line, target, typeOnly } of module.imports) {
      // an internal file may name the types of the module that it implements: those imports leave no trace at run time
      if (typeOnly && isInternal(module.name)) continue
      const next = byName.get(target)
      const start = trail.indexOf(next)
      if (start >= 0) {
        const cycle = [...trail.slice(start), next].map((m) => m.name).join(" > ")
        faults.push(`${module.path}:${line}: import cycle ${cycle}.`)
      } else if (next !== undefined && !done.has(next)) visit(next, [...trail, next])
    }
    done.add(module)
  }
  for (const module of modules) if (!done.has(module)) visit(module, [module])
  return faults
}

const rowFaults = ({ byName, modules }) => {
  // An internal file stands where the last of the public modules that it reaches stands.
  const position = (name, seen = new Set()) => {
    if (!isInternal(name)) return order.indexOf(entryOf(name))
    if (seen.has(name)) return -1
    seen.add(name)
    const targets = byName.get(name)?.imports.flatMap(({ target }) => target ?? []) ?? []
    return Math.max(-1, ...targets.map((target) => position(target, seen)))
  }
  const inRow = (name) => `${name} (row ${rows.findIndex((row) => row.includes(entryOf(name))) + 1})`
  return modules.flatMap(({ imports, name, path }) => {
    if (isInternal(name) || isIndex(name)) return []
    const own = position(name)
    if (own < 0) return [`${path}:1: ${name} stands in no row; put it in a row of scripts/check-imports.mjs.`]
    return imports.flatMap(({ line, target }) => {
      if (!byName.has(target) || isIndex(target)) return []
      const other = position(target)
      if (other <= own) return []
      const via = isInternal(target) ? `${target}, which needs ${inRow(order[other])}` : inRow(target)
      return [`${path}:${line}: ${inRow(name)} imports ${via}; it may import only rows above it and modules before it.`]
    })
  })
}

/** Every violation below `root`, a sentence each with its file and line, and how much was read. */
export const checkImports = (root) => {
  const packages = packagesIn(root).map((folder) => readPackage(root, folder))
  const modules = packages.flatMap((pkg) => pkg.modules)
  const violations = packages.flatMap((pkg) => [
    ...pkg.modules.flatMap((module) => moduleFaults(pkg, module)),
    ...cycleFaults(pkg),
    ...(pkg.folder === "core" ? rowFaults(pkg) : [])
  ])
  return {
    violations,
    packages: packages.length,
    modules: modules.length,
    imports: modules.reduce((sum, module) => sum + module.imports.length, 0)
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { imports, modules, packages, violations } = checkImports(process.argv[2] ?? repository)
  for (const violation of violations) console.error(violation)
  if (violations.length > 0) process.exitCode = 1
  else console.log(`${imports} imports of ${modules} modules in ${packages} packages, all in order`)
}
