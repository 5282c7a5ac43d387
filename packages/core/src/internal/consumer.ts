import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Channel, Policy } from "../Channel.ts"
import type { HandlerRegistry } from "../HandlerRegistry.ts"
import type { Delivery, Encoded } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import { type Consuming, deliver, noteClaim } from "./deliver.ts"
import * as Source from "./source.ts"

/** @internal */
export interface Parts extends Consuming {
  /** The handlers on this channel, by name. */
  readonly endpoints: () => ReadonlyArray<string>
  readonly inFlight: Map<Delivery, Fiber.RuntimeFiber<unknown>>
  readonly lost: Set<Delivery>
  readonly state: { stopping: boolean; slotFreed: () => void }
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
  const state = { stopping: false, slotFreed: () => {} }
  return {
    store,
    registry,
    source: Source.make(store, channel, options),
    policy,
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

/** @internal */
export interface RunOptions {
  readonly concurrency: number
  readonly leaseMillis: number
  readonly pollMillis: number
  readonly drainMillis: number
}

/** Claims and renews in the background until the scope closes, then drains. @internal */
export const run = (parts: Parts, options: RunOptions): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    // closing goes the other way round: no more claims, then the drain, and leases are renewed to its end
    yield* Effect.forkScoped(Effect.interruptible(renewForever(parts, options)))
    yield* Effect.addFinalizer(() => stop(parts, options))
    yield* Effect.forkScoped(Effect.interruptible(claimForever(parts, options)))
  })

/** Handles what is waiting, one message after the other, and answers how many that was. @internal */
export const drain = (parts: Parts, options: Pick<RunOptions, "leaseMillis">): Effect.Effect<number, MessagingError> =>
  Effect.gen(function* () {
    yield* Effect.forkScoped(renewForever(parts, options))
    let handled = 0
    while (yield* drainOne(parts)) handled++
    return handled
  }).pipe(Effect.scoped)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Answers whether there was a message. One that is interrupted gives it back. */
const drainOne = (parts: Parts): Effect.Effect<boolean, MessagingError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.tap(parts.source.claim(1), noteClaim), ([delivery]) => {
      if (delivery === undefined) return Effect.succeed(false)
      // its own fiber, whatever the handler does to it
      return Effect.flatMap(start(parts, delivery), (fiber) => {
        const giveBack = Effect.suspend(() => {
          parts.state.stopping = true
          return Fiber.interrupt(fiber)
        })
        return Effect.as(
          Effect.onInterrupt(restore(Fiber.await(fiber)), () => giveBack),
          true
        )
      })
    })
  )

/** Never claims more than there are free slots: what is claimed is being handled, and memory stays bounded. */
const claimForever = (parts: Parts, options: RunOptions): Effect.Effect<never> =>
  Effect.forever(
    Effect.gen(function* () {
      const free = options.concurrency - parts.inFlight.size
      if (free <= 0) return yield* freeSlot(parts, options.concurrency)
      const deliveries = yield* claim(parts, free)
      if (deliveries.length < free) yield* parts.source.wake(options.pollMillis)
    })
  )

/** One step that cannot be cut in two: what the store has leased to us, we handle. */
const claim = (parts: Parts, limit: number): Effect.Effect<ReadonlyArray<Delivery>> =>
  parts.source.claim(limit).pipe(
    Effect.tap(noteClaim),
    Effect.tap((deliveries) => Effect.forEach(deliveries, (delivery) => start(parts, delivery), { discard: true })),
    Effect.uninterruptible,
    // also after a defect: a consumer that stopped without a word would need a human
    Effect.sandbox,
    Effect.tapError((cause) => Effect.logWarning("Claiming failed; trying again", cause)),
    Effect.retry(backoff),
    Effect.orDie
  )

const backoff = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")), Schedule.jittered)

const start = (parts: Parts, delivery: Delivery): Effect.Effect<Fiber.RuntimeFiber<unknown>> =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkDaemon(Effect.interruptible(deliver(parts, delivery)))
    parts.inFlight.set(delivery, fiber)
    fiber.addObserver(() => {
      parts.inFlight.delete(delivery)
      parts.lost.delete(delivery)
      parts.state.slotFreed()
    })
    return fiber
  })

const freeSlot = (parts: Parts, concurrency: number): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    if (parts.inFlight.size < concurrency) return resume(Effect.void)
    parts.state.slotFreed = () => resume(Effect.void)
  })

/** Off the work path: a handler that blocks nothing but itself keeps its lease. */
const renewForever = (parts: Parts, options: Pick<RunOptions, "leaseMillis">): Effect.Effect<never> =>
  Effect.flatMap(Clock.currentTimeMillis, (started) => {
    let renewedAt = started
    const renew = Effect.gen(function* () {
      yield* Effect.sleep(Math.floor(options.leaseMillis / 3))
      const deliveries = [...parts.inFlight.keys()]
      const now = yield* Clock.currentTimeMillis
      const lost =
        deliveries.length === 0
          ? Either.right([])
          : yield* Effect.either(Effect.sandbox(parts.source.renew(deliveries)))
      if (Either.isRight(lost)) renewedAt = now
      // without an answer for a whole lease, all of them are somebody else's by now
      const gone = Either.isRight(lost) ? lost.right : now - renewedAt >= options.leaseMillis ? deliveries : []
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
const stop = (parts: Parts, options: RunOptions): Effect.Effect<void> =>
  Effect.gen(function* () {
    const fibers = () => [...parts.inFlight.values()]
    yield* Effect.forEach(fibers(), Fiber.await, { concurrency: "unbounded", discard: true }).pipe(
      Effect.interruptible,
      Effect.timeoutOption(options.drainMillis)
    )
    parts.state.stopping = true
    yield* Fiber.interruptAll(fibers())
  })
