/**
 * Holds the documentation to the code: every `ts` block in the doc comments of public modules, in README.md and in docs/
 * compiles on its own, as a user's file would; every public export says `@since` and `@category` and has an example of its own,
 * except for those of the category "type ids". A block that cannot compile is marked "ts no-check". Reads the packages as
 * `tsc -b` built them.
 *
 *     node scripts/check-docs.mjs [root]
 */
import { existsSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, posix, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { filesIn, lineAt, packagesIn, repository, scan } from "./source.mjs"
import { diagnose } from "./tsc.mjs"

const exempt = "type ids"

const isPublic = (file) => !/(?:^|\/)internal\//.test(file) && !/(?:^|\/)index\.ts$/.test(file)

/** The `ts` blocks of a text whose first line is line `start` of its file. `line` is that of the fence. */
const blocksOf = (path, start, lines) => {
  const blocks = []
  let open
  lines.forEach((text, i) => {
    const fence = /^(\s*)(`{3,})(.*)$/.exec(text)
    if (open === undefined && fence !== null) {
      const [language, ...flags] = fence[3].trim().split(/\s+/)
      open = { path, line: start + i, fence: fence[2], indent: fence[1].length, language, flags, lines: [] }
    } else if (open !== undefined && fence?.[2].startsWith(open.fence) && fence[3].trim() === "") {
      if (open.language === "ts") blocks.push(open)
      open = undefined
    } else open?.lines.push(text.slice(Math.min(open.indent, text.length - text.trimStart().length)))
  })
  return blocks
}

const commentLines = (comment) =>
  comment
    .replace(/^\/\*\*/, "")
    .replace(/\*\/$/, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, ""))

const declaration =
  /^export (?:declare )?(?:async )?(?:abstract )?(const|let|class|interface|type|function)\*? +(?!\{)([\w$]+)/gm
const listed = /^export (?:type )?\{([^}]*)\}(?:\s*from\s*"[^"]*")?/gm

/** The public exports of a module with the doc comment of each, if any: where it is exported, or else where it is declared. */
const exportsOf = (path, read) => {
  const source = read(path)
  const { code, comments } = scan(source)
  const docBefore = (offset) => {
    // Between a declaration and its comment there may be a line comment for a tool.
    const before = comments.findLast(
      ({ end, start }) => end <= offset && source.startsWith("/**", start) && code.slice(end, offset).trim() === ""
    )
    return before === undefined ? undefined : source.slice(before.start, before.end)
  }
  const declared = [...code.matchAll(declaration)].map((match) => ({
    kind: match[1],
    name: match[2],
    offset: match.index
  }))
  const at = ({ name, offset }, doc = docBefore(offset)) => ({ name, path, line: lineAt(source, offset), doc })
  const own = declared
    .filter((e, i, all) => e.kind !== "function" || all[i - 1]?.kind !== "function" || all[i - 1].name !== e.name)
    .map((each) => at(each))
  const others = [...code.matchAll(listed)].flatMap((match) => {
    const from = /"(.*)"$/.exec(source.slice(match.index, match.index + match[0].length))?.[1]
    const whole = from === undefined ? undefined : docBefore(match.index)
    const there =
      from === undefined || whole !== undefined ? [] : exportsOf(posix.join(posix.dirname(path), from), read)
    return [...match[1].matchAll(/([\w$]+)(?:\s+as\s+([\w$]+))?/g)].map((item) => {
      const name = item[2] ?? item[1]
      const offset = match.index + match[0].indexOf("{") + 1 + item.index
      const original = there.find((each) => each.name === item[1])
      return original === undefined ? at({ name, offset }, whole ?? docBefore(offset)) : { ...original, name }
    })
  })
  return [...own, ...others]
}

const hasExample = ({ doc }) => /^[\s*]*```ts\b/m.test(doc ?? "")
const categoryOf = ({ doc }) => /@category +(.*?)\s*(?:\*\/)?$/m.exec(doc ?? "")?.[1]

/** What an export's doc comment lacks, as a sentence, or nothing. */
const lackOf = (exported) => {
  const { doc, line, name, path } = exported
  const at = `${path}:${line}: ${name}`
  if (doc === undefined) return `${at} has no doc comment.`
  const missing = ["@since", "@category"].filter(
    (tag) => !new RegExp(`^\\s*(?:/\\*)?\\*\\s*${tag} +\\S`, "m").test(doc)
  )
  if (missing.length > 0) return `${at} lacks ${missing.join(" and ")}.`
  return categoryOf(exported) === exempt || hasExample(exported) ? undefined : `${at} has no example.`
}

/** Writes each block to a file of its own, compiles them in one run, and gives the errors at their source lines. */
const compile = (root, blocks) => {
  const cache = resolve(root, "node_modules/.cache/holdfast-docs")
  rmSync(cache, { recursive: true, force: true })
  const byFile = new Map()
  for (const block of blocks) {
    const file = join(cache, `${block.path.replace(/\.(?:ts|md)$/, "")}.${block.line}.ts`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `${block.lines.join("\n")}\n`)
    byFile.set(file, block)
  }
  if (blocks.length > 0) writeFileSync(join(cache, "package.json"), `{ "type": "module" }\n`)
  return diagnose(cache, [...byFile.keys()]).map(({ code, file, line, message }) => {
    const block = byFile.get(file)
    if (block !== undefined) return `${block.path}:${block.line + line}: ${code}: ${message}`
    return `${file === undefined ? "" : `${relative(root, file)}:${line}: `}${code}: ${message}`
  })
}

/** Every fault in the documentation below `root`, and how much was read. */
export const checkDocs = (root) => {
  const modules = packagesIn(root).flatMap((folder) =>
    filesIn(join(root, "packages", folder, "src"), ".ts")
      .filter(isPublic)
      .map((file) => `packages/${folder}/src/${file}`)
  )
  const pages = ["README.md", ...filesIn(join(root, "docs"), ".md").map((file) => `docs/${file}`)]
  const read = (path) => readFileSync(join(root, path), "utf8")
  const exported = modules.flatMap((path) => exportsOf(path, read))
  const sources = [...new Set([...modules, ...exported.map(({ path }) => path)])]
  const blocks = [
    ...sources.flatMap((path) => {
      const source = read(path)
      return scan(source)
        .comments.map(({ end, start }) => ({ start, text: source.slice(start, end) }))
        .filter(({ text }) => text.startsWith("/**"))
        .flatMap(({ start, text }) => blocksOf(path, lineAt(source, start), commentLines(text)))
    }),
    ...pages.filter((path) => existsSync(join(root, path))).flatMap((path) => blocksOf(path, 1, read(path).split("\n")))
  ]
  const skipped = blocks.filter(({ flags }) => flags.includes("no-check"))
  const checked = blocks.filter((block) => !skipped.includes(block))
  return {
    faults: [...exported.flatMap((e) => lackOf(e) ?? []), ...compile(root, checked)],
    examples: checked.length,
    skipped: skipped.map(({ line, path }) => `${path}:${line}`),
    exported: exported.length,
    withExample: exported.filter(hasExample).length,
    exempt: exported.filter((each) => !hasExample(each) && categoryOf(each) === exempt).length
  }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { examples, exempt, exported, faults, skipped, withExample } = checkDocs(resolve(process.argv[2] ?? repository))
  for (const at of skipped) console.log(`${at}: not checked, as it asks`)
  for (const fault of faults) console.error(fault)
  console.log(
    `${exported} public exports: ${withExample} with an example of their own, ${exempt} type ids without, ` +
      `${exported - withExample - exempt} others without`
  )
  console.log(`${examples} examples compiled, ${skipped.length} not checked, ${faults.length} faults`)
  if (faults.length > 0) process.exitCode = 1
}
