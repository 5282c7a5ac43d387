/**
 * Messages that cannot be handled end with the dead letters, with their bytes and their history.
 */
import { assert, it } from "@effect/vitest"
import {
  Channel,
  CommandBus,
  Envelope,
  Handler,
  Message,
  type MessageStore,
  MessagingError,
  MessagingTest
} from "@holdfast/core"
import { Effect, Layer, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  conflicting,
  drain,
  expectRows,
  expectWaiting,
  letters,
  Mails,
  minute,
  Orders,
  onlyLetter,
  Placed,
  placed,
  rejected,
  Ship,
  ship,
  using,
  within,
  write
} from "./fixtures.ts"

class Bin extends Message.Command<Bin>()("Bin") {}
class Discarding extends Channel.Tag<Discarding>()("test/Discarding", {
  messages: [Bin],
  deadLetter: { onGivenUp: "Discard" }
}) {}
class Big extends Message.Command<Big>()("Big", { success: Schema.Number }) {}

const failing = Handler.command(Ship, ({ id }) => Effect.fail(`no ${id}`)).pipe(Handler.asynchronous(Orders))

const raw = (envelope: Partial<Envelope.Envelope>): MessageStore.Send => ({
  _tag: "Send",
  channel: Orders.channelName,
  envelope: {
    id: "1",
    tag: "Ship",
    endpoint: "Ship",
    attempt: 1,
    headers: {},
    payload: "{}",
    failures: [],
    ...envelope
  },
  priority: 0,
  due: undefined,
  timer: undefined
})

const put = (envelope: Partial<Envelope.Envelope>) => using((store) => store.commit([[raw(envelope)]]))

