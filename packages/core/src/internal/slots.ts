import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Delivery } from "../MessageStore.ts"
import { Pace } from "./pace.ts"

/**
 * A claimed message, until it is settled.
 *
 * @internal
 */
export interface Hand<P = unknown> {
  readonly delivery: Delivery
  /** By this process's clock. */
  readonly claimedHere: number
  readonly batch: Batch
  readonly place: number
  /** Its handler, while that runs and can be interrupted. */
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  /** Where it is: in line, beside it behind another of its key, handled, or on its way to the end. */
  stage: "Ready" | "Aside" | "Running" | "Ending"
  lost: boolean
  /** What was made of it before it could run. */
  prepared: P | undefined
  /** It had begun, and waits for another of its key: goes on with it, once it has a slot again. */
  resume: (() => void) | undefined
  /** Nobody waits any longer for what follows its end. */
  letGo: (() => void) | undefined
}

/**
 * What one claim brought. Nothing that was claimed ahead is begun before the store knows.
 *
 * @internal
 */
export interface Batch {
  readonly deliveries: ReadonlyArray<Delivery>
  readonly first: number
  state: "Ahead" | "Starting" | "Started"
}

/**
 * What is done with messages.
 *
 * @internal
 */
export interface Work<P> {
  /** Begins with a message that was given a slot. */
  readonly begin: (hand: Hand<P>) => void
  /** What has ended can be committed; or later, with more of it, if another turn comes at once. */
  readonly turned: (again: boolean) => void
  /** Has the store mark what was claimed ahead, and then says so. */
  readonly start: (batch: Batch, started: () => void) => void
}

/**
 * The slots of a consumer, and the messages that wait for one. At most `concurrency` handlers run; one that never waits
 * ends before the next begins. A message gives its slot back when its handler has ended, and is held until it is settled.
 *
 * @internal
 */
export class Slots<P> {
  readonly hands = new Map<Delivery, Hand<P>>()
  readonly pace: Pace
  readonly concurrency: number
  /** How many were settled: not given back, not lost. */
  handled = 0
  running = 0
  private readonly work: Work<P>
  private line: Array<Hand<P>> = []
  private head = 0
  private aside = 0
  private bytes = 0
  private sequence = 0
  private batches: Array<Batch> = []
  private scheduled = false
  private turning = false
  /** How long it has worked since the event loop last had its turn. */
  private worked = 0
  private readonly waiters = new Set<() => void>()

  constructor(concurrency: number, most: number, work: Work<P>) {
    this.concurrency = concurrency
    this.pace = new Pace(concurrency, most)
    this.work = work
  }

  /** How many wait for a slot. */
  get ready(): number {
    return this.line.length - this.head
  }

  /** Whether some wait for a slot or their turn. */
  get waits(): boolean {
    return this.ready + this.aside > 0
  }

  /** The place behind all that were taken. */
  get newest(): number {
    return this.sequence
  }

  /** The place of the first that waits for a slot. */
  get oldest(): number {
    return this.line[this.head]?.place ?? this.sequence
  }

  /** How many to claim now, and whether that is ahead of time; of those that are left to be handled. */
  wanted(left: number): { readonly limit: number; readonly ahead: boolean } {
    const held = this.hands.size
    const atHand = this.running + this.ready
    const most = this.pace.target
    const free = this.concurrency - atHand
    // those in line have the free slots in a moment, and then more are claimed in one go
    const low = this.ready === 0 ? free > 0 || most > this.concurrency : this.ready <= (most - this.concurrency) >> 1
    const ending = held - atHand - this.aside
    if (!low || this.aside > 4 * this.concurrency || ending > this.mostEnding || this.bytes > mostBytes) return nothing
    const limit = Math.min(most - atHand, left - held, this.room(held))
    return limit <= 0 ? nothing : { limit, ahead: held > 0 && limit > free }
  }

  /** Takes what was claimed. */
  take(deliveries: ReadonlyArray<Delivery>, claimedHere: number, ahead: boolean): void {
    if (deliveries.length === 0) return
    this.pace.wake()
    const batch: Batch = { deliveries, first: this.sequence, state: ahead ? "Ahead" : "Started" }
    if (ahead) this.batches.push(batch)
    for (const delivery of deliveries) {
      const hand: Hand<P> = {
        delivery,
        claimedHere,
        batch,
        place: this.sequence++,
        fiber: undefined,
        stage: "Ready",
        lost: false,
        prepared: undefined,
        resume: undefined,
        letGo: undefined
      }
      this.hands.set(delivery, hand)
      this.bytes += delivery.envelope.payload.length
      this.line.push(hand)
    }
    this.startSoon()
    this.schedule()
  }

  /** The handler has ended: its slot is free. */
  free(hand: Hand<P>): void {
    if (hand.stage === "Running") this.running--
    else if (hand.stage === "Aside") this.aside--
    else this.removeFromLine(hand)
    hand.stage = "Ending"
    hand.fiber = undefined
    this.pace.end()
    this.restIfIdle()
    this.schedule()
  }

