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
}
