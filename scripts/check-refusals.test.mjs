import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { checkRefusals } from "./check-refusals.mjs"
import { repository } from "./source.mjs"

/** What the check says of a case file, in a folder from which the installed packages resolve. */
const check = (source) => {
  mkdirSync(join(repository, "node_modules/.cache"), { recursive: true })
  const root = mkdtempSync(join(repository, "node_modules/.cache/holdfast-test-"))
  try {
    mkdirSync(join(root, "test/types"), { recursive: true })
    writeFileSync(join(root, "test/types/refused-fake.ts"), source)
    return checkRefusals(root)
  } finally {
    rmSync(root, { recursive: true })
  }
}

const header = `import { Effect } from "effect"
declare const order: <A>(a: A extends string ? A : "an order is a string") => void
`

test("cases that are refused with their wording pass", () => {
  const { cases, failures } = check(`${header}
// @refused "an order is a string"
order(
  1
)

// @refused Type 'Effect<never, string, never>' is not assignable to type 'Effect<number, never, never>'
// @refused Type 'string' is not assignable to type 'never'.
export const a: Effect.Effect<number> = Effect.fail("no")

order("fine")
`)
  assert.deepEqual(failures, [])
  assert.equal(cases, 2)
})

test("other wording, no error, and an error outside of the cases fail", () => {
  const { failures } = check(`${header}
// @refused an order is a number
order(1)

// @refused an order is a string
order("fine")
export const b = 1

order(2)
`)
  assert.equal(failures.length, 3)
  assert.match(
    failures[0],
    /refused-fake\.ts:4: not refused.*\n.*\n +an order is a number\n +actual\n.*"an order is a string"/
  )
  assert.match(failures[1], /refused-fake\.ts:7: not refused[\s\S]*no error at all/)
  assert.match(failures[2], /outside of the cases\n.*refused-fake\.ts:11: TS2345/)
})
