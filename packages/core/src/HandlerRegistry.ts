/**
 * What is handled in this process, and where the rest is handled. Buses, consumers and tools look here.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schedule from "effect/Schedule"
import type { Channel, DeadLetterPolicy, Policy } from "./Channel.ts"
import type { Metadata } from "./Envelope.ts"
import type { Breaker, Circuit } from "./internal/circuit.ts"
import * as interceptors from "./internal/interceptors.ts"
import { type Recording, recordingOf } from "./internal/journal.ts"
import { KeyQueues } from "./internal/keyQueues.ts"
import type { RouteLimit } from "./internal/limits.ts"
import { MessageFailed } from "./internal/messageFailed.ts"
import { Observer } from "./internal/observer.ts"
import type { Standing } from "./internal/standing.ts"
import { twoOfOneTag } from "./internal/wire.ts"
import { DefaultPolicy } from "./Journal.ts"
import type * as Message from "./Message.ts"
import type { Due } from "./MessageStore.ts"

/**
 * How an endpoint is reached through a channel.
 *
 * @example
 * ```ts
 * import { HandlerRegistry } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const channelOf = (route: HandlerRegistry.Route) => route.channel.name
 * const channels = Effect.map(HandlerRegistry.HandlerRegistry, (registry) =>
 *   registry.all().flatMap(({ route }) => (route === undefined ? [] : [channelOf(route)]))
 * )
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Route {
  readonly channel: Channel
  /** What the channel says it carries, if it does. */
  readonly carries: ReadonlyArray<Message.AnyClass>
  /** The channel's. */
  readonly policy: Policy
  /** When the handler wants this message. */
  readonly delay: ((message: any) => Due | undefined) | undefined
  /** Which messages are taken first. */
  readonly priority: ((message: any) => number) | undefined
  /** Which messages are handled in order, one at a time. */
  readonly orderingKey: ((message: any, headers: Readonly<Record<string, string>>) => string | undefined) | undefined
  /** For how many milliseconds a message is worth handling, once it is available. */
  readonly timeToLive: number | undefined
  /** Durable retries. */
  readonly retry: Schedule.Schedule<any, any, never> | undefined
  /** Durable retries of errors with these tags. */
  readonly retryTags?: Readonly<Record<string, Schedule.Schedule<any, any, never> | "Never" | undefined>> | undefined
  readonly deadLetter: DeadLetterPolicy
  /** The durable name of the channel that is told of each message that is given up. */
  readonly errorChannel: string | undefined
  /** The handler's own limits and its channel's: a message begins when all of them have room. @internal */
  readonly limits: ReadonlyArray<RouteLimit>
  /** @internal */
  readonly circuitBreaker: Breaker | undefined
}

/**
 * A handler with everything it needs already provided; or, with `local` false, only its routing.
 *
 * @example
 * ```ts
 * import { HandlerRegistry } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const describe = (entry: HandlerRegistry.Entry) =>
 *   `${entry.name} handles ${entry.messages.map((message) => message._tag).join(", ")}`
 * const descriptions = Effect.map(HandlerRegistry.HandlerRegistry, (registry) => registry.all().map(describe))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Entry {
  readonly name: string
  readonly local: boolean
  readonly messages: ReadonlyArray<Message.AnyClass>
  /** Messages only the runtime sends to it: the timeouts of a saga. */
  readonly internal: ReadonlyArray<Message.AnyClass>
  readonly route: Route | undefined
  /** Retries in place. */
  readonly retry: Schedule.Schedule<any, any, never> | undefined
  /** Runs the handler in the unit of work that the fiber is in. */
  readonly handle: (message: any, envelope: Metadata) => Effect.Effect<unknown, unknown>
  /** Messages of one key are handled one at a time in this process: those of one saga instance. */
  readonly serialize: ((message: any, envelope: Metadata) => string | undefined) | undefined
  readonly encode: (message: any) => Effect.Effect<unknown, unknown>
  readonly decode: (envelope: Metadata, payload: unknown) => Effect.Effect<any, unknown>
  /** Checks an answer against the message's schema. */
  readonly validate: ((answer: unknown) => Effect.Effect<void, unknown>) | undefined
  /** @internal */
  readonly standing: Standing
}

