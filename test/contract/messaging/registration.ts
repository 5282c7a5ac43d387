/**
 * Mistakes in the set of handlers, told when the layer is built.
 */
import { assert, it } from "@effect/vitest"
import {
  Channel,
  type CommandBus,
  EventBus,
  Handler,
  HandlerRegistry,
  Message,
  MessagingTest,
  Saga
} from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import type { Backend } from "./backend.ts"
import {
  alone,
  defect,
  Orders,
  onlyLetter,
  Place,
  Placed,
  placed,
  reserve,
  Ship,
  type System,
  within
} from "./fixtures.ts"

const sentence = <P>(handlers: Layer.Layer<P, never, System>) => defect(Effect.scoped(Layer.build(handlers)))

const placing = Handler.command(Place, () => Effect.succeed(""))
const on = (name: string) => Handler.event(Placed, { name, handle: () => Effect.void })

export const registration = <R>(backend: Backend<R>): void => {
  it.effect("two handlers of one command", () =>
    Effect.gen(function* () {
      const other: typeof placing = Object.setPrototypeOf(
        { ...placing, name: "Another" },
        Object.getPrototypeOf(placing)
      )
      assert.match(yield* sentence(Handler.layer(placing, other)), /Place has two handlers: a command has exactly one/)
      assert.match(yield* sentence(Handler.layer(placing, placing)), /Two handlers are named "Place"/)
    }).pipe(alone(backend))
  )

  it.effect("two handlers of one name", () =>
    Effect.gen(function* () {
      assert.match(yield* sentence(Handler.layer(on("A"), on("A"))), /Two handlers are named "A": names are durable/)
    }).pipe(alone(backend))
  )

  it.effect("two handlers of one name in layers of their own", () =>
    Effect.gen(function* () {
      const both = Layer.merge(Handler.layer(on("A")), Handler.layer(on("A")))
      assert.match(yield* sentence(both), /Two handlers are named "A"/)
    }).pipe(alone(backend))
  )

  it.effect("two messages of one tag", () => {
    class Another extends Message.Event<Another>()("Placed", { payload: { id: Schema.String } }) {}
    class Listed extends Channel.Tag<Listed>()("test/Listed", { messages: [Placed] }) {}
    class Both extends Channel.Tag<Both>()("test/Both", { messages: [Placed, Another] }) {}
    class Fired extends Message.Event<Fired>()("holdfast/SagaTimeout", { payload: { id: Schema.String } }) {}
    class Anything extends Channel.Tag<Anything>()("test/Anything") {}
    const channels = Layer.mergeAll(backend.channel(Listed), backend.channel(Both), backend.channel(Anything))
    const another = Handler.event(Another, { name: "B", handle: () => Effect.void })
    const timed = Saga.make("Timed", { state: Schema.Struct({}) }).pipe(
      Saga.startOn(Fired, { id: (_) => _.id, handle: () => Effect.succeed({}) }),
      Saga.onTimeout("end", { handle: Effect.succeed }),
      Handler.asynchronous(Anything)
    )
    return Effect.gen(function* () {
      const expectTwo = <P>(handlers: Layer.Layer<P, never, System | Listed | Both | Anything>, tag = "Placed") =>
        Effect.map(sentence(handlers.pipe(Layer.provide([channels, HandlerRegistry.layer]))), (text) =>
          assert.strictEqual(text, `Two messages have the tag "${tag}": it is their wire name, so each has its own`)
        )
      const twice = Handler.event([Placed, Another], { name: "C", handle: () => Effect.void })
      yield* expectTwo(Handler.layer(on("A"), another))
      yield* expectTwo(Layer.merge(Handler.layer(on("A")), Handler.routes(another.pipe(Handler.asynchronous(Both)))))
      yield* expectTwo(Handler.layer(twice))
      yield* expectTwo(Handler.layer(another.pipe(Handler.asynchronous(Listed))))
      yield* expectTwo(Handler.layer(on("A").pipe(Handler.asynchronous(Both))))
      yield* expectTwo(Handler.layer(timed), "holdfast/SagaTimeout")
    }).pipe(alone(backend))
  })

  it.effect("a message of another class than the handlers of its tag have", () => {
    class Another extends Message.Event<Another>()("Placed", { payload: { id: Schema.String } }) {}
    return Effect.gen(function* () {
      const publish = EventBus.publish(new Another({ id: "1" }))
      assert.match(yield* defect(publish), /Two messages have the tag "Placed"/)
    }).pipe(within(backend, Handler.layer(on("A"))))
  })

  it.effect("a tag of the runtime's own", () => {
    class Fired extends Message.Event<Fired>()("holdfast/Fired") {}
    const own = Handler.event(Fired, { name: "A", handle: () => Effect.void })
    return Effect.gen(function* () {
      assert.strictEqual(
        yield* sentence(Handler.layer(own)),
        'The tag "holdfast/Fired" begins with "holdfast/", as those of the runtime do: choose another'
      )
    }).pipe(alone(backend))
  })

  it.effect("a channel whose layer is of another store", () => {
    const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      const elsewhere = Handler.layer(shipping).pipe(Layer.provide(Channel.layerStored(Orders, "another")))
      assert.match(yield* sentence(elsewhere), /channel "test\/Orders" is (of|for) the another store/)
    }).pipe(alone(backend))
  })

  it.effect("routes of a handler without a channel", () =>
    Effect.gen(function* () {
      assert.match(
        yield* sentence(Handler.routes(on("A") as never) as never),
        /"A", which has no channel: only asynchronous handlers can run elsewhere/
      )
    }).pipe(alone(backend))
  )

  it.effect("a saga that arms a timeout nobody handles", () => {
    const saga = Saga.make("Forgetful", { state: Schema.Struct({}) }).pipe(
      Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.as(Saga.arm("payment", "1 hour"), {}) }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* MessagingTest.drain
      const { error, reason } = yield* onlyLetter
      assert.strictEqual(reason, "Defect")
      assert.include(error, 'Saga Forgetful has no Saga.onTimeout("payment", …) for the timeout it arms')
    }).pipe(within(backend, Handler.layer(saga)))
  })

  it.effect("sending a command or asking a query that nobody handles", () =>
    Effect.gen(function* () {
      const nobody = reserve() as Effect.Effect<void, unknown, CommandBus.CommandBus>
      assert.strictEqual(yield* defect(nobody), "No handler is registered for command Reserve")
    }).pipe(alone(backend))
  )
}
