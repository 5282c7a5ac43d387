import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricLabel from "effect/MetricLabel"
import type { Envelope, Metadata } from "../Envelope.ts"
import type { ChannelStats, Write } from "../MessageStore.ts"

// Effect's metrics, told directly: no effect is made for it, and the labels of a series only once.

const counter = (name: string, description: string) => Metric.counter(name, { description, incremental: true })

/** @internal */
export const sent = counter("holdfast.messages.sent", "Messages put on a channel, one for each handler")
/** @internal */
export const published = counter("holdfast.messages.published", "Events published")
/** @internal */
export const handled = counter("holdfast.messages.handled", "Messages handled")
/** @internal */
export const failed = counter("holdfast.messages.failed", "Attempts that failed")
/** @internal */
export const retried = counter("holdfast.messages.retried", "Messages that will be tried again")
/** @internal */
export const deadLettered = counter("holdfast.messages.dead_lettered", "Messages put with the dead letters")
/** @internal */
export const discarded = counter("holdfast.messages.discarded", "Messages given up and dropped")
/** @internal */
export const expired = counter("holdfast.messages.expired", "Messages not begun within their time to live")
/** @internal */
export const released = counter("holdfast.messages.released", "Messages given back without an attempt")
/** @internal */
export const lost = counter("holdfast.messages.lost", "Messages whose lease was lost while they were handled")

/** From half a millisecond to ten minutes. */
const seconds = MetricBoundaries.fromIterable([
  ...[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
  ...[1, 2.5, 5, 10, 30, 60, 120, 300, 600]
])

/** @internal */
export const duration = Metric.histogram("holdfast.handling.duration", seconds, "Seconds that an attempt took")
/** @internal */
export const latency = Metric.histogram(
  "holdfast.handling.latency",
  seconds,
  "Seconds from when a message was available until it was handled"
)
/** @internal */
export const commitSize = Metric.histogram(
  "holdfast.commit.units",
  MetricBoundaries.fromIterable([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]),
  "Units of work in one commit"
)

/** @internal */
export const depth = Metric.gauge("holdfast.channel.depth", { description: "Messages ready or in flight" })
/** @internal */
export const scheduled = Metric.gauge("holdfast.channel.scheduled", {
  description: "Messages that wait for their time"
})
/** @internal */
export const held = Metric.gauge("holdfast.channel.held", {
  description: "Messages that a pause or a limit has set aside"
})
/** @internal */
export const deadLetters = Metric.gauge("holdfast.channel.dead_letters", { description: "Dead letters" })
/** @internal */
export const oldestAge = Metric.gauge("holdfast.channel.oldest_age", {
  description: "Seconds since the oldest message that is ready or in flight was available"
})

/** @internal */
export type Labels = ReadonlyArray<MetricLabel.MetricLabel>

/** The labels of a message. A metric finds its series by the array itself: to keep it saves looking for it. @internal */
export const labelsOf = (channel: string, message: Pick<Metadata, "endpoint" | "tag"> | undefined): Labels => {
  const { endpoint, tag } = message ?? none
  const found = known.get(channel)?.get(endpoint)?.get(tag)
  if (found !== undefined) return found
  const labels = [
    ["channel", channel],
    ["endpoint", endpoint],
    ["message", tag]
  ].flatMap(([key, value]) => (value === "" ? [] : [MetricLabel.make(key!, value!)]))
  const endpoints = known.get(channel) ?? new Map<string, Map<string, Labels>>()
  const tags = endpoints.get(endpoint) ?? new Map<string, Labels>()
  known.set(channel, endpoints.set(endpoint, tags.set(tag, labels)))
  return labels
}

/** What a unit has put on channels, once it has committed. @internal */
export const committed = (
  writes: ReadonlyArray<Write>,
  direct: ReadonlyArray<{ readonly channel: string; readonly envelope: Envelope }>
): void => {
  for (const write of writes) {
    if (write._tag === "Send") sent.unsafeUpdate(1, labelsOf(write.channel, write.envelope))
    else if (write._tag === "Publish") published.unsafeUpdate(1, labelsOf("", write.envelope))
  }
  for (const { channel, envelope } of direct) sent.unsafeUpdate(1, labelsOf(channel, envelope))
}

const outcomes = {
  Handled: handled,
  Retried: retried,
  Resent: retried,
  Parked: deadLettered,
  Discarded: discarded,
  Expired: expired,
  Released: released,
  Held: released,
  Stopped: released,
  Lost: lost
}

/** How a message ended, for this time. @internal */
export const settled = (labels: Labels, outcome: keyof typeof outcomes): void => {
  outcomes[outcome].unsafeUpdate(1, labels)
}

/** An attempt that went well, and how long the message was under way. @internal */
export const succeeded = (labels: Labels, tookMillis: number, latencyMillis: number): void => {
  duration.unsafeUpdate(tookMillis / 1000, labels)
  latency.unsafeUpdate(latencyMillis / 1000, labels)
}

/** An attempt that failed. @internal */
export const attemptFailed = (labels: Labels, tookMillis: number): void => {
  duration.unsafeUpdate(tookMillis / 1000, labels)
  failed.unsafeUpdate(1, labels)
}

/** @internal */
export const gauged = (stats: ChannelStats): void => {
  const labels = labelsOf(stats.channel, undefined)
  depth.unsafeUpdate(stats.ready, labels)
  scheduled.unsafeUpdate(stats.scheduled, labels)
  held.unsafeUpdate(stats.held, labels)
  deadLetters.unsafeUpdate(stats.deadLetters, labels)
  oldestAge.unsafeUpdate((stats.oldestAgeMillis ?? 0) / 1000, labels)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** By channel, endpoint and tag. */
const known = new Map<string, Map<string, Map<string, Labels>>>()

const none = { endpoint: "", tag: "" }
