/**
 * Keys as a store keeps them. JSON keeps their parts apart, whatever characters they hold, and escapes those that a
 * database does not take.
 */

/** @internal */
export const ofBusiness = (handler: string, key: string): string => JSON.stringify([handler, key])

/** @internal */
export const ofMessage = (handler: string, id: string): string => JSON.stringify([handler, null, id])

/** Of a broker's message: it may be delivered again. @internal */
export const ofDelivery = (channel: string, endpoint: string, id: string): string =>
  JSON.stringify(["inbox", channel, endpoint, id])

/** Of an idempotent send. @internal */
export const ofSend = (tag: string, key: string): string => JSON.stringify([tag, key])
