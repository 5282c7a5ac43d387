/**
 * What a store keeps, and what a unit of work writes: plain records. Part of `MessageStore`.
 *
 * @since 0.1.0
 */
import type { Envelope, Failure } from "../Envelope.ts"
import type { JournalEntry } from "./journal.ts"

/**
 * When a message becomes available: after a while, or at an instant (milliseconds since 1970), both by the store's
 * clock.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const inAMinute: MessageStore.Due = { _tag: "After", millis: 60_000 }
 * const atNewYear: MessageStore.Due = { _tag: "At", epochMillis: Date.UTC(2030, 0, 1) }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Due =
  | { readonly _tag: "After"; readonly millis: number }
  | { readonly _tag: "At"; readonly epochMillis: number }

/**
 * A timer's name. Arming a timer again replaces it; `owner` groups the timers that end together.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isPayment = (timer: MessageStore.Timer) => timer.name === "payment"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Timer {
  readonly owner: string
  readonly name: string
}

/**
 * A consumer's claim on one message: `token` is the fence, and rises with every claim.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * // of two claims on one message
 * const isLater = (a: MessageStore.Lease, b: MessageStore.Lease) => BigInt(a.token) > BigInt(b.token)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Lease {
  readonly channel: string
  readonly key: string
  readonly token: string
  /** The message has an ordering key: others wait for its end. */
  readonly ordered?: boolean | undefined
}

/**
 * A claimed message. `claimedAt` and `dueAt` are by the store's clock.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const waited = ({ availableAt, claimedAt }: MessageStore.Delivery) => claimedAt - availableAt // in milliseconds
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Delivery {
  readonly lease: Lease
  readonly envelope: Envelope
  readonly claimedAt: number
  /** When the message became available. */
  readonly availableAt: number
  /** How many consumers were lost while they had it. */
  readonly crashes: number
  readonly priority: number
  /** The copy was made for a subscription whose handler the publisher did not know: its delay is not applied yet. */
  readonly undelayed: boolean
}

/**
 * Why a message was given up.
 *
 * - `Exhausted`: the retries ended. - `Defect`: the handler died. - `Undecodable`: the payload does not fit the schema.
 * - `Crashed`: its consumers were lost too often. - `UnknownEndpoint`: nobody in this system handles it any more.
 * - `UnknownVersion`: nobody in this system knows so new a version of it.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const needsNewCode = (reason: MessageStore.ParkReason) => reason === "Defect" || reason === "Undecodable"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type ParkReason = "Exhausted" | "Defect" | "Undecodable" | "Crashed" | "UnknownEndpoint" | "UnknownVersion"

/**
 * What a unit of work writes.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isSend = (write: MessageStore.Write): write is MessageStore.Send => write._tag === "Send"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Write =
  | Send
  | Publish
  | CancelTimer
  | Acknowledge
  | Retry
  | Park
  | SagaPut
  | Deduplicate
  | CompleteKey
  | JournalEntry

/**
 * Puts a message on a stored channel; later when `due` says so, replacing an armed `timer` of that name. One with an
 * ordering key takes its place behind the others of its channel, endpoint and key; one that is sent for later, when its
 * time comes.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isDelayed = (write: MessageStore.Send) => write.due !== undefined
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Send {
  readonly _tag: "Send"
  readonly channel: string
  readonly envelope: Envelope
  readonly priority: number
  readonly due: Due | undefined
  readonly timer: Timer | undefined
}

/**
 * Puts a copy of an event on the channel of every persisted subscription, except for the endpoints already served.
 * Without a `due` of the publisher's, the copies are `undelayed`: their handlers' own delays are still to be applied.
 * Copies for `ordered` subscriptions get the empty ordering key, so that they are handed out in order, one at a time.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isServed = (write: MessageStore.Publish, endpoint: string) => write.except.includes(endpoint)
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Publish {
  readonly _tag: "Publish"
  readonly envelope: Envelope
  readonly priority: number
  readonly due: Due | undefined
  readonly except: ReadonlyArray<string>
}

/**
 * Disarms one timer, or without a name all of its owner's.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const cancelsAll = (write: MessageStore.CancelTimer) => write.name === undefined
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface CancelTimer {
  readonly _tag: "CancelTimer"
  readonly owner: string
  readonly name: string | undefined
}

/**
 * Removes a handled message. Fails the unit when the lease was lost.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const handled = ({ lease }: MessageStore.Delivery): MessageStore.Acknowledge => ({ _tag: "Acknowledge", lease })
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Acknowledge {
  readonly _tag: "Acknowledge"
  readonly lease: Lease
}

/**
 * Takes a message out of the ready ones until it is due again, with the history of its failures. One with an ordering
 * key keeps its place: those behind it wait.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const lastError = (write: MessageStore.Retry) => write.failures.at(-1)?.error
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Retry {
  readonly _tag: "Retry"
  readonly lease: Lease
  readonly failures: ReadonlyArray<Failure>
  readonly afterMillis: number
}

/**
 * Moves a message to the dead letters. Without a lease (a broker's message) the envelope itself is stored. The others of
 * its ordering key wait until it is replayed or deleted; the empty key holds up nobody, nor does a broker's message.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const describe = (write: MessageStore.Park) => `${write.envelope.tag} is given up (${write.reason}): ${write.error}`
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Park {
  readonly _tag: "Park"
  readonly channel: string
  readonly lease: Lease | undefined
  readonly envelope: Envelope
  readonly reason: ParkReason
  readonly error: string
  readonly fingerprint: string
}

/**
 * A saga's state. `version` is the one now written; the unit fails when the stored one is not `version - 1`.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isFirst = (write: MessageStore.SagaPut) => write.version === 1
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface SagaPut {
  readonly _tag: "SagaPut"
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly state: string
  readonly completed: boolean
  /** Name of each armed timer, and which arming of it counts. */
  readonly timers: Readonly<Record<string, string>>
}

