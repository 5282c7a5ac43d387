/**
 * The journal of what happened: in the units in which it happened, and as the policies of channels have it.
 */
import { assert, it } from "@effect/vitest"
import { Channel, CommandBus, DeadLetter, Handler, Journal, Message, type MessageStore, Saga } from "@holdfast/core"
import { Effect, Layer, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  conflicting,
  drain,
  expectRefused,
  hour,
  minute,
  Orders,
  onlyLetter,
  Place,
  Placed,
  pass,
  place,
  placed,
  refuse,
  Ship,
  type System,
  ship,
  system
} from "./fixtures.ts"

class Silent extends Message.Command<Silent>()("Silent") {}
class Whole extends Message.Command<Whole>()("Whole", { payload: { secret: Schema.String } }) {}
class Off extends Channel.Tag<Off>()("test/Off", { messages: [Silent], journal: "Off" }) {}
class WithPayload extends Channel.Tag<WithPayload>()("test/WithPayload", {
  messages: [Whole],
  journal: { payload: true }
}) {}

/** Runs a test with these handlers, where channels that do not say it have this policy. */
const journalled = <R, P>(
  backend: Backend<R>,
  policy: MessageStore.JournalPolicy | undefined,
  handlers: Layer.Layer<P, unknown, System | R | Off | WithPayload>
) => {
  const all = system(backend).pipe(Layer.provideMerge(Layer.merge(backend.channel(Off), backend.channel(WithPayload))))
  const within = policy === undefined ? all : Layer.provide(all, Layer.succeed(Journal.DefaultPolicy, policy))
  return Effect.provide(Layer.provideMerge(handlers, within))
}

const search = (query: MessageStore.JournalQuery = {}) =>
  Effect.flatMap(Journal.Journal, (journal) =>
    Effect.map(journal.search({ order: "OldestFirst", ...query }), ({ rows }) => rows)
  )

const lines = Effect.map(search(), (rows) =>
  rows.map(({ attempt, endpoint, event, tag }) => `${event} ${tag} ${endpoint} ${attempt}`.replace("  ", " - "))
)

const expectLines = (...expected: ReadonlyArray<string>) =>
  Effect.map(lines, (actual) => assert.deepStrictEqual(actual, expected))

