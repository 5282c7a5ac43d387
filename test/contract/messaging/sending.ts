/**
 * What a sender may ask for, and what travels with a message.
 */
import { assert, it } from "@effect/vitest"
import { CommandBus, Envelope, EventBus, Handler, Headers, MessageScheduler } from "@holdfast/core"
import { DateTime, Effect, Schedule } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  drain,
  expectTimes,
  expectWaiting,
  hour,
  letters,
  Mails,
  minute,
  Orders,
  onlyLetter,
  Paid,
  Place,
  Placed,
  place,
  placed,
  Reserve,
  rejected,
  reserve,
  Ship,
  ship,
  using,
  within
} from "./fixtures.ts"

/** Notes what it handles, and when since the test began. */
const recording = () => {
  const seen: Array<{ readonly id: string; readonly at: number }> = []
  const handler = Handler.command(Ship, ({ id }) =>
    Effect.map(Effect.orDie(using((store) => store.now)), (at) => void seen.push({ id, at }))
  ).pipe(Handler.asynchronous(Orders))
  return { handler, ids: () => seen.map(({ id }) => id), times: (start: number) => seen.map(({ at }) => at - start) }
}

/** What comes of SQL, as a handler may end with it. */
const rows = () => Effect.succeed(["a row"])

const now = using((store) => store.now)

