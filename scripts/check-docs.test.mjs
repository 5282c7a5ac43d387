import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { checkDocs } from "./check-docs.mjs"
import { repository } from "./source.mjs"

/** What the check says of a tree of files, in a folder from which the installed packages resolve. */
const check = (files) => {
  mkdirSync(join(repository, "node_modules/.cache"), { recursive: true })
  const root = mkdtempSync(join(repository, "node_modules/.cache/holdfast-test-"))
  try {
    for (const [path, text] of Object.entries({ "packages/core/package.json": "{}", ...files })) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    return checkDocs(root)
  } finally {
    rmSync(root, { recursive: true })
  }
}

const doc = (...lines) => `/**\n${lines.map((line) => ` * ${line}\n`).join("")} */\n`
const tags = (category) => ["@since 0.1.0", `@category ${category}`]

test("documented exports and examples that compile pass", () => {
  const example = [
    "@example",
    "```ts",
    `import { Effect } from "effect"`,
    "",
    "await Effect.runPromise(Effect.void)",
    "```"
  ]
  const result = check({
    "packages/core/src/index.ts": `export * as A from "./A.ts"`,
    "packages/core/src/internal/b.ts": "export const undocumented = 1",
    "packages/core/src/A.ts":
      `${doc(...tags("type ids"))}export type TypeId = "A"\n` +
      doc("Makes one.", "", ...example, ...tags("constructors")) +
      "export function make(): void\nexport function make(a?: number): void {}\n" +
      `${doc("One.", "", ...example, ...tags("models"))}// biome-ignore lint: a reason\nexport interface A {}\n` +
      `const void_ = 1\nexport {\n  ${doc("Nothing.", "", ...example, ...tags("models"))}\n  void_ as void\n}\n`,
    "README.md": "# A\n\n```sh\nnpm test\n```\n\n- so:\n  ```ts\n  export const a: number = 1\n  ```\n",
    "docs/a/b.md": "```ts no-check\nnonsense(\n```\n"
  })
  const counts = { examples: 4, exported: 4, withExample: 3, exempt: 1 }
  assert.deepEqual(result, { faults: [], skipped: ["docs/a/b.md:1"], ...counts })
})

test("what is exported from an internal file is documented where it is exported, or where it is declared", () => {
  const example = ["```ts", "const a: string = 1", "```"]
  const result = check({
    "packages/core/src/A.ts":
      `export { Wrong, Bare } from "./internal/b.ts"\n` +
      `${doc("Here.", ...example, ...tags("models"))}export type { Here } from "./internal/b.ts"\n`,
    "packages/core/src/internal/b.ts":
      `${doc("Wrong.", ...example, ...tags("errors"))}export class Wrong {}\n` +
      `export const Bare = 1\nexport type Here = 1\nexport const unseen = 1\n`
  })
  assert.deepEqual(result.faults, [
    "packages/core/src/internal/b.ts:10: Bare has no doc comment.",
    "packages/core/src/A.ts:5: TS2322: Type 'number' is not assignable to type 'string'.",
    "packages/core/src/internal/b.ts:4: TS2322: Type 'number' is not assignable to type 'string'."
  ])
  assert.deepEqual([result.exported, result.withExample], [3, 2])
})

test("an example that does not compile fails at its line", () => {
  const { faults } = check({
    "packages/core/src/A.ts": `${doc("```ts", "const fine = 1", "const a: string = fine", "```", ...tags("models"))}export type A = 1`,
    "README.md": "# A\n\n```ts\nmissing()\n```\n"
  })
  assert.deepEqual(faults, [
    "README.md:4: TS2304: Cannot find name 'missing'.",
    "packages/core/src/A.ts:4: TS2322: Type 'number' is not assignable to type 'string'."
  ])
})

test("exports without a doc comment, its tags or an example fail", () => {
  const { exempt, faults, withExample } = check({
    "packages/core/src/A.ts": `${doc("A file.")}\nconst private_ = 1\nexport const a = 1\n${doc("B.", "@since 0.1.0")}export class B {}
${doc("C.", ...tags("layers"))}export const layer = 1\n${doc("D.", ...tags("models"))}export interface D {}\n`
  })
  assert.deepEqual(faults, [
    "packages/core/src/A.ts:6: a has no doc comment.",
    "packages/core/src/A.ts:11: B lacks @category.",
    "packages/core/src/A.ts:17: layer has no example.",
    "packages/core/src/A.ts:23: D has no example."
  ])
  assert.deepEqual([withExample, exempt], [0, 0])
})
