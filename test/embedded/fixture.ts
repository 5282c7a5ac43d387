import { chmod, mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PgClient } from "@effect/sql-pg"
import type { EmbeddedPostgres } from "@holdfast/embedded"
import { Effect } from "effect"

/** A directory of its own for a test, which the user of the server can enter even if the test runs as root. */
export const directory = Effect.acquireRelease(
  Effect.promise(async () => {
    const path = await mkdtemp(join(tmpdir(), "holdfast-test-"))
    await chmod(path, 0o711)
    return path
  }),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

/** Runs a query on a server with a client of its own. */
export const query = <A, E>(server: EmbeddedPostgres.Server, run: (sql: PgClient.PgClient) => Effect.Effect<A, E>) =>
  Effect.provide(Effect.flatMap(PgClient.PgClient, run), PgClient.layer({ url: server.url }))

/** True while a process takes signals. */
export const isThere = (pid: number) => Effect.isSuccess(Effect.try(() => process.kill(pid, 0)))

/** Listens on a port of its own, and gives the port. */
export const listen = Effect.map(
  Effect.acquireRelease(
    Effect.async<ReturnType<typeof createServer>>((resume) => {
      const server = createServer().listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
  ),
  (server) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  }
)
