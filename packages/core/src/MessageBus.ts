/**
 * The three buses and the registry behind them.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import * as CommandBus from "./CommandBus.ts"
import * as DeadLetter from "./DeadLetter.ts"
import * as Deduplication from "./Deduplication.ts"
import * as EventBus from "./EventBus.ts"
import * as HandlerRegistry from "./HandlerRegistry.ts"
import { watch } from "./internal/wiring.ts"
import * as Journal from "./Journal.ts"
import * as MessageScheduler from "./MessageScheduler.ts"
import * as MessageStore from "./MessageStore.ts"
import * as QueryBus from "./QueryBus.ts"
import * as SagaStore from "./SagaStore.ts"

/**
 * The command, query and event bus with the registry they share, over a message store.
 *
 * Ten seconds later it warns in the log of each channel that has handlers in this process but no consumer in any.
 *
 * @example
 * ```ts
 * import { MessageBus, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Messaging = MessageBus.layer.pipe(Layer.provideMerge(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<
  CommandBus.CommandBus | QueryBus.QueryBus | EventBus.EventBus | HandlerRegistry.HandlerRegistry,
  never,
  MessageStore.MessageStore
> = Layer.mergeAll(CommandBus.layer, QueryBus.layer, EventBus.layer, watch).pipe(
  Layer.provideMerge(HandlerRegistry.layer)
)

/**
 * The buses over a store in memory, with its scheduler, dead letters, deduplication and sagas: enough for a program that
 * needs nothing to survive it.
 *
 * @example
 * ```ts
 * import { CommandBus, Handler, Message, MessageBus } from "@holdfast/core"
 * import { Effect, Layer, Schema } from "effect"
 *
 * class Greet extends Message.Command<Greet>()("Greet", { payload: { name: Schema.String } }) {}
 *
 * const greet = Handler.command(Greet, ({ name }) => Effect.log(`Hello, ${name}`))
 *
 * Effect.runPromise(
 *   CommandBus.send(new Greet({ name: "Ada" })).pipe(
 *     Effect.provide(Handler.layer(greet).pipe(Layer.provideMerge(MessageBus.layerMemory)))
 *   )
 * )
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<
  | CommandBus.CommandBus
  | QueryBus.QueryBus
  | EventBus.EventBus
  | HandlerRegistry.HandlerRegistry
  | MessageStore.MessageStore
  | MessageScheduler.MessageScheduler
  | DeadLetter.DeadLetter
  | Deduplication.Deduplication
  | Journal.Journal
  | SagaStore.SagaStore
> = Layer.mergeAll(
  layer,
  MessageScheduler.layer,
  DeadLetter.layer,
  Deduplication.layer,
  SagaStore.layer,
  Journal.layer
).pipe(Layer.provideMerge(MessageStore.layerMemory))
