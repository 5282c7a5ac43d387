/**
 * The process of a server.
 *
 * @since 0.1.0
 */

import { type ChildProcess, spawn as spawnProcess } from "node:child_process"
import { constants } from "node:fs"
import { type FileHandle, open } from "node:fs/promises"
import { createServer } from "node:net"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { attempt, poll } from "./attempt.ts"
import type { Binaries } from "./binaries.ts"
import { as } from "./command.ts"
import type { Directory } from "./directory.ts"
import { EmbeddedPostgresError } from "./error.ts"
import * as PidFile from "./pidFile.ts"

/** How long a server may take to become ready, in milliseconds: after a crash it reads its log first. */
export const patience = 60_000

/** What a promise to keep data costs, or what its absence saves. */
export const durability = (durable: boolean): ReadonlyArray<string> =>
  durable ? ["fsync=on", "synchronous_commit=on"] : ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]

/** A process, and how long the log was before it. */
export interface Started {
  readonly child: ChildProcess
  readonly offset: number
}

/** Starts a server that outlives us: it has a session of its own and writes to a file, not to a pipe of ours. */
export const spawn = (
  directory: Directory,
  binaries: Binaries,
  settings: ReadonlyArray<string>
): Effect.Effect<Started, EmbeddedPostgresError> =>
  withLog(directory, (log) =>
    Effect.gen(function* () {
      const { size } = yield* attempt("StartFailed", `${directory.log} cannot be read`, () => log.stat())
      const tooLong = size > 10_000_000
      if (tooLong) {
        yield* attempt("StartFailed", `${directory.log} cannot be shortened`, () => log.truncate())
      }
      const child = yield* attempt("StartFailed", "PostgreSQL cannot be started", () =>
        started(
          spawnProcess(
            join(binaries.bin, "postgres"),
            ["-D", directory.data, ...settings.flatMap((setting) => ["-c", setting])],
            { ...as(directory.user), detached: true, stdio: ["ignore", log.fd, log.fd] }
          )
        )
      )
      return { child, offset: tooLong ? 0 : size }
    })
  )

/** Waits until a server takes connections; none when it ended instead, or took too long. */
export const untilReady = (child: ChildProcess, directory: Directory): Effect.Effect<Option.Option<PidFile.PidFile>> =>
  poll(
    Effect.map(PidFile.read(directory.data), (found) => {
      const ready = Option.filter(found, ({ isReady, pid }) => isReady && pid === child.pid)
      return Option.isSome(ready) || hasExited(child) ? Option.some(ready) : Option.none()
    }),
    patience
  ).pipe(Effect.map(Option.flatten))

/** True when a child has ended and Node knows it. */
export const hasExited = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** The log from a position on. */
export const saidSince = (directory: Directory, offset: number): Effect.Effect<string, EmbeddedPostgresError> =>
  withLog(directory, (log) =>
    Effect.map(
      attempt("StartFailed", `${directory.log} cannot be read`, () =>
        log.read({ buffer: new Uint8Array(4096), position: offset })
      ),
      ({ buffer, bytesRead }) => new TextDecoder().decode(buffer.subarray(0, bytesRead))
    )
  )

/** A port of 127.0.0.1 that nobody listens on just now. */
export const freePort: Effect.Effect<number, EmbeddedPostgresError> = Effect.async((resume) => {
  const probe = createServer()
  probe.once("error", (cause) =>
    resume(new EmbeddedPostgresError({ reason: "StartFailed", detail: "No port of 127.0.0.1 is free.", cause }))
  )
  probe.listen(0, "127.0.0.1", () => {
    const address = probe.address()
    const port = address === null || typeof address === "string" ? 0 : address.port
    probe.close(() => resume(Effect.succeed(port)))
  })
})

// the log must not be a link that makes root write elsewhere; Windows knows no such flag
const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0)

const withLog = <A>(directory: Directory, use: (log: FileHandle) => Effect.Effect<A, EmbeddedPostgresError>) =>
  Effect.acquireUseRelease(
    attempt("StartFailed", `${directory.log} cannot be opened`, () => open(directory.log, flags, 0o600)),
    use,
    (log) => Effect.promise(() => log.close())
  )

const started = (child: ChildProcess): Promise<ChildProcess> =>
  new Promise((resolve, reject) => {
    child.unref()
    child.once("error", reject)
    child.once("spawn", () => resolve(child))
  })
