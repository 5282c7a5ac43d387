/**
 * The map of a context: the services that all messages of a handler share, and a few that are one message's own. It is
 * read without a copy of those shared, and copied once somebody goes through all of it: whoever adds a service does.
 *
 * @internal
 */
export class UnitServices implements ReadonlyMap<string, unknown> {
  private readonly shared: ReadonlyMap<string, unknown>
  private readonly ownKeys: ReadonlyArray<string>
  private readonly own: ReadonlyArray<unknown>
  private copy: ReadonlyMap<string, unknown> | undefined = undefined

  /** `own` has a service for each of the keys, and none of these is among the shared ones. */
  constructor(shared: ReadonlyMap<string, unknown>, keys: ReadonlyArray<string>, own: ReadonlyArray<unknown>) {
    this.shared = shared
    this.ownKeys = keys
    this.own = own
  }

  get size(): number {
    return this.shared.size + this.ownKeys.length
  }

  has(key: string): boolean {
    return this.ownKeys.includes(key) || this.shared.has(key)
  }

  get(key: string): unknown {
    const place = this.ownKeys.indexOf(key)
    return place === -1 ? this.shared.get(key) : this.own[place]
  }

  forEach(f: (service: unknown, key: string, map: ReadonlyMap<string, unknown>) => void): void {
    for (const [key, service] of this.whole) f(service, key, this)
  }

  keys(): MapIterator<string> {
    return this.whole.keys()
  }

  values(): MapIterator<unknown> {
    return this.whole.values()
  }

  entries(): MapIterator<[string, unknown]> {
    return this.whole.entries()
  }

  [Symbol.iterator](): MapIterator<[string, unknown]> {
    return this.whole.entries()
  }

  private get whole(): ReadonlyMap<string, unknown> {
    if (this.copy === undefined) {
      const copy = new Map(this.shared)
      for (let place = 0; place < this.own.length; place++) copy.set(this.ownKeys[place]!, this.own[place])
      this.copy = copy
    }
    return this.copy
  }
}
