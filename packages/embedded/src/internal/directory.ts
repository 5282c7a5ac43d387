/**
 * Where a server keeps its things.
 *
 * ```text
 * <root>/server.log          what the server says
 * <root>/cluster/password    of the role `postgres`
 * <root>/cluster/data        PGDATA
 * ```
 *
 * @since 0.1.0
 */

import { createHash } from "node:crypto"
import { chmod, mkdir, realpath, stat } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { attempt, exists, optional } from "./attempt.ts"
import { run } from "./command.ts"
import { EmbeddedPostgresError } from "./error.ts"
import { isOwn } from "./ownership.ts"
import { current, isRoot, type User } from "./user.ts"

/** A place and the user who owns the data in it. */
export interface Directory {
  readonly requested: string
  readonly root: string
  readonly cluster: string
  readonly data: string
  readonly password: string
  readonly log: string
  readonly user: User
}

/** What is used when no directory is given. */
export const defaultDirectory = ".holdfast/postgres"

/** Finds the place for a directory as asked for; nothing is written. */
export const locate = Effect.fnUntraced(function* (
  requested: string
): Effect.fn.Return<Directory, EmbeddedPostgresError> {
  const path = yield* physical(resolve(requested))
  if (!isRoot()) {
    return layout(path, path, yield* current)
  }
  const user = yield* Effect.flatMap(
    ownerOf(path),
    Effect.orElse(() => current)
  )
  const reachable = yield* canEnter(yield* nearest(path), user)
  if (reachable) {
    return layout(path, path, user)
  }
  const elsewhere = standIn(path)
  return layout(
    path,
    elsewhere,
    yield* Effect.flatMap(
      ownerOf(elsewhere),
      Effect.orElse(() => current)
    )
  )
})

/** Root's data when the server's user cannot enter the directory asked for: one place for each such directory. */
export const standIn = (path: string): string =>
  join("/var/tmp", `holdfast-${createHash("sha256").update(path).digest("hex").slice(0, 12)}`)

/** Makes the place, so that the server's user can enter it. */
export const prepare = Effect.fnUntraced(function* (
  directory: Directory
): Effect.fn.Return<void, EmbeddedPostgresError> {
  const { root } = directory
  if (yield* exists(join(root, "PG_VERSION"))) {
    return yield* unusable(`${root} holds a database that this package did not make.`)
  }
  const made = yield* attempt("UnusableDirectory", `${root} cannot be made`, () =>
    mkdir(root, { recursive: true, mode: isRoot() ? 0o711 : 0o700 })
  )
  if (isRoot() && made !== undefined) {
    // the umask may have shut the server's user out of the directories just made
    yield* Effect.forEach(upTo(root, made), (path) =>
      attempt("UnusableDirectory", `${path} cannot be opened to ${directory.user.name}`, () => chmod(path, 0o711))
    )
  }
  if (root !== directory.requested && !(yield* isOwn(root))) {
    return yield* unusable(`${root} belongs to somebody else.`)
  }
})

const layout = (requested: string, root: string, user: User): Directory => {
  const cluster = join(root, "cluster")
  const data = join(cluster, "data")
  return { requested, root, cluster, data, password: join(cluster, "password"), log: join(root, "server.log"), user }
}

// data that is there decides: its owner is the only user Postgres accepts for it
const ownerOf = (root: string): Effect.Effect<Effect.Effect<User, void>> =>
  Effect.map(
    optional(() => stat(join(root, "cluster", "data"))),
    Option.match({
      onNone: () => Effect.fail(undefined),
      onSome: ({ gid, uid }) =>
        uid === 0 ? Effect.fail(undefined) : Effect.succeed({ name: `uid ${uid}`, ids: { uid, gid } })
    })
  )

const canEnter = (path: string, user: User): Effect.Effect<boolean> =>
  Effect.map(run("/bin/sh", ["-c", 'test -x "$1"', "sh", path], user), ({ exit }) => exit === 0)

const nearest = (path: string): Effect.Effect<string> =>
  Effect.flatMap(exists(path), (there) =>
    there || dirname(path) === path ? Effect.succeed(path) : nearest(dirname(path))
  )

// two paths to one place must be one server, so links are resolved as far as the path exists
const physical = Effect.fnUntraced(function* (path: string) {
  const known = yield* nearest(path)
  const real = yield* optional(() => realpath(known))
  return join(
    Option.getOrElse(real, () => known),
    path.slice(known.length)
  )
})

const upTo = (path: string, top: string): ReadonlyArray<string> =>
  path === top || dirname(path) === path ? [path] : [path, ...upTo(dirname(path), top)]

const unusable = (detail: string) => Effect.fail(new EmbeddedPostgresError({ reason: "UnusableDirectory", detail }))
