/**
 * Consumers that run by themselves: leases, crashes, shutdown.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, Handler, type MessageStore, MessagingError } from "@holdfast/core"
import { Effect, Layer } from "effect"
import type { Backend } from "./backend.ts"
import { consume, Fragile, gated, ids, plain, withStore } from "./consuming.ts"
import {
  advance,
  drain,
  eventually,
  expectRows,
  expectWaiting,
  isEmpty,
  letters,
  minute,
  Orders,
  onlyLetter,
  pass,
  passUntil,
  rejected,
  Ship,
  second,
  settle,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

export const consumers = <R>(backend: Backend<R>): void => {
  it.scoped("handle everything once, never more at once than they may", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* Effect.forEach(ids(20), (id) => ship(id))
      yield* consume({ concurrency: 3 })
      yield* eventually(
        "three run",
        Effect.sync(() => state.running === 3)
      )
      yield* settle
      assert.strictEqual(state.started, 3)
      yield* open
      yield* passUntil("all are handled", isEmpty())
      yield* expectRows(...ids(20))
      assert.strictEqual(state.started, 20)
      assert.strictEqual(state.most, 3)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("claim no more than they can handle now", () => {
    const { handler, open, state } = gated()
    const limits: Array<number> = []
    return withStore(
      (store) => ({
        claim: (options) =>
          Effect.suspend(() => {
            limits.push(options.limit + state.running)
            return store.claim(options)
          })
      }),
      Effect.gen(function* () {
        yield* Effect.forEach(ids(12), (id) => ship(id))
        yield* consume({ concurrency: 5 })
        yield* eventually(
          "five run",
          Effect.sync(() => state.running === 5)
        )
        yield* open
        yield* passUntil("all are handled", isEmpty())
        for (const limit of limits) assert.isAtMost(limit, 5)
      })
    ).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("compete: each message is handled by one of them", () =>
    Effect.gen(function* () {
      yield* consume({ concurrency: 4 })
      yield* consume({ concurrency: 4 })
      yield* Effect.forEach(ids(40), (id) => ship(id))
      yield* passUntil("all are handled", isEmpty())
      yield* expectRows(...ids(40))
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.scoped("take what is sent while they wait, and what is due later", () =>
    Effect.gen(function* () {
      yield* consume()
      yield* settle
      yield* ship("now")
      yield* ship("later", { delay: "1 minute" })
      yield* passUntil(
        "the first is handled",
        Effect.map(
          using((store) => store.depth(Orders.channelName)),
          (_) => _.ready === 0
        )
      )
      yield* expectRows("now")
      yield* pass(2 * minute)
      yield* passUntil("the second is handled", isEmpty())
      yield* expectRows("now", "later")
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.scoped("need no notifications: they poll", () => {
    let waits = 0
    const polling = withStore(
      () => ({
        wake: (_, atMost) =>
          Effect.zipRight(
            Effect.sync(() => void waits++),
            Effect.sleep(atMost)
          )
      }),
      consume({ pollInterval: "5 seconds" })
    )
    return Effect.gen(function* () {
      yield* polling
      yield* eventually(
        "it waits",
        Effect.sync(() => waits === 1)
      )
      yield* ship("a")
      yield* settle
      yield* expectRows()
      yield* passUntil("it is handled", isEmpty())
      yield* expectRows("a")
    }).pipe(within(backend, Handler.layer(plain)))
  })

  it.scoped("go on after claiming failed", () => {
    let away = true
    const error = new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" })
    return Effect.gen(function* () {
      yield* ship("a")
      yield* withStore(
        (store) => ({ claim: (options) => Effect.suspend(() => (away ? error : store.claim(options))) }),
        consume()
      )
      yield* pass(20 * second)
      away = false
      yield* passUntil("it is handled", isEmpty())
      yield* expectRows("a")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(plain)))
  })

  it.effect("are refused when they may handle more at once than the database has connections", () =>
    Effect.gen(function* () {
      const few = withStore(
        () => ({ handlerConnections: 6 }),
        Effect.scoped(Effect.zipRight(consume({ concurrency: 4 }), consume({ concurrency: 3 })))
      )
      const error = yield* rejected(few)
      assert.strictEqual(error.reason, "Rejected")
      assert.match(
        error.detail,
        /the consumers of this process handle 7 messages at once, but the database client has 6 connections/
      )
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.scoped("may be closed and started again as often as one likes", () =>
    Effect.gen(function* () {
      const enough = withStore(() => ({ handlerConnections: 4 }), Effect.scoped(consume({ concurrency: 4 })))
      yield* Effect.repeatN(enough, 2)
    }).pipe(within(backend, Handler.layer(plain)))
  )
}

export const shutdown = <R>(backend: Backend<R>): void => {
  it.scoped("takes nothing new, and lets handlers finish", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* Effect.forEach(ids(5), (id) => ship(id))
      const close = yield* consume({ concurrency: 2 })
      yield* eventually(
        "two run",
        Effect.sync(() => state.running === 2)
      )
      const closing = yield* Effect.fork(close)
      yield* settle
      yield* open
      yield* closing.await
      assert.strictEqual(state.started, 2)
      yield* expectRows("1", "2")
      yield* expectWaiting(3)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("gives back what does not finish in time, without burning an attempt", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* ship("a")
      const close = yield* consume({ drainTimeout: "30 seconds" })
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      const closing = yield* Effect.fork(close)
      yield* Effect.repeatN(pass(second), 19)
      assert.strictEqual(state.interrupted, 0)
      yield* passUntil(
        "it is closed",
        Effect.map(closing.poll, (exit) => exit._tag === "Some")
      )
      assert.strictEqual(state.interrupted, 1)
      yield* expectRows()
      yield* open
      yield* drain
      yield* expectRows("a")
      assert.deepStrictEqual(state.attempts, [1, 1])
    }).pipe(Effect.ensuring(open), within(backend, Handler.layer(handler)))
  })

  it.scoped("keeps the leases of what still runs", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* ship("a")
      const close = yield* consume({ drainTimeout: "1 hour", lease: "9 seconds" })
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      const closing = yield* Effect.fork(close)
      for (let passed = 0; passed < 40; passed++) yield* pass(second)
      assert.strictEqual(state.interrupted, 0)
      yield* open
      yield* closing.await
      yield* expectRows("a")
      assert.strictEqual(state.started, 1)
    }).pipe(within(backend, Handler.layer(handler)))
  })
}

export const unknownEndpoints = <R>(backend: Backend<R>): void => {
  const stranger: MessageStore.Send = {
    _tag: "Send",
    channel: "test/Fragile",
    envelope: { id: "1", tag: "Ship", endpoint: "Gone", attempt: 1, headers: {}, payload: "{}", failures: [] },
    priority: 0,
    due: undefined,
    timer: undefined
  }
  const known = Handler.command(Ship, ({ id }) => write(id)).pipe(Handler.asynchronous(Fragile))

  it.scoped("wait for another version, and are dead letters after the channel's time, not before", () =>
    Effect.gen(function* () {
      yield* using((store) => store.commit([[stranger]]))
      yield* Layer.build(Consumer.layer(Fragile))
      yield* Effect.repeatN(pass(second), 49)
      assert.deepStrictEqual(yield* letters, [])
      yield* passUntil(
        "it is a dead letter",
        Effect.map(letters, (rows) => rows.length === 1)
      )
      const { error, reason } = yield* onlyLetter
      assert.strictEqual(reason, "UnknownEndpoint")
      assert.match(error, /No consumer of channel "test\/Fragile" handles Ship as "Gone"/)
      yield* ship("known")
      yield* passUntil("the others are handled", isEmpty(Fragile))
      yield* expectRows("known")
    }).pipe(within(backend, Handler.layer(known).pipe(Layer.provideMerge(backend.channel(Fragile)))))
  )

  it.effect("are dead letters after the channel's time in a test that lets it pass", () =>
    Effect.gen(function* () {
      yield* using((store) => store.commit([[stranger]]))
      yield* advance("5 minutes")
      assert.strictEqual((yield* onlyLetter).reason, "UnknownEndpoint")
    }).pipe(within(backend, Handler.layer(known).pipe(Layer.provideMerge(backend.channel(Fragile)))))
  )
}
