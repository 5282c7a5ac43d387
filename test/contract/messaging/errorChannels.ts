/**
 * Failures that are told: the error channel gets a message in the commit that ends the one that failed.
 */
import { assert, it } from "@effect/vitest"
import { Channel, Consumer, DeadLetter, Handler, type MessageStore, MessagingTest } from "@holdfast/core"
import { Effect, Fiber, Layer, Logger, Option, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import { withStore } from "./consuming.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  drain,
  expectRows,
  expectWaiting,
  hour,
  letters,
  onlyLetter,
  Placed,
  pass,
  passUntil,
  placed,
  Ship,
  second,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

const { MessageFailed } = DeadLetter
type MessageFailed = DeadLetter.MessageFailed

class Errors extends Channel.Tag<Errors>()("test/Errors", { messages: [MessageFailed] }) {}
/** Itself told of: what fails on it would be told here. */
class Alarms extends Channel.Tag<Alarms>()("test/Alarms", { messages: [MessageFailed], errorChannel: Errors }) {}
class Small extends Channel.Tag<Small>()("test/Small", { messages: [MessageFailed], maxBytes: 10 }) {}
class Parking extends Channel.Tag<Parking>()("test/Parking", {
  messages: [Ship],
  deadLetter: { afterCrashes: 2, unknownEndpointAfter: "10 seconds" },
  errorChannel: Errors
}) {}
class Dropping extends Channel.Tag<Dropping>()("test/Dropping", {
  messages: [Ship, Placed],
  deadLetter: { onGivenUp: "Discard" },
  errorChannel: Errors
}) {}

const hear = (name: string) => {
  const heard: Array<MessageFailed> = []
  const handler = Handler.event(MessageFailed, {
    name,
    handle: (failed) => Effect.sync(() => void heard.push(failed))
  })
  return { heard, handler }
}

const failing = Handler.command(Ship, ({ id }) => Effect.zipRight(write(id), Effect.fail(`no ${id}`)))

/** Keeps the lines of the log. */
const logging = () => {
  const lines: Array<string> = []
  const logger = Logger.make(({ message }) => void lines.push(String(message)))
  return { lines, logged: Effect.provide(Logger.replace(Logger.defaultLogger, logger)) }
}

export const errorChannels = <R>(backend: Backend<R>): void => {
  const channels = Layer.mergeAll(
    backend.channel(Errors),
    backend.channel(Alarms),
    backend.channel(Small),
    backend.channel(Parking),
    backend.channel(Dropping)
  )
  const having = <P, E, R2>(handlers: Layer.Layer<P, E, R2>) => handlers.pipe(Layer.provideMerge(channels))

  it.effect("are told of what is parked: all that is known of it, in its conversation", () => {
    const { handler, heard } = hear("Alert")
    const shipping = failing.pipe(Handler.asynchronous(Parking), Handler.retry(Schedule.recurs(1)))
    return Effect.gen(function* () {
      yield* ship("a", { headers: { tenant: "acme" } })
      yield* drain
      const letter = yield* onlyLetter
      assert.strictEqual(heard.length, 1)
      const { attempt, endpoint, failures, headers, id, payload, tag } = letter.envelope
      const { error, fingerprint, reason } = letter
      assert.deepStrictEqual({ ...heard[0] } as Record<string, unknown>, {
        _tag: MessageFailed._tag,
        ...{ channel: Parking.channelName, attempt, endpoint, failures, headers, id, payload, tag },
        ...{ error, fingerprint, reason }
      })
      assert.deepStrictEqual([attempt, failures.length, reason], [2, 2, "Exhausted"])
      const [announced] = (yield* MessagingTest.log).filter((entry) => entry._tag === "Published")
      assert.strictEqual(announced?.envelope.headers.causationId, id)
      assert.strictEqual(announced?.envelope.headers.correlationId, headers.correlationId)
      assert.strictEqual(announced?.envelope.headers.tenant, "acme")
    }).pipe(within(backend, having(Handler.layer(shipping, handler.pipe(Handler.asynchronous(Errors))))))
  })

  it.effect("are told of what is discarded, once for each handler there", () => {
    const [one, two, elsewhere] = [hear("One"), hear("Two"), hear("Elsewhere")]
    const handlers = Handler.layer(
      failing.pipe(Handler.asynchronous(Dropping)),
      one.handler.pipe(Handler.asynchronous(Errors)),
      two.handler.pipe(Handler.asynchronous(Errors), Handler.delay("1 hour")),
      elsewhere.handler.pipe(Handler.asynchronous(Alarms))
    )
    return Effect.gen(function* () {
      yield* Effect.zipRight(Consumer.subscribe(Errors), Consumer.subscribe(Alarms))
      yield* ship("a")
      yield* drain
      assert.deepStrictEqual(yield* letters, [])
      yield* expectRows()
      assert.deepStrictEqual([one.heard.length, two.heard.length], [1, 0])
      yield* advance("1 hour")
      assert.deepStrictEqual([one.heard.length, two.heard.length, elsewhere.heard.length], [1, 1, 0])
    }).pipe(within(backend, having(handlers)))
  })

  it.effect("are told if and only if the message is ended: a commit that fails tells nobody", () => {
    const { handler, heard } = hear("Alert")
    let broken = true
    /** The commit that parks finds that the lease is another's. */
    const losing = (write: MessageStore.Write): MessageStore.Write =>
      write._tag === "Park" ? { ...write, lease: { ...write.lease!, token: "0" } } : write
    return Effect.gen(function* () {
      yield* ship("a")
      yield* withStore(
        (store) => ({
          commit: (units) => store.commit(broken ? units.map((unit) => unit.map(losing)) : units)
        }),
        Consumer.drain(Parking)
      )
      broken = false
      yield* expectWaiting(1, Parking)
      yield* expectWaiting(0, Errors)
      assert.deepStrictEqual(yield* letters, [])
      yield* advance("1 minute")
      yield* onlyLetter
      assert.strictEqual(heard.length, 1)
    }).pipe(
      within(
        backend,
        having(Handler.layer(failing.pipe(Handler.asynchronous(Parking)), handler.pipe(Handler.asynchronous(Errors))))
      )
    )
  })

  it.effect("that nobody listens to leave a dead letter, though the channel discards, and the log says so", () =>
    Effect.gen(function* () {
      yield* ship("a")
      const { lines, logged } = logging()
      yield* logged(drain)
      assert.include(
        lines,
        'Ship was given up, and only its dead letter says so: nobody handles MessageFailed on the error channel "test/Errors"'
      )
      assert.strictEqual((yield* onlyLetter).reason, "Exhausted")
      yield* expectWaiting(0, Errors)
    }).pipe(within(backend, having(Handler.layer(failing.pipe(Handler.asynchronous(Dropping))))))
  )

  it.effect("that do not take it, for its size or for a bug there, leave a dead letter", () => {
    const [small, broken] = [hear("Small"), hear("Broken")]
    const shipping = failing.pipe(Handler.asynchronous(Dropping), Handler.errorChannel(Small))
    const other = Handler.event(Placed, { name: "Other", handle: () => Effect.fail("no") }).pipe(
      Handler.asynchronous(Dropping)
    )
    const dying = broken.handler.pipe(
      Handler.asynchronous(Errors),
      Handler.delay(() => {
        throw new Error("a bug")
      })
    )
    return Effect.gen(function* () {
      yield* ship("a")
      yield* placed("b")
      const { lines, logged } = logging()
      yield* logged(drain)
      const refusals = lines.filter((line) => line.includes("only its dead letter says so")).toSorted()
      assert.strictEqual(refusals.length, 2)
      assert.match(refusals[0]!, /^Placed was given up.*: the error channel "test\/Errors" refused it: .*a bug/)
      assert.match(refusals[1]!, /^Ship was given up.*: the error channel "test\/Small" refused it: .*at most 10/)
      assert.deepStrictEqual((yield* letters).map(({ envelope }) => envelope.tag).toSorted(), ["Placed", "Ship"])
    }).pipe(
      within(backend, having(Handler.layer(shipping, other, dying, small.handler.pipe(Handler.asynchronous(Small)))))
    )
  })

  it.effect("of a handler win over its channel's", () => {
    const [errors, alarms] = [hear("Errors"), hear("Alarms")]
    const handlers = Handler.layer(
      failing.pipe(Handler.asynchronous(Parking), Handler.errorChannel(Alarms)),
      errors.handler.pipe(Handler.asynchronous(Errors)),
      alarms.handler.pipe(Handler.asynchronous(Alarms))
    )
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      assert.deepStrictEqual([errors.heard.length, alarms.heard.length], [0, 1])
    }).pipe(within(backend, having(handlers)))
  })

  it.effect("are not told of what fails on them: it is a dead letter, and there is no end without end", () => {
    const errors = hear("Errors")
    const dying = Handler.event(MessageFailed, { name: "Dying", handle: () => Effect.dieMessage("a bug") })
    const handlers = Handler.layer(
      failing.pipe(Handler.asynchronous(Parking), Handler.errorChannel(Alarms)),
      dying.pipe(Handler.asynchronous(Alarms)),
      errors.handler.pipe(Handler.asynchronous(Errors))
    )
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      assert.deepStrictEqual((yield* letters).map(({ envelope }) => envelope.tag).toSorted(), [
        "Ship",
        MessageFailed._tag
      ])
      assert.deepStrictEqual(errors.heard, [])
    }).pipe(within(backend, having(handlers)))
  })

  it.effect("reach handlers that only another process knows, with their delay", () => {
    const { handler, heard } = hear("Alert")
    const [delayed, elsewhere] = [hear("Delayed"), hear("Elsewhere")]
    const listening = Handler.layer(
      handler.pipe(Handler.asynchronous(Errors)),
      delayed.handler.pipe(Handler.asynchronous(Errors), Handler.delay("1 hour")),
      elsewhere.handler.pipe(Handler.asynchronous(Alarms))
    ).pipe(Layer.provideMerge(MessagingTest.layerStore))
    return Effect.gen(function* () {
      yield* Effect.zipRight(Consumer.subscribe(Errors), Consumer.subscribe(Alarms)).pipe(Effect.provide(listening))
      yield* ship("a")
      yield* drain
      yield* expectWaiting(2, Errors)
      yield* expectWaiting(0, Alarms)
      assert.deepStrictEqual(yield* letters, [])
      yield* drain.pipe(Effect.provide(listening))
      assert.deepStrictEqual([heard.length, delayed.heard.length], [1, 0])
      yield* advance(hour).pipe(Effect.provide(listening))
      assert.deepStrictEqual([heard.length, delayed.heard.length, elsewhere.heard.length], [1, 1, 0])
    }).pipe(within(backend, having(Handler.layer(failing.pipe(Handler.asynchronous(Dropping))))))
  })

  it.effect("are told of every end: defects, bytes that do not decode, lost consumers, unknown handlers", () => {
    const { handler, heard } = hear("Alert")
    const dying = Handler.command(Ship, () => Effect.dieMessage("a bug")).pipe(Handler.asynchronous(Parking))
    const put = (endpoint: string, payload: string) =>
      using((store) =>
        store.commit([
          [
            {
              _tag: "Send",
              channel: Parking.channelName,
              envelope: { id: endpoint, tag: "Ship", endpoint, attempt: 1, headers: {}, payload, failures: [] },
              priority: 0,
              due: undefined,
              timer: undefined
            }
          ]
        ])
      )
    return Effect.gen(function* () {
      yield* ship("dies")
      yield* put("Ship", "{}")
      yield* drain
      yield* ship("crashes")
      for (let lost = 0; lost < 2; lost++) {
        yield* using((store) =>
          store.claim({ channel: Parking.channelName, limit: 1, leaseMillis: second, owner: "lost" })
        )
        yield* pass(2 * second)
      }
      yield* put("Gone", "{}")
      yield* drain
      yield* advance("20 seconds")
      assert.deepStrictEqual(heard.map(({ reason }) => reason).toSorted(), [
        "Crashed",
        "Defect",
        "Undecodable",
        "UnknownEndpoint"
      ])
    }).pipe(within(backend, having(Handler.layer(dying, handler.pipe(Handler.asynchronous(Errors))))))
  })
}

