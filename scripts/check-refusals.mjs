/**
 * Tests what the types refuse, with the wording. A case in `test/types/refused*.ts` is a statement, up to the next blank line,
 * under one or more lines that quote the compiler, which reads the packages as `tsc -b` built them:
 *
 *     // @refused "Other does not carry OrderPlaced"
 *     Handler.event("Confirm", OrderPlaced, confirm).pipe(Handler.asynchronous(Other))
 *
 *     node scripts/check-refusals.mjs [root]
 */
import { readFileSync, realpathSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { filesIn, repository } from "./source.mjs"
import { diagnose } from "./tsc.mjs"

const marker = /^\s*\/\/ @refused\b\s*(.*?)\s*$/

/** The cases of a file: the line of the comment, the texts to find, and the lines of the statement. */
export const casesOf = (file, source) => {
  const lines = source.split(/\r?\n/)
  const cases = []
  for (let i = 0; i < lines.length; i++) {
    if (!marker.test(lines[i])) continue
    const line = i + 1
    const texts = []
    for (; marker.test(lines[i] ?? ""); i++) texts.push(marker.exec(lines[i])[1])
    const first = i + 1
    while (i < lines.length && lines[i].trim() !== "" && !marker.test(lines[i])) i++
    cases.push({ file, line, texts, first, last: i })
    i--
  }
  return cases
}

const indent = (text) => text.replace(/^/gm, "    ")
const describe = ({ code, file, line, message }, root) =>
  indent(`${file === undefined ? "" : `${relative(root, file)}:${line}: `}${code}: ${message}`)

/** What is wrong: cases without their wording, and errors that no case expects. */
export const judge = (root, cases, diagnostics) => {
  const within =
    ({ file, first, last }) =>
    (d) =>
      d.file === file && d.line >= first && d.line <= last
  const failures = cases.flatMap((refusal) => {
    const found = diagnostics.filter(within(refusal))
    const actual = found.length === 0 ? "    no error at all" : found.map((d) => describe(d, root)).join("\n")
    return refusal.texts
      .filter((text) => text === "" || !found.some((d) => d.message.split("\n").some((line) => line.includes(text))))
      .map((text) => {
        const expected = text === "" ? "    (nothing is quoted)" : indent(text)
        return `${relative(root, refusal.file)}:${refusal.line}: not refused as written\n  expected\n${expected}\n  actual\n${actual}`
      })
  })
  const unexpected = diagnostics
    .filter((d) => !cases.some((refusal) => within(refusal)(d)))
    .map((d) => `an error outside of the cases\n${describe(d, root)}`)
  return [...failures, ...unexpected]
}

/** Compiles the cases below `root` and judges them. */
export const checkRefusals = (root) => {
  const folder = resolve(root, "test/types")
  const files = filesIn(folder, ".ts")
    .filter((file) => /(?:^|\/)refused[^/]*\.ts$/.test(file))
    .map((file) => join(folder, file))
  const cases = files.flatMap((file) => casesOf(file, readFileSync(file, "utf8")))
  const diagnostics = diagnose(resolve(root, "node_modules/.cache/holdfast-refusals"), files)
  return { cases: cases.length, failures: judge(root, cases, diagnostics) }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { cases, failures } = checkRefusals(resolve(process.argv[2] ?? repository))
  for (const failure of failures) console.error(`${failure}\n`)
  if (failures.length > 0) {
    console.error(`${failures.length} failures in ${cases} refusals`)
    process.exitCode = 1
  } else console.log(`${cases} refusals, each with its wording`)
}
