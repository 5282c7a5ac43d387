import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/**
 * Runs what is asked for while a run is on its way together, in the next one. `run` answers in the order of what it is
 * given.
 *
 * @internal
 */
export const make = <A, B, E>(
  run: (items: ReadonlyArray<A>) => Effect.Effect<ReadonlyArray<B>, E>
): ((item: A) => Effect.Effect<B, E>) => {
  const waiting: Array<{ readonly item: A; readonly answer: Deferred.Deferred<B, E> }> = []
  let busy = false
  const next: Effect.Effect<void> = Effect.suspend(() => {
    const group = waiting.splice(0, most)
    if (group.length === 0) {
      busy = false
      return Effect.void
    }
    return Effect.zipRight(
      Effect.flatMap(Effect.exit(run(group.map(({ item }) => item))), (exit) =>
        Effect.forEach(
          group,
          ({ answer }, index) =>
            Deferred.done(
              answer,
              Exit.map(exit, (all) => all[index]!)
            ),
          {
            discard: true
          }
        )
      ),
      next
    )
  })
  return (item) =>
    Effect.flatMap(Deferred.make<B, E>(), (answer) => {
      waiting.push({ item, answer })
      if (busy) return Deferred.await(answer)
      busy = true
      // not at once: those who are about to ask leave with it
      const start = Effect.forkDaemon(Effect.uninterruptible(Effect.zipRight(Effect.yieldNow(), next)))
      return Effect.zipRight(start, Deferred.await(answer))
    }).pipe(Effect.uninterruptible)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** How many go in one run. */
const most = 200
