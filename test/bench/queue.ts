import type { Effect, Scope } from "effect"

/** What is in every message: ten small fields would be no different, a hundred kilobytes would. */
export interface Payload {
  readonly n: number
  /** When it was sent, in milliseconds. */
  readonly at: number
  readonly key: string
  readonly customer: string
  readonly amount: number
  readonly currency: string
  readonly note: string
}

const note = "x".repeat(110)

export const sagas = 1_000

/** Message `n`, of one of `keys` keys. */
export const payload = (n: number, keys: number = sagas): Payload => ({
  n,
  at: now(),
  key: `key-${n % keys}`,
  customer: `customer-${n % 1_000}`,
  amount: 12.5 + (n % 10),
  currency: "EUR",
  note
})

/** Milliseconds, the same in all processes of a machine, and finer than those of `Date`. */
export const now = () => performance.timeOrigin + performance.now()

/**
 * What the handler does: nothing, write one row, move a saga and send one message, or nothing in the order of the key; or
 * nothing while the journal writes down all that happens.
 */
export type Kind = "noop" | "write" | "saga" | "keyed" | "journaled"

/** A queue, looked at from the process that sends. */
export interface Queue {
  readonly send: (payload: Payload) => Effect.Effect<void>
  /** Many in one call. */
  readonly sendAll: (payloads: ReadonlyArray<Payload>) => Effect.Effect<void>
  /** Many in one call, due in a day. */
  readonly delayAll: (payloads: ReadonlyArray<Payload>) => Effect.Effect<void>
  /** How many are due and not yet acknowledged. */
  readonly left: Effect.Effect<number>
  /** How many rows or messages the handlers left behind. */
  readonly effects: Effect.Effect<number>
  /** Forgets what is due, and the effects of what was handled. */
  readonly clear: Effect.Effect<void>
}

export interface Work {
  readonly url: string
  readonly kind: Kind
  readonly processes: number
}

export type Handled = (payload: Payload) => void

/** A library to send and handle with. */
export interface Library {
  readonly name: string
  readonly setting: (kind: Kind) => string
  readonly open: (url: string, kind: Kind) => Effect.Effect<Queue, never, Scope.Scope>
  /** Connects; what it gives starts to handle. Both end with the scope. Called in a process of its own. */
  readonly consume: (
    work: Work,
    handled: Handled
  ) => Effect.Effect<Effect.Effect<void, never, Scope.Scope>, never, Scope.Scope>
}
