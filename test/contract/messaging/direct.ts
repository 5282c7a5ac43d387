/**
 * Channels of a broker: what is sent on them leaves just before the unit commits.
 */
import { assert, it } from "@effect/vitest"
import { Channel, type Envelope, Handler, type MessageStore, MessagingError, UnitOfWork } from "@holdfast/core"
import { Clock, Effect, Layer, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  conflicting,
  drain,
  expectRefused,
  expectRows,
  letters,
  onlyLetter,
  Place,
  place,
  refuse,
  rejected,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"

export class Broker extends Channel.Tag<Broker>()("test/Broker", { messages: [Ship] }) {}

interface Waiting {
  readonly envelope: Envelope.Envelope
  readonly at: number
}

/** A broker in memory: `sent` is all it was given, `redeliver` gives out again what was handled. */
export const makeBroker = () => {
  const state = {
    sent: [] as Array<Envelope.Envelope>,
    acknowledged: [] as Array<Envelope.Envelope>,
    waiting: [] as Array<Waiting>,
    away: false,
    /** So many acknowledgements do not reach it. */
    deaf: 0
  }
  const away = new MessagingError.MessagingError({ reason: "Unavailable", detail: "the broker is away" })
  const deliveryOf = ({ at, envelope }: Waiting, now: number): MessageStore.Delivery => ({
    lease: { channel: Broker.channelName, key: envelope.id, token: "1" },
    envelope,
    claimedAt: now,
    availableAt: at,
    crashes: 0,
    priority: 0,
    undelayed: false
  })
  const put = (envelope: Envelope.Envelope, after: number) =>
    Effect.map(Clock.currentTimeMillis, (now) => void state.waiting.push({ envelope, at: now + after }))
  const driver: Channel.Driver = {
    send: (messages) =>
      Effect.suspend(() => {
        if (state.away) return away
        state.sent.push(...messages.map(({ envelope }) => envelope))
        return Effect.forEach(messages, ({ due, envelope }) => put(envelope, due?._tag === "After" ? due.millis : 0), {
          discard: true
        })
      }),
    claim: ({ limit }) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const due = state.waiting.filter(({ at }) => at <= now).slice(0, limit)
        state.waiting = state.waiting.filter((waiting) => !due.includes(waiting))
        return due.map((waiting) => deliveryOf(waiting, now))
      }),
    renew: () => Effect.succeed([]),
    acknowledge: ({ envelope }) =>
      Effect.suspend(() => (state.deaf-- > 0 ? away : Effect.sync(() => void state.acknowledged.push(envelope)))),
    release: (_, envelope, after) => put(envelope, after),
    wake: (atMost) => Effect.sleep(atMost)
  }
  const redeliver = Effect.suspend(() => Effect.forEach(state.acknowledged.splice(0), (envelope) => put(envelope, 0)))
  return { state, driver, redeliver, layer: Channel.layerDirect(Broker, driver) }
}

const shipping = Handler.command(Ship, ({ id }) => write(`shipped ${id}`)).pipe(Handler.asynchronous(Broker))

export const direct = <R>(backend: Backend<R>): void => {
  it.effect("send when the unit commits, not before", () => {
    const broker = makeBroker()
    const placing = Handler.command(Place, () =>
      Effect.gen(function* () {
        yield* write("placed")
        yield* ship("a")
        assert.strictEqual(broker.state.sent.length, 0)
        yield* ship("b")
        return ""
      })
    )
    return Effect.gen(function* () {
      yield* place()
      assert.strictEqual(broker.state.sent.length, 2)
      assert.strictEqual(yield* drain, 2)
      yield* expectRows("placed", "shipped a", "shipped b")
      assert.strictEqual(broker.state.acknowledged.length, 2)
    }).pipe(within(backend, Handler.layer(placing, shipping).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("send nothing when the unit or the scope fails before", () => {
    const broker = makeBroker()
    const placing = Handler.command(Place, ({ id }) =>
      Effect.ignore(UnitOfWork.scope(Effect.zipRight(ship("gone"), refuse()))).pipe(
        Effect.zipRight(ship("too")),
        Effect.zipRight(id === "bad" ? refuse() : Effect.succeed(""))
      )
    )
    return Effect.gen(function* () {
      yield* expectRefused(place("bad"))
      assert.strictEqual(broker.state.sent.length, 0)
      yield* place()
      assert.deepStrictEqual(
        broker.state.sent.map(({ payload }) => JSON.parse(payload).id),
        ["too"]
      )
    }).pipe(within(backend, Handler.layer(placing, shipping).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("leave ghosts when the commit itself fails, as documented", () => {
    const broker = makeBroker()
    return Effect.gen(function* () {
      const error = yield* rejected(UnitOfWork.run(Effect.zipRight(ship("ghost"), conflicting)))
      assert.strictEqual(error.reason, "Conflict")
      assert.isAbove(broker.state.sent.length, 0)
    }).pipe(within(backend, Handler.layer(shipping).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("undo the unit when the broker is away", () => {
    const broker = makeBroker()
    const placing = Handler.command(Place, () => Effect.as(Effect.zipRight(write("a"), ship("a")), ""))
    return Effect.gen(function* () {
      broker.state.away = true
      const error = yield* rejected(place())
      assert.strictEqual(error.reason, "Unavailable")
      yield* expectRows()
      broker.state.away = false
      yield* place()
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(placing, shipping).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("make effects in the database once though the broker delivers twice", () => {
    const broker = makeBroker()
    return Effect.gen(function* () {
      yield* ship("a")
      assert.strictEqual(yield* drain, 1)
      yield* broker.redeliver
      assert.strictEqual(yield* drain, 1)
      yield* expectRows("shipped a")
      assert.strictEqual(broker.state.acknowledged.length, 1, "acknowledged again")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(shipping).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("retry durably through the broker, with the times of the failures", () => {
    const broker = makeBroker()
    const attempts: Array<number> = []
    const stubborn = Handler.command(Ship, () =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        attempts.push(now)
        return attempts.length < 3 ? Effect.fail("busy") : write("done")
      })
    ).pipe(Handler.asynchronous(Broker), Handler.retry(Schedule.exponential("1 minute")))
    return Effect.gen(function* () {
      yield* ship("a")
      for (let minutes = 0; minutes < 6; minutes++) yield* advance("1 minute")
      assert.deepStrictEqual(attempts, [0, 60_000, 180_000])
      yield* expectRows("done")
    }).pipe(within(backend, Handler.layer(stubborn).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("park what is given up with the store's dead letters", () => {
    const broker = makeBroker()
    const failing = Handler.command(Ship, () => Effect.fail("no")).pipe(Handler.asynchronous(Broker))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      const letter = yield* onlyLetter
      assert.strictEqual(letter.reason, "Exhausted")
      assert.strictEqual(letter.channel, Broker.channelName)
      assert.deepStrictEqual(JSON.parse(letter.envelope.payload), { _tag: "Ship", id: "a" })
      assert.strictEqual(broker.state.acknowledged.length, 1)
    }).pipe(within(backend, Handler.layer(failing).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("commit what stored channels carry with what a broker was sent", () => {
    const broker = makeBroker()
    const chained = Handler.command(Ship, () => write("handled")).pipe(Handler.asynchronous(Broker))
    return Effect.gen(function* () {
      yield* UnitOfWork.run(Effect.zipRight(ship("a"), write("b")))
      yield* drain
      yield* expectRows("b", "handled")
    }).pipe(within(backend, Handler.layer(chained).pipe(Layer.provideMerge(broker.layer))))
  })
}
