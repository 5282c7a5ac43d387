/**
 * What a handler says of the code around it. Part of `Handler`.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import { dual } from "effect/Function"
import type * as Schema from "effect/Schema"
import type { Any, Handler, Mode } from "../Handler.ts"
import type * as Interceptor from "../Interceptor.ts"
import * as internal from "../internal/handler.ts"
import { interceptHandler } from "../internal/interception.ts"
import type * as Message from "../Message.ts"

/**
 * Puts an interceptor around the handler: in its fiber and its unit of work, at every try. What the interceptor provides,
 * the handler no longer requires; what it fails with, the handler may fail with too: a synchronous one only if its
 * message declares it.
 *
 * A later `intercept` in the pipe is outside of an earlier one, as it is with Effect's own combinators: it runs first and
 * sees the other's failures, and what it provides reaches the other's handler, not the other. Interceptors of
 * `Interceptor.layer` are outside of all. It meets every message of the handler, a saga's timeouts and those for the
 * steps of an orchestrator on channels too, but none that `deduplicate` ignores.
 *
 * @example
 * ```ts
 * import { Handler, Interceptor, Message } from "@holdfast/core"
 * import { Context, Effect } from "effect"
 *
 * class Tenant extends Context.Tag("shop/Tenant")<Tenant, string>() {}
 * class Tenancy extends Interceptor.Tag<Tenancy>()("shop/Tenancy", { provides: Tenant }) {}
 * class Import extends Message.Command<Import>()("Import") {}
 *
 * const importing = Handler.command(Import, () => Effect.flatMap(Tenant, Effect.log)).pipe(Handler.intercept(Tenancy))
 * // Handler<typeof Import, never, Tenancy>
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const intercept: {
  /**
   * @since 0.1.0
   * @category combinators
   */
  <I, Name extends string, Provides extends Context.Tag<any, any> | undefined, Failure extends Schema.Schema.All>(
    interceptor: Interceptor.TagClass<I, Name, Provides, Failure>
  ): <M extends Message.AnyClass, E, R, M0 extends Mode>(
    self: Handler<M, E, R, M0>
  ) => Handler<M, E | Failure["Type"], I | Exclude<R, Interceptor.Identifier<Provides>>, M0>
  /**
   * @since 0.1.0
   * @category combinators
   */
  <
    M extends Message.AnyClass,
    E,
    R,
    M0 extends Mode,
    I,
    Name extends string,
    Provides extends Context.Tag<any, any> | undefined,
    Failure extends Schema.Schema.All
  >(
    self: Handler<M, E, R, M0>,
    interceptor: Interceptor.TagClass<I, Name, Provides, Failure>
  ): Handler<M, E | Failure["Type"], I | Exclude<R, Interceptor.Identifier<Provides>>, M0>
} = dual(2, (self: Any, interceptor: Interceptor.TagClass<any, string, any, any>) => {
  const around = (handler: Any): Any =>
    internal.around(handler, (handled, message, envelope) =>
      interceptHandler(handler, interceptor, handled, message, envelope)
    )
  const { parts } = self.options
  return parts === undefined ? around(self) : internal.update(around(self), self.mode, { parts: parts.map(around) })
})
