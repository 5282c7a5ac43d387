import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

let lastMillis = -1
let sequence = 0

/**
 * A UUIDv7: milliseconds, then a counter that keeps ids of one process and millisecond in order, then random bits.
 *
 * @internal
 */
export const uuid7: Effect.Effect<string> = Effect.map(Clock.currentTimeMillis, (now) => uuid7At(now))

/**
 * The same at a time that is known.
 *
 * @internal
 */
export const uuid7At = (now: number): string => {
  // of the platform's random uuids, which cost little, the second half is as a UUIDv7 has it
  const random = globalThis.crypto.randomUUID()
  if (now === lastMillis) sequence = (sequence + 1) & 0xfff
  else {
    lastMillis = now
    sequence = Number.parseInt(random.slice(0, 3), 16) & 0x7ff
  }
  const time = now.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${sequence.toString(16).padStart(3, "0")}${random.slice(18)}`
}

/**
 * The UUID (version 8) of a text: the same whoever asks, whenever.
 *
 * @internal
 */
export const uuidOf = (text: string): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => globalThis.crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (digest) => {
      const bytes = new Uint8Array(digest, 0, 16)
      bytes[6] = (bytes[6]! & 0x0f) | 0x80
      bytes[8] = (bytes[8]! & 0x3f) | 0x80
      return format(Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(""))
    }
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const format = (hex: string): string =>
  `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
