import type { Envelope, MessageStore } from "@holdfast/core"

/** An envelope that carries only its id. */
export const envelope = (id: string, overrides: Partial<Envelope.Envelope> = {}): Envelope.Envelope => ({
  id,
  tag: "OrderPlaced",
  endpoint: "Confirm",
  attempt: 1,
  headers: { tenant: "acme" },
  payload: `{"id":"${id}"}`,
  failures: [],
  ...overrides
})

/** A message put on a channel. */
export const sent = (channel: string, id: string, overrides: Partial<MessageStore.Send> = {}): MessageStore.Send => ({
  _tag: "Send",
  channel,
  envelope: envelope(id),
  priority: 0,
  due: undefined,
  timer: undefined,
  ...overrides
})
