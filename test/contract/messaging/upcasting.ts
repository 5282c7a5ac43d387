/**
 * Messages of several versions: whatever version was sent, its handler sees the current class.
 */
import { assert, it } from "@effect/vitest"
import { Channel, CommandBus, Consumer, EventBus, Handler, Headers, Message, MessagingTest } from "@holdfast/core"
import { Context, Effect, Layer, Schema } from "effect"
import type { Backend } from "./backend.ts"
import { makeBroker } from "./direct.ts"
import {
  advance,
  alone,
  drain,
  expectRows,
  expectWaiting,
  letters,
  onlyLetter,
  placed,
  type System,
  using,
  within,
  write
} from "./fixtures.ts"
import { process } from "./versions.ts"

class Prices extends Channel.Tag<Prices>()("test/Prices", { deadLetter: { unknownEndpointAfter: "1 minute" } }) {}

// -- the event, as three builds know it ------------------------------------------

class Priced1 extends Message.Event<Priced1>()("Priced", { payload: { id: Schema.String, cents: Schema.Number } }) {}

const second = { id: Schema.String, price: Schema.String }
class Priced2 extends Message.Event<Priced2>()("Priced", { version: 2, payload: second }) {}

const third = {
  id: Schema.String,
  price: Schema.NumberFromString,
  currency: Schema.Literal("EUR", "USD").pipe(
    Schema.propertySignature,
    Schema.withConstructorDefault(() => "EUR" as const)
  )
}
const PriceText = Schema.transform(Schema.Struct(second), Schema.Struct(third), {
  strict: false,
  decode: ({ id, price }) => ({ id, price: price.split(" ")[0], currency: price.split(" ")[1] }),
  encode: ({ currency, id, price }) => ({ id, price: `${price} ${currency}` })
})
class Priced extends Message.Event<Priced>()("Priced", {
  version: 3,
  payload: third,
  upcasters: {
    1: Message.upcaster(Schema.Struct(Priced1.payload.fields), ({ cents, id }) => {
      if (cents < 0) throw new Error(`${cents} cents are no price`)
      return { id, price: cents / 100 }
    }),
    2: PriceText
  }
}) {}

const on = { name: "See", handle: ({ id }: { readonly id: string }) => write(id) }
const first = Handler.event(Priced1, on).pipe(Handler.asynchronous(Prices))
const next = Handler.event(Priced2, on).pipe(Handler.asynchronous(Prices))
const current = Handler.event(Priced, {
  name: "See",
  handle: (event, { headers }) => {
    assert.instanceOf(event, Priced)
    return write(`${event.id}: ${event.price} ${event.currency}, sent as ${headers[Headers.messageVersion] ?? "1"}`)
  }
}).pipe(Handler.asynchronous(Prices))

/** A process whose build knows this much of the event. */
const build = <R, P>(backend: Backend<R>, handlers: Layer.Layer<P, never, System | Prices>) =>
  process(backend, handlers.pipe(Layer.provideMerge(backend.channel(Prices))))

const builds = <R>(backend: Backend<R>) =>
  Effect.all({
    first: build(backend, Handler.layer(first)),
    second: build(backend, Handler.layer(next)),
    third: build(backend, Handler.layer(current))
  })

const withCurrent = <R>(backend: Backend<R>) =>
  within(backend, Handler.layer(current).pipe(Layer.provideMerge(backend.channel(Prices))))

/** Puts a message on the channel as some sender wrote it. */
const put = (payload: string, headers: Record<string, string>) =>
  using((store) =>
    store.commit([
      [
        {
          _tag: "Send",
          channel: Prices.channelName,
          envelope: { id: "1", tag: "Priced", endpoint: "See", attempt: 1, headers, payload, failures: [] },
          priority: 0,
          due: undefined,
          timer: undefined
        }
      ]
    ])
  )

