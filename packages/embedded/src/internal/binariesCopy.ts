/**
 * A private copy of the programs, for when npm's own cannot be read or lack their links.
 *
 * @since 0.1.0
 */

import type { Dirent } from "node:fs"
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile
} from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import * as Array from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { attempt, exists, optional } from "./attempt.ts"
import type { Package } from "./binaryPackage.ts"
import { EmbeddedPostgresError } from "./error.ts"
import { isOwn } from "./ownership.ts"

/** The copy of a package under a directory, one a version and uid, made on first use. */
export const privateCopy = Effect.fnUntraced(function* (
  found: Package,
  parent: string
): Effect.fn.Return<string, EmbeddedPostgresError> {
  const target = join(parent, `holdfast-postgres-${found.version}-${process.getuid?.() ?? 0}`)
  if (yield* isComplete(target)) {
    return target
  }
  if ((yield* exists(target)) && !(yield* isOwn(target))) {
    return yield* new EmbeddedPostgresError({
      reason: "UnusableDirectory",
      detail: `${target} belongs to somebody else.`
    })
  }
  yield* Effect.acquireUseRelease(
    attempt("StartFailed", `${parent} cannot be written to`, () => mkdtemp(`${target}.`)),
    (staging) => Effect.zipRight(fill(found, staging), publish(staging, target)),
    (staging) => discard(staging)
  )
  return target
})

// cleaners of temp directories remove single files, so the marker says how many there were
const isComplete = Effect.fnUntraced(function* (target: string) {
  const own = yield* isOwn(target)
  const marker = yield* optional(() => readFile(join(target, ".done"), "utf8"))
  const files = yield* optional(() => readdir(join(target, "native"), { recursive: true }))
  return own && Option.isSome(marker) && Option.isSome(files) && Number(marker.value) === files.value.length
})

const fill = Effect.fnUntraced(function* (found: Package, staging: string) {
  const from = join(found.root, "native")
  const to = join(staging, "native")
  const copying = <A>(call: () => Promise<A>) =>
    attempt("StartFailed", `${found.root} cannot be copied to ${staging}`, call)
  const entries = yield* copying(() => readdir(from, { recursive: true, withFileTypes: true }))
  const [files, directories] = Array.partition(entries, (entry) => entry.isDirectory())
  const destination = (entry: Dirent) => join(to, relative(from, join(entry.parentPath, entry.name)))
  // modes are set by hand: the umask, or that of whoever installed, may shut the server's user out
  const open = (path: string, mode: number) => copying(() => chmod(path, mode))
  for (const path of [to, ...directories.map(destination)]) {
    yield* copying(() => mkdir(path, { recursive: true }))
  }
  yield* Effect.forEach(
    files.filter((entry) => entry.isFile()),
    (entry) =>
      Effect.gen(function* () {
        const source = join(entry.parentPath, entry.name)
        yield* copying(() => copyFile(source, destination(entry)))
        const { mode } = yield* copying(() => stat(source))
        yield* open(destination(entry), mode & 0o100 ? 0o755 : 0o644)
      }),
    { concurrency: 8, discard: true }
  )
  yield* Effect.forEach(found.links, ({ source, target }) => {
    const path = join(staging, target)
    return Effect.ignore(optional(() => symlink(relative(dirname(path), join(staging, source)), path)))
  })
  yield* Effect.forEach([staging, to, ...directories.map(destination)], (path) => open(path, 0o755))
  const copied = yield* copying(() => readdir(to, { recursive: true }))
  yield* copying(() => writeFile(join(staging, ".done"), String(copied.length)))
})

// a rename is all or nothing, so of two processes one wins and the other uses what it finds
const publish = (staging: string, target: string): Effect.Effect<void, EmbeddedPostgresError> =>
  move(staging, target).pipe(
    Effect.catchAll(() =>
      Effect.if(isComplete(target), {
        onTrue: () => Effect.void,
        onFalse: () => Effect.zipRight(retire(target, `${staging}.old`), move(staging, target))
      })
    )
  )

const move = (from: string, to: string) =>
  attempt("UnusableDirectory", `${to} is in the way of a copy of PostgreSQL`, () => rename(from, to))

const retire = (target: string, old: string) => Effect.zipRight(move(target, old), discard(old))

const discard = (path: string) => Effect.ignore(optional(() => rm(path, { recursive: true, force: true })))
