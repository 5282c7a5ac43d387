import type * as Duration from "effect/Duration"
import type { Delivery, Limit } from "../MessageStore.ts"
import * as Input from "./input.ts"

/**
 * A limit of a handler or channel, for each key that the message may have.
 *
 * @internal
 */
export interface RouteLimit {
  readonly channel: string
  /** Empty where it is the channel's. */
  readonly handler: string
  readonly limit: number
  readonly intervalMillis: number | undefined
  readonly key: ((message: any, headers: Readonly<Record<string, string>>) => string | undefined) | undefined
}

/** What an application says of limits. */
interface Limited {
  readonly rateLimit?:
    | {
        readonly limit: number
        readonly interval: Duration.DurationInput
        readonly key?: RouteLimit["key"] | undefined
      }
    | undefined
  readonly concurrencyLimit?: { readonly limit: number; readonly key?: RouteLimit["key"] | undefined } | undefined
}

/** @internal */
export const routeLimits = (channel: string, handler: string, options: Limited): ReadonlyArray<RouteLimit> => {
  const { concurrencyLimit, rateLimit } = options
  const of = { channel, handler }
  return [
    ...(concurrencyLimit === undefined
      ? []
      : [{ ...of, limit: concurrencyLimit.limit, intervalMillis: undefined, key: concurrencyLimit.key }]),
    ...(rateLimit === undefined
      ? []
      : [{ ...of, limit: rateLimit.limit, intervalMillis: Input.millisOf(rateLimit.interval), key: rateLimit.key }])
  ]
}

/** What is wrong with them. @internal */
export const problems = (of: string, { concurrencyLimit, rateLimit }: Limited): ReadonlyArray<Input.Problem> => [
  limit(`The rate limit ${of}`, rateLimit?.limit),
  Input.duration(`The interval of the rate limit ${of}`, rateLimit?.interval, { least: "1 millis", most: "30 days" }),
  limit(`The concurrency limit ${of}`, concurrencyLimit?.limit)
]

/** The limits that the message is under. @internal */
export const limitsOf = (
  limits: ReadonlyArray<RouteLimit>,
  channel: string,
  { envelope }: Delivery,
  message: unknown
): ReadonlyArray<Limit> =>
  limits.flatMap(({ handler, intervalMillis, key, limit, ...of }) => {
    const own = key === undefined ? "" : key(message, envelope.headers)
    if (own === undefined) return []
    const kind = intervalMillis === undefined ? "concurrency" : "rate"
    // what a store can keep as a key of its own
    const name = `limit ${JSON.stringify([of.channel, handler, kind, own.slice(0, longestKey)])}`
    return [{ name, channel, limit, intervalMillis }]
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const longestKey = 200

const limit = (what: string, value: number | undefined): Input.Problem =>
  Input.wholeNumber(what, value, 1) ??
  (value !== undefined && value > most ? `${what} is ${value}: give at most ${most}` : undefined)

const most = 1_000_000
