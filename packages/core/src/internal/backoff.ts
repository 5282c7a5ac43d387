import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Envelope } from "../Envelope.ts"

/**
 * For how long a message is given back that met an outage: 1, 2, 4 seconds and so on up to 30, each a fifth longer or
 * shorter by chance, so that what failed together does not come back together. No attempt is burned, so nothing of this
 * is stored: each process counts for itself.
 *
 * @internal
 */
export const outageBackoff = (memory: object, { endpoint, id }: Envelope): Effect.Effect<number> =>
  Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const outages = outagesOf(memory)
    const copy = `${endpoint}:${id}`
    const before = outages.get(copy)
    const times = before === undefined || now - before.at > forgottenAfterMillis ? 0 : before.times + 1
    remember(outages, copy, { at: now, times })
    const jitter = yield* Random.nextRange(0.8, 1.2)
    return Math.ceil(Math.min(mostMillis, 1_000 * 2 ** Math.min(times, 10) * jitter))
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

interface Outage {
  readonly at: number
  readonly times: number
}

const mostMillis = 30_000

/** A message that has been well for so long begins anew. */
const forgottenAfterMillis = 5 * 60 * 1_000

/** Bounded: those go first that were not met for longest. */
const mostRemembered = 10_000

const byMemory = new WeakMap<object, Map<string, Outage>>()

const outagesOf = (memory: object): Map<string, Outage> => {
  const outages = byMemory.get(memory) ?? new Map<string, Outage>()
  byMemory.set(memory, outages)
  return outages
}

const remember = (outages: Map<string, Outage>, copy: string, outage: Outage): void => {
  outages.delete(copy)
  if (outages.size >= mostRemembered)
    for (const [oldest] of outages) {
      outages.delete(oldest)
      break
    }
  outages.set(copy, outage)
}
