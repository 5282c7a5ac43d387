/**
 * The demo waits for conditions, never for a while; and not for ever.
 */
import { Data, Effect } from "effect"

export class DemoError extends Data.TaggedError("DemoError")<{ readonly message: string }> {}

/** Looks every 50 ms until there is an answer, for at most half a minute. */
export const waitFor = <A, E, R>(
  what: string,
  look: Effect.Effect<A | undefined, E, R>
): Effect.Effect<A, E | DemoError, R> => {
  const lookAgain: Effect.Effect<A, E, R> = Effect.flatMap(look, (answer) =>
    answer === undefined ? Effect.delay(lookAgain, "50 millis") : Effect.succeed(answer)
  )
  return Effect.timeoutFail(lookAgain, {
    duration: "30 seconds",
    onTimeout: () => new DemoError({ message: `waited for 30 seconds, but it did not happen: ${what}` })
  })
}
