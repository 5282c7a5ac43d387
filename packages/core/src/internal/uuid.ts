import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

let lastMillis = -1
let sequence = 0

/**
 * A UUIDv7: milliseconds, then a counter that keeps ids of one process and millisecond in order, then random bits.
 *
 * @internal
 */
export const uuid7: Effect.Effect<string> = Effect.map(Clock.currentTimeMillis, (now) => {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16))
  if (now === lastMillis) sequence = (sequence + 1) & 0xfff
  else {
    lastMillis = now
    sequence = (((bytes[6]! & 0x07) << 8) | bytes[7]!) & 0x7ff
  }
  let hex = now.toString(16).padStart(12, "0")
  hex += `7${sequence.toString(16).padStart(3, "0")}`
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  for (let i = 8; i < 16; i++) hex += bytes[i]!.toString(16).padStart(2, "0")
  return format(hex)
})

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
