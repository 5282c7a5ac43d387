import * as Effect from "effect/Effect"
import { CurrentEnvelope, type Envelope } from "../Envelope.ts"
import type { Entry } from "../HandlerRegistry.ts"
import { MessagingError } from "../MessagingError.ts"
import { UnitOfWork } from "../UnitOfWork.ts"
import { type Bus, makeMetadata } from "./dispatch.ts"
import { MessageFailed } from "./messageFailed.ts"
import { encode, enqueue } from "./outgoing.ts"
import type { Verdict } from "./source.ts"
import * as Telemetry from "./telemetry.ts"

/**
 * Who hears of failures on an error channel: handlers that this process knows, and the stored subscriptions of others.
 *
 * @internal
 */
export interface Listeners {
  readonly known: ReadonlyArray<Entry>
  readonly subscribed: ReadonlyArray<string>
  /** The subscriptions of other channels, and of those who are known. */
  readonly except: ReadonlyArray<string>
}

/** @internal */
export const listeners = ({ registry, store }: Bus, channel: string): Effect.Effect<Listeners, MessagingError> =>
  Effect.map(store.subscriptions, (all) => {
    const known = registry.byEvent(MessageFailed._tag).filter(({ route }) => route?.channel.name === channel)
    const names = new Set(known.map(({ name }) => name))
    const subscriptions = all.filter(({ tag }) => tag === MessageFailed._tag)
    const isNew = (subscription: (typeof all)[number]) =>
      subscription.channel === channel && !names.has(subscription.endpoint)
    return {
      known,
      subscribed: subscriptions.filter(isNew).map(({ endpoint }) => endpoint),
      except: subscriptions.filter((subscription) => !isNew(subscription)).map(({ endpoint }) => endpoint)
    }
  })

/** Tells them, with the unit of work at hand. @internal */
export const tell = (
  bus: Bus,
  { except, known, subscribed }: Listeners,
  channel: string,
  envelope: Envelope,
  verdict: Verdict
): Effect.Effect<void, MessagingError> =>
  Effect.gen(function* () {
    const unit = yield* UnitOfWork
    const { attempt, endpoint, failures, headers, id, payload, tag } = envelope
    const message = new MessageFailed({ channel, attempt, endpoint, failures, headers, id, payload, tag, ...verdict })
    const metadata = yield* makeMetadata(MessageFailed, "", undefined)
    const encoded = yield* encode(message, undefined)
    for (const entry of known) yield* enqueue(bus, entry, entry.route!, message, metadata, encoded, undefined)
    const copy = { ...metadata, payload: encoded, failures: [] }
    if (subscribed.length > 0) {
      yield* unit.stage({ _tag: "Publish", envelope: copy, priority: 0, due: undefined, except })
    }
    const { observe } = bus.registry
    if (observe === undefined) return
    yield* unit.stageAfterCommit(Effect.sync(() => observe({ _tag: "Published", message, envelope: metadata })))
  }).pipe(
    Effect.provideService(CurrentEnvelope, envelope),
    (told) => Telemetry.within(envelope.headers, told),
    Effect.catchAllDefect(
      (cause) => new MessagingError({ reason: "Rejected", detail: `it cannot be sent there: ${String(cause)}`, cause })
    )
  ) as Effect.Effect<void, MessagingError>
