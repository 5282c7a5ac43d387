/**
 * Ordering keys: messages of one key are handled in the order in which they were sent, one at a time, whatever happens
 * to the ones before.
 */
import { assert, it } from "@effect/vitest"
import {
  Channel,
  Consumer,
  DeadLetter,
  EventBus,
  Handler,
  type MessageStore,
  MessagingError,
  MessagingTest,
  Saga
} from "@holdfast/core"
import { Deferred, Effect, FiberId, Layer, Option, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import { consume, withStore } from "./consuming.ts"
import {
  advance,
  drain,
  expectWaiting,
  isEmpty,
  letters,
  Orders,
  onlyLetter,
  Paid,
  Placed,
  passUntil,
  placed,
  rejected,
  Ship,
  type System,
  ship,
  within
} from "./fixtures.ts"

/** The key of `a1` is `a`; what begins with a dash has none. */
const keyOf = ({ id }: { readonly id: string }) => (id[0] === "-" ? "" : id[0])

/** A log of what was handled, and how many of a key were handled at once. */
const watched = () => {
  const handled: Array<string> = []
  const running = new Set<string>()
  let overlaps = 0
  const note = <A, E, R>(id: string, effect: Effect.Effect<A, E, R>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        if (running.has(id[0]!)) overlaps++
        running.add(id[0]!)
      }),
      () =>
        Effect.zipLeft(
          effect,
          Effect.sync(() => handled.push(id))
        ),
      () => Effect.sync(() => running.delete(id[0]!))
    )
  return { handled, note, overlaps: () => overlaps, of: (key: string) => handled.filter((id) => id[0] === key) }
}

class Discarding extends Channel.Tag<Discarding>()("test/Discarding", {
  messages: [Ship],
  deadLetter: { onGivenUp: "Discard" }
}) {}

