/**
 * Publishes events to all who handle them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { Metadata } from "./Envelope.ts"
import { type Entry, HandlerRegistry } from "./HandlerRegistry.ts"
import type { UserHeaders } from "./Headers.ts"
import { type Bus, classOf, handleNow, inUnit, makeMetadata, metadataIn } from "./internal/dispatch.ts"
import * as Input from "./internal/input.ts"
import { intercepted, sending } from "./internal/interception.ts"
import * as Journal from "./internal/journal.ts"
import { encode, leave, nothing, type Outgoing, ready, sendDue } from "./internal/outgoing.ts"
import * as Telemetry from "./internal/telemetry.ts"
import type * as Message from "./Message.ts"
import type { When } from "./MessageScheduler.ts"
import { MessageStore } from "./MessageStore.ts"
import { MessagingError } from "./MessagingError.ts"

/**
 * The event bus.
 *
 * @example
 * ```ts
 * import { EventBus, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const tick = Effect.flatMap(EventBus.EventBus, (bus) => bus.publish(new Tick()))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class EventBus extends Context.Tag("@holdfast/core/EventBus")<
  EventBus,
  {
    readonly publish: <M extends Message.Message<"Event", string, any, any, any>>(
      event: M,
      options?: PublishOptions
    ) => Effect.Effect<void, MessagingError, Message.Requirements<M>>
    readonly publishAll: <M extends Message.Message<"Event", string, any, any, any>>(
      events: Iterable<M>,
      options?: PublishOptions
    ) => Effect.Effect<void, MessagingError, Message.Requirements<M>>
  }
>() {}

/**
 * How an event is published.
 *
 * @example
 * ```ts
 * import { EventBus, Message } from "@holdfast/core"
 *
 * class Tick extends Message.Event<Tick>()("Tick") {}
 *
 * const later: EventBus.PublishOptions = { delay: "10 minutes", headers: { tenant: "acme" } }
 * const tick = EventBus.publish(new Tick(), later)
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface PublishOptions {
  readonly headers?: UserHeaders | undefined
  /** Holds the copies of asynchronous handlers back. Wins over the delay of a handler. */
  readonly delay?: When | undefined
  /** Holds the copies back until an instant. Wins over `delay`. */
  readonly at?: DateTime.DateTime | Date | undefined
  /** Copies with a higher priority are taken first. Else the handler's, else 0. */
  readonly priority?: number | undefined
}

/**
 * Publishes an event. Each synchronous handler runs now, in registration order, in a scope of its own inside the
 * publisher's unit of work; each asynchronous one gets a copy, in the same unit, visible once it commits.
 *
 * Copies go to the handlers known in this process and to every subscription that a consumer anywhere has left in the
 * store, so that no copy is lost while old and new processes run side by side. All copies share the message's id.
 *
 * Whoever publishes provides what the event's schema needs, since there may be no handler that does.
 *
 * @example
 * ```ts
 * import { EventBus, Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", { payload: { orderId: Schema.String } }) {}
 *
 * const placed = EventBus.publish(new OrderPlaced({ orderId: "A1" }), { headers: { tenant: "acme" } })
 * ```
 *
 * @since 0.1.0
 * @category publishing
 */
export const publish = <M extends Message.Message<"Event", string, any, any, any>>(
  event: M,
  options?: PublishOptions
): Effect.Effect<void, MessagingError, EventBus | Message.Requirements<M>> =>
  Effect.flatMap(EventBus, (bus) => bus.publish(event, options))

/**
 * Publishes events together, in their order: all of them, or none. The copies of asynchronous handlers reach their
 * channels in one statement. From outside it is one unit of work; inside one it is a nested scope.
 *
 * @example
 * ```ts
 * import { EventBus, Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class Counted extends Message.Event<Counted>()("Counted", { payload: { sku: Schema.String } }) {}
 *
 * const counted = (skus: ReadonlyArray<string>) => EventBus.publishAll(skus.map((sku) => new Counted({ sku })))
 * ```
 *
 * @since 0.1.0
 * @category publishing
 */
export const publishAll = <M extends Message.Message<"Event", string, any, any, any>>(
  events: Iterable<M>,
  options?: PublishOptions
): Effect.Effect<void, MessagingError, EventBus | Message.Requirements<M>> =>
  Effect.flatMap(EventBus, (bus) => bus.publishAll(events, options))

