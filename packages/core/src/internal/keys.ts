/**
 * Keys as a store keeps them. JSON keeps their parts apart, whatever characters they hold, and escapes those that a
 * database does not take.
 */
import type { Envelope } from "../Envelope.ts"

/** @internal */
export const ofBusiness = (handler: string, key: string): string => JSON.stringify([handler, key])

/** @internal */
export const ofMessage = (handler: string, id: string): string => JSON.stringify([handler, null, id])

/** Of a broker's message: it may be delivered again. @internal */
export const ofDelivery = (channel: string, endpoint: string, id: string): string =>
  JSON.stringify(["inbox", channel, endpoint, id])

/** Of a message that was met by who does not know it, after so many tries by those who do. @internal */
export const ofStranger = (what: "waits" | "known", { endpoint, failures, id }: Envelope): string =>
  JSON.stringify(["unknown", what, endpoint, id, failures.length])

/** Of an idempotent send. @internal */
export const ofSend = (tag: string, key: string): string => JSON.stringify([tag, key])
