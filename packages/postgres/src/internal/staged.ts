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
  const writes = units.flat()
  const { disarmed, sent } = lastOfTimers(writes)
  const parks = only(writes, "Park")
  const acknowledged = only(writes, "Acknowledge")
  const retried = only(writes, "Retry")
  const leases = [...acknowledged, ...retried, ...parks].map(({ lease }) => lease)
  return {
    acknowledged: byLease(acknowledged),
    retried: byLease(retried),
    parked: byLease(parks.filter((park): park is Park & { readonly lease: Lease } => park.lease !== undefined)),
    buried: parks.filter((park) => park.lease === undefined),
    disarmed,
    sent,
    published: only(writes, "Publish"),
    sagas: sorted(only(writes, "SagaPut"), (put) => `${put.saga}\u0000${put.id}`),
    remembered: sorted(only(writes, "Deduplicate"), (remembered) => remembered.key),
    completed: sorted(only(writes, "CompleteKey"), (completed) => completed.key),
    journal: only(writes, "JournalEntry"),
    channels: new Set([
      ...sent.map(({ channel }) => channel),
      ...retried.map(({ lease }) => lease.channel),
      ...leases.flatMap((lease) => (lease?.ordered ? [lease.channel] : []))
    ])
  }
}

/**
 * The keys by which units could meet in one statement, which would hide that they conflict.
 *
 * @internal
 */
export const conflictKeys = (writes: ReadonlyArray<Write>): ReadonlyArray<string> =>
  writes.flatMap((write): ReadonlyArray<string> => {
    switch (write._tag) {
      case "Acknowledge":
      case "Retry":
        return [`lease ${write.lease.key}`]
      case "Park":
        return write.lease === undefined ? [] : [`lease ${write.lease.key}`]
      case "SagaPut":
        return [`saga ${JSON.stringify([write.saga, write.id])}`]
      case "Deduplicate":
        return [`remembered ${write.key}`]
      case "CompleteKey":
        return [`key ${write.key}`]
      case "CancelTimer":
        return [`timer ${write.owner}`]
      case "Send":
        return write.timer === undefined ? [] : [`timer ${write.timer.owner}`]
      default:
        return []
    }
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const only = <Tag extends Write["_tag"]>(
  writes: ReadonlyArray<Write>,
  tag: Tag
): ReadonlyArray<Extract<Write, { readonly _tag: Tag }>> =>
  writes.filter((write): write is Extract<Write, { readonly _tag: Tag }> => write._tag === tag)

const sorted = <A>(writes: ReadonlyArray<A>, key: (write: A) => string): ReadonlyArray<A> =>
  writes.toSorted((self, that) => (key(self) < key(that) ? -1 : key(self) > key(that) ? 1 : 0))

const byLease = <A extends { readonly lease: Lease }>(writes: ReadonlyArray<A>): ReadonlyArray<A> =>
  writes.toSorted((self, that) => Number(self.lease.key) - Number(that.lease.key))

/** Arming and disarming happen in their order: what was armed and then disarmed is not sent at all. */
const lastOfTimers = (
  writes: ReadonlyArray<Write>
): { readonly disarmed: ReadonlyArray<Disarmed>; readonly sent: ReadonlyArray<Send> } => {
  const disarmed = new Map<string, Disarmed>()
  let sent: Array<Send> = []
  const disarm = (owner: string, name: string | undefined, armed: boolean) => {
    disarmed.set(JSON.stringify([owner, name]), { owner, name, armed })
    sent = sent.filter(({ timer }) => timer?.owner !== owner || (name !== undefined && timer.name !== name))
  }
  for (const write of writes) {
    if (write._tag === "CancelTimer") disarm(write.owner, write.name, false)
    if (write._tag !== "Send") continue
    if (write.timer !== undefined) disarm(write.timer.owner, write.timer.name, write.due !== undefined)
    sent.push(write)
  }
  return { disarmed: sorted(Array.from(disarmed.values()), ({ owner, name }) => `${owner}\u0000${name ?? ""}`), sent }
}
