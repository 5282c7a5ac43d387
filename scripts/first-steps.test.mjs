import assert from "node:assert/strict"
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { followPage, stepsOf } from "./first-steps.mjs"
import { repository } from "./source.mjs"

const fence = (language, ...lines) => [`\`\`\`${language}`, ...lines, "```", ""].join("\n")

/** Follows a page in a folder of its own; gives what was reported, and what `look` finds in the folder. */
const follow = async (page, look = () => undefined, limit = 20_000) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-test-")))
  try {
    const reports = []
    const ended = await followPage(
      { checkout: join(folder, "checkout"), limit, packing: ["npm pack a"], page },
      (what, faults) => reports.push([what, ...faults])
    )
    return { reports: reports.slice(1), ended: ended.slice(folder.length), found: look(folder) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test("a page is files, commands and what they print", () => {
  const page = `# A\n\n\`src/a.ts\`\n\n${fence("ts", "a")}\nText.\n\n${fence("sh", "npm i", "npm start")}\nIt says:\n\n${fence("", "one", "^C", " two", "three")}`
  assert.deepEqual(stepsOf(page), {
    faults: [],
    steps: [
      { path: "src/a.ts", text: "a\n" },
      {
        commands: "npm i\nnpm start",
        runs: [
          { promised: ["one"], interrupted: true },
          { promised: ["two", "three"], interrupted: false }
        ]
      }
    ]
  })
})

test("docs/first-steps.md has its files, its tests and a program that is run twice", () => {
  const { faults, steps } = stepsOf(readFileSync(join(repository, "docs/first-steps.md"), "utf8"))
  const files = steps.flatMap(({ path }) => path ?? [])
  const promising = steps.filter(({ runs }) => runs?.some(({ promised }) => promised.length > 0))
  assert.deepEqual(faults, [])
  assert.deepEqual(files.slice(2), [
    "src/1-command.test.ts",
    "src/2-event.test.ts",
    "src/3-saga.test.ts",
    "src/4-postgres.ts"
  ])
  assert.deepEqual(
    promising.map(({ commands, runs }) => [commands, runs.length]),
    [
      ["npm test", 1],
      ["npm test", 1],
      ["npm start", 2]
    ]
  )
})

test("code that belongs to no file, and output of no command, are faults", () => {
  const { faults } = stepsOf(`${fence("", "b")}\n${fence("ts", "const a = 1")}`)
  assert.deepEqual(faults, [
    `The block that begins with "b" is no file, no command and no output of one`,
    `The block that begins with "const a = 1" is no file, no command and no output of one`
  ])
})

test("files are written where the commands have led, and commands see no DATABASE_URL and none of our tools", async () => {
  process.env.DATABASE_URL = "postgresql://nowhere"
  const page = `${fence("sh", "mkdir ../shop && cd ../shop")}\n\`src/a.txt\`\n\n${fence("", "hello")}\n${fence("sh", "cat src/a.txt", "echo url:$DATABASE_URL", "echo $PATH > path")}\n${fence("", "hello", "url:")}`
  const { ended, found, reports } = await follow(page, (folder) => [
    readFileSync(join(folder, "shop/src/a.txt"), "utf8"),
    readFileSync(join(folder, "shop/path"), "utf8").includes(join(import.meta.dirname, "../node_modules"))
  ])
  delete process.env.DATABASE_URL
  assert.deepEqual(reports, [
    ["mkdir ../shop && cd ../shop"],
    ["cat src/a.txt; echo url:$DATABASE_URL; echo $PATH > path, and prints what the page promises"]
  ])
  assert.deepEqual([ended, found], ["/shop", ["hello\n", false]])
})

test("a command that fails, or does not print what is promised, is where it stops", async () => {
  const failed = await follow(`${fence("sh", "echo why", "exit 3")}\n${fence("sh", "echo later")}`)
  assert.deepEqual(failed.reports, [["echo why; exit 3", "ended with 3", "why"]])
  const silent = await follow(`${fence("sh", "echo onetwo")}\n${fence("", "one")}`)
  assert.deepEqual(silent.reports, [
    ["echo onetwo, and prints what the page promises", `did not print "one"`, "onetwo"]
  ])
})

test("Ctrl-C comes once the lines of a run are there, and the next run begins", async () => {
  const start = "echo run >> runs; wc -l < runs; exec sleep 60"
  const page = `${fence("sh", start)}\n${fence("", "1", "^C", "2", "^C")}`
  const { found, reports } = await follow(page, (folder) => readFileSync(join(folder, "checkout/runs"), "utf8"))
  const what = `${start}, and prints what the page promises before Ctrl-C`
  assert.deepEqual([reports, found], [[[what], [what]], "run\nrun\n"])
})

test("what does not end is ended, with the processes it began", async () => {
  // the page goes on once nobody has the output open any more
  const { reports } = await follow(fence("sh", "echo begun; sleep 60 & wait"), undefined, 300)
  assert.deepEqual(
    reports.map((report) => report.slice(1)),
    [["did not end within 0.3 s", "begun"]]
  )
})

test("the page must pack as CI does", async () => {
  assert.deepEqual((await follow(fence("sh", "npm pack a"))).reports, [["packs the packages as CI does"]])
  assert.deepEqual((await follow(fence("sh", "npm pack b"))).reports, [
    ["packs the packages as CI does", "The page has\nnpm pack b\nand not\nnpm pack a"]
  ])
})
