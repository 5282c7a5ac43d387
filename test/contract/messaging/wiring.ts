/**
 * What the log tells of a system that is not put together well.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, Handler, MessageBus, MessagingTest } from "@holdfast/core"
import { Effect, HashMap, Layer, Logger, LogLevel } from "effect"
import type { Backend } from "./backend.ts"
import { consume, plain } from "./consuming.ts"
import { eventually, Mails, minute, Orders, Place, Placed, pass, second, settle, using, within } from "./fixtures.ts"

const on = (name: string) => Handler.event(Placed, { name, handle: () => Effect.void })
const handlers = Handler.layer(
  on("Confirm").pipe(Handler.asynchronous(Orders)),
  plain,
  on("Mail").pipe(Handler.asynchronous(Mails))
)

/** Keeps the warnings: their text, and their annotations by name. */
const listening = () => {
  const warnings: Array<string> = []
  const annotated: Array<Record<string, unknown>> = []
  const logger = Logger.make(({ annotations, logLevel, message }) => {
    if (LogLevel.lessThan(logLevel, LogLevel.Warning)) return
    warnings.push(...(message as ReadonlyArray<string>))
    annotated.push(Object.fromEntries(HashMap.toEntries(annotations)))
  })
  return { warnings, annotated, heard: Effect.provide(Logger.add(logger)) }
}

/** A process as in production: with the buses that look at the wiring, over the store that all of them share. */
const process = <R, E, P, In>(backend: Backend<R>, layer: Layer.Layer<P, E, In>) =>
  Layer.build(
    layer.pipe(
      Layer.provideMerge(MessageBus.layer),
      Layer.provideMerge(Layer.merge(backend.channel(Orders), backend.channel(Mails)))
    )
  )

const nobody = (channel: string, endpoints: string) =>
  `Nobody consumes channel "${channel}": what is sent to ${endpoints} waits. Run Consumer.layer for it, here or in ` +
  "another process; a process that only sends registers these handlers with Handler.routes, not Handler.layer"

export const wiring = <R>(backend: Backend<R>): void => {
  it.scoped("a consumer names the subscriptions of its channel for which nobody here has a handler", () => {
    const { annotated, heard, warnings } = listening()
    return Effect.gen(function* () {
      const subscription = { tag: "Placed", endpoint: "Gone", channel: Orders.channelName }
      const elsewhere = { tag: "Placed", endpoint: "Elsewhere", channel: Mails.channelName }
      yield* using((store) => store.subscribe([subscription, elsewhere]))
      yield* consume()
      assert.deepStrictEqual(warnings, [
        '"Gone" subscribes to Placed on channel "test/Orders", but no handler here has that name: its copies wait for ' +
          "a consumer that has it. If the handler was renamed or removed for good, end its subscriptions with " +
          'Consumer.unsubscribe("Gone")'
      ])
      assert.include(annotated[0], { channel: "test/Orders", endpoint: "Gone", event: "Placed", module: "Consumer" })
      yield* Consumer.unsubscribe("Gone")
      yield* consume()
      assert.strictEqual(warnings.length, 1)
    }).pipe(heard, within(backend, handlers))
  })

  it.scoped("a consumer tells that its channel is paused", () => {
    const { heard, warnings } = listening()
    return Effect.gen(function* () {
      yield* Consumer.pause(Mails)
      yield* consume()
      assert.deepStrictEqual(warnings, [])
      yield* Consumer.pause(Orders)
      yield* consume()
      assert.deepStrictEqual(warnings, [
        'Channel "test/Orders" is paused: nothing is taken from it until Consumer.resume'
      ])
    }).pipe(heard, within(backend, handlers))
  })

  it.scoped("a process names the channels of its handlers that nobody consumes, ten seconds after it started", () => {
    const { annotated, heard, warnings } = listening()
    return Effect.gen(function* () {
      yield* process(backend, handlers)
      yield* using((store) => store.heartbeat(Mails.channelName))
      yield* pass(9 * second)
      assert.deepStrictEqual(warnings, [])
      yield* pass(second)
      yield* eventually(
        "it warns",
        Effect.sync(() => warnings.length > 0)
      )
      yield* pass(minute)
      assert.deepStrictEqual(warnings, [nobody("test/Orders", "Confirm, Ship")])
      assert.include(annotated[0], { channel: "test/Orders", endpoints: "Confirm, Ship", module: "MessageBus" })
    }).pipe(heard, Effect.provide(backend.layer))
  })

  it.scoped("nothing is told while the channels are consumed, here or elsewhere; of those left alone it is", () => {
    const { heard, warnings } = listening()
    const calm: Consumer.Options = { lease: "1 hour", pollInterval: "1 hour" }
    const worker = Layer.merge(Consumer.layer(Orders, calm), Consumer.layer(Mails, calm)).pipe(
      Layer.provideMerge(handlers)
    )
    return Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* process(backend, worker)
          for (let passed = 0; passed < 10; passed++) yield* pass(30 * second)
          yield* process(backend, handlers)
          yield* pass(10 * second)
          yield* settle
        })
      )
      assert.deepStrictEqual(warnings, [])
      yield* pass(3 * minute)
      yield* process(backend, handlers)
      yield* pass(10 * second)
      yield* eventually(
        "it warns of both",
        Effect.sync(() => warnings.length === 2)
      )
      assert.sameMembers(warnings, [nobody("test/Orders", "Confirm, Ship"), nobody("test/Mails", "Mail")])
    }).pipe(heard, Effect.provide(backend.layer))
  })

  it.scoped("nothing is told of routes, of synchronous handlers, of those who drain, and in tests", () => {
    const { heard, warnings } = listening()
    const placing = Handler.command(Place, () => Effect.succeed(""))
    const routes = Handler.routes(plain, on("Mail").pipe(Handler.asynchronous(Mails)))
    return Effect.gen(function* () {
      yield* process(backend, Layer.merge(routes, Handler.layer(placing, on("Now"))))
      const tested = handlers.pipe(
        Layer.provideMerge(MessagingTest.layerStore),
        Layer.provideMerge(Layer.merge(backend.channel(Orders), backend.channel(Mails)))
      )
      yield* Layer.build(tested)
      yield* pass(minute)
      const job = yield* process(backend, Handler.layer(plain))
      yield* Effect.provide(Consumer.drain(Orders), job)
      yield* pass(minute)
      assert.deepStrictEqual(warnings, [])
    }).pipe(heard, Effect.provide(backend.layer))
  })
}