/**
 * The registry.
 *
 * @example
 * ```ts
 * import { HandlerRegistry } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const endpoints = Effect.map(HandlerRegistry.HandlerRegistry, (registry) => registry.all().map((entry) => entry.name))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class HandlerRegistry extends Context.Tag("@holdfast/core/HandlerRegistry")<
  HandlerRegistry,
  {
    /**
     * Dies, with a sentence, on two handlers of one command or name, on two channels of one name, and on messages whose
     * tag is not their own.
     */
    readonly add: (entry: Entry) => Effect.Effect<void>
    /** The one handler of a command or query. */
    readonly byTag: (tag: string) => Entry | undefined
    /** All handlers of an event. */
    readonly byEvent: (tag: string) => ReadonlyArray<Entry>
    readonly byName: (name: string) => Entry | undefined
    readonly all: () => ReadonlyArray<Entry>
    /** Counts what this process's consumers may handle at once; answers the sum. */
    readonly reserve: (concurrency: number) => number
    /** How often this process has given back messages that nobody here handles. */
    readonly unknownMet: Map<string, number>
    /** What holds for handlers and channels that say nothing: the durable name of an error channel. */
    readonly defaults: { errorChannel: string | undefined }
    /** @internal */
    readonly keys: KeyQueues
    /** How the infrastructure of handlers does, as this process sees it. @internal */
    readonly circuits: Map<string, Circuit>
    /** @internal */
    readonly interceptors: interceptors.Interceptors
    /** What is written down of channels that do not say it. @internal */
    readonly journal: Recording
    /** @internal */
    readonly observe: (typeof Observer)["Service"]["observe"]
  }
>() {}

/**
 * An empty registry, one for each process.
 *
 * @example
 * ```ts
 * import { HandlerRegistry } from "@holdfast/core"
 *
 * const registry = HandlerRegistry.layer
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<HandlerRegistry> = Layer.effect(
  HandlerRegistry,
  Effect.zipWith(Observer, DefaultPolicy, (observer, policy) => {
    const byName = new Map<string, Entry>()
    const byTag = new Map<string, Entry>()
    const byEvent = new Map<string, Array<Entry>>()
    const classes = new Map<string, Message.AnyClass>()
    // each channel has a policy object of its own, whatever layers it has
    const policies = new Map<string, Policy>()
    const keys = new KeyQueues()
    let reserved = 0
    const problem = (entry: Entry): string | undefined => {
      const { route } = entry
      if (byName.has(entry.name))
        return `Two handlers are named "${entry.name}": names are durable, so each has its own`
      if (route !== undefined && (policies.get(route.channel.name) ?? route.policy) !== route.policy)
        return `Two channels are named "${route.channel.name}": messages are kept under it, so each has its own`
      const seen = new Map(classes)
      for (const message of named(entry)) {
        if ((seen.get(message._tag) ?? message) !== message) return twoOfOneTag(message._tag)
        seen.set(message._tag, message)
      }
      for (const message of entry.messages) {
        if (message._tag.startsWith(ownPrefix) && message !== MessageFailed) {
          return `The tag "${message._tag}" begins with "${ownPrefix}", as those of the runtime do: choose another`
        }
        if (message.kind !== "Event" && byTag.has(message._tag)) {
          return `${message._tag} has two handlers: a ${message.kind.toLowerCase()} has exactly one`
        }
      }
      return undefined
    }
    const insert = (entry: Entry) => {
      byName.set(entry.name, entry)
      if (entry.route !== undefined) policies.set(entry.route.channel.name, entry.route.policy)
      for (const message of named(entry)) classes.set(message._tag, message)
      for (const message of entry.messages) {
        if (message.kind !== "Event") byTag.set(message._tag, entry)
        else byEvent.set(message._tag, [...(byEvent.get(message._tag) ?? []), entry])
      }
    }
    return HandlerRegistry.of({
      add: (entry) =>
        Effect.suspend(() => {
          const sentence = problem(entry)
          return sentence === undefined ? Effect.sync(() => insert(entry)) : Effect.dieMessage(sentence)
        }),
      byTag: (tag) => byTag.get(tag),
      byEvent: (tag) => byEvent.get(tag) ?? [],
      byName: (name) => byName.get(name),
      all: () => [...byName.values()],
      keys,
      unknownMet: new Map(),
      defaults: { errorChannel: undefined },
      circuits: new Map(),
      reserve: (concurrency) => (reserved += concurrency),
      interceptors: interceptors.make(),
      journal: recordingOf(policy),
      observe: observer.observe
    })
  })
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Of the messages that only the runtime sends. */
const ownPrefix = "holdfast/"

/** Every class by which the entry knows a tag. */
const named = ({ internal, messages, route }: Entry): ReadonlyArray<Message.AnyClass> => [
  ...messages,
  ...internal,
  ...(route?.carries ?? [])
]