export const brokersErrors = <R>(backend: Backend<R>): void => {
  it.effect(
    "of a broker get it just before the commit; while the broker is away, the dead letter alone says so",
    () => {
      const { handler, heard } = hear("Alert")
      const broker = makeBroker()
      const handlers = Handler.layer(
        failing.pipe(Handler.asynchronous(Dropping)),
        handler.pipe(Handler.asynchronous(Errors))
      )
      const channels = Layer.merge(Channel.layerDirect(Errors, broker.driver), backend.channel(Dropping))
      return Effect.gen(function* () {
        yield* ship("a")
        broker.state.away = true
        const draining = yield* Effect.fork(Consumer.drain(Dropping))
        yield* passUntil("it has its end", Effect.map(Fiber.poll(draining), Option.isSome))
        yield* expectWaiting(0, Dropping)
        const { envelope, key } = yield* onlyLetter
        assert.strictEqual(envelope.attempt, 1, "it was handled once, and no consumer was lost")
        broker.state.away = false
        yield* using((store) => store.replay([key]))
        yield* drain
        assert.strictEqual(broker.state.sent.length, 1)
        assert.deepStrictEqual(
          heard.map(({ reason }) => reason),
          ["Exhausted"]
        )
      }).pipe(within(backend, handlers.pipe(Layer.provideMerge(channels))))
    }
  )

  it.effect("are told once of a broker's message, though its acknowledgement fails and it comes again", () => {
    const { handler, heard } = hear("Alert")
    const broker = makeBroker()
    const shipping = failing.pipe(
      Handler.asynchronous(Broker),
      Handler.errorChannel(Errors),
      Handler.deadLetter({ onGivenUp: "Discard" })
    )
    const handlers = Handler.layer(shipping, handler.pipe(Handler.asynchronous(Errors)))
    return Effect.gen(function* () {
      broker.state.deaf = 1
      yield* ship("a")
      const draining = yield* Effect.fork(drain)
      yield* passUntil("it is drained", Effect.map(Fiber.poll(draining), Option.isSome))
      yield* broker.redeliver
      yield* drain
      assert.strictEqual(heard.length, 1)
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, handlers.pipe(Layer.provideMerge(Layer.merge(broker.layer, backend.channel(Errors))))))
  })
}
