/**
 * Every row of docs/mistakes.md, made once. How a row gets its test is said in `page.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import { configuration } from "./configuration.ts"
import { consuming } from "./consuming.ts"
import { database } from "./database.ts"
import { embedded } from "./embedded.ts"
import { messages } from "./messages.ts"
import { orchestrators } from "./orchestrators.ts"
import { keyOf, patternOf, rows, rowsOf, tied } from "./page.ts"
import { payload } from "./payload.ts"
import { time } from "./time.ts"
import { units } from "./units.ts"
import { warnings } from "./warnings.ts"
import { wiring } from "./wiring.ts"

wiring()
configuration()
payload()
orchestrators()
messages()
time()
units()
consuming()
warnings()
embedded()
database()

describe("the page", () => {
  it("has no row without a test, none twice, and no test without a row", () => {
    const keys = rows.map(keyOf)
    const ties = tied()
    assert.deepStrictEqual(
      keys.filter((key) => !ties.has(key)),
      [],
      "rows without a test"
    )
    assert.deepStrictEqual([...ties].toSorted(), [...new Set(keys)].toSorted(), "tests without a row")
    assert.strictEqual(new Set(keys).size, keys.length, "rows of one name in one section")
  })

  it("is read table by table: a text of the first column's mistake, without its escapes", () => {
    const page = [
      "## One",
      "| mistake | text | change |",
      "| ------- | ---- | ------ |",
      "| `a` b | ``x `y` \\| z`` (a defect) | do |",
      "",
      "| mistake | what you see |",
      "| ------- | ------------ |",
      "| c       | nothing      |"
    ].join("\n")
    assert.deepStrictEqual(rowsOf(page), [{ section: "One", mistake: "a b", text: "x `y` | z" }])
  })

  it("stands for something else only where it says so", () => {
    assert.isTrue(patternOf("answered 23505: …").test("answered 23505: duplicate key\nin line 2"))
    assert.isTrue(patternOf("port <port> of <a directory>.").test("port 1 of /data."))
    assert.isFalse(patternOf("port <port>.").test("port 1, or so"))
    assert.isFalse(patternOf("is 0: give 1").test("is 1: give 1"))
    assert.isFalse(patternOf('Handles<"Ship">').test('Handles<"Place">'))
  })
})
