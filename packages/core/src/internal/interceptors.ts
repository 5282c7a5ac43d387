import * as Effect from "effect/Effect"

/**
 * An interceptor that was registered for many messages.
 *
 * @internal
 */
export interface Registration {
  readonly name: string
  readonly at: "Bus" | "Handler" | "Consumer"
  /** The names of those that it is outside of. */
  readonly outside: ReadonlyArray<string>
  readonly select: (interception: any) => boolean
  readonly wrap: (handled: Effect.Effect<any, any, any>, interception: any) => Effect.Effect<any, any, any>
}

/**
 * What adds headers to messages that are sent.
 *
 * @internal
 */
export interface Sending {
  readonly select: (interception: any) => boolean
  readonly headers: (interception: any) => Effect.Effect<Readonly<Record<string, string>>, any>
}

/**
 * The interceptors of a process.
 *
 * @internal
 */
export interface Interceptors {
  /** Dies, with a sentence, when interceptors are outside of each other in a circle. */
  readonly add: (registration: Registration) => Effect.Effect<void>
  /** The outermost first. */
  readonly at: (at: Registration["at"]) => ReadonlyArray<Registration>
  readonly addSending: (sending: Sending) => Effect.Effect<void>
  readonly sending: () => ReadonlyArray<Sending>
}

/** @internal */
export const make = (): Interceptors => {
  const places: Record<Registration["at"], ReadonlyArray<Registration>> = { Bus: [], Handler: [], Consumer: [] }
  let registered: ReadonlyArray<Registration> = []
  let sending: ReadonlyArray<Sending> = []
  return {
    add: (registration) =>
      Effect.suspend(() => {
        const all = [...registered, registration]
        const ordered = order(all.filter(({ at }) => at === registration.at))
        if (typeof ordered === "string") return Effect.dieMessage(ordered)
        registered = all
        places[registration.at] = ordered
        return Effect.void
      }),
    at: (at) => places[at],
    addSending: (added) =>
      Effect.sync(() => {
        sending = [...sending, added]
      }),
    sending: () => sending
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** The first registered is the outermost, unless another says that it is outside of it. Or why there is no order. */
const order = (registrations: ReadonlyArray<Registration>): ReadonlyArray<Registration> | string => {
  const ordered: Array<Registration> = []
  let left = registrations
  while (left.length > 0) {
    const next = left.find(({ name }) => !left.some((other) => other.outside.includes(name)))
    if (next === undefined) return circle(left)
    ordered.push(next)
    left = left.filter((other) => other !== next)
  }
  return ordered
}

/** Each of those left has another that is outside of it, so going outwards leads round. */
const circle = (left: ReadonlyArray<Registration>): string => {
  const path: Array<Registration> = []
  let last = left[0]!
  while (!path.includes(last)) {
    path.unshift(last)
    const { name } = last
    last = left.find(({ outside }) => outside.includes(name))!
  }
  const names = path.slice(0, path.indexOf(last) + 1).map(({ name }) => `"${name}"`)
  return `The interceptors ${names.join(" and ")} are to be outside of each other: leave out one \`outside\``
}
