import * as Effect from "effect/Effect"

/** @internal */
export interface Breaker {
  /** After how many failures of the infrastructure in a row it opens. */
  readonly failures: number
  readonly openMillis: number
}

/**
 * How a handler's infrastructure does, as this process sees it.
 *
 * @internal
 */
export interface Circuit {
  readonly handler: string
  readonly breaker: Breaker
  state: "Closed" | "Open" | "HalfOpen"
  /** Failures in a row. */
  failures: number
  /** Until when nothing is begun while it is open; until when the one that tries it counts while it is half open. */
  until: number
}

/** @internal */
export const make = (handler: string, breaker: Breaker): Circuit => ({
  handler,
  breaker,
  state: "Closed",
  failures: 0,
  until: 0
})

/** For how long a message may not begin. Zero, and it begins: when the circuit was open, as the one that tries it. @internal */
export const enter = (circuit: Circuit, now: number): number => {
  const wait = remaining(circuit, now)
  if (wait === 0 && circuit.state !== "Closed") {
    circuit.state = "HalfOpen"
    circuit.until = now + circuit.breaker.openMillis
  }
  return wait
}

/** For how long nothing may begin. While one message tries the circuit, the others look again soon. @internal */
export const remaining = ({ state, until }: Circuit, now: number): number =>
  state === "Closed" || until <= now ? 0 : state === "Open" ? until - now : Math.min(until - now, probeMillis)

/** The infrastructure failed. @internal */
export const failed = (circuit: Circuit, now: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    circuit.failures++
    // what was in flight when it opened says nothing new
    if (circuit.state === "Open" && circuit.until > now) return Effect.void
    if (circuit.state === "Closed" && circuit.failures < circuit.breaker.failures) return Effect.void
    const again = circuit.state !== "Closed"
    circuit.state = "Open"
    circuit.until = now + circuit.breaker.openMillis
    const why = again
      ? "the infrastructure of its handler still fails"
      : `the infrastructure of its handler failed ${circuit.failures} times in a row`
    return Effect.logWarning(
      `The circuit of ${circuit.handler} is open for ${circuit.breaker.openMillis} ms: ${why}. Then one message tries it`
    )
  })

/** The infrastructure answered, whatever it said. @internal */
export const passed = (circuit: Circuit): Effect.Effect<void> =>
  Effect.suspend(() => {
    const before = circuit.state
    circuit.failures = 0
    circuit.state = "Closed"
    return before === "Closed"
      ? Effect.void
      : Effect.logInfo(`The circuit of ${circuit.handler} is closed: its messages are handled again`)
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const probeMillis = 1_000
