/**
 * Reads the JSON reports of vitest, fails when a test was skipped or failed, and ends with the line "N passed, M failed". A
 * test in several reports counts once, as passed only when it passed in all; a report that is missing is a failure.
 *
 *     node scripts/no-skips.mjs report.json...
 */
import { existsSync, readFileSync, realpathSync } from "node:fs"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"

/** The names of the tests of some reports that passed, failed and did neither. */
export const tally = (reports) => {
  const tests = { passed: new Set(), failed: new Set(), skipped: new Set() }
  for (const { assertionResults, name: file, status } of reports.flatMap((report) => report.testResults)) {
    const name = relative(process.cwd(), file)
    for (const test of assertionResults) (tests[test.status] ?? tests.skipped).add(`${name} > ${test.fullName}`)
    // A file that did not load has no tests to blame.
    if (status === "failed" && !assertionResults.some((test) => test.status === "failed")) tests.failed.add(name)
  }
  for (const name of [...tests.failed, ...tests.skipped]) tests.passed.delete(name)
  return { passed: [...tests.passed], failed: [...tests.failed], skipped: [...tests.skipped] }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const missing = (file) => ({ testResults: [{ name: file, status: "failed", assertionResults: [] }] })
  const reports = process.argv
    .slice(2)
    .map((file) => (existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : missing(file)))
  const { failed, passed, skipped } = tally(reports)
  for (const name of skipped) console.log(`skipped: ${name}`)
  if (failed.length + skipped.length > 0 || passed.length === 0) process.exitCode = 1
  console.log(`${passed.length} passed, ${failed.length} failed`)
}
