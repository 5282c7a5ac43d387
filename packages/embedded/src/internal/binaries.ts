/**
 * The programs of PostgreSQL, as npm installed them or as a repaired copy.
 *
 * @since 0.1.0
 */

import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { exists } from "./attempt.ts"
import { privateCopy } from "./binariesCopy.ts"
import { find, type Package, unsupported } from "./binaryPackage.ts"
import { type Outcome, run } from "./command.ts"
import { EmbeddedPostgresError } from "./error.ts"
import type { User } from "./user.ts"

/** Programs that run: `bin` holds `postgres` and `initdb`. */
export interface Binaries {
  readonly bin: string
  readonly version: string
}

/** Programs that run as a user: those of npm if they do, else a private copy that has its links. */
export const forUser = Effect.fnUntraced(function* (user: User): Effect.fn.Return<Binaries, EmbeddedPostgresError> {
  const found = yield* find(process.platform, process.arch)
  const linked = yield* Effect.every(found.links, (link) => exists(join(found.root, link.target)))
  const installed = yield* Effect.either(probe(found.root, user))
  if (Either.isRight(installed)) {
    return linked ? installed.right : yield* fromCopy(found, user)
  }
  const { exit } = installed.left
  // a file that is there and still "not found" has no loader: the binaries need glibc, Alpine has musl
  if (exit === "ENOENT" && (yield* exists(join(found.root, "native", "bin")))) {
    return yield* Effect.fail(unsupported("The installed PostgreSQL needs glibc, which this system lacks."))
  }
  if (exit === "EPERM" || exit === "EINVAL") {
    const detail = `This process may not start a program as the user ${user.name} (${exit}).`
    return yield* Effect.fail(new EmbeddedPostgresError({ reason: "UnknownUser", detail }))
  }
  return yield* fromCopy(found, user)
})

// a temp directory may be closed to the server's user, or forbid running programs
const fromCopy = (found: Package, user: User): Effect.Effect<Binaries, EmbeddedPostgresError> => {
  const under = (parent: string) =>
    Effect.flatMap(privateCopy(found, parent), (root) => Effect.mapError(probe(root, user), doesNotRun(root, user)))
  return Effect.catchAll(under(tmpdir()), (first) => Effect.mapError(under("/var/tmp"), () => first))
}

const probe = (root: string, user: User): Effect.Effect<Binaries, Outcome> => {
  const bin = join(root, "native", "bin")
  return Effect.flatMap(run(join(bin, "postgres"), ["--version"], user), (outcome) => {
    const version = /\(PostgreSQL\) (\S+)/.exec(outcome.output)?.[1]
    return version === undefined ? Effect.fail(outcome) : Effect.succeed({ bin, version })
  })
}

const doesNotRun = (root: string, user: User) => (outcome: Outcome) =>
  unsupported(`PostgreSQL in ${root} does not run as the user ${user.name} (${outcome.exit} ${outcome.output}).`)
