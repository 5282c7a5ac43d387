import type * as Effect from "effect/Effect"
import type { Returns } from "../Handler.ts"
import type * as Message from "../Message.ts"

// What a handler returns beside its reply: the messages that `Handler.outputTo` sends on.

/** A message that a handler may return. @internal */
export type Output = Message.Message<"Command" | "Event", string, any, any, any>

/** One message, or several. @internal */
export type Outputs = Output | ReadonlyArray<Output>

/**
 * What the handler's effect, inferred as `F`, may answer: the reply, or messages. It is the reply alone while `F` is not
 * known, so that literals are inferred by the reply, and when `F` is neither, so that the refusal names the reply.
 *
 * @internal
 */
export type Answered<Reply, F> = [SuccessOf<F>] extends [Reply | Outputs] ? SuccessOf<F> : Reply

/** The mode of a handler with that effect. @internal */
export type Returned<Reply, F> = [Next<Reply, SuccessOf<F>>] extends [never]
  ? "Synchronous"
  : Returns<Next<Reply, SuccessOf<F>>>

/** The messages in what is returned; a reply that is itself a message is the answer. */
type Next<Reply, A> = unknown extends A ? never : Exclude<Extract<A, Outputs>, Extract<Reply, Outputs>>

type SuccessOf<F> = [F] extends [Effect.Effect<infer A, any, any>] ? A : unknown
