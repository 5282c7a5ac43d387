import type { Write } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
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

/**
 * How many units one transaction carries, how many writes, and how many characters of content, unless a single caller
 * has more. Callers who have much do not share one: each makes ready what follows while the database is at another's.
 */
const groupSize = 500
const groupWrites = 1_500
const groupLength = 8 * 1024 * 1024

interface Waiting {
  readonly units: Units
  readonly done: (outcomes: Exit.Exit<Outcomes>) => void
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
      Effect.uninterruptible(
        Effect.async<Outcomes>((done) => {
          waiting.push({ units, done })
          if (busy === lanes) return
          busy++
          // not at once: those who are about to come in this turn leave with it
          Runtime.runFork(runtime, lane, { immediate: false })
        })
      )
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const groupOf = (waiting: ReadonlyArray<Waiting>): number => {
  let units = 0
  let writes = 0
  let length = 0
  for (let place = 0; place < waiting.length; place++) {
    const next = waiting[place]!
    units += next.units.length
    for (const unit of next.units) {
      writes += unit.length
      length += lengthOf(unit)
    }
    if (place > 0 && (units > groupSize || writes > groupWrites || length > groupLength)) return place
  }
  return waiting.length
}

/** About how much the writes carry. */
const lengthOf = (writes: ReadonlyArray<Write>): number => {
  let length = 0
  for (const write of writes) {
    if (write._tag === "JournalEntry") length += (write.payload?.length ?? 0) + (write.error?.length ?? 0)
    else if ("envelope" in write) length += write.envelope.payload.length
    else if (write._tag === "SagaPut") length += write.state.length
    else if (write._tag === "CompleteKey") length += write.result.length
  }
  return length
}

/** Whoever waits hears of their own units, and all of them of a defect. */
const commitGroup = (commitUnits: CommitUnits, group: ReadonlyArray<Waiting>): Effect.Effect<void> =>
  Effect.flatMap(Effect.exit(commitUnits(unitsOf(group), "Short")), (exit) => {
    const held: Array<Effect.Effect<void>> = []
    let first = 0
    for (const waiting of group) {
      const from = first
      first += waiting.units.length
      const own = Exit.map(exit, (all) => all.slice(from, first))
      if (Exit.isSuccess(own) && own.value.some(isHeld)) held.push(commitHeld(commitUnits, waiting, own.value))
      else waiting.done(own)
    }
    return Effect.forEach(held, Effect.forkDaemon, { discard: true })
  })

const unitsOf = (group: ReadonlyArray<Waiting>): Units => {
  const all: Array<ReadonlyArray<Write>> = []
  for (const { units } of group) for (const unit of units) all.push(unit)
  return all
}

/** Commits those of a caller's units that a lock held up: nothing of them was written. */
const commitHeld = (commitUnits: CommitUnits, { done, units }: Waiting, before: Outcomes): Effect.Effect<void> => {
  const held = units.filter((_, index) => isHeld(before[index]!))
  return Effect.map(Effect.exit(commitUnits(held, "Long")), (exit) =>
    done(
      Exit.map(exit, (late) => {
        const next = late.values()
        return before.map((outcome) => (isHeld(outcome) ? next.next().value! : outcome))
      })
    )
  )
}
