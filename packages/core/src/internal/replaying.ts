import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { DeadLetterPolicy } from "../Channel.ts"
import type { DeadLetterFilter, Encoded, Replay, ReplayStep } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import { failedMark, handledMark } from "./canary.ts"

/** What was done of replays, and in how many milliseconds there is more to do, as far as is known. @internal */
export interface Progress {
  readonly replayed: number
  readonly againIn: number
}

/** Takes all steps that are due now. @internal */
export const workOff = (store: Encoded): Effect.Effect<Progress, MessagingError> =>
  Effect.gen(function* () {
    let replayed = 0
    let againIn = Number.POSITIVE_INFINITY
    while (true) {
      const due = yield* store.replays({ due: true, limit: 10 })
      if (due.length === 0) return { replayed, againIn }
      for (const replay of due) {
        const step = yield* nextStep(store, replay)
        const taken = yield* store.advanceReplay(step)
        if (Option.isSome(taken)) replayed += taken.value
        if (step.state !== "Stopped") againIn = Math.min(againIn, step.afterMillis)
      }
    }
  })

/** Works off replays, and keeps to the retention of these channels, for as long as it runs. @internal */
export const work = (
  store: Encoded,
  policies: () => Iterable<readonly [channel: string, policy: DeadLetterPolicy]>
): Effect.Effect<never> => {
  const replays = Effect.flatMap(
    quietly(workOff(store), idle, "Dead letters could not be replayed; trying again"),
    ({ againIn }) => Effect.sleep(Math.ceil(Math.min(Math.max(againIn, 10), restMillis)))
  )
  const retention = quietly(
    Effect.suspend(() => keep(store, policies())),
    0,
    "Old dead letters could not be put away; trying again"
  ).pipe(Effect.repeat(Schedule.jittered(Schedule.spaced("1 minute"))))
  return Effect.zipRight(retention, Effect.forever(replays), { concurrent: true })
}

/** Archives and deletes what has been kept for long enough, and answers how many letters. @internal */
export const keep = (
  store: Encoded,
  policies: Iterable<readonly [channel: string, policy: DeadLetterPolicy]>
): Effect.Effect<number, MessagingError> =>
  Effect.reduce(policies, 0, (sum, [channel, { archiveAfter, deleteAfter }]) =>
    Number.isFinite(archiveAfter) || Number.isFinite(deleteAfter)
      ? Effect.map(
          sweep(store, { channel, archiveAfterMillis: archiveAfter, deleteAfterMillis: deleteAfter }),
          (swept) => sum + swept
        )
      : Effect.succeed(sum)
  )

/** Does the same to all that match now, some hundred at a time. @internal */
export const each = (
  store: Encoded,
  filter: DeadLetterFilter,
  change: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
): Effect.Effect<number, MessagingError> =>
  Effect.gen(function* () {
    const now = yield* store.now
    const until = Math.min(filter.until ?? now, now)
    let changed = 0
    let before: string | undefined
    do {
      const { letters, next } = yield* store.searchDeadLetters({ ...filter, until, limit: 500 }, before)
      if (letters.length > 0) changed += yield* change(letters.map(({ key }) => key))
      before = next
    } while (before !== undefined)
    return changed
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** How many go back in one transaction, when nothing else is said. */
const batch = 500

/** How often a process looks for replays that others have begun. */
const restMillis = 2_000

const idle: Progress = { replayed: 0, againIn: Number.POSITIVE_INFINITY }

/** How often it is asked what became of the first ones. */
const lookAgainMillis = 1_000

const nextStep = (store: Encoded, replay: Replay): Effect.Effect<ReplayStep, MessagingError> => {
  const { canaries, canary, id, rate, state, version } = replay
  const step = { id, version, canary: false, limit: 0, detail: undefined, afterMillis: 0 }
  if (state === "Pending" && canary > 0) {
    const first: ReplayStep = { ...step, limit: canary, canary: true, state: "Canary", afterMillis: lookAgainMillis }
    return Effect.succeed(first)
  }
  const rest: ReplayStep = {
    ...step,
    limit: rate?.limit ?? batch,
    state: "Running",
    afterMillis: rate?.intervalMillis ?? 0
  }
  if (state !== "Canary") return Effect.succeed(rest)
  return Effect.map(store.remembered(canaries.flatMap((key) => [handledMark(key), failedMark(key)])), (marks) => {
    const failed = canaries.filter((key) => marks.has(failedMark(key))).length
    if (failed > 0) {
      const detail = `${failed} of the ${canaries.length} letters that were replayed first were given up again`
      return { ...step, state: "Stopped", detail } satisfies ReplayStep
    }
    return canaries.every((key) => marks.has(handledMark(key)))
      ? rest
      : ({ ...step, state: "Canary", afterMillis: lookAgainMillis } satisfies ReplayStep)
  })
}

const sweep = (store: Encoded, options: Parameters<Encoded["sweepDeadLetters"]>[0]) => {
  const again = (sum: number): Effect.Effect<number, MessagingError> =>
    Effect.flatMap(store.sweepDeadLetters(options), (swept) => (swept === 0 ? Effect.succeed(sum) : again(sum + swept)))
  return again(0)
}

const quietly = <A>(effect: Effect.Effect<A, MessagingError>, instead: A, otherwise: string): Effect.Effect<A> =>
  Effect.catchAllCause(effect, (cause) => Effect.as(Effect.logWarning(otherwise, cause), instead))
