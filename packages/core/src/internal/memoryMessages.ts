import { type Envelope, type Failure, failureCount } from "../Envelope.ts"
import type { Delivery, Due, Lease, Timer } from "../MessageStore.ts"
import { Heap } from "./memoryHeap.ts"
import { Sequences } from "./memoryOrder.ts"
import { type Journal, Table, Waiters } from "./memoryTable.ts"

/**
 * A message on a channel.
 *
 * @internal
 */
export interface Row {
  readonly key: string
  readonly channel: string
  readonly envelope: Envelope
  readonly priority: number
  readonly timer: Timer | undefined
  readonly undelayed: boolean
  readonly crashes: number
  readonly state: "Ready" | "Claimed" | "Scheduled"
  /** Its place among those of its priority, and among those of its ordering key. */
  readonly sequence: number
  /** When it became available, or if it is scheduled or waits in its place for a retry, will. */
  readonly availableAt: number
  readonly token: string
  readonly leaseUntil: number
  /** Whether its consumer has begun with it: what was only claimed ahead, a lost consumer has not touched. */
  readonly begun: boolean
  readonly owner: string
  /** How many its consumer had begun when another of them was found lost; renewing forgets it. */
  readonly peers: number
  /** One of so many that a lost consumer had begun: nobody knows which of them ended it. */
  readonly suspects: number | undefined
  /** The pause or limit by which it is held, and when it had become available before. */
  readonly held?: { readonly by: string; readonly from: number } | undefined
}

/** @internal */
export interface Claiming {
  readonly channel: string
  readonly limit: number
  readonly leaseMillis: number
  readonly owner: string
  readonly ahead?: boolean | undefined
}

/**
 * The messages of all channels. Every method takes the time at which it happens.
 *
 * @internal
 */
export class Messages {
  private readonly rows: Table<Row>
  private readonly channels = new Map<string, Channel>()
  private readonly timers = new Map<string, Set<Row>>()
  private readonly holds = new Map<string, Set<Row>>()
  private sequence = 0
  private token = 0

  constructor(journal: Journal) {
    this.rows = new Table<Row>(journal, (before, after) => {
      if (before !== undefined) this.leave(before)
      if (after !== undefined) this.enter(after)
    })
  }

  channel(name: string): Channel {
    const existing = this.channels.get(name)
    if (existing !== undefined) return existing
    const channel = new Channel()
    this.channels.set(name, channel)
    return channel
  }

  all(): ReadonlyArray<Row> {
    return this.rows.values()
  }

  /** The channels that are paused, by name. */
  paused(): ReadonlyArray<string> {
    return Array.from(this.channels)
      .flatMap(([name, { paused }]) => (paused === undefined ? [] : [name]))
      .sort()
  }

  add(
    now: number,
    message: Pick<Row, "channel" | "envelope" | "priority" | "timer" | "undelayed"> & {
      readonly due: Due | undefined
      /** Where it was before, if it keeps its place. */
      readonly place?: number | undefined
    }
  ): void {
    const { due, place, ...rest } = message
    if (rest.timer !== undefined) this.cancelTimer(now, rest.timer.owner, rest.timer.name)
    const at = dueAt(now, due)
    const sequence = ++this.sequence
    this.put({
      ...rest,
      key: String(sequence),
      sequence: place ?? sequence,
      crashes: 0,
      state: at > now ? "Scheduled" : "Ready",
      availableAt: Math.max(at, now),
      token: "",
      leaseUntil: 0,
      begun: false,
      owner: "",
      peers: 0,
      suspects: undefined
    })
  }

  /** The row under the lease, unless the lease was lost. */
  held(now: number, lease: Lease): Row | undefined {
    const row = this.rows.get(lease.key)
    return row?.state === "Claimed" && row.token === lease.token && row.leaseUntil > now ? row : undefined
  }

  remove(row: Row): void {
    this.rows.delete(row.key)
  }

