/**
 * Pauses of handlers and tenants, rate limits, concurrency limits, circuit breakers.
 */
import { assert, it } from "@effect/vitest"
import {
  Channel,
  CommandBus,
  Consumer,
  Envelope,
  Handler,
  Message,
  MessagingError,
  MessagingTest
} from "@holdfast/core"
import { Deferred, Effect, FiberId, Layer, Logger, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import { consume, gated, ids, plain } from "./consuming.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  drain,
  eventually,
  expectRows,
  expectWaiting,
  failing,
  isEmpty,
  letters,
  Mails,
  minute,
  Orders,
  Placed,
  pass,
  passUntil,
  placed,
  Refused,
  Ship,
  second,
  settle,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

const confirm = Handler.event(Placed, { name: "Confirm", handle: ({ id }) => write(`confirmed ${id}`) }).pipe(
  Handler.asynchronous(Orders)
)

const of = (tenant: string) => ({ headers: { tenant } })

/** A handler that notes when, by the store's clock, and at which attempt each message began. */
const noting = (millis = 500) => {
  const begun: Array<{ readonly id: string; readonly at: number; readonly attempt: number }> = []
  const state = { running: 0, most: 0 }
  const handle = ({ id }: { readonly id: string }) =>
    Effect.gen(function* () {
      state.most = Math.max(state.most, ++state.running)
      const at = yield* using((store) => store.now)
      begun.push({ id, at, attempt: (yield* Envelope.CurrentEnvelope).attempt })
      if (millis > 0) yield* Effect.sleep(millis)
      yield* write(id)
    }).pipe(Effect.ensuring(Effect.sync(() => void state.running--)))
  return { begun, state, handle }
}

const order = (begun: ReadonlyArray<{ readonly id: string }>) => begun.map(({ id }) => id)

/** Nothing waits on the channel, and nothing is held. */
const noneLeft = using((store) =>
  Effect.map(store.depth(Orders.channelName), ({ held = 0, ready, scheduled }) => ready + scheduled + held === 0)
)

/** Most that began in any while of so many milliseconds; their times are read a moment after they were let begin. */
const mostWithin = (millis: number, begun: ReadonlyArray<{ readonly at: number }>) =>
  Math.max(...begun.map(({ at }) => begun.filter((each) => each.at >= at && each.at < at + millis).length))

const firstTries = (begun: ReadonlyArray<{ readonly attempt: number }>) =>
  assert.isTrue(
    begun.every(({ attempt }) => attempt === 1),
    "nothing was an attempt but the handling"
  )

export const flowPauses = <R>(backend: Backend<R>): void => {
  it.scoped("of a handler sets its messages aside in all processes, while the others of the channel go on", () =>
    Effect.gen(function* () {
      yield* consume()
      yield* consume()
      yield* Consumer.pause({ handler: "Confirm" }, { reason: "the mail server moves" })
      yield* pass(second)
      for (const id of ["1", "2"]) yield* placed(id)
      yield* ship("3")
      yield* passUntil(
        "the others are handled",
        using((store) => Effect.map(store.depth(Orders.channelName), ({ held, ready }) => held === 2 && ready === 0))
      )
      yield* pass(minute)
      yield* expectRows("3")
      const [only, ...none] = yield* Consumer.pauses
      assert.deepStrictEqual(none, [])
      assert.strictEqual(only?.handler, "Confirm")
      assert.strictEqual(only?.reason, "the mail server moves")
      assert.strictEqual(only?.held, 2)
      yield* Consumer.resume({ handler: "Confirm" })
      yield* eventually("they are handled, without a poll", noneLeft)
      yield* settle
      yield* expectRows("3", "confirmed 1", "confirmed 2")
      assert.deepStrictEqual(yield* Consumer.pauses, [])
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(plain, confirm)))
  )

  it.effect("of a tenant holds its messages only, and counts no attempt", () => {
    const { begun, handle } = noting(0)
    const handler = Handler.command(Ship, handle).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* Consumer.pause({ tenant: "acme" })
      yield* ship("1", of("acme"))
      yield* ship("2", of("other"))
      yield* ship("3")
      assert.strictEqual(yield* advance("1 minute"), 2)
      yield* expectRows("2", "3")
      yield* Consumer.resume({ tenant: "acme" })
      assert.strictEqual(yield* advance("1 minute"), 1)
      yield* expectRows("1", "2", "3")
      firstTries(begun)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("of a handler and a tenant on a channel holds what is of all three", () => {
    const elsewhere = Handler.event(Placed, { name: "Mail", handle: ({ id }) => write(`mailed ${id}`) }).pipe(
      Handler.asynchronous(Mails)
    )
    return Effect.gen(function* () {
      const target = { handler: "Confirm", tenant: "acme", channel: Orders }
      yield* Consumer.pause(target)
      yield* Consumer.pause({ tenant: "acme", channel: Mails })
      yield* placed("1", of("acme"))
      yield* placed("2", of("other"))
      yield* ship("3", of("acme"))
      yield* drain
      yield* expectRows("confirmed 2", "mailed 2", "3")
      yield* Consumer.resume({ tenant: "acme" })
      yield* drain
      yield* expectRows("confirmed 2", "mailed 2", "3")
      yield* Consumer.resume(target)
      yield* Consumer.resume({ tenant: "acme", channel: Mails })
      yield* drain
      yield* expectRows("confirmed 1", "confirmed 2", "mailed 1", "mailed 2", "3")
    }).pipe(within(backend, Handler.layer(plain, confirm, elsewhere)))
  })

  it.effect("takes the tenant from where the channel says it is", () => {
    class Tenanted extends Channel.Tag<Tenanted>()("test/Tenanted", {
      messages: [Ship],
      tenant: (headers) => headers.customer
    }) {}
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(Handler.asynchronous(Tenanted))
    return Effect.gen(function* () {
      yield* Consumer.pause({ tenant: "acme" })
      yield* ship("1", { headers: { customer: "acme" } })
      yield* ship("2", { headers: { tenant: "acme" } })
      yield* drain
      yield* expectRows("2")
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(backend.channel(Tenanted)))))
  })

  it.scoped("gives up a message whose tenant cannot be told, and goes on with the others", () => {
    class Tenanted extends Channel.Tag<Tenanted>()("test/Tenanted", {
      messages: [Ship],
      tenant: (headers) => JSON.parse(headers.customer ?? "{}").id
    }) {}
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(Handler.asynchronous(Tenanted))
    return Effect.gen(function* () {
      yield* Consumer.pause({ tenant: "acme" })
      yield* Effect.forkScoped(Effect.scoped(Effect.zipRight(Layer.build(Consumer.layer(Tenanted)), Effect.never)))
      yield* ship("1", { headers: { customer: "no JSON" } })
      yield* ship("2", { headers: { customer: JSON.stringify({ id: "acme" }) } })
      yield* ship("3")
      yield* passUntil(
        "the others have had their turn",
        using((store) => Effect.map(store.depth(Tenanted.channelName), ({ held, ready }) => held === 1 && ready === 0))
      )
      yield* expectRows("3")
      const [letter, ...none] = yield* letters
      assert.deepStrictEqual(none, [])
      assert.strictEqual(letter?.reason, "Defect")
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(backend.channel(Tenanted)))))
  })

  it.effect("holds up what is behind a held message of its ordering key, and nothing else", () => {
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.asynchronous(Orders),
      Handler.orderedBy(({ id }) => id.slice(0, 1))
    )
    return Effect.gen(function* () {
      yield* Consumer.pause({ tenant: "acme" })
      yield* ship("a1", of("acme"))
      yield* ship("a2")
      yield* ship("b1")
      yield* drain
      yield* expectRows("b1")
      yield* expectWaiting(1)
      yield* Consumer.resume({ tenant: "acme" })
      assert.strictEqual(yield* drain, 2)
      const handled = yield* MessagingTest.handled(Ship)
      assert.deepStrictEqual(order(handled), ["b1", "a1", "a2"])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("lets what is in flight be finished", () => {
    const { handler, open, state } = gated()
    return Effect.gen(function* () {
      yield* consume({ lease: "1 hour" })
      yield* ship("1")
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      yield* Consumer.pause({ handler: "Ship" })
      yield* pass(5 * second)
      yield* open
      yield* eventually("it is finished", isEmpty())
      yield* settle
      yield* expectRows("1")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("stops a timeout and a retry of the handler too", () => {
    let tries = 0
    const handler = Handler.command(Ship, ({ id }) =>
      ++tries === 1 ? Effect.fail(new Refused({ why: "no stock" })) : write(id)
    ).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(3).pipe(Schedule.addDelay(() => "1 minute"))))
    return Effect.gen(function* () {
      yield* ship("1")
      yield* drain
      yield* Consumer.pause({ handler: "Ship" })
      yield* advance("1 hour")
      assert.strictEqual(tries, 1)
      yield* Consumer.resume({ handler: "Ship" })
      yield* drain
      yield* expectRows("1")
      assert.strictEqual(tries, 2)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("without a name, or with an empty one, is refused", () =>
    Effect.gen(function* () {
      for (const target of [
        { handler: "" },
        { tenant: "" },
        { handler: "Confirm", tenant: "" },
        {} as { tenant: string }
      ]) {
        const error = yield* failing(Consumer.pause(target))
        assert.strictEqual(error.reason, "Rejected")
        assert.strictEqual((yield* failing(Consumer.resume(target))).reason, "Rejected")
      }
      assert.deepStrictEqual(yield* Consumer.pauses, [])
    }).pipe(within(backend, Layer.empty))
  )
}

export const limits = <R>(backend: Backend<R>): void => {
  it.scoped("let no more messages begin in any while than a rate limit says, over all consumers", () => {
    const { begun, handle } = noting()
    const handler = Handler.command(Ship, handle).pipe(
      Handler.asynchronous(Orders),
      Handler.rateLimit({ limit: 3, interval: "5 seconds" })
    )
    return Effect.gen(function* () {
      const all = ids(8)
      for (const id of all) yield* ship(id)
      yield* consume()
      yield* consume()
      yield* passUntil("all are handled", noneLeft)
      yield* settle
      yield* expectRows(...all)
      firstTries(begun)
      // between being let begin and beginning, a real clock ticks on
      assert.isAtMost(mostWithin(4 * second, begun), 3)
      assert.isAtLeast(begun.at(-1)!.at - begun[0]!.at, 9 * second)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("let time decide in tests: what a rate limit holds is handled as time is advanced", () => {
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.asynchronous(Orders),
      Handler.rateLimit({ limit: 1, interval: "1 minute" })
    )
    return Effect.gen(function* () {
      for (const id of ids(4)) yield* ship(id)
      assert.strictEqual(yield* drain, 1)
      yield* expectRows("1")
      assert.strictEqual(yield* advance("130 seconds"), 2)
      yield* expectRows("1", "2", "3")
      assert.strictEqual(yield* advance("1 hour"), 1)
      assert.deepStrictEqual(order(yield* MessagingTest.handled(Ship)), ids(4))
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("are for each key apart, and for nothing without a key", () => {
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.asynchronous(Orders),
      Handler.rateLimit({
        limit: 1,
        interval: "1 hour",
        key: ({ id }, headers) => (id.startsWith("free") ? undefined : headers.tenant)
      })
    )
    return Effect.gen(function* () {
      yield* ship("a1", of("a"))
      yield* ship("a2", of("a"))
      yield* ship("b1", of("b"))
      yield* ship("free1", of("a"))
      yield* ship("none")
      yield* drain
      yield* expectRows("a1", "b1", "free1", "none")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("give up a message whose key cannot be told", () => {
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.asynchronous(Orders),
      Handler.rateLimit({ limit: 1, interval: "1 minute", key: ({ id }) => JSON.parse(id) })
    )
    return Effect.gen(function* () {
      yield* ship("no JSON")
      yield* ship('"b"')
      yield* drain
      yield* expectRows('"b"')
      const [letter, ...none] = yield* letters
      assert.deepStrictEqual(none, [])
      assert.strictEqual(letter?.reason, "Defect")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("let no more messages be handled at once than a concurrency limit says, over all consumers", () => {
    const { begun, handle, state } = noting()
    const handler = Handler.command(Ship, handle).pipe(
      Handler.asynchronous(Orders),
      Handler.concurrencyLimit({ limit: 2 })
    )
    return Effect.gen(function* () {
      const all = ids(7)
      for (const id of all) yield* ship(id)
      yield* consume({ concurrency: 2 })
      yield* consume({ concurrency: 2 })
      yield* passUntil("all are handled", noneLeft)
      yield* settle
      yield* expectRows(...all)
      firstTries(begun)
      assert.strictEqual(state.most, 2)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("let messages of other keys run beside those that wait", () => {
    const gate = Deferred.unsafeMake<void>(FiberId.none)
    const running = new Set<string>()
    const handler = Handler.command(Ship, ({ id }) =>
      Effect.sync(() => running.add(id)).pipe(
        Effect.zipRight(Deferred.await(gate)),
        Effect.zipRight(write(id)),
        Effect.ensuring(Effect.sync(() => running.delete(id)))
      )
    ).pipe(Handler.asynchronous(Orders), Handler.concurrencyLimit({ limit: 1, key: ({ id }) => id.slice(0, 1) }))
    return Effect.gen(function* () {
      for (const id of ["a1", "a2", "a3", "b1", "c1"]) yield* ship(id)
      yield* consume({ concurrency: 4, lease: "1 hour" })
      yield* passUntil(
        "one of each runs",
        Effect.sync(() => running.size === 3)
      )
      yield* pass(10 * second)
      assert.strictEqual([...running].filter((id) => id.startsWith("a")).length, 1)
      assert.strictEqual(running.size, 3)
      yield* Deferred.succeed(gate, undefined)
      yield* passUntil("all are handled", noneLeft)
      yield* settle
      yield* expectRows("a1", "a2", "a3", "b1", "c1")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("give the permits of a consumer that closes back", () => {
    const { handler, state } = gated()
    return Effect.gen(function* () {
      yield* ship("1")
      const close = yield* consume({ lease: "1 hour", drainTimeout: "0 millis" })
      yield* eventually(
        "it runs",
        Effect.sync(() => state.running === 1)
      )
      yield* close
      const closeOther = yield* consume({ lease: "1 hour", drainTimeout: "0 millis" })
      yield* passUntil(
        "it runs elsewhere",
        Effect.sync(() => state.running === 1)
      )
      assert.deepStrictEqual(state.attempts, [1, 1])
      yield* closeOther
    }).pipe(within(backend, Handler.layer(handler.pipe(Handler.concurrencyLimit({ limit: 1 })))))
  })

  it.effect("of a channel are for all its messages, besides those of their handlers", () => {
    class Narrow extends Channel.Tag<Narrow>()("test/Narrow", {
      messages: [Ship, Placed],
      rateLimit: { limit: 2, interval: "1 hour", key: (headers) => headers.tenant }
    }) {}
    const shipping = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.asynchronous(Narrow),
      Handler.rateLimit({ limit: 1, interval: "1 minute" })
    )
    const confirming = Handler.event(Placed, { name: "Confirm", handle: ({ id }) => write(`confirmed ${id}`) }).pipe(
      Handler.asynchronous(Narrow)
    )
    return Effect.gen(function* () {
      yield* ship("1", of("a"))
      yield* ship("2", of("a"))
      yield* drain
      yield* placed("3", of("a"))
      yield* placed("4", of("a"))
      yield* placed("5", of("b"))
      yield* drain
      yield* expectRows("1", "confirmed 3", "confirmed 5")
      yield* advance("59 minutes")
      yield* expectRows("1", "confirmed 3", "confirmed 5")
      yield* advance("5 minutes")
      yield* expectRows("1", "2", "confirmed 3", "confirmed 4", "confirmed 5")
    }).pipe(within(backend, Handler.layer(shipping, confirming).pipe(Layer.provideMerge(backend.channel(Narrow)))))
  })

  it.scoped("keep the order of ordering keys", () => {
    const { begun, handle, state } = noting()
    const handler = Handler.command(Ship, handle).pipe(
      Handler.asynchronous(Orders),
      Handler.orderedBy(({ id }) => id.slice(0, 1)),
      Handler.rateLimit({ limit: 2, interval: "5 seconds" }),
      Handler.concurrencyLimit({ limit: 1 })
    )
    return Effect.gen(function* () {
      for (const id of ["a1", "b1", "a2", "b2", "a3", "b3"]) yield* ship(id)
      yield* consume()
      yield* consume()
      yield* passUntil("all are handled", noneLeft)
      yield* settle
      const of = (key: string) => order(begun).filter((id) => id.startsWith(key))
      assert.deepStrictEqual(of("a"), ["a1", "a2", "a3"])
      assert.deepStrictEqual(of("b"), ["b1", "b2", "b3"])
      assert.strictEqual(state.most, 1)
      firstTries(begun)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("let a message expire that was not begun in time because of them", () => {
    const handler = Handler.command(Ship, ({ id }) => write(id)).pipe(
      Handler.asynchronous(Orders),
      Handler.timeToLive("30 seconds"),
      Handler.rateLimit({ limit: 1, interval: "1 minute" })
    )
    return Effect.gen(function* () {
      yield* ship("1")
      yield* ship("2")
      yield* drain
      yield* advance("5 minutes")
      yield* expectRows("1")
      yield* expectWaiting(0)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.scoped("and pauses hold for a broker's channel: what is over them comes again", () => {
    const broker = makeBroker()
    const { begun, handle, state } = noting()
    const handler = Handler.command(Ship, handle).pipe(
      Handler.asynchronous(Broker),
      Handler.concurrencyLimit({ limit: 1 })
    )
    return Effect.gen(function* () {
      yield* Consumer.pause({ tenant: "acme" })
      yield* ship("1", of("acme"))
      for (const id of ["2", "3", "4"]) yield* ship(id)
      yield* Layer.build(Consumer.layer(Broker))
      yield* passUntil(
        "the others are handled",
        Effect.sync(() => broker.state.acknowledged.length === 3)
      )
      yield* expectRows("2", "3", "4")
      yield* Consumer.resume({ tenant: "acme" })
      yield* passUntil(
        "it is handled",
        Effect.sync(() => broker.state.acknowledged.length === 4)
      )
      yield* expectRows("1", "2", "3", "4")
      assert.strictEqual(state.most, 1)
      firstTries(begun)
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(broker.layer))))
  })
}

export class Charge extends Message.Command<Charge>()("Charge", { payload: { id: Schema.String } }) {}
class Charges extends Channel.Tag<Charges>()("test/Charges", { messages: [Charge] }) {}

const charge = (id: string) => CommandBus.send(new Charge({ id }))
const away = new MessagingError.MessagingError({ reason: "Unavailable", detail: "the provider is away" })

export const circuits = <R>(backend: Backend<R>): void => {
  /** A handler whose infrastructure is away until the test says otherwise. */
  const flaky = () => {
    const state = { tries: 0, away: true, refused: false, attempts: [] as Array<number> }
    const handler = Handler.command(Charge, ({ id }) =>
      Effect.gen(function* () {
        state.tries++
        state.attempts.push((yield* Envelope.CurrentEnvelope).attempt)
        if (state.away) return yield* away
        if (state.refused) return yield* new Refused({ why: "no money" })
        yield* write(id)
      })
    ).pipe(Handler.asynchronous(Charges), Handler.circuitBreaker({ failures: 3, openFor: "1 minute" }))
    return { state, layer: Handler.layer(handler).pipe(Layer.provideMerge(backend.channel(Charges))) }
  }
  const started = Layer.build(Consumer.layer(Charges, { concurrency: 2 }))
  const states = Effect.map(Consumer.circuits, (all) => all.map(({ state }) => state))

  it.scoped(
    "opens after so many failures in a row, is tried by one message, and closes when that one is handled",
    () => {
      const { layer, state } = flaky()
      return Effect.gen(function* () {
        for (const id of ids(6)) yield* charge(id)
        yield* started
        yield* passUntil(
          "it opens",
          Effect.map(states, ([only]) => only === "Open")
        )
        const before = state.tries
        assert.isAtMost(before, 4)
        yield* pass(50 * second)
        assert.strictEqual(state.tries, before)
        yield* pass(15 * second)
        yield* passUntil(
          "one tries it",
          Effect.sync(() => state.tries === before + 1)
        )
        assert.deepStrictEqual(yield* states, ["Open"])
        yield* pass(50 * second)
        assert.strictEqual(state.tries, before + 1)
        state.away = false
        yield* passUntil("all are handled", isEmpty(Charges))
        yield* settle
        yield* expectRows(...ids(6))
        assert.deepStrictEqual(yield* Consumer.circuits, [{ handler: "Charge", state: "Closed", failures: 0 }])
        assert.isTrue(state.attempts.every((attempt) => attempt === 1))
      }).pipe(within(backend, layer))
    }
  )

  it.scoped("says once that it is open, however many were in flight", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => void lines.push(String(message)))
    let running = 0
    const handler = Handler.command(Charge, () =>
      Effect.gen(function* () {
        running++
        while (running < 5) yield* Effect.yieldNow()
        return yield* away
      })
    ).pipe(Handler.asynchronous(Charges), Handler.circuitBreaker({ failures: 2, openFor: "1 minute" }))
    return Effect.gen(function* () {
      for (const id of ids(5)) yield* charge(id)
      yield* Layer.build(Consumer.layer(Charges, { concurrency: 5 })).pipe(Effect.provide(Logger.add(logger)))
      yield* passUntil(
        "all are given back",
        using((store) => Effect.map(store.depth(Charges.channelName), ({ scheduled }) => scheduled === 5))
      )
      assert.lengthOf(
        lines.filter((line) => line.includes("is open")),
        1
      )
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(backend.channel(Charges)))))
  })

  it.effect("stays closed when the handler refuses, which is an answer", () => {
    const { layer, state } = flaky()
    return Effect.gen(function* () {
      state.away = false
      state.refused = true
      for (const id of ids(6)) yield* charge(id)
      yield* Consumer.drain(Charges)
      assert.strictEqual(state.tries, 6)
      assert.deepStrictEqual(yield* states, ["Closed"])
      assert.strictEqual((yield* letters).length, 6)
    }).pipe(within(backend, layer))
  })

  it.effect("gives messages back while it is open, if the channel has other handlers", () => {
    const { state } = flaky()
    class Other extends Message.Command<Other>()("Other", { payload: { id: Schema.String } }) {}
    class Both extends Channel.Tag<Both>()("test/Both", { messages: [Charge, Other] }) {}
    const broken = Handler.command(Charge, () =>
      Effect.zipRight(
        Effect.sync(() => void state.tries++),
        away
      )
    ).pipe(Handler.asynchronous(Both), Handler.circuitBreaker({ failures: 2, openFor: "1 minute" }))
    const other = Handler.command(Other, ({ id }) => write(id)).pipe(Handler.asynchronous(Both))
    return Effect.gen(function* () {
      for (const id of ids(5)) yield* charge(id)
      for (const id of ids(5)) yield* CommandBus.send(new Other({ id }))
      yield* Consumer.drain(Both)
      assert.strictEqual(state.tries, 2)
      yield* expectRows(...ids(5))
      yield* advance("59 seconds")
      assert.strictEqual(state.tries, 2)
      yield* advance("5 seconds")
      assert.strictEqual(state.tries, 3)
    }).pipe(within(backend, Handler.layer(broken, other).pipe(Layer.provideMerge(backend.channel(Both)))))
  })
}
