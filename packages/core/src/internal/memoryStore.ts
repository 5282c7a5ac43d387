import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type {
  ChannelStats,
  Encoded,
  Filter,
  Scheduled,
  Subscription,
  Transaction,
  TransactionScope
} from "../MessageStore.ts"
import { matches } from "./memoryDeadLetters.ts"
import { envelopeOf, waits } from "./memoryMessages.ts"
import { refuseDue, refuseTexts } from "./memoryRefusals.ts"
import { replaying } from "./memoryReplays.ts"
import { commit, keyLost, State, sagaKey } from "./memoryWrites.ts"
import * as Metrics from "./metrics.ts"

/** @internal */
export const make: Effect.Effect<Encoded> = Effect.sync(() => {
  const state = new State()
  return {
    kind: "memory",
    now: Clock.currentTimeMillis,
    handlerConnections: undefined,
    advance: () => Effect.void,
    isInfrastructure: () => false,
    begin: Effect.succeed(transaction),
    joining: (context) => ({ context, join: undefined }),
    joins: () => false,
    outside: (context) => context,
    commit: (units) =>
      at((now) => {
        Metrics.commitSize.unsafeUpdate(units.length, [])
        return units.map((writes) => commit(state, now, writes))
      }),
    ...consuming(state),
    ...consumers(state),
    flow: flow(state),
    ...subscribing(state),
    ...keys(state),
    ...views(state),
    ...replaying(state)
  }
})

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** What is done in one go, at one time, cannot be seen half done. */
const at: <A>(f: (now: number) => A) => Effect.Effect<A> = (f) => Effect.map(Clock.currentTimeMillis, f)

/** How often a channel is looked at while some of its messages are given out apart. */
const oftenMillis = 50

const scope: TransactionScope = {
  provide: (context) => context,
  provideQuery: (context) => context,
  nested: () => scope,
  close: () => Effect.void
}

const transaction: Transaction = {
  root: scope,
  joined: false,
  finish: Effect.succeed(false),
  commit: () => Effect.dieMessage("The memory store has no SQL to commit"),
  rollback: Effect.void
}

const consuming = ({
  messages
}: State): Pick<Encoded, "claim" | "started" | "renew" | "release" | "wake" | "depth"> => ({
  claim: (options) => at((now) => messages.claim(now, options)),
  started: (leases) =>
    at((now) => {
      for (const lease of leases) {
        const row = messages.held(now, lease)
        if (row !== undefined) messages.start(row)
      }
    }),
  renew: (leases, leaseMillis) =>
    at((now) =>
      leases.filter((lease) => {
        const row = messages.held(now, lease)
        if (row !== undefined) messages.renew(now, row, leaseMillis)
        return row === undefined
      })
    ),
  release: (leases, afterMillis) =>
    at((now) => {
      for (const lease of leases) {
        const row = messages.held(now, lease)
        if (row !== undefined) messages.release(now, row, afterMillis)
      }
    }),
  wake: (name, atMost) => {
    const channel = messages.channel(name)
    const wakeBy = (deadline: number): Effect.Effect<void> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const next = Math.min(deadline, channel.claimableAt())
        if (next <= now) return Effect.void
        // who may claim what then depends on who asks
        if (channel.suspected > 0) return channel.waiters.wait(Math.min(next - now, oftenMillis))
        return Effect.zipRight(channel.waiters.wait(next - now), wakeBy(deadline))
      })
    return Effect.flatMap(Clock.currentTimeMillis, (now) => wakeBy(now + atMost))
  },
  depth: (name) =>
    at((now) => {
      const rows = messages.all().filter((row) => row.channel === name)
      const scheduled = rows.filter((row) => waits(now, row)).length
      const held = rows.filter((row) => row.held !== undefined).length
      return { ready: rows.length - scheduled - held, scheduled, ...(held === 0 ? undefined : { held }) }
    })
})

const consumers = ({ heartbeats, messages }: State): Pick<Encoded, "paused" | "heartbeat" | "consumed"> => ({
  paused: Effect.sync(() => messages.paused()),
  heartbeat: (channel) => at((now) => void heartbeats.set(channel, now)),
  consumed: (withinMillis) =>
    at((now) =>
      Array.from(heartbeats.entries())
        .filter(([, seenAt]) => seenAt >= now - withinMillis)
        .map(([channel]) => channel)
        .sort()
    )
})

