/**
 * docs/mistakes.md as data, and what ties its rows to tests. A row is tied in one of three ways:
 *
 * - `mistake("Section", "first column", effect)` in the file of its section in this folder: the effect yields the text.
 * - `asWritten("Section", "first column", text)` in any test that has the text already: an embedded server that runs.
 * - for the compiler's errors, a case of test/types/refused*.ts that quotes the row's text in full.
 *
 * Only `…` and `<lower case words>` in a row stand for something else.
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, it, type Vitest } from "@effect/vitest"
import { Effect, type Scope } from "effect"

const root = fileURLToPath(new URL("../..", import.meta.url))

export interface Row {
  readonly section: string
  readonly mistake: string
  readonly text: string
}

/** Mistakes among tests that share a layer. */
export const mistakesIn =
  <R>(it: Pick<Vitest.MethodsNonLive<R>, "scoped">) =>
  (section: string, name: string, produced: Effect.Effect<string, unknown, Scope.Scope | R>): void => {
    made.add(keyOf({ section, mistake: name }))
    it.scoped(`${section}: ${name}`, () => Effect.map(produced, (text) => asWritten(section, name, text)))
  }

/** Makes the mistake, and compares what comes of it with its row. */
export const mistake = mistakesIn(it)

/** The text is that of the row, to the letter. */
export const asWritten = (section: string, name: string, text: string): void => {
  const row = rows.find((row) => row.section === section && row.mistake === name)
  if (row === undefined) assert.fail(`docs/mistakes.md has no row "${name}" under "${section}" for: ${text}`)
  if (!patternOf(row.text).test(text)) assert.strictEqual(text, row.text)
}

/** The rows of all tables that promise a text. */
export const rowsOf = (page: string): ReadonlyArray<Row> => {
  let section = ""
  let head: ReadonlyArray<string> | undefined
  const rows: Array<Row> = []
  for (const line of page.split("\n")) {
    if (line.startsWith("## ")) section = line.slice(3).trim()
    const cells = line.startsWith("|") ? cellsOf(line) : undefined
    const column = head?.findIndex((cell) => cell === "text" || cell === "last line of the error") ?? -1
    if (cells !== undefined && column > 0 && !/^-+$/.test(cells[0]!)) {
      rows.push({ section, mistake: cells[0]!.replaceAll("`", ""), text: codeOf(cells[column]!) })
    }
    head = cells === undefined ? undefined : (head ?? cells)
  }
  return rows
}

/** A text in which `…` and `<lower case words>` stand for anything. */
export const patternOf = (text: string): RegExp => {
  const parts = text.split(/…|<[a-z][a-z ]*>/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))
  return new RegExp(`^${parts.join("[\\s\\S]+")}$`)
}

/** Which rows have a test, by `keyOf`. */
export const tied = (): ReadonlySet<string> => new Set([...made, ...assertedElsewhere(), ...quoted()])

export const keyOf = (row: Pick<Row, "section" | "mistake">): string => `${row.section}: ${row.mistake}`

// -- ties ------------------------------------------------------------------------

const made = new Set<string>()

const compiler = "Wiring, found by the compiler"

/** The calls of `asWritten` in other folders of tests: they have run when the whole suite is green. */
const assertedElsewhere = (): ReadonlyArray<string> =>
  sourcesIn("test")
    .filter((file) => !file.startsWith("test/mistakes"))
    .flatMap((file) => [...readFileSync(join(root, file), "utf8").matchAll(/\basWritten\(\s*"([^"]+)",\s*"([^"]+)"/g)])
    .map(([, section, mistake]) => keyOf({ section: section!, mistake: mistake! }))

/** The rows that a case of the refusals quotes: `npm run refusals` compares those with the compiler. */
const quoted = (): ReadonlyArray<string> => {
  const quotes = sourcesIn("test/types")
    .filter((file) => /\/refused[^/]*\.ts$/.test(file))
    .flatMap((file) => [...readFileSync(join(root, file), "utf8").matchAll(/^\s*\/\/ @refused (.*?)\s*$/gm)])
    .map(([, text]) => (/^".*"$/.test(text!) ? (JSON.parse(text!) as string) : text!))
  return rows.filter((row) => row.section === compiler && quotes.includes(row.text)).map(keyOf)
}

const sourcesIn = (folder: string): ReadonlyArray<string> =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !/(?:^|\/)(?:dist|node_modules)\//.test(file))
    .map((file) => `${folder}/${file}`)

// -- cells -----------------------------------------------------------------------

const cellsOf = (line: string): ReadonlyArray<string> =>
  line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll("\\|", "|"))

/** What the first backticks of a cell hold: nothing that a test could produce, when there are none. */
const codeOf = (cell: string): string => /(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)/.exec(cell)?.[2]?.trim() ?? ""

// last, since it uses what is above
export const rows = rowsOf(readFileSync(join(root, "docs/mistakes.md"), "utf8"))
