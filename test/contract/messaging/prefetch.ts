/**
 * Consumers whose handlers are quick: they claim ahead of time, and commit together what ended together.
 */
import { assert, it } from "@effect/vitest"
import {
  Channel,
  CommandBus,
  Consumer,
  Envelope,
  Handler,
  Headers,
  Message,
  type MessageStore,
  MessagingError,
  Saga,
  UnitOfWork
} from "@holdfast/core"
import { Deferred, Effect, Fiber, FiberId, Layer, Logger, Option, Schema, Struct } from "effect"
import type { Backend } from "./backend.ts"
import { consume, ids, plain, withStore } from "./consuming.ts"
import {
  conflicting,
  drain,
  eventually,
  expectRows,
  expectWaiting,
  isEmpty,
  letters,
  Orders,
  pass,
  passUntil,
  Ship,
  second,
  settle,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

/** Handlers of which all are quick but the one with that id, which waits until the test lets it go. */
const quickBut = (slow: (id: string) => boolean) => {
  const state = { started: 0, running: 0, most: 0, attempts: new Map<string, Array<number>>() }
  const gate = Deferred.unsafeMake<void>(FiberId.none)
  const handler = Handler.command(Ship, ({ id }) =>
    Effect.gen(function* () {
      const { attempt } = yield* Envelope.CurrentEnvelope
      state.attempts.set(id, [...(state.attempts.get(id) ?? []), attempt])
      state.started++
      state.most = Math.max(state.most, ++state.running)
      if (slow(id)) yield* Deferred.await(gate)
    }).pipe(Effect.ensuring(Effect.sync(() => void state.running--)))
  ).pipe(Handler.asynchronous(Orders))
  return { state, handler, open: Deferred.succeed(gate, undefined) }
}

/** Waits for what happens without any time passing, in turns of the event loop: so many messages take several. */
const turning = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>) =>
  eventually(
    what,
    Effect.zipRight(
      Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))),
      condition
    )
  )

const shipAll = (count: number) => UnitOfWork.run(Effect.forEach(ids(count), (id) => ship(id), { discard: true }))

/** What a consumer asks of the store. */
const watched = () => {
  const seen = {
    limits: [] as Array<number>,
    ahead: new Set<string>(),
    started: new Set<string>(),
    commits: [] as Array<number>
  }
  const change = (store: MessageStore.Encoded): Partial<MessageStore.Encoded> => ({
    claim: (options) =>
      Effect.tap(store.claim(options), (deliveries) => {
        seen.limits.push(options.limit)
        if (options.ahead) for (const { envelope } of deliveries) seen.ahead.add(envelope.id)
      }),
    commit: (units) => {
      seen.commits.push(units.length)
      return store.commit(units)
    }
  })
  return { seen, change }
}

class Weigh extends Message.Command<Weigh>()("Weigh", {
  version: 2,
  payload: { id: Schema.String },
  upcasters: { 1: Message.upcaster(Schema.Struct({ id: Schema.String }), (old) => old) }
}) {}

class Scales extends Channel.Tag<Scales>()("test/Scales", {}) {}

/** A saga of which messages named "slow" wait until the test lets them go. */
const parcels = () => {
  const order: Array<string> = []
  const gate = Deferred.unsafeMake<void>(FiberId.none)
  const instance = ({ id }: { readonly id: string }) => id.split("-")[0]!
  const step = ({ id }: { readonly id: string }) =>
    Effect.gen(function* () {
      order.push(id)
      if (id.endsWith("slow")) yield* Deferred.await(gate)
      return 1
    })
  const saga = Saga.make("Parcels", { state: Schema.Number }).pipe(
    Saga.startOn(Ship, { id: instance, handle: step }),
    Saga.on(Ship, { id: instance, handle: (_, message) => step(message) }),
    Saga.on(Weigh, { id: instance, handle: (_, message) => step(message) }),
    Handler.asynchronous(Scales)
  )
  return { saga, order, open: Deferred.succeed(gate, undefined) }
}