export const options = <R>(backend: Backend<R>): void => {
  it.effect("a command that declares no reply is answered with nothing, whatever its handler gives", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* reserve())
      for (const _ of [1, 2]) assert.isUndefined(yield* ship("1", { idempotencyKey: "1" }))
    }).pipe(within(backend, Handler.layer(Handler.command(Reserve, rows), Handler.command(Ship, rows))))
  )

  it.effect("delay holds a message back, and never lets it come early", () => {
    const { handler, ids, times } = recording()
    return Effect.gen(function* () {
      const start = yield* now
      yield* ship("later", { delay: "10 minutes" })
      yield* ship("now")
      yield* drain
      assert.deepStrictEqual(ids(), ["now"])
      yield* advance("9 minutes")
      assert.deepStrictEqual(ids(), ["now"])
      yield* advance("2 minutes")
      assert.deepStrictEqual(ids(), ["now", "later"])
      expectTimes(backend, times(start), [0, 10 * minute])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("at holds a message back until an instant, and wins over delay", () => {
    const { handler, ids, times } = recording()
    return Effect.gen(function* () {
      const start = yield* now
      yield* ship("date", { at: new Date(start + 2 * hour), delay: "1 minute" })
      yield* ship("date time", { at: DateTime.unsafeMake(start + 3 * hour) })
      yield* ship("delay", { delay: "1 hour" })
      yield* advance("4 hours")
      assert.deepStrictEqual(ids(), ["delay", "date", "date time"])
      expectTimes(backend, times(start), [hour, 2 * hour, 3 * hour])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("an instant in the past is due at once", () => {
    const { handler, ids } = recording()
    return Effect.gen(function* () {
      yield* advance("1 hour")
      const start = yield* now
      yield* ship("past", { at: new Date(start - hour) })
      assert.strictEqual(yield* drain, 1)
      assert.deepStrictEqual(ids(), ["past"])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("priority comes first, then the order in which messages were sent", () => {
    const { handler, ids } = recording()
    return Effect.gen(function* () {
      yield* ship("a")
      yield* ship("b", { priority: 5 })
      yield* ship("c", { priority: -1 })
      yield* ship("d", { priority: 5 })
      yield* ship("e", { priority: 9, delay: "1 hour" })
      yield* drain
      assert.deepStrictEqual(ids(), ["b", "d", "a", "c"])
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("delay, at and priority are refused for a command that is handled while its sender waits", () =>
    Effect.gen(function* () {
      for (const option of [{ delay: "1 second" }, { at: new Date(0) }, { priority: 1 }] as const) {
        const error = yield* rejected(place("1", option))
        assert.strictEqual(error.reason, "Rejected")
        assert.match(error.detail, /Place is handled while its sender waits.*add Handler.asynchronous/)
      }
    }).pipe(within(backend, Handler.layer(Handler.command(Place, () => Effect.succeed("")))))
  )

  it.effect("a handler's own delay applies where the sender asks for nothing", () => {
    const { handler, ids } = recording()
    return Effect.gen(function* () {
      yield* ship("handler's")
      yield* ship("sender's", { delay: "10 minutes" })
      yield* advance("30 minutes")
      assert.deepStrictEqual(ids(), ["sender's"])
      yield* advance("40 minutes")
      assert.deepStrictEqual(ids(), ["sender's", "handler's"])
    }).pipe(within(backend, Handler.layer(handler.pipe(Handler.delay("1 hour")))))
  })

  it.effect("a handler's delay may depend on the message", () => {
    const { handler, ids } = recording()
    return Effect.gen(function* () {
      yield* ship("60")
      yield* ship("5")
      yield* ship("0")
      yield* advance("2 hours")
      assert.deepStrictEqual(ids(), ["0", "5", "60"])
    }).pipe(within(backend, Handler.layer(handler.pipe(Handler.delay(({ id }) => `${Number(id)} minutes` as const)))))
  })

  it.effect("a waiting message can be listed, moved and cancelled", () => {
    const { handler, ids } = recording()
    return Effect.gen(function* () {
      const scheduler = yield* MessageScheduler.MessageScheduler
      yield* ship("moved", { delay: "3 hours" })
      yield* ship("cancelled", { delay: "2 hours" })
      yield* ship("kept", { delay: "1 hour" })
      const waiting = yield* scheduler.list({ endpoint: "Ship" })
      assert.deepStrictEqual(
        waiting.map(({ envelope }) => JSON.parse(envelope.payload).id),
        ["kept", "cancelled", "moved"]
      )
      assert.isTrue(yield* scheduler.cancel(waiting[1]!.key))
      assert.isFalse(yield* scheduler.cancel(waiting[1]!.key))
      assert.isTrue(yield* scheduler.move(waiting[2]!.key, "1 minute"))
      yield* advance("5 hours")
      assert.deepStrictEqual(ids(), ["moved", "kept"])
      assert.isFalse(yield* scheduler.move(waiting[2]!.key, "1 minute"))
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("a delay of a publisher holds back all copies, and wins over a handler's own; an instant over both", () => {
    const seen: Array<string> = []
    const on = (name: string) =>
      Handler.event(Placed, { name, handle: () => Effect.sync(() => void seen.push(name)) }).pipe(
        Handler.asynchronous(Orders)
      )
    return Effect.gen(function* () {
      yield* placed("1", { delay: "10 minutes" })
      yield* advance("5 minutes")
      assert.deepStrictEqual(seen, [])
      yield* advance("10 minutes")
      assert.deepStrictEqual(seen.splice(0).toSorted(), ["A", "B"])
      yield* placed("2", { at: new Date((yield* now) + 2 * hour), delay: "10 minutes" })
      yield* advance("119 minutes")
      assert.deepStrictEqual(seen, [])
      yield* advance("2 minutes")
      assert.deepStrictEqual(seen.toSorted(), ["A", "B"])
    }).pipe(within(backend, Handler.layer(on("A"), on("B").pipe(Handler.delay("1 hour")))))
  })
}

export const headers = <R>(backend: Backend<R>): void => {
  it.effect("come with an idempotency key that is one handler's, and the same at every attempt", () => {
    const keys: Record<string, Array<string>> = { A: [], B: [] }
    const on = (name: "A" | "B") =>
      Handler.event(Placed, {
        name,
        handle: () =>
          Effect.flatMap(Envelope.idempotencyKey, (key) =>
            keys[name]!.push(key) < 2 ? Effect.fail("again") : Effect.void
          )
      }).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(3)))
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      assert.strictEqual(keys.A![0], keys.A![1])
      assert.strictEqual(keys.B![0], keys.B![1])
      assert.notStrictEqual(keys.A![0], keys.B![0])
    }).pipe(within(backend, Handler.layer(on("A"), on("B"))))
  })

  const looking = () => {
    const seen: Array<Envelope.Metadata> = []
    return { seen, look: Effect.map(Envelope.CurrentEnvelope, (envelope) => void seen.push(envelope)) }
  }

  it.effect("of the sender and of the conversation pass over synchronous and asynchronous hops", () => {
    const { look, seen } = looking()
    const handlers = Handler.layer(
      Handler.command(Place, () => Effect.as(Effect.zipRight(look, reserve()), "")),
      Handler.command(Reserve, () => Effect.zipRight(look, ship("1", { headers: { step: "two" } }))),
      Handler.command(Ship, () => Effect.zipRight(look, placed())).pipe(Handler.asynchronous(Orders)),
      Handler.event(Placed, { name: "A", handle: () => look }).pipe(Handler.asynchronous(Mails))
    )
    return Effect.gen(function* () {
      yield* place("1", { headers: { [Headers.tenant]: "acme", step: "one" } })
      yield* drain
      assert.deepStrictEqual(
        seen.map(({ tag }) => tag),
        ["Place", "Reserve", "Ship", "Placed"]
      )
      assert.deepStrictEqual(
        seen.map(({ headers }) => headers[Headers.tenant]),
        ["acme", "acme", "acme", "acme"]
      )
      assert.deepStrictEqual(
        seen.map(({ headers }) => headers.step),
        ["one", "one", "two", "two"]
      )
      for (const { headers } of seen) assert.strictEqual(headers[Headers.correlationId], seen[0]!.id)
      assert.deepStrictEqual(
        seen.map(({ headers }) => headers[Headers.causationId]),
        [undefined, seen[0]!.id, seen[1]!.id, seen[2]!.id]
      )
      assert.strictEqual(new Set(seen.map(({ id }) => id)).size, 4)
    }).pipe(within(backend, handlers))
  })

  it.effect("keep the conversation that the first sender chose, against all later ones", () => {
    const { look, seen } = looking()
    const handlers = Handler.layer(
      Handler.command(Place, () =>
        Effect.as(Effect.zipRight(look, ship("1", { headers: { correlationId: "stranger" } })), "")
      ),
      Handler.command(Ship, () => look).pipe(Handler.asynchronous(Orders))
    )
    return Effect.gen(function* () {
      yield* place("1", { headers: { correlationId: "conversation 7" } })
      yield* drain
      for (const { headers } of seen) assert.strictEqual(headers[Headers.correlationId], "conversation 7")
      assert.strictEqual(seen.length, 2)
    }).pipe(within(backend, handlers))
  })

  it.effect("that are the runtime's own cannot be set by a sender", () => {
    const { look, seen } = looking()
    return Effect.gen(function* () {
      const forged = { causationId: "x", timestamp: "x", replayedAt: "x", traceparent: "x", messageVersion: "9" } as {}
      yield* CommandBus.send(new Ship({ id: "1" }), { headers: forged })
      yield* drain
      const { headers } = seen[0]!
      assert.isUndefined(headers[Headers.causationId])
      assert.isUndefined(headers[Headers.replayedAt])
      assert.isUndefined(headers[Headers.messageVersion])
      assert.notStrictEqual(headers[Headers.timestamp], "x")
      assert.notStrictEqual(headers[Headers.traceparent], "x")
    }).pipe(within(backend, Handler.layer(Handler.command(Ship, () => look).pipe(Handler.asynchronous(Orders)))))
  })

  it.effect("stay with a message over its retries and its replay", () => {
    const { look, seen } = looking()
    const failing = Handler.command(Ship, () => Effect.zipRight(look, Effect.fail("no"))).pipe(
      Handler.asynchronous(Orders),
      Handler.retry(Schedule.intersect(Schedule.spaced("1 minute"), Schedule.recurs(1)))
    )
    return Effect.gen(function* () {
      yield* ship("1", { headers: { tenant: "acme" } })
      yield* advance("5 minutes")
      const letter = yield* onlyLetter
      yield* using((store) => store.replay([letter.key]))
      yield* drain
      assert.deepStrictEqual(
        seen.map(({ attempt }) => attempt),
        [1, 2, 1]
      )
      const [first, second, replayed] = seen
      assert.deepStrictEqual(second!.headers, first!.headers)
      const { replayedAt, replayOf, ...rest } = replayed!.headers
      assert.isDefined(replayedAt)
      assert.isDefined(replayOf)
      assert.deepStrictEqual(rest, first!.headers)
      assert.strictEqual(replayed!.id, first!.id)
    }).pipe(within(backend, Handler.layer(failing)))
  })

  it.effect("of a replayed message do not pass on that it was replayed", () => {
    const { look, seen } = looking()
    let mended = false
    const handlers = Handler.layer(
      Handler.command(Ship, () =>
        Effect.if(
          Effect.sync(() => mended),
          { onTrue: () => placed(), onFalse: () => Effect.fail("no") }
        )
      ).pipe(Handler.asynchronous(Orders)),
      Handler.event(Placed, { name: "A", handle: () => look })
    )
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      mended = true
      const letter = yield* onlyLetter
      yield* using((store) => store.replay([letter.key]))
      yield* drain
      assert.isUndefined(seen[0]!.headers[Headers.replayedAt])
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, handlers))
  })

  it.effect("and id are the same in all copies of an event", () => {
    const { look, seen } = looking()
    const on = (name: string) => Handler.event([Placed, Paid], { name, handle: () => look })
    return Effect.gen(function* () {
      yield* EventBus.publish(new Paid({ id: "1" }), { headers: { tenant: "acme" } })
      yield* drain
      yield* expectWaiting(0)
      assert.strictEqual(seen.length, 3)
      assert.strictEqual(new Set(seen.map(({ id }) => id)).size, 1)
      assert.deepStrictEqual(seen.map(({ endpoint }) => endpoint).toSorted(), ["A", "B", "C"])
      for (const { headers } of seen) assert.deepStrictEqual(headers, seen[0]!.headers)
    }).pipe(
      within(
        backend,
        Handler.layer(on("A"), on("B").pipe(Handler.asynchronous(Orders)), on("C").pipe(Handler.asynchronous(Mails)))
      )
    )
  })
}
