/**
 * A day of pictures: uploads are split, resized and published; one cannot be read, is repaired and replayed; galleries
 * stand still during maintenance; at night a job archives the originals.
 *
 *     npm start -w examples/media
 */
import { pathToFileURL } from "node:url"
import { CommandBus, Consumer, DeadLetter, MessageBus } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Console, Effect, Layer, Logger, LogLevel, Schedule } from "effect"
import { HandlersLive } from "./handlers.ts"
import { Failures, Galleries, Images, Night, Upload, Uploads, Withdraw } from "./messages.ts"
import { type Account, Accounts, Resizer } from "./pictures.ts"

/** By day nobody consumes `Night`. A worker that always runs would: `{ schedule: Schedule.cron("0 2 * * *", "UTC") }`. */
const Workers = Layer.mergeAll(
  Consumer.layer(Uploads),
  Consumer.layer(Images),
  Consumer.layer(Failures),
  Consumer.layer(Galleries)
)

const Channels = Layer.mergeAll(
  PgChannel.layer(Uploads),
  PgChannel.layer(Images),
  PgChannel.layer(Failures),
  PgChannel.layer(Galleries),
  PgChannel.layer(Night)
)

/** The story is told by its own lines: leave this out to see the log. */
const quiet = Logger.minimumLogLevel(LogLevel.None)

/**
 * Everything in one process, on the embedded PostgreSQL or on that of `DATABASE_URL`. The five consumers handle four
 * messages each at once, and every handler may need a connection.
 */
const Live = Workers.pipe(
  Layer.provideMerge(HandlersLive),
  Layer.provideMerge(MessageBus.layer),
  Layer.provideMerge(Channels),
  Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(EmbeddedPostgres.layerWith({ maxConnections: 20 })),
  Layer.provideMerge(quiet)
)

const upload = (account: string, name: string) => CommandBus.send(new Upload({ account, name }))
const accountOf = (id: string) => Effect.flatMap(Accounts, (accounts) => accounts.get(id))

/** Workers take their time: looks at the account until it is as expected. */
const seen = (id: string, expected: (account: Account) => boolean) =>
  accountOf(id).pipe(
    Effect.filterOrFail(expected),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout("20 seconds")
  )

const byDay = Effect.gen(function* () {
  yield* upload("ada", "cat.png")
  yield* upload("bob", "dog.png")
  const ada = yield* seen("ada", ({ gallery }) => gallery.length === 3)
  const bob = yield* seen("bob", ({ gallery }) => gallery.length === 3)
  yield* Console.log(`Ada shows ${ada.gallery.join(", ")}`)
  yield* Console.log(`Bob shows ${bob.gallery.join(", ")}`)
})

const broken = Effect.gen(function* () {
  yield* upload("ada", "broken.png")
  const { inbox } = yield* seen("ada", ({ inbox }) => inbox.length === 3)
  yield* Console.log(`Ada was told: ${inbox[0]}`)

  yield* (yield* Resizer).repair
  const deadLetters = yield* DeadLetter.DeadLetter
  const letters = yield* deadLetters.list({ endpoint: "Resize" })
  const replayed = yield* deadLetters.replay(letters.map(({ key }) => key))
  const { gallery } = yield* seen("ada", ({ gallery }) => gallery.length === 6)
  yield* Console.log(`${replayed} dead letters replayed: Ada shows ${gallery.length} pictures`)
})

/** A pause is kept in the store, for all processes and restarts: so it is lifted whatever becomes of the work. */
const maintenance = Effect.acquireUseRelease(
  Consumer.pause(Galleries),
  () =>
    Effect.gen(function* () {
      yield* CommandBus.send(new Withdraw({ account: "bob", name: "dog.png" }))
      yield* Effect.sleep("1 second")
      const { gallery } = yield* accountOf("bob")
      yield* Console.log(`galleries are paused: Bob still shows ${gallery.length} pictures`)
    }),
  () => Effect.orDie(Consumer.resume(Galleries))
)

const afterwards = Effect.gen(function* () {
  yield* seen("bob", ({ gallery }) => gallery.length === 0)
  yield* Console.log("galleries go on: Bob shows none")
})

/** What a cron pod would run: all that waits, and then it ends. */
const byNight = Effect.gen(function* () {
  const { handled, reason } = yield* Consumer.run(Night, { stopAfter: { empty: true, duration: "1 hour" } })
  const { archive } = yield* accountOf("ada")
  yield* Console.log(
    `${handled} originals archived by night, of Ada ${archive.join(" and ")}; the job stopped by ${reason}`
  )
})

const story = Effect.all([byDay, broken, maintenance, afterwards, byNight], { discard: true })

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await Effect.runPromise(Effect.provide(story, Live))
}
