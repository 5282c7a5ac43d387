import type { Write } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import { isHeld, type Patience } from "./group.ts"

type Units = ReadonlyArray<ReadonlyArray<Write>>
type Outcomes = ReadonlyArray<Option.Option<MessagingError>>
type Commit = (units: Units) => Effect.Effect<Outcomes>
type CommitUnits = (units: Units, patience: Patience) => Effect.Effect<Outcomes>

/** How many transactions are on their way at once. */
const lanes = 2

/** How many units one transaction carries, unless a single caller has more: also when each is a mebibyte. */
const groupSize = 100

interface Waiting {
  readonly units: Units
  readonly outcomes: Deferred.Deferred<Outcomes>
}

/**
 * Group commit: units that come while commits are on their way wait, and leave together in the next one. One that comes
 * alone waits for nobody. Those that a lock holds up go on beside the lanes, so that others do not wait for it.
 *
 * Lanes run as fibers of the store: one that carries on for others is neither a child of the caller that opened it, nor
 * holds on to that one's context.
 *
 * @internal
 */
export const makeCommitter = (commitUnits: CommitUnits): Effect.Effect<Commit> =>
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
const commitGroup = (commitUnits: CommitUnits, group: ReadonlyArray<Waiting>): Effect.Effect<void> =>
  Effect.flatMap(
    Effect.exit(
      commitUnits(
        group.flatMap(({ units }) => units),
        "Short"
      )
    ),
    (exit) => {
      let first = 0
      return Effect.forEach(
        group,
        (waiting) => {
          const from = first
          first += waiting.units.length
          const own = Exit.map(exit, (all) => all.slice(from, first))
          return Exit.isSuccess(own) && own.value.some(isHeld)
            ? Effect.asVoid(Effect.forkDaemon(commitHeld(commitUnits, waiting, own.value)))
            : Effect.asVoid(Deferred.done(waiting.outcomes, own))
        },
        { discard: true }
      )
    }
  )

/** Commits those of a caller's units that a lock held up: nothing of them was written. */
const commitHeld = (
  commitUnits: CommitUnits,
  { outcomes, units }: Waiting,
  before: Outcomes
): Effect.Effect<boolean> => {
  const held = units.filter((_, index) => isHeld(before[index]!))
  return Effect.flatMap(Effect.exit(commitUnits(held, "Long")), (exit) =>
    Deferred.done(
      outcomes,
      Exit.map(exit, (late) => {
        const next = late.values()
        return before.map((outcome) => (isHeld(outcome) ? next.next().value! : outcome))
      })
    )
  )
}
