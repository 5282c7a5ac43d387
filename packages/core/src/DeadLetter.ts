/**
 * Messages that were given up, with their bytes, their cause and the history of their attempts. They wait for a
 * person: to be replayed to the handler that failed, or deleted.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Input from "./internal/input.ts"
import * as Message from "./Message.ts"
import { type DeadLetterRow, type Filter, MessageStore } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * A message was given up: put on the error channel, where there is one, in the commit that parks or discards it. So
 * there is one event for each end, and none for an end that did not happen; on a broker's error channel it leaves just
 * before that commit, and may be a ghost. It belongs to the conversation of the message that failed, which caused it,
 * and is delivered at least once, like any event.
 *
 * `channel`, `endpoint`, `tag`, `id`, `payload` (JSON text), `headers` and `attempt` are the failed message's;
 * `failures` are the tries of it, oldest first, in milliseconds by the store's clock. A `MessageFailed` that is itself
 * given up is told to nobody.
 *
 * @example
 * ```ts
 * import { Channel, DeadLetter, Handler } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Errors extends Channel.Tag<Errors>()("shop/Errors", { messages: [DeadLetter.MessageFailed] }) {}
 * class Orders extends Channel.Tag<Orders>()("shop/Orders", { errorChannel: Errors }) {}
 *
 * const alert = Handler.event(DeadLetter.MessageFailed, {
 *   name: "Alert",
 *   handle: ({ endpoint, error }) => Effect.log(`${endpoint} gave up: ${error}`)
 * }).pipe(Handler.asynchronous(Errors))
 * ```
 *
 * @since 0.1.0
 * @category events
 */
export class MessageFailed extends Message.Event<MessageFailed>()("holdfast/MessageFailed", {
  payload: {
    channel: Schema.String,
    endpoint: Schema.String,
    tag: Schema.String,
    id: Schema.String,
    payload: Schema.String,
    headers: Schema.Record({ key: Schema.String, value: Schema.String }),
    reason: Schema.Literal("Exhausted", "Defect", "Undecodable", "Crashed", "UnknownEndpoint", "UnknownVersion"),
    error: Schema.String,
    fingerprint: Schema.String,
    failures: Schema.Array(Schema.Struct({ at: Schema.Number, error: Schema.String })),
    attempt: Schema.Number
  }
}) {}

/**
 * The dead letters.
 *
 * @example
 * ```ts
 * import { DeadLetter } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const replayMails = Effect.gen(function* () {
 *   const deadLetter = yield* DeadLetter.DeadLetter
 *   const letters = yield* deadLetter.list({ endpoint: "SendConfirmation" })
 *   return yield* deadLetter.replay(letters.map((letter) => letter.key))
 * })
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class DeadLetter extends Context.Tag("@holdfast/core/DeadLetter")<
  DeadLetter,
  {
    /** Newest first, 100 unless `limit` says otherwise. */
    readonly list: (filter?: Filter) => Effect.Effect<ReadonlyArray<DeadLetterRow>, MessagingError>
    readonly count: (filter?: Filter) => Effect.Effect<number, MessagingError>
    /**
     * Puts dead letters back to the handler that failed, and to no other, in one transaction: each is replayed once,
     * whoever asks. One with an ordering key comes back in its old place. Attempts count from one again, and the header `replayedAt` tells handlers. Answers how many were
     * still there.
     */
    readonly replay: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
    /** Forgets dead letters, and lets those go that wait behind them for their ordering key. Answers how many were still there. */
    readonly remove: (keys: ReadonlyArray<string>) => Effect.Effect<number, MessagingError>
  }
>() {}

/**
 * The dead letters of the message store.
 *
 * @example
 * ```ts
 * import { DeadLetter, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const DeadLetters = DeadLetter.layer.pipe(Layer.provide(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<DeadLetter, never, MessageStore> = Layer.effect(
  DeadLetter,
  Effect.map(MessageStore, (store) =>
    DeadLetter.of({
      list: (filter) =>
        Effect.zipRight(
          Input.reject(Input.wholeNumber("the limit", filter?.limit, 1)),
          store.deadLetters(filter ?? {})
        ),
      count: (filter) => store.countDeadLetters(filter ?? {}),
      replay: store.replay,
      remove: store.deleteDeadLetters
    })
  )
)
