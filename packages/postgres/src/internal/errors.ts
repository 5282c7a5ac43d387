import { SqlError } from "@effect/sql/SqlError"
import { MessagingError } from "@holdfast/core/MessagingError"

/**
 * What the database's answer means for a unit: it is away, somebody else was faster, or it refuses what was asked.
 *
 * @internal
 */
export type ErrorClass = "Unavailable" | "Conflict" | "Refused"

/**
 * The server's error code, if the server answered at all.
 *
 * @internal
 */
export const sqlState = (error: unknown): string | undefined => {
  const { code, severity } = driverError(error)
  return typeof code === "string" && severity !== undefined && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/**
 * Whether the connection is of no more use.
 *
 * @internal
 */
export const isConnectionLost = (error: unknown): boolean => {
  const state = sqlState(error)
  if (state !== undefined) return /^(08|57P)/.test(state)
  const { code, message } = driverError(error)
  return networkCodes.has(code as string) || lostMessages.test(String(message))
}

/**
 * Nobody gave a connection of a pool back in time. Arrives as the cause of a `SqlError`.
 *
 * @internal
 */
export class PoolExhausted extends Error {
  override readonly name = "PoolExhausted"
}

/**
 * What the driver's pool says when a connection was not given back in its own time.
 *
 * @internal
 */
export const isPoolFull = (error: unknown): boolean =>
  driverError(error).message === "timeout exceeded when trying to connect"

/** @internal */
export const classify = (error: unknown): ErrorClass => {
  if (driverError(error) instanceof PoolExhausted) return "Unavailable"
  const state = sqlState(error)
  if (state === undefined) return isConnectionLost(error) ? "Unavailable" : "Refused"
  if (/^(08|53|57P)/.test(state)) return "Unavailable"
  return state === "40001" || state === "40P01" ? "Conflict" : "Refused"
}

/**
 * Whether a handler's failure is the database's fault, so that it must not burn an attempt.
 *
 * @internal
 */
export const isInfrastructure = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError"
    ? classify(error) !== "Refused"
    : false

/**
 * Whether the database gave a statement up, because a limit was reached that it has on time or on waiting for a lock:
 * that says nothing about what was asked.
 *
 * @internal
 */
export const isGivenUp = (error: unknown): boolean => sqlState(error) === "57014" || sqlState(error) === "55P03"

/**
 * Says in the words of messaging what the database answered; for the store's own statements.
 *
 * @internal
 */
export const toMessagingError = (cause: SqlError): MessagingError => {
  const reason = isGivenUp(cause) ? "Unavailable" : classify(cause)
  return new MessagingError({ reason: reason === "Refused" ? "Rejected" : reason, detail: detailOf(cause), cause })
}

/**
 * The driver's own words.
 *
 * @internal
 */
export const detailOf = (cause: unknown): string => {
  const error = driverError(cause)
  const { message } = error
  if (error instanceof PoolExhausted) return error.message
  const state = sqlState(cause)
  const subject = state === undefined ? "PostgreSQL does not answer" : `PostgreSQL answered ${state}`
  return typeof message === "string" && message !== "" ? `${subject}: ${message}` : subject
}

/**
 * The error of one who was refused a connection, with what to do where the driver does not say it.
 *
 * @internal
 */
export const withAdvice = (error: SqlError): SqlError => {
  const { code, message, severity } = driverError(error)
  if (sqlState(error) !== "53300") return error
  const advised = new Error(`${message}. ${tooManyClients}`)
  return sqlError(error.message, Object.assign(advised, { code, severity }))
}

/** @internal */
export const sqlError = (message: string, cause?: unknown): SqlError => new SqlError({ message, cause })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const tooManyClients =
  "All processes together want more connections than the server or the role may have: lower the maxConnections of their " +
  "PgClient and PgMessaging, or raise the limit"

interface DriverError {
  readonly code?: unknown
  readonly severity?: unknown
  readonly message?: unknown
}

/** Tagged errors wrap it, some twice. */
const driverError = (error: unknown): DriverError => {
  let cause = error
  while (typeof cause === "object" && cause !== null && "_tag" in cause && "cause" in cause) cause = cause.cause
  return typeof cause === "object" && cause !== null ? (cause as DriverError) : {}
}

const networkCodes: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "ENOTFOUND",
  "ENOENT",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENETDOWN"
])

const lostMessages =
  /connection terminated|connection ended|connection timed out|not queryable|query read timeout|timeout exceeded when trying to connect|timeout expired|cannot use a pool after|server closed the connection|No client returned/i
