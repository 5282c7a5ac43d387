/**
 * The three buses and the registry behind them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { TagClass } from "./Channel.ts"
import * as CommandBus from "./CommandBus.ts"
import * as DeadLetter from "./DeadLetter.ts"
import * as Deduplication from "./Deduplication.ts"
import * as EventBus from "./EventBus.ts"
import * as HandlerRegistry from "./HandlerRegistry.ts"
import type { HearsFailures } from "./internal/refusedChannels.ts"
import { watch } from "./internal/wiring.ts"
import * as Journal from "./Journal.ts"
import type * as Message from "./Message.ts"
import * as MessageScheduler from "./MessageScheduler.ts"
import * as MessageStore from "./MessageStore.ts"
import * as QueryBus from "./QueryBus.ts"
import * as SagaStore from "./SagaStore.ts"

/**
 * The command, query and event bus with the registry they share, over a message store.
 *
 * Ten seconds later it warns in the log of each channel that has handlers in this process but no consumer in any. It
 * carries on replays of dead letters, and keeps to their retention: see `DeadLetter.layerWorker`.
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
> = Layer.mergeAll(CommandBus.layer, QueryBus.layer, EventBus.layer, watch, DeadLetter.layerWorker).pipe(
  Layer.provideMerge(HandlerRegistry.layer)
)

/**
 * Makes the channel the error channel of the application: it is told of what is given up by handlers that have none,
 * neither of their own nor of their channel. What fails on the error channel itself is told to nobody. An application
 * has one, in each process that consumes.
 *
 * @example
 * ```ts
 * import { Channel, DeadLetter, Handler, MessageBus } from "@holdfast/core"
 * import { Effect, Layer } from "effect"
 *
 * class Errors extends Channel.Tag<Errors>()("shop/Errors", { messages: [DeadLetter.MessageFailed] }) {}
 *
 * const alert = Handler.event(DeadLetter.MessageFailed, {
 *   name: "Alert",
 *   handle: ({ endpoint, error }) => Effect.log(`${endpoint} gave up: ${error}`)
 * }).pipe(Handler.asynchronous(Errors))
 *
 * const Alerting = Layer.merge(Handler.layer(alert), MessageBus.layerErrorChannel(Errors))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerErrorChannel = <I, Name extends string, C extends Message.AnyClass>(
  channel: TagClass<I, Name, C> & HearsFailures<never, TagClass<I, Name, C>>
): Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | I> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      yield* channel as TagClass<I, Name, C>
      const { defaults } = yield* HandlerRegistry.HandlerRegistry
      const { errorChannel } = defaults
      if (errorChannel !== undefined && errorChannel !== channel.channelName) {
        return yield* Effect.dieMessage(
          `The application has two error channels, "${errorChannel}" and "${channel.channelName}": keep one ` +
            "MessageBus.layerErrorChannel, and give the other to its channels or handlers"
        )
      }
      defaults.errorChannel = channel.channelName
    })
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
