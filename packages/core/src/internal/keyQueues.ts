import * as Effect from "effect/Effect"

/**
 * Lets one at a time in for each key, in the order in which they came: those of one saga instance.
 *
 * @internal
 */
export class KeyQueues {
  /** Those who wait, first the one who is inside. */
  private readonly queues = new Map<string, Array<() => void>>()

  /** Runs `go` as soon as nobody of the key is inside: now, or when its turn comes. Answers whether it was now. */
  enter(key: string, go: () => void): boolean {
    const queue = this.queues.get(key)
    if (queue !== undefined) {
      queue.push(go)
      return false
    }
    this.queues.set(key, [go])
    go()
    return true
  }

  /** Who is inside goes, and lets the next one in. */
  leave(key: string): void {
    const queue = this.queues.get(key)!
    queue.shift()
    const next = queue[0]
    if (next === undefined) this.queues.delete(key)
    else next()
  }

  /** Who waits goes away. One who is inside stays. */
  giveUp(key: string, go: () => void): void {
    const queue = this.queues.get(key) ?? []
    const place = queue.indexOf(go)
    if (place > 0) queue.splice(place, 1)
  }

  readonly oneAtATime = <A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.uninterruptibleMask((restore) => {
      let inside = false
      let proceed = () => {}
      const go = () => {
        inside = true
        proceed()
      }
      const enter = Effect.async<void>((resume) => {
        proceed = () => resume(Effect.void)
        this.enter(key, go)
      })
      return Effect.ensuring(
        Effect.zipRight(restore(enter), restore(effect)),
        Effect.sync(() => (inside ? this.leave(key) : this.giveUp(key, go)))
      )
    })
}
