import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { CurrentEnvelope, type Envelope } from "../Envelope.ts"
import type { Entry } from "../HandlerRegistry.ts"
import type * as Message from "../Message.ts"
import type { Delivery, Joining } from "../MessageStore.ts"
import { isMessagingError, type MessagingError } from "../MessagingError.ts"
import { UnitOfWork } from "../UnitOfWork.ts"
import type { Parts } from "./consumer.ts"
import { deliver, isPlain, recordHandled } from "./deliver.ts"
import { AlreadyHandled } from "./dispatch.ts"
import { CurrentEndpoint } from "./endpoint.ts"
import { render } from "./failure.ts"
import { LazyScope } from "./lazyScope.ts"
import * as Metrics from "./metrics.ts"
import { conclude, giveBackWhileAway } from "./outcome.ts"
import type { Hand } from "./slots.ts"
import * as Telemetry from "./telemetry.ts"
import * as Unit from "./unit.ts"
import { UnitServices } from "./unitServices.ts"

/**
 * What is the same for all messages of one class and one handler.
 *
 * @internal
 */
export interface Plan {
  readonly entry: Entry
  readonly message: Message.AnyClass
  /** Undefined where reading it needs more than the text. */
  decode: ((payload: unknown) => Either.Either<Message.Any, unknown>) | undefined
  /** How SQL finds the unit. */
  readonly join: Joining["join"]
  /** What all of its messages have in their context, and the keys of what each of them has besides. */
  readonly services: ReadonlyMap<string, unknown>
  readonly own: ReadonlyArray<string>
  readonly ownTraced: ReadonlyArray<string>
  readonly fiberRefs: FiberRefs.FiberRefs
  readonly flags: RuntimeFlags.RuntimeFlags
  readonly labels: Metrics.Labels
  /** Where spans are made, if somebody listens. */
  readonly traced: Runtime.Runtime<never> | undefined
}

/**
 * A message that is ready to be handled.
 *
 * @internal
 */
export interface Prepared {
  readonly plan: Plan
  readonly message: Message.Any
  /** One message of a key is handled at a time. */
  readonly key: string | undefined
  /** How to tell that it is its turn. */
  readonly go: () => void
  inside: boolean
  /** How often conflicts may have it run again. */
  reruns: number
  span: Tracer.Span | undefined
  /** When its handler began for the first time. */
  begunNanos: bigint | undefined
  /** Until its handler ended. */
  tookMillis: number
}

/**
 * A handler that ended well, and what its unit writes.
 *
 * @internal
 */
export interface Ended {
  readonly hand: Hand<Prepared>
  readonly unit: Unit.Unit
}

/** Begins with a message that has a slot: in a fiber of its own, at once. @internal */
export const begin = (parts: Parts, hand: Hand<Prepared>): void => {
  const { resume } = hand
  if (resume !== undefined) {
    hand.resume = undefined
    resume()
    return
  }
  // it waited beside the line meanwhile
  if (hand.prepared !== undefined && hand.prepared.begunNanos === undefined && parts.flow.isPaused(hand.delivery)) {
    leave(parts, hand)
    hand.prepared = undefined
  }
  hand.prepared ??= prepare(parts, hand)
  const { prepared } = hand
  if (prepared === undefined) slowly(parts, hand)
  else if (prepared.key === undefined || prepared.inside) run(parts, hand, prepared)
  else if (!parts.registry.keys.enter(prepared.key, prepared.go)) parts.slots.setAside(hand)
}

/** Commits, in one call of the store, what ended since it was asked last. @internal */
export const commitTogether = (parts: Parts, ended: ReadonlyArray<Ended>): void => {
  const units: Array<ReturnType<typeof parts.source.settle>> = []
  const handed: Array<Ended> = []
  for (const each of ended) {
    const writes = Unit.writesOf(each.unit, settleOf(parts, each.hand))
    if (isMessagingError(writes)) notCommitted(parts, each.hand, writes)
    else {
      units.push(writes)
      handed.push(each)
    }
  }
  if (units.length === 0) return
  const fiber = parts.fork(Effect.suspend(() => parts.store.commit(units)))
  fiber.addObserver((exit) => {
    const away: Array<Hand<Prepared>> = []
    let why: MessagingError | undefined
    handed.forEach((each, index) => {
      const outcome = Exit.isSuccess(exit) ? exit.value[index] : undefined
      if (Exit.isFailure(exit)) fail(parts, each.hand, exit.cause)
      else if (outcome === undefined || Option.isNone(outcome)) committed(parts, each)
      else if (outcome.value.reason !== "Unavailable" || each.hand.lost) notCommitted(parts, each.hand, outcome.value)
      else {
        away.push(each.hand)
        why = outcome.value
      }
    })
    if (why !== undefined) giveBackTogether(parts, away, why)
  })
}

