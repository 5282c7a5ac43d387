/**
 * Publishes events to all who handle them.
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
import { type Bus, classOf, encode, enqueue, handleNow, inUnit, makeMetadata, sendDue } from "./internal/dispatch.ts"
import * as Input from "./internal/input.ts"
import { intercepted, sending } from "./internal/interception.ts"
import * as Journal from "./internal/journal.ts"
import * as Telemetry from "./internal/telemetry.ts"
import type * as Message from "./Message.ts"
import type { When } from "./MessageScheduler.ts"
import { MessageStore } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"
import { UnitOfWork } from "./UnitOfWork.ts"

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
          { operation: "publish", tag: event._tag, destination: event._tag },
          publishTo(bus, event, options)
        ) as Effect.Effect<void, MessagingError, any>
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
    (metadata) => {
      const published = inUnit(bus.store, publishInUnit(bus, event, metadata, options))
      return intercepted(bus.registry, "Bus", event, metadata, undefined, published)
    }
  )

const publishInUnit = (bus: Bus, event: Message.Any, metadata: Metadata, options: PublishOptions | undefined) =>
  Effect.gen(function* () {
    const unit = yield* UnitOfWork
    const due = sendDue(options)
    const priority = options?.priority ?? 0
    yield* Input.reject(Input.time(event._tag, due), Input.priority(event._tag, priority))
    const observe = bus.registry.observe
    if (observe !== undefined) {
      yield* unit.stageAfterCommit(
        Effect.sync(() => observe({ _tag: "Published", message: event, envelope: metadata }))
      )
    }
    const entries = bus.registry.byEvent(event._tag)
    for (const entry of entries) {
      if (entry.route === undefined) yield* handleNow(bus, entry, event, { ...metadata, endpoint: entry.name })
    }
    const routed = entries.filter((entry) => entry.route !== undefined)
    const payload = yield* encode(event, entries[0])
    const recordings = [
      bus.registry.journal,
      ...routed.map(({ route }) => Journal.recordingFor(bus.registry, route?.policy))
    ]
    const lines = Journal.published(recordings, metadata, payload, due)
    if (lines.length > 0) yield* unit.stage(...lines)
    for (const entry of routed) yield* enqueue(bus, entry, entry.route!, event, metadata, payload, options)
    yield* unit.stage({
      _tag: "Publish",
      envelope: { ...metadata, payload, failures: [] },
      priority,
      due,
      except: entries.map((entry: Entry) => entry.name)
    })
  })
