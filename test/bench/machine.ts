import { cpus, totalmem } from "node:os"
import type { EmbeddedPostgres } from "@holdfast/embedded"
import { Effect, Redacted } from "effect"
import { pool, query } from "./database.ts"
import { versions } from "./peers.ts"

const settings = [
  ...["synchronous_commit", "fsync", "full_page_writes", "shared_buffers", "max_wal_size", "wal_level"],
  ...["autovacuum", "max_connections", "jit"]
]

const isHere = (host: string) => host === "localhost" || host === "127.0.0.1" || host === "::1" || host.startsWith("/")

/** Where the figures come from, as lines of a list. Nothing in it names the machine. */
export const describe = (server: EmbeddedPostgres.Server) =>
  Effect.gen(function* () {
    const connections = yield* pool(Redacted.value(server.url), 1)
    const { rows } = yield* query(
      connections,
      "SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY($1) ORDER BY array_position($1, name)",
      [settings]
    )
    const processors = cpus()
    return [
      `${processors.length} cores (${processors[0]?.model.trim() ?? "unknown"}), ` +
        `${Math.round(totalmem() / 2 ** 30)} GiB of memory, ${process.platform}`,
      `Node ${process.versions.node}`,
      `PostgreSQL ${server.version} on ${isHere(server.host) ? "the same" : "another"} machine: ` +
        rows.map(({ name, value }) => `${name} ${value}`).join(", "),
      Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", ")
    ]
  }).pipe(Effect.scoped)