/**
 * The event bus over the registered handlers and the store's subscriptions.
 *
 * @example
 * ```ts
 * import { EventBus, HandlerRegistry, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Events = EventBus.layer.pipe(Layer.provide([HandlerRegistry.layer, MessageStore.layerMemory]))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<EventBus, never, HandlerRegistry | MessageStore> = Layer.effect(
  EventBus,
  Effect.zipWith(MessageStore, HandlerRegistry, (store, registry) => {
    const bus: Bus = { store, registry }
    return EventBus.of({
      publish: (event, options) =>
        Telemetry.sending(
          () => publishTo(bus, event, options),
          () => ({ operation: "publish", tag: event._tag, destination: event._tag })
        ) as Effect.Effect<void, MessagingError, any>,
      publishAll: (events, options) =>
        Effect.suspend(() => {
          const all = Array.from(events)
          return Telemetry.sending(
            (fiber) => publishAllTo(bus, all, options, fiber),
            () => {
              const tag = Telemetry.common(all.map(({ _tag }) => _tag))
              return { operation: "publish", tag, destination: tag, count: all.length }
            }
          )
        }) as Effect.Effect<void, MessagingError, any>
    })
  })
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const publishTo = (bus: Bus, event: Message.Any, options: PublishOptions | undefined) =>
  // made once: a unit that is run again publishes the same event
  Effect.flatMap(
    sending(bus.registry, event, makeMetadata(classOf(event), "", options?.headers), undefined),
    (metadata) => intercepted(bus.registry, "Bus", event, metadata, undefined, put(bus, event, metadata, options))
  )

/** Where nobody handles it at once, its copies only have to be put on channels. */
const put = (bus: Bus, event: Message.Any, metadata: Metadata, options: PublishOptions | undefined) =>
  Effect.withFiberRuntime<void, unknown>((fiber) => {
    const entries = bus.registry.byEvent(event._tag)
    const inTurn = inUnit(bus.store, publishInUnit(bus, event, metadata, options))
    if (entries.some(isSynchronous)) return inTurn
    const encoded = encode(event, entries[0])
    if (!Either.isEither(encoded)) return inTurn
    if (Either.isLeft(encoded)) return Effect.fail(encoded.left)
    const outgoing = nothing()
    tell(bus, outgoing, event, metadata)
    const refused = readyCopies(bus, outgoing, fiber, event, metadata, encoded.right, options)
    return refused ?? leave(bus.store, fiber.currentContext, outgoing)
  })

const tell = ({ registry: { observe } }: Bus, { told }: Outgoing, message: Message.Any, envelope: Metadata) => {
  if (observe !== undefined) told.push(() => observe({ _tag: "Published", message, envelope }))
}

const isSynchronous = ({ route }: Entry): boolean => route === undefined

/** Makes the copies ready for handlers that this process knows, and one for those that it does not. */
const readyCopies = (
  bus: Bus,
  outgoing: Outgoing,
  fiber: Fiber.RuntimeFiber<any, any>,
  event: Message.Any,
  metadata: Metadata,
  payload: string,
  options: PublishOptions | undefined
): Effect.Effect<never, MessagingError> | undefined => {
  const due = sendDue(options)
  const priority = options?.priority ?? 0
  const problem = Input.time(event._tag, due) ?? Input.priority(event._tag, priority)
  if (problem !== undefined) return new MessagingError({ reason: "Rejected", detail: problem })
  const entries = bus.registry.byEvent(event._tag)
  const recording = recordingOf(bus, entries)
  if (recording.all) outgoing.writes.push(...Journal.published(recording, metadata, payload, due))
  for (const entry of entries) {
    if (entry.route === undefined) continue
    const addressed = { entry, route: entry.route, message: event, metadata, options }
    const refused = ready(bus, outgoing, fiber, addressed, payload)
    if (refused !== undefined) return refused
  }
  const except = entries.map(({ name }) => name)
  outgoing.writes.push({ _tag: "Publish", envelope: { ...metadata, payload, failures: [] }, priority, due, except })
  return undefined
}

/** Written down when one of the copies is, or all that is. */
const recordingOf = ({ registry }: Bus, entries: ReadonlyArray<Entry>): Journal.Recording => {
  let recording = registry.journal
  for (const { route } of entries) {
    if (route !== undefined) recording = Journal.wider(recording, Journal.recordingFor(registry, route.policy))
  }
  return recording
}

const publishInUnit = (bus: Bus, event: Message.Any, metadata: Metadata, options: PublishOptions | undefined) =>
  Effect.gen(function* () {
    const due = sendDue(options)
    const priority = options?.priority ?? 0
    yield* Input.reject(Input.time(event._tag, due), Input.priority(event._tag, priority))
    const published = nothing()
    tell(bus, published, event, metadata)
    yield* Effect.contextWithEffect((context: Context.Context<never>) => leave(bus.store, context, published))
    const entries = bus.registry.byEvent(event._tag)
    for (const entry of entries) {
      if (entry.route === undefined) yield* handleNow(bus, entry, event, { ...metadata, endpoint: entry.name })
    }
    const payload = yield* encode(event, entries[0])
    yield* Effect.withFiberRuntime<void, MessagingError>((fiber) => {
      const outgoing = nothing()
      const refused = readyCopies(bus, outgoing, fiber, event, metadata, payload, options)
      return refused ?? leave(bus.store, fiber.currentContext, outgoing)
    })
  })

/** One after the other in one unit, unless all of them only have to be put on channels. */
const publishAllTo = (
  bus: Bus,
  events: ReadonlyArray<Message.Any>,
  options: PublishOptions | undefined,
  fiber: Fiber.RuntimeFiber<any, any>
): Effect.Effect<void, unknown> => {
  const { interceptors } = bus.registry
  const outgoing = nothing()
  const oneByOne = () =>
    inUnit(
      bus.store,
      Effect.forEach(events, (event) => publishTo(bus, event, options), { discard: true })
    )
  if (interceptors.at("Bus").length > 0 || interceptors.sending().length > 0) return oneByOne()
  for (const event of events) {
    const entries = bus.registry.byEvent(event._tag)
    if (entries.some(isSynchronous)) return oneByOne()
    const encoded = encode(event, entries[0])
    if (!Either.isEither(encoded)) return oneByOne()
    if (Either.isLeft(encoded)) return Effect.fail(encoded.left)
    const metadata = metadataIn(fiber, classOf(event), "", options?.headers)
    tell(bus, outgoing, event, metadata)
    const refused = readyCopies(bus, outgoing, fiber, event, metadata, encoded.right, options)
    if (refused !== undefined) return refused
  }
  return events.length === 0 ? Effect.void : leave(bus.store, fiber.currentContext, outgoing)
}
