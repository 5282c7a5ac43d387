/**
 * What an application gives as numbers, durations, times and names: what is wrong with it, as a sentence, or nothing.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Due } from "../MessageStore.ts"
import { MessagingError } from "../MessagingError.ts"

/** @internal */
export type Problem = string | undefined

/** Fails with the first problem: the caller's data was wrong. @internal */
export const reject = (...problems: ReadonlyArray<Problem>): Effect.Effect<void, MessagingError> => {
  const detail = problems.find((problem) => problem !== undefined)
  return detail === undefined ? Effect.void : new MessagingError({ reason: "Rejected", detail })
}

/** Dies with the first problem: the program is wrong. @internal */
export const dieOn = (...problems: ReadonlyArray<Problem>): Effect.Effect<void> => {
  const sentence = problems.find((problem) => problem !== undefined)
  return sentence === undefined ? Effect.void : Effect.dieMessage(sentence)
}

/** @internal */
export const wholeNumber = (what: string, value: number | undefined, least: number): Problem =>
  value === undefined || (Number.isSafeInteger(value) && value >= least)
    ? undefined
    : `${what} is ${value}: give a whole number of at least ${least}`

/** @internal */
export const atLeastOne = (what: string, value: number): Problem =>
  value >= 1 ? undefined : `${what} is ${value}: give at least 1`

/** A duration that lies between two others. Without `most` it may be infinite. @internal */
export const duration = (
  what: string,
  input: Duration.DurationInput | undefined,
  bounds: { readonly least: Duration.DurationInput; readonly most?: Duration.DurationInput }
): Problem => {
  if (input === undefined) return undefined
  const { least, most = Duration.infinity } = bounds
  const millis = millisOf(input)
  if (millis >= Duration.toMillis(least) && millis <= Duration.toMillis(most)) return undefined
  const range = bounds.most === undefined ? `of at least ${shown(least)}` : `between ${shown(least)} and ${shown(most)}`
  return `${what} is ${shown(input)}: give a duration ${range}`
}

/** A time in milliseconds. @internal */
export const instant = (what: string, value: number | undefined): Problem =>
  value === undefined || Math.abs(value) <= latestDate
    ? undefined
    : `${what} is ${value}: give a time in milliseconds since 1970`

/** As milliseconds; not a number if it is no duration. `Duration` takes what is none for zero. @internal */
export const millisOf = (input: Duration.DurationInput): number =>
  typeof input === "number" ? input : Duration.toMillis(input)

/** A time that the calendars of JavaScript and PostgreSQL know. @internal */
export const time = (what: string, due: Due | undefined): Problem => {
  if (due === undefined) return undefined
  if (due._tag === "After") {
    return due.millis <= longest
      ? undefined
      : `${what} cannot be held back for ${due.millis} ms: give a date or a finite duration`
  }
  return Number.isFinite(due.epochMillis)
    ? undefined
    : `${what} cannot be held back until an invalid date: give a date or a finite duration`
}

/** What a `Date` holds. */
const latestDate = 8_640_000_000_000_000

/** A hundred thousand years. */
const longest = 100_000 * 365 * 24 * 60 * 60 * 1000

/** What a column of PostgreSQL holds. @internal */
export const priority = (what: string, value: number): Problem =>
  Number.isInteger(value) && Math.abs(value) <= 2_147_483_647
    ? undefined
    : `${what} cannot have the priority ${value}: give a whole number between -2147483647 and 2147483647`

/** A key that tells one thing from another, and fits into an index however many bytes its characters are. @internal */
export const key = (what: string, value: string | undefined): Problem => {
  if (value === "") return `${what} is empty: give each its own`
  return value === undefined || value.length <= 255
    ? undefined
    : `${what} is ${value.length} characters long: one has at most 255. Use an id, or a hash`
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const shown = (input: Duration.DurationInput): string =>
  typeof input === "number"
    ? `${input} ms`
    : Duration.isDuration(input)
      ? Duration.format(input)
      : String(input).replace("millis", "ms")
