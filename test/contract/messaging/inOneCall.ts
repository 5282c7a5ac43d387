/**
 * Many messages in one call: all of them or none, in their order.
 */
import { assert, it } from "@effect/vitest"
import { CommandBus, EventBus, Handler, type MessagingError, UnitOfWork } from "@holdfast/core"
import { Effect } from "effect"
import type { Backend } from "./backend.ts"
import {
  defect,
  drain,
  expectRefused,
  expectRows,
  expectShipped,
  expectWaiting,
  Mails,
  Orders,
  Paid,
  Place,
  Placed,
  Reserve,
  refuse,
  rejected,
  Ship,
  within,
  write
} from "./fixtures.ts"

const ships = (...ids: ReadonlyArray<string>) => ids.map((id) => new Ship({ id }))
const places = (...ids: ReadonlyArray<string>) => ids.map((id) => new Place({ id }))

/** Notes what it handles. */
const recording = () => {
  const seen: Array<string> = []
  const note = (what: string) => Effect.sync(() => void seen.push(what))
  return { note, seen }
}

const shipping = Handler.layer(Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders)))

export const inOneCall = <R>(backend: Backend<R>): void => {
  it.effect("commands reach the channel in their order, with what is said of all of them", () => {
    const { note, seen } = recording()
    const handlers = Handler.layer(Handler.command(Ship, ({ id }) => note(id)).pipe(Handler.asynchronous(Orders)))
    return Effect.gen(function* () {
      const answers = yield* CommandBus.sendAll(ships("a", "b", "c"), { priority: -1 })
      assert.deepStrictEqual(answers, [undefined, undefined, undefined])
      yield* CommandBus.sendAll(ships("urgent"))
      yield* expectShipped("a", "b", "c", "urgent")
      yield* drain
      assert.deepStrictEqual(seen, ["urgent", "a", "b", "c"])
    }).pipe(within(backend, handlers))
  })

  it.effect("commands that are none do nothing", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* CommandBus.sendAll([]), [])
      yield* EventBus.publishAll([])
      yield* expectShipped()
    }).pipe(within(backend, shipping))
  )

  it.effect("commands are not sent if one of them cannot be, also inside of a unit that goes on", () => {
    const handlers = Handler.layer(
      Handler.command(Ship, () => Effect.void).pipe(
        Handler.asynchronous(Orders),
        Handler.orderedBy(({ id }) => id)
      )
    )
    return Effect.gen(function* () {
      const some = CommandBus.sendAll(ships("a", "x".repeat(300), "c"))
      assert.include((yield* rejected(some)).detail, "The ordering key of Ship is 300 characters long")
      yield* expectShipped()
      yield* UnitOfWork.run(Effect.zipRight(Effect.ignore(some), CommandBus.sendAll(ships("d"))))
      yield* expectShipped("d")
    }).pipe(within(backend, handlers))
  })

  it.effect("commands of synchronous handlers are answered in their order, and undone together", () => {
    const handlers = Handler.layer(
      Handler.command(Place, ({ id }) => Effect.zipRight(write(id), id === "bad" ? refuse() : Effect.succeed(`${id}!`)))
    )
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* CommandBus.sendAll(places("a", "b")), ["a!", "b!"])
      yield* expectRefused(CommandBus.sendAll(places("c", "bad", "d")))
      yield* expectRows("a", "b")
    }).pipe(within(backend, handlers))
  })

  it.effect("commands of both kinds are one unit", () => {
    const handlers = Handler.layer(
      Handler.command(Reserve, ({ id }) => (id === "bad" ? refuse() : write(id))),
      Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
    )
    return Effect.gen(function* () {
      yield* expectRefused(CommandBus.sendAll([new Ship({ id: "1" }), new Reserve({ id: "bad" })]))
      yield* expectShipped()
      yield* CommandBus.sendAll([new Ship({ id: "2" }), new Reserve({ id: "3" })])
      yield* expectShipped("2")
      yield* expectRows("3")
    }).pipe(within(backend, handlers))
  })

  it.effect("commands inside of a unit become visible when it commits", () =>
    Effect.gen(function* () {
      const many = Array.from({ length: 2_500 }, (_, n) => new Ship({ id: `${n}` }))
      yield* Effect.ignore(UnitOfWork.run(Effect.zipRight(CommandBus.sendAll(many), Effect.fail("no"))))
      yield* expectWaiting(0)
      yield* UnitOfWork.run(Effect.zipRight(CommandBus.sendAll(many), expectWaiting(0)))
      yield* expectWaiting(2_500)
    }).pipe(within(backend, shipping))
  )

  it.effect("commands that nobody handles are a mistake, and none of the others is sent", () =>
    Effect.gen(function* () {
      const all = [new Ship({ id: "1" }), new Reserve({ id: "2" })]
      assert.strictEqual(
        yield* defect(Effect.flatMap(CommandBus.CommandBus, (bus) => bus.sendAll(all))),
        "No handler is registered for command Reserve"
      )
      yield* expectShipped()
    }).pipe(within(backend, shipping))
  )

  it.effect("events are handled in their order, and their copies reach the channels together", () => {
    const { note, seen } = recording()
    const on = (name: string) => Handler.event([Placed, Paid], { name, handle: ({ id }) => note(`${name} ${id}`) })
    const events = [new Placed({ id: "1" }), new Paid({ id: "2" })]
    return Effect.gen(function* () {
      yield* EventBus.publishAll(events)
      assert.deepStrictEqual(seen, ["now 1", "now 2"])
      yield* expectWaiting(2)
      yield* expectWaiting(2, Mails)
      yield* drain
      assert.deepStrictEqual(seen.toSorted(), ["later 1", "later 2", "mail 1", "mail 2", "now 1", "now 2"])
    }).pipe(
      within(
        backend,
        Handler.layer(
          on("now"),
          on("later").pipe(Handler.asynchronous(Orders)),
          on("mail").pipe(Handler.asynchronous(Mails))
        )
      )
    )
  })

  it.effect("events that only channels take are published whole or not at all", () => {
    const handlers = Handler.layer(
      Handler.event(Placed, { name: "Later", handle: () => Effect.void }).pipe(
        Handler.asynchronous(Orders),
        Handler.orderedBy(({ id }) => id)
      )
    )
    const publish = (
      ...ids: ReadonlyArray<string>
    ): Effect.Effect<void, MessagingError.MessagingError, EventBus.EventBus> =>
      EventBus.publishAll(ids.map((id) => new Placed({ id })))
    return Effect.gen(function* () {
      assert.include((yield* rejected(publish("a", "x".repeat(300)))).detail, "The ordering key of Placed")
      yield* expectWaiting(0)
      yield* publish("a", "b")
      yield* expectWaiting(2)
    }).pipe(within(backend, handlers))
  })
}
