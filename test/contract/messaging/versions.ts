/**
 * Processes of different versions side by side: no copy is lost, none is made twice.
 */
import { assert, it } from "@effect/vitest"
import { Consumer, Handler, MessageStore, MessagingTest, Saga } from "@holdfast/core"
import { Effect, Layer, Option, Schema } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  alone,
  drain,
  expectRows,
  expectWaiting,
  hour,
  isEmpty,
  letters,
  Mails,
  Orders,
  Placed,
  passUntil,
  placed,
  Ship,
  type System,
  ship,
  using,
  write
} from "./fixtures.ts"

/** A process of its own, with its own registry and buses, over the same store. */
export const process = <R, P>(backend: Backend<R>, handlers: Layer.Layer<P, unknown, System>) =>
  Effect.flatMap(Effect.context<System>(), (shared) => {
    const own = handlers.pipe(
      Layer.provideMerge(MessagingTest.layerStore),
      Layer.provideMerge(Layer.merge(backend.channel(Orders), backend.channel(Mails))),
      Layer.provideMerge(Layer.succeedContext(shared))
    )
    return Effect.map(
      Layer.build(own),
      (context) =>
        <A, E, R2>(effect: Effect.Effect<A, E, R2>) =>
          Effect.provide(effect, context)
    )
  })

const on = (name: string) =>
  Handler.event(Placed, { name, handle: ({ id }) => write(`${name} ${id}`) }).pipe(Handler.asynchronous(Orders))

export const versions = <R>(backend: Backend<R>): void => {
  it.scoped("give an event of the old one to the handlers that only the new one knows", () =>
    Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(on("A")))
      const after = yield* process(backend, Handler.layer(on("A"), on("B")))
      yield* after(Consumer.subscribe(Orders))
      yield* before(placed("1"))
      yield* expectWaiting(2)
      assert.strictEqual(yield* after(drain), 2)
      yield* expectRows("A 1", "B 1")
      yield* after(placed("2"))
      assert.strictEqual(yield* after(drain), 2)
      yield* expectRows("A 1", "B 1", "A 2", "B 2")
    }).pipe(alone(backend))
  )

  it.scoped("give the old one's copies to whoever knows their handler", () =>
    Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(on("A")))
      const after = yield* process(backend, Handler.layer(on("A"), on("B")))
      yield* after(Consumer.subscribe(Orders))
      yield* before(placed("1"))
      // the old one takes both, handles its own and gives the other back
      yield* before(drain)
      yield* expectRows("A 1")
      yield* expectWaiting(1)
      yield* after(advance("10 seconds"))
      yield* expectRows("A 1", "B 1")
      yield* expectWaiting(0)
    }).pipe(alone(backend))
  )

  it.scoped("apply the delay of a handler that the publisher does not know", () =>
    Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(on("A")))
      const after = yield* process(backend, Handler.layer(on("B").pipe(Handler.delay("1 hour"))))
      yield* after(Consumer.subscribe(Orders))
      yield* before(placed("1"))
      yield* before(drain)
      yield* after(advance("50 minutes"))
      yield* expectRows("A 1")
      yield* after(advance("20 minutes"))
      yield* expectRows("A 1", "B 1")
      yield* expectWaiting(0)
    }).pipe(alone(backend))
  )

  it.scoped("apply the publisher's own delay, and then no other", () =>
    Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(on("A")))
      const after = yield* process(backend, Handler.layer(on("A"), on("B").pipe(Handler.delay("1 hour"))))
      yield* after(Consumer.subscribe(Orders))
      yield* before(placed("1", { delay: "10 minutes" }))
      yield* after(advance("5 minutes"))
      yield* expectRows()
      yield* after(advance("10 minutes"))
      yield* expectRows("A 1", "B 1")
    }).pipe(alone(backend))
  )

  it.scoped("keep the priority of a copy whose delay was applied late", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const at = new Date((yield* using((store) => store.now)) + hour)
      const later = Handler.event(Placed, { name: "B", handle: ({ id }) => Effect.sync(() => void order.push(id)) })
      const before = yield* process(backend, Layer.empty)
      const after = yield* process(
        backend,
        Handler.layer(
          later.pipe(
            Handler.asynchronous(Orders),
            Handler.delay(() => at)
          )
        )
      )
      yield* after(Consumer.subscribe(Orders))
      yield* before(placed("ordinary"))
      yield* after(drain)
      yield* before(placed("urgent", { priority: 5 }))
      yield* after(drain)
      yield* before(placed("ordinary too"))
      yield* after(advance("2 hours"))
      assert.deepStrictEqual(order, ["urgent", "ordinary", "ordinary too"])
    }).pipe(alone(backend))
  )

  it.scoped("make no copy for a handler that was unsubscribed", () =>
    Effect.gen(function* () {
      const before = yield* process(backend, Handler.layer(on("A")))
      const after = yield* process(backend, Handler.layer(on("B")))
      yield* after(Consumer.subscribe(Orders))
      yield* Consumer.unsubscribe("B")
      yield* before(placed("1"))
      yield* expectWaiting(1)
    }).pipe(alone(backend))
  )

  it.scoped("send to handlers that run elsewhere by their routes alone", () =>
    Effect.gen(function* () {
      const shipping = Handler.command(Ship, ({ id }) => write(`shipped ${id}`)).pipe(Handler.asynchronous(Orders))
      const web = yield* process(backend, Handler.routes(shipping, on("A")))
      const worker = yield* process(backend, Handler.layer(shipping, on("A")))
      yield* web(ship("1"))
      yield* web(placed("1"))
      assert.strictEqual(yield* web(drain), 0, "handled where they are only routed")
      assert.strictEqual(yield* worker(drain), 2)
      yield* expectRows("shipped 1", "A 1")
    }).pipe(alone(backend))
  )

  it.scoped("move one saga from two processes at once: no update is lost, no attempt is burned", () => {
    const counting = Saga.make("Counting", { state: Schema.Number }).pipe(
      Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.succeed(1) }),
      Saga.on(Placed, { id: (_) => _.id, handle: (count) => Effect.as(Effect.yieldNow(), count + 1) })
    )
    const handlers = Handler.layer(counting.pipe(Handler.asynchronous(Orders)))
    return Effect.gen(function* () {
      const one = yield* process(backend, handlers)
      const two = yield* process(backend, handlers)
      yield* one(Effect.forEach(Array.from({ length: 30 }), () => placed("1")))
      yield* one(Layer.build(Consumer.layer(Orders, { lease: "1 hour" })))
      yield* two(Layer.build(Consumer.layer(Orders, { lease: "1 hour" })))
      yield* passUntil("all are handled", isEmpty())
      const instance = Option.getOrThrow(yield* Saga.get(counting, "1"))
      assert.deepStrictEqual([instance.state, instance.version], [30, 30])
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(alone(backend))
  })

  it.scoped("leave subscriptions once, whoever leaves them again", () =>
    Effect.gen(function* () {
      const after = yield* process(backend, Handler.layer(on("A"), on("B")))
      yield* after(Consumer.subscribe(Orders))
      yield* after(Consumer.subscribe(Orders))
      const subscriptions = yield* Effect.flatMap(MessageStore.MessageStore, (store) => store.subscriptions)
      assert.deepStrictEqual(subscriptions.map(({ endpoint }) => endpoint).toSorted(), ["A", "B"])
      yield* after(placed("1"))
      yield* expectWaiting(2)
    }).pipe(alone(backend))
  )
}
