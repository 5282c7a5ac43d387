/**
 * Handlers that return the next message, and handlers of several commands.
 */
import { assert, it } from "@effect/vitest"
import {
  Channel,
  CommandBus,
  type Envelope,
  EventBus,
  Handler,
  Message,
  MessagingTest,
  UnitOfWork
} from "@holdfast/core"
import { Effect, Layer, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import {
  conflicting,
  defect,
  drain,
  expectRefused,
  expectRows,
  expectWaiting,
  letters,
  onlyLetter,
  Refused,
  refuse,
  rejected,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"

const payload = { image: Schema.String }
const asking = { payload, success: Schema.String, error: Refused }

class Quote extends Message.Command<Quote>()("Quote", asking) {}
class Price extends Message.Command<Price>()("Price", asking) {}
class Weigh extends Message.Command<Weigh>()("Weigh", { payload, success: Schema.Number }) {}
class Total extends Message.Command<Total>()("Total", asking) {}
class Resize extends Message.Command<Resize>()("Resize", { payload }) {}
class Upload extends Message.Command<Upload>()("Upload", { payload }) {}
class Uploaded extends Message.Event<Uploaded>()("Uploaded", { payload }) {}

class Images extends Channel.Tag<Images>()("test/Images", { messages: [Resize, Upload, Uploaded] }) {}
class Uploads extends Channel.Tag<Uploads>()("test/Uploads", { messages: [Upload, Uploaded] }) {}

const quote = (image = "a") => CommandBus.send(new Quote({ image }))
const resize = (image = "a") => CommandBus.send(new Resize({ image }))

const uploading = Handler.command(Upload, ({ image }) => write(`uploaded ${image}`))
const resizing = Handler.command(Resize, ({ image }) =>
  Effect.as(write(`resized ${image}`), new Upload({ image }))
).pipe(Handler.outputTo(Upload))

/** Notes the envelopes it sees. */
const watching = () => {
  const seen: Array<Envelope.Metadata> = []
  return { seen, look: (envelope: Envelope.Metadata) => Effect.sync(() => void seen.push(envelope)) }
}

const expectConversation = ([first, ...others]: ReadonlyArray<Envelope.Metadata>) => {
  let before = first!
  for (const next of others) {
    assert.strictEqual(next.headers.correlationId, first!.id)
    assert.strictEqual(next.headers.causationId, before.id)
    before = next
  }
}

export const chains = <R>(backend: Backend<R>): void => {
  const channels = Layer.merge(backend.channel(Images), backend.channel(Uploads))

  it.effect("answer what the last handler answers, in one conversation, or what an earlier one answers itself", () => {
    const { look, seen } = watching()
    const quoting = Handler.command(Quote, ({ image }, envelope) =>
      Effect.as(look(envelope), new Price({ image: `${image}, priced` }))
    ).pipe(Handler.outputTo(Price))
    const pricing = Handler.command(Price, ({ image }, envelope) =>
      image.startsWith("free")
        ? Effect.succeed("nothing")
        : Effect.as(look(envelope), new Total({ image: `${image}, summed` }))
    ).pipe(Handler.outputTo(Total))
    const summing = Handler.command(Total, ({ image }, envelope) => Effect.as(look(envelope), image))
    return Effect.gen(function* () {
      assert.strictEqual(yield* quote(), "a, priced, summed")
      assert.deepStrictEqual(
        seen.map(({ tag }) => tag),
        ["Quote", "Price", "Total"]
      )
      expectConversation(seen)
      assert.strictEqual(yield* quote("free"), "nothing")
    }).pipe(within(backend, Handler.layer(quoting, pricing, summing)))
  })

  it.effect("fail with the declared error of the next handler, and are undone as a whole", () => {
    const quoting = Handler.command(Quote, ({ image }) =>
      Effect.as(write(`quoted ${image}`), new Price({ image }))
    ).pipe(Handler.outputTo(Price))
    const pricing = Handler.command(Price, ({ image }) =>
      Effect.zipRight(write(`priced ${image}`), image === "bad" ? refuse() : Effect.succeed("12"))
    )
    return Effect.gen(function* () {
      yield* expectRefused(quote("bad"))
      yield* expectRows()
      assert.strictEqual(yield* quote("good"), "12")
      yield* expectRows("quoted good", "priced good")
    }).pipe(within(backend, Handler.layer(quoting, pricing)))
  })

  it.effect("are retried in place as a whole", () => {
    let tries = 0
    const quoting = Handler.command(Quote, ({ image }) =>
      Effect.as(write(`quoted ${++tries}`), new Price({ image }))
    ).pipe(Handler.outputTo(Price), Handler.retry(Schedule.recurs(1)))
    const pricing = Handler.command(Price, () => (tries < 2 ? refuse() : Effect.succeed("12")))
    return Effect.gen(function* () {
      assert.strictEqual(yield* quote(), "12")
      yield* expectRows("quoted 2")
    }).pipe(within(backend, Handler.layer(quoting, pricing)))
  })

  it.effect("leave a channel's message to the commit of the unit that returned it", () => {
    const later = uploading.pipe(Handler.asynchronous(Images))
    return Effect.gen(function* () {
      const error = yield* rejected(UnitOfWork.run(Effect.zipRight(resize(), conflicting)))
      assert.strictEqual(error.reason, "Conflict")
      yield* expectWaiting(0, Images)
      yield* resize()
      yield* expectRows("resized a")
      yield* drain
      yield* expectRows("resized a", "uploaded a")
    }).pipe(within(backend, Handler.layer(resizing, later).pipe(Layer.provideMerge(channels))))
  })

  it.effect("pass from channel to channel, and try again only the step that failed", () => {
    const { look, seen } = watching()
    const first = Handler.command(Resize, ({ image }, envelope) =>
      look(envelope).pipe(Effect.zipRight(write(`resized ${image}`)), Effect.as(new Upload({ image })))
    ).pipe(Handler.outputTo([Upload]), Handler.asynchronous(Images))
    const second = Handler.command(Upload, ({ image }, envelope) =>
      look(envelope).pipe(
        Effect.zipRight(envelope.attempt === 1 ? Effect.fail("busy") : Effect.void),
        Effect.as(new Uploaded({ image }))
      )
    ).pipe(Handler.outputTo(Uploaded), Handler.asynchronous(Uploads), Handler.retry(Schedule.recurs(1)))
    const third = Handler.event(Uploaded, { name: "Tell", handle: (_, envelope) => look(envelope) }).pipe(
      Handler.asynchronous(Uploads)
    )
    return Effect.gen(function* () {
      yield* resize()
      yield* drain
      assert.deepStrictEqual(
        seen.map(({ attempt, tag }) => `${tag} ${attempt}`),
        ["Resize 1", "Upload 1", "Upload 2", "Uploaded 1"]
      )
      expectConversation([seen[0]!, seen[2]!, seen[3]!])
      yield* expectRows("resized a")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(first, second, third).pipe(Layer.provideMerge(channels))))
  })

  it.effect("split one message into several, in order, and end with none", () => {
    const splitting = Handler.event(Uploaded, {
      name: "Split",
      handle: ({ image }) =>
        Effect.succeed(image === "none" ? undefined : [...image].map((part) => new Upload({ image: part })))
    }).pipe(Handler.outputTo(Upload), Handler.asynchronous(Images))
    const split = (image: string) => Effect.zipRight(EventBus.publish(new Uploaded({ image })), drain)
    return Effect.gen(function* () {
      const order: Array<string> = []
      const noting = Handler.command(Upload, ({ image }) => Effect.sync(() => void order.push(image)))
      yield* Effect.gen(function* () {
        yield* split("none")
        assert.deepStrictEqual(order, [])
        yield* split("abc")
        assert.deepStrictEqual(order, ["a", "b", "c"])
        assert.deepStrictEqual(yield* letters, [])
      }).pipe(within(backend, Handler.layer(splitting, noting).pipe(Layer.provideMerge(channels))))
    })
  })

  it.effect("go on with whichever of the listed messages was returned, and ignore its reply", () => {
    const branching = Handler.command(Resize, ({ image }) =>
      Effect.succeed(image === "small" ? new Uploaded({ image }) : new Weigh({ image }))
    ).pipe(Handler.outputTo([Uploaded, Weigh]))
    const weighing = Handler.command(Weigh, ({ image }) => Effect.as(write(`weighed ${image}`), 12))
    const telling = Handler.event(Uploaded, { name: "Tell", handle: ({ image }) => write(`told ${image}`) })
    return Effect.gen(function* () {
      assert.isUndefined(yield* resize("large"))
      assert.isUndefined(yield* resize("small"))
      yield* expectRows("weighed large", "told small")
    }).pipe(within(backend, Handler.layer(branching, weighing, telling)))
  })

  it.effect("die of a message that nothing sends on, rather than lose it", () => {
    const sentence = (name: string) =>
      `The handler ${name} returned Uploaded, and nothing says where it goes: list it in Handler.outputTo`
    const [sent, lost] = [new Upload({ image: "a" }), new Uploaded({ image: "a" })]
    const evading = Handler.command(Resize, () => Effect.as(write("resized"), lost as unknown as void))
    // lists less than its type says
    const listing = Handler.command(Ship, () => Effect.succeed([sent, lost])).pipe(
      Handler.outputTo(Upload as unknown as typeof Upload | typeof Uploaded)
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* defect(resize()), sentence("Resize"))
      assert.strictEqual(yield* defect(ship()), sentence("Ship"))
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(evading, listing, uploading)))
  })
}

