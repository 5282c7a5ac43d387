import type { Envelope, Metadata } from "../Envelope.ts"
import type { Due, JournalEntry, JournalEvent, JournalPolicy, ParkReason } from "../MessageStore.ts"

/** What of a channel's messages is written down. @internal */
export interface Recording {
  /** That they are sent and handled. */
  readonly all: boolean
  /** That they fail, and what follows. */
  readonly failures: boolean
  readonly payload: boolean
}

/** @internal */
export const recordingOf = (policy: JournalPolicy): Recording => {
  if (policy === "Failures") return failures
  if (policy === "Off") return off
  return policy === "All" || !policy.payload ? all : payloads
}

/** What a channel says, else what all do. @internal */
export const recordingFor = (
  registry: { readonly journal: Recording },
  policy: { readonly journal: JournalPolicy | undefined } | undefined
): Recording => (policy?.journal === undefined ? registry.journal : recordingOf(policy.journal))

/** What has more written down of two. @internal */
export const wider = (self: Recording, that: Recording): Recording =>
  that.payload || (that.all && !self.all) ? that : self

/** @internal */
export const sent = (
  recording: Recording,
  channel: string,
  envelope: Envelope,
  due: Due | undefined
): ReadonlyArray<JournalEntry> =>
  recording.all
    ? [entry("Sent", envelope, { channel, due, payload: recording.payload ? envelope.payload : undefined })]
    : none

/** @internal */
export const published = (
  recording: Recording,
  envelope: Metadata,
  payload: string,
  due: Due | undefined
): ReadonlyArray<JournalEntry> =>
  recording.all ? [entry("Published", envelope, { due, payload: recording.payload ? payload : undefined })] : none

/** An attempt that went well. @internal */
export const handled = (recording: Recording, envelope: Metadata, parts: Parts): ReadonlyArray<JournalEntry> =>
  recording.all ? [entry("Handled", envelope, parts)] : none

/** What went wrong, and what follows. @internal */
export const failed = (
  recording: Recording,
  event: Exclude<JournalEvent, "Sent" | "Published" | "Handled">,
  envelope: Metadata,
  parts: Parts
): ReadonlyArray<JournalEntry> => (recording.failures ? [entry(event, envelope, parts)] : none)

/** What an operator does is written down in any case. @internal */
export const replayed = (channel: string, envelope: Metadata): JournalEntry => entry("Replayed", envelope, { channel })

/** @internal */
export interface Parts {
  readonly channel?: string | undefined
  readonly due?: Due | undefined
  readonly durationMillis?: number | undefined
  readonly worker?: string | undefined
  readonly reason?: ParkReason | undefined
  readonly error?: string | undefined
  readonly payload?: string | undefined
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const off: Recording = { all: false, failures: false, payload: false }
const failures: Recording = { all: false, failures: true, payload: false }
const all: Recording = { all: true, failures: true, payload: false }
const payloads: Recording = { all: true, failures: true, payload: true }

const none: ReadonlyArray<JournalEntry> = []

const entry = (event: JournalEvent, envelope: Metadata, parts: Parts): JournalEntry => ({
  _tag: "JournalEntry",
  event,
  envelope,
  channel: parts.channel,
  due: parts.due,
  durationMillis: parts.durationMillis,
  worker: parts.worker,
  reason: parts.reason,
  error: parts.error,
  payload: parts.payload
})
