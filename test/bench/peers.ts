import { execFile } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { Effect } from "effect"

/** Where the peers are installed: seen from `test/dist/bench`, in the folder of the sources. */
const folder = fileURLToPath(new URL("../../bench/peers/", import.meta.url))

/** Installs what the lock file says, unless it is there. */
export const install = Effect.promise(async () => {
  if (existsSync(`${folder}node_modules/.package-lock.json`)) return
  await promisify(execFile)("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder })
})

/** Imports a peer. Its types are not known here, so the caller says what it uses of it. */
export const load = <A>(name: string): Effect.Effect<A> =>
  Effect.promise(() => import(pathToFileURL(createRequire(`${folder}package.json`).resolve(name)).href))

/** The versions that were asked for, which are the ones installed. */
export const versions: Record<string, string> = JSON.parse(readFileSync(`${folder}package.json`, "utf8")).dependencies
