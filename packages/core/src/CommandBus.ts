/**
 * Sends commands to their handler.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { Metadata } from "./Envelope.ts"
import { type Entry, HandlerRegistry } from "./HandlerRegistry.ts"
import type { UserHeaders } from "./Headers.ts"
import type { Handles } from "./handler/handles.ts"
import * as Answers from "./internal/answers.ts"
import { type Bus, classOf, handleNow, inUnit, makeMetadata, metadataIn } from "./internal/dispatch.ts"
import { idempotent, keyOf } from "./internal/idempotent.ts"
import { intercepted, sending } from "./internal/interception.ts"
import * as Keys from "./internal/keys.ts"
import { type Addressed, encode, leave, nothing, ready } from "./internal/outgoing.ts"
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
    readonly sendAll: <M extends Message.Message<"Command", string, any, any, any>>(
      commands: Iterable<M>,
      options?: SendAllOptions
    ) => Effect.Effect<Array<Message.Success<M>>, Message.Error<M> | MessagingError>
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
   * `Envelope.idempotencyKey` is the same when a sender that died sends again. A send of another payload under the key
   * is refused with `Rejected`. Never empty, and not inside another unit of work or transaction.
   */
  readonly idempotencyKey?: string | IdempotencyKey | undefined
}

/**
 * An idempotency key, and what else can be said of it.
 *
 * @example
 * ```ts
 * import type { CommandBus } from "@holdfast/core"
 *
 * const click: CommandBus.IdempotencyKey = { key: "click-1", window: "1 day" }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface IdempotencyKey {
  /** At most 255 characters. */
  readonly key: string
  /** For how long the first answer is kept; 7 days when left out. That of the send that does the work counts. */
  readonly window?: Duration.DurationInput | undefined
  /**
   * What becomes of a send whose payload differs from the first one's: it fails with `Rejected` (when left out), or gets
   * the first one's answer, for payloads with ids or times that each try makes anew. Payloads are compared as they are
   * encoded, and only those of one version of the message.
   */
  readonly onOtherPayload?: "Reject" | "Answer" | undefined
}

/**
 * How commands are sent together: what it says is meant for each of them.
 *
 * @example
 * ```ts
 * import type { CommandBus } from "@holdfast/core"
 *
 * const imported: CommandBus.SendAllOptions = { priority: -1, headers: { tenant: "acme" } }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface SendAllOptions extends Omit<SendOptions, "idempotencyKey"> {
  readonly idempotencyKey?: "a key is of one command: use CommandBus.send" | undefined
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
 * Sends commands together, in their order: all of them, or none. Those of asynchronous handlers reach their channels in
 * one statement, so a thousand cost little more than one; the others are handled one after the other, and what they
 * answer comes in the order of the commands.
 *
 * From outside it is one unit of work; inside one it is a nested scope, visible when the whole commits.
 *
 * @example
 * ```ts
 * import { CommandBus, Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class Import extends Message.Command<Import>()("Import", { payload: { row: Schema.Number } }) {}
 *
 * const imports = (rows: ReadonlyArray<number>) => CommandBus.sendAll(rows.map((row) => new Import({ row })))
 * ```
 *
 * @since 0.1.0
 * @category sending
 */
export const sendAll = <M extends Message.Message<"Command", string, any, any, any>>(
  commands: Iterable<M>,
  options?: SendAllOptions
): Effect.Effect<Array<Message.Success<M>>, Message.Error<M> | MessagingError, CommandBus | Handles<M["_tag"]>> =>
  Effect.flatMap(CommandBus, (bus) => bus.sendAll(commands, options))

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
      send: (command, options) =>
        Telemetry.sending(
          () => sendTo(bus, command, options),
          () => ({ operation: "send", tag: command._tag, destination: destinationOf(bus, command) })
        ) as Effect.Effect<any, any>,
      sendAll: (commands, options) =>
        Effect.suspend(() => {
          const all = Array.from(commands)
          return Telemetry.sending(
            (fiber) => sendAllTo(bus, all, options, fiber),
            () => ({
              operation: "send",
              tag: Telemetry.common(all.map(({ _tag }) => _tag)),
              destination: Telemetry.common(all.map((command) => destinationOf(bus, command))),
              count: all.length
            })
          )
        }) as Effect.Effect<Array<any>, any>
    })
  })
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const destinationOf = ({ registry }: Bus, { _tag }: Message.Any): string | undefined =>
  registry.byTag(_tag)?.route?.channel.name

