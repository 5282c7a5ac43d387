import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { Channel, Policy } from "../Channel.ts"
import type { HandlerRegistry } from "../HandlerRegistry.ts"
import type { Delivery, Encoded } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import type { Consuming, Outcome } from "./deliver.ts"
import * as Flow from "./flow.ts"
import * as Handling from "./handling.ts"
import { recordingFor } from "./journal.ts"
import { giveBack } from "./outcome.ts"
import { type Batch, type Hand, Slots } from "./slots.ts"
import * as Source from "./source.ts"
import * as Telemetry from "./telemetry.ts"

/** @internal */
export interface Parts extends Consuming {
  /** The handlers on this channel, by name. */
  readonly endpoints: () => ReadonlyArray<string>
  readonly slots: Slots<Handling.Prepared>
  readonly plans: Map<string, Map<string, Handling.Plan>>
  /** What the consumer was built with: what follows a handler runs in it. */
  readonly runtime: Runtime.Runtime<never>
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.RuntimeFiber<A, E>
  readonly nanos: () => bigint
  readonly millis: () => number
  /** Handlers that ended well, and for how many turns they wait to be committed together. */
  ended: Array<Handling.Ended>
  turns: number
  /** A message has had its end, for this time. */
  readonly settled: (hand: Hand<Handling.Prepared>, outcome: Outcome) => void
  /** `held` counts what was set aside, `stops` how often a message has stopped the channel. */
  readonly state: { stopping: boolean; held: number; stops: number }
}

/** @internal */
export interface Options {
  readonly leaseMillis: number
  readonly owner: string
  readonly concurrency: number
}

/** @internal */
export const make = (
  store: Encoded,
  registry: HandlerRegistry["Type"],
  channel: Channel,
  policy: Policy,
  options: Options
): Effect.Effect<Parts> =>
  Effect.map(Effect.runtime<never>(), (built) => {
    const runtime = Runtime.make({
      context: built.context,
      fiberRefs: built.fiberRefs,
      runtimeFlags: RuntimeFlags.enable(built.runtimeFlags, RuntimeFlags.Interruption)
    })
    const clock = Context.get(Telemetry.servicesOf(runtime.fiberRefs), Clock.Clock)
    const source = Source.make(store, channel, options)
    const state = { stopping: false, held: 0, stops: 0 }
    const slots: Slots<Handling.Prepared> = new Slots(options.concurrency, source.stored ? mostAhead : 0, {
      begin: (hand) => Handling.begin(parts, hand),
      turned: (again) => commitTogether(parts, again),
      start: (batch, started) => parts.fork(start(parts, batch)).addObserver(started)
    })
    const parts: Parts = {
      store,
      registry,
      source,
      policy,
      recording: recordingFor(registry, policy),
      flow: Flow.make(store, registry, source, policy, options),
      slots,
      state,
      runtime,
      plans: new Map(),
      ended: [],
      turns: 0,
      fork: (effect) => Runtime.runFork(runtime, effect),
      nanos: () => clock.unsafeCurrentTimeNanos(),
      millis: () => clock.unsafeCurrentTimeMillis(),
      settled: (hand, outcome) => {
        if (outcome === "Held") state.held++
        slots.settled(hand, !untouched.has(outcome))
      },
      stopped: Effect.suspend(() => {
        state.stops++
        return putBack(parts)
      }),
      oneAtATime: (delivery, key, effect) => Handling.inTurn(parts, delivery, key, effect),
      claimedHere: (delivery) => slots.hands.get(delivery)?.claimedHere,
      interrupted: (delivery) => (slots.hands.get(delivery)?.lost ? "Lost" : state.stopping ? "Stopping" : undefined),
      endpoints: () =>
        registry
          .all()
          .filter((entry) => entry.local && entry.route?.channel.name === channel.name)
          .map((entry) => entry.name)
    }
    return parts
  })

/** How a message ends that was not settled: it comes again as it was. */
const untouched: ReadonlySet<Outcome> = new Set<Outcome>(["Held", "Released", "Lost", "Stopped"])

/** Renews the leases of what is in flight until the scope closes; then drains. @internal */
export const open = (
  parts: Parts,
  options: { readonly leaseMillis: number; readonly drainMillis: number }
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    // closing goes the other way round: first the drain, and leases are renewed to its end
    yield* Effect.forkScoped(Effect.interruptible(renewForever(parts, options.leaseMillis)))
    yield* Effect.forkScoped(Effect.interruptible(learnForever(parts)))
    yield* Effect.addFinalizer(() => stop(parts, options.drainMillis))
  })

/** Claims messages and takes them in hand: one step that cannot be cut in two. Answers how many. @internal */
export const claim = (parts: Parts, limit: number, ahead: boolean): Effect.Effect<number, MessagingError> =>
  Effect.suspend(() => {
    const { slots, state } = parts
    const { stops } = state
    return Effect.flatMap(
      Effect.zip(claimFresh(parts, limit, ahead), Clock.currentTimeMillis),
      ([deliveries, now]): Effect.Effect<number> => {
        // it was under way when the channel was stopped
        if (state.stops !== stops && deliveries.length > 0) return Effect.as(giveBack(parts, deliveries, 0), 0)
        slots.take(deliveries, now, ahead)
        if (deliveries.length === limit) slots.pace.full()
        return Effect.succeed(deliveries.length)
      }
    )
  }).pipe(Effect.uninterruptible)

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

