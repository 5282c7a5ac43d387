/**
 * An array of texts as it goes over the wire in binary: written once, where a literal escapes every quote in every
 * payload, and the server would take that apart again.
 *
 * @internal
 */
export const textArray = (values: ReadonlyArray<string | null>): Buffer => {
  let size = headerSize
  for (const value of values) size += value === null ? 4 : 4 + Buffer.byteLength(value)
  const buffer = Buffer.allocUnsafe(size)
  // dimensions, whether there are nulls, the type of the elements, how many they are, and from which index
  let at = 0
  for (const part of [1, 1, textType, values.length, 1]) at = buffer.writeInt32BE(part, at)
  for (const value of values) {
    if (value === null) at = buffer.writeInt32BE(-1, at)
    else {
      const length = buffer.write(value, at + 4)
      at = buffer.writeInt32BE(length, at) + length
    }
  }
  return buffer
}

/**
 * Which parameters the text takes as arrays of texts, counted from 0.
 *
 * @internal
 */
export const textArraysIn = (text: string): ReadonlyArray<number> =>
  Array.from(new Set(Array.from(text.matchAll(/\$(\d+)::text\[\]/g), ([, place]) => Number(place) - 1)))

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const headerSize = 20
const textType = 25
