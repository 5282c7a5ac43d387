import type { Flow, FlowState, Lease, Limit, Pause, PauseTarget } from "../MessageStore.ts"
import type { Messages } from "./memoryMessages.ts"

interface Paused extends PauseTarget {
  readonly key: string
  readonly pausedAt: number
  readonly reason: string | undefined
}

interface Limited {
  limit: Limit
  /** Messages are held by it: they go before others. */
  waiting: boolean
  tickets: number
  ticketsUntil: number
  /** When it was last asked for. */
  usedAt: number
  /** How many began, by the end of their share of the interval. */
  readonly grants: Map<number, number>
  readonly permits: Map<string, { count: number; until: number }>
}

/**
 * Pauses, limits, and what is held because of them. Every method takes the time at which it happens.
 *
 * @internal
 */
export class Flows {
  private readonly messages: Messages
  private readonly pauses = new Map<string, Paused>()
  private readonly limits = new Map<string, Limited>()
  private sequence = 0

  constructor(messages: Messages) {
    this.messages = messages
  }

  pause(now: number, target: PauseTarget, reason: string | undefined): void {
    if (isChannels(target)) {
      const channel = this.messages.channel(target.channel)
      channel.paused ??= { pausedAt: now, reason }
    } else if (this.find(target) === undefined) {
      const { channel, handler, tenant } = target
      const key = `pause ${++this.sequence}`
      this.pauses.set(key, { key, channel, handler, tenant, reason, pausedAt: now })
    }
  }

  resume(now: number, target: PauseTarget): void {
    if (isChannels(target)) {
      const channel = this.messages.channel(target.channel)
      channel.paused = undefined
      channel.waiters.wake()
      return
    }
    const found = this.find(target)
    if (found === undefined) return
    this.pauses.delete(found.key)
    this.messages.letGo(now, found.key, Number.POSITIVE_INFINITY)
  }

  all(): ReadonlyArray<Pause> {
    const channels = this.messages.paused().map((name): Pause => {
      const { pausedAt, reason } = this.messages.channel(name).paused!
      return { key: `channel ${name}`, channel: name, pausedAt, reason, held: 0 }
    })
    const others = Array.from(
      this.pauses.values(),
      (each): Pause => ({ ...each, held: this.messages.heldBy(each.key) })
    )
    return [...channels, ...others.map(named)]
  }

  hold(now: number, leases: ReadonlyArray<Lease>, by: string): boolean {
    const limited = this.limits.get(by)
    if (limited !== undefined) limited.waiting = true
    const stands = limited !== undefined || this.pauses.has(by)
    for (const lease of leases) {
      const row = this.messages.held(now, lease)
      if (row === undefined) continue
      if (stands) this.messages.hold(row, by)
      else this.messages.release(now, row, 0)
    }
    return stands
  }

  take(now: number, { leaseMillis, owner, requests }: Parameters<Flow["take"]>[0]): ReadonlyArray<string | undefined> {
    const free = new Map<string, number>()
    const taken = new Map<string, number>()
    for (const limit of requests.flat()) if (!free.has(limit.name)) free.set(limit.name, this.free(now, limit))
    const answers = requests.map((request) => {
      const refusing = request.find(({ name }) => free.get(name)! <= (taken.get(name) ?? 0))
      if (refusing === undefined) for (const { name } of request) taken.set(name, (taken.get(name) ?? 0) + 1)
      return refusing?.name
    })
    for (const [name, count] of taken) this.note(now, name, owner, count, leaseMillis)
    return answers
  }

  giveBack(now: number, owner: string, names: ReadonlyArray<string>): void {
    const channels = new Set<string>()
    for (const name of names) {
      const limited = this.limits.get(name)
      const permit = limited?.permits.get(owner)
      if (limited === undefined || permit === undefined) continue
      if (--permit.count === 0) limited.permits.delete(owner)
      channels.add(limited.limit.channel)
    }
    for (const channel of channels) this.refresh(now, channel)
  }

  renew(
    now: number,
    owner: string,
    leaseMillis: number,
    permits: ReadonlyArray<{ readonly name: string; readonly count: number }>
  ): void {
    const counts = new Map(permits.map(({ count, name }) => [name, count]))
    for (const [name, limited] of this.limits) {
      const permit = limited.permits.get(owner)
      const count = counts.get(name)
      if (permit === undefined) continue
      if (count === undefined) limited.permits.delete(owner)
      else if (permit.until > now) {
        limited.permits.set(owner, { count: Math.min(permit.count, count), until: now + leaseMillis })
      }
    }
  }