  retry(now: number, row: Row, failures: ReadonlyArray<Failure>, afterMillis: number): void {
    this.later({ ...row, envelope: { ...row.envelope, failures } }, now + afterMillis)
  }

  release(now: number, row: Row, afterMillis: number): void {
    if (afterMillis > 0) this.later(row, now + afterMillis)
    else this.put({ ...row, state: "Ready" })
  }

  renew(now: number, row: Row, leaseMillis: number): void {
    this.put({ ...row, leaseUntil: now + leaseMillis, peers: 0 })
  }

  start(row: Row): void {
    this.put({ ...row, begun: true })
  }

  cancelTimer(now: number, owner: string, name: string | undefined): void {
    for (const row of Array.from(this.timers.get(owner) ?? [])) {
      const claimed = row.state === "Claimed" && row.leaseUntil > now
      if (!claimed && (name === undefined || row.timer?.name === name)) this.remove(row)
    }
  }

  claim(now: number, options: Claiming): ReadonlyArray<Delivery> {
    const channel = this.channel(options.channel)
    if (channel.paused !== undefined) return []
    this.takeBackExpired(now, channel)
    this.moveDue(now, channel)
    const group = channel.suspected > 0 ? channel.group(options) : undefined
    const deliveries: Array<Delivery> = []
    for (let left = group?.limit ?? options.limit; left > 0; left--) {
      const row = (group?.rows ?? channel.ready).peek()
      if (row === undefined || (group !== undefined && row.suspects !== group.size)) break
      const claimed: Row = {
        ...row,
        state: "Claimed",
        token: String(++this.token),
        leaseUntil: now + options.leaseMillis,
        begun: options.ahead !== true,
        owner: options.owner,
        peers: 0
      }
      this.put(claimed)
      deliveries.push(deliver(now, claimed))
    }
    return deliveries
  }

  /** Sets a claimed message aside; one with an ordering key stays where it is. */
  hold(row: Row, by: string): void {
    this.later({ ...row, held: { by, from: row.availableAt } }, Number.POSITIVE_INFINITY)
  }

  heldBy(by: string): number {
    return this.holds.get(by)?.size ?? 0
  }

  /** Puts the oldest of the held messages back, as they were before. Answers their number. */
  letGo(now: number, by: string, limit: number): number {
    const rows = Array.from(this.holds.get(by) ?? []).sort((self, that) => Number(self.key) - Number(that.key))
    const oldest = rows.slice(0, Math.max(0, limit))
    for (const row of oldest) {
      this.put({ ...row, availableAt: Math.min(now, row.held!.from), held: undefined })
    }
    return oldest.length
  }

  scheduled(now: number, key: string): Row | undefined {
    const row = this.rows.get(key)
    return row !== undefined && waits(now, row) ? row : undefined
  }

  reschedule(now: number, row: Row, due: Due): void {
    this.put({ ...row, availableAt: dueAt(now, due) })
  }

  /** Dead letters come or go that hold up an ordering key. */
  parked(channel: string, { endpoint, orderingKey }: Envelope, letters: number): void {
    if (!orderingKey) return
    this.channel(channel).sequences.change(endpoint, orderingKey, (sequence) => {
      sequence.letters += letters
    })
  }

  /**
   * What a lost consumer had begun alone counts as a crash. Of several, nobody knows which it was: they become suspects,
   * and those of them whose leases run out later remember how many they were.
   */
  private takeBackExpired(now: number, channel: Channel): void {
    const first = channel.claimed.peek()
    if (first === undefined || first.leaseUntil > now) return
    const claimed = channel.claimed.values()
    const expired = claimed.filter((row) => row.leaseUntil <= now)
    for (const owner of new Set(expired.map((row) => row.owner))) {
      const begun = claimed.filter((row) => row.owner === owner && row.begun)
      for (const row of begun) {
        if (row.leaseUntil > now) this.put({ ...row, peers: Math.max(row.peers, begun.length) })
      }
      for (const row of expired) if (row.owner === owner) this.takeBack(row, Math.max(row.peers, begun.length))
    }
  }

