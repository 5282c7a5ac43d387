import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Envelope, Metadata } from "../Envelope.ts"
import { canaryOf, replayOf } from "../Headers.ts"
import type { Deduplicate, Encoded } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"

// How a replay learns what became of the messages that it tries first: each leaves a mark in the unit that ends it.

/** @internal */
export const handledMark = (letter: string): string => `canary:${letter}:handled`

/** @internal */
export const failedMark = (letter: string): string => `canary:${letter}:failed`

/** What a canary writes when it has been handled; of other messages nothing. @internal */
export const canaryHandled = ({ headers }: Metadata): ReadonlyArray<Deduplicate> =>
  headers[canaryOf] === undefined ? none : [mark(handledMark(headers[replayOf] ?? ""))]

/** Tells that a canary was given up, whatever becomes of it then. @internal */
export const canaryFailed = (store: Encoded, { headers }: Envelope): Effect.Effect<void, MessagingError> =>
  headers[canaryOf] === undefined
    ? Effect.void
    : Effect.flatMap(store.commit([[mark(failedMark(headers[replayOf] ?? ""))]]), ([outcome]) =>
        // a conflict: it was told before
        outcome !== undefined && Option.isSome(outcome) && outcome.value.reason !== "Conflict"
          ? Effect.fail(outcome.value)
          : Effect.void
      )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const none: ReadonlyArray<Deduplicate> = []

/** For longer than a replay waits. */
const windowMillis = 30 * 24 * 60 * 60 * 1_000

const mark = (key: string): Deduplicate => ({ _tag: "Deduplicate", key, windowMillis })