const flow = ({ flows }: State): Encoded["flow"] => ({
  pause: (target, reason) => at((now) => flows.pause(now, target, reason)),
  resume: (target) => at((now) => flows.resume(now, target)),
  pauses: Effect.sync(() => flows.all()),
  hold: (leases, by) => at((now) => flows.hold(now, leases, by)),
  take: (options) => at((now) => flows.take(now, options)),
  giveBack: (owner, names) => at((now) => flows.giveBack(now, owner, names)),
  renew: (owner, leaseMillis, permits) => at((now) => flows.renew(now, owner, leaseMillis, permits)),
  refresh: (channel) => at((now) => flows.refresh(now, channel))
})

const subscribing = ({ subscriptions }: State): Pick<Encoded, "subscribe" | "unsubscribe" | "subscriptions"> => ({
  subscribe: (added) =>
    Effect.sync(() => {
      for (const _ of added) subscriptions.set(subscriptionKey(_), _)
    }),
  unsubscribe: (endpoint) =>
    Effect.sync(() => {
      for (const _ of subscriptions.values()) if (_.endpoint === endpoint) subscriptions.delete(subscriptionKey(_))
    }),
  subscriptions: Effect.sync(() => subscriptions.values())
})

const keys = ({
  keys,
  remembered
}: State): Pick<Encoded, "remembered" | "claimKey" | "renewKey" | "completeKey" | "releaseKey"> => ({
  remembered: (asked) => at((now) => new Set(asked.filter((key) => remembered.get(now, key) !== undefined))),
  claimKey: (key, leaseMillis) => refuseTexts([key]) ?? keys.claim(key, leaseMillis),
  renewKey: (key, token, leaseMillis) => at((now) => keys.renew(now, key, token, leaseMillis)),
  completeKey: (key, token, result, windowMillis) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      keys.complete(now, key, token, result, windowMillis) ? Effect.void : Effect.fail(keyLost)
    ),
  releaseKey: (key, token) => at((now) => keys.release(now, key, token))
})

const views = (
  state: State
): Pick<Encoded, "loadSaga" | "scheduled" | "reschedule" | "cancelScheduled" | "journal" | "stats"> => ({
  stats: (channels, most) => at((now) => channels.map((channel) => stats(state, now, channel, most))),
  journal: (query) => Effect.sync(() => state.entries.matching(query)),
  loadSaga: (saga, id) => Effect.sync(() => Option.fromNullable(state.sagas.get(sagaKey(saga, id)))),
  scheduled: (filter) => at((now) => scheduled(state, now, filter)),
  reschedule: (key, due) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const row = state.messages.scheduled(now, key)
      if (row === undefined) return Effect.succeed(false)
      const refused = refuseDue(now, due)
      if (refused === undefined) state.messages.reschedule(now, row, due)
      return refused ?? Effect.succeed(true)
    }),
  cancelScheduled: (key) =>
    at((now) => {
      const row = state.messages.scheduled(now, key)
      if (row !== undefined) state.messages.remove(row)
      return row !== undefined
    })
})

const stats = ({ deadLetters, messages }: State, now: number, channel: string, most: number): ChannelStats => {
  const all = messages.all().filter((row) => row.channel === channel)
  const free = all.filter((row) => row.held === undefined)
  const ready = free.filter((row) => !waits(now, row) || row.availableAt <= now)
  const oldest = ready.reduce((oldest, row) => Math.min(oldest, row.availableAt), Number.POSITIVE_INFINITY)
  return {
    channel,
    ready: Math.min(most, ready.length),
    scheduled: Math.min(most, free.length - ready.length),
    held: Math.min(most, all.length - free.length),
    deadLetters: Math.min(most, deadLetters.matching({ channel }).length),
    oldestAgeMillis: ready.length === 0 ? undefined : Math.max(0, now - oldest)
  }
}

const scheduled = (state: State, now: number, filter: Filter): ReadonlyArray<Scheduled> =>
  state.messages
    .all()
    .filter((row) => waits(now, row) && matches(filter, row.channel, row.envelope, undefined))
    .sort((self, that) => self.availableAt - that.availableAt || self.sequence - that.sequence)
    .slice(0, filter.limit ?? 100)
    .map((row) => ({
      key: row.key,
      channel: row.channel,
      envelope: envelopeOf(row),
      dueAt: row.availableAt,
      timer: row.timer
    }))

/** One endpoint takes one copy of an event, wherever it now listens. */
const subscriptionKey = (subscription: Subscription): string =>
  JSON.stringify([subscription.tag, subscription.endpoint])
