/** Runs the TypeScript compiler over files that no project owns, and reads what it says. */
import { spawnSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { repository } from "./source.mjs"

const located = /^(\S.*?)\((\d+),(\d+)\): error (TS\d+): (.*)$/
const global = /^error (TS\d+): (.*)$/

/** The errors in what `tsc --pretty false` printed. The message keeps all of its lines; `file` is missing for the project's own. */
export const parseDiagnostics = (output, folder) => {
  const diagnostics = []
  for (const line of output.split(/\r?\n/)) {
    const at = located.exec(line)
    const whole = global.exec(line)
    if (at !== null) {
      diagnostics.push({ file: resolve(folder, at[1]), line: Number(at[2]), code: at[4], message: at[5] })
    } else if (whole !== null) {
      diagnostics.push({ file: undefined, line: 0, code: whole[1], message: whole[2] })
    } else if (line !== "" && diagnostics.length > 0) {
      diagnostics.at(-1).message += `\n${line}`
    }
  }
  return diagnostics
}

/**
 * Type-checks `files` (absolute paths) under the repository's options and gives the errors. `cache` keeps the generated
 * tsconfig; packages are found from there and from the files, as they are built.
 */
export const diagnose = (cache, files) => {
  if (files.length === 0) return []
  mkdirSync(cache, { recursive: true })
  const project = join(cache, "tsconfig.json")
  const compilerOptions = {
    ...{ composite: false, declaration: false, declarationMap: false, sourceMap: false, noEmit: true },
    ...{ noUnusedLocals: false, rewriteRelativeImportExtensions: false, types: ["node"] }
  }
  writeFileSync(project, JSON.stringify({ extends: join(repository, "tsconfig.base.json"), compilerOptions, files }))
  const tsc = spawnSync(
    join(repository, "node_modules/.bin/tsc"),
    ["-p", project, "--pretty", "false", "--noErrorTruncation"],
    { cwd: cache, encoding: "utf8", maxBuffer: 2 ** 28 }
  )
  const diagnostics = parseDiagnostics(tsc.stdout ?? "", cache)
  if (tsc.status !== 0 && diagnostics.length === 0) {
    throw new Error(`tsc ended with ${tsc.status ?? tsc.signal}: ${tsc.error ?? tsc.stderr + tsc.stdout}`)
  }
  return diagnostics
}