  /** Another of its key is being handled: it waits beside the line, without a slot. */
  setAside(hand: Hand<P>): void {
    hand.stage = "Aside"
    this.running--
    this.aside++
    this.restIfIdle()
    this.schedule()
  }

  /** It is its turn now, before those in line. */
  next(hand: Hand<P>): void {
    if (hand.stage === "Aside") this.aside--
    hand.stage = "Ready"
    this.pace.wake()
    if (this.head > 0) this.line[--this.head] = hand
    else this.line.unshift(hand)
    this.schedule()
  }

  /** It has had its end, for this time. */
  settled(hand: Hand<P>, counts: boolean): void {
    this.hands.delete(hand.delivery)
    this.bytes -= hand.delivery.envelope.payload.length
    if (counts) this.handled++
    this.schedule()
  }

  /** Takes out what has not begun: all of it, or what `select` says. */
  withdraw(select: (hand: Hand<P>) => boolean = () => true): ReadonlyArray<Hand<P>> {
    const withdrawn: Array<Hand<P>> = []
    for (const hand of this.hands.values()) {
      if ((hand.stage !== "Ready" && hand.stage !== "Aside") || hand.fiber !== undefined || !select(hand)) continue
      if (hand.stage === "Aside") this.aside--
      hand.stage = "Ending"
      withdrawn.push(hand)
    }
    this.line = this.line.slice(this.head).filter(({ stage }) => stage === "Ready")
    this.head = 0
    this.restIfIdle()
    return withdrawn
  }

  /** Completes once it is so. */
  until(condition: () => boolean): Effect.Effect<void> {
    return Effect.async<void>((resume) => {
      if (condition()) return resume(Effect.void)
      const waiter = () => {
        if (!condition()) return
        this.waiters.delete(waiter)
        resume(Effect.void)
      }
      this.waiters.add(waiter)
      return Effect.sync(() => void this.waiters.delete(waiter))
    })
  }

  private removeFromLine(hand: Hand<P>): void {
    this.line = this.line.slice(this.head).filter((each) => each !== hand)
    this.head = 0
  }

  private restIfIdle(): void {
    if (this.running === 0 && this.ready === 0) this.pace.rest()
  }

  private get mostEnding(): number {
    return Math.max(2 * this.pace.target, 2 * this.concurrency)
  }

  /** How many more fit, if they are as large as those held now. */
  private room(held: number): number {
    if (held === 0) return Number.POSITIVE_INFINITY
    return Math.max(this.concurrency, Math.floor((mostBytes - this.bytes) / Math.max(1, this.bytes / held)))
  }

  /** The rest of the turn's messages: soon, and together with what else happens until then. */
  private schedule(): void {
    if (this.scheduled || this.turning) return
    this.scheduled = true
    // others of this process want their turn too: timers, sockets, the renewal of leases
    if (this.worked >= turnMillis) soon(this.turnAnew)
    else queueMicrotask(this.turn)
  }

  private readonly turnAnew = (): void => {
    this.worked = 0
    this.turn()
  }

  private readonly turn = (): void => {
    this.scheduled = false
    this.turning = true
    const since = performance.now()
    const until = since + turnMillis - this.worked
    while (this.running < this.concurrency && this.begin() && performance.now() < until);
    this.work.turned(this.beginsMore)
    this.startSoon()
    this.turning = false
    this.worked += performance.now() - since
    if (this.beginsMore) this.schedule()
    for (const waiter of this.waiters) waiter()
  }

  private get beginsMore(): boolean {
    return this.running < this.concurrency && this.line[this.head]?.batch.state === "Started"
  }

  /** Answers whether there was one that can be begun. */
  private begin(): boolean {
    const hand = this.line[this.head]
    if (hand === undefined || hand.batch.state !== "Started") return false
    if (++this.head === this.line.length || this.head > 1_024) {
      this.line = this.line.slice(this.head)
      this.head = 0
    }
    this.running++
    hand.stage = "Running"
    this.work.begin(hand)
    return true
  }

  /** What was claimed ahead and is about to be due is marked before its turn, so that nobody waits for the store. */
  private startSoon(): void {
    for (;;) {
      const batch = this.batches[0]
      if (batch === undefined) return
      const before = Math.max(0, batch.first - (this.line[this.head]?.place ?? batch.first))
      if (before > 0 && this.pace.millisFor(before) > startMillis) return
      this.batches.shift()
      batch.state = "Starting"
      this.work.start(batch, () => {
        batch.state = "Started"
        this.schedule()
      })
    }
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const nothing = { limit: 0, ahead: false }

/** For so long at most messages are begun one after the other before the event loop has its turn. */
const turnMillis = 4

/** So early is the store told of what is about to begin. */
const startMillis = 25

/** What all payloads that are held may take; when a claim brings more, nothing is claimed until they are fewer. */
const mostBytes = 32 * 1024 * 1024

/** After timers and sockets; where there is no such thing, a timer. */
const soon: (f: () => void) => void =
  (globalThis as { readonly setImmediate?: (f: () => void) => void }).setImmediate ?? ((f) => void setTimeout(f, 0))
