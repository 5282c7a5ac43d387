/**
 * What a handler sees: the services of its layer, and of its sender only the unit, the envelope and the span.
 */
import { assert, it } from "@effect/vitest"
import { Envelope, EventBus, Handler, QueryBus, UnitOfWork } from "@holdfast/core"
import { Config, ConfigProvider, Context, Deferred, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import {
  CountRows,
  defect,
  drain,
  expectRows,
  expectShipped,
  Orders,
  Paid,
  Place,
  Placed,
  place,
  Reserve,
  refuse,
  reserve,
  Ship,
  settle,
  ship,
  within,
  write
} from "./fixtures.ts"

class Greeting extends Context.Tag("test/Greeting")<Greeting, string>() {}
class Limit extends Context.Reference<Limit>()("test/Limit", { defaultValue: () => "default" }) {}

const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))

export const contexts = <R>(backend: Backend<R>): void => {
  it.effect("sees the services its layer captured, not those of its sender", () => {
    const placing = Handler.command(Place, () => Greeting)
    return Effect.gen(function* () {
      assert.strictEqual(yield* Effect.provideService(place(), Greeting, "the sender's"), "the layer's")
    }).pipe(within(backend, Handler.layer(placing).pipe(Layer.provide(Layer.succeed(Greeting, "the layer's")))))
  })

  it.effect("sees the references its layer captured, not those of its sender", () => {
    const placing = Handler.command(Place, () => Limit)
    return Effect.gen(function* () {
      assert.strictEqual(yield* Effect.provideService(place(), Limit, "the sender's"), "the layer's")
    }).pipe(within(backend, Handler.layer(placing).pipe(Layer.provide(Layer.succeed(Limit, "the layer's")))))
  })

  it.effect("sees the configuration its layer captured, not that of its sender", () => {
    const placing = Handler.command(Place, () => Effect.orDie(Config.string("WHOSE")))
    const configured = (whose: string) => ConfigProvider.fromMap(new Map([["WHOSE", whose]]))
    return Effect.gen(function* () {
      const answer = yield* Effect.withConfigProvider(place(), configured("the sender's"))
      assert.strictEqual(answer, "the layer's")
    }).pipe(
      within(backend, Handler.layer(placing).pipe(Layer.provide(Layer.setConfigProvider(configured("the layer's")))))
    )
  })

  it.effect("is given its message's envelope, with its sender's conversation in it, and sees it as a service", () => {
    const seen: Array<Envelope.Metadata> = []
    const look = (given: Envelope.Metadata) =>
      Effect.map(Envelope.CurrentEnvelope, (envelope) => {
        assert.deepStrictEqual(given, envelope)
        seen.push(envelope)
      })
    const placing = Handler.command(Place, (_, envelope) =>
      Effect.as(Effect.all([look(envelope), reserve(), ship(), look(envelope)]), "")
    )
    const reserving = Handler.command(Reserve, (_, envelope) => look(envelope))
    const shipping = Handler.command(Ship, (_, envelope) => look(envelope)).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* place()
      yield* drain
      const [first, nested, again, later] = seen
      assert.deepStrictEqual(again, first)
      assert.strictEqual(first!.tag, "Place")
      for (const caused of [nested!, later!]) {
        assert.strictEqual(caused.headers.causationId, first!.id)
        assert.strictEqual(caused.headers.correlationId, first!.id)
      }
    }).pipe(within(backend, Handler.layer(placing, reserving, shipping)))
  })

  it.effect("is given the headers, id and attempt of its message, whatever its kind", () => {
    const seen: Record<string, Envelope.Metadata> = {}
    const note = (envelope: Envelope.Metadata) =>
      Effect.sync(() => {
        seen[`${envelope.tag} ${envelope.attempt}`] = envelope
      })
    const counting = Handler.query(CountRows, (_, envelope) => Effect.as(note(envelope), 0))
    const confirming = Handler.event([Placed, Paid], {
      name: "Confirm",
      handle: (_, envelope) =>
        note(envelope).pipe(
          Effect.zipRight(envelope.attempt === 1 && envelope.tag === "Paid" ? Effect.fail("busy") : Effect.void)
        )
    }).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(1)))
    return Effect.gen(function* () {
      yield* QueryBus.ask(new CountRows(), { headers: { step: "asked" } })
      yield* EventBus.publish(new Placed({ id: "1" }), { headers: { step: "placed" } })
      yield* EventBus.publish(new Paid({ id: "1" }), { headers: { step: "paid" } })
      yield* drain
      assert.deepStrictEqual(
        Object.entries(seen).map(([key, { headers }]) => `${key} ${headers.step}`),
        ["CountRows 1 asked", "Placed 1 placed", "Paid 1 paid", "Paid 2 paid"]
      )
      assert.strictEqual(seen["Paid 2"]!.id, seen["Paid 1"]!.id)
      assert.strictEqual(seen["Paid 2"]!.endpoint, "Confirm")
    }).pipe(within(backend, Handler.layer(counting, confirming)))
  })

  it.effect("belongs to the trace of its sender, over a channel too", () => {
    const traces: Array<string> = []
    const look = Effect.map(Effect.orDie(Effect.currentParentSpan), (span) => void traces.push(span.traceId))
    const placing = Handler.command(Place, () => Effect.as(Effect.zipRight(look, ship()), ""))
    const shipping = Handler.command(Ship, () => look).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* Effect.withSpan(Effect.zipRight(look, place()), "request")
      yield* drain
      assert.strictEqual(traces.length, 3)
      assert.strictEqual(new Set(traces).size, 1)
    }).pipe(within(backend, Handler.layer(placing, shipping)))
  })

  it.effect("closes its scope with each message", () => {
    const events: Array<string> = []
    const placing = Handler.command(Place, ({ id }) =>
      Effect.acquireRelease(Effect.succeed(id), () => Effect.sync(() => events.push(`closed ${id}`)))
    )
    return Effect.gen(function* () {
      yield* place("1")
      yield* place("2")
      assert.deepStrictEqual(events, ["closed 1", "closed 2"])
    }).pipe(within(backend, Handler.layer(placing)))
  })
}

