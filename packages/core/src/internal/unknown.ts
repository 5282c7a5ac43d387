import * as Effect from "effect/Effect"
import type { Envelope } from "../Envelope.ts"
import type { Delivery, Encoded, Write } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import { versionOf } from "./decode.ts"
import type { Consuming, Outcome } from "./deliver.ts"
import { giveUp } from "./giveUp.ts"
import * as Keys from "./keys.ts"
import { commitOne } from "./source.ts"

/**
 * What this process does not know of a message: as it logs it, and as the dead letter says it in the end.
 *
 * @internal
 */
export interface Unknown {
  readonly reason: "UnknownEndpoint" | "UnknownVersion"
  readonly warning: (envelope: Envelope) => string
  readonly error: (envelope: Envelope, channel: string) => string
}

/** @internal */
export const unknownEndpoint: Unknown = {
  reason: "UnknownEndpoint",
  warning: ({ endpoint, tag }) => `Nobody here handles ${tag} as "${endpoint}"`,
  error: ({ endpoint, tag }, channel) =>
    `No consumer of channel "${channel}" handles ${tag} as "${endpoint}": was the handler renamed or removed?`
}

/** @internal */
export const unknownVersion = (newest: number): Unknown => ({
  reason: "UnknownVersion",
  warning: ({ headers, tag }) => `${tag} is of version ${versionOf(headers)}, and known here up to version ${newest}`,
  error: ({ headers, tag }, channel) =>
    `${tag} is of version ${versionOf(headers)}, but no consumer of channel "${channel}" knows it beyond version ` +
    `${newest}: deploy a build that does, and replay`
})

/**
 * Another version of this system may know it: the message waits for that, for as long as the channel says, from when any
 * consumer first met it. Whoever handled it without success starts the time anew.
 *
 * @internal
 */
export const unknown = (
  consuming: Consuming,
  delivery: Delivery,
  what: Unknown
): Effect.Effect<Outcome, MessagingError> =>
  Effect.gen(function* () {
    const { envelope } = delivery
    const { registry, source, store } = consuming
    const patience = consuming.policy.deadLetter.unknownEndpointAfter
    const met = yield* meeting(store, envelope, patience)
    if (met !== "TooLong") {
      const warning = `${what.warning(envelope)}: the message is given back`
      yield* met === "First" ? Effect.logWarning(warning) : Effect.logDebug(warning)
      yield* source.release([delivery], delayMillis(registry.unknownMet, copyOf(envelope)))
      return "Released"
    }
    registry.unknownMet.delete(copyOf(envelope))
    return yield* giveUp(
      consuming,
      delivery,
      {
        reason: what.reason,
        error: what.error(envelope, source.channel),
        fingerprint: `${envelope.endpoint} ${what.reason}`
      },
      envelope.failures
    )
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/**
 * Whether the message has been met by those who do not know it. The store remembers that for all processes, under two
 * keys: one for as long as the message may wait, and one that outlives it and tells that it has waited.
 */
const meeting = (
  store: Encoded,
  envelope: Envelope,
  patience: number
): Effect.Effect<"First" | "Again" | "TooLong", MessagingError> => {
  if (patience <= 0) return Effect.succeed("TooLong")
  const waits = Keys.ofStranger("waits", envelope)
  const known = Keys.ofStranger("known", envelope)
  return Effect.flatMap(store.remembered([waits, known]), (seen) => {
    if (seen.has(waits)) return Effect.succeed("Again")
    if (seen.has(known)) return Effect.succeed("TooLong")
    const until = Math.min(patience, longestMillis)
    const writes: ReadonlyArray<Write> = [
      { _tag: "Deduplicate", key: waits, windowMillis: until },
      { _tag: "Deduplicate", key: known, windowMillis: until + outliveMillis }
    ]
    // somebody else who met it at the same time has written them
    return commitOne(store, writes).pipe(
      Effect.catchIf(
        ({ reason }) => reason === "Conflict",
        () => Effect.void
      ),
      Effect.as("First")
    )
  })
}

const outliveMillis = 7 * 24 * 60 * 60 * 1000
const longestMillis = 36_000 * 24 * 60 * 60 * 1000

/**
 * Each time twice as long, so that many messages that nobody here knows do not keep a consumer from those it knows.
 * Bounded: those are forgotten first that were not met for longest, since other consumers have taken them.
 */
const delayMillis = (met: Map<string, number>, copy: string): number => {
  const times = met.get(copy) ?? 0
  met.delete(copy)
  if (met.size >= 10_000)
    for (const [oldest] of met) {
      met.delete(oldest)
      break
    }
  met.set(copy, times + 1)
  return Math.min(5_000 * 2 ** Math.min(times, 10), 60_000)
}

/** One copy of a message, whatever row it is in. */
const copyOf = (envelope: Envelope): string => `${envelope.endpoint}:${envelope.id}`
