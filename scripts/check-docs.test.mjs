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
  const example = ["```ts", `import { Effect } from "effect"`, "", "await Effect.runPromise(Effect.void)", "```"]
  const result = check({
    "packages/core/src/index.ts": `export * as A from "./A.ts"`,
    "packages/core/src/internal/b.ts": "export const undocumented = 1",
    "packages/core/src/A.ts":
      doc("Makes one.", "", "@example", ...example, ...tags("constructors")) +
      "export function make(): void\nexport function make(a?: number): void {}\n" +
      `${doc("One.", ...tags("models"))}// biome-ignore lint: a reason\nexport interface A {}\n` +
      `const void_ = 1\nexport {\n  /** Nothing.\n   * @since 0.1.0\n   * @category models */\n  void_ as void\n}\n`,
    "README.md": "# A\n\n```sh\nnpm test\n```\n\n- so:\n  ```ts\n  export const a: number = 1\n  ```\n",
    "docs/a/b.md": "```ts no-check\nnonsense(\n```\n"
  })
  assert.deepEqual(result, { faults: [], examples: 2, skipped: ["docs/a/b.md:1"], exported: 3 })
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

test("exports without a doc comment, its tags or a due example fail", () => {
  const { faults } = check({
    "packages/core/src/A.ts": `${doc("A file.")}\nconst private_ = 1\nexport const a = 1\n${doc("B.", "@since 0.1.0")}export class B {}
${doc("C.", ...tags("layers"))}export const layer = 1\n`
  })
  assert.deepEqual(faults, [
    "packages/core/src/A.ts:6: a has no doc comment.",
    "packages/core/src/A.ts:11: B lacks @category.",
    "packages/core/src/A.ts:17: layer is in category layers and has no example."
  ])
})
