/**
 * What the configuration says about where we are.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"

/** True when `NODE_ENV` is `production`. */
export const isProduction: Effect.Effect<boolean> = Effect.map(
  Effect.option(Config.string("NODE_ENV")),
  Option.contains("production")
)

/** `DATABASE_URL`, unless it is to be ignored; an empty line in an .env file means that there is none. */
export const databaseUrl = (options: {
  readonly ignoreDatabaseUrl?: boolean | undefined
}): Effect.Effect<Option.Option<Redacted.Redacted<string>>, ConfigError.ConfigError> =>
  options.ignoreDatabaseUrl === true
    ? Effect.succeedNone
    : Effect.map(
        Config.option(Config.redacted("DATABASE_URL")),
        Option.filter((url) => Redacted.value(url).trim() !== "")
      )
