/** @internal */
export const twoOfOneTag = (tag: string): string =>
  `Two messages have the tag "${tag}": it is their wire name, so each has its own`

/** What is wrong with the tag or the versions of a class. @internal */
export const problem = (
  tag: string,
  version: number,
  upcasters: Readonly<Record<number, unknown>>
): string | undefined => {
  if (tag === "") return "A message needs a tag that is not empty: it is its wire name"
  if (!isVersion(String(version))) return `${tag} has version ${version}: versions are whole numbers, counted from 1`
  const older = Object.keys(upcasters)
  for (const key of older) {
    if (!isVersion(key)) return `${tag} has an upcaster for version ${key}: versions are whole numbers, counted from 1`
    if (Number(key) >= version) {
      return `${tag} has an upcaster for version ${key}, but is itself of version ${version}: upcasters read older ones`
    }
  }
  const oldest = version - older.length
  for (let between = version - 1; between >= oldest; between--) {
    if (!(between in upcasters)) {
      return `${tag} has no upcaster for version ${between}, but for an older one: declare those between too`
    }
  }
  return undefined
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const isVersion = (text: string): boolean => /^[1-9]\d{0,14}$/.test(text)