/** Ends what can be told of a message before it is settled, and what it kept. @internal */
export const leave = (parts: Parts, { prepared }: Hand<Prepared>): void => {
  const { registry } = parts
  if (prepared?.span !== undefined) endSpan(parts, prepared, Exit.interrupt(FiberId.none))
  if (prepared?.key === undefined) return
  if (prepared.inside) registry.keys.leave(prepared.key)
  else registry.keys.giveUp(prepared.key, prepared.go)
  prepared.inside = false
}

/**
 * Runs what a message does once no other of its key is inside. While it waits it gives its slot to others: the one that
 * goes before it may wait for one.
 *
 * @internal
 */
export const inTurn = <A, E, R>(
  { registry, slots }: Parts,
  delivery: Delivery,
  key: string,
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    const hand = slots.hands.get(delivery)!
    let inside = false
    let proceed = () => {}
    const go = () => {
      inside = true
      if (hand.stage !== "Aside") return proceed()
      hand.resume = proceed
      slots.next(hand)
    }
    const enter = Effect.async<void>((resume) => {
      proceed = () => resume(Effect.void)
      if (!registry.keys.enter(key, go)) slots.setAside(hand)
    })
    return Effect.ensuring(
      Effect.zipRight(restore(enter), restore(effect)),
      Effect.sync(() => (inside ? registry.keys.leave(key) : registry.keys.giveUp(key, go)))
    )
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** What takes more than a handler: a fiber that goes through all of it. */
const slowly = (parts: Parts, hand: Hand<Prepared>): void => {
  const { envelope } = hand.delivery
  const onRead = () => {
    const plan = planOf(parts, envelope)
    // what the text alone did not tell was read all the same
    if (plan !== undefined && isPlain(parts, plan.entry, plan.message, hand.delivery)) plan.decode = undefined
  }
  const fiber = parts.fork(Effect.interruptible(deliver(parts, hand.delivery, onRead)))
  hand.fiber = fiber
  fiber.addObserver((exit) => {
    parts.slots.free(hand)
    parts.settled(hand, Exit.isSuccess(exit) ? exit.value : "Lost")
  })
}

const prepare = (parts: Parts, hand: Hand<Prepared>): Prepared | undefined => {
  const { delivery } = hand
  const { envelope } = delivery
  const plan = planOf(parts, envelope)
  if (plan?.decode === undefined || !isPlain(parts, plan.entry, plan.message, delivery)) return undefined
  const message = read(plan.decode, envelope.payload)
  if (message === undefined) return undefined
  const key = keyOf(plan.entry, message, envelope)
  if (key === failed) return undefined
  const prepared: Prepared = {
    plan,
    message,
    key,
    inside: false,
    reruns: 5,
    span: undefined,
    begunNanos: undefined,
    tookMillis: 0,
    go: () => {
      prepared.inside = true
      if (hand.stage === "Aside") parts.slots.next(hand)
      // or it is about to be given back
      else if (hand.stage === "Running") run(parts, hand, prepared)
    }
  }
  return prepared
}

/** Undefined when it cannot be read so. */
const read = (decode: NonNullable<Plan["decode"]>, payload: string): Message.Any | undefined => {
  try {
    return Option.getOrUndefined(Either.getRight(decode(JSON.parse(payload))))
  } catch {
    return undefined
  }
}

const failed = Symbol("failed")

const keyOf = (entry: Entry, message: Message.Any, envelope: Envelope): string | undefined | typeof failed => {
  if (entry.serialize === undefined) return undefined
  try {
    return entry.serialize(message, envelope)
  } catch {
    return failed
  }
}

const planOf = (parts: Parts, { endpoint, tag }: Envelope): Plan | undefined => {
  const plans = parts.plans.get(endpoint) ?? new Map<string, Plan>()
  const known = plans.get(tag)
  if (known !== undefined) return known
  const plan = makePlan(parts, endpoint, tag)
  if (plan === undefined) return undefined
  parts.plans.set(endpoint, plans.set(tag, plan))
  return plan
}

const makePlan = (parts: Parts, endpoint: string, tag: string): Plan | undefined => {
  const { registry, source, store } = parts
  const entry = registry.byName(endpoint)
  const message = entry?.local
    ? [...entry.messages, ...entry.internal].find((message) => message._tag === tag)
    : undefined
  if (entry === undefined || message === undefined || !source.stored || entry.retry !== undefined) return undefined
  if (entry.route?.channel.name !== source.channel) return undefined
  // a unit of another store begins with an effect, which is for a fiber to run
  if (store.joining === undefined) return undefined
  const { endpoint: here, runtime } = entry.standing
  const { context, join } = store.joining(runtime.context)
  const services = new Map(context.unsafeMap)
  const own = [CurrentEnvelope.key, UnitOfWork.key, Scope.Scope.key, ...(join === undefined ? [] : [join.key])]
  const ownTraced = [...own, Tracer.ParentSpan.key]
  for (const key of ownTraced) services.delete(key)
  services.set(CurrentEndpoint.key, here)
  return {
    entry,
    message,
    decode: entry.standing.decode.get(tag),
    join,
    services,
    own,
    ownTraced,
    fiberRefs: withoutInitial(annotatedAlike(parts, runtime)),
    flags: RuntimeFlags.enable(runtime.runtimeFlags, RuntimeFlags.Interruption),
    labels: Metrics.labelsOf(source.channel, { endpoint, tag }),
    traced: [parts.runtime, runtime].find(Telemetry.listens)
  }
}

/** What the consumer's log lines say besides, the handler's say too. */
const annotatedAlike = (parts: Parts, { fiberRefs }: Runtime.Runtime<never>): FiberRefs.FiberRefs =>
  FiberRefs.updateAs(fiberRefs, {
    fiberId: FiberId.none,
    fiberRef: FiberRef.currentLogAnnotations,
    value: HashMap.union(
      FiberRefs.getOrDefault(fiberRefs, FiberRef.currentLogAnnotations),
      FiberRefs.getOrDefault(parts.runtime.fiberRefs, FiberRef.currentLogAnnotations)
    )
  })

/** What a reference has initially it has without being named too, and each fiber copies all that are named. */
const withoutInitial = (fiberRefs: FiberRefs.FiberRefs): FiberRefs.FiberRefs => {
  const forked = FiberRefs.forkAs(fiberRefs, FiberId.none)
  const named = Array.from(fiberRefs.locals).filter(
    ([ref]) =>
      // every fiber is given its own context
      ref !== (FiberRef.currentContext as FiberRef.FiberRef<any>) &&
      !Equal.equals(FiberRefs.getOrDefault(forked, ref), FiberRefs.getOrDefault(FiberRefs.empty(), ref))
  )
  return FiberRefs.unsafeMake(new Map(named))
}

const run = (parts: Parts, hand: Hand<Prepared>, prepared: Prepared): void => {
  const { message, plan } = prepared
  const { envelope } = hand.delivery
  const unit = Unit.open(parts.store)
  const scope = new LazyScope()
  prepared.begunNanos ??= parts.nanos()
  if (plan.traced !== undefined) prepared.span ??= Telemetry.begin(plan.traced, processing(parts, envelope))
  const runtime = runtimeOf(plan, envelope, unit, scope, prepared.span ?? Telemetry.parentOf(envelope.headers))
  const fiber = Runtime.runFork(
    runtime,
    plan.entry.standing.perform(message, envelope) as Effect.Effect<unknown, unknown>
  )
  hand.fiber = fiber
  fiber.addObserver((exit) => {
    if (scope.used === undefined) {
      ended(parts, hand, unit, exit)
      return
    }
    const closed = Runtime.runFork(runtime, Effect.uninterruptible(Scope.close(scope.used, exit)))
    closed.addObserver((closing) => ended(parts, hand, unit, Exit.zipLeft(exit, closing)))
  })
}

const processing = ({ source }: Parts, envelope: Envelope): Telemetry.Processing => ({
  channel: source.channel,
  envelope
})

/** When it is known how its unit ended. */
const endSpan = (parts: Parts, prepared: Prepared, exit: Exit.Exit<unknown, unknown>): void => {
  if (prepared.span === undefined) return
  Telemetry.end(prepared.span, parts.nanos(), exit)
  prepared.span = undefined
}

const runtimeOf = (
  plan: Plan,
  envelope: Envelope,
  unit: Unit.Unit,
  scope: Scope.Scope,
  span: Tracer.AnySpan | undefined
): Runtime.Runtime<never> => {
  const own: Array<unknown> = [envelope, unit, scope]
  if (plan.join !== undefined) own.push(plan.join.service(() => unit.sql))
  if (span !== undefined) own.push(span)
  const services = new UnitServices(plan.services, span === undefined ? plan.own : plan.ownTraced, own)
  return Runtime.make({
    // a context only reads its map
    context: Context.unsafeMake<never>(services as unknown as Map<string, unknown>),
    fiberRefs: plan.fiberRefs,
    runtimeFlags: plan.flags
  })
}

const ended = (parts: Parts, hand: Hand<Prepared>, unit: Unit.Unit, exit: Exit.Exit<unknown, unknown>): void => {
  unit.open = false
  hand.fiber = undefined
  const prepared = hand.prepared!
  prepared.tookMillis = Number(parts.nanos() - prepared.begunNanos!) / 1_000_000
  if (Exit.isFailure(exit)) {
    parts.slots.free(hand)
    fail(parts, hand, exit.cause, unit)
  } else if (unit.begun === undefined) withoutSql(parts, { hand, unit })
  else commitAlone(parts, { hand, unit })
}

/** What is written when the message was handled. */
const settleOf = (parts: Parts, { delivery, prepared }: Hand<Prepared>): ReturnType<typeof parts.source.settle> => {
  const settle = parts.source.settle(delivery)
  return parts.recording.all ? [...settle, ...recordHandled(parts, delivery, prepared!.tookMillis)] : settle
}

const withoutSql = (parts: Parts, ended: Ended): void => {
  if (ended.unit.direct.length > 0) return void commitAlone(parts, ended)
  parts.ended.push(ended)
  parts.slots.free(ended.hand)
}

/** It keeps its slot: until it has committed it also keeps a connection of those that handlers share. */
const commitAlone = (parts: Parts, { hand, unit }: Ended): void => {
  const fiber = parts.fork(Unit.commitOpen(unit, () => settleOf(parts, hand)))
  fiber.addObserver((exit) => {
    const error = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
    if (Exit.isSuccess(exit) && exit.value === "WithoutSql") return withoutSql(parts, { hand, unit })
    parts.slots.free(hand)
    if (Exit.isSuccess(exit)) committed(parts, { hand, unit })
    else if (Option.isSome(error)) notCommitted(parts, hand, error.value)
    else fail(parts, hand, exit.cause)
  })
}

const committed = (parts: Parts, { hand, unit }: Ended): void => {
  const { message } = hand.prepared!
  endSpan(parts, hand.prepared!, Exit.void)
  measure(parts, hand, unit)
  const { envelope } = hand.delivery
  let done = false
  const finish = () => {
    if (done) return
    done = true
    leave(parts, hand)
    parts.registry.observe?.({ _tag: "Handled", message, envelope })
    parts.settled(hand, "Handled")
  }
  if (unit.hooks.length === 0) finish()
  if (done) return
  // they run to their end, but one that hangs keeps no consumer from closing
  hand.letGo = finish
  parts.fork(Effect.forEach(unit.hooks, (hook) => hook, { discard: true })).addObserver(finish)
}

const measure = (parts: Parts, { claimedHere, delivery, prepared }: Hand<Prepared>, unit: Unit.Unit): void => {
  const { plan, tookMillis } = prepared!
  const waited = Math.max(0, delivery.claimedAt - delivery.availableAt)
  Metrics.committed(unit.writes, unit.direct)
  Metrics.settled(plan.labels, "Handled")
  Metrics.succeeded(plan.labels, tookMillis, waited + Math.max(tookMillis, parts.millis() - claimedHere))
}

/** The store was away when they were to be committed: it is told once, and they are given back in one call. */
const giveBackTogether = (parts: Parts, hands: ReadonlyArray<Hand<Prepared>>, error: MessagingError): void => {
  for (const { delivery, prepared } of hands) {
    const { envelope } = delivery
    parts.registry.observe?.({ _tag: "Failed", message: prepared!.message, envelope, error: render(Cause.fail(error)) })
  }
  const deliveries = hands.map(({ delivery }) => delivery)
  for (const { prepared } of hands) endSpan(parts, prepared!, Exit.fail(error))
  parts.fork(giveBackWhileAway(parts, deliveries, error)).addObserver(() => {
    for (const hand of hands) {
      leave(parts, hand)
      parts.settled(hand, "Released")
    }
  })
}

/** A conflict means that nothing was written: the handler runs again, and no attempt is burnt. */
const notCommitted = (parts: Parts, hand: Hand<Prepared>, error: MessagingError): void => {
  const prepared = hand.prepared!
  const again = error.reason === "Conflict" && !parts.state.stopping && !hand.lost
  if (again && prepared.reruns-- > 0) parts.slots.next(hand)
  else fail(parts, hand, Cause.fail(error))
}

/** `unit` is still to be undone, where it is given: a commit that failed has done that. */
const fail = (parts: Parts, hand: Hand<Prepared>, cause: Cause.Cause<unknown>, unit?: Unit.Unit): void => {
  const prepared = hand.prepared!
  const { message, plan, tookMillis } = prepared
  const undone = unit === undefined ? Effect.succeed(cause) : Unit.undo(unit, cause)
  const exit = Effect.map(undone, (cause) => {
    endSpan(parts, prepared, isAgain(cause) ? Exit.void : Exit.failCause(cause))
    return Exit.failCause(cause)
  })
  parts.fork(conclude(parts, plan.entry, hand.delivery, message, tookMillis, exit)).addObserver((settled) => {
    leave(parts, hand)
    parts.settled(hand, Exit.isSuccess(settled) ? settled.value : "Lost")
  })
}

/** What was handled already is no failure. */
const isAgain = (cause: Cause.Cause<unknown>): boolean =>
  Option.exists(Cause.failureOption(cause), (error) => error instanceof AlreadyHandled)
