import type { Lease, Write } from "@holdfast/core/MessageStore"
import type { MessagingError } from "@holdfast/core/MessagingError"
import * as Option from "effect/Option"
import { isQueued, shared } from "./leaseKey.ts"
import { Marks } from "./marks.ts"

/**
 * The leases on the queue that this process has, and which messages are left under each: with the last of them the lease
 * can go. One that is forgotten runs out.
 *
 * @internal
 */
export class Held {
  private readonly leases = new Map<string, { readonly keys: Set<string>; expires: number }>()
  private readonly channels = new Map<string, { readonly marks: Marks; readonly done: Set<string> }>()

  marks(channel: string): Marks {
    return this.of(channel).marks
  }

  claimed(token: string, keys: Set<string>, expires: number, now: number): void {
    if (this.leases.size > 1000) this.forget(now)
    this.leases.set(token, { keys, expires })
  }

  /** What is left under the lease, as far as this process knows. */
  left(token: string): ReadonlyArray<Pick<Lease, "key">> | undefined {
    const lease = this.leases.get(token)
    return lease === undefined ? undefined : Array.from(lease.keys, (key) => ({ key }))
  }

  renewed(token: string, expires: number): void {
    const lease = this.leases.get(token)
    if (lease !== undefined) lease.expires = expires
  }

  /** The messages under the leases of these that are not among them: whoever claimed them has given them up. */
  abandoned(leases: ReadonlyArray<Lease>): ReadonlyArray<Lease> {
    const kept = new Set(leases.map(({ key }) => key))
    return shared(leases).flatMap(({ channel, token }) =>
      Array.from(this.leases.get(token)?.keys ?? [])
        .filter((key) => !kept.has(key))
        .map((key) => ({ channel, key, token }))
    )
  }

  /** Whether the message is under the lease, as far as this process knows. */
  holds({ channel, key, token }: Lease): boolean {
    return this.leases.get(token)?.keys.has(key) ?? !this.of(channel).done.has(token)
  }

  /** The message is settled or was given back. */
  settled(lease: Lease): void {
    if (!isQueued(lease)) return
    const held = this.leases.get(lease.token)
    if (held === undefined || !held.keys.delete(lease.key) || held.keys.size > 0) return
    this.leases.delete(lease.token)
    this.of(lease.channel).done.add(lease.token)
  }

  /** The unit has committed. */
  committed(writes: ReadonlyArray<Write>): void {
    for (const write of writes) {
      if (write._tag === "Acknowledge" || write._tag === "Retry") this.settled(write.lease)
      else if (write._tag === "Park" && write.lease !== undefined) this.settled(write.lease)
    }
  }

  ended(units: ReadonlyArray<ReadonlyArray<Write>>, outcomes: ReadonlyArray<Option.Option<MessagingError>>): void {
    units.forEach((writes, index) => {
      if (Option.isNone(outcomes[index]!)) this.committed(writes)
    })
  }

  /** The leases that the next claim takes away, as nothing is left under them. */
  done(channel: string): ReadonlyArray<string> {
    return Array.from(this.of(channel).done)
  }

  /** Those of all channels, when no claim follows. */
  allDone(): ReadonlyArray<{ readonly channel: string; readonly token: string }> {
    return Array.from(this.channels.keys()).flatMap((channel) =>
      this.done(channel).map((token) => ({ channel, token }))
    )
  }

  removed(channel: string, tokens: ReadonlyArray<string>): void {
    const { done } = this.of(channel)
    for (const token of tokens) done.delete(token)
  }

  private of(channel: string) {
    const existing = this.channels.get(channel)
    if (existing !== undefined) return existing
    const created = { marks: new Marks(), done: new Set<string>() }
    this.channels.set(channel, created)
    return created
  }

  private forget(now: number): void {
    for (const [token, { expires }] of this.leases) if (expires < now) this.leases.delete(token)
  }
}
