/**
 * The user a server runs as: Postgres refuses to be root.
 *
 * @since 0.1.0
 */

import { readFile } from "node:fs/promises"
import { userInfo } from "node:os"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { optional } from "./attempt.ts"
import { EmbeddedPostgresError } from "./error.ts"

/** Ids to take on when a process is started; none when it stays with ours. */
export interface User {
  readonly name: string
  readonly ids: { readonly uid: number; readonly gid: number } | undefined
}

/** What the choice depends on: our uid (none on Windows), our name if the system knows one, and `/etc/passwd`. */
export interface Surroundings {
  readonly uid: number | undefined
  readonly name: string | undefined
  readonly passwd: string
}

/** Root becomes `postgres`, else `nobody`; others stay who they are. */
export const choose = (surroundings: Surroundings): Effect.Effect<User, EmbeddedPostgresError> => {
  if (surroundings.uid === 0) {
    const users = parsePasswd(surroundings.passwd)
    const found = ["postgres", "_postgres", "nobody"].flatMap((name) => users.filter((user) => user.name === name))[0]
    return found ? Effect.succeed(found) : unknownUser("PostgreSQL cannot run as root, and there is no other user.")
  }
  return surroundings.name === undefined
    ? unknownUser(`PostgreSQL cannot run as uid ${surroundings.uid}, which has no name on this system.`)
    : Effect.succeed({ name: surroundings.name, ids: undefined })
}

/** The user for this process. */
export const current: Effect.Effect<User, EmbeddedPostgresError> = Effect.gen(function* () {
  const info = yield* Effect.option(Effect.try(() => userInfo()))
  const passwd = yield* optional(() => readFile("/etc/passwd", "utf8"))
  return yield* choose({
    uid: process.getuid?.(),
    name: Option.getOrUndefined(info)?.username,
    passwd: Option.getOrElse(passwd, () => "")
  })
})

/** True when this process is root, and files for the server must be handed over. */
export const isRoot = (): boolean => process.getuid?.() === 0

const unknownUser = (detail: string) => Effect.fail(new EmbeddedPostgresError({ reason: "UnknownUser", detail }))

const parsePasswd = (passwd: string): ReadonlyArray<User> =>
  passwd
    .split("\n")
    .map((line) => line.split(":"))
    .map(([name = "", , uid, gid]) => ({ name, ids: { uid: Number(uid), gid: Number(gid) } }))
    .filter((user) => user.ids.uid > 0 && user.ids.gid >= 0)
