import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type { Policy } from "../Channel.ts"
import type { Entry, HandlerRegistry } from "../HandlerRegistry.ts"
import type { Delivery, Encoded, Limit, PauseTarget } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import * as batch from "./batch.ts"
import * as circuit from "./circuit.ts"
import { limitsOf } from "./limits.ts"
import * as permits from "./permits.ts"
import type { Source } from "./source.ts"

/**
 * Says which messages of a channel may begin. Where nothing is paused, limited or broken, it is asked without an effect.
 *
 * @internal
 */
export interface Flow {
  /** Whether anything here may stop the message: a pause, a limit or a circuit. */
  readonly minds: (entry: Entry, delivery: Delivery) => boolean
  /** Whether the message is paused, or cannot tell. */
  readonly isPaused: (delivery: Delivery) => boolean
  /** Sets a message aside whose handler or tenant is paused. Throws what the channel's `tenant` throws. */
  readonly paused: (delivery: Delivery) => Effect.Effect<"Held", MessagingError> | undefined
  /**
   * Gives a message back whose handler's circuit is open, sets one aside that is over a limit; and lets the others
   * begin, which answers undefined. Throws what the keys of limits throw.
   */
  readonly begin: (
    entry: Entry,
    delivery: Delivery,
    message: unknown
  ) => Effect.Effect<"Held" | undefined, MessagingError> | undefined
  /** The handler has ended: its permits are free. */
  readonly leave: (delivery: Delivery) => Effect.Effect<void>
  /** The handler's infrastructure failed. Answers for how many milliseconds its messages do not begin. */
  readonly broke: (entry: Entry) => Effect.Effect<number>
  /** The handler's infrastructure answered. */
  readonly answered: (entry: Entry) => Effect.Effect<void>
  /** For how many milliseconds no message of the handlers on this channel may begin. */
  readonly closedMillis: (endpoints: () => ReadonlyArray<string>) => Effect.Effect<number>
  /** Learns what is paused, and lets held messages go. Answers whether a limit holds some. */
  readonly refresh: Effect.Effect<boolean, MessagingError>
  /** Refreshes, if that was a second ago or a limit may have room by now. */
  readonly fresh: Effect.Effect<void, MessagingError>
  /** Waits, but not for longer than until a limit may have room. */
  readonly rest: (atMost: number, wake: (millis: number) => Effect.Effect<void>) => Effect.Effect<void>
  /** Renews the permits of what is in flight. */
  readonly renew: Effect.Effect<void>
}

/** @internal */
export const make = (
  store: Encoded,
  registry: HandlerRegistry["Type"],
  source: Source,
  policy: Policy,
  options: { readonly leaseMillis: number; readonly owner: string }
): Flow => {
  const state: State = { pauses: [], holding: false, until: 0, stale: true, changed: undefined }
  const taken = permits.make(store, options)
  const hold = holding(source, state)
  const refresh = Effect.suspend(() => {
    state.stale = false
    return Effect.gen(function* () {
      const asked = yield* Clock.currentTimeMillis
      const { nextMillis, pauses } = yield* store.flow.refresh(source.channel)
      const answered = yield* Clock.currentTimeMillis
      state.pauses = pauses
      state.holding = nextMillis !== undefined
      // what is paused is known as of when it was asked
      state.until = Math.min(asked + freshMillis, answered + freshFor(nextMillis))
      return state.holding
    })
  }).pipe(
    Effect.tapErrorCause(() =>
      Effect.sync(() => {
        state.stale = true
      })
    )
  )
  const enter = (delivery: Delivery, limits: ReadonlyArray<Limit>) =>
    Effect.flatMap(taken.take({ delivery, limits }), (refused) =>
      refused === undefined
        ? Effect.succeed(undefined)
        : Effect.as(
            Effect.tap(hold({ delivery, by: refused }), () => Effect.sync(() => setAside(state))),
            "Held" as const
          )
    )
  const isPaused = (delivery: Delivery) => state.pauses.length > 0 && mayBePaused(state.pauses, policy, delivery)
  return {
    isPaused,
    minds: ({ route }, delivery) =>
      (route !== undefined && (route.limits.length > 0 || route.circuitBreaker !== undefined)) || isPaused(delivery),
    paused: (delivery) => {
      const pause = state.pauses.length === 0 ? undefined : pauseOf(state.pauses, policy, delivery)
      return pause === undefined ? undefined : Effect.as(hold({ delivery, by: pause }), "Held")
    },
    begin: (entry, delivery, message) => {
      const limits = limitsOf(entry.route?.limits ?? [], source.channel, delivery, message)
      const breaker = circuitOf(registry, entry)
      if (breaker === undefined || breaker.state === "Closed") {
        return limits.length > 0 ? enter(delivery, limits) : undefined
      }
      return tried(source, breaker, delivery, limits.length > 0 ? enter(delivery, limits) : Effect.succeed(undefined))
    },
    leave: taken.giveBack,
    broke: (entry) => {
      const breaker = circuitOf(registry, entry)
      if (breaker === undefined) return Effect.succeed(0)
      return Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.map(circuit.failed(breaker, now), () => circuit.remaining(breaker, now))
      )
    },
    answered: (entry) => {
      const breaker = circuitOf(registry, entry)
      return breaker === undefined ? Effect.void : circuit.passed(breaker)
    },
    closedMillis: (endpoints) => (registry.circuits.size === 0 ? open : closed(registry, endpoints())),
    refresh,
    fresh: Effect.flatMap(Clock.currentTimeMillis, (now) =>
      state.stale || now >= state.until ? Effect.asVoid(refresh) : Effect.void
    ),
    rest: (atMost, wake) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if (state.stale) return Effect.void
        const changed = Deferred.unsafeMake<void>(FiberId.none)
        state.changed = changed
        return Effect.race(
          Effect.interruptible(Deferred.await(changed)),
          Effect.interruptible(wake(state.holding ? Math.min(atMost, Math.max(1, state.until - now)) : atMost))
        )
      }),
    renew: taken.renew
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

