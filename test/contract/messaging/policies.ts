/**
 * What a handler says of its messages: which go first, how long they are worth handling, how long it may take.
 */
import { assert, it } from "@effect/vitest"
import { Channel, Handler, MessagingTest } from "@holdfast/core"
import { Effect, Layer, Schedule, TestClock } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  drain,
  expectRefused,
  expectRows,
  expectWaiting,
  letters,
  Orders,
  onlyLetter,
  Place,
  Placed,
  place,
  placed,
  Refused,
  Ship,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

export const policies = <R>(backend: Backend<R>): void => {
  it.effect("say which messages are taken first, by the handler or by the message; a sender's word wins", () => {
    const order: Array<string> = []
    const note = (id: string) => Effect.sync(() => void order.push(id))
    const shipping = Handler.command(Ship, ({ id }) => note(id)).pipe(
      Handler.asynchronous(Orders),
      Handler.priority(({ id }) => (id.startsWith("urgent") ? 5 : -1))
    )
    const booking = Handler.event(Placed, { name: "Book", handle: ({ id }) => note(id) }).pipe(
      Handler.asynchronous(Orders),
      Handler.priority(2)
    )
    return Effect.gen(function* () {
      yield* ship("slow")
      yield* placed("placed")
      yield* ship("urgent")
      yield* ship("urgent, but not so", { priority: 1 })
      yield* drain
      assert.deepStrictEqual(order, ["urgent", "placed", "urgent, but not so", "slow"])
    }).pipe(within(backend, Handler.layer(shipping, booking)))
  })

  it.effect("drop what nobody began in time, and say so; what was delayed has its time from then on", () => {
    const shipping = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.asynchronous(Orders),
      Handler.timeToLive("1 minute")
    )
    return Effect.gen(function* () {
      const elsewhere = Handler.routes(shipping).pipe(Layer.provideMerge(MessagingTest.layerStore))
      yield* Effect.all([ship("late"), ship("delayed", { delay: "3 minutes" })]).pipe(Effect.provide(elsewhere))
      yield* MessagingTest.advance("2 minutes").pipe(Effect.provide(elsewhere))
      yield* drain
      yield* expectRows()
      yield* advance("2 minutes")
      yield* expectRows("delayed")
      yield* expectWaiting(0)
      assert.deepStrictEqual(yield* letters, [])
      const expired = (yield* MessagingTest.log).filter((entry) => entry._tag === "Expired")
      assert.deepStrictEqual(
        expired.map((entry) => (entry.message as Ship).id),
        ["late"]
      )
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("let what was begun in time be tried again after it", () => {
    let tries = 0
    const shipping = Handler.command(Ship, ({ id }) =>
      Effect.suspend(() => (++tries < 3 ? Effect.fail("busy") : write(id)))
    ).pipe(Handler.asynchronous(Orders), Handler.timeToLive("1 minute"), Handler.retry(Schedule.spaced("5 minutes")))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* advance("1 hour")
      yield* expectRows("a")
      assert.strictEqual(tries, 3)
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("interrupt a handler that takes too long: nothing of it is left, and it is tried again", () => {
    let tries = 0
    const shipping = Handler.command(Ship, ({ id }) =>
      Effect.zipRight(
        write(`${id} ${++tries}`),
        Effect.suspend(() => (tries < 2 ? Effect.never : Effect.void))
      )
    ).pipe(Handler.timeout("10 millis"), Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(1)))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* Effect.all([drain, patience], { concurrency: "unbounded" })
      yield* drain
      yield* expectRows("a 2")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("have a handler that always takes too long become a dead letter", () => {
    const shipping = Handler.command(Ship, () => Effect.never).pipe(
      Handler.timeout("10 millis"),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* ship("a")
      yield* Effect.all([drain, patience], { concurrency: "unbounded" })
      assert.include((yield* onlyLetter).error, "TimeoutException")
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("fail the sender with the error that the handler makes of it, and the command declares", () => {
    const placing = Handler.command(Place, () => Effect.never).pipe(
      Handler.timeout({ duration: "10 millis", onTimeout: () => new Refused({ why: "too slow" }) })
    )
    return Effect.gen(function* () {
      yield* Effect.all([expectRefused(place(), "too slow"), patience], { concurrency: "unbounded" })
    }).pipe(within(backend, Handler.layer(placing)))
  })

  it.effect("may turn that into a defect where the command declares no such error", () => {
    const placing = Handler.command(Place, () => Effect.as(Effect.never, "")).pipe(Handler.timeout("10 millis"))
    const caught = Handler.command(Place, (message, envelope) => Effect.orDie(placing.handle(message, envelope)))
    return Effect.gen(function* () {
      const [exit] = yield* Effect.all([Effect.exit(place()), patience], { concurrency: "unbounded" })
      assert.include(String(exit), "TimeoutException")
    }).pipe(within(backend, Handler.layer(caught)))
  })

  it.effect(
    "win over the channel's: what becomes of given-up messages, after how many lost workers, and retries",
    () => {
      const runs: Record<string, number> = {}
      const failing = (name: string) =>
        Handler.event(Placed, {
          name,
          handle: () => {
            runs[name] = (runs[name] ?? 0) + 1
            return Effect.fail("no")
          }
        }).pipe(Handler.asynchronous(Strict))
      const handlers = Handler.layer(
        failing("As the channel"),
        failing("Parks").pipe(Handler.deadLetter({ onGivenUp: "Park" })),
        failing("Tries on").pipe(Handler.retry(Schedule.recurs(4))),
        failing("Never").pipe(Handler.retry(Schedule.stop)),
        failing("Hardy").pipe(Handler.deadLetter({ onGivenUp: "Park", afterCrashes: 3 }))
      )
      return Effect.gen(function* () {
        yield* placed()
        // each copy is lost once, by a consumer that had it alone: one crash is the channel's limit, and not that of the hardy one
        yield* Effect.forEach(["a", "b", "c", "d", "e"], (owner) =>
          using((store) => store.claim({ channel: Strict.channelName, limit: 1, leaseMillis: 1_000, owner }))
        )
        yield* advance("2 seconds")
        assert.deepStrictEqual(runs, { Hardy: 2 })
        yield* placed()
        yield* drain
        assert.deepStrictEqual(runs, { "As the channel": 2, Parks: 2, "Tries on": 5, Never: 1, Hardy: 4 })
        const parked = (yield* letters).map(({ envelope, reason }) => `${envelope.endpoint} ${reason}`)
        assert.deepStrictEqual(parked.toSorted(), [
          "Hardy Exhausted",
          "Hardy Exhausted",
          "Parks Crashed",
          "Parks Exhausted"
        ])
      }).pipe(within(backend, handlers.pipe(Layer.provideMerge(backend.channel(Strict)))))
    }
  )
}

/** Discards, after one lost worker, or a second try. */
class Strict extends Channel.Tag<Strict>()("test/Strict", {
  messages: [Placed],
  retry: Schedule.recurs(1),
  deadLetter: { onGivenUp: "Discard", afterCrashes: 1 }
}) {}

/** Lets the virtual time pass in which a handler may take its time. */
const patience = Effect.repeatN(
  Effect.zipRight(
    using((store) => store.now),
    TestClock.adjust("1 millis")
  ),
  100
)
