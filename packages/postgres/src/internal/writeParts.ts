import { record } from "./journalParts.ts"
import { complete, insertSagas, remember, updateSagas } from "./memoryParts.ts"
import type { Part } from "./part.ts"
import { enqueue, publish, sendLater, sendNow } from "./sendParts.ts"
import { bury, settle } from "./settleParts.ts"
import type { Staged } from "./staged.ts"

/**
 * The parts of the statement that writes this.
 *
 * @internal
 */
export const partsOf = (staged: Staged): ReadonlyArray<Part> =>
  [
    settle(staged),
    staged.buried.length === 0 ? [] : [bury(staged)],
    staged.sent.length === 0
      ? []
      : [enqueue(staged.sent), sendNow(staged.sent), sendLater(staged.sent)].filter((part) => part !== undefined),
    staged.published.length === 0 ? [] : [publish(staged)],
    staged.sagas.length === 0 ? [] : [insertSagas(staged), updateSagas(staged)].filter((part) => part !== undefined),
    staged.remembered.length === 0 ? [] : [remember(staged)],
    staged.completed.length === 0 ? [] : [complete(staged)],
    staged.journal.length === 0 ? [] : [record(staged)]
  ].flat()

/**
 * The names of all parts there are.
 *
 * @internal
 */
export const kinds: ReadonlyArray<string> = [
  "acknowledged",
  "retried",
  "parked",
  "buried",
  "sent",
  "later",
  "published",
  "started",
  "changed",
  "remembered",
  "completed",
  "recorded",
  "fenced",
  "dequeued",
  "requeued",
  "unqueued",
  "queued",
  "alike",
  "settled"
]
