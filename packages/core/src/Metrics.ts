/**
 * What is counted and measured, as metrics of Effect: whoever reads those, an exporter or `Metric.snapshot`, has them.
 *
 * All have the labels `channel`, `endpoint` and `message` (its tag), where there is such a thing. Counters and
 * histograms are this process's own; the gauges of `layer` are the store's, so all processes tell the same.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import { HandlerRegistry } from "./HandlerRegistry.ts"
import * as Input from "./internal/input.ts"
import * as internal from "./internal/metrics.ts"
import { MessageStore } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * `holdfast.messages.sent`: messages put on a channel, one for each handler, once their unit has committed.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.sent.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const sent: Metric.Metric.Counter<number> = internal.sent

/**
 * `holdfast.messages.published`: events published, by `message`.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric } from "effect"
 *
 * const value = Metric.value(Metrics.published.pipe(Metric.tagged("message", "OrderPlaced")))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const published: Metric.Metric.Counter<number> = internal.published

/**
 * `holdfast.messages.handled`: messages from a channel that were handled.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.handled.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const handled: Metric.Metric.Counter<number> = internal.handled

/**
 * `holdfast.messages.failed`: attempts that failed, by the handler's fault.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.failed.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const failed: Metric.Metric.Counter<number> = internal.failed

/**
 * `holdfast.messages.retried`: messages that will be tried again.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.retried.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const retried: Metric.Metric.Counter<number> = internal.retried

/**
 * `holdfast.messages.dead_lettered`: messages put with the dead letters.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.deadLettered.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const deadLettered: Metric.Metric.Counter<number> = internal.deadLettered

/**
 * `holdfast.messages.discarded`: messages given up and dropped, as their policy has it.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.discarded.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const discarded: Metric.Metric.Counter<number> = internal.discarded

/**
 * `holdfast.messages.expired`: messages that were not begun within their time to live.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.expired.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const expired: Metric.Metric.Counter<number> = internal.expired

/**
 * `holdfast.messages.released`: messages given back or held without an attempt, as when the database is away.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.released.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const released: Metric.Metric.Counter<number> = internal.released

/**
 * `holdfast.messages.lost`: messages whose lease was lost while they were handled, or which could not be settled.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.lost.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category counters
 */
export const lost: Metric.Metric.Counter<number> = internal.lost

/**
 * `holdfast.handling.duration`, in seconds: how long attempts took.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.duration.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category histograms
 */
export const duration: Metric.Metric.Histogram<number> = internal.duration

/**
 * `holdfast.handling.latency`, in seconds: from when messages were available until they were handled.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric, MetricLabel } from "effect"
 *
 * const labels = { channel: "shop/Orders", endpoint: "SendConfirmation", message: "OrderPlaced" }
 * const series = Object.entries(labels).map(([key, value]) => MetricLabel.make(key, value))
 * const value = Metric.value(Metrics.latency.pipe(Metric.taggedWithLabels(series)))
 * ```
 *
 * @since 0.1.0
 * @category histograms
 */
export const latency: Metric.Metric.Histogram<number> = internal.latency

/**
 * `holdfast.commit.units`: how many units of work the store wrote in one commit; those with SQL of their own commit apart.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric } from "effect"
 *
 * const value = Metric.value(Metrics.commitSize)
 * ```
 *
 * @since 0.1.0
 * @category histograms
 */
export const commitSize: Metric.Metric.Histogram<number> = internal.commitSize

/**
 * `holdfast.channel.depth`: messages that wait for a consumer or that one has claimed, by `channel`.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric } from "effect"
 *
 * // that of one channel
 * const value = Metric.value(Metrics.depth.pipe(Metric.tagged("channel", "shop/Orders")))
 * ```
 *
 * @since 0.1.0
 * @category gauges
 */
export const depth: Metric.Metric.Gauge<number> = internal.depth

/**
 * `holdfast.channel.scheduled`: messages that wait for their time, by `channel`.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric } from "effect"
 *
 * // that of one channel
 * const value = Metric.value(Metrics.scheduled.pipe(Metric.tagged("channel", "shop/Orders")))
 * ```
 *
 * @since 0.1.0
 * @category gauges
 */
