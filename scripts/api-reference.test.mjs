import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { pageOf } from "./api-reference.mjs"

/** The page of the module A: its headings, and the first block below each. */
const page = (files) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-test-"))
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    return pageOf(folder, "A", "@holdfast/a")
  } finally {
    rmSync(folder, { recursive: true })
  }
}
const signatures = (text) =>
  Object.fromEntries(
    [...text.matchAll(/^### (.*)\n\n```typescript\n([\s\S]*?)\n```/gm)].map(([, name, signature]) => [name, signature])
  )

const doc = (text, category) => `/**\n * ${text}\n *\n * @since 0.1.0\n * @category ${category}\n */\n`

test("a signature ends where the value or the body begins", () => {
  const source =
    `${doc("One.", "names")}export const one = "one"\n\n` +
    `${doc("Two.", "names")}export const two: string = f({ a: 1 })\n` +
    `${doc("F.", "constructors")}export const f = <A>(a: A): ReadonlyArray<A> => [a]\n` +
    `${doc("G.", "constructors")}export const g =\n  <Self>() =>\n  <A>(a: A): Self => make(a)\n` +
    `${doc("C.", "models")}export class C extends Base<C>() {\n  hidden = 1\n}\n` +
    `${doc("I.", "models")}export interface I {\n  readonly a: string\n}\n` +
    `${doc("T.", "models")}export type T =\n  | "a"\n  | "b"\nconst after = 1\n`
  assert.deepEqual(signatures(page({ "A.ts": source })), {
    C: "class C extends Base<C>()",
    I: "interface I {\n  readonly a: string\n}",
    T: `type T =\n  | "a"\n  | "b"`,
    f: "const f = <A>(a: A): ReadonlyArray<A>",
    g: "const g =\n  <Self>() =>\n  <A>(a: A): Self",
    one: `const one = "one"`,
    two: "const two: string"
  })
})

test("overloads are shown together, without the tags of each", () => {
  const overload = "  /**\n   * @since 0.1.0\n   * @category combinators\n   */\n"
  const source = `${doc("D.", "combinators")}export const d: {\n${overload}  (a: string): void\n${overload}  (a: number): void\n} = dual(1, f)\n`
  assert.deepEqual(signatures(page({ "A.ts": source })), {
    d: "const d: {\n  (a: string): void\n  (a: number): void\n}"
  })
})

test("a page has what the module declares, what its parts do, and what it takes from its internals", () => {
  const text = page({
    "A.ts":
      `/**\n * What A is.\n *\n * @since 0.1.0\n */\nimport "b"\n\n${doc("X.", "type ids")}export type TypeId = "A"\n` +
      `export { Oops } from "./internal/oops.ts"\nexport * from "./a/part.ts"\n${doc("One.", "models")}export type One = 1\n`,
    "a/part.ts": `${doc("Turns.", "combinators")}export const one = 1\n`,
    "internal/oops.ts": `${doc("Oops.", "errors")}export class Oops {}\n${doc("No.", "errors")}export class Other {}\n`
  })
  assert.deepEqual(text.split("\n\n").slice(1, 5), [
    "# A",
    '`import { A } from "@holdfast/a"`',
    "What A is.",
    "- combinators: [`one`](#one)\n- errors: [`Oops`](#oops)\n- models: [`One`](#one-1)"
  ])
  assert.deepEqual(Object.keys(signatures(text)), ["one", "Oops", "One"])
})
