import * as Message from "../Message.ts"

/** @internal */
export const isMessage = (value: unknown): value is Message.Any =>
  typeof value === "object" && value !== null && Message.TypeId in value

/** @internal */
export const messagesIn = (returned: unknown): ReadonlyArray<Message.Any> =>
  returned === undefined ? [] : [returned].flat().filter(isMessage)
