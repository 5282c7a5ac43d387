import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/**
 * Runs an effect while it holds the one permit of a semaphore. One that is free is taken at once, without a turn of the
 * scheduler.
 *
 * @internal
 */
export const inTurn =
  (semaphore: Effect.Semaphore) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(semaphore.withPermitsIfAvailable(1)(effect), (done) =>
      Option.isSome(done) ? Effect.succeed(done.value) : semaphore.withPermits(1)(effect)
    )