const sendTo = (bus: Bus, command: Message.Any, options: SendOptions | undefined): Effect.Effect<unknown, unknown> => {
  const entry = bus.registry.byTag(command._tag)
  if (entry === undefined) return nobodyHandles(command)
  // made once: a unit that is run again handles the same message, under the same key for other systems; and so does a
  // sender that died and comes back with its idempotency key
  const given = options?.idempotencyKey === undefined ? undefined : keyOf(options.idempotencyKey)
  const newId = given === undefined ? undefined : uuidOf(`${command._tag}:${given.key}`)
  const made = makeMetadata(classOf(command), entry.name, options?.headers, newId)
  return Effect.flatMap(sending(bus.registry, command, made, entry), (metadata) => {
    const work =
      entry.route === undefined
        ? sendNow(bus, entry, command, metadata, options)
        : sendLater(bus, { entry, route: entry.route, message: command, metadata, options })
    const sent = given === undefined ? work : sendOnce(bus, entry, command, given, work)
    return intercepted(bus.registry, "Bus", command, metadata, entry, sent)
  })
}

const sendOnce = (
  bus: Bus,
  entry: Entry,
  command: Message.Any,
  given: IdempotencyKey,
  work: Effect.Effect<unknown, unknown>
): Effect.Effect<unknown, unknown> =>
  Effect.flatMap(Effect.flatMap(encode(command, entry), uuidOf), (fingerprint) => {
    const tag = command._tag
    const answers = Answers.make(classOf(command), fingerprint)
    return idempotent(bus.store, { tag, given, key: Keys.ofSend(tag, given.key), answers }, work)
  })

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

const sendLater = (bus: Bus, addressed: Addressed): Effect.Effect<void, MessagingError> =>
  Effect.withFiberRuntime((fiber) => {
    const encoded = encode(addressed.message, addressed.entry)
    const put = (payload: string) => {
      const outgoing = nothing()
      const refused = ready(bus, outgoing, fiber, addressed, payload)
      return refused ?? leave(bus.store, fiber.currentContext, outgoing)
    }
    return Either.isEither(encoded) && Either.isRight(encoded) ? put(encoded.right) : Effect.flatMap(encoded, put)
  })

/** One after the other in one unit, unless all of them only have to be put on channels. */
const sendAllTo = (
  bus: Bus,
  commands: ReadonlyArray<Message.Any>,
  options: SendAllOptions | undefined,
  fiber: Fiber.RuntimeFiber<any, any>
): Effect.Effect<ReadonlyArray<unknown>, unknown> => {
  if (options?.idempotencyKey !== undefined) return oneKeyForAll
  const { interceptors } = bus.registry
  const outgoing = nothing()
  if (interceptors.at("Bus").length > 0 || interceptors.sending().length > 0) return oneByOne(bus, commands, options)
  for (const command of commands) {
    const entry = bus.registry.byTag(command._tag)
    if (entry === undefined) return nobodyHandles(command)
    const { route } = entry
    if (route === undefined) return oneByOne(bus, commands, options)
    const encoded = encode(command, entry)
    if (!Either.isEither(encoded)) return oneByOne(bus, commands, options)
    if (Either.isLeft(encoded)) return Effect.fail(encoded.left)
    const metadata = metadataIn(fiber, classOf(command), entry.name, options?.headers)
    const addressed = { entry, route, message: command, metadata, options }
    const refused = ready(bus, outgoing, fiber, addressed, encoded.right)
    if (refused !== undefined) return refused
  }
  if (commands.length === 0) return Effect.succeed([])
  return Effect.map(leave(bus.store, fiber.currentContext, outgoing), () => commands.map(() => undefined))
}

const oneByOne = (bus: Bus, commands: ReadonlyArray<Message.Any>, options: SendAllOptions | undefined) =>
  inUnit(
    bus.store,
    Effect.forEach(commands, (command) => sendTo(bus, command, options as SendOptions))
  )

const oneKeyForAll = new MessagingError({
  reason: "Rejected",
  detail: "an idempotencyKey is of one command, and CommandBus.sendAll was given one for all: use CommandBus.send"
})

const nobodyHandles = ({ _tag }: Message.Any): Effect.Effect<never> =>
  Effect.dieMessage(`No handler is registered for command ${_tag}`)
