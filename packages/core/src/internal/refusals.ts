import type * as Schema from "effect/Schema"
import type { Any, Handler, Mode, Returns } from "../Handler.ts"
import type * as Message from "../Message.ts"
import type { MessagingError } from "../MessagingError.ts"

// What the types refuse, each with a sentence: a string type that is intersected with the argument it refuses.
//
// The compiler writes these names into the declarations of libraries that export combinators, so package.json lets types
// be imported from here, from refusedChannels.ts, orchestratorRefusals.ts and returned.ts. None of them has a value.

/**
 * `unknown` if every message of `M` may travel the channel, else the reason.
 *
 * @internal
 */
export type Travels<M extends Message.AnyClass, Name extends string, C extends Message.AnyClass> = [
  Stays<M, Name, C>
] extends [never]
  ? unknown
  : Stays<M, Name, C>

/** Why, for each message that may not travel. What only the runtime sends is carried by every channel. */
type Stays<M extends Message.AnyClass, Name extends string, C extends Message.AnyClass> = M extends InProcess
  ? never
  : M extends { readonly success: typeof Schema.Void }
    ? M extends { readonly error: typeof Schema.Never }
      ? M extends C
        ? never
        : `${Name} does not carry ${M["_tag"]}`
      : `${M["_tag"]} declares an error that its sender could never see, so it cannot be asynchronous: publish an event`
    : `${M["_tag"]} replies, so it cannot be asynchronous`

/**
 * What an orchestrator or one of its steps takes: it is never sent itself.
 *
 * @internal
 */
export interface InProcess {
  readonly process: "Orchestrator" | "Step"
}

/** Whether all of the messages are of a kind; of none, and of those nothing is known of, it is not so. */
type AreAll<M, What> = [M] extends [never] ? false : 0 extends 1 & M ? false : [M] extends [What] ? true : false

/** `unknown` if the handler may be registered by itself, else why not. */
type Alone<H> =
  H extends Handler<infer M, infer _E, infer _R, infer _M0>
    ? AreAll<M, { readonly process: "Step" }> extends true
      ? `${M["_tag"]} is a step, which runs in an orchestrator: add it to one with Orchestrator.andThen`
      : unknown
    : unknown

/**
 * `unknown` if the handler has no channel yet, else why it cannot get another.
 *
 * @internal
 */
export type Placed<M extends Message.AnyClass, M0 extends Mode> = M0 extends "Asynchronous"
  ? `The handler of ${M["_tag"]} has a channel already, and a handler has one: remove the other Handler.asynchronous`
  : M0 extends Returns<infer Next>
    ? `The handler of ${M["_tag"]} returns ${TagOf<Each<Next>>}, and nothing says where it goes: add Handler.outputTo before Handler.asynchronous`
    : unknown

/**
 * `unknown` if the handler may fail as it does, else the reason. Whoever sends a command or asks a query sees only the
 * errors it declares; whoever publishes an event sees none; nobody waits for an asynchronous handler, so it may fail
 * with anything.
 *
 * @internal
 */
export type Fails<H> =
  H extends Handler<infer M, infer E, infer _R, infer Mode>
    ? Mode extends "Asynchronous"
      ? unknown
      : Mode extends "Timed"
        ? `${NameOf<H>} has timeouts, which need a channel: add Handler.asynchronous`
        : Mode extends Returns<infer Next>
          ? `The handler of ${M["_tag"]} returns ${TagOf<Each<Next>>}, and nothing says where it goes: add Handler.outputTo`
          : [Undeclared<M, E>] extends [never]
            ? unknown
            : Undeclared<M, E>
    : unknown

/** Why, for each message whose sender or publisher could not see what the handler fails with. */
type Undeclared<M extends Message.AnyClass, E> = M extends Message.AnyEvent
  ? `A handler of ${M["_tag"]} fails with ${TagOf<Exclude<E, MessagingError>>}, which its publisher cannot see: catch it, or add Handler.asynchronous`
  : `The handler of ${M["_tag"]} fails with ${TagOf<Exclude<E, M["error"]["Type"] | MessagingError>>}, which ${M["_tag"]} does not declare`

type NameOf<H> = H extends { readonly name: infer Name extends string }
  ? string extends Name
    ? "A saga"
    : Name
  : never

