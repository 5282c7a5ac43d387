import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { firstProgramOf, packageFaults, readmeOf } from "./check-packages.mjs"

const manifest = {
  name: "@holdfast/a",
  version: "0.1.0",
  description: "A",
  keywords: ["a"],
  license: "Apache-2.0",
  engines: { node: ">=20" },
  publishConfig: { access: "public" },
  exports: {
    ".": { types: "./dist/index.d.ts", default: "./dist/index.js" },
    "./*": { types: "./dist/*.d.ts", default: "./dist/*.js" },
    "./internal/*": null
  }
}

const moduleFiles = (name, source = "export {}\n") => {
  const sources = [`${name.includes("/") ? "../../" : "../"}src/${name}.ts`]
  return {
    [`src/${name}.ts`]: source,
    [`dist/${name}.js`]: "export {}\n",
    [`dist/${name}.d.ts`]: "export {}\n",
    [`dist/${name}.js.map`]: JSON.stringify({ version: 3, sourceRoot: "", sources }),
    [`dist/${name}.d.ts.map`]: JSON.stringify({ version: 3, sourceRoot: "", sources })
  }
}

const good = {
  "package.json": JSON.stringify(manifest),
  "README.md": "# A\n",
  LICENSE: "free\n",
  ...moduleFiles("index", `export * as A from "./A.ts"\n`),
  ...moduleFiles("A"),
  ...moduleFiles("internal/b")
}

/** What the check says of a package that differs from a good one: all faults, in order. A file that is `undefined` is missing. */
const check = (changes) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-test-"))
  try {
    for (const [path, text] of Object.entries({ ...good, ...changes })) {
      if (text === undefined) continue
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    return Object.values(packageFaults(folder, { licence: "free\n", machine: "/build/src" })).flat()
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test("a package that holds what it should passes", () => assert.deepEqual(check({}), []))

test("files that do not belong there, or are missing, fail", () => {
  assert.deepEqual(check({ "dist/.tsbuildinfo": "{}", "src/notes.md": "", LICENSE: "other\n" }), [
    "dist/.tsbuildinfo does not belong in a package",
    "src/notes.md does not belong in a package",
    "LICENSE differs from that of the repository"
  ])
  assert.deepEqual(check(moduleFiles("internal/b.test")), [
    ...[".d.ts", ".d.ts.map", ".js", ".js.map"].map((e) => `dist/internal/b.test${e} does not belong in a package`),
    "src/internal/b.test.ts does not belong in a package"
  ])
  assert.deepEqual(check({ "README.md": undefined, LICENSE: undefined }), ["lacks README.md", "lacks LICENSE"])
})

test("a build that is not that of the sources fails", () => {
  assert.deepEqual(check({ "dist/Old.js": "", "dist/internal/b.d.ts": undefined }), [
    "dist/Old.js has no source: remove dist",
    "lacks dist/internal/b.d.ts"
  ])
})

test("exports without a target and an open internal folder fail", () => {
  const { "./internal/*": _, ...exports } = manifest.exports
  const changed = { ...manifest, exports: { ...exports, "./more": "./dist/more.js" } }
  assert.deepEqual(check({ "package.json": JSON.stringify(changed) }), [
    `"./internal/*" is not closed`,
    "exports ./dist/more.js, which does not exist"
  ])
})

test("index.ts and the public modules must agree", () => {
  const index = `export * as B from "./A.ts"\nexport * as C from "./C.ts"\n`
  assert.deepEqual(check({ "src/index.ts": index, ...moduleFiles("D") }), [
    "src/D.ts is not in index.ts",
    "index.ts lists C, which is not a public module",
    "index.ts calls A B"
  ])
})

test("paths of the machine that built it fail", () => {
  const map = (sources, sourceRoot) => JSON.stringify({ version: 3, sourceRoot, sources })
  assert.deepEqual(check({ "dist/A.js.map": map(["/home/a/A.ts"]), "dist/A.d.ts.map": map(["../lost/A.ts"]) }), [
    `dist/A.d.ts.map names the source "../lost/A.ts", which is not in the package`,
    `dist/A.js.map names the source "/home/a/A.ts", which is not relative`
  ])
  assert.deepEqual(check({ "dist/A.js.map": map([], "/build") }), [`dist/A.js.map has the sourceRoot "/build"`])
  assert.deepEqual(check({ "src/A.ts": `import "/build/src/x"\n` }), ["src/A.ts names one"])
  assert.deepEqual(check({ "src/A.ts": `import "../build/src/x"\n` }), [])
})

test("metadata that is missing or would not publish fails", () => {
  const { description: _, ...rest } = manifest
  const changed = {
    ...rest,
    private: true,
    publishConfig: {},
    scripts: { postinstall: "a", prepack: "b" },
    peerDependencies: { "@holdfast/core": "0.0.9", effect: "^3" }
  }
  assert.deepEqual(check({ "package.json": JSON.stringify(changed) }), [
    "package.json lacks description",
    "package.json says private",
    "package.json does not publish to the public",
    `runs "postinstall" on install`,
    "needs @holdfast/core 0.0.9, not its own version"
  ])
})

test("a README gives its packages and its examples", () => {
  const text = "# A\n\n```sh\nnpm i -D a @b/c\n```\n\n```ts\nconst a = 1\n```\n\n```sh\nnpm i d\n```\n"
  assert.deepEqual(readmeOf(text), { install: ["a", "@b/c"], blocks: ["const a = 1\n"] })
})

test("a README gives its first program and what that prints", () => {
  const text = "# A\n\n```sh\nnpm test\n```\n\n```ts\na()\n```\n\nIt prints:\n\n```\n1\n2\n```\n\n```ts\nb()\n```\n"
  assert.deepEqual(firstProgramOf(text), { program: "a()\n", output: "1\n2" })
})
