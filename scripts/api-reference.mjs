/**
 * Writes docs/reference: a page for each public module, made of its doc comments. With `--check` it writes nothing, and fails
 * when a page is missing, stale or left over.
 *
 *     node scripts/api-reference.mjs [--check]
 */
import { spawnSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { filesIn, packagesIn, repository, scan } from "./source.mjs"

const target = join(repository, "docs/reference")
const notice = "<!-- Written by scripts/api-reference.mjs from the doc comments of the source. Do not edit. -->"

/** What a doc comment says: its text with its examples, and its tags. */
const parseDoc = (comment) => {
  const doc = { lines: [], category: "other", internal: false }
  let fenced = false
  for (const text of comment.slice(3, -2).split("\n")) {
    const line = text.replace(/^\s*\* ?/, "")
    const tag = fenced ? null : /^@(\w+) *(.*)$/.exec(line.trim())
    if (line.startsWith("```")) fenced = !fenced
    if (tag?.[1] === "category") doc.category = tag[2]
    if (tag?.[1] === "internal") doc.internal = true
    // compiled where it is written, not here again
    if (tag === null) doc.lines.push(line.replace(/^```ts\b/, "```typescript"))
  }
  return { ...doc, text: doc.lines.join("\n").trim() }
}

/**
 * Where a declaration's signature ends: a type's with its members, a class's before its body, a value's before the value.
 * `code` has no comments and no insides of strings, so brackets can be counted.
 */
const signatureEnd = (code, start, kind) => {
  const typed = /^export const [\w$]+\s*:/.test(code.slice(start, start + 200))
  let depth = 0
  let assigned = false
  for (const { 0: token, index } of code.slice(start).matchAll(/=>|[()[\]{}<>=]|\n(?=[^\s)\]}>|&?:])/g)) {
    const end = start + index
    if (depth === 0) {
      if (kind === "type" && token === "\n") return end
      if (kind === "class" && token === "{") return end
      if (kind === "const" && token === "=" && typed) return end
      // what follows the arrow of a curried function begins with type parameters
      if (kind === "const" && token === "=>" && assigned && !/^=>\s*</.test(code.slice(end))) return end
      if (kind === "const" && token === "\n" && assigned) return end
      if (token === "=") assigned = true
    }
    if ("([{<".includes(token)) depth++
    if (")]}>".includes(token)) depth--
    if (kind === "interface" && token === "}" && depth === 0) return end + 1
  }
  return code.length
}