/**
 * Remembers a key for a while. The unit fails when it is remembered already.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const forgetAt = (write: MessageStore.Deduplicate, now: number) => now + write.windowMillis
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface Deduplicate {
  readonly _tag: "Deduplicate"
  readonly key: string
  readonly windowMillis: number
}

/**
 * Stores the answer of an idempotent send. The unit fails when the key's claim was lost.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const mayComplete = (write: MessageStore.CompleteKey, claimedWith: string | undefined) => write.token === claimedWith
 * ```
 *
 * @since 0.1.0
 * @category writes
 */
export interface CompleteKey {
  readonly _tag: "CompleteKey"
  readonly key: string
  readonly token: string
  readonly result: string
  readonly windowMillis: number
}

/**
 * A stored saga.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isOver = (row: MessageStore.SagaRow | undefined) => row?.completed ?? false
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface SagaRow {
  readonly saga: string
  readonly id: string
  readonly version: number
  readonly state: string
  readonly completed: boolean
  readonly timers: Readonly<Record<string, string>>
}

/**
 * A message that waits for its time.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const isDue = (scheduled: MessageStore.Scheduled, now: number) => scheduled.dueAt <= now
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Scheduled {
  /** Names the row for `reschedule` and `cancelScheduled`. */
  readonly key: string
  readonly channel: string
  readonly envelope: Envelope
  readonly dueAt: number
  readonly timer: Timer | undefined
}

/**
 * Says which messages are meant; what is left out matches all.
 *
 * @example
 * ```ts
 * import { DeadLetter, type MessageStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const mails: MessageStore.Filter = { endpoint: "SendConfirmation", limit: 1_000 }
 * const count = Effect.flatMap(DeadLetter.DeadLetter, (deadLetters) => deadLetters.count(mails))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Filter {
  readonly channel?: string | undefined
  readonly endpoint?: string | undefined
  readonly tag?: string | undefined
  /** The id of the message. */
  readonly id?: string | undefined
  readonly fingerprint?: string | undefined
  /** 100 when left out. */
  readonly limit?: number | undefined
}

/**
 * That an endpoint on a channel wants an event.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const wants = (subscription: MessageStore.Subscription, tag: string) => subscription.tag === tag
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Subscription {
  readonly tag: string
  readonly endpoint: string
  readonly channel: string
  /** The endpoint wants its messages in order: copies of publishers that do not know it wait for their key. */
  readonly ordered?: boolean | undefined
}

/**
 * What claiming an idempotency key gives: the right to do it, or what was answered before.
 *
 * @example
 * ```ts
 * import type { MessageStore } from "@holdfast/core"
 *
 * const answerOf = (claim: MessageStore.KeyClaim) => (claim._tag === "Completed" ? claim.result : undefined)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type KeyClaim =
  | { readonly _tag: "Claimed"; readonly token: string }
  | { readonly _tag: "Completed"; readonly result: string }
