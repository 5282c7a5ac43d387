import type {
  Acknowledge,
  CompleteKey,
  Deduplicate,
  JournalEntry,
  Lease,
  Park,
  Publish,
  Retry,
  SagaPut,
  Send,
  Write
} from "@holdfast/core/MessageStore"
import { idOf } from "./leaseKey.ts"

/**
 * The writes of some units, by what they do, in the order of their keys so that two transactions meet them in the same
 * order.
 *
 * @internal
 */
export interface Staged {
  readonly acknowledged: ReadonlyArray<Acknowledge>
  readonly retried: ReadonlyArray<Retry>
  readonly parked: ReadonlyArray<Park & { readonly lease: Lease }>
  readonly buried: ReadonlyArray<Park>
  readonly disarmed: ReadonlyArray<Disarmed>
  readonly sent: ReadonlyArray<Send>
  readonly published: ReadonlyArray<Publish>
  readonly sagas: ReadonlyArray<SagaPut>
  readonly remembered: ReadonlyArray<Deduplicate>
  readonly completed: ReadonlyArray<CompleteKey>
  readonly journal: ReadonlyArray<JournalEntry>
  /** Where something is put, or may follow what was settled, as far as is known before it is written. */
  readonly channels: ReadonlySet<string>
}

/** @internal */
export interface Disarmed {
  readonly owner: string
  readonly name: string | undefined
  /** It is armed again at once, for a time to come. */
  readonly armed: boolean
}

/** @internal */
export const collect = (units: ReadonlyArray<ReadonlyArray<Write>>): Staged => {
  const acknowledged: Array<Acknowledge> = []
  const retried: Array<Retry> = []
  const parked: Array<Park & { readonly lease: Lease }> = []
  const buried: Array<Park> = []
  const published: Array<Publish> = []
  const sagas: Array<SagaPut> = []
  const remembered: Array<Deduplicate> = []
  const completed: Array<CompleteKey> = []
  const journal: Array<JournalEntry> = []
  const sent: Array<Send> = []
  const channels = new Set<string>()
  const timers = new Timers(sent)
  const settled = ({ channel, ordered }: Lease) => {
    if (ordered) channels.add(channel)
  }
  for (const unit of units) {
    for (const write of unit) {
      switch (write._tag) {
        case "Send":
          if (write.timer === undefined) sent.push(write)
          else timers.arm(write, write.timer)
          break
        case "CancelTimer":
          timers.disarm(write.owner, write.name, false)
          break
        case "Acknowledge":
          settled(write.lease)
          acknowledged.push(write)
          break
        case "Retry":
          channels.add(write.lease.channel)
          retried.push(write)
          break
        case "Park":
          if (write.lease === undefined) buried.push(write)
          else {
            settled(write.lease)
            parked.push(write as Park & { readonly lease: Lease })
          }
          break
        case "Publish":
          published.push(write)
          break
        case "SagaPut":
          sagas.push(write)
          break
        case "Deduplicate":
          remembered.push(write)
          break
        case "CompleteKey":
          completed.push(write)
          break
        case "JournalEntry":
          journal.push(write)
      }
    }
  }
  const left = timers.left()
  for (const { channel } of left) channels.add(channel)
  return {
    acknowledged: acknowledged.sort(byLease),
    retried: retried.sort(byLease),
    parked: parked.sort(byLease),
    buried,
    disarmed: timers.disarmed(),
    sent: left,
    published,
    sagas: sagas.sort((self, that) => compare(self.saga, that.saga) || compare(self.id, that.id)),
    remembered: remembered.sort(byKey),
    completed: completed.sort(byKey),
    journal,
    channels
  }
}

/**
 * The keys by which units could meet in one statement, which would hide that they conflict.
 *
 * @internal
 */
export const conflictKeys = (writes: ReadonlyArray<Write>): ReadonlyArray<string> => {
  let keys = none
  for (const write of writes) {
    const key = conflictKey(write)
    if (key === undefined) continue
    if (keys === none) keys = [key]
    else keys.push(key)
  }
  return keys
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const none: Array<string> = []

const conflictKey = (write: Write): string | undefined => {
  switch (write._tag) {
    case "Acknowledge":
    case "Retry":
    case "Park":
      return write.lease && `lease ${write.lease.key}`
    case "SagaPut":
      return `saga ${write.saga.length} ${write.saga} ${write.id}`
    case "Deduplicate":
      return `remembered ${write.key}`
    case "CompleteKey":
      return `key ${write.key}`
    case "CancelTimer":
      return `timer ${write.owner}`
    case "Send":
      return write.timer && `timer ${write.timer.owner}`
    default:
      return undefined
  }
}

const compare = (self: string, that: string): number => (self < that ? -1 : self > that ? 1 : 0)

const byKey = (self: { readonly key: string }, that: { readonly key: string }): number => compare(self.key, that.key)

const byLease = (self: { readonly lease: Lease }, that: { readonly lease: Lease }): number =>
  Number(idOf(self.lease)) - Number(idOf(that.lease))

/** Arming and disarming happen in their order: what was armed and then disarmed is not sent at all. */
class Timers {
  private readonly sent: Array<Send>
  /** By owner and name. */
  private readonly owners = new Map<string, Map<string | undefined, Disarmed>>()
  /** What is armed as yet, by owner and name. */
  private readonly armed = new Map<string, Map<string, Send>>()
  private readonly undone = new Set<Send>()

  constructor(sent: Array<Send>) {
    this.sent = sent
  }

  arm(send: Send, { name, owner }: NonNullable<Send["timer"]>): void {
    this.disarm(owner, name, send.due !== undefined)
    this.sent.push(send)
    at(this.armed, owner).set(name, send)
  }

  disarm(owner: string, name: string | undefined, armed: boolean): void {
    at(this.owners, owner).set(name, { owner, name, armed })
    const before = this.armed.get(owner)
    for (const [other, send] of before ?? []) {
      if (name !== undefined && name !== other) continue
      this.undone.add(send)
      before!.delete(other)
    }
  }

  left(): Array<Send> {
    return this.undone.size === 0 ? this.sent : this.sent.filter((send) => !this.undone.has(send))
  }

  disarmed(): ReadonlyArray<Disarmed> {
    return Array.from(this.owners.values(), (names) => Array.from(names.values()))
      .flat()
      .sort((self, that) => compare(self.owner, that.owner) || compare(self.name ?? "", that.name ?? ""))
  }
}

const at = <A, B>(maps: Map<string, Map<A, B>>, key: string): Map<A, B> => {
  const known = maps.get(key)
  if (known !== undefined) return known
  const map = new Map<A, B>()
  maps.set(key, map)
  return map
}
