import { EmbeddedPostgres } from "@holdfast/embedded"
import { Effect, Exit, Redacted, Scope } from "effect"

/**
 * Gives the whole run one PostgreSQL: the one of `DATABASE_URL`, else an embedded server of its own that ends with it.
 */
export const setup = async (): Promise<() => Promise<void>> => {
  const scope = await Effect.runPromise(Scope.make())
  const server = await Effect.runPromise(
    EmbeddedPostgres.fromConfig({ dataDirectory: ".holdfast/test", durable: false, maxConnections: 4 }).pipe(
      Scope.extend(scope)
    )
  )
  process.env.HOLDFAST_TEST_DATABASE_URL = Redacted.value(server.url)
  return () => Effect.runPromise(Scope.close(scope, Exit.void))
}
