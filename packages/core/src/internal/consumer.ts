import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Channel, Policy } from "../Channel.ts"
import type { HandlerRegistry } from "../HandlerRegistry.ts"
import type { Delivery, Encoded } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import { type Consuming, deliver, noteClaim } from "./deliver.ts"
import * as Flow from "./flow.ts"
import * as Source from "./source.ts"

/** @internal */
export interface Parts extends Consuming {
  /** The handlers on this channel, by name. */
  readonly endpoints: () => ReadonlyArray<string>
  readonly inFlight: Map<Delivery, Fiber.RuntimeFiber<unknown>>
  readonly lost: Set<Delivery>
  /** `handled` counts what it has settled: not what it gave back or lost. */
  readonly state: { stopping: boolean; handled: number; slotFreed: () => void }
}

/** @internal */
export const make = (
  store: Encoded,
  registry: HandlerRegistry["Type"],
  channel: Channel,
  policy: Policy,
  options: { readonly leaseMillis: number; readonly owner: string }
): Parts => {
  const lost = new Set<Delivery>()
  const state = { stopping: false, handled: 0, slotFreed: () => {} }
  const source = Source.make(store, channel, options)
  return {
    store,
    registry,
    source,
    policy,
    flow: Flow.make(store, registry, source, policy, options),
    inFlight: new Map(),
    lost,
    state,
    endpoints: () =>
      registry
        .all()
        .filter((entry) => entry.local && entry.route?.channel.name === channel.name)
        .map((entry) => entry.name),
    interrupted: (delivery) => (lost.has(delivery) ? "Lost" : state.stopping ? "Stopping" : undefined)
  }
}

/** Renews the leases of what is in flight until the scope closes; then drains. @internal */
export const open = (
  parts: Parts,
  options: { readonly leaseMillis: number; readonly drainMillis: number }
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    // closing goes the other way round: first the drain, and leases are renewed to its end
    yield* Effect.forkScoped(Effect.interruptible(renewForever(parts, options.leaseMillis)))
    yield* Effect.addFinalizer(() => stop(parts, options.drainMillis))
  })

/** Handles a message in a fiber of its own, whatever becomes of whoever claimed it. @internal */
export const start = (parts: Parts, delivery: Delivery): Effect.Effect<Fiber.RuntimeFiber<unknown>> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(deliver(parts, delivery)))
    parts.inFlight.set(delivery, fiber)
    fiber.addObserver((exit) => {
      parts.inFlight.delete(delivery)
      parts.lost.delete(delivery)
      if (Exit.isSuccess(exit) && !isGivenBack(exit.value) && exit.value !== "Lost") parts.state.handled++
      parts.state.slotFreed()
    })
    return fiber
  })

/** Handles what is waiting, one message after the other, and answers how many that was. @internal */
export const drain = (parts: Parts, options: { readonly leaseMillis: number }): Effect.Effect<number, MessagingError> =>
  Effect.gen(function* () {
    yield* Effect.forkScoped(renewForever(parts, options.leaseMillis))
    let handled = 0
    do {
      for (let drained = yield* drainOne(parts); drained !== "Empty"; drained = yield* drainOne(parts)) {
        if (drained === "Drained") handled++
      }
    } while (yield* letGo(parts))
    return handled
  }).pipe(Effect.scoped)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const isGivenBack = (outcome: unknown): boolean => outcome === "Released" || outcome === "Held"

/** What was set aside does not count. A message that is interrupted gives it back. */
const drainOne = (parts: Parts): Effect.Effect<"Drained" | "Held" | "Empty", MessagingError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.zipRight(parts.flow.fresh, Effect.tap(parts.source.claim(1), noteClaim)), ([delivery]) => {
      if (delivery === undefined) return Effect.succeed("Empty" as const)
      // its own fiber, whatever the handler does to it
      return Effect.flatMap(start(parts, delivery), (fiber) => {
        const giveBack = Effect.suspend(() => {
          parts.state.stopping = true
          return Fiber.interrupt(fiber)
        })
        return Effect.map(
          Effect.onInterrupt(restore(Fiber.await(fiber)), () => giveBack),
          (exit) => (Exit.isSuccess(exit) && exit.value === "Held" ? "Held" : "Drained")
        )
      })
    })
  )

/** Answers whether a limit has let messages go that it held. */
const letGo = ({ flow, source, store }: Parts): Effect.Effect<boolean, MessagingError> =>
  Effect.gen(function* () {
    const before = yield* store.depth(source.channel)
    if (before.held === undefined || !(yield* flow.refresh)) return false
    const after = yield* store.depth(source.channel)
    return (after.held ?? 0) < before.held
  })

/** Off the work path: a handler that blocks nothing but itself keeps its lease. */
const renewForever = (parts: Parts, leaseMillis: number): Effect.Effect<never> =>
  Effect.flatMap(Clock.currentTimeMillis, (started) => {
    let renewedAt = started
    const renew = Effect.gen(function* () {
      yield* Effect.sleep(Math.floor(leaseMillis / 3))
      yield* parts.flow.renew
      const deliveries = [...parts.inFlight.keys()]
      const now = yield* Clock.currentTimeMillis
      const lost =
        deliveries.length === 0
          ? Either.right([])
          : yield* Effect.either(Effect.sandbox(parts.source.renew(deliveries)))
      if (Either.isRight(lost)) renewedAt = now
      // without an answer for a whole lease, all of them are somebody else's by now
      const gone = Either.isRight(lost) ? lost.right : now - renewedAt >= leaseMillis ? deliveries : []
      yield* Effect.forEach(gone, (delivery) => abandon(parts, delivery), { discard: true })
    })
    return Effect.forever(renew)
  })

const abandon = (parts: Parts, delivery: Delivery): Effect.Effect<void> =>
  Effect.suspend(() => {
    const fiber = parts.inFlight.get(delivery)
    if (fiber === undefined) return Effect.void
    parts.lost.add(delivery)
    return Effect.asVoid(Fiber.interruptFork(fiber))
  })

/** Takes nothing new, lets handlers finish, interrupts and gives back the rest. */
const stop = (parts: Parts, drainMillis: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const fibers = () => [...parts.inFlight.values()]
    yield* Effect.forEach(fibers(), Fiber.await, { concurrency: "unbounded", discard: true }).pipe(
      Effect.interruptible,
      Effect.timeoutOption(drainMillis)
    )
    parts.state.stopping = true
    yield* Fiber.interruptAll(fibers())
  })
