/**
 * At three in the morning: what failed alike is found, one letter is tried, and the rest follows.
 */
import { assert, it } from "@effect/vitest"
import { Channel, DeadLetter, Handler, type MessageStore, MessagingTest } from "@holdfast/core"
import { Effect, Exit, Layer, Option, Scope } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  drain,
  expectRows,
  letters,
  Mails,
  minute,
  Orders,
  onlyLetter,
  Placed,
  pass,
  passUntil,
  placed,
  rejected,
  Ship,
  second,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

const service = DeadLetter.DeadLetter

/** Fails until it is mended; some for ever. */
const breaking = () => {
  const state = { broken: true }
  const handler = Handler.command(Ship, ({ id }) =>
    Effect.suspend(() => (state.broken || id.startsWith("bad") ? Effect.fail(`no ${id}`) : write(id)))
  ).pipe(Handler.asynchronous(Orders))
  return { state, handler }
}

const shipped = (...ids: ReadonlyArray<string>) => Effect.forEach(ids, (id) => ship(id), { discard: true })

/** How the last replay stands. */
const last = Effect.flatMap(service, (deadLetters) => Effect.map(deadLetters.replays, ([replay]) => replay!))

/** Takes steps and lets messages be handled, second by second, until the last replay is in that state. */
const until = (state: MessageStore.ReplayState) =>
  passUntil(
    `the replay is ${state}`,
    Effect.gen(function* () {
      yield* DeadLetter.runReplays
      yield* drain
      return (yield* last).state === state
    })
  )