/** @internal */
export type TagOf<E> = E extends { readonly _tag: infer Tag extends string } ? Tag : "an untagged error"

/**
 * `unknown` if the handler has a channel on which a message can wait, else why not.
 *
 * @internal
 */
export type Waits<M0 extends Mode, What extends string> = [M0] extends ["Asynchronous"]
  ? unknown
  : `Only a handler with a channel can be ${What}: add Handler.asynchronous first`

/**
 * `unknown` if the channel is not the handler's own, else why it cannot be its error channel.
 *
 * @internal
 */
export type ToldElsewhere<R, I, Name extends string> = [I] extends [R]
  ? `${Name} is the channel of this handler, so it cannot be its error channel: its failures need another`
  : unknown

/**
 * `unknown` if the message answers nothing, else why it cannot be deduplicated.
 *
 * @internal
 */
export type Silent<M extends Message.AnyClass> =
  AreAll<M, InProcess> extends true
    ? `${M["_tag"]} runs once for each id that its orchestrator is started with: give Orchestrator.start an id`
    : [M] extends [{ readonly success: typeof Schema.Void }]
      ? unknown
      : `${M["_tag"]} replies, so a duplicate would have no answer: send it with an idempotencyKey`

/**
 * `unknown` if the message may be dropped, else why not.
 *
 * @internal
 */
export type Expires<M extends Message.AnyClass> =
  AreAll<M, InProcess> extends true
    ? `${M["_tag"]} belongs to an orchestrator, which would never end if its message expired: limit it with Handler.timeout`
    : unknown

/**
 * `unknown` for each command that does not reply, else why it cannot share a handler.
 *
 * @internal
 */
export type Silences<M extends ReadonlyArray<Message.AnyCommand>> = {
  readonly [K in keyof M]: M[K] extends { readonly success: typeof Schema.Void }
    ? unknown
    : `${M[K]["_tag"]} replies, so it has a handler of its own: use Handler.command`
}

/**
 * `unknown` if what the handler returns may be sent on as messages of the classes `C`, else why not.
 *
 * @internal
 */
export type Forwards<M extends Message.AnyClass, M0 extends Mode, C extends Message.AnyClass> =
  M0 extends Returns<infer Next>
    ? [Kept<M, Next, C>] extends [never]
      ? unknown
      : Kept<M, Next, C>
    : `The handler of ${M["_tag"]} returns no message that Handler.outputTo could send: return one, or remove it`

/** Why, for each message that may not be sent on. */
type Kept<M extends Message.AnyClass, Next, C extends Message.AnyClass> =
  | Unlisted<M, Each<Next>, C>
  | ([M] extends [{ readonly success: typeof Schema.Void }] ? never : Unanswered<M, Next, C>)

type Unlisted<M extends Message.AnyClass, Item, C extends Message.AnyClass> = Item extends C["Type"]
  ? never
  : `The handler of ${M["_tag"]} returns ${TagOf<Item>}, which its Handler.outputTo does not list`

type Unanswered<M extends Message.AnyClass, Next, C extends Message.AnyClass> =
  Next extends ReadonlyArray<unknown>
    ? `${M["_tag"]} replies, so its handler returns one message, whose answer is its own`
    : C extends { readonly success: { readonly Type: M["success"]["Type"] } }
      ? never
      : `${C["_tag"]} does not answer what ${M["_tag"]} replies, so it cannot be its output`

type Each<Next> = Next extends ReadonlyArray<infer Item> ? Item : Next

/** @internal */
export type Accepted<Handlers extends ReadonlyArray<Any>> = {
  [K in keyof Handlers]: Handlers[K] & Alone<Handlers[K]> & Fails<Handlers[K]>
}

/** @internal */
export type Routed<Handlers extends ReadonlyArray<Any>> = {
  [K in keyof Handlers]: Handlers[K] &
    Alone<Handlers[K]> &
    (Handlers[K] extends Handler<any, any, any, "Asynchronous"> ? unknown : Unrouted<Handlers[K]>)
}

type Unrouted<H> =
  H extends Handler<infer M, infer _E, infer _R, infer _M0>
    ? `A handler of ${M["_tag"]} has no channel, so it cannot run elsewhere: add Handler.asynchronous`
    : unknown
