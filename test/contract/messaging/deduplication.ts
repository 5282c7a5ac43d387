/**
 * `Handler.deduplicate`: what arrives twice is done once.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, Handler } from "@holdfast/core"
import { Effect, Layer, Schedule } from "effect"
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
}
