import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { checkLinks } from "./check-links.mjs"

const check = (files) => {
  const root = mkdtempSync(join(tmpdir(), "holdfast-test-"))
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    return checkLinks(root)
  } finally {
    rmSync(root, { recursive: true })
  }
}

test("links to files, folders and headings pass, and those of the web and of code are not looked at", () => {
  const result = check({
    "README.md":
      "[docs](docs) [a](docs/a.md#what-is-it) [`b`](docs/a.md#the-same-1) [web](https://a.b/c) ![i](docs/a.md)\n",
    "docs/a.md":
      "# A\n\n## What is `it`?\n\n## The same\n\n## The same\n\n[up](../README.md) [here](#a)\n\n" +
      "`[x](none.md)`\n\n```md\n# Not a heading\n\n[x](none.md)\n```\n\n| [one](a.md) | [two](a.md) |\n",
    "docs/index.md": "[A](a.md)\n",
    "llms.txt": "- [A](docs/a.md): about A\n"
  })
  assert.deepEqual(result, { faults: [], links: 10 })
})

test("links that lead nowhere, to no heading or out of the repository fail at their line", () => {
  const { faults } = check({
    "README.md": "# R\n\n[a](docs/none.md)\n[b](#no-heading) and [c](a/b.md#code)\n[d](../x.md)\n",
    "a/b.md": "# B\n\n```sh\n# Code\n```\n"
  })
  assert.deepEqual(faults, [
    "README.md:3: docs/none.md leads nowhere.",
    "README.md:4: #no-heading names no heading of README.md, which has r.",
    "README.md:4: a/b.md#code names no heading of a/b.md, which has b.",
    "README.md:5: ../x.md leads out of the repository."
  ])
})

test("a page that the map or llms.txt does not list fails; pages of the reference need not be listed", () => {
  const { faults } = check({
    "docs/index.md": "[A](a.md) [reference](reference/index.md)\n",
    "docs/a.md": "# A\n",
    "docs/b/c.md": "# C\n",
    "docs/reference/index.md": "# R\n",
    "docs/reference/core/A.md": "# A\n",
    "llms.txt": "[C](docs/b/c.md) [reference](docs/reference/index.md)\n"
  })
  assert.deepEqual(faults, ["docs/index.md does not list docs/b/c.md.", "llms.txt does not list docs/a.md."])
})
