import * as Option from "effect/Option"
import type {
  CompleteKey,
  Deduplicate,
  Lease,
  Publish,
  SagaPut,
  SagaRow,
  Send,
  Subscription,
  Write
} from "../MessageStore.ts"
import { MessagingError } from "../MessagingError.ts"
import { DeadLetters, type ReplayRow } from "./memoryDeadLetters.ts"
import { Flows } from "./memoryFlow.ts"
import { Entries } from "./memoryJournal.ts"
import { Expiring, Keys } from "./memoryKeys.ts"
import { Messages, type Row } from "./memoryMessages.ts"
import { refuseWrite } from "./memoryRefusals.ts"
import { Journal, Table } from "./memoryTable.ts"

/**
 * Everything the store keeps.
 *
 * @internal
 */
export class State {
  readonly journal = new Journal()
  readonly messages = new Messages(this.journal)
  readonly flows = new Flows(this.messages)
  readonly deadLetters = new DeadLetters(this.journal, this.messages)
  readonly replays = new Map<string, ReplayRow>()
  readonly keys = new Keys(this.journal)
  readonly remembered = new Expiring<{ readonly key: string; readonly expiresAt: number }>(this.journal)
  readonly sagas = new Table<SagaRow>(this.journal)
  readonly entries = new Entries(this.journal)
  readonly subscriptions = new Table<Subscription>(this.journal)
  /** When each channel was last seen to have a consumer. */
  readonly heartbeats = new Map<string, number>()
}

/**
 * Commits one unit, whole or not at all.
 *
 * @internal
 */
export const commit = (state: State, now: number, writes: ReadonlyArray<Write>): Option.Option<MessagingError> => {
  state.remembered.prune(now)
  for (const write of writes) {
    const refused = refuseWrite(now, write)
    if (refused !== undefined) return Option.some(refused)
  }
  return state.journal.whole(writes, (write) => apply(state, now, write))
}

/**
 * Where a saga is kept.
 *
 * @internal
 */
export const sagaKey = (saga: string, id: string): string => JSON.stringify([saga, id])

/**
 * The failure of one who comes too late with an answer.
 *
 * @internal
 */
export const keyLost = new MessagingError({
  reason: "LeaseLost",
  detail: "The claim on the idempotency key was lost: its lease ran out and somebody else has taken it"
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

type Outcome = Option.Option<MessagingError>

const apply = (state: State, now: number, write: Write): Outcome => {
  switch (write._tag) {
    case "Send":
      return done(send(state, now, write))
    case "Publish":
      return done(publish(state, now, write))
    case "CancelTimer":
      return done(state.messages.cancelTimer(now, write.owner, write.name))
    case "Acknowledge":
      return settle(state, now, write.lease, (row) => state.messages.remove(row))
    case "Retry":
      return settle(state, now, write.lease, (row) => state.messages.retry(now, row, write.failures, write.afterMillis))
    case "Park":
      if (write.lease === undefined) return done(state.deadLetters.park(now, write, undefined))
      return settle(state, now, write.lease, (row) => {
        state.messages.remove(row)
        state.deadLetters.park(now, write, row)
      })
    case "SagaPut":
      return sagaPut(state, write)
    case "Deduplicate":
      return deduplicate(state, now, write)
    case "CompleteKey":
      return completeKey(state, now, write)
    case "JournalEntry":
      return done(state.entries.add(now, write))
  }
}

const done = (_: void): Outcome => Option.none()

const settle = (state: State, now: number, lease: Lease, f: (row: Row) => void): Outcome => {
  const row = state.messages.held(now, lease)
  return row === undefined ? Option.some(leaseLost) : done(f(row))
}

const send = (state: State, now: number, { channel, due, envelope, priority, timer }: Send): void =>
  state.messages.add(now, { channel, envelope, priority, due, timer, undelayed: false })

const publish = (state: State, now: number, write: Publish): void => {
  for (const { channel, endpoint, ordered, tag } of state.subscriptions.values()) {
    if (tag !== write.envelope.tag || write.except.includes(endpoint)) continue
    const envelope = { ...write.envelope, endpoint, ...(ordered ? { orderingKey: "" } : undefined) }
    const { due, priority } = write
    state.messages.add(now, { channel, envelope, priority, due, timer: undefined, undelayed: due === undefined })
  }
}

const sagaPut = (state: State, write: SagaPut): Outcome => {
  const key = sagaKey(write.saga, write.id)
  if ((state.sagas.get(key)?.version ?? 0) !== write.version - 1) {
    return Option.some(conflict("Somebody else has changed the saga"))
  }
  const { _tag, ...row } = write
  return done(state.sagas.set(key, row))
}

const deduplicate = (state: State, now: number, write: Deduplicate): Outcome =>
  state.remembered.get(now, write.key) === undefined
    ? done(state.remembered.set({ key: write.key, expiresAt: now + write.windowMillis }))
    : Option.some(conflict("The key is remembered already"))

const completeKey = (state: State, now: number, write: CompleteKey): Outcome =>
  state.keys.complete(now, write.key, write.token, write.result, write.windowMillis)
    ? Option.none()
    : Option.some(keyLost)

const conflict = (detail: string): MessagingError => new MessagingError({ reason: "Conflict", detail })

const leaseLost = new MessagingError({
  reason: "LeaseLost",
  detail: "The lease on the message ran out before its unit of work was committed"
})
