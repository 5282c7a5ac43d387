/**
 * Asks queries and waits for their answer.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { HandlerRegistry } from "./HandlerRegistry.ts"
import type { UserHeaders } from "./Headers.ts"
import type { Handles } from "./handler/handles.ts"
import { checked, classOf, makeMetadata, retryInPlace } from "./internal/dispatch.ts"
import { intercepted, sending } from "./internal/interception.ts"
import * as Telemetry from "./internal/telemetry.ts"
import type * as Message from "./Message.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * The query bus.
 *
 * @example
 * ```ts
 * import { Message, QueryBus } from "@holdfast/core"
 * import { Effect, Schema } from "effect"
 *
 * class CountOrders extends Message.Query<CountOrders>()("CountOrders", { success: Schema.Number }) {}
 *
 * // like QueryBus.ask, but the types do not ask for a handler: without one it dies
 * const count = Effect.flatMap(QueryBus.QueryBus, (bus) => bus.ask(new CountOrders()))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class QueryBus extends Context.Tag("@holdfast/core/QueryBus")<
  QueryBus,
  {
    readonly ask: <M extends Message.Message<"Query", string, any, any, any>>(
      query: M,
      options?: AskOptions
    ) => Effect.Effect<Message.Success<M>, Message.Error<M> | MessagingError>
  }
>() {}

/**
 * How a query is asked.
 *
 * @example
 * ```ts
 * import { Message, QueryBus } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class CountOrders extends Message.Query<CountOrders>()("CountOrders", { success: Schema.Number }) {}
 *
 * const forAcme: QueryBus.AskOptions = { headers: { tenant: "acme" } }
 * const count = QueryBus.ask(new CountOrders(), forAcme)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface AskOptions {
  /** Headers the handler sees, beside those of the message being handled. */
  readonly headers?: UserHeaders | undefined
}

/**
 * Asks a query and waits for its answer. It opens no unit of work: inside one, the handler reads through the open
 * transaction if there is one, else through the pool. An answer that the query's schema refuses is a `MessagingError`.
 *
 * @example
 * ```ts
 * import { Message, QueryBus } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class GetTotal extends Message.Query<GetTotal>()("GetTotal", {
 *   payload: { orderId: Schema.String },
 *   success: Schema.Number
 * }) {}
 *
 * const total = QueryBus.ask(new GetTotal({ orderId: "A1" })) // Effect<number, MessagingError, QueryBus | Handles<"GetTotal">>
 * ```
 *
 * @since 0.1.0
 * @category asking
 */
export const ask = <M extends Message.Message<"Query", string, any, any, any>>(
  query: M,
  options?: AskOptions
): Effect.Effect<Message.Success<M>, Message.Error<M> | MessagingError, QueryBus | Handles<M["_tag"]>> =>
  Effect.flatMap(QueryBus, (bus) => bus.ask(query, options))

/**
 * The query bus over the registered handlers.
 *
 * @example
 * ```ts
 * import { HandlerRegistry, QueryBus } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Queries = QueryBus.layer.pipe(Layer.provideMerge(HandlerRegistry.layer))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<QueryBus, never, HandlerRegistry> = Layer.effect(
  QueryBus,
  Effect.map(HandlerRegistry, (registry) =>
    QueryBus.of({
      ask: (query, options) =>
        Telemetry.sending(
          () => askFor(registry, query, options),
          () => ({ operation: "ask", tag: query._tag, destination: undefined })
        ) as Effect.Effect<any, any>
    })
  )
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const askFor = (
  registry: HandlerRegistry["Type"],
  query: Message.Any,
  options: AskOptions | undefined
): Effect.Effect<unknown, unknown> => {
  const entry = registry.byTag(query._tag)
  if (entry === undefined) return Effect.dieMessage(`No handler is registered for query ${query._tag}`)
  const made = makeMetadata(classOf(query), entry.name, options?.headers)
  return Effect.flatMap(sending(registry, query, made, entry), (envelope) => {
    registry.observe?.({ _tag: "Asked", message: query, envelope })
    const asked = retryInPlace(entry, checked(entry, entry.handle(query, envelope)))
    return intercepted(registry, "Bus", query, envelope, entry, asked)
  })
}
