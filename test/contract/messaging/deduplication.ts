/**
 * `Handler.deduplicate`: what arrives twice is done once.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, Handler, Saga } from "@holdfast/core"
import { Deferred, Effect, Layer, Schedule, Schema } from "effect"
import { type Backend, Ledger } from "./backend.ts"
import {
  advance,
  drain,
  expectRefused,
  expectRows,
  expectWaiting,
  isEmpty,
  letters,
  Orders,
  onlyLetter,
  Placed,
  passUntil,
  placed,
  Reserve,
  refuse,
  reserve,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"

/** Writes a row per run; the key is what comes before the dash. */
const counting = () => {
  let runs = 0
  const next = Effect.suspend(() => write(`run ${++runs}`))
  return { next, shipping: Handler.command(Ship, () => next) }
}

const once = { key: ({ id }: { readonly id: string }) => id.split("-")[0]! }

export const deduplication = <R>(backend: Backend<R>): void => {
  it.effect("handles messages of one key once, and acknowledges the others", () => {
    const { shipping } = counting()
    return Effect.gen(function* () {
      yield* Effect.all([ship("a-1"), ship("a-2"), ship("b-1")])
      assert.strictEqual(yield* drain, 3)
      yield* expectRows("run 1", "run 2")
      yield* expectWaiting(0)
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(shipping.pipe(Handler.deduplicate(once), Handler.asynchronous(Orders)))))
  })

  it.effect("forgets a key after its window, not before", () => {
    const { shipping } = counting()
    return Effect.gen(function* () {
      yield* ship("a-1")
      yield* advance("50 minutes")
      yield* ship("a-2")
      yield* drain
      yield* expectRows("run 1")
      yield* advance("20 minutes")
      yield* ship("a-3")
      yield* drain
      yield* expectRows("run 1", "run 2")
    }).pipe(
      within(
        backend,
        Handler.layer(shipping.pipe(Handler.asynchronous(Orders), Handler.deduplicate({ ...once, window: "1 hour" })))
      )
    )
  })

  it.effect("remembers for seven days unless told", () => {
    const { shipping } = counting()
    return Effect.gen(function* () {
      yield* ship("a-1")
      yield* advance("167 hours")
      yield* ship("a-2")
      yield* drain
      yield* expectRows("run 1")
      yield* advance("2 hours")
      yield* ship("a-3")
      yield* drain
      yield* expectRows("run 1", "run 2")
    }).pipe(within(backend, Handler.layer(shipping.pipe(Handler.asynchronous(Orders), Handler.deduplicate(once)))))
  })

  it.effect("does not count what failed", () => {
    let runs = 0
    const shipping = Handler.command(Ship, ({ id }) =>
      Effect.suspend(() => Effect.zipRight(write(id), ++runs < 3 ? Effect.fail("no") : Effect.void))
    ).pipe(Handler.deduplicate(once), Handler.asynchronous(Orders), Handler.retry(Schedule.spaced("1 minute")))
    return Effect.gen(function* () {
      yield* ship("a-1")
      yield* advance("1 hour")
      yield* ship("a-2")
      yield* drain
      assert.strictEqual(runs, 3)
      yield* expectRows("a-1")
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("does not so much as call the handler's function again", () => {
    let calls = 0
    const shipping = Handler.command(Ship, ({ id }) => {
      calls++
      return write(id)
    }).pipe(Handler.deduplicate(once), Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* Effect.all([ship("a-1"), ship("a-2")])
      yield* drain
      assert.strictEqual(calls, 1)
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("works for synchronous handlers, in the unit of their sender", () => {
    const { next } = counting()
    const reserving = Handler.command(Reserve, ({ id }) =>
      Effect.zipRight(next, id === "a-bad" ? refuse() : Effect.void)
    ).pipe(Handler.deduplicate(once))
    return Effect.gen(function* () {
      yield* expectRefused(reserve("a-bad"))
      yield* reserve("a-1")
      yield* reserve("a-2")
      yield* expectRows("run 2")
    }).pipe(within(backend, Handler.layer(reserving)))
  })

  it.effect("works within one unit", () => {
    const { next } = counting()
    const on = Handler.event(Placed, { name: "On", handle: () => next }).pipe(Handler.deduplicate(once))
    const reserving = Handler.command(Reserve, () => Effect.all([placed("a-1"), placed("a-2")], { discard: true }))
    return Effect.gen(function* () {
      yield* reserve()
      yield* placed("a-3")
      yield* expectRows("run 1")
    }).pipe(within(backend, Handler.layer(on, reserving)))
  })

  it.effect("is of each handler alone", () => {
    const on = (name: string) =>
      Handler.event(Placed, { name, handle: () => write(name) }).pipe(
        Handler.deduplicate({ key: () => "same" }),
        Handler.asynchronous(Orders)
      )
    return Effect.gen(function* () {
      yield* placed()
      yield* placed()
      yield* drain
      yield* expectRows("A", "B")
    }).pipe(within(backend, Handler.layer(on("A"), on("B"))))
  })

  it.scoped("takes effect once when two are handled at once, and burns no attempt", () => {
    const shipping = Handler.command(Ship, ({ id }) => Effect.zipRight(Effect.yieldNow(), write(id))).pipe(
      Handler.deduplicate(once),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* Effect.forEach(["a-1", "a-2", "a-3", "a-4", "a-5", "a-6"], (id) => ship(id))
      yield* Layer.build(Consumer.layer(Orders, { concurrency: 6 }))
      yield* passUntil("all are handled", isEmpty())
      const rows = yield* Effect.flatMap(Ledger, (ledger) => ledger.rows)
      assert.strictEqual(rows.length, 1)
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("handles each message once by its id when no key is given, and forgets it after the window", () => {
    const { shipping } = counting()
    const again = ship("a", { idempotencyKey: { key: "k", window: "1 minute" } })
    return Effect.gen(function* () {
      // a sender that comes back when its key is forgotten sends the same message once more
      yield* again
      yield* advance("10 minutes")
      yield* again
      yield* ship("a")
      assert.strictEqual(yield* drain, 2)
      yield* expectRows("run 1", "run 2")
      yield* advance("2 hours")
      yield* again
      yield* drain
      yield* expectRows("run 1", "run 2", "run 3")
    }).pipe(
      within(
        backend,
        Handler.layer(shipping.pipe(Handler.asynchronous(Orders), Handler.deduplicate({ window: "1 hour" })))
      )
    )
  })

  it.effect("counts a message of which a handler failed as not handled, by its id too", () => {
    let runs = 0
    const shipping = Handler.command(Ship, ({ id }) =>
      Effect.suspend(() => Effect.zipRight(write(id), ++runs < 3 ? Effect.fail("no") : Effect.void))
    ).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.spaced("1 minute")), Handler.deduplicate())
    return Effect.gen(function* () {
      yield* ship("a")
      yield* advance("1 hour")
      assert.strictEqual(runs, 3)
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("handles each of several copies of one event once, by its id", () => {
    const on = (name: string) =>
      Handler.event(Placed, { name, handle: ({ id }) => write(`${name} ${id}`) }).pipe(
        Handler.deduplicate(),
        Handler.asynchronous(Orders)
      )
    return Effect.gen(function* () {
      yield* placed("1")
      yield* placed("2")
      yield* drain
      yield* expectRows("A 1", "A 2", "B 1", "B 2")
    }).pipe(within(backend, Handler.layer(on("A"), on("B"))))
  })

  it.effect("takes its key from a header, and refuses a message without it", () => {
    const { shipping } = counting()
    const byHeader = Handler.deduplicate<typeof Ship>({ key: (_, { headers }) => headers.delivery })
    return Effect.gen(function* () {
      yield* ship("a", { headers: { delivery: "1" } })
      yield* ship("b", { headers: { delivery: "1" } })
      yield* ship("c", { headers: { delivery: "2" } })
      yield* drain
      yield* expectRows("run 1", "run 2")
      yield* ship("d")
      yield* drain
      assert.include((yield* onlyLetter).error, 'the key of Ship for Handler.deduplicate of "Ship" is empty')
    }).pipe(within(backend, Handler.layer(shipping.pipe(byHeader, Handler.asynchronous(Orders)))))
  })

  it.effect("tells hostile keys apart, of one handler and of several, and takes what a database does not", () => {
    const keys = ["\u0000", "\u0001", "\ud800", "\ud801", "\ufffd", '","', "\\", "é", "e\u0301", " ", "x".repeat(255)]
    let written = 0
    const on = (name: string, key: (id: string) => string) =>
      Handler.event(Placed, {
        name,
        handle: ({ id }) => Effect.suspend(() => write(`${++written} ${name} ${id}`))
      }).pipe(Handler.deduplicate({ key: ({ id }) => key(id) }), Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      for (const _ of [1, 2]) yield* Effect.forEach(keys, (_, index) => placed(`${index}`))
      yield* drain
      assert.deepStrictEqual(yield* letters, [])
      const rows = yield* Effect.flatMap(Ledger, (ledger) => ledger.rows)
      assert.strictEqual(rows.length, keys.length + 2)
    }).pipe(
      within(
        backend,
        Handler.layer(
          on("On", (id) => keys[Number(id)]!),
          // one key each: were names and keys joined by a colon, these two would have the same
          on("a", () => "b:c"),
          on("a:b", () => "c")
        )
      )
    )
  })

  it.effect("refuses a key that is too long for an index", () => {
    const { shipping } = counting()
    const long = Handler.deduplicate<typeof Ship>({ key: () => "x".repeat(256) })
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      yield* expectRows()
      assert.include((yield* onlyLetter).error, "is 256 characters long: one has at most 255. Use an id, or a hash")
    }).pipe(within(backend, Handler.layer(shipping.pipe(long, Handler.asynchronous(Orders)))))
  })

  it.effect("is of what starts and moves a saga, not of its timeouts", () => {
    const saga = Saga.make("Waiting", { state: Schema.Number }).pipe(
      Saga.startOn(Placed, { id: ({ id }) => id, handle: () => Effect.as(Saga.arm("first", "1 minute"), 1) }),
      Saga.on(Placed, { id: ({ id }) => id, handle: (state) => Effect.as(write(`placed after ${state}`), state + 1) }),
      Saga.onTimeout("first", {
        handle: (state) => Effect.as(Effect.zipRight(write("first"), Saga.arm("second", "1 minute")), state)
      }),
      Saga.onTimeout("second", { handle: (state) => Effect.as(write("second"), state) }),
      Handler.deduplicate({ key: ({ id }) => id }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* placed("a")
      yield* placed("a")
      yield* advance("1 hour")
      yield* expectRows("first", "second")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.scoped("lets another message of the key run when the first one fails and is undone", () =>
    Effect.gen(function* () {
      const [reached, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = Effect.zipRight(Deferred.succeed(reached, undefined), Deferred.await(go))
      const shipping = Handler.command(Ship, ({ id }) =>
        id === "a-1" ? Effect.zipRight(write(id), Effect.zipRight(slow, Effect.fail("no"))) : write(id)
      ).pipe(Handler.deduplicate(once), Handler.asynchronous(Orders))
      yield* Effect.gen(function* () {
        yield* ship("a-1")
        yield* Layer.build(Consumer.layer(Orders, { concurrency: 2 }))
        yield* Deferred.await(reached)
        yield* ship("a-2")
        yield* passUntil(
          "the second is handled",
          Effect.map(ledger, (rows) => rows.length === 1)
        )
        yield* Deferred.succeed(go, undefined)
        yield* passUntil("both are done", isEmpty())
        yield* expectRows("a-2")
        assert.strictEqual((yield* onlyLetter).reason, "Exhausted")
        yield* ship("a-3")
        yield* passUntil("it is ignored", isEmpty())
        yield* expectRows("a-2")
      }).pipe(within(backend, Handler.layer(shipping)))
    })
  )
}

const ledger = Effect.flatMap(Ledger, (ledger) => ledger.rows)
