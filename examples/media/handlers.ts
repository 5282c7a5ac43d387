/**
 * A chain: an upload is split into sizes, each size is made and published. Beside it, what is done by night, and what
 * becomes of sizes that cannot be made.
 */
import { DeadLetter, Handler } from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import { Archive, Failures, Galleries, Images, Night, Publish, Resize, Upload, Uploads, Withdraw } from "./messages.ts"
import { Accounts, Resizer } from "./pictures.ts"

const widths = [200, 800, 1600]

/** Splits: three sizes now, and the original for the night. All are sent, or none. No account sends in too many. */
const upload = Handler.command(Upload, ({ account, name }) =>
  Effect.succeed([...widths.map((width) => new Resize({ account, name, width })), new Archive({ account, name })])
).pipe(
  Handler.outputTo([Resize, Archive]),
  Handler.asynchronous(Uploads),
  Handler.rateLimit({ limit: 20, interval: "1 minute", key: ({ account }) => account })
)

/** Each size is tried again, and given up, by itself. Four of an account at once, and the others have their turn. */
const resize = Handler.command(
  Resize,
  Effect.fn("resize")(function* ({ account, name, width }) {
    yield* (yield* Resizer).resize(name, width)
    return new Publish({ account, name, width })
  })
).pipe(
  Handler.outputTo(Publish),
  Handler.asynchronous(Images),
  Handler.concurrencyLimit({ limit: 4, key: ({ account }) => account })
)

/** Everything that changes a gallery, in one handler: in the order it was sent, one at a time for each account. */
const gallery = Handler.commands([Publish, Withdraw], {
  name: "Gallery",
  handle: (command) =>
    Effect.flatMap(Accounts, (accounts) =>
      accounts.update(command.account, ({ gallery }) => ({
        gallery:
          command._tag === "Publish"
            ? [...gallery, `${command.name} ${command.width}`]
            : gallery.filter((size) => !size.startsWith(`${command.name} `))
      }))
    )
}).pipe(
  Handler.asynchronous(Galleries),
  Handler.orderedBy(({ account }) => account)
)

const archive = Handler.command(Archive, ({ account, name }) =>
  Effect.flatMap(Accounts, (accounts) => accounts.update(account, ({ archive }) => ({ archive: [...archive, name] })))
).pipe(Handler.asynchronous(Night))

/** What was given up waits as a dead letter. Whoever sent the picture should know. */
const apologise = Handler.event(DeadLetter.MessageFailed, {
  name: "Apologise",
  handle: Effect.fn("apologise")(function* ({ failures, payload }) {
    const { account, name, width } = yield* Schema.decode(Schema.parseJson(Resize.payload))(payload)
    const line = `${name} ${width} could not be made, though we tried ${failures.length} times`
    yield* (yield* Accounts).update(account, ({ inbox }) => ({ inbox: [...inbox, line] }))
  })
}).pipe(Handler.asynchronous(Failures))

export const HandlersLive = Handler.layer(upload, resize, gallery, archive, apologise).pipe(
  Layer.provideMerge(Layer.merge(Resizer.layerMemory, Accounts.layerMemory))
)
