import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type * as EffectScope from "effect/Scope"
import { type Database, named } from "./database.ts"
import { live } from "./live.ts"

/**
 * The name under which the processes of one schema tell each other of channels.
 *
 * @internal
 */
export const topicOf = (schema: string): string => `${schema}_wake`

/**
 * Tells the other processes which channels have something new, off the path of the commit: what comes while one
 * notification is on its way is told in the next. Losing one costs time only, since consumers also poll.
 *
 * @internal
 */
export const makeNotifier = (
  database: Database,
  origin: string
): Effect.Effect<(channels: ReadonlySet<string>) => Effect.Effect<void>, never, EffectScope.Scope> =>
  Effect.gen(function* () {
    const queue = yield* Queue.unbounded<string>()
    // nobody needs to wait until a notification is on the disk
    const text = "select set_config('synchronous_commit', 'off', true), pg_notify($1::text, $2::text)"
    const statement = named(database, "notify_soon", text)
    const round = Effect.gen(function* () {
      const channels = new Set(yield* Queue.takeBetween(queue, 1, Number.MAX_SAFE_INTEGER))
      yield* Effect.ignoreLogged(database.run(statement, [topicOf(database.schema), payloadOf(origin, channels)]))
      yield* Effect.sleep(Duration.millis(5))
    })
    yield* Effect.forkScoped(live(Effect.forever(round)))
    return (channels) => Effect.asVoid(Queue.offerAll(queue, channels))
  })

/**
 * Says who has put something on which channels; when they are too many for one notification, means all. Without an
 * `origin` it is meant for the sending process too.
 *
 * @internal
 */
export const payloadOf = (origin: string, channels: ReadonlySet<string>): string => {
  const payload = JSON.stringify({ origin, channels: Array.from(channels) })
  return payload.length * 4 < 8000 ? payload : JSON.stringify({ origin })
}

/**
 * The channels to wake: others than this process may have sent it, so what cannot be read means all.
 *
 * @internal
 */
export const channelsOf = (origin: string, payload: string | undefined): ReadonlyArray<string> | "all" =>
  Option.match(decode(payload), {
    onNone: () => "all",
    onSome: (told) => (told.origin === origin ? [] : (told.channels ?? "all"))
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const decode = Schema.decodeUnknownOption(
  Schema.parseJson(Schema.Struct({ origin: Schema.String, channels: Schema.optional(Schema.Array(Schema.String)) }))
)
