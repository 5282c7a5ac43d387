/**
 * The pictures in memory, under a virtual clock: the handlers are those of main.ts, the layers below them are swapped.
 */
import { assert, describe, it } from "@effect/vitest"
import { Channel, CommandBus, Consumer, DeadLetter, MessagingTest } from "@holdfast/core"
import { Effect, Layer } from "effect"
import { HandlersLive } from "./handlers.ts"
import { Archive, Failures, Galleries, Images, Night, Publish, Resize, Upload, Uploads, Withdraw } from "./messages.ts"
import { Accounts, Resizer } from "./pictures.ts"

const Channels = Layer.mergeAll(
  Channel.layerMemory(Uploads),
  Channel.layerMemory(Images),
  Channel.layerMemory(Failures),
  Channel.layerMemory(Galleries),
  Channel.layerMemory(Night)
)
const Test = HandlersLive.pipe(Layer.provideMerge(Channels), Layer.provideMerge(MessagingTest.layer))

const upload = (name: string) => CommandBus.send(new Upload({ account: "ada", name }))
const ada = Effect.flatMap(Accounts, (accounts) => accounts.get("ada"))

describe("media", () => {
  it.effect("publishes an upload in all sizes", () =>
    Effect.gen(function* () {
      yield* upload("cat.png")
      yield* MessagingTest.drain
      assert.deepStrictEqual(
        (yield* MessagingTest.sent(Resize)).map(({ width }) => width),
        [200, 800, 1600]
      )
      assert.deepStrictEqual((yield* ada).gallery, ["cat.png 200", "cat.png 800", "cat.png 1600"])
    }).pipe(Effect.provide(Test))
  )

  it.effect("tries each size again after 500 and 1000 milliseconds, then tells whoever sent the picture", () =>
    Effect.gen(function* () {
      yield* upload("broken.png")
      yield* MessagingTest.advance("1499 millis")
      assert.deepStrictEqual((yield* ada).inbox, [])
      yield* MessagingTest.advance("1 milli")
      assert.sameMembers(
        [...(yield* ada).inbox],
        [200, 800, 1600].map((width) => `broken.png ${width} could not be made, though we tried 3 times`)
      )
      assert.strictEqual((yield* MessagingTest.published(DeadLetter.MessageFailed)).length, 3)
      assert.deepStrictEqual((yield* ada).gallery, [])
    }).pipe(Effect.provide(Test))
  )

  it.effect("goes on along the chain when a dead letter is replayed", () =>
    Effect.gen(function* () {
      const deadLetters = yield* DeadLetter.DeadLetter
      yield* upload("broken.png")
      yield* MessagingTest.advance("1 minute")
      yield* (yield* Resizer).repair
      const letters = yield* deadLetters.list({ endpoint: "Resize" })
      assert.strictEqual(yield* deadLetters.replay(letters.map(({ key }) => key)), 3)
      yield* MessagingTest.drain
      assert.strictEqual((yield* MessagingTest.handled(Publish)).length, 3)
      assert.strictEqual(yield* deadLetters.count(), 0)
    }).pipe(Effect.provide(Test))
  )

  it.effect("takes twenty uploads a minute of one account, and the others' beside", () =>
    Effect.gen(function* () {
      for (let count = 1; count <= 25; count++) yield* upload(`${count}.png`)
      yield* CommandBus.send(new Upload({ account: "bob", name: "dog.png" }))
      yield* MessagingTest.drain
      assert.strictEqual((yield* MessagingTest.handled(Upload)).length, 21)
      yield* MessagingTest.advance("2 minutes")
      assert.strictEqual((yield* MessagingTest.handled(Upload)).length, 26)
    }).pipe(Effect.provide(Test))
  )

  it.effect("pauses one account, and goes on with the others", () =>
    Effect.gen(function* () {
      yield* Consumer.pause({ tenant: "ada" }, { reason: "unpaid" })
      const cat = new Upload({ account: "ada", name: "cat.png" })
      yield* CommandBus.send(cat, { headers: { tenant: "ada" } })
      yield* CommandBus.send(new Upload({ account: "bob", name: "dog.png" }), { headers: { tenant: "bob" } })
      yield* MessagingTest.advance("1 hour")
      assert.deepStrictEqual((yield* ada).gallery, [])
      assert.strictEqual((yield* MessagingTest.handled(Publish)).length, 3)
      yield* Consumer.resume({ tenant: "ada" })
      yield* MessagingTest.drain
      assert.deepStrictEqual((yield* ada).gallery, ["cat.png 200", "cat.png 800", "cat.png 1600"])
    }).pipe(Effect.provide(Test))
  )

  it.effect("leaves the galleries as they are while they are paused", () =>
    Effect.gen(function* () {
      yield* upload("cat.png")
      yield* MessagingTest.drain
      yield* Consumer.pause(Galleries)
      yield* CommandBus.send(new Withdraw({ account: "ada", name: "cat.png" }))
      yield* MessagingTest.advance("1 hour")
      assert.strictEqual((yield* ada).gallery.length, 3)
      yield* Consumer.resume(Galleries)
      yield* MessagingTest.drain
      assert.deepStrictEqual((yield* ada).gallery, [])
    }).pipe(Effect.provide(Test))
  )

  it.effect("changes a gallery in the order that was sent, whatever is urgent", () =>
    Effect.gen(function* () {
      yield* CommandBus.send(new Publish({ account: "ada", name: "cat.png", width: 200 }))
      yield* CommandBus.send(new Withdraw({ account: "ada", name: "cat.png" }), { priority: 9 })
      yield* MessagingTest.drain
      assert.deepStrictEqual((yield* ada).gallery, [])
    }).pipe(Effect.provide(Test))
  )

  it.effect("archives by night what came by day, and the job ends by itself", () =>
    Effect.gen(function* () {
      yield* Effect.forEach(["cat.png", "dog.png"], upload)
      yield* Consumer.drain(Uploads)
      assert.strictEqual((yield* MessagingTest.sent(Archive)).length, 2)
      assert.deepStrictEqual((yield* ada).archive, [])
      const night = yield* Consumer.run(Night, { lease: "1 hour", stopAfter: { empty: true } })
      assert.deepStrictEqual(night, { reason: "Empty", handled: 2 })
      assert.sameMembers([...(yield* ada).archive], ["cat.png", "dog.png"])
    }).pipe(Effect.provide(Test))
  )
})
