import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { HandlerRegistry } from "../HandlerRegistry.ts"
import { type Encoded, MessageStore, type Subscription } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"

// What is told of how a system is put together: warnings in the log that say what to do, never failures.

/** Tells all processes that the channel has a consumer, for as long as the scope is open. @internal */
export const heartbeat = (store: Encoded, channel: string): Effect.Effect<void, never, Scope.Scope> => {
  const beat = quietly(store.heartbeat(channel), "The consumer's heartbeat was not stored; trying again")
  return Effect.zipRight(beat, Effect.forkScoped(Effect.schedule(beat, Schedule.spaced("30 seconds"))))
}

/** Warns when the channel is paused, and of its subscriptions for which there is no handler here. @internal */
export const warnOfChannel = (store: Encoded, registry: HandlerRegistry["Type"], channel: string) =>
  Effect.gen(function* () {
    const subscriptions = yield* store.subscriptions
    const unhandled = subscriptions.filter((_) => _.channel === channel && registry.byName(_.endpoint)?.local !== true)
    yield* Effect.forEach(unhandled, warnOfSubscription, { discard: true })
    if ((yield* store.paused).includes(channel)) {
      yield* Effect.logWarning(`Channel "${channel}" is paused: nothing is taken from it until Consumer.resume`)
    }
  }).pipe((check) => quietly(check, "The channel's subscriptions could not be checked"))

/**
 * Warns, a while after it is built, of channels that have handlers in this process and a consumer in none.
 *
 * @internal
 */
export const watch: Layer.Layer<never, never, HandlerRegistry | MessageStore> = Layer.scopedDiscard(
  Effect.gen(function* () {
    const registry = yield* HandlerRegistry
    const store = yield* MessageStore
    yield* warnOfUnconsumed(store, registry).pipe(Effect.delay("10 seconds"), Effect.forkScoped)
  })
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const quietly = (effect: Effect.Effect<void, MessagingError>, otherwise: string): Effect.Effect<void> =>
  Effect.catchAllCause(effect, (cause) => Effect.logDebug(otherwise, cause))

const warnOfSubscription = ({ channel, endpoint, tag }: Subscription): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWarning(
      `"${endpoint}" subscribes to ${tag} on channel "${channel}", but no handler here has that name: its copies wait ` +
        "for a consumer that has it. If the handler was renamed or removed for good, end its subscriptions with " +
        `Consumer.unsubscribe("${endpoint}")`
    ),
    { endpoint, event: tag }
  )

/** Three heartbeats may be missed. */
const goneAfterMillis = 2 * 60 * 1000

const warnOfUnconsumed = (store: Encoded, registry: HandlerRegistry["Type"]): Effect.Effect<void> =>
  Effect.gen(function* () {
    const here = registry
      .all()
      .flatMap(({ local, name, route }) =>
        local && route !== undefined ? [{ name, channel: route.channel.name }] : []
      )
    if (here.length === 0) return
    const consumed = new Set(yield* store.consumed(goneAfterMillis))
    for (const [channel, endpoints] of Object.entries(Arr.groupBy(here, (_) => _.channel))) {
      if (!consumed.has(channel)) yield* warnOfNoConsumer(channel, endpoints.map((_) => _.name).join(", "))
    }
  }).pipe((check) => quietly(check, "It could not be checked whether all channels are consumed"))

const warnOfNoConsumer = (channel: string, endpoints: string): Effect.Effect<void> =>
  Effect.annotateLogs(
    Effect.logWarning(
      `Nobody consumes channel "${channel}": what is sent to ${endpoints} waits. Run Consumer.layer for it, here or in ` +
        "another process; a process that only sends registers these handlers with Handler.routes, not Handler.layer"
    ),
    { package: "@holdfast/core", module: "MessageBus", channel, endpoints }
  )
