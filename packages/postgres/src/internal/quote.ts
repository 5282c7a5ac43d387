import * as Effect from "effect/Effect"
import { PgMessagingError } from "./pgMessagingError.ts"

/**
 * Quotes an identifier. The only way a name gets into SQL text; values are parameters.
 *
 * @internal
 */
export const quote = (identifier: string): string => `"${identifier.replaceAll('"', '""')}"`

/**
 * Refuses a schema name that would need escaping or that leaves no room for the names made from it.
 *
 * @internal
 */
export const validateSchema = (schema: string): Effect.Effect<string, PgMessagingError> =>
  /^[A-Za-z_][A-Za-z0-9_]{0,39}$/.test(schema) && !/^pg_/i.test(schema)
    ? Effect.succeed(schema)
    : Effect.fail(
        new PgMessagingError({
          reason: "SchemaInvalid",
          detail:
            `The schema name ${JSON.stringify(schema)} cannot be used. ` +
            "Choose one of at most 40 letters, digits and underscores that begins neither with a digit nor with pg_."
        })
      )