  private takeBack(row: Row, peers: number): void {
    if (!row.begun) this.put({ ...row, state: "Ready" })
    else if (peers > 1) this.put({ ...row, state: "Ready", suspects: peers })
    else this.put({ ...row, state: "Ready", suspects: undefined, crashes: row.crashes + 1 })
  }

  private moveDue(now: number, channel: Channel): void {
    for (;;) {
      const row = channel.scheduled.peek()
      if (row === undefined || row.availableAt > now) break
      this.put({ ...row, state: "Ready", sequence: ++this.sequence })
    }
    channel.offerDue(now)
  }

  /** A message with an ordering key stays where it is. */
  private later(row: Row, availableAt: number): void {
    const cleared: Row = { ...row, suspects: undefined }
    this.put(isOrdered(row) ? { ...cleared, state: "Ready", availableAt } : this.schedule(cleared, availableAt))
  }

  /** A timer's message keeps its name, unless the timer was armed again in the meantime. */
  private schedule(row: Row, availableAt: number): Row {
    const { timer } = row
    const armed = timer === undefined ? [] : Array.from(this.timers.get(timer.owner) ?? [])
    const again = armed.some((other) => other.state === "Scheduled" && other.timer?.name === timer?.name)
    return { ...row, state: "Scheduled", availableAt, timer: again ? undefined : timer }
  }

  private put(row: Row): void {
    this.rows.set(row.key, row)
  }

  private enter(row: Row): void {
    const channel = this.channel(row.channel)
    channel.enter(row)
    channel.waiters.wake()
    if (row.held !== undefined) {
      const held = this.holds.get(row.held.by)
      if (held === undefined) this.holds.set(row.held.by, new Set([row]))
      else held.add(row)
    }
    if (row.timer === undefined) return
    const owned = this.timers.get(row.timer.owner)
    if (owned === undefined) this.timers.set(row.timer.owner, new Set([row]))
    else owned.add(row)
  }

  private leave(row: Row): void {
    this.channel(row.channel).leave(row)
    if (row.held !== undefined) {
      const held = this.holds.get(row.held.by)
      held?.delete(row)
      if (held?.size === 0) this.holds.delete(row.held.by)
    }
    if (row.timer === undefined) return
    const owned = this.timers.get(row.timer.owner)
    owned?.delete(row)
    if (owned?.size === 0) this.timers.delete(row.timer.owner)
  }
}

/**
 * What a message shows of itself: its attempt follows from what happened to it.
 *
 * @internal
 */
export const envelopeOf = (row: Row): Envelope => ({
  ...row.envelope,
  attempt: failureCount(row.envelope.failures) + row.crashes + 1
})

/**
 * Whether the message waits for its time: for its turn, or in its place for a retry.
 *
 * @internal
 */
export const waits = (now: number, row: Row): boolean =>
  row.held === undefined &&
  (row.state === "Scheduled" || (row.state === "Ready" && isOrdered(row) && row.availableAt > now))

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

interface Group {
  readonly rows: Heap<Row>
  readonly size: number | undefined
  readonly limit: number
}

const isMoreUrgent = (self: Row, that: Row): boolean =>
  self.priority === that.priority ? self.sequence < that.sequence : self.priority > that.priority

const isOrdered = (row: Row): boolean => row.envelope.orderingKey !== undefined

class Channel {
  /** What may be claimed: of each ordering key only the one that it offers. */
  readonly ready = new Heap<Row>(isMoreUrgent)
  /** What may be claimed apart from all else: one of them may have ended a consumer. */
  readonly suspects = new Heap<Row>(isMoreUrgent)
  /** What ordering keys offer, until it is due. */
  readonly offered = new Heap<Row>((self, that) => self.availableAt < that.availableAt)
  readonly claimed = new Heap<Row>((self, that) => self.leaseUntil < that.leaseUntil)
  readonly scheduled = new Heap<Row>((self, that) =>
    self.availableAt === that.availableAt ? self.sequence < that.sequence : self.availableAt < that.availableAt
  )
  readonly sequences = new Sequences((before, after) => {
    if (before !== undefined) {
      this.ready.remove(before)
      this.suspects.remove(before)
      this.offered.remove(before)
    }
    if (after !== undefined) this.offered.add(after)
    this.waiters.wake()
  })
  readonly waiters = new Waiters()
  /** Since when and why nothing is claimed from it. */
  paused: { readonly pausedAt: number; readonly reason: string | undefined } | undefined
  /** How many are suspects, claimed or not. */
  suspected = 0

