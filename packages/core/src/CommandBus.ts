/**
 * Sends commands to their handler.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Metadata } from "./Envelope.ts"
import { type Entry, HandlerRegistry } from "./HandlerRegistry.ts"
import type { UserHeaders } from "./Headers.ts"
import type { Handles } from "./handler/handles.ts"
import { type Bus, classOf, encode, enqueue, handleNow, inUnit, makeMetadata } from "./internal/dispatch.ts"
import { idempotent } from "./internal/idempotent.ts"
import { intercepted, sending } from "./internal/interception.ts"
import * as Telemetry from "./internal/telemetry.ts"
import { uuidOf } from "./internal/uuid.ts"
import type * as Message from "./Message.ts"
import type { When } from "./MessageScheduler.ts"
import { MessageStore } from "./MessageStore.ts"
import { MessagingError } from "./MessagingError.ts"

/**
 * The command bus.
 *
 * @example
 * ```ts
 * import { CommandBus, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * // like CommandBus.send, but the types do not ask for a handler: without one it dies
 * const ship = Effect.flatMap(CommandBus.CommandBus, (bus) => bus.send(new Ship()))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class CommandBus extends Context.Tag("@holdfast/core/CommandBus")<
  CommandBus,
  {
    readonly send: <M extends Message.Message<"Command", string, any, any, any>>(
      command: M,
      options?: SendOptions
    ) => Effect.Effect<Message.Success<M>, Message.Error<M> | MessagingError>
  }
>() {}

/**
 * How a command is sent.
 *
 * @example
 * ```ts
 * import { CommandBus } from "@holdfast/core"
 *
 * const nightly: CommandBus.SendOptions = { delay: "8 hours", priority: -1, headers: { tenant: "acme" } }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface SendOptions {
  readonly headers?: UserHeaders | undefined
  /** Holds the command back. Only for asynchronous handlers; wins over the handler's own delay. */
  readonly delay?: When | undefined
  /** Holds the command back until an instant. Wins over `delay`. */
  readonly at?: DateTime.DateTime | Date | undefined
  /** The highest whole number is taken first; else the handler's, else 0. Only for asynchronous handlers. */
  readonly priority?: number | undefined
  /**
   * Sends with one key do one thing: later ones, for 7 days, get the first one's answer or declared error; one at the
   * same time waits for it. Keys are per command tag, and the message's id follows from the key, so that
   * `Envelope.idempotencyKey` is the same when a sender that died sends again. Never empty, and not inside another unit
   * of work or transaction.
   */
  readonly idempotencyKey?: string | undefined
}

/**
 * Sends a command and waits for its handler; or, when the handler is asynchronous, until its channel has the command.
 *
 * From outside it is a unit of work of its own; inside one it is a nested scope, visible when the whole commits.
 *
 * @example
 * ```ts
 * import { CommandBus, Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class Pay extends Message.Command<Pay>()("Pay", { payload: { orderId: Schema.String }, success: Schema.String }) {}
 *
 * const receipt = CommandBus.send(new Pay({ orderId: "A1" }), { idempotencyKey: "pay-A1" })
 * ```
 *
 * @since 0.1.0
 * @category sending
 */
export const send = <M extends Message.Message<"Command", string, any, any, any>>(
  command: M,
  options?: SendOptions
): Effect.Effect<Message.Success<M>, Message.Error<M> | MessagingError, CommandBus | Handles<M["_tag"]>> =>
  Effect.flatMap(CommandBus, (bus) => bus.send(command, options))

/**
 * The command bus over the registered handlers.
 *
 * @example
 * ```ts
 * import { CommandBus, HandlerRegistry, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Commands = CommandBus.layer.pipe(Layer.provide([HandlerRegistry.layer, MessageStore.layerMemory]))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<CommandBus, never, HandlerRegistry | MessageStore> = Layer.effect(
  CommandBus,
  Effect.zipWith(MessageStore, HandlerRegistry, (store, registry) => {
    const bus: Bus = { store, registry }
    return CommandBus.of({
      send: (command, options) => sendTo(bus, command, options) as Effect.Effect<any, any>
    })
  })
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const sendTo = (bus: Bus, command: Message.Any, options: SendOptions | undefined): Effect.Effect<unknown, unknown> => {
  const entry = bus.registry.byTag(command._tag)
  if (entry === undefined) return Effect.dieMessage(`No handler is registered for command ${command._tag}`)
  // made once: a unit that is run again handles the same message, under the same key for other systems; and so does a
  // sender that died and comes back with its idempotency key
  const key = options?.idempotencyKey
  const newId = key === undefined ? undefined : uuidOf(`${command._tag}:${key}`)
  const made = makeMetadata(classOf(command), entry.name, options?.headers, newId)
  const sent = Effect.flatMap(sending(bus.registry, command, made, entry), (metadata) => {
    const work =
      entry.route === undefined
        ? sendNow(bus, entry, command, metadata, options)
        : sendLater(bus, entry, command, metadata, options)
    const once = key === undefined ? work : idempotent(bus.store, command, key, work)
    return intercepted(bus.registry, "Bus", command, metadata, entry, once)
  })
  return Telemetry.sending({ operation: "send", tag: command._tag, destination: entry.route?.channel.name }, sent)
}

const sendNow = (
  bus: Bus,
  entry: Entry,
  command: Message.Any,
  metadata: Metadata,
  options: SendOptions | undefined
): Effect.Effect<unknown, unknown> =>
  options?.delay !== undefined || options?.at !== undefined || options?.priority !== undefined
    ? new MessagingError({
        reason: "Rejected",
        detail: `${command._tag} is handled while its sender waits, so it takes no delay or priority: add Handler.asynchronous`
      })
    : handleNow(bus, entry, command, metadata)

const sendLater = (
  bus: Bus,
  entry: Entry,
  command: Message.Any,
  metadata: Metadata,
  options: SendOptions | undefined
): Effect.Effect<void, MessagingError> =>
  inUnit(
    bus.store,
    Effect.flatMap(encode(command, entry), (payload) =>
      enqueue(bus, entry, entry.route!, command, metadata, payload, options)
    )
  ) as Effect.Effect<void, MessagingError>
