import type { Due, Write } from "../MessageStore.ts"
import { MessagingError } from "../MessagingError.ts"

// What PostgreSQL cannot keep, this store refuses too: a test must not pass with what fails in production.

/** Why the write cannot be kept, if so. @internal */
export const refuseWrite = (now: number, write: Write): MessagingError | undefined => {
  switch (write._tag) {
    case "Send": {
      const { channel, envelope, timer } = write
      const texts = [
        channel,
        envelope.tag,
        envelope.endpoint,
        envelope.payload,
        envelope.orderingKey,
        timer?.owner,
        timer?.name
      ]
      return refuseTexts(texts) ?? refuseDue(now, write.due) ?? refusePriority(write.priority)
    }
    case "Publish":
      return (
        refuseTexts([write.envelope.tag, write.envelope.payload]) ??
        refuseDue(now, write.due) ??
        refusePriority(write.priority)
      )
    case "Retry":
      return refuseDue(now, { _tag: "After", millis: write.afterMillis })
    case "SagaPut":
      return refuseTexts([write.saga, write.id, write.state])
    case "Deduplicate":
      return refuseTexts([write.key]) ?? refuseDue(now, { _tag: "After", millis: write.windowMillis })
    case "CompleteKey":
      return refuseTexts([write.key, write.result]) ?? refuseDue(now, { _tag: "After", millis: write.windowMillis })
    default:
      return undefined
  }
}

/** @internal */
export const refuseTexts = (texts: ReadonlyArray<string | undefined>): MessagingError | undefined => {
  const refused = texts.find((text) => text?.includes("\u0000"))
  return refused === undefined
    ? undefined
    : rejected(`${JSON.stringify(refused).slice(0, 200)} contains a NUL character, which a database cannot keep`)
}

/** @internal */
export const refuseDue = (now: number, due: Due | undefined): MessagingError | undefined => {
  if (due === undefined) return undefined
  const at = due._tag === "At" ? due.epochMillis : Number.isFinite(due.millis) ? now + due.millis : Number.NaN
  return at >= earliest && at <= latest ? undefined : rejected(`${at} is a time that a database cannot keep`)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const refusePriority = (priority: number): MessagingError | undefined =>
  priority === Math.trunc(priority) && Math.abs(priority) < 2 ** 31
    ? undefined
    : rejected(`${priority} is a priority that a database cannot keep: give it a whole number of 32 bits`)

/** The years -4713 to 294276, in milliseconds: a timestamp's range. */
const earliest = -210_866_803_200_000
const latest = 9_224_318_016_000_000

const rejected = (detail: string): MessagingError => new MessagingError({ reason: "Rejected", detail })