export const deadLetters = <R>(backend: Backend<R>): void => {
  it.effect("keep the message as it was sent, why it ended, and how it failed", () =>
    Effect.gen(function* () {
      yield* ship("1", { headers: { tenant: "acme" } })
      yield* drain
      const { channel, envelope, error, fingerprint, reason } = yield* onlyLetter
      assert.strictEqual(channel, Orders.channelName)
      assert.strictEqual(reason, "Exhausted")
      assert.include(error, "no 1")
      assert.include(fingerprint, "Ship")
      assert.deepStrictEqual(JSON.parse(envelope.payload), { _tag: "Ship", id: "1" })
      assert.strictEqual(envelope.headers.tenant, "acme")
      assert.strictEqual(envelope.endpoint, "Ship")
      assert.strictEqual(envelope.failures.length, 1)
      yield* expectWaiting(0)
      const logged = yield* MessagingTest.log
      assert.isTrue(logged.some((entry) => entry._tag === "DeadLettered" && entry.reason === "Exhausted"))
    }).pipe(within(backend, Handler.layer(failing)))
  )

  it.effect("of one kind of failure share a fingerprint", () =>
    Effect.gen(function* () {
      yield* Effect.all([ship("1"), ship("22")])
      yield* drain
      const [first, second] = yield* letters
      assert.strictEqual(first!.fingerprint, second!.fingerprint)
      assert.strictEqual((yield* using((store) => store.deadLetters({ fingerprint: first!.fingerprint }))).length, 2)
    }).pipe(within(backend, Handler.layer(failing)))
  )

  it.effect("go back to the handler that failed, and to no other", () => {
    let mended = false
    const on = (name: string, fails: () => boolean) =>
      Handler.event(Placed, {
        name,
        handle: () => Effect.zipRight(write(`${name} ${mended}`), fails() ? Effect.fail("no") : Effect.void)
      }).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      yield* expectRows("B false")
      mended = true
      const { key } = yield* onlyLetter
      assert.strictEqual(yield* using((store) => store.replay([key])), 1)
      assert.strictEqual(yield* using((store) => store.replay([key])), 0)
      yield* drain
      yield* expectRows("B false", "A true")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(
      within(
        backend,
        Handler.layer(
          on("A", () => !mended),
          on("B", () => false)
        )
      )
    )
  })

  it.effect("begin their retries again when they are replayed", () => {
    let runs = 0
    const handler = Handler.command(Ship, () =>
      Effect.zipRight(
        Effect.sync(() => runs++),
        Effect.fail("no")
      )
    ).pipe(
      Handler.asynchronous(Orders),
      Handler.retry(Schedule.intersect(Schedule.spaced("1 minute"), Schedule.recurs(1)))
    )
    return Effect.gen(function* () {
      yield* ship()
      yield* advance("5 minutes")
      assert.strictEqual(runs, 2)
      const { key } = yield* onlyLetter
      yield* using((store) => store.replay([key]))
      yield* advance("5 minutes")
      assert.strictEqual(runs, 4)
      assert.strictEqual((yield* onlyLetter).envelope.failures.length, 2)
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("take a defect at once, whatever the schedule, and the consumer goes on", () => {
    const handler = Handler.command(Ship, ({ id }) => (id === "bad" ? Effect.dieMessage("bug") : write(id))).pipe(
      Handler.asynchronous(Orders),
      Handler.retry(Schedule.spaced("1 second"))
    )
    return Effect.gen(function* () {
      yield* Effect.all([ship("a"), ship("bad"), ship("b")])
      yield* drain
      yield* expectRows("a", "b")
      const { error, reason } = yield* onlyLetter
      assert.strictEqual(reason, "Defect")
      assert.include(error, "bug")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("take a handler whose function throws, at once, and the consumer goes on", () => {
    const thrower = Handler.command(Ship, ({ id }) => {
      if (id === "bad") throw new Error("bug")
      return write(id)
    }).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* Effect.all([ship("bad"), ship("b")])
      yield* drain
      yield* expectRows("b")
      const { error, reason } = yield* onlyLetter
      assert.strictEqual(reason, "Defect")
      assert.include(error, "bug")
    }).pipe(within(backend, Handler.layer(thrower)))
  })

  it.effect("take a handler that interrupts itself, and the consumer goes on", () => {
    const handler = Handler.command(Ship, ({ id }) => (id === "bad" ? Effect.interrupt : write(id))).pipe(
      Handler.asynchronous(Orders),
      Handler.retry(Schedule.spaced("1 second"))
    )
    return Effect.gen(function* () {
      yield* Effect.all([ship("bad"), ship("b")])
      yield* advance("1 minute")
      yield* expectRows("b")
      assert.strictEqual((yield* onlyLetter).reason, "Defect")
    }).pipe(within(backend, Handler.layer(handler)))
  })

  it.effect("take what does not decode, with its bytes", () =>
    Effect.gen(function* () {
      yield* put({ id: "1", payload: '{"_tag":"Ship", "id":7}' })
      yield* put({ id: "2", payload: "no json" })
      yield* ship("good")
      yield* drain
      yield* expectRows("good")
      const rows = yield* letters
      assert.deepStrictEqual(
        rows.map(({ envelope, reason }) => [reason, envelope.payload]),
        [
          ["Undecodable", "no json"],
          ["Undecodable", '{"_tag":"Ship", "id":7}']
        ]
      )
    }).pipe(
      within(backend, Handler.layer(Handler.command(Ship, ({ id }) => write(id)).pipe(Handler.asynchronous(Orders))))
    )
  )

  it.effect("do not take at once what nobody here knows: it waits for another version", () =>
    Effect.gen(function* () {
      yield* put({ id: "1", endpoint: "Stranger" })
      yield* put({ id: "2", tag: "Stranger", payload: '{"_tag":"Stranger"}' })
      yield* drain
      assert.deepStrictEqual(yield* letters, [])
      yield* expectWaiting(2)
    }).pipe(within(backend, Handler.layer(failing)))
  )

  it.effect("are not for messages of a channel that discards", () => {
    const handler = Handler.command(Bin, () => Effect.fail("no")).pipe(Handler.asynchronous(Discarding))
    return Effect.gen(function* () {
      yield* CommandBus.send(new Bin({}))
      yield* drain
      yield* expectWaiting(0, Discarding)
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(handler).pipe(Layer.provideMerge(backend.channel(Discarding)))))
  })

  it.effect("leave nothing of what the failed handler wrote and sent", () => {
    const handler = Handler.command(Ship, ({ id }) =>
      Effect.all([write(id), placed(), Effect.fail("no")], { discard: true })
    ).pipe(Handler.asynchronous(Orders))
    const on = Handler.event(Placed, { name: "On", handle: () => write("never") }).pipe(Handler.asynchronous(Mails))
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      yield* expectRows()
      yield* expectWaiting(0, Mails)
      assert.strictEqual((yield* letters).length, 1)
    }).pipe(within(backend, Handler.layer(handler, on)))
  })
}

const away = new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" })

class MailServerAway extends Schema.TaggedError<MailServerAway>()("MailServerAway", {}) {}

export const infrastructure = <R>(backend: Backend<R>): void => {
  /** Fails three times, then writes which attempt it was. */
  const recovering = (error: unknown, dies = false) => {
    let runs = 0
    return Handler.command(Ship, () =>
      Effect.flatMap(Envelope.CurrentEnvelope, ({ attempt }) => {
        const failure = dies ? Effect.die(error) : Effect.fail(error)
        return ++runs <= 3 ? failure : write(`attempt ${attempt}`)
      })
    ).pipe(Handler.asynchronous(Orders))
  }
  const recovers = Effect.gen(function* () {
    yield* ship()
    yield* drain
    yield* expectWaiting(1)
    yield* advance(minute)
    yield* expectRows("attempt 1")
    assert.deepStrictEqual(yield* letters, [])
  })

  it.effect("burns no attempt: the message comes back until it is there again", () =>
    recovers.pipe(within(backend, Handler.layer(recovering(away))))
  )

  it.effect("burns no attempt as a defect either, nor as the cause of another error", () =>
    recovers.pipe(within(backend, Handler.layer(recovering(new Error("wrapped", { cause: away }), true))))
  )

  it.effect("may be what an application says it is", () =>
    recovers.pipe(
      Effect.provideService(MessagingError.FailureClassifier, {
        isInfrastructure: (error) => error instanceof MailServerAway
      }),
      within(backend, Handler.layer(recovering(new MailServerAway())))
    )
  )

  it.effect("does not hide errors that only look alike: Rejected is the handler's own failure", () =>
    Effect.gen(function* () {
      yield* ship()
      yield* drain
      assert.strictEqual((yield* onlyLetter).reason, "Exhausted")
    }).pipe(
      within(
        backend,
        Handler.layer(recovering(new MessagingError.MessagingError({ reason: "Rejected", detail: "no" })))
      )
    )
  )

  it.effect("is a conflict that never ends: it is given back, not given up", () => {
    let bad = true
    const handler = Handler.command(Ship, () => Effect.zipRight(write("done"), bad ? conflicting : Effect.void)).pipe(
      Handler.asynchronous(Orders)
    )
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      yield* expectRows()
      assert.deepStrictEqual(yield* letters, [])
      bad = false
      yield* advance(minute)
      yield* expectRows("done")
    }).pipe(within(backend, Handler.layer(handler)))
  })
}

export const limits = <R>(backend: Backend<R>): void => {
  it.effect("are told at the sender: a message too large for its channel", () =>
    Effect.gen(function* () {
      const error = yield* rejected(ship("x".repeat(1024 * 1024)))
      assert.strictEqual(error.reason, "TooLarge")
      assert.match(error.detail, /Ship is \d+ bytes, but channel "test\/Orders" carries at most 1048576/)
      yield* expectWaiting(0)
      yield* ship("x".repeat(1000 * 1000))
      yield* expectWaiting(1)
    }).pipe(within(backend, Handler.layer(failing)))
  )

  it.effect("count bytes, not characters", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* rejected(ship("é".repeat(600 * 1024)))).reason, "TooLarge")
    }).pipe(within(backend, Handler.layer(failing)))
  )

  it.effect("are the schema's for answers: one it refuses is an error, and undoes the unit", () =>
    Effect.gen(function* () {
      const error = yield* rejected(CommandBus.send(new Big({})))
      assert.strictEqual(error.reason, "Rejected")
      assert.match(error.detail, /the handler of Big answered a value that its schema refuses/)
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(Handler.command(Big, () => Effect.as(write("a"), "text" as any)))))
  )
}
