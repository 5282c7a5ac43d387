import type { Any, Handler } from "../Handler.ts"
import type { MessagingError } from "../MessagingError.ts"
import type { TagOf } from "./refusals.ts"

// What the types refuse of orchestrators, each with a sentence: see refusals.ts.

/** What a step gives to the next one: nothing ends the flow. */
type Given<Out> = Exclude<Out, undefined | void>

/**
 * `unknown` if the step may fail as it does, else the reason. Whoever awaits the result sees only what is declared; a
 * step on a channel is tried again for the rest.
 *
 * @internal
 */
export type Declares<Name extends string, Declared, E, Mode> = Mode extends "Asynchronous"
  ? unknown
  : [Exclude<E, Declared>] extends [never]
    ? unknown
    : `Step ${Name} fails with ${TagOf<Exclude<E, Declared>>}, which it does not declare: name it in its error, catch it, or add Handler.asynchronous`

/**
 * `unknown` if a step or plan that takes `Input` may come after `Last`, which gives `Out`, else the reason.
 *
 * @internal
 */
export type Follows<Name extends string, Last extends string, Out, Next extends string, Input> = [Last] extends [never]
  ? [Out] extends [Input]
    ? unknown
    : `Step ${Next} cannot be the first of ${Name}: it does not take the input of ${Name}`
  : [Given<Out>] extends [never]
    ? `Step ${Next} cannot follow step ${Last}: ${Last} answers nothing, which ends ${Name}`
    : [Given<Out>] extends [Input]
      ? unknown
      : `Step ${Next} cannot follow step ${Last}: it does not take what ${Last} gives`

/** `unknown` if a step of a plan takes and gives what the first one takes, else the reason. */
type Alike<First extends string, Value, Name extends string, Input, Out> = [Value] extends [Input]
  ? [Given<Out>] extends [Value]
    ? unknown
    : `Step ${Name} cannot be in a plan with step ${First}: it gives another type than ${First} takes`
  : `Step ${Name} cannot be in a plan with step ${First}: it takes another type than ${First}`

/** What earlier steps may have ended the flow with. @internal */
export type Ended<Last extends string, Out> = [Last] extends [never] ? never : Extract<Out, undefined | void>

/** What a step takes, gives and may fail with. */
type ClassOf<S> = S extends Handler<infer M, any, any, any> ? M : never
/** @internal */
export type NameOf<S> = ClassOf<S>["_tag"]
/** @internal */
export type TypeOf<S> = ClassOf<S>["Type"]
/** @internal */
export type OutOf<S> = ClassOf<S>["success"]["Type"]
/** @internal */
export type DeclaredOf<S> = ClassOf<S>["error"]["Type"]
/** @internal */
export type ContextOf<S> = S extends Handler<any, any, infer R, any> ? R : never

/** The steps of a plan, each with why it may not be there. @internal */
export type Planned<Steps extends ReadonlyArray<Any>> = {
  [K in keyof Steps]: Steps[K] & PlannedStep<Steps[0], Steps[K]>
}

type PlannedStep<First, S> =
  S extends Handler<infer M, infer E, any, infer M0>
    ? unknown extends Declares<M["_tag"], M["error"]["Type"] | MessagingError, E, M0>
      ? Alike<NameOf<First>, TypeOf<First>, M["_tag"], M["Type"], M["success"]["Type"]>
      : Declares<M["_tag"], M["error"]["Type"] | MessagingError, E, M0>
    : never
