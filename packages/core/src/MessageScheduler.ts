/**
 * Messages that wait for their time: delayed sends, durable retries and timers. They are rows, so they survive restarts
 * and can be listed, moved and cancelled. They never fire early by the store's clock.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Input from "./internal/input.ts"
import { type Due, type Filter, MessageStore, type Scheduled } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * When: after a duration, or at an instant. What lies in the past is due at once.
 *
 * @example
 * ```ts
 * import type { MessageScheduler } from "@holdfast/core"
 * import { DateTime } from "effect"
 *
 * const inAWhile: MessageScheduler.When = "10 minutes"
 * const atNewYear: MessageScheduler.When = DateTime.unsafeMake("2030-01-01T00:00:00Z")
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type When = Duration.DurationInput | DateTime.DateTime | Date

/**
 * The messages that wait. Handlers that delay or retry durably require it: delay needs storage.
 *
 * @example
 * ```ts
 * import { MessageScheduler } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const cancelReminders = Effect.gen(function* () {
 *   const scheduler = yield* MessageScheduler.MessageScheduler
 *   for (const { key } of yield* scheduler.list({ endpoint: "Remind" })) yield* scheduler.cancel(key)
 * })
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class MessageScheduler extends Context.Tag("@holdfast/core/MessageScheduler")<
  MessageScheduler,
  {
    /** Waiting messages by their time, soonest first; also what waits for a retry in its place (`Handler.orderedBy`). */
    readonly list: (filter?: Omit<Filter, "fingerprint">) => Effect.Effect<ReadonlyArray<Scheduled>, MessagingError>
    /** Moves a waiting message to another time. False if it fired or was cancelled meanwhile. */
    readonly move: (key: string, when: When) => Effect.Effect<boolean, MessagingError>
    /** Cancels a waiting message, and lets those go that wait behind it. False if it fired or was cancelled meanwhile. */
    readonly cancel: (key: string) => Effect.Effect<boolean, MessagingError>
  }
>() {}

/**
 * The scheduler over the message store.
 *
 * @example
 * ```ts
 * import { MessageScheduler, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Scheduler = MessageScheduler.layer.pipe(Layer.provide(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<MessageScheduler, never, MessageStore> = Layer.effect(
  MessageScheduler,
  Effect.map(MessageStore, (store) =>
    MessageScheduler.of({
      list: (filter) =>
        Effect.zipRight(Input.reject(Input.wholeNumber("the limit", filter?.limit, 1)), store.scheduled(filter ?? {})),
      move: (key, when) =>
        Effect.zipRight(Input.reject(Input.time("the message", due(when))), store.reschedule(key, due(when))),
      cancel: store.cancelScheduled
    })
  )
)

/**
 * The store's form of a time.
 *
 * @example
 * ```ts
 * import { MessageScheduler } from "@holdfast/core"
 *
 * MessageScheduler.due("10 minutes") // { _tag: "After", millis: 600_000 }
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const due = (when: When): Due => {
  if (when instanceof Date) return { _tag: "At", epochMillis: when.getTime() }
  if (DateTime.isDateTime(when)) return { _tag: "At", epochMillis: DateTime.toEpochMillis(when) }
  return { _tag: "After", millis: Math.max(0, Input.millisOf(when)) }
}