export const upcasting = <R>(backend: Backend<R>): void => {
  it.scoped("are read as the current class by one handler", () =>
    Effect.gen(function* () {
      const { first, second, third } = yield* builds(backend)
      yield* first(EventBus.publish(new Priced1({ id: "a", cents: 150 })))
      yield* second(EventBus.publish(new Priced2({ id: "b", price: "2.5 USD" })))
      yield* third(EventBus.publish(new Priced({ id: "c", price: 3 })))
      assert.strictEqual(yield* third(drain), 3)
      yield* expectRows("a: 1.5 EUR, sent as 1", "b: 2.5 USD, sent as 2", "c: 3 EUR, sent as 3")
    }).pipe(alone(backend))
  )

  it.scoped("wait for a build that knows them, when they are newer than a consumer", () =>
    Effect.gen(function* () {
      const { second, third } = yield* builds(backend)
      yield* third(EventBus.publish(new Priced({ id: "c", price: 3 })))
      yield* second(drain)
      yield* expectWaiting(1, Prices)
      yield* third(advance("10 seconds"))
      yield* expectRows("c: 3 EUR, sent as 3")

      yield* third(EventBus.publish(new Priced({ id: "d", price: 4 })))
      yield* second(advance("5 minutes"))
      const { envelope, error, fingerprint, reason } = yield* onlyLetter
      assert.strictEqual(reason, "UnknownVersion")
      assert.strictEqual(
        error,
        'Priced is of version 3, but no consumer of channel "test/Prices" knows it beyond version 2: deploy a build ' +
          "that does, and replay"
      )
      assert.strictEqual(fingerprint, "See UnknownVersion")
      assert.deepStrictEqual(JSON.parse(envelope.payload), { _tag: "Priced", id: "d", price: "4", currency: "EUR" })
      assert.strictEqual(envelope.headers[Headers.messageVersion], "3")
    }).pipe(alone(backend))
  )

  it.effect("that no build can read are dead letters, which say so", () =>
    Effect.gen(function* () {
      for (const version of ["0", "1.5", "-1", "two", ""]) {
        yield* put(`{"_tag":"Priced","id":"${version}"}`, { [Headers.messageVersion]: version })
        yield* drain
        const { envelope, error, key, reason } = yield* onlyLetter
        assert.strictEqual(reason, "Undecodable")
        assert.include(
          error,
          `Priced of version ${version} cannot be read: this build reads versions 1 to 3. Declare an upcaster for it, ` +
            "deploy, and replay"
        )
        assert.strictEqual(envelope.payload, `{"_tag":"Priced","id":"${version}"}`)
        yield* using((store) => store.deleteDeadLetters([key]))
      }
    }).pipe(withCurrent(backend))
  )

  it.scoped("older than any upcaster are dead letters, until a build with one replays them", () =>
    Effect.gen(function* () {
      const { first, second, third } = yield* builds(backend)
      yield* first(EventBus.publish(new Priced1({ id: "a", cents: 150 })))
      yield* second(drain)
      const { envelope, error, key, reason } = yield* onlyLetter
      assert.strictEqual(reason, "Undecodable")
      assert.include(error, "Priced of version 1 cannot be read: this build reads version 2 alone")
      assert.isUndefined(envelope.headers[Headers.messageVersion])
      yield* using((store) => store.replay([key]))
      yield* third(drain)
      yield* expectRows("a: 1.5 EUR, sent as 1")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(alone(backend))
  )

  it.scoped("whose upcaster throws, fails, or makes no message of them are dead letters with the cause", () =>
    Effect.gen(function* () {
      class Careless extends Message.Event<Careless>()("Priced", {
        version: 2,
        payload: { id: Schema.NonEmptyString },
        upcasters: { 1: Message.upcaster(Schema.Struct({}), () => ({ id: "" })) }
      }) {}
      const { first, second, third } = yield* builds(backend)
      const careless = yield* build(
        backend,
        Handler.layer(Handler.event(Careless, on).pipe(Handler.asynchronous(Prices)))
      )
      const expectLetter = (cause: RegExp) =>
        Effect.gen(function* () {
          const { error, key, reason } = yield* onlyLetter
          assert.strictEqual(reason, "Undecodable")
          assert.match(error, cause)
          yield* using((store) => store.deleteDeadLetters([key]))
        })
      yield* first(EventBus.publish(new Priced1({ id: "a", cents: -1 })))
      yield* third(drain)
      yield* expectLetter(/-1 cents are no price/)
      yield* second(EventBus.publish(new Priced2({ id: "b", price: "2.5" })))
      yield* third(drain)
      yield* expectLetter(/Expected "EUR", actual undefined/)
      yield* first(EventBus.publish(new Priced1({ id: "c", cents: 1 })))
      yield* careless(drain)
      yield* expectLetter(/Priced \(Constructor\)[\s\S]*non empty string, actual ""/)
    }).pipe(alone(backend))
  )

  it.effect("travel as a header that belongs to one message: it is neither passed on nor a sender's to set", () => {
    const forged = { [Headers.messageVersion]: "7" } as {}
    const causing = Handler.event(Priced, {
      name: "See",
      handle: () => placed("caused", { headers: forged })
    }).pipe(Handler.asynchronous(Prices))
    return Effect.gen(function* () {
      yield* EventBus.publish(new Priced({ id: "c", price: 3 }), { headers: forged })
      yield* drain
      const published = (yield* MessagingTest.log).flatMap((entry) =>
        entry._tag === "Published" ? [entry.envelope.headers[Headers.messageVersion]] : []
      )
      assert.deepStrictEqual(published, ["3", undefined])
    }).pipe(within(backend, Handler.layer(causing).pipe(Layer.provideMerge(backend.channel(Prices)))))
  })

  it.effect("of a command are read as the current class, over a broker too", () => {
    const broker = makeBroker()
    class Ship2 extends Message.Command<Ship2>()("Ship", {
      version: 2,
      payload: { ids: Schema.Array(Schema.String) },
      upcasters: { 1: Message.upcaster(Schema.Struct({ id: Schema.String }), ({ id }) => ({ ids: [id] })) }
    }) {}
    /** The broker's channel, as another build declares it. */
    class Anything extends Channel.Tag<Anything>()("test/Broker") {}
    const shipping = Handler.command(Ship2, ({ ids }) => write(ids.join())).pipe(Handler.asynchronous(Anything))
    return Effect.gen(function* () {
      yield* CommandBus.send(new Ship2({ ids: ["a", "b"] }))
      assert.strictEqual(broker.state.waiting[0]!.envelope.headers[Headers.messageVersion], "2")
      broker.state.waiting.push({
        envelope: {
          id: "1",
          tag: "Ship",
          endpoint: "Ship",
          attempt: 1,
          headers: {},
          payload: '{"id":"c"}',
          failures: []
        },
        at: 0
      })
      assert.strictEqual(yield* drain, 2)
      yield* expectRows("a,b", "c")
    }).pipe(within(backend, Handler.layer(shipping).pipe(Layer.provideMerge(broker.layer))))
  })

  it.scoped("are written and read with the services of their fields, whoever handles them", () => {
    class Key extends Context.Tag("test/Key")<Key, string>() {}
    const Secret = Schema.transformOrFail(Schema.String, Schema.String, {
      decode: (text) => Effect.map(Key, (key) => text.replace(`${key}:`, "")),
      encode: (text) => Effect.map(Key, (key) => `${key}:${text}`)
    })
    class Told1 extends Message.Event<Told1>()("Told", { payload: { text: Secret } }) {}
    class Told extends Message.Event<Told>()("Told", {
      version: 2,
      payload: { secret: Secret },
      upcasters: { 1: Message.upcaster(Schema.Struct({ text: Secret }), ({ text }) => ({ secret: text })) }
    }) {}
    class Whisper extends Message.Command<Whisper>()("Whisper", { payload: { secret: Secret } }) {}
    const whisper = Handler.command(Whisper, ({ secret }) => write(secret)).pipe(Handler.asynchronous(Prices))
    const told = Handler.event(Told, { name: "See", handle: ({ secret }) => write(secret) }).pipe(
      Handler.asynchronous(Prices)
    )
    const key = Layer.succeed(Key, "key")
    return Effect.gen(function* () {
      const web = yield* build(backend, Layer.provide(Handler.routes(whisper), key))
      const worker = yield* build(backend, Layer.provide(Handler.layer(whisper, told), key))
      yield* worker(Consumer.subscribe(Prices))
      yield* web(CommandBus.send(new Whisper({ secret: "a" })))
      yield* web(Effect.provide(EventBus.publish(new Told1({ text: "b" })), key))
      yield* web(Effect.provide(EventBus.publish(new Told({ secret: "c" })), key))
      yield* expectWaiting(3, Prices)
      assert.strictEqual(yield* worker(drain), 3)
      yield* expectRows("a", "b", "c")
    }).pipe(alone(backend))
  })
}
