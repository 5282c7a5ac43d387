/**
 * Messages, channels and short ways to say things, for all suites.
 */
import { assert } from "@effect/vitest"
import {
  Channel,
  CommandBus,
  DeadLetter,
  EventBus,
  Message,
  MessageStore,
  type MessagingError,
  MessagingTest,
  UnitOfWork
} from "@holdfast/core"
import { Cause, Effect, Exit, Layer, Option, Schema, TestClock } from "effect"
import { type Backend, Ledger, type PostgresBackend } from "./backend.ts"

export class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

const payload = { id: Schema.String }

/** Handled while its sender waits. */
export class Place extends Message.Command<Place>()("Place", { payload, success: Schema.String, error: Refused }) {}
/** Sent by the handler of `Place`, in most tests. */
export class Reserve extends Message.Command<Reserve>()("Reserve", { payload, error: Refused }) {}
export class CountRows extends Message.Query<CountRows>()("CountRows", { success: Schema.Number }) {}
export class Placed extends Message.Event<Placed>()("Placed", { payload }) {}
export class Paid extends Message.Event<Paid>()("Paid", { payload }) {}
/** Handled on a channel. */
export class Ship extends Message.Command<Ship>()("Ship", { payload }) {}

export class Orders extends Channel.Tag<Orders>()("test/Orders", { messages: [Placed, Paid, Ship] }) {}
export class Mails extends Channel.Tag<Mails>()("test/Mails", { messages: [Placed, Paid, Ship] }) {}

export type System = MessagingTest.Messaging | MessageStore.MessageStore | Ledger | Orders | Mails

/** Buses, views, log, channels and ledger over a store of their own. */
export const system = <R>(backend: Backend<R>) =>
  MessagingTest.layerStore.pipe(
    Layer.provideMerge(Layer.merge(backend.channel(Orders), backend.channel(Mails))),
    Layer.provideMerge(backend.layer)
  )

/** The same, with a pool of another size. */
export const systemOf = (backend: PostgresBackend, options: { readonly maxConnections?: number }) =>
  system({ ...backend, layer: backend.layerWith(options) })

/** Runs a test with these handlers. */
export const within = <R, P>(backend: Backend<R>, handlers: Layer.Layer<P, unknown, System | R>) =>
  Effect.provide(Layer.provideMerge(handlers, system(backend)))

/** Runs a test that has no handlers. */
export const alone = <R>(backend: Backend<R>) => Effect.provide(system(backend))

// -- doing ---------------------------------------------------------------------

export const place = (id = "1", options?: CommandBus.SendOptions) => CommandBus.send(new Place({ id }), options)
export const reserve = (id = "1") => CommandBus.send(new Reserve({ id }))
export const ship = (id = "1", options?: CommandBus.SendOptions) => CommandBus.send(new Ship({ id }), options)
export const placed = (id = "1", options?: EventBus.PublishOptions) => EventBus.publish(new Placed({ id }), options)
export const write = (entry: string) => Effect.flatMap(Ledger, (ledger) => ledger.write(entry))
export const refuse = (why = "no stock") => Effect.fail(new Refused({ why }))
export const store = MessageStore.MessageStore
export const using = <A, E, R>(f: (store: MessageStore.Encoded) => Effect.Effect<A, E, R>) => Effect.flatMap(store, f)
export const advance = MessagingTest.advance
export const drain = MessagingTest.drain

// -- looking -------------------------------------------------------------------

/** The ledger's committed rows, in any order. */
export const expectRows = (...entries: ReadonlyArray<string>) =>
  Effect.flatMap(Ledger, (ledger) =>
    Effect.map(ledger.rows, (rows) => assert.deepStrictEqual(rows.toSorted(), entries.toSorted(), "rows"))
  )

export const expectWaiting = (count: number, channel: { readonly channelName: string } = Orders) =>
  using((store) =>
    Effect.map(store.depth(channel.channelName), ({ ready, scheduled }) =>
      assert.strictEqual(ready + scheduled, count, "waiting messages")
    )
  )

export const shipped = Effect.map(MessagingTest.sent(Ship), (sent) => sent.map(({ id }) => id).toSorted())

