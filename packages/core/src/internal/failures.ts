import * as Cause from "effect/Cause"
import * as Option from "effect/Option"
import type { Failure } from "../Envelope.ts"
import { render } from "./failure.ts"

/** The tag of a tagged error. @internal */
export const tagOf = (error: unknown): string | undefined =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string"
    ? error._tag
    : undefined

/**
 * The history of a message with one more failure. It stays small however often the message is tried: a message that is
 * retried for ever would grow for ever.
 *
 * @internal
 */
export const withFailure = (
  failures: ReadonlyArray<Failure>,
  at: number,
  cause: Cause.Cause<unknown>
): ReadonlyArray<Failure> => {
  const tag = Option.getOrUndefined(Option.map(Cause.failureOption(cause), tagOf))
  const error = render(cause).slice(0, longError)
  const all = [...failures.map(shortened), { at, error, ...(tag === undefined ? undefined : { tag }) }]
  return all.length > mostFailures ? drawnTogether(all) : all
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const mostFailures = 100

/** Characters of the first error and of the last ones, and of the others. */
const longError = 2_000
const shortError = 200
const lastOnes = 10

const shortened = (failure: Failure, index: number, all: ReadonlyArray<Failure>): Failure =>
  index === 0 || index > all.length - lastOnes || failure.error.length <= shortError
    ? failure
    : { ...failure, error: failure.error.slice(0, shortError) }

/** The first stays as it is; of the others, the two oldest of one tag become one. */
const drawnTogether = (failures: ReadonlyArray<Failure>): ReadonlyArray<Failure> => {
  for (let older = 1; older < failures.length - lastOnes; older++) {
    const newer = failures.findIndex(({ tag }, index) => index > older && tag === failures[older]!.tag)
    if (newer > 0) return merged(failures, older, newer)
  }
  return merged(failures, 1, 2)
}

const merged = (failures: ReadonlyArray<Failure>, older: number, newer: number): ReadonlyArray<Failure> =>
  failures.flatMap((failure, index) => {
    if (index === older) return []
    if (index !== newer) return [failure]
    return [{ ...failure, count: (failures[older]!.count ?? 1) + (failure.count ?? 1) }]
  })
