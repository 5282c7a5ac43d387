import type { SqlError } from "@effect/sql/SqlError"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as EffectScope from "effect/Scope"
import * as Pg from "pg"
import type { Database } from "./database.ts"
import { sqlError } from "./errors.ts"
import { live } from "./live.ts"
import { channelsOf, topicOf } from "./notify.ts"
import { query } from "./pgQuery.ts"
import { quote } from "./quote.ts"
import type { Hub } from "./wake.ts"

/**
 * Hears what other processes put on channels, over a connection of its own. When that is lost it is opened again, and
 * every channel is woken once for what was missed. Never fails: polling goes on meanwhile.
 *
 * @internal
 */
export const listen = (database: Database, hub: Hub, origin: string): Effect.Effect<void, never, EffectScope.Scope> =>
  Effect.scoped(session(database, hub, origin)).pipe(
    Effect.catchAllCause((cause) => Effect.logDebug("Lost the connection that listens for wake-ups", cause)),
    Effect.repeat(backoff),
    live,
    Effect.forkScoped,
    Effect.asVoid
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const backoff = Schedule.exponential("100 millis").pipe(
  Schedule.either(Schedule.spaced("5 seconds")),
  Schedule.jittered,
  Schedule.resetAfter("30 seconds")
)

/** Listens until the connection is lost. */
const session = (database: Database, hub: Hub, origin: string) =>
  Effect.gen(function* () {
    const lost = yield* Deferred.make<never, SqlError>()
    const pg = yield* connect(database, (cause) => Deferred.unsafeDone(lost, Effect.fail(cause)))
    pg.on("notification", ({ payload }) => wakeNamed(hub, channelsOf(origin, payload)))
    yield* query(pg, { name: undefined, text: `listen ${quote(topicOf(database.schema))}` }, [], heartbeatTimeout)
    hub.signalAll()
    const heartbeat = Effect.zipRight(
      Effect.sleep(Duration.seconds(5)),
      query(pg, { name: undefined, text: "select 1" }, [], heartbeatTimeout)
    )
    yield* Effect.raceFirst(Deferred.await(lost), Effect.forever(heartbeat))
  })

const heartbeatTimeout = 2000

const connect = (database: Database, onLost: (cause: SqlError) => void) =>
  Effect.acquireRelease(
    Effect.async<Pg.Client, SqlError>((resume) => {
      const pg = new Pg.Client(database.config)
      pg.on("error", (cause) => onLost(sqlError("The listening connection was lost", cause)))
      pg.on("end", () => onLost(sqlError("The listening connection was closed")))
      pg.connect((cause: Error | null) => {
        resume(cause ? Effect.fail(sqlError("Failed to listen", cause)) : Effect.succeed(pg))
      })
    }),
    (pg) => Effect.ignore(Effect.timeoutOption(Effect.interruptible(Effect.promise(() => pg.end())), 1000))
  )

const wakeNamed = (hub: Hub, channels: ReadonlyArray<string> | "all"): void => {
  if (channels === "all") hub.signalAll()
  else for (const channel of channels) hub.signal(channel)
}
