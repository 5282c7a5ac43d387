/**
 * Who owns what in places where everybody may write.
 *
 * @since 0.1.0
 */

import { lstat } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { optional } from "./attempt.ts"

/** True for a directory that is ours and that nobody else may write to: a name in a temp directory is anybody's. */
export const isOwn = (path: string): Effect.Effect<boolean> =>
  Effect.map(
    optional(() => lstat(path)),
    Option.exists(
      (entry) =>
        entry.isDirectory() &&
        (process.getuid === undefined || (entry.uid === process.getuid() && (entry.mode & 0o022) === 0))
    )
  )
