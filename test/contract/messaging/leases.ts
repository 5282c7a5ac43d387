/**
 * Leases: a consumer that lost one can commit nothing.
 */
import { assert, it } from "@effect/vitest"
import { Envelope, Handler, MessagingError, MessagingTest, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, FiberId, Layer } from "effect"
import type { Backend } from "./backend.ts"
import { consume, crash, Fragile, gated, plain, withStore } from "./consuming.ts"
import {
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
  Ship,
  second,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

export const leases = <R>(backend: Backend<R>): void => {
  it.scoped("are renewed while a handler runs, however long", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* ship("a")
      yield* consume({ lease: "9 seconds" })
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      for (let passed = 0; passed < minute; passed += second) yield* pass(second)
      const taken = yield* using((store) =>
        store.claim({ channel: Orders.channelName, limit: 1, leaseMillis: second, owner: "other" })
      )
      assert.deepStrictEqual(taken, [])
      yield* open
      yield* passUntil("it is handled", isEmpty())
      yield* expectRows("a")
      assert.strictEqual(state.started, 1)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("that are lost while the commit is on its way come too late: what was committed is handled", () => {
    const gate = Deferred.unsafeMake<void>(FiberId.none)
    const state = { committing: false, hooks: 0 }
    const hook = UnitOfWork.afterCommit(Effect.sync(() => void state.hooks++))
    const handler = Handler.command(Ship, () => hook).pipe(Handler.asynchronous(Orders))
    const slow = Effect.fnUntraced(function* (commit: Effect.Effect<any>) {
      state.committing = true
      yield* Deferred.await(gate)
      return yield* commit
    })
    return Effect.gen(function* () {
      yield* ship("a")
      yield* withStore(
        (store) => ({ renew: (leases) => Effect.succeed(leases), commit: (units) => slow(store.commit(units)) }),
        consume({ lease: "9 seconds" })
      )
      yield* eventually(
        "it commits",
        Effect.sync(() => state.committing)
      )
      yield* pass(4 * second)
      yield* Deferred.succeed(gate, undefined)
      yield* passUntil("it is handled", isEmpty())
      yield* eventually(
        "its hook has run",
        Effect.sync(() => state.hooks === 1)
      )
      assert.strictEqual((yield* MessagingTest.handled(Ship)).length, 1)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("outlive a renewal that fails once", () => {
    const { handler, open, state } = gated()
    const error = new MessagingError.MessagingError({ reason: "Unavailable", detail: "cut off" })
    let renewals = 0
    return Effect.gen(function* () {
      yield* pass(minute)
      yield* ship("a")
      yield* withStore(
        (store) => ({
          renew: (leases, millis) => Effect.suspend(() => (++renewals === 1 ? error : store.renew(leases, millis)))
        }),
        consume({ lease: "9 seconds" })
      )
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      yield* passUntil(
        "it was renewed again",
        Effect.sync(() => renewals > 1)
      )
      yield* open
      yield* passUntil("it is handled", isEmpty())
      assert.deepStrictEqual([state.started, state.interrupted], [1, 0])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("that ran out interrupt the handler: nothing of it is committed, and another handles the message", () => {
    const { handler, open, state } = gated()
    const error = new MessagingError.MessagingError({ reason: "Unavailable", detail: "cut off" })
    return Effect.gen(function* () {
      yield* ship("a")
      yield* withStore(() => ({ renew: () => error }), consume({ lease: "9 seconds" }))
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      yield* passUntil(
        "it is interrupted",
        Effect.sync(() => state.interrupted > 0)
      )
      yield* expectRows()
      yield* open
      yield* consume({ lease: "9 seconds" })
      yield* passUntil("it is handled", isEmpty())
      yield* expectRows("a")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("that ran out commit nothing, though the handler could not be interrupted", () => {
    const state = { started: 0 }
    const gate = Deferred.unsafeMake<void>(FiberId.none)
    const stubborn = Handler.command(Ship, ({ id }) =>
      Effect.gen(function* () {
        state.started++
        yield* Deferred.await(gate)
        yield* write(id)
      }).pipe(Effect.uninterruptible)
    ).pipe(Handler.asynchronous(Orders))
    const error = new MessagingError.MessagingError({ reason: "Unavailable", detail: "cut off" })
    return Effect.gen(function* () {
      yield* ship("a")
      yield* withStore(() => ({ renew: () => error }), consume({ lease: "9 seconds" }))
      yield* eventually(
        "it runs",
        Effect.sync(() => state.started === 1)
      )
      yield* pass(30 * second)
      assert.isAbove(state.started, 1, "claimed again, under the next lease")
      yield* Deferred.succeed(gate, undefined)
      yield* passUntil("it is handled", isEmpty())
      yield* expectRows("a")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(stubborn)))
  })

  it.effect("of lost consumers count as crashes: after five the message is a dead letter", () =>
    Effect.gen(function* () {
      yield* ship("a")
      yield* Effect.repeatN(crash, 3)
      yield* using((store) =>
        store.claim({ channel: Orders.channelName, limit: 1, leaseMillis: second, owner: "lost" })
      )
      yield* pass(2 * second)
      yield* drain
      const { envelope, error, reason } = yield* onlyLetter
      assert.strictEqual(reason, "Crashed")
      assert.match(error, /5 consumers were lost while they handled this message/)
      assert.deepStrictEqual(JSON.parse(envelope.payload), { _tag: "Ship", id: "a" })
      yield* expectRows()
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(plain)))
  )

  it.effect("of lost consumers count as attempts, and the message is handled before the limit", () => {
    const attempts: Array<number> = []
    const looking = Handler.command(Ship, () =>
      Effect.map(Envelope.CurrentEnvelope, ({ attempt }) => void attempts.push(attempt))
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* Effect.repeatN(crash, 2)
      yield* drain
      assert.deepStrictEqual(attempts, [4])
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(looking)))
  })

  it.effect("may be lost as often as the channel says", () => {
    const fragile = Handler.command(Ship, ({ id }) => write(id)).pipe(Handler.asynchronous(Fragile))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* using((store) => store.claim({ channel: "test/Fragile", limit: 1, leaseMillis: second, owner: "lost" }))
      yield* pass(2 * second)
      yield* drain
      assert.strictEqual((yield* onlyLetter).reason, "Crashed")
    }).pipe(within(backend, Handler.layer(fragile).pipe(Layer.provideMerge(backend.channel(Fragile)))))
  })
}