  refresh(now: number, channel: string): FlowState {
    let nextMillis: number | undefined
    for (const limited of this.limits.values()) {
      if (limited.limit.channel !== channel || !limited.waiting) continue
      const next = this.admit(now, limited)
      if (next !== undefined) nextMillis = Math.min(next, nextMillis ?? next)
    }
    const pauses = Array.from(this.pauses.values()).filter((each) => (each.channel ?? channel) === channel)
    return {
      pauses: pauses.map(({ channel, handler, key, tenant }) => named({ channel, handler, key, tenant })),
      nextMillis
    }
  }

  private find(target: PauseTarget): Paused | undefined {
    return Array.from(this.pauses.values()).find(
      (each) => each.channel === target.channel && each.handler === target.handler && each.tenant === target.tenant
    )
  }

  private limited(limit: Limit): Limited {
    const existing = this.limits.get(limit.name)
    if (existing !== undefined) {
      existing.limit = limit
      return existing
    }
    const added: Limited = {
      limit,
      waiting: false,
      tickets: 0,
      ticketsUntil: 0,
      usedAt: 0,
      grants: new Map(),
      permits: new Map()
    }
    this.limits.set(limit.name, added)
    return added
  }

  private free(now: number, limit: Limit): number {
    const limited = this.limited(limit)
    limited.usedAt = now
    const free = limit.limit - used(now, limited)
    return limited.waiting ? Math.min(free, ticketsOf(now, limited)) : free
  }

  private note(now: number, name: string, owner: string, count: number, leaseMillis: number): void {
    const limited = this.limits.get(name)!
    const { intervalMillis } = limited.limit
    if (intervalMillis === undefined) {
      const permit = limited.permits.get(owner)
      const before = permit !== undefined && permit.until > now ? permit.count : 0
      limited.permits.set(owner, { count: before + count, until: now + leaseMillis })
    } else {
      const step = Math.max(1, intervalMillis / 50)
      const slot = Math.ceil(now / step) * step
      limited.grants.set(slot, (limited.grants.get(slot) ?? 0) + count)
    }
    if (limited.waiting) limited.tickets = Math.max(0, limited.tickets - count)
  }

  /** Answers when there may be room for more. */
  private admit(now: number, limited: Limited): number | undefined {
    const { limit } = limited
    const tickets = ticketsOf(now, limited)
    const taken = used(now, limited)
    // nobody asks for it any more, since its handler has it no longer: twice as many each time
    const isForsaken = taken + tickets === 0 && limited.tickets > 0 && limited.usedAt < now - forsakenAfterMillis
    const room = isForsaken
      ? Math.max(limit.limit, Math.min(2 * limited.tickets, 1_000))
      : limit.limit - taken - tickets
    const moved = this.messages.letGo(now, limit.name, room)
    if (this.messages.heldBy(limit.name) === 0) {
      limited.waiting = false
      limited.tickets = 0
      return undefined
    }
    if (moved > 0) {
      limited.tickets = tickets + moved
      limited.ticketsUntil = now + ticketMillis
    }
    const ends =
      limit.intervalMillis === undefined
        ? Array.from(limited.permits.values(), ({ until }) => until)
        : Array.from(limited.grants.keys(), (slot) => slot + limit.intervalMillis!)
    const next = ends.length === 0 ? 1_000 : Math.min(...ends) - now
    return Math.max(1, Math.ceil(tickets + moved > 0 ? Math.min(next, ticketMillis) : next))
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** For how long those that were let go have their turn. */
const ticketMillis = 2_000

const forsakenAfterMillis = 2 * 60 * 1_000

const isChannels = (target: PauseTarget): target is PauseTarget & { readonly channel: string } =>
  target.channel !== undefined && target.handler === undefined && target.tenant === undefined

const ticketsOf = (now: number, { tickets, ticketsUntil }: Limited): number => (ticketsUntil > now ? tickets : 0)

const used = (now: number, { grants, limit, permits }: Limited): number => {
  let sum = 0
  if (limit.intervalMillis === undefined) {
    for (const [owner, { count, until }] of permits) {
      if (until > now) sum += count
      else permits.delete(owner)
    }
  } else {
    for (const [slot, count] of grants) {
      if (slot > now - limit.intervalMillis) sum += count
      else grants.delete(slot)
    }
  }
  return sum
}

/** Without what the pause does not name. */
const named = <A extends PauseTarget>({ channel, handler, tenant, ...rest }: A): A =>
  ({
    ...rest,
    ...(channel === undefined ? undefined : { channel }),
    ...(handler === undefined ? undefined : { handler }),
    ...(tenant === undefined ? undefined : { tenant })
  }) as A
