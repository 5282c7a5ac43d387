/**
 * Servers live in real time, also inside a test that holds the clock.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const clock = Clock.make()

/** Without this a wait for a process would never end under `TestClock`. */
export const withLiveClock: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = Effect.withClock(clock)
