import type { Write } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"

type Units = ReadonlyArray<ReadonlyArray<Write>>
type Outcomes = ReadonlyArray<Option.Option<MessagingError>>
type Commit = (units: Units) => Effect.Effect<Outcomes>

/** How many transactions are on their way at once: one that waits for a lock does not hold up all the others. */
const lanes = 2

/** How many units one transaction carries, unless a single caller has more. */
const groupSize = 500

interface Waiting {
  readonly units: Units
  readonly outcomes: Deferred.Deferred<Outcomes>
}

/**
 * Group commit: units that come while commits are on their way wait, and leave together in the next one. One that comes
 * alone waits for nobody.
 *
 * Lanes run as fibers of the store: one that carries on for others is neither a child of the caller that opened it, nor
 * holds on to that one's context.
 *
 * @internal
 */
export const makeCommitter = (commitUnits: Commit): Effect.Effect<Commit> =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const waiting: Array<Waiting> = []
    let busy = 0
    const lane: Effect.Effect<void> = Effect.suspend(() => {
      const group = waiting.splice(0, groupOf(waiting))
      if (group.length > 0) return Effect.zipRight(commitGroup(commitUnits, group), lane)
      busy--
      return Effect.void
    })
    return (units) =>
      Effect.flatMap(Deferred.make<Outcomes>(), (outcomes) => {
        waiting.push({ units, outcomes })
        if (busy < lanes) {
          busy++
          // not at once: those who are about to come in this turn leave with it
          Runtime.runFork(runtime, lane, { immediate: false })
        }
        return Deferred.await(outcomes)
      }).pipe(Effect.uninterruptible)
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const groupOf = (waiting: ReadonlyArray<Waiting>): number => {
  let units = 0
  const full = waiting.findIndex((next, place) => {
    units += next.units.length
    return place > 0 && units > groupSize
  })
  return full < 0 ? waiting.length : full
}

/** Whoever waits hears of their own units, and all of them of a defect. */
const commitGroup = (commitUnits: Commit, group: ReadonlyArray<Waiting>): Effect.Effect<void> =>
  Effect.flatMap(Effect.exit(commitUnits(group.flatMap(({ units }) => units))), (exit) => {
    let first = 0
    return Effect.forEach(
      group,
      ({ outcomes, units }) => {
        const from = first
        first += units.length
        return Deferred.done(
          outcomes,
          Exit.map(exit, (all) => all.slice(from, first))
        )
      },
      { discard: true }
    )
  })