  enter(row: Row): void {
    if (row.suspects !== undefined) this.suspected++
    if (row.state === "Scheduled") this.scheduled.add(row)
    else if (row.state === "Claimed") this.claimed.add(row)
    else if (!isOrdered(row)) this.offer(row)
    this.order(row, (rows) => rows.add(row), 1)
  }

  leave(row: Row): void {
    if (this.suspected > 0) this.waiters.wake()
    if (row.suspects !== undefined) this.suspected--
    if (row.state === "Scheduled") this.scheduled.remove(row)
    else if (row.state === "Claimed") this.claimed.remove(row)
    else if (!isOrdered(row)) (row.suspects === undefined ? this.ready : this.suspects).remove(row)
    this.order(row, (rows) => rows.remove(row), -1)
  }

  offerDue(now: number): void {
    for (;;) {
      const row = this.offered.peek()
      if (row === undefined || row.availableAt > now) return
      this.offered.remove(row)
      this.offer(row)
    }
  }

  /** When there is something to claim, as far as is known now. */
  claimableAt(): number {
    if (this.paused !== undefined) return Number.POSITIVE_INFINITY
    if (this.ready.size > 0 && this.suspected === 0) return Number.NEGATIVE_INFINITY
    if (this.suspects.size > 0 && this.claimed.size === 0) return Number.NEGATIVE_INFINITY
    return Math.min(
      this.scheduled.peek()?.availableAt ?? Number.POSITIVE_INFINITY,
      this.offered.peek()?.availableAt ?? Number.POSITIVE_INFINITY,
      this.claimed.peek()?.leaseUntil ?? Number.POSITIVE_INFINITY
    )
  }

  /**
   * The suspects that a consumer may claim, if there are any to claim: at most half of those that one had begun. A
   * consumer that has some gets nothing else, and one that is busy with others gets nothing until it is not.
   */
  group(options: Claiming): Group | undefined {
    const own = this.claimed.values().filter((row) => row.owner === options.owner)
    const size = this.suspects.peek()?.suspects
    if (own.some((row) => row.suspects !== undefined)) return { rows: this.suspects, size, limit: 0 }
    if (size === undefined) return undefined
    const limit = own.length > 0 ? 0 : Math.min(options.limit, Math.max(1, Math.floor(size / 2)))
    return { rows: this.suspects, size, limit }
  }

  private offer(row: Row): void {
    if (row.suspects === undefined) this.ready.add(row)
    else this.suspects.add(row)
  }

  private order(row: Row, waiting: (rows: Heap<Row>) => void, claimed: number): void {
    const { endpoint, orderingKey } = row.envelope
    if (orderingKey === undefined || row.state === "Scheduled") return
    this.sequences.change(endpoint, orderingKey, (sequence) => {
      if (row.state === "Claimed") sequence.claimed += claimed
      else waiting(sequence.rows)
    })
  }
}

const deliver = (now: number, row: Row): Delivery => ({
  lease: {
    channel: row.channel,
    key: row.key,
    token: row.token,
    ...(isOrdered(row) ? { ordered: true } : undefined)
  },
  envelope: envelopeOf(row),
  claimedAt: now,
  availableAt: row.availableAt,
  crashes: row.crashes,
  priority: row.priority,
  undelayed: row.undelayed
})

const dueAt = (now: number, due: Due | undefined): number =>
  due === undefined ? now : due._tag === "After" ? now + due.millis : due.epochMillis
