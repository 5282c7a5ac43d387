/**
 * A binary heap that knows where each item is, so that any of them can be removed in logarithmic time.
 *
 * @internal
 */
export class Heap<A> {
  private readonly items: Array<A> = []
  private readonly positions = new Map<A, number>()
  private readonly isBefore: (self: A, that: A) => boolean

  constructor(isBefore: (self: A, that: A) => boolean) {
    this.isBefore = isBefore
  }

  get size(): number {
    return this.items.length
  }

  /** The first item. */
  peek(): A | undefined {
    return this.items[0]
  }

  /** All of them, in no order. */
  values(): ReadonlyArray<A> {
    return this.items
  }

  add(item: A): void {
    this.items.push(item)
    this.rise(item, this.items.length - 1)
  }

  remove(item: A): void {
    const position = this.positions.get(item)
    if (position === undefined) return
    this.positions.delete(item)
    const last = this.items.pop()!
    if (last !== item) this.sink(last, this.rise(last, position))
  }

  private put(item: A, position: number): number {
    this.items[position] = item
    this.positions.set(item, position)
    return position
  }

  private rise(item: A, from: number): number {
    let position = from
    while (position > 0) {
      const above = (position - 1) >> 1
      if (!this.isBefore(item, this.items[above]!)) break
      this.put(this.items[above]!, position)
      position = above
    }
    return this.put(item, position)
  }

  private sink(item: A, from: number): number {
    let position = from
    for (;;) {
      const below = this.firstBelow(position)
      if (below === undefined || !this.isBefore(this.items[below]!, item)) break
      this.put(this.items[below]!, position)
      position = below
    }
    return this.put(item, position)
  }

  private firstBelow(position: number): number | undefined {
    const left = 2 * position + 1
    if (left >= this.items.length) return undefined
    const right = left + 1
    return right < this.items.length && this.isBefore(this.items[right]!, this.items[left]!) ? right : left
  }
}
