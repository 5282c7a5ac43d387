/**
 * Messaging kept in the PostgreSQL that the application already uses: what a handler writes with `SqlClient`, what it
 * sends and the state of its sagas commit whole or not at all.
 *
 * @since 0.1.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as DeadLetter from "@holdfast/core/DeadLetter"
import * as Deduplication from "@holdfast/core/Deduplication"
import * as Journal from "@holdfast/core/Journal"
import * as MessageScheduler from "@holdfast/core/MessageScheduler"
import * as MessageStore from "@holdfast/core/MessageStore"
import * as SagaStore from "@holdfast/core/SagaStore"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { defaultSchema, migrate } from "./internal/migrate.ts"
import type { PgMessagingError } from "./internal/pgMessagingError.ts"
import * as PgMessageStore from "./PgMessageStore.ts"

export { PgMessagingError } from "./internal/pgMessagingError.ts"

/**
 * How messaging is opened.
 *
 * @example
 * ```ts
 * import { PgMessaging } from "@holdfast/postgres"
 *
 * const options: PgMessaging.Options = { schema: "messaging", migrate: true }
 * const Messaging = PgMessaging.layerWith(options)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends PgMessageStore.Options {
  /** Applies pending migrations first: the same as `PgMigrations.layerWith` below. */
  readonly migrate?: boolean | undefined
}

/**
 * What the layers provide: the store with its views, and the client again, now with a `withTransaction` that inside a
 * unit of work is a nested scope of that unit.
 *
 * @example
 * ```ts
 * import type { PgClient } from "@effect/sql-pg"
 * import { PgMessaging } from "@holdfast/postgres"
 * import type { Layer } from "effect"
 *
 * type Messaging = Layer.Layer<PgMessaging.PgMessaging, PgMessaging.PgMessagingError, PgClient.PgClient>
 * const inOwnSchema: Messaging = PgMessaging.layerWith({ schema: "messaging" })
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type PgMessaging =
  | MessageStore.MessageStore
  | MessageScheduler.MessageScheduler
  | DeadLetter.DeadLetter
  | Deduplication.Deduplication
  | SagaStore.SagaStore
  | Journal.Journal
  | PgClient.PgClient
  | SqlClient.SqlClient

/**
 * Opens messaging on the database of `PgClient`, with four connections of its own and one that listens. Fails with a
 * sentence when the database is away or older than PostgreSQL 15, or when its tables are not those of this build.
 *
 * @example
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { PgMessaging, PgMigrations } from "@holdfast/postgres"
 * import { Config, Layer } from "effect"
 *
 * const Messaging = PgMessaging.layer.pipe(
 *   Layer.provide(PgMigrations.layer),
 *   Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<PgMessaging, PgMessagingError, PgClient.PgClient> = Layer.suspend(() => layerWith({}))

/**
 * Opens messaging with options: another schema, more connections, polling only, or a clock that tests can move.
 *
 * @example
 * ```ts
 * import { PgMessaging } from "@holdfast/postgres"
 *
 * const Messaging = PgMessaging.layerWith({ schema: "messaging", migrate: true, notifications: false })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: Options): Layer.Layer<PgMessaging, PgMessagingError, PgClient.PgClient> =>
  Layer.mergeAll(MessageScheduler.layer, DeadLetter.layer, Deduplication.layer, SagaStore.layer, Journal.layer).pipe(
    Layer.provideMerge(layerStore(options))
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const layerStore = (
  options: Options
): Layer.Layer<
  MessageStore.MessageStore | PgClient.PgClient | SqlClient.SqlClient,
  PgMessagingError,
  PgClient.PgClient
> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const raw = yield* PgClient.PgClient
      if (options.migrate === true) yield* migrate(raw, options.schema ?? defaultSchema)
      const { client, store } = yield* PgMessageStore.make(raw, options)
      return Context.make(MessageStore.MessageStore, store).pipe(
        Context.add(PgClient.PgClient, client),
        Context.add(SqlClient.SqlClient, client)
      )
    })
  )