/** The `Ship` commands that were sent: by the log, and by how many messages wait on `Orders`. */
export const expectShipped = (...expected: ReadonlyArray<string>) =>
  Effect.zipRight(
    Effect.map(shipped, (ids) => assert.deepStrictEqual(ids, expected.toSorted(), "sent, by the log")),
    expectWaiting(expected.length)
  )

export const letters = Effect.flatMap(DeadLetter.DeadLetter, (deadLetter) => deadLetter.list())

export const onlyLetter = Effect.map(letters, (rows) => {
  assert.strictEqual(rows.length, 1, "dead letters")
  return rows[0]!
})

/** How an effect that fails did so. */
export const failing = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<E, never, R> =>
  Effect.matchEffect(effect, {
    onFailure: Effect.succeed,
    onSuccess: (value) => assert.fail(`should have failed, answered ${String(value)}`)
  })

/** The effect fails with the declared error. */
export const expectRefused = <A, E, R>(effect: Effect.Effect<A, E, R>, why = "no stock") =>
  Effect.map(failing(effect), (error) => {
    assert.instanceOf(error, Refused)
    assert.strictEqual((error as unknown as Refused).why, why)
  })

export const rejected = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(failing(effect), (error) => error as E & MessagingError.MessagingError)

/** The sentence of the defect with which the effect dies. */
export const defect = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.exit(effect), (exit) => {
    const died = Exit.isFailure(exit) ? Cause.dieOption(exit.cause) : Option.none()
    return Option.match(died, {
      onNone: () => assert.fail(`should have died, was ${String(exit)}`),
      onSome: (defect) => (defect instanceof Error ? defect.message : String(defect))
    })
  })

/**
 * Waits for what happens on its own, by asking again and again: each round is a round trip to the store, and lets real
 * time pass after the first ones, for what the platform does beside.
 */
export const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    for (let round = 0; round < 5_000; round++) {
      if (yield* condition) return
      yield* using((store) => store.now)
      yield* round < 200 ? Effect.yieldNow() : moment
    }
    assert.fail(`never: ${what}`)
  })

const moment = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))

/** Lets other fibers and the store do what they are about to do. */
export const settle = Effect.repeatN(
  Effect.zipRight(
    using((store) => store.now),
    Effect.yieldNow()
  ),
  20
)

/** Lets time pass for consumers that run by themselves. */
export const pass = (millis: number) =>
  Effect.uninterruptible(using((store) => Effect.zipRight(store.advance(millis), TestClock.adjust(millis)))).pipe(
    Effect.zipRight(settle)
  )

/** Lets second after second pass until it is so. */
export const passUntil = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    for (let round = 0; round < 300; round++) {
      if (yield* condition) return
      yield* pass(second)
    }
    assert.fail(`never: ${what}`)
  })

/** Nothing waits on the channel. */
export const isEmpty = (channel: { readonly channelName: string } = Orders) =>
  using((store) => Effect.map(store.depth(channel.channelName), ({ ready, scheduled }) => ready + scheduled === 0))

/** Instants of a run, relative to its start: never early, and in a frozen clock to the millisecond. */
export const expectTimes = <R>(backend: Backend<R>, actual: ReadonlyArray<number>, expected: ReadonlyArray<number>) => {
  if (backend.features.frozenClock) return assert.deepStrictEqual(actual, expected)
  assert.strictEqual(actual.length, expected.length, `times ${actual}`)
  expected.forEach((time, index) => {
    assert.isAtLeast(actual[index]! + 1, time, `early: ${actual}, not ${expected}`)
    assert.isBelow(actual[index]!, time + 60_000, `late: ${actual}, not ${expected}`)
  })
}

/** The scope of the unit at hand. */
export const unit = Effect.map(Effect.serviceOption(UnitOfWork.UnitOfWork), Option.getOrThrow)

/** A unit whose commit always meets a conflict: a saga of another version is stored. */
export const conflicting = Effect.flatMap(unit, (unit) =>
  unit.stage({ _tag: "SagaPut", saga: "Conflicting", id: "1", version: 9, state: "{}", completed: false, timers: {} })
)

export const second = 1_000
export const minute = 60 * second
export const hour = 60 * minute
