/**
 * Where the messages go that a handler returns. Part of `Handler`.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as CommandBus from "../CommandBus.ts"
import * as EventBus from "../EventBus.ts"
import type { Any, Handler, Mode } from "../Handler.ts"
import * as internal from "../internal/handler.ts"
import { isMessage, messagesIn } from "../internal/output.ts"
import type { Forwards } from "../internal/refusals.ts"
import type * as Message from "../Message.ts"
import type { MessagingError } from "../MessagingError.ts"
import type { Handles } from "./handles.ts"

/**
 * Chains handlers: sends on the message that the handler returns, commands to their handler and events to all of theirs.
 * `next` lists what it may return: one class, or several.
 *
 * A handler that replies nothing may return one message, an array of them (each is sent, in order), or nothing, which
 * ends the flow. One that replies returns one command with the same reply, whose answer is then its own, or answers
 * itself. The next message belongs to the handler's unit of work and conversation: it is sent if and only if the unit
 * commits, and a synchronous next handler that fails undoes the whole. Each asynchronous step is retried, and given up,
 * alone. Put it before `asynchronous`.
 *
 * @example
 * ```ts
 * import { Channel, Handler, Message } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * const payload = { image: Schema.String }
 * class Resize extends Message.Command<Resize>()("Resize", { payload }) {}
 * class Upload extends Message.Command<Upload>()("Upload", { payload }) {}
 * class Images extends Channel.Tag<Images>()("Images", { messages: [Resize, Upload] }) {}
 *
 * const resize = Handler.command(Resize, ({ image }) => Effect.succeed(new Upload({ image: `small ${image}` }))).pipe(
 *   Handler.outputTo(Upload),
 *   Handler.asynchronous(Images)
 * )
 * const upload = Handler.command(Upload, ({ image }) => Effect.log(image)).pipe(Handler.asynchronous(Images))
 *
 * const ImagesLive = Handler.layer(resize, upload)
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const outputTo: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <const Next extends Sendable | ReadonlyArray<Sendable>>(
    next: Next
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0> & Forwards<M, M0, SendableOf<Next>>
  ) => Handler<M, E | MessagingError | SendableOf<Next>["error"]["Type"], R | Sending<SendableOf<Next>>>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <M extends Message.AnyClass, E, R, M0 extends Mode, const Next extends Sendable | ReadonlyArray<Sendable>>(
    self: Handler<M, E, R, M0> & Forwards<M, M0, SendableOf<Next>>,
    next: Next
  ): Handler<M, E | MessagingError | SendableOf<Next>["error"]["Type"], R | Sending<SendableOf<Next>>>
} = dual(2, (self: Any, next: Sendable | ReadonlyArray<Sendable>) => {
  const listed = new Set([next].flat().map(({ _tag }) => _tag))
  return internal.around(self, (handled) =>
    Effect.flatMap(handled, (returned) =>
      internal.replies(self) ? answer(listed, returned) : forward(listed, returned)
    )
  )
})

type Sendable = Message.AnyCommand | Message.AnyEvent

type SendableOf<Next> = Next extends ReadonlyArray<infer C extends Sendable> ? C : Next extends Sendable ? Next : never

/** What it takes to send messages of the class. */
type Sending<C extends Sendable> = C extends Message.AnyCommand
  ? CommandBus.CommandBus | Handles<C["_tag"]>
  : EventBus.EventBus | Message.Requirements<C["Type"]>

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** The answer of a chain is the last one's: the next handler's, or what was returned, if that is no message listed. */
const answer = (listed: ReadonlySet<string>, returned: unknown) =>
  isMessage(returned) && listed.has(returned._tag) ? send(returned) : Effect.succeed(returned)

/** Sends each message that is listed; what it leaves is a mistake. */
const forward = (listed: ReadonlySet<string>, returned: unknown) => {
  const [others, next] = Arr.partition(messagesIn(returned), ({ _tag }) => listed.has(_tag))
  return Effect.as(Effect.forEach(next, send, { discard: true }), others[0])
}

const send = (message: any): Effect.Effect<unknown, any, any> =>
  message.constructor.kind === "Event" ? EventBus.publish(message) : CommandBus.send(message)
