import type { Write } from "@holdfast/core/MessageStore"
import { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { acknowledging } from "./acknowledge.ts"
import { beginStatement, begun } from "./commit.ts"
import type { Database } from "./database.ts"
import { isGivenUp, sqlState } from "./errors.ts"
import type { Statement } from "./pgQuery.ts"
import { conflictKeys } from "./staged.ts"
import { toWriteError, type Written, write } from "./write.ts"

type Unit = ReadonlyArray<Write>
type Outcome = Option.Option<MessagingError>

/**
 * How long units wait for a lock that another transaction holds: as long as any statement may take, or so shortly that
 * they do not hold up others who wait for them.
 *
 * @internal
 */
export type Patience = "Long" | "Short"

/**
 * Commits units as one transaction. If that meets a conflict, nothing was written and the halves are tried on their own,
 * down to the units that conflict. A connection that is lost fails them all: asking again could do them twice. So does a
 * lock when the patience is short: see `isHeld`.
 *
 * @internal
 */
export const commitUnits = (
  database: Database,
  written: (channels: ReadonlySet<string>) => Effect.Effect<void>,
  units: ReadonlyArray<Unit>,
  patience: Patience
): Effect.Effect<ReadonlyArray<Outcome>> => {
  const together = (group: ReadonlyArray<Unit>) =>
    Effect.matchEffect(contended(database, group, patience), {
      onSuccess: ({ channels }) => Effect.as(written(channels), Option.none<MessagingError>()),
      onFailure: (error) => Effect.succeed(Option.some(patience === "Short" && isLockTimeout(error) ? held : error))
    })
  const split = (group: ReadonlyArray<Unit>): Effect.Effect<ReadonlyArray<Outcome>> =>
    Effect.flatMap(together(group), (outcome) => {
      if (Option.isNone(outcome) || group.length === 1 || !isOneUnits(outcome.value)) {
        return Effect.succeed(group.map(() => outcome))
      }
      const half = Math.ceil(group.length / 2)
      return Effect.zipWith(split(group.slice(0, half)), split(group.slice(half)), (first, second) => [
        ...first,
        ...second
      ])
    })
  return acknowledging(database, units, (others) => Effect.uninterruptible(inWaves(others, split)))
}

/**
 * Whether the unit was not written, as it would have waited too long for a lock, or follows one that would have.
 *
 * @internal
 */
export const isHeld = (outcome: Outcome): boolean => Option.isSome(outcome) && outcome.value === held

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const held = new MessagingError({ reason: "Conflict", detail: "Another transaction holds a lock that the unit needs" })

const isLockTimeout = (error: MessagingError): boolean => sqlState(error) === "55P03"

/** Whether another grouping could help: the database answered, and what it refused is some unit's. */
const isOneUnits = (error: MessagingError): boolean =>
  error !== held && (isGivenUp(error) || (error.reason !== "Unavailable" && error.reason !== "OutcomeUnknown"))

const begin: Record<Patience, ReadonlyArray<Statement>> = {
  Long: [beginStatement],
  Short: [beginStatement, { name: "hf_lock_timeout", text: "SET LOCAL lock_timeout = 250" }]
}

const contended = (
  database: Database,
  units: ReadonlyArray<Unit>,
  patience: Patience
): Effect.Effect<Written, MessagingError> => {
  const attempt = (left: number): Effect.Effect<Written, MessagingError> =>
    Effect.catchIf(
      once(database, units, patience),
      (error) => left > 0 && units.length === 1 && isContention(error),
      () => attempt(left - 1)
    )
  return attempt(3)
}

/** A deadlock or a serialization failure says nothing about the unit itself. */
const isContention = (error: MessagingError): boolean => error.reason === "Conflict" && error.cause !== undefined

const once = (
  database: Database,
  units: ReadonlyArray<Unit>,
  patience: Patience
): Effect.Effect<Written, MessagingError> =>
  Effect.mapError(
    begun(database, (pg) => write(database, pg, units, begin[patience])),
    toWriteError
  )

/** Units that name the same key would hide their conflict in one statement: the later ones follow. */
const inWaves = (
  units: ReadonlyArray<Unit>,
  commitAll: (group: ReadonlyArray<Unit>) => Effect.Effect<ReadonlyArray<Outcome>>
): Effect.Effect<ReadonlyArray<Outcome>> =>
  Effect.gen(function* () {
    const outcomes: Array<Outcome> = units.map(() => Option.none())
    let waiting = units.map((_, index) => index)
    while (waiting.length > 0) {
      const { now, later } = disjoint(units, waiting)
      const answers = yield* commitAll(now.map((index) => units[index]!))
      now.forEach((index, place) => {
        outcomes[index] = answers[place]!
      })
      const stopped = answers.some(isHeld)
      if (stopped) for (const index of later) outcomes[index] = Option.some(held)
      waiting = stopped ? [] : later
    }
    return outcomes
  })

const disjoint = (units: ReadonlyArray<Unit>, indexes: ReadonlyArray<number>) => {
  const taken = new Set<string>()
  const now: Array<number> = []
  const later: Array<number> = []
  for (const index of indexes) {
    const keys = conflictKeys(units[index]!)
    if (keys.some((key) => taken.has(key))) later.push(index)
    else now.push(index)
    // also those of one that waits: units which share a key keep their order
    for (const key of keys) taken.add(key)
  }
  return { now, later }
}
