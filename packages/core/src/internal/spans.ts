import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"

/**
 * Runs an effect, made for the fiber it runs on, under a span; without one while nobody listens: Effect's own tracer,
 * which is there by default, keeps nothing.
 *
 * @internal
 */
export const traced = <A, E, R>(
  name: () => string,
  make: (fiber: Fiber.RuntimeFiber<any, any>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime<A, E, R>((fiber) =>
    fiber.currentTracer === deaf
      ? make(fiber)
      : (Effect.withSpan(Effect.withFiberRuntime<A, E, R>(make), name(), { captureStackTrace: false }) as Effect.Effect<
          A,
          E,
          R
        >)
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const deaf = Context.get(DefaultServices.liveServices, Tracer.Tracer)