/** As written, but without what is internal and without the tags of overloads, which are those of the whole. */
const signatureOf = (source, code, start, kind) =>
  source
    .slice(start, start + code.slice(start, signatureEnd(code, start, kind)).trimEnd().length)
    .replace(/^export /, "")
    .replace(/\n\s*\/\*\* @internal \*\/\n.*/g, "")
    .replace(/\n\s*\/\*\*\n(?:\s*\* @\w+.*\n)+\s*\*\//g, "")

const declaration = /^export (?:abstract )?(?:(const|class|interface|type) +(?=[\w$])|type \{ )([\w$]+)/gm

const exportsOf = (source) => {
  const { code, comments } = scan(source)
  return [...code.matchAll(declaration)].flatMap(({ 1: kind, 2: name, index }) => {
    const comment = comments.findLast(
      ({ end, start }) => end <= index && source.startsWith("/**", start) && code.slice(end, index).trim() === ""
    )
    if (comment === undefined || name === "TypeId") return []
    const doc = parseDoc(source.slice(comment.start, comment.end))
    const signature = kind === undefined ? `type ${name}` : signatureOf(source, code, index, kind)
    return doc.internal ? [] : [{ ...doc, name, signature }]
  })
}

/** An error that a module exports from a file of its internals is the module's. */
const reexported = (folder, source) =>
  [...source.matchAll(/^export \{ (\w+) \} from "(\.\/internal\/\w+\.ts)"/gm)].flatMap(([, name, file]) =>
    exportsOf(readFileSync(join(folder, file), "utf8")).filter((each) => each.name === name)
  )

/** Gives headings the anchors that GitHub gives them: the second of one name has a number. */
const makeAnchors = () => {
  const seen = new Map()
  return (heading) => {
    const slug = heading.toLowerCase().replaceAll(" ", "-")
    seen.set(slug, (seen.get(slug) ?? -1) + 1)
    return seen.get(slug) === 0 ? slug : `${slug}-${seen.get(slug)}`
  }
}

/** What a module exports from its parts: `export * from "./handler/delivery.ts"`. */
const parts = (folder, source) =>
  [...source.matchAll(/^export \* from "(\.\/\w+\/\w+\.ts)"/gm)].flatMap(([, file]) =>
    exportsOf(readFileSync(join(folder, file), "utf8"))
  )

/** The page of a module: `module` is a file of `folder` without its ending. Biome has not formatted it yet. */
export const pageOf = (folder, module, packageName) => {
  const source = readFileSync(join(folder, `${module}.ts`), "utf8")
  const first = scan(source).comments[0]
  const intro = first?.start === 0 ? parseDoc(source.slice(0, first.end)).text : ""
  const all = [...exportsOf(source), ...reexported(folder, source), ...parts(folder, source)].sort((a, b) =>
    a.name < b.name ? -1 : 1
  )
  const anchor = makeAnchors()
  anchor(module)
  const contents = []
  const sections = [...new Set(all.map(({ category }) => category))].sort().map((category) => {
    anchor(category)
    const members = all.filter((each) => each.category === category)
    contents.push(`- ${category}: ${members.map(({ name }) => `[\`${name}\`](#${anchor(name)})`).join(", ")}`)
    const entry = ({ name, signature, text }) => `### ${name}\n\n\`\`\`typescript\n${signature}\n\`\`\`\n\n${text}\n`
    return `## ${category}\n\n${members.map(entry).join("\n")}`
  })
  const head = [notice, `# ${module}`, `\`import { ${module} } from "${packageName}"\``, intro, contents.join("\n")]
  return [...head, ...sections].join("\n\n")
}

/** So that `npm run format` has nothing to change in what is generated. */
const format = (path, input) => {
  const args = ["format", `--stdin-file-path=docs/reference/${path}`]
  const options = { cwd: repository, encoding: "utf8", input }
  const biome = spawnSync(join(repository, "node_modules/.bin/biome"), args, options)
  if (biome.status !== 0) throw new Error(`Biome cannot format ${path}: ${biome.error ?? biome.stderr}`)
  return biome.stdout
}

const about = [
  "Every public module, from the comments in its source.",
  `The last signature of a combinator takes the handler or saga as its first argument; those before it are for \`pipe\`.
A type in a signature that no page lists, such as \`Travels\` or \`Placed\`, refuses what does not fit: it becomes the sentence
that the compiler shows. [Mistakes](../mistakes.md) lists these sentences.`
]

const writePages = () => {
  const written = new Map()
  const index = [notice, "# API reference", ...about]
  for (const folder of packagesIn(repository)) {
    const from = join(repository, "packages", folder)
    const { description, name } = JSON.parse(readFileSync(join(from, "package.json"), "utf8"))
    const files = filesIn(join(from, "src"), ".ts").filter(
      (file) => !/(?:^|\/)(?:internal\/|handler\/|messageStore\/|index\.ts$)/.test(file)
    )
    const modules = files.map((file) => file.replace(/\.ts$/, ""))
    for (const module of modules) written.set(`${folder}/${module}.md`, pageOf(join(from, "src"), module, name))
    index.push(`## ${name}`, `${description}.`, modules.map((each) => `- [${each}](${folder}/${each}.md)`).join("\n"))
  }
  written.set("index.md", index.join("\n\n"))

  const stale = filesIn(target, ".md").filter((path) => !written.has(path))
  for (const [path, text] of written) {
    const file = join(target, path)
    const page = format(path, text)
    if (existsSync(file) && readFileSync(file, "utf8") === page) continue
    stale.push(path)
    mkdirSync(dirname(file), { recursive: true })
    if (!process.argv.includes("--check")) writeFileSync(file, page)
  }
  for (const path of stale) {
    if (process.argv.includes("--check")) console.error(`docs/reference/${path} is stale: run npm run reference`)
    else if (!written.has(path)) rmSync(join(target, path))
  }
  if (process.argv.includes("--check") && stale.length > 0) process.exitCode = 1
  console.log(`${written.size} pages, ${stale.length} ${process.argv.includes("--check") ? "stale" : "changed"}`)
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) writePages()