export const journal = <R>(backend: Backend<R>): void => {
  const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))

  it.effect("tells how a message came, was handled, and what it caused", () => {
    const placing = Handler.command(Place, ({ id }) => Effect.as(placed(id), ""))
    const confirming = Handler.event(Placed, { name: "Confirm", handle: ({ id }) => ship(id) }).pipe(
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* place("7", { headers: { correlationId: "order 7", tenant: "acme" } })
      yield* drain
      yield* expectLines(
        "Published Placed - 1",
        "Sent Placed Confirm 1",
        "Handled Place Place 1",
        "Sent Ship Ship 1",
        "Handled Placed Confirm 1",
        "Handled Ship Ship 1"
      )
      const journal = yield* Journal.Journal
      const rows = yield* journal.ofCorrelation("order 7")
      assert.strictEqual(rows.length, 6)
      for (const row of rows) assert.strictEqual(row.tenant, "acme")
      const [root, ...others] = Journal.trees(rows)
      assert.deepStrictEqual(others, [])
      const shape = (node: Journal.Node): unknown => [
        node.tag,
        node.rows.map(({ event }) => event),
        node.children.map(shape)
      ]
      assert.deepStrictEqual(shape(root!), [
        "Place",
        ["Handled"],
        [["Placed", ["Published", "Sent", "Handled"], [["Ship", ["Sent", "Handled"], []]]]]
      ])
      const [sent, handled] = yield* journal.ofMessage(root!.children[0]!.children[0]!.id)
      assert.deepStrictEqual([sent!.channel, handled!.channel], ["test/Orders", "test/Orders"])
      assert.isUndefined(sent!.worker)
      assert.isString(handled!.worker)
      assert.isNumber(handled!.durationMillis)
      assert.isUndefined(sent!.payload)
    }).pipe(journalled(backend, "All", Handler.layer(placing, confirming, shipping)))
  })

  it.effect("has nothing of a unit that was undone, nor of a scope", () => {
    const placing = Handler.command(Place, ({ id }) =>
      ship(id).pipe(Effect.zipRight(id === "caught" ? refuse() : Effect.succeed("")))
    )
    const catching = Handler.event(Placed, {
      name: "Catch",
      handle: () => Effect.orDie(Effect.catchTag(place("caught"), "Refused", () => Effect.succeed("")))
    }).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* expectRefused(place("caught"))
      yield* expectLines()
      yield* placed()
      yield* drain
      yield* expectLines("Published Placed - 1", "Sent Placed Catch 1", "Handled Placed Catch 1")
    }).pipe(journalled(backend, "All", Handler.layer(placing, catching, shipping)))
  })

  it.effect("has the attempts that failed, though their units were undone, and what became of the message", () => {
    let left = 2
    const failing = Handler.command(Ship, () =>
      Effect.zipRight(
        placed(),
        Effect.suspend(() => (left-- > 0 ? Effect.fail("no truck") : Effect.void))
      )
    ).pipe(
      Handler.asynchronous(Orders),
      Handler.retry(Schedule.spaced("1 minute").pipe(Schedule.intersect(Schedule.recurs(1))))
    )
    return Effect.gen(function* () {
      yield* ship()
      yield* advance(hour)
      yield* expectLines("Failed Ship Ship 1", "Retried Ship Ship 1", "Failed Ship Ship 2", "DeadLettered Ship Ship 2")
      const [failed, retried, , letter] = yield* search()
      assert.match(failed!.error!, /no truck/)
      assert.isNumber(failed!.durationMillis)
      assert.isString(failed!.worker)
      assert.approximately(retried!.dueAt! - retried!.at, minute, 1)
      assert.deepStrictEqual([letter!.reason, letter!.error], ["Exhausted", undefined])
      const deadLetters = yield* DeadLetter.DeadLetter
      yield* deadLetters.replay([(yield* onlyLetter).key])
      yield* drain
      assert.strictEqual((yield* lines).slice(4).join(), "Replayed Ship Ship 1")
    }).pipe(journalled(backend, undefined, Handler.layer(failing)))
  })

  it.effect("has nothing of what goes well, unless a policy says so", () =>
    Effect.gen(function* () {
      yield* ship()
      yield* drain
      yield* expectLines()
    }).pipe(journalled(backend, undefined, Handler.layer(shipping)))
  )

  it.effect("follows each channel's own policy, payloads included", () => {
    const silent = Handler.command(Silent, () => Effect.fail("no")).pipe(Handler.asynchronous(Off))
    const whole = Handler.command(Whole, () => Effect.void).pipe(Handler.asynchronous(WithPayload))
    return Effect.gen(function* () {
      yield* CommandBus.send(new Silent())
      yield* CommandBus.send(new Whole({ secret: "s" }))
      yield* drain
      yield* expectLines("Sent Whole Whole 1", "Handled Whole Whole 1")
      const [sent, handled] = yield* search()
      assert.strictEqual(sent!.payload, '{"secret":"s","_tag":"Whole"}')
      assert.isUndefined(handled!.payload)
    }).pipe(journalled(backend, "Failures", Handler.layer(silent, whole)))
  })

  it.effect("tells of what expired, and of what was discarded", () => {
    const dropping = Handler.command(Ship, () => Effect.fail("no")).pipe(
      Handler.asynchronous(Orders),
      Handler.deadLetter({ onGivenUp: "Discard" })
    )
    const late = Handler.event(Placed, { name: "Late", handle: () => Effect.void }).pipe(
      Handler.asynchronous(Orders),
      Handler.timeToLive("1 minute")
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* pass(2 * minute)
      yield* ship()
      yield* drain
      yield* expectLines("Expired Placed Late 1", "Failed Ship Ship 1", "Discarded Ship Ship 1")
    }).pipe(journalled(backend, undefined, Handler.layer(dropping, late)))
  })

  it.effect("tells of timers, with when they are due", () => {
    const waiting = Saga.make("Waiting", { state: Schema.Null }).pipe(
      Saga.startOn(Placed, { id: (_) => _.id, handle: () => Effect.as(Saga.arm("late", "1 hour"), null) }),
      Saga.onTimeout("late", { handle: () => Effect.succeed(Saga.complete(null)) }),
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      const [armed] = (yield* search({ event: "Sent" })).slice(1)
      assert.approximately(armed!.dueAt! - armed!.at, hour, 1)
      yield* advance(hour)
      assert.strictEqual((yield* search({ id: armed!.id, event: "Handled" })).length, 1)
    }).pipe(journalled(backend, "All", Handler.layer(waiting)))
  })

  it.effect("has one line of what was run again after a conflict, and none of what always meets one", () => {
    const conflicted = Handler.command(Ship, () => conflicting).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      yield* expectLines("Sent Ship Ship 1")
    }).pipe(journalled(backend, "All", Handler.layer(conflicted)))
  })

  it.effect("has what became of a broker's message", () => {
    const broker = makeBroker()
    const failing = Handler.command(Ship, ({ id }) => (id === "1" ? Effect.fail("no truck") : Effect.void)).pipe(
      Handler.asynchronous(Broker),
      Handler.retry(Schedule.spaced("1 minute").pipe(Schedule.intersect(Schedule.recurs(1))))
    )
    return Effect.gen(function* () {
      yield* ship("1")
      yield* drain
      yield* pass(minute)
      yield* drain
      yield* ship("2")
      yield* drain
      const told = yield* search({ channel: Broker.channelName })
      assert.deepStrictEqual(
        told.map(({ attempt, event }) => `${event} ${attempt}`),
        ["Sent 1", "Failed 1", "Retried 1", "Failed 2", "DeadLettered 2", "Sent 1", "Handled 1"]
      )
    }).pipe(journalled(backend, "All", Handler.layer(failing).pipe(Layer.provideMerge(broker.layer))))
  })

  it.effect("refuses a search that makes no sense", () =>
    Effect.gen(function* () {
      for (const query of [{ limit: 0 }, { after: "nowhere" }, { since: Number.NaN }]) {
        const error = yield* Effect.flip(search(query))
        assert.strictEqual(error.reason, "Rejected")
      }
    }).pipe(journalled(backend, undefined, Handler.layer(shipping)))
  )

  it.effect("is searched page by page", () =>
    Effect.gen(function* () {
      for (const id of ["1", "2", "3"]) yield* ship(id)
      const journal = yield* Journal.Journal
      const first = yield* journal.search({ limit: 2 })
      const second = yield* journal.search({ limit: 2, after: first.next })
      assert.strictEqual(second.next, undefined)
      const found = [...first.rows, ...second.rows]
      assert.deepStrictEqual(found.toReversed(), yield* search())
    }).pipe(journalled(backend, "All", Handler.layer(shipping)))
  )
}
