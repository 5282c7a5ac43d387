/**
 * Calls into Node that may fail.
 *
 * @since 0.1.0
 */

import { stat } from "node:fs/promises"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { EmbeddedPostgresError } from "./error.ts"

/** Runs a promise of Node's and gives its failure a reason and a sentence. */
export const attempt = <A>(
  reason: EmbeddedPostgresError["reason"],
  detail: string,
  call: (signal: AbortSignal) => Promise<A>
): Effect.Effect<A, EmbeddedPostgresError> =>
  Effect.tryPromise({
    try: call,
    catch: (cause) => new EmbeddedPostgresError({ reason, detail: `${detail} (${codeOf(cause) ?? cause}).`, cause })
  })

/** Runs a promise of Node's whose failure only means that there is nothing. */
export const optional = <A>(call: () => Promise<A>): Effect.Effect<Option.Option<A>> =>
  Effect.option(Effect.tryPromise(call))

/** True when there is something at a path; a link that leads nowhere is nothing. */
export const exists = (path: string): Effect.Effect<boolean> =>
  Effect.map(
    optional(() => stat(path)),
    Option.isSome
  )

/** The `code` of a Node or Postgres error: `ENOENT`, `42P04`. */
export const codeOf = (error: unknown): string | undefined =>
  Predicate.hasProperty(error, "code") && Predicate.isString(error.code) ? error.code : undefined

/** Repeats a look at the world until it finds something, or until `millis` have passed. */
export const poll = <A, E, R>(
  look: Effect.Effect<Option.Option<A>, E, R>,
  millis: number
): Effect.Effect<Option.Option<A>, E, R> => {
  const loop: Effect.Effect<Option.Option<A>, E, R> = Effect.flatMap(look, (found) =>
    Option.isSome(found) ? Effect.succeed(found) : Effect.zipRight(Effect.sleep(15), loop)
  )
  return Effect.map(Effect.timeoutOption(loop, millis), Option.flatten)
}
