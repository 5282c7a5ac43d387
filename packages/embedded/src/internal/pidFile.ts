/**
 * What a running server writes about itself.
 *
 * @since 0.1.0
 */

import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { optional } from "./attempt.ts"

/** The lines of `postmaster.pid` that matter here. */
export interface PidFile {
  readonly pid: number
  readonly port: number
  readonly isReady: boolean
}

/** Reads `postmaster.pid`; none when there is no server, or it has only begun to write. */
export const read = (data: string): Effect.Effect<Option.Option<PidFile>> =>
  Effect.map(
    optional(() => readFile(join(data, "postmaster.pid"), "utf8")),
    Option.flatMap(parse)
  )

/** True when a server runs with these arguments: it writes its command line beside the data. */
export const hasArguments = (data: string, args: ReadonlyArray<string>): Effect.Effect<boolean> =>
  Effect.map(
    optional(() => readFile(join(data, "postmaster.opts"), "utf8")),
    Option.exists((line) => args.every((arg) => line.includes(`"${arg}"`)))
  )

/** Pid, data directory, start, port, socket, address, shared memory, status: one a line. */
export const parse = (text: string): Option.Option<PidFile> => {
  const [pid, , , port, , , , status = ""] = text.split("\n")
  return Number(pid) > 0 && Number(port) > 0
    ? Option.some({ pid: Number(pid), port: Number(port), isReady: status.trim() === "ready" })
    : Option.none()
}