export const severalCommands = <R>(backend: Backend<R>): void => {
  const handle = (command: Resize | Upload, { endpoint, tag }: Envelope.Metadata) =>
    write(`${command._tag} ${tag} ${endpoint} ${command.image}`)
  const images = Handler.commands([Resize, Upload], { name: "Images", handle })
  const upload = CommandBus.send(new Upload({ image: "b" }))

  it.effect("is found by each of them, and may fail with what each declares", () => {
    class Reserve extends Message.Command<Reserve>()("Reserve", { payload, error: Refused }) {}
    class Release extends Message.Command<Release>()("Release", { payload, error: Refused }) {}
    const stock = Handler.commands([Reserve, Release], { name: "Stock", handle: ({ _tag }) => refuse(_tag) })
    return Effect.gen(function* () {
      yield* resize()
      yield* upload
      yield* expectRows("Resize Resize Images a", "Upload Upload Images b")
      yield* expectRefused(CommandBus.send(new Reserve({ image: "a" })), "Reserve")
      yield* expectRefused(CommandBus.send(new Release({ image: "a" })), "Release")
      const both = Effect.scoped(Layer.build(Layer.fresh(Handler.layer(uploading))))
      assert.match(yield* defect(both), /Upload has two handlers: a command has exactly one/)
    }).pipe(within(backend, Handler.layer(images, stock)))
  })

  it.effect("has one channel for all, under its own name, and gives up each message for itself", () => {
    const later = Handler.commands([Resize, Upload], {
      name: "Images",
      handle: (command, envelope) => (command._tag === "Upload" ? Effect.fail("no") : handle(command, envelope))
    }).pipe(Handler.asynchronous(Images))
    return Effect.gen(function* () {
      const elsewhere = Handler.routes(later).pipe(Layer.provideMerge(MessagingTest.layerStore))
      yield* Effect.zipRight(resize(), upload).pipe(Effect.provide(elsewhere))
      yield* expectWaiting(2, Images)
      yield* drain
      yield* expectRows("Resize Resize Images a")
      const { envelope } = yield* onlyLetter
      assert.deepStrictEqual([envelope.tag, envelope.endpoint], ["Upload", "Images"])
    }).pipe(within(backend, Handler.layer(later).pipe(Layer.provideMerge(backend.channel(Images)))))
  })
}
