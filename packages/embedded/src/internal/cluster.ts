/**
 * The files of a new server: data and password, published together.
 *
 * @since 0.1.0
 */

import { randomBytes } from "node:crypto"
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { attempt, exists, optional } from "./attempt.ts"
import type { Binaries } from "./binaries.ts"
import { isAlive, run } from "./command.ts"
import type { Directory } from "./directory.ts"
import { EmbeddedPostgresError } from "./error.ts"

/** The role that owns everything. */
export const username = "postgres"

/** Makes the cluster unless there is one; of two processes that do so at once, one is first and both use the same. */
export const ensure = Effect.fnUntraced(function* (
  directory: Directory,
  binaries: Binaries,
  durable: boolean
): Effect.fn.Return<void, EmbeddedPostgresError> {
  if (!(yield* exists(directory.cluster))) {
    yield* sweep(directory.root)
    yield* Effect.acquireUseRelease(
      attempt("UnusableDirectory", `${directory.root} cannot be written to`, () =>
        mkdtemp(join(directory.root, `init-${process.pid}-`))
      ),
      (staging) => Effect.zipRight(initialize(directory, staging, binaries, durable), publish(staging, directory)),
      discard
    )
  }
  const version = yield* attempt("UnusableDirectory", `${directory.data} cannot be read`, () =>
    readFile(join(directory.data, "PG_VERSION"), "utf8")
  )
  if (version.trim() !== binaries.version.split(".")[0]) {
    const detail = `${directory.data} was made by PostgreSQL ${version.trim()}, and ${binaries.version} is installed.`
    return yield* new EmbeddedPostgresError({ reason: "UnusableDirectory", detail })
  }
})

/** The password of a cluster. */
export const password = (directory: Directory): Effect.Effect<Redacted.Redacted<string>, EmbeddedPostgresError> =>
  Effect.map(
    attempt("UnusableDirectory", `${directory.password} cannot be read`, () => readFile(directory.password, "utf8")),
    (text) => Redacted.make(text.trim())
  )

const initialize = Effect.fnUntraced(function* (
  directory: Directory,
  staging: string,
  binaries: Binaries,
  durable: boolean
) {
  const data = join(staging, "data")
  const secret = join(staging, "password")
  const writing = <A>(call: () => Promise<A>) => attempt("UnusableDirectory", `${staging} cannot be written to`, call)
  yield* writing(() => mkdir(data, { mode: 0o700 }))
  yield* writing(() => writeFile(secret, `${randomBytes(24).toString("base64url")}\n`, { mode: 0o600, flag: "wx" }))
  const { ids } = directory.user
  if (ids !== undefined) {
    yield* writing(() => chmod(staging, 0o711))
    yield* Effect.forEach([data, secret], (path) => writing(() => chown(path, ids.uid, ids.gid)))
  }
  const { exit, output } = yield* run(
    join(binaries.bin, "initdb"),
    [
      ...["-D", data, "-U", username, "-A", "scram-sha-256", `--pwfile=${secret}`],
      ...["--locale=C", "--encoding=UTF8", "--no-instructions", ...(durable ? [] : ["--no-sync"])]
    ],
    directory.user
  )
  if (exit !== 0) {
    return yield* new EmbeddedPostgresError({ reason: "StartFailed", detail: `initdb failed (${exit}): ${output}.` })
  }
})

// one rename for data and password, so no process ever sees the one without the other
const publish = (staging: string, directory: Directory) =>
  attempt("UnusableDirectory", `${directory.cluster} cannot be made`, () => rename(staging, directory.cluster)).pipe(
    Effect.catchAll((error) =>
      Effect.flatMap(exists(join(directory.data, "PG_VERSION")), (there) => (there ? Effect.void : Effect.fail(error)))
    )
  )

// what a process that was killed half-way has left behind
const sweep = (root: string) =>
  Effect.flatMap(
    optional(() => readdir(root)),
    (names) =>
      Effect.forEach(
        Option.getOrElse(names, () => []).filter((name) => name.startsWith("init-")),
        (name) =>
          Effect.if(isAlive(Number(name.split("-")[1])), {
            onTrue: () => Effect.void,
            onFalse: () => discard(join(root, name))
          })
      )
  )

const discard = (path: string) => optional(() => rm(path, { recursive: true, force: true }))