export const ordering = <R>(backend: Backend<R>): void => {
  it.scoped("handle messages of one key in order, one at a time, through failures and retries", () => {
    const { handled, note, of, overlaps } = watched()
    const tries = new Map<string, number>()
    const shipping = Handler.command(Ship, ({ id }) =>
      note(
        id,
        Effect.suspend(() => {
          const attempt = (tries.get(id) ?? 0) + 1
          tries.set(id, attempt)
          return id.endsWith("2") && attempt < 3 ? Effect.fail("busy") : Effect.yieldNow()
        })
      )
    ).pipe(Handler.asynchronous(Orders), Handler.orderedBy(keyOf), Handler.retry(Schedule.spaced("10 seconds")))
    const names = ["a", "b", "c", "d", "e"].flatMap((key) => [1, 2, 3, 4].map((n) => `${key}${n}`))
    const sent = names.toSorted((self, that) => self[1]!.localeCompare(that[1]!))
    return Effect.gen(function* () {
      yield* consume({ concurrency: 4, lease: "1 hour" })
      yield* consume({ concurrency: 4, lease: "1 hour" })
      for (const id of sent) yield* ship(id)
      yield* passUntil("all are handled", isEmpty())
      for (const key of ["a", "b", "c", "d", "e"]) {
        assert.deepStrictEqual(
          of(key),
          names.filter((id) => id[0] === key)
        )
      }
      assert.strictEqual(overlaps(), 0)
      assert.lengthOf(handled, 20)
      assert.strictEqual(tries.get("a2"), 3)
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("let other keys, and what has none, pass one that waits for its retry", () => {
    const handled: Array<string> = []
    let broken = true
    const shipping = Handler.command(Ship, ({ id }) =>
      Effect.suspend(() => (id === "a1" && broken ? Effect.fail("busy") : Effect.sync(() => handled.push(id))))
    ).pipe(Handler.asynchronous(Orders), Handler.orderedBy(keyOf), Handler.retry(Schedule.spaced("1 hour")))
    return Effect.gen(function* () {
      for (const id of ["a1", "a2", "b1", "-1"]) yield* ship(id)
      yield* drain
      assert.deepStrictEqual(handled, ["b1", "-1"])
      broken = false
      yield* advance("2 hours")
      assert.deepStrictEqual(handled, ["b1", "-1", "a1", "a2"])
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("hold a key up behind its dead letter until that is replayed", () => {
    const handled: Array<string> = []
    let broken = true
    const shipping = Handler.command(Ship, ({ id }) =>
      Effect.suspend(() => (id === "a1" && broken ? Effect.fail("no") : Effect.sync(() => handled.push(id))))
    ).pipe(Handler.asynchronous(Orders), Handler.orderedBy(keyOf))
    return Effect.gen(function* () {
      for (const id of ["a1", "a2", "b1"]) yield* ship(id)
      yield* drain
      yield* ship("a3")
      yield* drain
      assert.deepStrictEqual(handled, ["b1"])
      broken = false
      const { key } = yield* onlyLetter
      yield* Effect.flatMap(DeadLetter.DeadLetter, (deadLetter) => deadLetter.replay([key]))
      yield* drain
      assert.deepStrictEqual(handled, ["b1", "a1", "a2", "a3"])
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("go on behind what is discarded, and behind what expired", () => {
    const handled: Array<string> = []
    const shipping = Handler.command(Ship, ({ id }) =>
      id === "a2" ? Effect.fail("no") : Effect.sync(() => handled.push(id))
    ).pipe(Handler.asynchronous(Discarding), Handler.orderedBy(keyOf), Handler.timeToLive("1 minute"))
    const layer = Handler.layer(shipping).pipe(Layer.provideMerge(backend.channel(Discarding)))
    const elsewhere = Handler.routes(shipping).pipe(
      Layer.provideMerge(MessagingTest.layerStore),
      Layer.provideMerge(backend.channel(Discarding))
    )
    return Effect.gen(function* () {
      yield* ship("a1").pipe(Effect.provide(elsewhere))
      yield* MessagingTest.advance("2 minutes").pipe(Effect.provide(elsewhere))
      for (const id of ["a2", "a3"]) yield* ship(id)
      yield* drain
      assert.deepStrictEqual(handled, ["a3"])
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, layer))
  })

  it.effect("have each handler of an event wait for its own copies alone, with a key from the headers", () => {
    const handled: Array<string> = []
    const on = (name: string) =>
      Handler.event(Placed, {
        name,
        handle: ({ id }) =>
          Effect.suspend(() => (name === "A" ? Effect.fail("no") : Effect.sync(() => handled.push(`${name} ${id}`))))
      }).pipe(
        Handler.asynchronous(Orders),
        Handler.orderedBy((_, headers) => headers.tenant)
      )
    return Effect.gen(function* () {
      for (const id of ["1", "2"]) yield* placed(id, { headers: { tenant: "acme" } })
      yield* drain
      assert.deepStrictEqual(handled, ["B 1", "B 2"])
      assert.deepStrictEqual(
        [(yield* onlyLetter).envelope.orderingKey, (yield* letters)[0]!.envelope.endpoint],
        ["acme", "A"]
      )
      yield* expectWaiting(1)
    }).pipe(within(backend, Handler.layer(on("A"), on("B"))))
  })

  it.scoped("give copies of a publisher that does not know the handler their keys, delays and order", () => {
    const { note, of, overlaps } = watched()
    const gate = Deferred.unsafeMake<void>(FiberId.none)
    let broken = true
    const what = (id: string) => {
      if (id === "b2") return Deferred.succeed(gate, undefined)
      // other keys go on beside it
      if (id === "a2") return Deferred.await(gate)
      if (id !== "a1" || !broken) return Effect.void
      broken = false
      return Effect.fail("busy")
    }
    const track = Handler.event(Placed, {
      name: "Track",
      handle: ({ id }) =>
        note(
          id,
          Effect.suspend(() => what(id))
        )
    }).pipe(Handler.asynchronous(Orders), Handler.orderedBy(keyOf), Handler.retry(Schedule.spaced("5 seconds")))
    const names = ["a1", "b1", "-1", "a2", "b2", "-2", "a3", "b3", "-3"]
    const late: Array<string> = []
    const later = Handler.event(Paid, { name: "Later", handle: ({ id }) => Effect.sync(() => late.push(id)) }).pipe(
      Handler.asynchronous(Orders),
      Handler.delay(({ id }) => (id === "a1" ? "30 seconds" : "0 seconds")),
      Handler.orderedBy(keyOf)
    )
    return Effect.gen(function* () {
      yield* Consumer.subscribe(Orders)
      const publisher = yield* Layer.build(
        MessagingTest.layerStore.pipe(Layer.provideMerge(Layer.succeedContext(yield* Effect.context<System>())))
      )
      for (const id of names) yield* Effect.provide(placed(id), publisher)
      for (const id of ["a1", "a2"]) yield* Effect.provide(EventBus.publish(new Paid({ id })), publisher)
      yield* consume({ concurrency: 4, lease: "1 hour" })
      yield* passUntil(
        "all but the delayed one are handled",
        Effect.sync(() => late.length === 1 && of("-").length === 3)
      )
      yield* passUntil("the delayed one too", isEmpty())
      for (const key of ["a", "b"]) assert.deepStrictEqual(of(key), [`${key}1`, `${key}2`, `${key}3`])
      assert.deepStrictEqual(late, ["a2", "a1"])
      assert.strictEqual(overlaps(), 0)
    }).pipe(within(backend, Handler.layer(track, later)))
  })

  it.scoped(
    "wait no lease long when the database is away while a copy gets its key, or one of the key is parked",
    () => {
      const handled: Array<string> = []
      const track = Handler.event(Placed, {
        name: "Track",
        handle: ({ id }) => Effect.sync(() => handled.push(id))
      }).pipe(
        Handler.asynchronous(Orders),
        Handler.orderedBy(({ id }) => {
          if (id === "bad") throw new Error("no key")
          return id
        })
      )
      const gone = Option.some(new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" }))
      const away = new Set(["Send", "Park"])
      const flaky = (store: MessageStore.Encoded) => ({
        commit: (units: Parameters<MessageStore.Encoded["commit"]>[0]) =>
          Effect.suspend(() => {
            const kind = units.flat().find(({ _tag }) => away.has(_tag))?._tag
            if (kind === undefined) return store.commit(units)
            away.delete(kind)
            return Effect.succeed(units.map(() => gone))
          })
      })
      return Effect.gen(function* () {
        yield* Consumer.subscribe(Orders)
        const publisher = yield* Layer.build(
          MessagingTest.layerStore.pipe(Layer.provideMerge(Layer.succeedContext(yield* Effect.context<System>())))
        )
        for (const id of ["a", "bad", "b"]) yield* Effect.provide(placed(id), publisher)
        yield* withStore(flaky, consume({ lease: "1 hour" }))
        yield* passUntil("all are handled or parked", isEmpty())
        assert.deepStrictEqual([handled, away.size, (yield* letters).length], [["a", "b"], 0, 1])
      }).pipe(within(backend, Handler.layer(track)))
    }
  )

  it.effect("keep a saga's events in order, whatever their types, and its timeouts apart", () => {
    const seen: Array<string> = []
    let broken = true
    const see = (what: string) => Effect.sync(() => void seen.push(what))
    const saga = Saga.make("Fulfilment", { state: Schema.String }).pipe(
      Saga.startOn(Placed, { id: ({ id }) => id, handle: ({ id }) => Effect.as(Saga.arm("late", "1 minute"), id) }),
      Saga.on(Paid, {
        id: ({ id }) => id,
        handle: (state) => Effect.suspend(() => (broken ? Effect.fail("busy") : Effect.as(see("paid"), state)))
      }),
      Saga.on(Ship, { id: ({ id }) => id, handle: (state) => Effect.as(see("shipped"), Saga.complete(state)) }),
      Saga.onTimeout("late", { handle: (state) => Effect.as(see("late"), state) }),
      Handler.asynchronous(Orders),
      Handler.orderedBy(({ id }) => id),
      Handler.retry(Schedule.spaced("10 minutes"))
    )
    return Effect.gen(function* () {
      yield* placed("1")
      yield* EventBus.publish(new Paid({ id: "1" }))
      yield* ship("1")
      yield* advance("5 minutes")
      assert.deepStrictEqual(seen, ["late"])
      broken = false
      yield* advance("10 minutes")
      assert.deepStrictEqual(seen, ["late", "paid", "shipped"])
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.effect("refuse a key that is too long to be one, and send nothing", () => {
    const shipping = Handler.command(Ship, () => Effect.void).pipe(
      Handler.asynchronous(Orders),
      Handler.orderedBy(({ id }) => id)
    )
    return Effect.gen(function* () {
      for (const id of ["a".repeat(256), "a\u0000"]) {
        const error = yield* rejected(ship(id))
        assert.strictEqual(error.reason, "Rejected")
        assert.include(error.message, "The ordering key of Ship is")
      }
      yield* ship("ü".repeat(255))
      yield* expectWaiting(1)
    }).pipe(within(backend, Handler.layer(shipping)))
  })
}