/** Gives back what was claimed and not begun. @internal */
export const putBack = (
  parts: Parts,
  select: (hand: Hand<Handling.Prepared>) => boolean = () => true
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const hands = parts.slots.withdraw(select)
    if (hands.length === 0) return Effect.void
    parts.slots.pace.forget()
    for (const hand of hands) Handling.leave(parts, hand)
    return Effect.map(
      giveBack(
        parts,
        hands.map(({ delivery }) => delivery),
        0
      ),
      () => {
        for (const hand of hands) parts.settled(hand, "Released")
      }
    )
  }).pipe(Effect.uninterruptible)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** How many messages of a store are held at most, begun or not. */
const mostAhead = 1_000

/** For how many turns on end, and how many messages, a busy consumer puts off a commit: a large one costs less of each. */
const mostTurns = 3
const manyEnded = 400

/** Once it is lost nobody begins with it: then its renewal says so, and it is not in line any more. */
const start = ({ source }: Parts, { deliveries }: Batch): Effect.Effect<void> =>
  source.started(deliveries).pipe(
    Effect.sandbox,
    Effect.tapError((cause) => Effect.logWarning("What was claimed ahead could not be begun; trying again", cause)),
    Effect.retry(Schedule.spaced("500 millis")),
    Effect.orDie
  )

const commitTogether = (parts: Parts, again: boolean): void => {
  if (parts.ended.length === 0) return
  if (again && ++parts.turns < mostTurns && parts.ended.length < manyEnded) return
  const { ended } = parts
  parts.ended = []
  parts.turns = 0
  Handling.commitTogether(parts, ended)
}

/** What is paused is known before anything is claimed; and before it is begun, where claiming took long. */
const claimFresh = ({ flow, source }: Parts, limit: number, ahead: boolean) =>
  Effect.zipRight(flow.fresh, source.claim(limit, ahead)).pipe(
    Effect.tap((deliveries) => (deliveries.length === 0 ? Effect.void : quietly(flow.fresh)))
  )

const quietly = (learned: Effect.Effect<void, MessagingError>) =>
  Effect.catchAllCause(learned, (cause) =>
    Effect.logDebug("It could not be learned what is paused; trying again", cause)
  )

/** What was set aside does not count. A message that is interrupted gives it back. */
const drainOne = (parts: Parts): Effect.Effect<"Drained" | "Held" | "Empty", MessagingError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(claim(parts, 1, false), (claimed) => {
      if (claimed === 0) return Effect.succeed("Empty" as const)
      const before = parts.state.held
      const settled = parts.slots.until(() => parts.slots.hands.size === 0)
      const ended = Effect.onInterrupt(restore(settled), () => Effect.zipRight(interrupt(parts), settled))
      return Effect.map(ended, () => (parts.state.held > before ? "Held" : "Drained"))
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
    let newest = 0
    const renew = Effect.gen(function* () {
      yield* Effect.sleep(Math.floor(leaseMillis / 3))
      yield* parts.flow.renew
      const deliveries = [...parts.slots.hands.keys()]
      const now = yield* Clock.currentTimeMillis
      const lost =
        deliveries.length === 0
          ? Either.right([])
          : yield* Effect.either(Effect.sandbox(parts.source.renew(deliveries)))
      if (Either.isRight(lost)) renewedAt = now
      // without an answer for a whole lease, all of them are somebody else's by now
      const gone = Either.isRight(lost) ? lost.right : now - renewedAt >= leaseMillis ? deliveries : []
      for (const delivery of gone) abandon(parts, delivery)
      // handlers are slower than they were: others may have what waits here, all of it, so that it keeps its order
      const waiting = newest
      newest = parts.slots.newest
      if (parts.slots.oldest < waiting) {
        yield* putBack(parts, ({ prepared, stage }) => stage === "Ready" && prepared?.inside !== true)
      }
    })
    return Effect.forever(renew)
  })

/** What waits in line heeds a pause that began since it was claimed. */
const learnForever = (parts: Parts): Effect.Effect<never> =>
  Effect.sleep("1 second").pipe(
    Effect.zipRight(Effect.suspend(() => (parts.slots.waits ? quietly(parts.flow.fresh) : Effect.void))),
    Effect.forever
  )

const abandon = (parts: Parts, delivery: Delivery): void => {
  const hand = parts.slots.hands.get(delivery)
  if (hand === undefined) return
  hand.lost = true
  hand.fiber?.unsafeInterruptAsFork(FiberId.none)
  for (const unbegun of parts.slots.withdraw((each) => each === hand)) {
    Handling.leave(parts, unbegun)
    parts.settled(unbegun, "Lost")
  }
}

/** Takes nothing new, lets handlers finish, interrupts and gives back the rest. */
const stop = (parts: Parts, drainMillis: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { slots } = parts
    const empty = slots.until(() => slots.hands.size === 0)
    yield* putBack(parts)
    yield* empty.pipe(Effect.interruptible, Effect.timeoutOption(drainMillis))
    yield* interrupt(parts)
    yield* empty
  })

/** Ends what runs, and gives it back. */
const interrupt = (parts: Parts): Effect.Effect<void> =>
  Effect.suspend(() => {
    parts.state.stopping = true
    for (const { fiber, letGo } of parts.slots.hands.values()) {
      fiber?.unsafeInterruptAsFork(FiberId.none)
      letGo?.()
    }
    return putBack(parts)
  })