export const fibers = <R>(backend: Backend<R>): void => {
  it.effect("of a handler end with it", () => {
    const events: Array<string> = []
    const placing = Handler.command(Place, () =>
      Effect.gen(function* () {
        const started = yield* Deferred.make<void>()
        yield* Effect.fork(
          Effect.onInterrupt(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never), () =>
            Effect.sync(() => events.push("interrupted"))
          )
        )
        yield* Deferred.await(started)
        return ""
      })
    )
    return Effect.gen(function* () {
      yield* place()
      yield* settle
      assert.deepStrictEqual(events, ["interrupted"])
    }).pipe(within(backend, Handler.layer(placing)))
  })

  it.effect("that outlive their handler get a defect with a sentence when they send", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const late = yield* Deferred.make<string>()
      const daemon = Deferred.await(go).pipe(
        Effect.zipRight(defect(ship("late"))),
        Effect.flatMap((sentence) => Deferred.succeed(late, sentence)),
        Effect.forkDaemon
      )
      const placing = Handler.command(Place, () => Effect.as(Effect.zipRight(daemon, write("a")), ""))
      yield* Effect.gen(function* () {
        yield* place()
        yield* Deferred.succeed(go, undefined)
        assert.match(yield* Deferred.await(late), /The unit of work has ended: a fiber outlived its handler/)
        yield* expectRows("a")
        yield* expectShipped()
      }).pipe(within(backend, Handler.layer(placing, shipping)))
    })
  )

  it.effect("that outlive a nested scope cannot send in its name", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const reserving = Handler.command(Reserve, () =>
        Effect.gen(function* () {
          const fiber = yield* Effect.forkDaemon(Effect.zipRight(Deferred.await(go), Effect.exit(ship("late"))))
          daemons.push(fiber)
          return yield* refuse()
        })
      )
      const daemons: Array<Fiber.Fiber<Exit.Exit<unknown, unknown>>> = []
      const placing = Handler.command(Place, () =>
        Effect.gen(function* () {
          yield* Effect.ignore(reserve())
          yield* Deferred.succeed(go, undefined)
          const exit = yield* Fiber.join(daemons[0]!)
          assert.isTrue(Exit.isFailure(exit))
          return ""
        })
      )
      yield* Effect.gen(function* () {
        yield* place()
        yield* expectShipped()
      }).pipe(within(backend, Handler.layer(placing, reserving, shipping)))
    })
  )

  it.effect("that outlive their handler may send outside of its unit", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const daemons: Array<Fiber.Fiber<unknown, unknown>> = []
      const placing = Handler.command(Place, () =>
        Effect.map(
          Effect.forkDaemon(Effect.zipRight(Deferred.await(go), UnitOfWork.outside(ship("late")))),
          (fiber) => `${daemons.push(fiber)}`
        )
      )
      yield* Effect.gen(function* () {
        yield* place()
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(daemons[0]!)
        yield* expectShipped("late")
      }).pipe(within(backend, Handler.layer(placing, shipping)))
    })
  )
}