export const operators = <R>(backend: Backend<R>): void => {
  it.effect("go from the groups to one letter and its history", () => {
    const { handler } = breaking()
    const other = Handler.event(Placed, { name: "Other", handle: () => Effect.dieMessage("a bug") }).pipe(
      Handler.asynchronous(Mails)
    )
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* shipped("1", "2")
      yield* placed()
      yield* drain
      const [largest, ...others] = yield* deadLetters.groups()
      assert.deepStrictEqual([largest!.count, largest!.endpoints, largest!.reasons], [2, ["Ship"], ["Exhausted"]])
      assert.lengthOf(others, 1)
      const page = yield* deadLetters.search({ fingerprint: largest!.fingerprint, text: '"id":"2"' })
      assert.lengthOf(page.letters, 1)
      const letter = Option.getOrThrow(yield* deadLetters.get(page.letters[0]!.key))
      assert.deepStrictEqual(JSON.parse(letter.envelope.payload), { _tag: "Ship", id: "2" })
      assert.include(letter.envelope.failures[0]!.error, "no 2")
      assert.strictEqual(yield* deadLetters.count({ reason: "Defect" }), 1)
      assert.deepStrictEqual(yield* deadLetters.get("no key"), Option.none())
    }).pipe(within(backend, Handler.layer(handler, other)))
  })

  it.effect("replay a few first, and the rest once those are handled", () => {
    const { handler, state } = breaking()
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* shipped("1", "2", "3", "4")
      yield* drain
      state.broken = false
      const replay = yield* deadLetters.replayAll({ endpoint: "Ship" }, { canary: 2 })
      assert.deepStrictEqual([replay.state, replay.total], ["Pending", 4])
      assert.strictEqual(yield* DeadLetter.runReplays, 2)
      yield* pass(minute)
      assert.strictEqual(yield* DeadLetter.runReplays, 0, "while they wait for a consumer")
      assert.strictEqual((yield* last).state, "Canary")
      yield* until("Done")
      yield* expectRows("1", "2", "3", "4")
      assert.deepStrictEqual([(yield* last).replayed, (yield* letters).length], [4, 0])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  for (const policy of ["Park", "Discard", "Resend"] as const) {
    it.effect(`leave the rest where it is when one of the first ones is given up again: ${policy}`, () => {
      const { handler, state } = breaking()
      // another build of the process, with a registry of its own
      const rebuilt = Handler.layer(
        handler.pipe(Handler.deadLetter({ onGivenUp: policy, resendAfter: "1 hour" }))
      ).pipe(Layer.provideMerge(MessagingTest.layerStore))
      return Effect.gen(function* () {
        yield* shipped("bad 1", "2", "3")
        yield* drain
        state.broken = false
        yield* Effect.gen(function* () {
          yield* Effect.flatMap(service, (deadLetters) => deadLetters.replayAll({ tag: "Ship" }, { canary: 2 }))
          yield* until("Stopped")
        }).pipe(Effect.provide(rebuilt))
        const { detail, replayed } = yield* last
        assert.strictEqual(detail, "1 of the 2 letters that were replayed first were given up again")
        assert.strictEqual(replayed, 2)
        yield* expectRows("2")
        assert.strictEqual((yield* letters).length, policy === "Park" ? 2 : 1)
      }).pipe(within(backend, Handler.layer(handler)))
    })
  }

  it.effect("replay so many in each interval", () => {
    const { handler, state } = breaking()
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* shipped("1", "2", "3", "4", "5")
      yield* drain
      state.broken = false
      yield* deadLetters.replayAll({}, { rate: { limit: 2, interval: "1 minute" } })
      const counts: Array<number> = []
      for (let round = 0; round < 3; round++) {
        counts.push(yield* DeadLetter.runReplays)
        counts.push(yield* DeadLetter.runReplays)
        yield* pass(minute + second)
      }
      assert.deepStrictEqual(counts, [2, 0, 2, 0, 1, 0])
      assert.strictEqual((yield* last).state, "Done")
      yield* drain
      yield* expectRows("1", "2", "3", "4", "5")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("have replays carried on by any process: the next goes on where one was lost", () => {
    const { handler, state } = breaking()
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* shipped("1", "2", "3", "4")
      yield* drain
      state.broken = false
      const worker = Effect.gen(function* () {
        const scope = yield* Scope.make()
        yield* Layer.buildWithScope(DeadLetter.layerWorker, scope)
        return scope
      })
      const first = yield* worker
      yield* deadLetters.replayAll({}, { rate: { limit: 1, interval: "10 seconds" } })
      yield* passUntil(
        "it has begun",
        Effect.map(last, ({ replayed }) => replayed > 0)
      )
      yield* Scope.close(first, Exit.void)
      const { replayed } = yield* last
      yield* pass(minute)
      assert.strictEqual((yield* last).replayed, replayed, "nobody is there")
      const [one, two] = [yield* worker, yield* worker]
      yield* passUntil(
        "it is done",
        Effect.map(last, (replay) => replay.state === "Done")
      )
      yield* Effect.all([Scope.close(one, Exit.void), Scope.close(two, Exit.void)])
      assert.strictEqual((yield* last).replayed, 4)
      yield* drain
      yield* expectRows("1", "2", "3", "4")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("do not replay again what comes back meanwhile", () => {
    const { handler, state } = breaking()
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* shipped("bad 1", "2")
      yield* drain
      state.broken = false
      yield* deadLetters.replayAll({}, { rate: { limit: 1, interval: "1 second" } })
      yield* until("Done")
      assert.strictEqual((yield* last).replayed, 2)
      yield* onlyLetter
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("cancel a replay", () => {
    const { handler } = breaking()
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* shipped("1", "2")
      yield* drain
      const { id } = yield* deadLetters.replayAll({}, { canary: 1 })
      assert.isTrue(yield* deadLetters.cancelReplay(id))
      assert.isFalse(yield* deadLetters.cancelReplay(id))
      assert.strictEqual(yield* DeadLetter.runReplays, 0)
      assert.strictEqual((yield* last).state, "Cancelled")
      assert.lengthOf(yield* letters, 2)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("mend a payload, which is checked, and replay it under its old id", () => {
    const seen: Array<string> = []
    const handler = Handler.command(Ship, ({ id }, envelope) =>
      id === "wrong" ? Effect.fail("no") : Effect.sync(() => void seen.push(`${id} ${envelope.id}`))
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* ship("wrong")
      yield* drain
      const { envelope, key } = yield* onlyLetter
      assert.include((yield* rejected(deadLetters.edit(key, "{"))).detail, "it is not JSON")
      const refusal = yield* rejected(deadLetters.edit(key, '{"_tag":"Ship","id":7}'))
      assert.include(refusal.detail, `The payload for dead letter "${key}" was refused: Ship does not decode it`)
      assert.include((yield* rejected(deadLetters.edit("999999", "{}"))).detail, "There is no dead letter")
      assert.isUndefined((yield* onlyLetter).original)
      assert.deepStrictEqual(yield* deadLetters.edit(key, '{"_tag":"Ship","id":"right"}'), { checked: true })
      assert.strictEqual((yield* onlyLetter).original, envelope.payload)
      yield* deadLetters.replay([key])
      yield* drain
      assert.deepStrictEqual(seen, [`right ${envelope.id}`])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("are told when a payload could not be checked, since the handler is elsewhere", () =>
    Effect.gen(function* () {
      const deadLetters = yield* service
      yield* using((store) =>
        store.commit([
          [
            {
              _tag: "Park",
              channel: "elsewhere",
              lease: undefined,
              envelope: { id: "1", tag: "A", endpoint: "B", attempt: 1, headers: {}, payload: "{}", failures: [] },
              reason: "Defect",
              error: "",
              fingerprint: ""
            }
          ]
        ])
      )
      const { key } = yield* onlyLetter
      assert.deepStrictEqual(yield* deadLetters.edit(key, '{"any":1}'), { checked: false })
    }).pipe(within(backend, Layer.empty))
  )

  it.effect("discard and put away all that match, and never all there is by mistake", () => {
    const { handler } = breaking()
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* shipped("1", "2", "3")
      yield* drain
      assert.include((yield* rejected(deadLetters.discard({}))).detail, "would discard every dead letter")
      assert.include((yield* rejected(deadLetters.discard({ tag: undefined }))).detail, "would discard")
      assert.include((yield* rejected(deadLetters.discard({ archived: false }))).detail, "would discard")
      assert.include((yield* rejected(deadLetters.discard({ text: "" }))).detail, "would discard")
      assert.strictEqual(yield* deadLetters.archive({ text: "no 1" }), 1)
      assert.strictEqual(yield* deadLetters.discard({ text: "no 2" }), 1)
      assert.lengthOf(yield* letters, 1)
      const [away] = yield* deadLetters.list({ archived: true })
      assert.strictEqual(yield* deadLetters.restore([away!.key]), 1)
      assert.strictEqual(yield* deadLetters.discard({ since: 0 }), 2)
      assert.isEmpty(yield* letters)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("have old letters put away and forgotten, as their channel says", () => {
    class Kept extends Channel.Tag<Kept>()("test/Kept", {
      messages: [Ship],
      deadLetter: { archiveAfter: "1 day", deleteAfter: "3 days" }
    }) {}
    const handler = Handler.command(Ship, () => Effect.fail("no")).pipe(Handler.asynchronous(Kept))
    return Effect.gen(function* () {
      const deadLetters = yield* service
      yield* ship()
      yield* drain
      assert.strictEqual(yield* DeadLetter.runRetention, 0)
      yield* advance("25 hours")
      assert.strictEqual(yield* DeadLetter.runRetention, 1)
      assert.deepStrictEqual([yield* deadLetters.count(), yield* deadLetters.count({ archived: true })], [0, 1])
      yield* advance("3 days")
      assert.strictEqual(yield* DeadLetter.runRetention, 1)
      assert.strictEqual(yield* deadLetters.count({ archived: true }), 0)
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(backend.channel(Kept)))))
  })

  it.effect("are refused numbers and times that are none", () =>
    Effect.gen(function* () {
      const deadLetters = yield* service
      for (const limit of [0, -1, 1.5, Number.NaN]) {
        yield* rejected(deadLetters.groups({ limit }))
        yield* rejected(deadLetters.search({ limit }))
        yield* rejected(deadLetters.replayAll({}, { rate: { limit, interval: "1 second" } }))
      }
      yield* rejected(deadLetters.search({ since: Number.NaN }))
      yield* rejected(deadLetters.replayAll({ until: Number.NaN }))
      yield* rejected(deadLetters.replayAll({}, { canary: -1 }))
      yield* rejected(deadLetters.replayAll({}, { rate: { limit: 1, interval: 0 } }))
      assert.isEmpty(yield* deadLetters.replays)
    }).pipe(within(backend, Layer.empty))
  )
}
