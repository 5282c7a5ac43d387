import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { checkImports } from "./check-imports.mjs"
import { scan } from "./source.mjs"

const manifests = {
  "packages/core/package.json": { peerDependencies: { effect: "*" } },
  "packages/postgres/package.json": {
    peerDependencies: { effect: "*", "@holdfast/core": "*", "@effect/sql": "*", "@effect/experimental": "*" },
    dependencies: { pg: "*" }
  },
  "packages/embedded/package.json": { peerDependencies: { effect: "*", pg: "*" } },
  "packages/rabbitmq/package.json": {
    peerDependencies: { effect: "*", "@holdfast/core": "*", "@holdfast/postgres": "*" }
  }
}

/** The violations of a tree of files, whose paths are below `packages/`, with `/src/` written as `:`. */
const violations = (files) => {
  const root = mkdtempSync(join(tmpdir(), "holdfast-imports-"))
  const write = (path, text) => {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  try {
    for (const [path, manifest] of Object.entries(manifests)) write(path, JSON.stringify(manifest))
    for (const [path, text] of Object.entries(files)) write(`packages/${path.replace(":", "/src/")}`, text)
    return checkImports(root).violations.map((text) => text.replace(/^packages\/(\w+)\/src\//, "$1:"))
  } finally {
    rmSync(root, { recursive: true })
  }
}

/** Asserts that a tree has one violation, at a place and with a text. */
const refused = (files, place, text) => {
  const found = violations(files)
  assert.equal(found.length, 1, found.join("\n"))
  assert.ok(found[0].startsWith(`${place}: `) && found[0].includes(text), found[0])
}

test("a tree in order has no violation", () => {
  const files = {
    "core:index.ts": `export * as Envelope from "./Envelope.ts"\nexport * as Handler from "./Handler.ts"`,
    "core:Message.ts": `import * as Effect from "effect/Effect"`,
    "core:Envelope.ts": `import type { Any } from "./Message.ts"`,
    "core:Handler.ts": `import { route } from "./internal/route.ts"\nexport { x } from "./Envelope.ts"`,
    "core:internal/route.ts": `import * as Envelope from "../Envelope.ts"\nimport { y } from "./deep/y.ts"`,
    "core:internal/deep/y.ts": `import * as Message from "../../Message.ts"`,
    "core:workflow/Workflow.ts": `import * as Activity from "./Activity.ts"\nimport * as Handler from "../Handler.ts"`,
    "core:workflow/Activity.ts": "export const x = 1",
    "core:Operations.ts": `import * as Workflow from "./workflow/Workflow.ts"`,
    "postgres:PgChannel.ts": `import { readFile } from "node:fs"\nimport * as pg from "pg"
import * as Channel from "@holdfast/core/Channel"\nimport type * as Reactivity from "@effect/experimental/Reactivity"`,
    "rabbitmq:RabbitChannel.ts": `import * as Channel from "@holdfast/core/Channel"`
  }
  assert.deepEqual(violations(files), [])
})

test("a cycle is found, through type-only imports, re-exports and dynamic imports too", () => {
  const cycle = "import cycle A > internal/b > C > A"
  refused(
    {
      "embedded:A.ts": `import type { B } from "./internal/b.ts"`,
      "embedded:internal/b.ts": `export * from "../C.ts"`,
      "embedded:C.ts": `// none\nexport const a = () =>\n  import("./A.ts")`
    },
    "embedded:C.ts:3",
    cycle
  )
  refused({ "embedded:A.ts": `import "./A.ts"` }, "embedded:A.ts:1", "import cycle A > A")
})

test("core's modules import only rows above and modules before them", () => {
  refused(
    { "core:Message.ts": `import {\n  x,\n  y\n} from "./Handler.ts"`, "core:Handler.ts": "" },
    "core:Message.ts:1",
    "Message (row 1) imports Handler (row 3)"
  )
  refused(
    { "core:CommandBus.ts": `import type * as EventBus from "./EventBus.ts"`, "core:EventBus.ts": "" },
    "core:CommandBus.ts:1",
    "CommandBus (row 3) imports EventBus (row 3)"
  )
  refused(
    { "core:Recurring.ts": `import * as Kernel from "./workflow/Kernel.ts"`, "core:workflow/Kernel.ts": "" },
    "core:Recurring.ts:1",
    "imports workflow/Kernel (row 6)"
  )
})

test("an internal file of core stands where the last module that it reaches stands", () => {
  refused(
    {
      "core:Channel.ts": `\nimport * as a from "./internal/a.ts"`,
      "core:internal/a.ts": `import * as b from "./b.ts"`,
      "core:internal/b.ts": `import type * as Handler from "../Handler.ts"\nimport * as Message from "../Message.ts"`,
      "core:Handler.ts": "",
      "core:Message.ts": ""
    },
    "core:Channel.ts:2",
    "imports internal/a, which needs Handler (row 3)"
  )
})

test("a module of core that stands in no row is refused", () => {
  refused({ "core:Utilities.ts": "" }, "core:Utilities.ts:1", "put it in a row")
})

test("core imports only effect", () => {
  refused({ "core:Message.ts": `import * as fs from "node:fs"` }, "core:Message.ts:1", "core imports only effect/*")
  refused({ "core:Message.ts": `import * as C from "@holdfast/postgres/X"` }, "core:Message.ts:1", "only effect/*")
})

test("a package imports only what it may and declares", () => {
  const from = (name) => ({ "postgres:PgChannel.ts": `import * as X from "${name}"` })
  refused(from("ioredis"), "postgres:PgChannel.ts:1", `postgres may not import "ioredis"`)
  refused(from("fs"), "postgres:PgChannel.ts:1", `postgres may not import "fs"`)
  refused(from("@effect/sql-pg/PgClient"), "postgres:PgChannel.ts:1", "@effect/sql-pg is not declared")
  refused(from("@effect/experimental/Reactivity"), "postgres:PgChannel.ts:1", "may import only types")
  refused({ "embedded:Postgres.ts": `import pg from "pg"` }, "embedded:Postgres.ts:1", `embedded may not import "pg"`)
  refused({ "rabbitmq:X.ts": `import amqp from "amqplib"` }, "rabbitmq:X.ts:1", "amqplib is not declared")
})

test("siblings never import each other, themselves by name, or what is internal", () => {
  const from = (name) => ({ "rabbitmq:X.ts": `import type { Y } from "${name}"` })
  refused(from("@holdfast/postgres/PgChannel"), "rabbitmq:X.ts:1", "is a sibling")
  refused(from("@holdfast/rabbitmq/Y"), "rabbitmq:X.ts:1", "this package itself")
  refused(from("@holdfast/core/internal/retry"), "rabbitmq:X.ts:1", "internal to @holdfast/core")
  refused(from("../../core/src/Channel.ts"), "rabbitmq:X.ts:1", "leaves the package's src folder")
})

test("barrels and relative imports without .ts are refused", () => {
  const from = (name) => ({ "rabbitmq:X.ts": `import { Y } from "${name}"` })
  refused(from("effect"), "rabbitmq:X.ts:1", `"effect" is a barrel`)
  refused(from("@holdfast/core"), "rabbitmq:X.ts:1", `"@holdfast/core" is a barrel`)
  refused({ "postgres:X.ts": `import { Y } from "@effect/sql"` }, "postgres:X.ts:1", `"@effect/sql" is a barrel`)
  refused(from("./index.ts"), "rabbitmq:X.ts:1", "is a barrel")
  refused(from("./Y.js"), "rabbitmq:X.ts:1", "does not end in .ts")
})

test("a file over 700 lines is refused", () => {
  refused({ "rabbitmq:X.ts": "//\n".repeat(701) }, "rabbitmq:X.ts:701", "has 701 lines")
  assert.deepEqual(violations({ "rabbitmq:X.ts": "//\n".repeat(700) }), [])
})

test("what a service stands for is refused in code, and only there", () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a source file, not a template
  const now = "const a = `${ { b: Date.now() }.b } Date.now()`"
  refused({ "rabbitmq:X.ts": now }, "rabbitmq:X.ts:1", "Date.now is not for src")
  refused({ "rabbitmq:X.ts": "\nMath.random()" }, "rabbitmq:X.ts:2", "Math.random")
  refused({ "rabbitmq:X.ts": "process.env.HOME" }, "rabbitmq:X.ts:1", "process.env")
  refused({ "rabbitmq:X.ts": "console.log(1)" }, "rabbitmq:X.ts:1", "console")
  const quoted = `// Date.now()\n/* import x from "left" */\nconst a = 'console.log' + "import y from 'right'" + \`process.env\``
  assert.deepEqual(violations({ "rabbitmq:X.ts": quoted }), [])
})

test("the scanner keeps its place among quotes, templates and regular expressions", () => {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a source file, not a template
  const source = 'a = /[/"]`/g; b = `x${c + `y${d}`}z`; e = f / g / 1; h = "\\"" // i\nj = \'`\'; k /* ` */ = ok'
  const { code, comments } = scan(source)
  assert.equal(code.length, source.length)
  // biome-ignore lint/suspicious/noTemplateCurlyInString: as above
  const expected = "a = ; b = ` ${c + ` ${d}`} `; e = f / g / 1; h = \" \" \nj = ' '; k = ok"
  assert.equal(code.replace(/ +/g, " "), expected)
  assert.deepEqual(
    comments.map(({ end, start }) => source.slice(start, end)),
    ["// i", "/* ` */"]
  )
})
