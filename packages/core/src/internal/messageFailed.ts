import * as Schema from "effect/Schema"
import * as Message from "../Message.ts"

/**
 * A message was given up: put on the error channel, where there is one, in the commit that parks or discards it, or sends
 * it again. So there is one event for each end, and none for an end that did not happen; on a broker's error channel it leaves just
 * before that commit, and may be a ghost. It belongs to the conversation of the message that failed, which caused it,
 * and is delivered at least once, like any event. A message that stays in its place, with `"Release"` and `"Stop"`, is told
 * each time that it is given up.
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
    failures: Schema.Array(
      Schema.Struct({
        at: Schema.Number,
        error: Schema.String,
        tag: Schema.optional(Schema.String),
        count: Schema.optional(Schema.Number)
      })
    ),
    attempt: Schema.Number
  }
}) {}
