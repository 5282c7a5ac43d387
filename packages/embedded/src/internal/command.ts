/**
 * Running programs, and what became of them.
 *
 * @since 0.1.0
 */

import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { codeOf, optional, poll } from "./attempt.ts"
import type { User } from "./user.ts"

/** How a program ended: its exit code, or the code of the error that kept it from running. */
export interface Outcome {
  readonly exit: number | string
  readonly output: string
}

/** A small environment of our own: settings such as `PGDATA` or a locale must not leak into the server. */
export const environment = { LC_ALL: "C", TZ: "UTC", PATH: "/usr/local/bin:/usr/bin:/bin" }

/** The part of the spawn options that makes a program run as a user, wherever we stand. */
export const as = (user: User) => ({ cwd: "/", env: environment, ...user.ids })

/** Runs a program to its end. */
export const run = (file: string, args: ReadonlyArray<string>, user: User): Effect.Effect<Outcome> =>
  Effect.tryPromise({
    try: (signal) =>
      new Promise<Outcome>((resolve) =>
        execFile(file, args, { ...as(user), signal }, (error, stdout, stderr) =>
          resolve({ exit: error ? (error.code ?? error.signal ?? "unknown") : 0, output: `${stdout}${stderr}`.trim() })
        )
      ),
    catch: (cause): Outcome => ({ exit: codeOf(cause) ?? "unknown", output: String(cause) })
  }).pipe(Effect.merge)

/** True while a process lives; one that only waits to be buried does not. */
export const isAlive = (pid: number): Effect.Effect<boolean> =>
  Effect.try({ try: () => process.kill(pid, 0), catch: codeOf }).pipe(
    Effect.catchAll((code) => Effect.succeed(code === "EPERM")),
    Effect.flatMap((known) =>
      known && process.platform === "linux"
        ? Effect.map(
            optional(() => readFile(`/proc/${pid}/stat`, "utf8")),
            Option.exists((stat) => !/^[ZX]/.test(stat.slice(stat.lastIndexOf(")") + 2)))
          )
        : Effect.succeed(known)
    )
  )

/** True when a living process was started on that directory; a pid alone may long belong to another program. */
export const isServing = (pid: number, directory: string): Effect.Effect<boolean> =>
  Effect.flatMap(isAlive(pid), (alive) => {
    if (!alive || process.platform === "win32") {
      return Effect.succeed(alive)
    }
    const commandLine =
      process.platform === "linux"
        ? optional(() => readFile(`/proc/${pid}/cmdline`, "utf8"))
        : Effect.asSome(
            Effect.map(
              run("/bin/ps", ["-p", String(pid), "-o", "command="], { name: "", ids: undefined }),
              (_) => _.output
            )
          )
    return Effect.map(
      commandLine,
      Option.exists((line) => line.includes(directory))
    )
  })

/** Asks a server to end: at first politely, in the end not at all. False when it is still there. */
export const end = (pid: number): Effect.Effect<boolean> =>
  Effect.reduce(stages, false, (gone, [signal, millis]) =>
    gone
      ? Effect.succeed(true)
      : Effect.ignore(Effect.try(() => process.kill(pid, signal))).pipe(
          Effect.zipRight(
            poll(
              Effect.map(isAlive(pid), (alive) => (alive ? Option.none() : Option.some(pid))),
              millis
            )
          ),
          Effect.map(Option.isSome)
        )
  )

// fast shutdown, then one that makes the server kill its own children, which SIGKILL would leave behind
const stages = [
  ["SIGINT", 10_000],
  ["SIGQUIT", 6_000],
  ["SIGKILL", 2_000]
] as const
