/**
 * How many messages a consumer may hold: what it will have worked off in a moment, by how fast it has been.
 *
 * Real time, not that of `Clock`: what is measured is this process.
 *
 * @internal
 */
export class Pace {
  private readonly concurrency: number
  private readonly most: number
  /** Messages a millisecond, as a running average. */
  private rate = 0
  private known = 0
  private size: number
  /** What ended since the last sample, and the time that there was something to do since then. */
  private ended = 0
  private busy = 0
  private since: number | undefined

  constructor(concurrency: number, most: number) {
    this.concurrency = concurrency
    this.most = Math.max(concurrency, most)
    this.size = concurrency
  }

  /** There is something to do again. */
  wake(): void {
    this.since ??= performance.now()
  }

  /** There is nothing to do: the time until the next claim says nothing of how fast handlers are. */
  rest(): void {
    if (this.since === undefined) return
    this.busy += performance.now() - this.since
    this.since = undefined
  }

  /** A handler has ended. */
  end(): void {
    this.ended++
    if (this.ended < this.concurrency) return
    const now = performance.now()
    const busy = this.busy + (this.since === undefined ? 0 : now - this.since)
    const sample = this.ended / Math.max(busy, 0.05)
    this.rate = this.known === 0 ? sample : this.rate + (sample - this.rate) * weight
    this.known += this.ended
    this.ended = 0
    this.busy = 0
    if (this.since !== undefined) this.since = now
    this.follow()
  }

  /** A claim brought as many as were asked for: there are more. */
  full(): void {
    if (this.known < this.concurrency * rounds) return
    this.size = Math.min(this.size * 4, this.most)
    this.follow()
  }

  /** It is not what it was: so many as there are slots, until an average can be trusted again. */
  forget(): void {
    this.size = this.concurrency
    this.known = 0
    this.ended = 0
    this.busy = 0
    if (this.since !== undefined) this.since = performance.now()
  }

  /** How many to hold, begun or not. */
  get target(): number {
    return this.size
  }

  /** How long so many will take. */
  millisFor(count: number): number {
    return count === 0 ? 0 : count / this.rate
  }

  private follow(): void {
    const soon = Math.floor(this.rate * aheadMillis)
    if (soon < this.size) this.size = Math.max(this.concurrency, Math.min(this.most, soon), this.size >> 1)
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const weight = 0.3

/** An average of fewer than so many rounds of all slots is not to be trusted. */
const rounds = 4

const aheadMillis = 75
