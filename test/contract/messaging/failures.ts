/**
 * What is done about failures: by the tag of the error, after an outage, and when a message is given up.
 */
import { assert, it } from "@effect/vitest"
import {
  Channel,
  CommandBus,
  Consumer,
  DeadLetter,
  Handler,
  Message,
  MessageBus,
  MessagingError,
  UnitOfWork
} from "@holdfast/core"
import { Data, Effect, Layer, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import { ids } from "./consuming.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  drain,
  expectRows,
  expectTimes,
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

class Busy extends Data.TaggedError("Busy")<{ readonly seconds?: number }> {}
class Declined extends Data.TaggedError("Declined") {}
class Odd extends Data.TaggedError("Odd") {}

const now = using((store) => store.now)

/** Fails run after run as the list says, then succeeds; keeps the attempts. */
const failing = (...errors: ReadonlyArray<Busy | Declined | Odd>) => {
  const attempts: Array<number> = []
  const handler = Handler.command(Ship, (_, { attempt }) =>
    Effect.suspend((): Effect.Effect<void, Busy | Declined | Odd> => {
      const error = errors[attempts.push(attempt) - 1]
      return error === undefined ? Effect.void : Effect.fail(error)
    })
  )
  return { attempts, handler }
}

export const byTag = <R>(backend: Backend<R>): void => {
  it.effect("end at once for a tag that is never retried, and go on for the others", () => {
    const { attempts, handler } = failing(new Busy({}), new Busy({}), new Declined())
    return Effect.gen(function* () {
      yield* ship()
      yield* advance("1 hour")
      assert.deepStrictEqual(attempts, [1, 2, 3])
      const { envelope } = yield* onlyLetter
      assert.deepStrictEqual(
        envelope.failures.map(({ tag }) => tag),
        ["Busy", "Busy", "Declined"]
      )
    }).pipe(
      within(
        backend,
        Handler.layer(
          handler.pipe(
            Handler.asynchronous(Orders),
            Handler.retryTags({ Declined: "Never", Busy: Schedule.spaced("1 minute") })
          )
        )
      )
    )
  })

  it.effect("count the failures of each tag apart, and those without a schedule of their own together", () => {
    const [busy, odd, declined] = [new Busy({}), new Odd(), new Declined()]
    const { attempts, handler } = failing(busy, odd, busy, declined, odd, busy)
    return Effect.gen(function* () {
      const start = yield* now
      yield* ship()
      yield* advance("1 hour")
      assert.deepStrictEqual(attempts, [1, 2, 3, 4, 5])
      const { envelope } = yield* onlyLetter
      // one second after the first and two after the second failure of its own, ten minutes after each of the others
      const expected = [0, second, second + 10 * minute, 3 * second + 10 * minute, 3 * second + 20 * minute]
      expectTimes(
        backend,
        envelope.failures.map(({ at }) => at - start),
        expected
      )
    }).pipe(
      within(
        backend,
        Handler.layer(
          handler.pipe(
            Handler.asynchronous(Orders),
            Handler.retry({ schedule: Schedule.spaced("10 minutes"), times: 2 }),
            Handler.retryTags({ Busy: Schedule.exponential("1 second") })
          )
        )
      )
    )
  })

  it.effect("may be in place: each tag by its schedule, the others by Handler.retry", () => {
    const { attempts, handler } = failing(new Busy({}), new Odd(), new Busy({}), new Declined())
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      assert.deepStrictEqual(attempts, [1, 1, 1, 1])
      assert.lengthOf((yield* onlyLetter).envelope.failures, 1)
    }).pipe(
      within(
        backend,
        Handler.layer(
          handler.pipe(
            Handler.retry({ times: 1 }),
            Handler.retryTags({ Busy: Schedule.recurs(2), Declined: "Never" }),
            Handler.asynchronous(Orders)
          )
        )
      )
    )
  })

  it.effect("follow a predicate, and a number of times", () => {
    const { attempts, handler } = failing(new Busy({ seconds: 1 }), new Busy({ seconds: 2 }), new Busy({ seconds: 90 }))
    return Effect.gen(function* () {
      yield* ship()
      yield* advance("1 hour")
      assert.deepStrictEqual(attempts, [1, 2, 3])
      assert.lengthOf(yield* letters, 1)
    }).pipe(
      within(
        backend,
        Handler.layer(
          handler.pipe(
            Handler.asynchronous(Orders),
            Handler.retry({ times: 9, while: (error) => error._tag === "Busy" && (error.seconds ?? 0) < 60 })
          )
        )
      )
    )
  })

  it.effect("spread by jitter, which is drawn for each retry, and is never early or late beyond it", () => {
    const times: Array<number> = []
    const handler = Handler.command(Ship, () =>
      Effect.zipRight(
        Effect.map(now, (at) => void times.push(at)),
        Effect.fail("no")
      )
    ).pipe(
      Handler.asynchronous(Orders),
      Handler.retry({ schedule: Schedule.jittered(Schedule.spaced("100 seconds")), times: 6 })
    )
    return Effect.gen(function* () {
      yield* ship()
      yield* advance("1 hour")
      const waits = times.slice(1).map((at, index) => at - times[index]!)
      assert.lengthOf(waits, 6)
      for (const wait of waits) {
        assert.isAtLeast(wait, 79 * second)
        assert.isAtMost(wait, 121 * second + (backend.features.frozenClock ? 0 : 60 * second))
      }
      assert.isAbove(new Set(waits).size, 1, `all the same: ${waits}`)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("keep a history that stays small, and attempts that go on counting", () => {
    const attempts: Array<number> = []
    const handler = Handler.command(Ship, (_, { attempt }) =>
      Effect.suspend(() => {
        attempts.push(attempt)
        return Effect.fail(`no ${attempt} ${"x".repeat(5_000)}`)
      })
    ).pipe(Handler.asynchronous(Orders), Handler.retry({ times: 150 }))
    return Effect.gen(function* () {
      yield* ship()
      yield* advance(minute)
      assert.strictEqual(attempts.at(-1), 151)
      const { envelope } = yield* onlyLetter
      assert.strictEqual(envelope.attempt, 151)
      assert.lengthOf(envelope.failures, 100)
      const counted = envelope.failures.reduce((sum, { count }) => sum + (count ?? 1), 0)
      assert.strictEqual(counted, 151)
      assert.include(envelope.failures[0]!.error, "no 1 ")
      assert.include(envelope.failures.at(-1)!.error, "no 151 ")
      assert.isBelow(JSON.stringify(envelope.failures).length, 64 * 1024)
    }).pipe(within(backend, Handler.layer(handler)))
  })
}

export const outages = <R>(backend: Backend<R>): void => {
  it.effect("of minutes are waited for longer and longer, and leave the first attempt", () => {
    const away = new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" })
    const times: Array<number> = []
    const attempts: Array<number> = []
    let until = Number.POSITIVE_INFINITY
    const handler = Handler.command(Ship, (_, { attempt }) =>
      Effect.flatMap(now, (at) => {
        times.push(at)
        attempts.push(attempt)
        return at < until ? Effect.fail(away) : write("done")
      })
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      until = (yield* now) + 5 * minute
      yield* ship()
      yield* advance("6 minutes")
      yield* expectRows("done")
      assert.deepStrictEqual(new Set(attempts), new Set([1]))
      const waits = times.slice(1).map((at, index) => at - times[index]!)
      const slack = backend.features.frozenClock ? 0 : 5 * second
      ;[1, 2, 4, 8, 16, 30, 30].forEach((expected, index) => {
        assert.isAtLeast(waits[index]! + 5, expected * 800, `wait ${index} of ${waits}`)
        assert.isAtMost(waits[index]!, Math.min(30, expected * 1.2) * second + 1 + slack, `wait ${index} of ${waits}`)
      })
      assert.isBelow(times.length, 20, "once a second would have been 300")
    }).pipe(within(backend, Handler.layer(handler)))
  })
}

class Again extends Channel.Tag<Again>()("test/Again", {
  messages: [Ship],
  retry: Schedule.recurs(1),
  deadLetter: { onGivenUp: "Resend", resendAfter: "10 minutes", afterCrashes: 1 }
}) {}
class Patient extends Channel.Tag<Patient>()("test/Patient", {
  messages: [Ship],
  deadLetter: { onGivenUp: "Release", resendAfter: "10 minutes", afterCrashes: 1 }
}) {}
class Strict extends Channel.Tag<Strict>()("test/Strict", {
  messages: [Ship],
  deadLetter: { onGivenUp: "Stop", afterCrashes: 1 }
}) {}
class Errors extends Channel.Tag<Errors>()("test/Errors", { messages: [DeadLetter.MessageFailed] }) {}
class Alone extends Message.Command<Alone>()("Alone", { payload: { id: Schema.String } }) {}

export const endings = <R>(backend: Backend<R>): void => {
  const channels = Layer.mergeAll(
    backend.channel(Again),
    backend.channel(Patient),
    backend.channel(Strict),
    backend.channel(Errors)
  )
  const having = <P, E, R2>(handlers: Layer.Layer<P, E, R2>) => handlers.pipe(Layer.provideMerge(channels))

  /** Fails for "a" until it is mended. */
  const breaking = () => {
    const state = { broken: true }
    const seen: Array<readonly [id: string, attempt: number]> = []
    const handler = Handler.command(Ship, ({ id }, { attempt }) =>
      Effect.suspend(() => {
        seen.push([id, attempt])
        return id === "a" && state.broken ? Effect.fail("no") : write(id)
      })
    )
    return { state, seen, handler }
  }
  const told = () => {
    const heard: Array<DeadLetter.MessageFailed> = []
    const handler = Handler.event(DeadLetter.MessageFailed, {
      name: "Alert",
      handle: (failed) => Effect.sync(() => void heard.push(failed))
    }).pipe(Handler.asynchronous(Errors))
    return { heard, handler }
  }
  /** One consumer is lost with what it has claimed. */
  const lost = (channel: { readonly channelName: string }) =>
    Effect.zipRight(
      using((store) => store.claim({ channel: channel.channelName, limit: 1, leaseMillis: second, owner: "lost" })),
      pass(2 * second)
    )

  it.effect("send it again at the end of the channel, with all its retries, until it is handled", () => {
    const { handler, seen, state } = breaking()
    const alert = told()
    return Effect.gen(function* () {
      yield* ship("a")
      yield* ship("b")
      yield* drain
      assert.deepStrictEqual(
        seen.filter(([id]) => id === "a"),
        [
          ["a", 1],
          ["a", 2]
        ]
      )
      yield* expectRows("b")
      assert.deepStrictEqual(yield* letters, [])
      yield* advance("10 minutes")
      assert.deepStrictEqual(seen.slice(-2), [
        ["a", 1],
        ["a", 2]
      ])
      assert.strictEqual(alert.heard.length, 2)
      state.broken = false
      yield* advance("10 minutes")
      yield* expectRows("a", "b")
      yield* expectWaiting(0, Again)
    }).pipe(
      within(
        backend,
        having(Handler.layer(handler.pipe(Handler.asynchronous(Again), Handler.errorChannel(Errors)), alert.handler))
      )
    )
  })

  it.effect("keep it in its place, before what has its key, and try it again without end", () => {
    const { handler, seen, state } = breaking()
    return Effect.gen(function* () {
      yield* ship("a")
      yield* ship("b")
      yield* advance("35 minutes")
      assert.deepStrictEqual(
        seen.map(([id, attempt]) => `${id}${attempt}`),
        ["a1", "a2", "a3", "a4"]
      )
      assert.deepStrictEqual(yield* letters, [])
      state.broken = false
      yield* advance("10 minutes")
      yield* expectRows("a", "b")
    }).pipe(
      within(
        backend,
        having(
          Handler.layer(
            handler.pipe(
              Handler.asynchronous(Patient),
              Handler.orderedBy(() => "one")
            )
          )
        )
      )
    )
  })

  it.effect("stop the channel, with the reason, and leave the message where it is until somebody resumes it", () => {
    const { handler, seen, state } = breaking()
    const alert = told()
    return Effect.gen(function* () {
      yield* ship("a")
      yield* ship("b")
      yield* drain
      const [pause, ...others] = yield* Consumer.pauses
      assert.isEmpty(others)
      assert.strictEqual(pause!.channel, Strict.channelName)
      assert.match(pause!.reason!, /^"Ship" gave up Ship .* \(Exhausted\): .*no/)
      yield* expectWaiting(2, Strict)
      assert.deepStrictEqual(yield* letters, [])
      assert.strictEqual(alert.heard.length, 1)
      yield* advance("1 hour")
      assert.lengthOf(seen, 1)
      yield* Consumer.resume(Strict)
      yield* drain
      assert.deepStrictEqual(seen, [
        ["a", 1],
        ["a", 1]
      ])
      state.broken = false
      yield* Consumer.resume(Strict)
      yield* drain
      yield* expectRows("a", "b")
      assert.deepStrictEqual(
        seen.map(([id]) => id),
        ["a", "a", "a", "b"]
      )
    }).pipe(
      within(
        backend,
        having(Handler.layer(handler.pipe(Handler.asynchronous(Strict), Handler.errorChannel(Errors)), alert.handler))
      )
    )
  })

  it.scoped("stop what a consumer has claimed ahead, too: nothing overtakes the message", () => {
    const seen: Array<number> = []
    let broken = true
    const handler = Handler.command(Ship, ({ id }) =>
      Effect.suspend(() => {
        seen.push(Number(id))
        return broken && id === "200" ? Effect.dieMessage("no") : Effect.void
      })
    ).pipe(Handler.asynchronous(Strict))
    return Effect.gen(function* () {
      yield* UnitOfWork.run(Effect.forEach(ids(300), (id) => ship(id), { discard: true }))
      yield* Effect.forkScoped(Consumer.run(Strict, { concurrency: 1, lease: "1 hour" }))
      const { channelName } = Strict
      yield* passUntil(
        "it is stopped",
        using((store) => Effect.map(store.paused, (paused) => paused.includes(channelName)))
      )
      yield* pass(minute)
      assert.deepStrictEqual(seen, ids(200).map(Number))
      yield* expectWaiting(101, Strict)
      broken = false
      yield* Consumer.resume(Strict)
      yield* passUntil("all are handled", isEmpty(Strict))
      assert.deepStrictEqual(seen, [...ids(200), ...ids(300).slice(199)].map(Number))
    }).pipe(within(backend, having(Handler.layer(handler))))
  })

  it.effect("of a handler win over those of its channel", () => {
    const { handler } = breaking()
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      yield* onlyLetter
      assert.deepStrictEqual(yield* Consumer.pauses, [])
    }).pipe(
      within(
        backend,
        having(Handler.layer(handler.pipe(Handler.asynchronous(Strict), Handler.deadLetter({ onGivenUp: "Park" }))))
      )
    )
  })

  it.effect("park what consumers are lost with, instead of giving it to the next one", () => {
    const { handler, seen } = breaking()
    const shipping = (channel: typeof Again | typeof Patient) =>
      handler.pipe(Handler.asynchronous(channel as typeof Again))
    const parks = (channel: typeof Again | typeof Patient) =>
      Effect.gen(function* () {
        yield* ship("a")
        yield* lost(channel)
        yield* advance("1 hour")
        assert.strictEqual((yield* onlyLetter).reason, "Crashed")
        assert.isEmpty(seen)
      }).pipe(within(backend, having(Handler.layer(shipping(channel)))))
    return Effect.zipRight(parks(Again), parks(Patient))
  })

  it.effect("park what consumers are lost with, and stop the channel that says so", () => {
    const { handler } = breaking()
    return Effect.gen(function* () {
      yield* ship("a")
      yield* lost(Strict)
      yield* drain
      assert.strictEqual((yield* onlyLetter).reason, "Crashed")
      assert.lengthOf(yield* Consumer.pauses, 1)
    }).pipe(within(backend, having(Handler.layer(handler.pipe(Handler.asynchronous(Strict))))))
  })

  const ofBroker = (onGivenUp: Channel.OnGivenUp) => {
    const broker = makeBroker()
    const { handler, seen, state } = breaking()
    const shipping = handler.pipe(
      Handler.asynchronous(Broker),
      Handler.deadLetter({ onGivenUp, resendAfter: "10 minutes" })
    )
    return {
      broker,
      seen,
      state,
      provided: within(backend, having(Handler.layer(shipping).pipe(Layer.provideMerge(broker.layer))))
    }
  }

  for (const policy of ["Resend", "Release"] as const) {
    it.effect(`try a broker's message again after a while: ${policy}`, () => {
      const { broker, provided, seen, state } = ofBroker(policy)
      return Effect.gen(function* () {
        yield* ship("a")
        yield* drain
        assert.strictEqual(broker.state.acknowledged.length, policy === "Resend" ? 1 : 0)
        assert.lengthOf(seen, 1)
        state.broken = false
        yield* advance("9 minutes")
        yield* expectRows()
        yield* advance("2 minutes")
        yield* expectRows("a")
        assert.deepStrictEqual(yield* letters, [])
      }).pipe(provided)
    })
  }

  it.effect("stop a broker's channel, and give the message back to it", () => {
    const { broker, provided, state } = ofBroker("Stop")
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      const [pause] = yield* Consumer.pauses
      assert.strictEqual(pause!.channel, Broker.channelName)
      assert.deepStrictEqual([broker.state.acknowledged.length, broker.state.waiting.length], [0, 1])
      state.broken = false
      yield* Consumer.resume(Broker)
      yield* drain
      yield* expectRows("a")
    }).pipe(provided)
  })
}

