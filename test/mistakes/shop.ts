/**
 * The shop of docs/mistakes.md, and short ways to the text that a mistake gives.
 */
import {
  Channel,
  CommandBus,
  DeadLetter,
  EventBus,
  Handler,
  Message,
  MessageStore,
  MessagingTest
} from "@holdfast/core"
import { Array as Arr, Cause, Effect, Exit, Layer, Logger, Option, Schema } from "effect"

const payload = { id: Schema.String }

export class PlaceOrder extends Message.Command<PlaceOrder>()("PlaceOrder", { payload }) {}
export class Ship extends Message.Command<Ship>()("Ship", { payload }) {}
export class Import extends Message.Command<Import>()("Import", { payload: { content: Schema.String } }) {}
export class GetTotal extends Message.Query<GetTotal>()("GetTotal", { success: Schema.Number }) {}
export class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", { payload }) {}
export class PaymentReceived extends Message.Event<PaymentReceived>()("PaymentReceived", { payload }) {}

export class Orders extends Channel.Tag<Orders>()("shop/Orders") {}

export const confirm = Handler.event(OrderPlaced, { name: "Confirm", handle: () => Effect.void })
export const placing = Handler.command(PlaceOrder, () => Effect.void)
export const ship = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))

/** Messaging in memory, with the channel. */
export const Memory = Layer.provideMerge(MessagingTest.layer, Channel.layerMemory(Orders))

/** Runs a program with these handlers, in memory. */
export const within = <P, E>(handlers: Layer.Layer<P, E, Layer.Layer.Success<typeof Memory>>) =>
  Effect.provide(Layer.provideMerge(handlers, Memory))

export const placed = (options?: EventBus.PublishOptions) => EventBus.publish(new OrderPlaced({ id: "A1" }), options)
export const shipped = (options?: CommandBus.SendOptions) => CommandBus.send(new Ship({ id: "A1" }), options)

/** Puts something into the store that this program did not write. */
export const write = (write: MessageStore.Write) =>
  Effect.flatMap(MessageStore.MessageStore, (store) => store.commit([[write]]))

export const send = (tag: string, endpoint: string, payload: string, headers: Readonly<Record<string, string>> = {}) =>
  write({
    _tag: "Send",
    channel: Orders.channelName,
    envelope: { id: "1", tag, endpoint, attempt: 1, headers, payload, failures: [] },
    priority: 0,
    due: undefined,
    timer: undefined
  })

/** The error of the one dead letter. */
export const letter = Effect.flatMap(DeadLetter.DeadLetter, (letters) =>
  Effect.map(letters.list(), ([row]) => row?.error.split("\n")[0] ?? "no dead letter")
)

// -- texts -----------------------------------------------------------------------

/** The message of the error with which the effect fails. */
export const fails = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<string, unknown, R> =>
  Effect.map(Effect.flip(effect), textOf)

/** The sentence of the defect with which the effect dies. */
export const dies = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<string, unknown, R> =>
  Effect.flatMap(Effect.exit(effect), (exit) => {
    const died = Exit.isFailure(exit) ? Cause.dieOption(exit.cause) : Option.none()
    return Option.isSome(died) ? Effect.succeed(textOf(died.value)) : Effect.fail(`did not die: ${exit}`)
  })

/** The error or defect with which a layer does not come up. */
export const building = <A, E, R>(layer: Layer.Layer<A, E, R>) => Effect.scoped(Layer.build(layer))

/** The first line of the log that begins so; around the layers of the effect, since handlers keep the loggers of theirs. */
export const logs = <A, E, R>(start: string, effect: Effect.Effect<A, E, R>): Effect.Effect<string, unknown, R> =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const collecting = Logger.make(({ message }) => void lines.push(Arr.ensure(message).map(String).join(" ")))
    return effect.pipe(
      Effect.provide(Logger.add(collecting)),
      Effect.zipRight(
        Effect.suspend(() =>
          Effect.mapError(
            Effect.fromNullable(lines.find((line) => line.startsWith(start))),
            () => `nothing in the log begins with "${start}":\n${lines.join("\n")}`
          )
        )
      )
    )
  })

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
