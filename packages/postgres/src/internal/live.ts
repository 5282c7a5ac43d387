import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const clock = Clock.make()

/**
 * Runs by the clock of the machine, also under a test's clock: for sockets that keep real time and for housekeeping,
 * never for what a message waits for.
 *
 * @internal
 */
export const live: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.withClock(clock)
