import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import type { Verdict } from "./source.ts"

/** An error as text, for a person who reads a dead letter. @internal */
export const render = (cause: Cause.Cause<unknown>): string =>
  Cause.pretty(cause, { renderErrorCause: true }).slice(0, 8_000)

/**
 * What failures of one kind have in common: endpoint, error and message, without what varies from one to the next.
 *
 * @internal
 */
export const fingerprint = (endpoint: string, cause: Cause.Cause<unknown>): string => {
  const error = Option.getOrUndefined(Cause.failureOption(cause)) ?? Cause.squash(cause)
  const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : nameOf(error)
  const message = error instanceof Error ? error.message : typeof error === "string" ? error : ""
  const stable = message.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d+/gi, "#").slice(0, 120)
  return `${endpoint} ${tag}${stable === "" ? "" : `: ${stable}`}`
}

/** @internal */
export const verdict = (reason: Verdict["reason"], endpoint: string, cause: Cause.Cause<unknown>): Verdict => ({
  reason,
  error: render(cause),
  fingerprint: fingerprint(endpoint, cause)
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : typeof error)
