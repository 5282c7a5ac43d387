/**
 * Consumers that run by themselves: leases, crashes, shutdown.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, Handler, type MessageStore, MessagingError } from "@holdfast/core"
import { Effect, Layer, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import { consume, Fragile, gated, ids, plain, withStore } from "./consuming.ts"
import {
  advance,
  alone,
  drain,
  eventually,
  expectRows,
  expectWaiting,
  isEmpty,
  letters,
  minute,
  Orders,
  onlyLetter,
  Placed,
  pass,
  passUntil,
  rejected,
  Ship,
  type System,
  second,
  settle,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"
import { process } from "./versions.ts"

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

  const fragile = <R2>(handler: Layer.Layer<never, never, R2>) =>
    handler.pipe(Layer.provideMerge(backend.channel(Fragile))) as Layer.Layer<Fragile, unknown, System>
  const strangerTo = process(backend, fragile(Handler.layer(known)))
  const waiting = (count: number) => expectWaiting(count, Fragile)

  it.scoped("count their time from when anybody first met them: over processes, and restarts", () =>
    Effect.gen(function* () {
      yield* using((store) => store.commit([[stranger]]))
      // each is a new process, which knows nothing of those before it
      for (const seconds of [10, 20, 20]) {
        const another = yield* strangerTo
        assert.strictEqual(yield* another(Consumer.drain(Fragile)), 1)
        yield* waiting(1)
        yield* pass(seconds * second)
      }
      yield* pass(15 * second)
      const last = yield* strangerTo
      yield* last(Consumer.drain(Fragile))
      yield* waiting(0)
      assert.strictEqual((yield* onlyLetter).reason, "UnknownEndpoint")
    }).pipe(alone(backend))
  )

  it.scoped("start their time anew when somebody who knows them has failed with them", () => {
    const gone = Handler.event(Placed, { name: "Gone", handle: () => Effect.fail("no") }).pipe(
      Handler.asynchronous(Fragile),
      Handler.retry(Schedule.spaced("1 hour"))
    )
    return Effect.gen(function* () {
      const knows = yield* process(backend, fragile(Handler.layer(gone)))
      const another = yield* strangerTo
      yield* using((store) =>
        store.commit([[{ ...stranger, envelope: { ...stranger.envelope, tag: "Placed", payload: placedPayload } }]])
      )
      yield* another(Consumer.drain(Fragile))
      yield* pass(10 * second)
      yield* knows(Consumer.drain(Fragile))
      yield* pass(61 * minute)
      // met again long after its time: but it is another try that waits now
      yield* another(Consumer.drain(Fragile))
      yield* waiting(1)
      assert.deepStrictEqual(yield* letters, [])
      yield* pass(2 * minute)
      yield* another(Consumer.drain(Fragile))
      assert.strictEqual((yield* onlyLetter).reason, "UnknownEndpoint")
    }).pipe(alone(backend))
  })

  it.scoped("do not keep a consumer busy: each time it gives one back for longer, up to a minute", () =>
    Effect.gen(function* () {
      const delays: Array<number> = []
      yield* using((store) => store.commit([[{ ...stranger, channel: "test/Orders" }]]))
      yield* withStore(
        (store) => ({
          release: (leases, afterMillis) =>
            Effect.suspend(() => {
              delays.push(afterMillis)
              return store.release(leases, afterMillis)
            })
        }),
        consume()
      )
      yield* passUntil(
        "it was given back six times",
        Effect.sync(() => delays.length === 6)
      )
      assert.deepStrictEqual(delays, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
    }).pipe(within(backend, Handler.layer(plain)))
  )
}

const placedPayload = JSON.stringify({ _tag: "Placed", id: "1" })
