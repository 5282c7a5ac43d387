/**
 * What flow control, the ends of failed messages, replays and deduplication do together.
 */
import { assert, it } from "@effect/vitest"
import { Channel, Consumer, DeadLetter, Handler, Journal, type MessageStore, MessagingTest, Saga } from "@holdfast/core"
import { Effect, Layer, Option, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import { consume, ids, plain } from "./consuming.ts"
import {
  drain,
  eventually,
  expectRows,
  letters,
  minute,
  Orders,
  onlyLetter,
  Placed,
  pass,
  passUntil,
  placed,
  Ship,
  settle,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

const operator = DeadLetter.DeadLetter

const ofAcme = { headers: { tenant: "acme" } }

const depth = (channel: { readonly channelName: string } = Orders) =>
  using((store) =>
    Effect.map(store.depth(channel.channelName), ({ held = 0, ready, scheduled }) => [ready, scheduled, held])
  )

const isAll = (held: number, channel?: { readonly channelName: string }) =>
  Effect.map(depth(channel), ([ready, scheduled, now]) => ready === 0 && scheduled === 0 && now === held)

const last = Effect.flatMap(operator, ({ replays }) => Effect.map(replays, ([replay]) => replay!))

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

/** Fails until it is mended. */
const breaking = () => {
  const state = { broken: true }
  const handle = ({ id }: { readonly id: string }) =>
    Effect.suspend(() => (state.broken ? Effect.fail(`no ${id}`) : write(id)))
  return { state, handler: Handler.command(Ship, handle).pipe(Handler.asynchronous(Orders)) }
}

class Strict extends Channel.Tag<Strict>()("test/StrictTogether", {
  messages: [Ship, Placed],
  deadLetter: { onGivenUp: "Stop" }
}) {}

export const combined = <R>(backend: Backend<R>): void => {
  it.scoped("a tenant that is paused while a consumer has claimed ahead is held, and then handled, each once", () => {
    const howMany = 150
    const all = ids(howMany).map(String)
    return Effect.gen(function* () {
      yield* Consumer.pause(Orders)
      yield* Effect.forEach(all, (id, index) => ship(id, index % 2 === 0 ? ofAcme : undefined), { discard: true })
      yield* consume({ concurrency: 2 })
      yield* settle
      yield* Consumer.resume(Orders)
      yield* Consumer.pause({ tenant: "acme" })
      yield* passUntil(
        "only held ones are left",
        Effect.map(depth(), ([ready, scheduled]) => ready === 0 && scheduled === 0)
      )
      const [, , held] = yield* depth()
      yield* settle
      assert.strictEqual((yield* MessagingTest.handled(Ship)).length, howMany - held!)
      yield* Consumer.resume({ tenant: "acme" })
      yield* passUntil("all are handled", isAll(0))
      yield* settle
      yield* expectRows(...all)
    }).pipe(within(backend, Handler.layer(plain)))
  })

  it.effect("a replay onto a paused handler waits for its first ones until the handler is resumed", () => {
    const { handler, state } = breaking()
    return Effect.gen(function* () {
      for (const id of ["1", "2", "3"]) yield* ship(id)
      yield* drain
      state.broken = false
      yield* Consumer.pause({ handler: "Ship" })
      yield* Effect.flatMap(operator, ({ replayAll }) => replayAll({ endpoint: "Ship" }, { canary: 1 }))
      for (let times = 0; times < 3; times++) {
        yield* DeadLetter.runReplays
        yield* drain
        yield* pass(minute)
      }
      assert.deepStrictEqual(yield* depth(), [0, 0, 1])
      assert.deepStrictEqual([(yield* last).state, (yield* letters).length], ["Canary", 2])
      yield* Consumer.resume({ handler: "Ship" })
      yield* until("Done")
      yield* expectRows("1", "2", "3")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("first ones that a deduplicating handler has handled under another id count as handled", () => {
    const { handler, state } = breaking()
    return Effect.gen(function* () {
      for (let times = 0; times < 3; times++) yield* ship("1")
      yield* drain
      assert.lengthOf(yield* letters, 3)
      state.broken = false
      yield* Effect.flatMap(operator, ({ replayAll }) => replayAll({ endpoint: "Ship" }, { canary: 2 }))
      yield* until("Done")
      yield* expectRows("1")
      assert.lengthOf(yield* letters, 0)
    }).pipe(within(backend, Handler.layer(handler.pipe(Handler.deduplicate({ key: ({ id }) => id })))))
  })

  it.effect("what is held on a channel that was stopped stays there until both are resumed", () => {
    let broken = true
    const failingOne = Handler.command(Ship, ({ id }) =>
      Effect.suspend(() => (broken ? Effect.fail("no") : write(id)))
    ).pipe(Handler.asynchronous(Strict))
    const other = Handler.event(Placed, { name: "Confirm", handle: ({ id }) => write(`confirmed ${id}`) }).pipe(
      Handler.asynchronous(Strict)
    )
    return Effect.gen(function* () {
      yield* Consumer.pause({ handler: "Confirm" })
      yield* placed("1")
      yield* drain
      assert.deepStrictEqual(yield* depth(Strict), [0, 0, 1])
      yield* ship("2")
      yield* drain
      assert.deepStrictEqual(yield* Consumer.paused, [Strict.channelName])
      yield* Consumer.resume({ handler: "Confirm" })
      yield* drain
      yield* expectRows()
      broken = false
      yield* Consumer.resume(Strict)
      yield* drain
      yield* expectRows("2", "confirmed 1")
      assert.deepStrictEqual(yield* Consumer.pauses, [])
    }).pipe(within(backend, Handler.layer(failingOne, other).pipe(Layer.provideMerge(backend.channel(Strict)))))
  })

  it.scoped("a limit on a saga whose messages have an ordering key loses no update and no order", () => {
    const seen: Array<string> = []
    const saga = Saga.make("Limited", { state: Schema.Array(Schema.String) }).pipe(
      Saga.startOn(Placed, { id: ({ id }) => id.slice(0, 1), handle: ({ id }) => Effect.succeed([id]) }),
      Saga.on(Placed, {
        id: ({ id }) => id.slice(0, 1),
        handle: (state, { id }) =>
          Effect.as(
            Effect.sync(() => void seen.push(id)),
            [...state, id]
          )
      })
    )
    const limited = saga.pipe(
      Handler.asynchronous(Orders),
      Handler.orderedBy((message) => message.id.slice(0, 1)),
      Handler.concurrencyLimit({ limit: 1, key: ({ id }) => id.slice(0, 1) }),
      Handler.rateLimit({ limit: 5, interval: "1 second" })
    )
    return Effect.gen(function* () {
      yield* consume({ concurrency: 5 })
      yield* consume({ concurrency: 5 })
      for (let index = 0; index < 8; index++) for (const key of ["a", "b"]) yield* placed(`${key}${index}`)
      yield* passUntil("all are handled", isAll(0))
      yield* settle
      for (const key of ["a", "b"]) {
        const { state } = Option.getOrThrow(yield* Saga.get(saga, key))
        assert.deepStrictEqual(
          state,
          Array.from({ length: 8 }, (_, index) => `${key}${index}`)
        )
      }
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(limited)))
  })

  it.effect("a limited handler that fails, retries, is given up, edited and replayed tells all of it", () => {
    const { handler, state } = breaking()
    const limited = handler.pipe(
      Handler.retry(Schedule.recurs(1).pipe(Schedule.addDelay(() => "1 minute"))),
      Handler.concurrencyLimit({ limit: 1 })
    )
    return Effect.gen(function* () {
      yield* ship("1")
      yield* MessagingTest.advance("1 hour")
      const { envelope, key } = yield* onlyLetter
      state.broken = false
      const { edit, replay } = yield* operator
      yield* edit(key, JSON.stringify({ ...JSON.parse(envelope.payload), id: "mended" }))
      assert.strictEqual(yield* replay([key]), 1)
      yield* drain
      yield* expectRows("mended")
      const rows = yield* Effect.flatMap(Journal.Journal, ({ ofMessage }) => ofMessage(envelope.id))
      assert.deepStrictEqual(
        rows.map(({ attempt, event }) => `${event} ${attempt}`),
        ["Failed 1", "Retried 1", "Failed 2", "DeadLettered 2", "Replayed 1"]
      )
      yield* eventually("nothing is left", isAll(0))
    }).pipe(within(backend, Handler.layer(limited)))
  })
}