interface State {
  pauses: ReadonlyArray<PauseTarget & { readonly key: string }>
  /** A limit holds messages. */
  holding: boolean
  /** Until when, by this process's clock, what was learned is fresh. */
  until: number
  /** Something was set aside since. */
  stale: boolean
  /** Done when something is set aside for the first limit: then it is to be learned when that may go. */
  changed: Deferred.Deferred<void> | undefined
}

const open = Effect.succeed(0)

/** Without a rest in between, a short interval would be asked about all the time. */
const freshFor = (nextMillis: number | undefined): number =>
  Math.ceil(Math.max(20, Math.min(freshMillis, nextMillis ?? freshMillis)))

/** In so long a pause holds everywhere. */
const freshMillis = 1_000

const setAside = (state: State): void => {
  if (state.holding) return
  state.stale = true
  if (state.changed !== undefined) Deferred.unsafeDone(state.changed, Effect.void)
}

const pauseOf = (pauses: State["pauses"], policy: Policy, { envelope }: Delivery): string | undefined =>
  pauses.find(
    ({ handler, tenant }) =>
      (handler === undefined || handler === envelope.endpoint) &&
      (tenant === undefined || tenant === policy.tenant(envelope.headers))
  )?.key

/** Also when its channel's `tenant` throws: then `paused` is to say so. */
const mayBePaused = (...of: Parameters<typeof pauseOf>): boolean => {
  try {
    return pauseOf(...of) !== undefined
  } catch {
    return true
  }
}

/** Together with what others set aside at the same time. */
const holding = (source: Source, state: State) =>
  batch.make<{ readonly delivery: Delivery; readonly by: string }, void, MessagingError>((items) => {
    const groups = new Map<string, Array<Delivery>>()
    for (const { by, delivery } of items) {
      const group = groups.get(by)
      if (group === undefined) groups.set(by, [delivery])
      else group.push(delivery)
    }
    return Effect.as(
      Effect.forEach(
        groups,
        ([by, deliveries]) =>
          Effect.tap(source.hold(deliveries, by), (held) => {
            // the pause has ended: without learning that, they would be claimed and given back all the time
            if (!held) state.stale = true
            return Effect.void
          }),
        { discard: true }
      ),
      items.map(() => undefined)
    )
  })

/** The circuit of a handler, as all consumers of this process see it. */
const circuitOf = ({ circuits }: HandlerRegistry["Type"], { name, route }: Entry): circuit.Circuit | undefined => {
  if (route?.circuitBreaker === undefined) return undefined
  const existing = circuits.get(name)
  if (existing !== undefined) return existing
  const made = circuit.make(name, route.circuitBreaker)
  circuits.set(name, made)
  return made
}

/** A circuit that is not closed: one message tries it, if a limit does not stop that one, and the others are given back. */
const tried = (
  source: Source,
  breaker: circuit.Circuit,
  delivery: Delivery,
  enter: Effect.Effect<"Held" | undefined, MessagingError>
) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const wait = circuit.enter(breaker, now)
    return wait > 0
      ? Effect.as(source.release([delivery], Math.max(wait, triedAgainMillis)), "Held" as const)
      : Effect.tap(enter, (released) => {
          if (released !== undefined) breaker.until = now
          return Effect.void
        })
  })

/** Clocks differ a little: who is given back until the circuit may be tried is not to come a moment before, again and again. */
const triedAgainMillis = 1_000

const closed = (registry: HandlerRegistry["Type"], endpoints: ReadonlyArray<string>): Effect.Effect<number> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const waits = endpoints.map((name) => {
      const breaker = registry.circuits.get(name)
      return breaker === undefined ? 0 : circuit.remaining(breaker, now)
    })
    return waits.length === 0 ? 0 : Math.min(...waits)
  })