export const defaultErrorChannel = <R>(backend: Backend<R>): void => {
  class Plain extends Channel.Tag<Plain>()("test/Plain", { messages: [Ship] }) {}
  class Others extends Channel.Tag<Others>()("test/Others", { messages: [Alone] }) {}
  class Own extends Channel.Tag<Own>()("test/Own", { messages: [DeadLetter.MessageFailed] }) {}
  const hear = (name: string) => {
    const heard: Array<string> = []
    const handler = Handler.event(DeadLetter.MessageFailed, {
      name,
      handle: ({ tag }) => Effect.sync(() => void heard.push(tag))
    })
    return { heard, handler }
  }

  it.effect("of the application is told where neither handler nor channel has one, and not of its own failures", () => {
    const [all, own] = [hear("All"), hear("Own")]
    const fails = Handler.command(Ship, () => Effect.fail("no")).pipe(Handler.asynchronous(Plain))
    const other = Handler.command(Alone, () => Effect.fail("no"))
    const handlers = Layer.mergeAll(
      Handler.layer(
        fails,
        other.pipe(Handler.asynchronous(Others), Handler.errorChannel(Own)),
        all.handler.pipe(Handler.asynchronous(Errors)),
        own.handler.pipe(Handler.asynchronous(Own))
      ),
      MessageBus.layerErrorChannel(Errors)
    )
    return Effect.gen(function* () {
      yield* ship("a")
      yield* CommandBus.send(new Alone({ id: "b" }))
      yield* drain
      assert.deepStrictEqual([all.heard, own.heard], [["Ship"], ["Alone"]])
    }).pipe(
      within(
        backend,
        handlers.pipe(
          Layer.provideMerge(
            Layer.mergeAll(
              backend.channel(Plain),
              backend.channel(Own),
              backend.channel(Errors),
              backend.channel(Others)
            )
          )
        )
      )
    )
  })
}