/** A store whose first commit waits until so many messages are claimed, and which knows the old version of one. */
const holdingUp = (claims: number) => {
  const gate = Deferred.unsafeMake<void>(FiberId.none)
  let claimed = 0
  const change = (store: MessageStore.Encoded): Partial<MessageStore.Encoded> => ({
    claim: (options) =>
      Effect.map(store.claim(options), (deliveries) => {
        claimed += deliveries.length
        return deliveries.map((delivery) => ({
          ...delivery,
          envelope: { ...delivery.envelope, headers: Struct.omit(delivery.envelope.headers, Headers.messageVersion) }
        }))
      }),
    commit: (units) => Effect.zipRight(Deferred.await(gate), store.commit(units))
  })
  const proceed = Effect.zipRight(
    turning(
      "they are claimed",
      Effect.sync(() => claimed >= claims)
    ),
    Effect.zipRight(settle, Deferred.succeed(gate, undefined))
  )
  return { change, proceed }
}

export const prefetch = <R>(backend: Backend<R>): void => {
  it.scoped("takes more than it has slots once its handlers have shown to be quick, and never more at once", () => {
    const { handler, state } = quickBut(() => false)
    const { change, seen } = watched()
    return Effect.gen(function* () {
      yield* shipAll(400)
      yield* withStore(change, consume({ concurrency: 4 }))
      yield* passUntil("all are handled", isEmpty())
      assert.strictEqual(state.started, 400)
      assert.isAtMost(state.most, 4)
      assert.isAtMost(seen.limits[0]!, 4)
      assert.isAbove(Math.max(...seen.limits), 4)
      assert.isAbove(Math.max(...seen.commits), 1, "what ended together is committed together")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("begins nothing of it before the store knows", () => {
    const begunUnknown: Array<string> = []
    const { change, seen } = watched()
    const handler = Handler.command(Ship, (_, { id }) =>
      Effect.sync(() => {
        if (seen.ahead.has(id) && !seen.started.has(id)) begunUnknown.push(id)
      })
    ).pipe(Handler.asynchronous(Orders))
    const byLease = new Map<string, string>()
    return Effect.gen(function* () {
      yield* shipAll(400)
      yield* withStore(
        (store) => ({
          ...change(store),
          claim: (options) =>
            Effect.tap(change(store).claim!(options), (deliveries) => {
              for (const { envelope, lease } of deliveries) byLease.set(`${lease.key} ${lease.token}`, envelope.id)
            }),
          started: (leases) =>
            Effect.tap(store.started(leases), () => {
              for (const { key, token } of leases) seen.started.add(byLease.get(`${key} ${token}`)!)
            })
        }),
        consume({ concurrency: 4 })
      )
      yield* passUntil("all are handled", isEmpty())
      assert.deepStrictEqual(begunUnknown, [])
      assert.deepStrictEqual(
        [...seen.ahead].filter((id) => !seen.started.has(id)),
        []
      )
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped(
    "gives back what it has not begun when it closes: nothing is handled twice, and no attempt is burnt",
    () => {
      const { handler, open, state } = quickBut((id) => Number(id) > 100)
      return Effect.gen(function* () {
        yield* shipAll(400)
        const close = yield* consume({ concurrency: 4 })
        yield* turning(
          "four are slow",
          Effect.sync(() => state.running === 4)
        )
        yield* settle
        const closing = yield* Effect.fork(close)
        yield* settle
        yield* open
        yield* closing.await
        const begun = state.started
        yield* expectWaiting(400 - begun)
        yield* drain
        assert.strictEqual(state.started, 400)
        for (const [id, attempts] of state.attempts) assert.deepStrictEqual(attempts, [1], id)
      }).pipe(Effect.ensuring(open), within(backend, Handler.layer(handler)))
    }
  )

  it.scoped("gives back what it has not begun when its handlers turn slow: others have it", () => {
    const { handler, open, state } = quickBut((id) => Number(id) > 100)
    return Effect.gen(function* () {
      yield* shipAll(400)
      yield* consume({ concurrency: 4, lease: "9 seconds" })
      yield* turning(
        "four are slow",
        Effect.sync(() => state.running === 4)
      )
      for (let passed = 0; passed < 8; passed++) yield* pass(second)
      const rest = yield* using((store) =>
        store.claim({ channel: Orders.channelName, limit: 1_000, leaseMillis: 60 * second, owner: "another" })
      )
      assert.strictEqual(rest.length, 400 - state.started)
      for (const { crashes, envelope } of rest) assert.deepStrictEqual([crashes, envelope.attempt], [0, 1])
      yield* open
    }).pipe(Effect.ensuring(open), within(backend, Handler.layer(handler)))
  })

  it.scoped("gives back what it has not begun of a paused channel", () => {
    const { handler, open, state } = quickBut((id) => Number(id) === 100)
    return Effect.gen(function* () {
      yield* shipAll(150)
      yield* consume({ concurrency: 1, lease: "9 seconds" })
      yield* turning(
        "one is slow",
        Effect.sync(() => state.running === 1)
      )
      yield* Consumer.pause(Orders)
      for (let passed = 0; passed < 8; passed++) yield* pass(second)
      yield* open
      yield* passUntil(
        "what was in flight is handled",
        Effect.map(
          using((store) => store.depth(Orders.channelName)),
          ({ ready }) => ready === 50
        )
      )
      assert.strictEqual(state.started, 100)
      yield* Consumer.resume(Orders)
      yield* passUntil("all are handled", isEmpty())
      for (const [id, attempts] of state.attempts) assert.deepStrictEqual(attempts, [1], id)
      assert.strictEqual(state.started, 150)
    }).pipe(Effect.ensuring(open), within(backend, Handler.layer(handler)))
  })

  it.scoped("sets aside what it has not begun of a handler that was paused since", () => {
    const { handler, open, state } = quickBut((id) => Number(id) === 100)
    const held = (count: number) =>
      Effect.map(
        using((store) => store.depth(Orders.channelName)),
        (depth) => (depth.held ?? 0) === count
      )
    return Effect.gen(function* () {
      yield* shipAll(150)
      yield* consume({ concurrency: 1, lease: "1 hour" })
      yield* turning(
        "one is slow",
        Effect.sync(() => state.running === 1)
      )
      yield* Consumer.pause({ handler: "Ship" })
      for (let passed = 0; passed < 3; passed++) yield* pass(second)
      yield* open
      yield* passUntil("the others are held", held(50))
      assert.strictEqual(state.started, 100)
      yield* Consumer.resume({ handler: "Ship" })
      yield* passUntil("all are handled", isEmpty())
      for (const [id, attempts] of state.attempts) assert.deepStrictEqual(attempts, [1], id)
      assert.strictEqual(state.started, 150)
    }).pipe(Effect.ensuring(open), within(backend, Handler.layer(handler)))
  })

  it.scoped("never takes more than are left of those after which it stops", () => {
    const { change } = watched()
    const { handler, state } = quickBut(() => false)
    return Effect.gen(function* () {
      yield* shipAll(300)
      const stopped = yield* withStore(change, Consumer.run(Orders, { concurrency: 4, stopAfter: { messages: 250 } }))
      assert.deepStrictEqual(stopped, { reason: "Messages", handled: 250 })
      assert.strictEqual(state.started, 250)
      yield* expectWaiting(50)
    }).pipe(within(backend, Handler.layer(handler)))
  })
}

export const together = <R>(backend: Backend<R>): void => {
  it.scoped("each as a whole: one that fails or meets a conflict does not disturb those beside it", () => {
    const { change } = watched()
    let conflicts = 0
    const handler = Handler.command(Ship, ({ id }) => {
      if (id === "7") return Effect.zipRight(write(id), Effect.fail("no"))
      if (id === "9") return Effect.zipRight(write(id), Effect.dieMessage("broken"))
      if (id === "11" && conflicts++ === 0) return Effect.zipRight(conflicting, write(id))
      return write(id)
    }).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* shipAll(60)
      yield* withStore(change, consume({ concurrency: 10 }))
      yield* passUntil("all have ended", isEmpty())
      yield* expectRows(...ids(60).filter((id) => id !== "7" && id !== "9"))
      assert.strictEqual((yield* letters).length, 2)
      assert.strictEqual(conflicts, 2, "it ran again, and burnt no attempt")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("burn no attempt when the database is away just then: they come back", () => {
    let away = 2
    const { handler, state } = quickBut(() => false)
    const error = new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" })
    return Effect.gen(function* () {
      yield* shipAll(40)
      yield* withStore(
        (store) => ({
          commit: (units) =>
            Effect.suspend(() =>
              away-- > 0 ? Effect.succeed(units.map(() => Option.some(error))) : store.commit(units)
            )
        }),
        consume({ concurrency: 10 })
      )
      yield* passUntil("all are handled", isEmpty())
      assert.strictEqual(state.attempts.size, 40)
      assert.isAbove(state.started, 40)
      for (const [id, attempts] of state.attempts) assert.strictEqual(Math.max(...attempts), 1, id)
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped(
    "messages of one saga in their order, though they are claimed together, and other sagas beside them",
    () => {
      const order: Array<string> = []
      const saga = Saga.make("Parcels", { state: Schema.Struct({ count: Schema.Number }) }).pipe(
        Saga.startOn(Ship, { id: ({ id }) => id.split("-")[0]!, handle: () => Effect.succeed({ count: 1 }) }),
        Saga.on(Ship, {
          id: ({ id }) => id.split("-")[0]!,
          handle: ({ count }, { id }) =>
            Effect.as(
              Effect.sync(() => order.push(id)),
              { count: count + 1 }
            )
        }),
        Handler.asynchronous(Orders)
      )
      const each = ["a", "b", "c"].flatMap((name) => ids(20).map((n) => `${name}-${n}`))
      return Effect.gen(function* () {
        yield* UnitOfWork.run(Effect.forEach(each, (id) => ship(id), { discard: true }))
        yield* consume({ concurrency: 5, lease: "1 hour" })
        yield* passUntil("all are handled", isEmpty())
        for (const name of ["a", "b", "c"]) {
          const own = order.filter((id) => id.startsWith(name))
          assert.deepStrictEqual(
            own,
            ids(20)
              .slice(1)
              .map((n) => `${name}-${n}`)
          )
          const row = yield* using((store) => store.loadSaga("Parcels", name))
          assert.strictEqual(row._tag === "Some" ? row.value.version : 0, 20)
        }
      }).pipe(within(backend, Handler.layer(saga)))
    }
  )

  it.scoped("messages of one saga that wait for each other keep no slot from the one whose turn it is", () => {
    const { order, saga } = parcels()
    const { change, proceed } = holdingUp(3)
    return Effect.gen(function* () {
      yield* ship("a-1")
      yield* ship("a-2")
      yield* CommandBus.send(new Weigh({ id: "a-3" }))
      yield* ship("b-1")
      yield* Effect.forkScoped(withStore(change, Consumer.run(Scales, { concurrency: 1, lease: "1 hour" })))
      yield* proceed
      yield* passUntil("all are handled", isEmpty(Scales))
      assert.deepStrictEqual(
        order.filter((id) => id.startsWith("a")),
        ["a-1", "a-2", "a-3"]
      )
    }).pipe(within(backend, Handler.layer(saga).pipe(Layer.provideMerge(backend.channel(Scales)))))
  })

  it.scoped("messages of one saga that a consumer gives back when it closes are not begun meanwhile", () => {
    const { open, order, saga } = parcels()
    const { change, proceed } = holdingUp(4)
    return Effect.gen(function* () {
      for (const id of ["a-1", "a-2", "a-3", "b-slow"]) yield* ship(id)
      const running = yield* Effect.fork(withStore(change, Consumer.run(Scales, { concurrency: 1, lease: "1 hour" })))
      yield* proceed
      yield* eventually(
        "the first is handled",
        Effect.map(
          using((store) => store.loadSaga("Parcels", "a")),
          Option.isSome
        )
      )
      yield* settle
      const closing = yield* Effect.fork(Fiber.interrupt(running))
      yield* settle
      yield* open
      yield* closing.await
      yield* Fiber.await(running)
      assert.deepStrictEqual(order, ["a-1", "b-slow"])
      yield* expectWaiting(2, Scales)
      yield* Consumer.drain(Scales)
      assert.deepStrictEqual(order, ["a-1", "b-slow", "a-2", "a-3"])
    }).pipe(
      Effect.ensuring(open),
      within(backend, Handler.layer(saga).pipe(Layer.provideMerge(backend.channel(Scales))))
    )
  })

  it.scoped("a handler's scope is closed before its message is committed, its fibers have ended", () => {
    const events: Array<string> = []
    const handler = Handler.command(Ship, ({ id }) =>
      Effect.gen(function* () {
        yield* Effect.addFinalizer((exit) =>
          Effect.zipRight(
            write(`${id} closed`),
            Effect.sync(() => events.push(`closed ${exit._tag}`))
          )
        )
        yield* Effect.forkScoped(Effect.onInterrupt(Effect.never, () => Effect.sync(() => events.push("scoped ended"))))
        yield* Effect.fork(Effect.onInterrupt(Effect.never, () => Effect.sync(() => events.push("forked ended"))))
        yield* Effect.yieldNow()
        yield* UnitOfWork.afterCommit(Effect.sync(() => events.push("committed")))
        if (id === "2") return yield* Effect.fail("no")
      })
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship("1")
      yield* drain
      assert.deepStrictEqual(events.toSorted(), ["closed Success", "committed", "forked ended", "scoped ended"])
      assert.strictEqual(events.at(-1), "committed")
      yield* expectRows("1 closed")
      yield* ship("2")
      yield* drain
      assert.deepStrictEqual(events.slice(4).toSorted(), ["closed Failure", "forked ended", "scoped ended"])
      yield* expectRows("1 closed")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("what a handler logs says which message it was", () => {
    const lines: Array<Readonly<Record<string, unknown>>> = []
    const logger = Logger.make(({ annotations, message }) => {
      if (String(message) === "shipping") lines.push(Object.fromEntries(annotations))
    })
    const handler = Handler.command(Ship, () => Effect.log("shipping")).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship("1")
      yield* drain
      assert.strictEqual(lines.length, 1)
      assert.strictEqual(lines[0]!.channel, Orders.channelName)
      assert.strictEqual(lines[0]!.endpoint, "Ship")
      assert.match(String(lines[0]!.message), /^[0-9a-f-]{36}$/)
    }).pipe(within(backend, Handler.layer(handler)), Effect.provide(Logger.add(logger)))
  })

  it.scoped("a consumer that is busy with quick handlers keeps its leases, and lets others of its process in", () => {
    const { change, seen } = watched()
    let ticks = 0
    return Effect.gen(function* () {
      yield* shipAll(600)
      const ticking = yield* Effect.fork(
        Effect.forever(
          Effect.async<void>((resume) => {
            const timer = setTimeout(() => {
              ticks++
              resume(Effect.void)
            }, 0)
            return Effect.sync(() => clearTimeout(timer))
          })
        )
      )
      yield* withStore(change, consume({ concurrency: 4 }))
      yield* passUntil("all are handled", isEmpty())
      yield* ticking.interruptAsFork(FiberId.none)
      assert.isAbove(ticks, 1)
      yield* expectRows(...ids(600))
      assert.isAbove(seen.limits.length, 1)
    }).pipe(within(backend, Handler.layer(plain)))
  })
}