export const scheduled: Metric.Metric.Gauge<number> = internal.scheduled

/**
 * `holdfast.channel.held`: messages that a pause or a limit has set aside, by `channel`.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric } from "effect"
 *
 * // that of one channel
 * const value = Metric.value(Metrics.held.pipe(Metric.tagged("channel", "shop/Orders")))
 * ```
 *
 * @since 0.1.0
 * @category gauges
 */
export const held: Metric.Metric.Gauge<number> = internal.held

/**
 * `holdfast.channel.dead_letters`: dead letters, by `channel`.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric } from "effect"
 *
 * // that of one channel
 * const value = Metric.value(Metrics.deadLetters.pipe(Metric.tagged("channel", "shop/Orders")))
 * ```
 *
 * @since 0.1.0
 * @category gauges
 */
export const deadLetters: Metric.Metric.Gauge<number> = internal.deadLetters

/**
 * `holdfast.channel.oldest_age`, in seconds: since when the oldest that is ready or in flight has been available.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Metric } from "effect"
 *
 * // that of one channel
 * const value = Metric.value(Metrics.oldestAge.pipe(Metric.tagged("channel", "shop/Orders")))
 * ```
 *
 * @since 0.1.0
 * @category gauges
 */
export const oldestAge: Metric.Metric.Gauge<number> = internal.oldestAge

/**
 * How the gauges are read.
 *
 * @example
 * ```ts
 * import type { Metrics } from "@holdfast/core"
 *
 * const rarely: Metrics.Options = { interval: "1 minute", channels: ["legacy/Orders"], most: 100_000 }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** How often the store is asked. 15 seconds unless given, and at least one. */
  readonly interval?: Duration.DurationInput | undefined
  /** Names of channels beside those that handlers of this process are on. */
  readonly channels?: ReadonlyArray<string> | undefined
  /** Where counting stops: a gauge that stands there means "so many or more". 10,000 unless given. */
  readonly most?: number | undefined
}

/**
 * Reads the gauges of all channels with handlers or routes here every 15 seconds, in one statement.
 *
 * @example
 * ```ts
 * import { MessageBus, Metrics } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Buses = Metrics.layer.pipe(Layer.provideMerge(MessageBus.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<never, never, HandlerRegistry | MessageStore> = Layer.suspend(() => layerWith({}))

/**
 * As `layer`, with options. While the store does not answer, the gauges keep their values.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 *
 * const Gauges = Metrics.layerWith({ interval: "5 seconds" })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerWith = (options: Options): Layer.Layer<never, never, HandlerRegistry | MessageStore> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const { interval = "15 seconds" } = options
      yield* Input.dieOn(
        Input.duration("The interval of Metrics.layerWith", interval, { least: "1 second", most: "24 days" }),
        Input.wholeNumber("The most of Metrics.layerWith", options.most, 1)
      )
      yield* read(options).pipe(
        Effect.catchAllCause((cause) => Effect.logDebug("The gauges of channels could not be read", cause)),
        Effect.schedule(Schedule.spaced(Duration.decode(interval))),
        Effect.forkScoped
      )
    })
  )

/**
 * Reads the gauges once, now.
 *
 * @example
 * ```ts
 * import { Metrics } from "@holdfast/core"
 * import { Effect, Metric } from "effect"
 *
 * const snapshot = Effect.zipRight(Metrics.read(), Metric.snapshot)
 * ```
 *
 * @since 0.1.0
 * @category running
 */
export const read = (options: Options = {}): Effect.Effect<void, MessagingError, HandlerRegistry | MessageStore> =>
  Effect.gen(function* () {
    const registry = yield* HandlerRegistry
    const store = yield* MessageStore
    const routed = registry.all().flatMap(({ route }) => (route?.channel._tag === "Stored" ? [route.channel.name] : []))
    const channels = [...new Set([...routed, ...(options.channels ?? [])])]
    if (channels.length === 0) return
    for (const stats of yield* store.stats(channels, options.most ?? 10_000)) internal.gauged(stats)
  })
