/**
 * The tables Holdfast keeps its messages in: numbered migrations, applied once and in order.
 *
 * Run them at start with `layer`, or print them with `plan` for whoever may change the schema.
 *
 * @since 0.1.0
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as internal from "./internal/migrate.ts"
import type { PgMessagingError } from "./internal/pgMessagingError.ts"

/**
 * Where the tables are: `holdfast` when left out.
 *
 * @example
 * ```ts
 * import { PgMigrations } from "@holdfast/postgres"
 *
 * const inMessaging: PgMigrations.Options = { schema: "messaging" }
 * const applied = PgMigrations.migrate(inMessaging)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  readonly schema?: string | undefined
}

/**
 * A migration as it is known to this build, or as the database remembers it.
 *
 * @example
 * ```ts
 * import { PgMigrations } from "@holdfast/postgres"
 * import { Effect } from "effect"
 *
 * const nameOf = ({ id, name }: PgMigrations.Migration) => `${id} ${name}`
 * const pending = Effect.map(PgMigrations.status(), (status) => status.pending.map(nameOf))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Migration {
  readonly id: number
  readonly name: string
}

/**
 * How far a schema is. `current` is 0 when there are no tables yet.
 *
 * @example
 * ```ts
 * import { PgMigrations } from "@holdfast/postgres"
 * import { Effect } from "effect"
 *
 * const describe = ({ current, latest }: PgMigrations.Status) => `at migration ${current} of ${latest}`
 * const description = Effect.map(PgMigrations.status(), describe)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Status {
  readonly current: number
  readonly latest: number
  readonly applied: ReadonlyArray<Migration>
  readonly pending: ReadonlyArray<Migration>
}

/**
 * Applies what is pending, in one transaction, and answers the ids. Of several processes that migrate at once, one does
 * it and the others then find nothing to do. A schema newer than this build is an error.
 *
 * @example
 * ```ts
 * import { PgMigrations } from "@holdfast/postgres"
 * import { Effect } from "effect"
 *
 * const program = Effect.flatMap(PgMigrations.migrate(), (applied) => Effect.log(`${applied.length} applied`))
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const migrate = (options?: Options): Effect.Effect<ReadonlyArray<number>, PgMessagingError, PgClient.PgClient> =>
  Effect.flatMap(PgClient.PgClient, (client) => internal.migrate(client, options?.schema ?? internal.defaultSchema))

/**
 * The SQL text of what is pending, for review or to be run by hand. Touches nothing. Empty when nothing is pending.
 *
 * @example
 * ```ts
 * import { PgMigrations } from "@holdfast/postgres"
 * import { Console, Effect } from "effect"
 *
 * const program = Effect.flatMap(PgMigrations.plan({ schema: "messaging" }), Console.log)
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const plan = (options?: Options): Effect.Effect<string, PgMessagingError, PgClient.PgClient> =>
  Effect.flatMap(PgClient.PgClient, (client) => internal.plan(client, options?.schema ?? internal.defaultSchema))

/**
 * How far the schema is.
 *
 * @example
 * ```ts
 * import { PgMigrations } from "@holdfast/postgres"
 * import { Effect } from "effect"
 *
 * const upToDate = Effect.map(PgMigrations.status(), ({ pending }) => pending.length === 0)
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const status = (options?: Options): Effect.Effect<Status, PgMessagingError, PgClient.PgClient> =>
  Effect.flatMap(PgClient.PgClient, (client) => internal.status(client, options?.schema ?? internal.defaultSchema))

/**
 * Applies what is pending when it is built, to the schema `holdfast`. Provide it below `PgMessaging.layer`.
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
export const layer: Layer.Layer<never, PgMessagingError, PgClient.PgClient> = Layer.effectDiscard(migrate())

/**
 * Applies what is pending when it is built, to a schema of your choice.
 *
 * @example
 * ```ts
 * import { PgMigrations } from "@holdfast/postgres"
 *
 * const Migrations = PgMigrations.layerWith({ schema: "messaging" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: Options): Layer.Layer<never, PgMessagingError, PgClient.PgClient> =>
  Layer.effectDiscard(migrate(options))
