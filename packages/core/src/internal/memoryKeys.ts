import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { KeyClaim } from "../MessageStore.ts"
import { Heap } from "./memoryHeap.ts"
import { type Journal, Table, Waiters } from "./memoryTable.ts"

/**
 * Keys that are remembered for a while, then forgotten.
 *
 * @internal
 */
export class Expiring<V extends { readonly key: string; readonly expiresAt: number }> {
  private readonly rows: Table<V>
  private readonly expiring = new Heap<V>((self, that) => self.expiresAt < that.expiresAt)

  constructor(journal: Journal, onChange: (before: V | undefined) => void = () => {}) {
    this.rows = new Table<V>(journal, (before, after) => {
      if (before !== undefined) this.expiring.remove(before)
      if (after !== undefined) this.expiring.add(after)
      onChange(before)
    })
  }

  get(now: number, key: string): V | undefined {
    const row = this.rows.get(key)
    return row !== undefined && row.expiresAt > now ? row : undefined
  }

  set(row: V): void {
    this.rows.set(row.key, row)
  }

  delete(key: string): void {
    this.rows.delete(key)
  }

  /** Drops what has expired, so that memory stays bounded. */
  prune(now: number): void {
    for (;;) {
      const first = this.expiring.peek()
      if (first === undefined || first.expiresAt > now) return
      this.rows.delete(first.key)
    }
  }
}

/**
 * Idempotency keys: who is doing it, or what was answered. A claim whose lease ran out stays its holder's until somebody
 * else takes it.
 *
 * @internal
 */
export class Keys {
  private readonly rows: Expiring<KeyRow>
  private token = 0

  constructor(journal: Journal) {
    this.rows = new Expiring<KeyRow>(journal, (before) => {
      if (before?._tag === "Claimed") before.waiters.wake()
    })
  }

  claim(key: string, leaseMillis: number): Effect.Effect<KeyClaim> {
    return Effect.flatMap(Clock.currentTimeMillis, (now): Effect.Effect<KeyClaim> => {
      this.rows.prune(now)
      const row = this.rows.get(now, key)
      if (row?._tag === "Completed") return Effect.succeed({ _tag: "Completed", result: row.result })
      if (row?._tag === "Claimed" && row.leaseUntil > now) {
        const released = Effect.interruptible(row.waiters.wait(row.leaseUntil - now))
        return Effect.zipRight(released, this.claim(key, leaseMillis))
      }
      const token = String(++this.token)
      this.rows.set({
        _tag: "Claimed",
        key,
        token,
        leaseUntil: now + leaseMillis,
        expiresAt: Number.POSITIVE_INFINITY,
        waiters: new Waiters()
      })
      return Effect.succeed({ _tag: "Claimed", token })
    })
  }

  renew(now: number, key: string, token: string, leaseMillis: number): void {
    const row = this.rows.get(now, key)
    if (row?._tag !== "Claimed" || row.token !== token) return
    this.rows.set({ ...row, leaseUntil: now + leaseMillis, waiters: new Waiters() })
  }

  /** Answers whether the claim was still the holder's. */
  complete(now: number, key: string, token: string, result: string, windowMillis: number): boolean {
    if (!this.holds(now, key, token)) return false
    this.rows.set({ _tag: "Completed", key, result, expiresAt: now + windowMillis })
    return true
  }

  release(now: number, key: string, token: string): void {
    if (this.holds(now, key, token)) this.rows.delete(key)
  }

  private holds(now: number, key: string, token: string): boolean {
    const row = this.rows.get(now, key)
    return row?._tag === "Claimed" && row.token === token
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

type KeyRow =
  | {
      readonly _tag: "Claimed"
      readonly key: string
      readonly token: string
      readonly leaseUntil: number
      readonly expiresAt: number
      readonly waiters: Waiters
    }
  | { readonly _tag: "Completed"; readonly key: string; readonly result: string; readonly expiresAt: number }
