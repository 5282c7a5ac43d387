import assert from "node:assert/strict"
import { test } from "node:test"
import { tally } from "./no-skips.mjs"

const file = (name, tests, status = "passed") => ({
  name,
  status,
  assertionResults: Object.entries(tests).map(([fullName, status]) => ({ fullName, status }))
})

test("a test counts once, as passed only when it passed in every report", () => {
  const first = {
    testResults: [file("a", { one: "passed", two: "passed", three: "passed" }), file("b", { one: "passed" })]
  }
  const second = {
    testResults: [file("a", { one: "passed", two: "failed", three: "skipped", four: "todo" }, "failed")]
  }
  const { failed, passed, skipped } = tally([first, second])
  assert.deepEqual(passed, ["a > one", "b > one"])
  assert.deepEqual(failed, ["a > two"])
  assert.deepEqual(skipped, ["a > three", "a > four"])
})

test("a file that did not load counts as a failure", () => {
  assert.deepEqual(tally([{ testResults: [file("a", {}, "failed")] }]).failed, ["a"])
})
