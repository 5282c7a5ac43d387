import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Encoded, Replay, ReplayRequest, ReplayStep } from "../MessageStore.ts"
import * as Journal from "./journal.ts"
import type { State } from "./memoryWrites.ts"

/** @internal */
export const replaying = (
  state: State
): Pick<
  Encoded,
  | "deadLetters"
  | "countDeadLetters"
  | "searchDeadLetters"
  | "deadLetterGroups"
  | "deadLetter"
  | "replay"
  | "deleteDeadLetters"
  | "archiveDeadLetters"
  | "restoreDeadLetters"
  | "editDeadLetter"
  | "sweepDeadLetters"
  | "startReplay"
  | "replays"
  | "advanceReplay"
  | "cancelReplay"
> => ({
  deadLetters: (filter) => at(() => state.deadLetters.matching(filter).slice(0, filter.limit ?? 100)),
  countDeadLetters: (filter) => at(() => state.deadLetters.matching(filter).length),
  searchDeadLetters: (filter, before) =>
    at(() => {
      const limit = filter.limit ?? 100
      const letters = state.deadLetters
        .matching(filter)
        .filter(({ key }) => before === undefined || Number(key) < Number(before))
      const page = letters.slice(0, limit)
      return { letters: page, next: letters.length > limit ? page.at(-1)?.key : undefined }
    }),
  deadLetterGroups: (filter) => at(() => state.deadLetters.groups(filter).slice(0, filter.limit ?? 100)),
  deadLetter: (key) => at(() => Option.fromNullable(state.deadLetters.get(key))),
  replay: (keys) => at((now) => putBack(state, now, keys, undefined)),
  deleteDeadLetters: (keys) => at(() => state.deadLetters.delete(keys)),
  archiveDeadLetters: (keys) => at((now) => state.deadLetters.archive(now, keys)),
  restoreDeadLetters: (keys) => at(() => state.deadLetters.restore(keys)),
  editDeadLetter: (key, payload) => at((now) => state.deadLetters.edit(now, key, payload)),
  sweepDeadLetters: ({ archiveAfterMillis, channel, deleteAfterMillis }) =>
    at((now) => {
      const { deadLetters } = state
      const old = (archived: boolean, millis: number) =>
        deadLetters.matching({ channel, archived, until: now - millis }).map(({ key }) => key)
      const deleted = deadLetters.delete([...old(false, deleteAfterMillis), ...old(true, deleteAfterMillis)])
      return deleted + deadLetters.archive(now, old(false, archiveAfterMillis))
    }),
  startReplay: (request) => at((now) => start(state, now, request)),
  replays: ({ due, limit }) =>
    at((now) => {
      const rows = Array.from(state.replays.values())
      const chosen = due ? rows.filter((row) => isActive(row.replay) && row.nextAt <= now) : rows.reverse()
      return chosen.slice(0, limit).map(({ replay }) => replay)
    }),
  advanceReplay: (step) => at((now) => advance(state, now, step)),
  cancelReplay: (id) =>
    at((now) => {
      const row = state.replays.get(id)
      if (row === undefined || !isActive(row.replay)) return false
      const { replay } = row
      state.replays.set(id, {
        ...row,
        replay: { ...replay, state: "Cancelled", updatedAt: now, version: replay.version + 1 }
      })
      return true
    })
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const at: <A>(f: (now: number) => A) => Effect.Effect<A> = (f) => Effect.map(Clock.currentTimeMillis, f)

const isActive = ({ state }: Replay): boolean => state === "Pending" || state === "Canary" || state === "Running"

/** Answers how many were still there. */
const putBack = (state: State, now: number, keys: ReadonlyArray<string>, canaryOf: string | undefined): number => {
  const replayed = state.deadLetters.replay(now, keys, canaryOf)
  for (const { channel, envelope } of replayed) state.entries.add(now, Journal.replayed(channel, envelope))
  return replayed.length
}

const start = (state: State, now: number, request: ReplayRequest): Replay => {
  const replay: Replay = {
    ...request,
    id: String(state.replays.size + 1),
    state: "Pending",
    detail: undefined,
    total: state.deadLetters.matching(request.filter).length,
    replayed: 0,
    canaries: [],
    createdAt: now,
    updatedAt: now,
    version: 1
  }
  state.replays.set(replay.id, { replay, position: 0, upTo: state.deadLetters.last(), nextAt: now })
  return replay
}

const advance = (state: State, now: number, step: ReplayStep): Option.Option<number> => {
  const row = state.replays.get(step.id)
  if (row === undefined || row.replay.version !== step.version || !isActive(row.replay)) return Option.none()
  const { position, replay, upTo } = row
  const left = state.deadLetters
    .matching(replay.filter)
    .map(({ key }) => key)
    .filter((key) => Number(key) > position && Number(key) <= upTo)
    .reverse()
  const keys = left.slice(0, step.limit)
  const replayed = putBack(state, now, keys, step.canary ? step.id : undefined)
  const isDone = step.limit > 0 && left.length === keys.length && !(step.canary && keys.length > 0)
  state.replays.set(step.id, {
    upTo,
    position: Number(keys.at(-1) ?? position),
    nextAt: now + step.afterMillis,
    replay: {
      ...replay,
      state: isDone ? "Done" : step.state,
      detail: step.detail,
      replayed: replay.replayed + replayed,
      canaries: step.canary ? keys : replay.canaries,
      updatedAt: now,
      version: replay.version + 1
    }
  })
  return Option.some(replayed)
}
