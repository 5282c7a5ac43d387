import { Effect } from "effect"
import type { Drained } from "./workers.ts"

/** Dies unless `actual` is what is due, with a sentence. */
export const same = (what: string, actual: number, due: number) =>
  actual === due ? Effect.void : Effect.dieMessage(`${what}: ${actual}, not ${due}`)

/** Every message of 0 to `count` was handled, and none twice. */
export const handledOnce = ({ reports }: Drained, count: number) => {
  const seen = new Uint8Array(count)
  let handled = 0
  for (const report of reports) {
    for (const n of report.handled) {
      handled++
      seen[n] = 1
    }
  }
  const distinct = seen.reduce((sum, each) => sum + each, 0)
  return Effect.zipRight(same("messages handled", distinct, count), same("handlings", handled, count))
}

/** Of each key the messages were handled in the order of their numbers. Of one process only. */
export const handledInOrder = ({ reports }: Drained, keys: number) => {
  const last = new Int32Array(keys).fill(-1)
  for (const n of reports[0]!.handled) {
    if (n < last[n % keys]!) return Effect.dieMessage(`message ${n} was handled after ${last[n % keys]}, of its key`)
    last[n % keys] = n
  }
  return Effect.void
}
