import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { MessageStore } from "@holdfast/core"
import { PgMessaging } from "@holdfast/postgres"
import { Duration, Effect, Exit, Fiber, Layer, Option, Redacted, Schedule } from "effect"
import { messaging, Scratch } from "./database.ts"
import { sent } from "./fixtures.ts"
import { Database, Marks, Wake } from "./internal.ts"

const { MessageStore: Store } = MessageStore

const commit = (...units: ReadonlyArray<ReadonlyArray<MessageStore.Write>>) =>
  Effect.flatMap(Store, (store) =>
    Effect.map(store.commit(units), (outcomes) =>
      outcomes.map((outcome) => (Option.isNone(outcome) ? "ok" : outcome.value.reason))
    )
  )
const claim = (channel: string, limit = 10) =>
  Effect.flatMap(Store, (store) => store.claim({ channel, limit, leaseMillis: 10_000, owner: "test" }))
const advance = (millis: number) => Effect.flatMap(Store, (store) => store.advance(millis))
const ids = (deliveries: ReadonlyArray<MessageStore.Delivery>) => deliveries.map(({ envelope }) => envelope.id)
const acknowledge = ({ lease }: MessageStore.Delivery): ReadonlyArray<MessageStore.Write> => [
  { _tag: "Acknowledge", lease }
]
const sends = (channel: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => sent(channel, String(from + n)))

/** Commits a message only when the effect has ended, though it is older than what is sent meanwhile. */
const late = <A, E, R>(channel: string, id: string, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      yield* connection.executeRaw("begin", [])
      yield* connection.executeRaw(
        `insert into holdfast.queue (channel, message_id, tag, endpoint, payload, headers, created_at, priority, undelayed)
         values ('${channel}', '${id}', 't', 'e', '{}', '{}', now(), 0, false)`,
        []
      )
      return yield* Effect.ensuring(effect, Effect.orDie(connection.executeRaw("commit", [])))
    })
  )

layer(messaging({ notifications: false }), { excludeTestServices: true })("the queue", (it) => {
  it.effect("what is never tried is neither updated nor anywhere else", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* commit(sends("plain", 1, 3))
      const before =
        yield* control`select message_id, xmin::text from holdfast.queue where channel = 'plain' order by id`
      const deliveries = yield* claim("plain")
      const after =
        yield* control`select message_id, xmin::text from holdfast.queue where channel = 'plain' order by id`
      assert.deepStrictEqual(after, before)
      assert.deepStrictEqual(yield* commit(...deliveries.map(acknowledge)), ["ok", "ok", "ok"])
      assert.deepStrictEqual(yield* control`select 1 from holdfast.waiting where channel = 'plain'`, [])
      yield* claim("plain")
      assert.deepStrictEqual(yield* control`select 1 from holdfast.lease where channel = 'plain'`, [])
    })
  )

  it.effect("what commits late, below all that was claimed and settled, is found by the next claims", () =>
    Effect.gen(function* () {
      yield* late(
        "below",
        "late",
        Effect.gen(function* () {
          yield* commit(sends("below", 1, 30))
          for (let n = 0; n < 3; n++) yield* commit(...(yield* claim("below")).map(acknowledge))
          assert.deepStrictEqual(ids(yield* claim("below")), [])
        })
      )
      const found = Effect.filterOrFail(claim("below"), (deliveries) => deliveries.length > 0)
      assert.deepStrictEqual(ids(yield* Effect.retry(found, { times: 100 })), ["late"])
    })
  )

  it.effect("what commits late among messages under a lease is found while that is renewed", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit(sends("among", 1, 2))
      const held = yield* late(
        "among",
        "late",
        Effect.gen(function* () {
          yield* commit(sends("among", 3, 4))
          return yield* claim("among")
        })
      )
      assert.deepStrictEqual(ids(held), ["1", "2", "3", "4"])
      yield* store.renew(
        held.map(({ lease }) => lease),
        10_000
      )
      const found = Effect.filterOrFail(claim("among"), (deliveries) => deliveries.length > 0)
      const [delivery] = yield* Effect.retry(found, { times: 100 })
      assert.strictEqual(delivery!.envelope.id, "late")
      assert.deepStrictEqual(new Set(yield* commit(...[...held, delivery!].map(acknowledge))), new Set(["ok"]))
    })
  )

  it.effect("a message whose consumer does not renew it comes back, though others of its claim are renewed", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit(sends("apart", 1, 2))
      const [one, two] = yield* claim("apart")
      yield* advance(6000)
      assert.deepStrictEqual(yield* store.renew([one!.lease], 10_000), [])
      yield* advance(6000)
      const [again] = yield* Effect.flatMap(Store, (store) =>
        store.claim({ channel: "apart", limit: 10, leaseMillis: 10_000, owner: "another" })
      )
      assert.strictEqual(again!.envelope.id, "2")
      assert.deepStrictEqual(yield* commit(acknowledge(one!), acknowledge(two!), acknowledge(again!)), [
        "ok",
        "LeaseLost",
        "ok"
      ])
    })
  )

  it.effect("acknowledges together tell which of them came too late", () =>
    Effect.gen(function* () {
      yield* commit(sends("several", 1, 4))
      const [one, two] = yield* claim("several", 2)
      yield* advance(6000)
      const [three, four] = yield* claim("several", 2)
      yield* advance(6000)
      const units = [one!, three!, two!, four!, four!].map(acknowledge)
      assert.deepStrictEqual(yield* commit(...units), ["LeaseLost", "ok", "LeaseLost", "ok", "LeaseLost"])
    })
  )

  it.effect("a lease under which nothing is left goes, though its channel is paused", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const store = yield* Store
      yield* commit(sends("pausing", 1, 2))
      yield* commit(...(yield* claim("pausing")).map(acknowledge))
      yield* store.flow.pause({ channel: "pausing" }, undefined)
      yield* claim("pausing")
      assert.deepStrictEqual(yield* control`select 1 from holdfast.lease where channel = 'pausing'`, [])
    })
  )

  it.effect("what commits late among messages of a process that has ended is found at once, and nothing is burnt", () =>
    Effect.gen(function* () {
      const { url } = yield* Scratch
      yield* commit(sends("ending", 1, 2))
      const open = PgMessaging.layerWith({ notifications: false }).pipe(
        Layer.provide(PgClient.layer({ url: Redacted.make(url) }))
      )
      const all = Effect.flatMap(claim("ending"), (deliveries) => commit(...deliveries.map(acknowledge)))
      const outcomes = yield* late(
        "ending",
        "late",
        Effect.zipRight(commit(sends("ending", 3, 4)), Effect.provide(all, open))
      )
      assert.deepStrictEqual(outcomes, ["ok", "ok", "ok", "ok"])
      const found = Effect.filterOrFail(claim("ending"), (deliveries) => deliveries.length > 0)
      const deliveries = yield* Effect.retry(found, { times: 100 })
      assert.deepStrictEqual(ids(deliveries), ["late"])
      assert.strictEqual(deliveries[0]!.envelope.attempt, 1)
    })
  )

  it.scoped(
    "who still is to look through all of a channel does not ask for it again and again while it is paused",
    () =>
      Effect.gen(function* () {
        const { url } = yield* Scratch
        const database = yield* Database.make({
          client: { url: Redacted.make(url) },
          schema: "holdfast",
          maxConnections: 1,
          timeoutMillis: 30_000
        })
        const marks = new Marks()
        const now = globalThis.performance.now()
        marks.learn(now, { marks: [], leaseLow: 0, token: undefined, depth: 0, micros: 0, full: false })
        assert.isFinite(marks.owed(now))
        yield* Effect.flatMap(Store, (store) => store.flow.pause({ channel: "owing" }, undefined))
        const [waited] = yield* Effect.timed(Wake.wake(database, Wake.makeHub(), marks, "owing", 1_000))
        assert.isAtLeast(Duration.toMillis(waited), 900)
      })
  )

  it.effect("a pause waits for the claims that have begun: none of them takes what is sent after it", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const { control } = yield* Scratch
        const store = yield* Store
        yield* commit(sends("racing", 1, 1))
        const blocker = yield* control.reserve
        yield* blocker.executeRaw("begin", [])
        yield* blocker.executeRaw(`select pg_advisory_xact_lock(hashtextextended('"holdfast".queue racing', 0))`, [])
        const waiting = (count: number) =>
          Effect.repeat(
            blocker.execute(
              `select 1 from pg_locks l join pg_database d on d.oid = l.database
               where l.locktype = 'advisory' and not l.granted and d.datname = current_database()`,
              [],
              undefined
            ),
            { until: (rows) => rows.length === count, schedule: Schedule.spaced("5 millis") }
          )
        const claiming = yield* Effect.fork(claim("racing"))
        yield* waiting(1)
        const pausing = yield* Effect.fork(store.flow.pause({ channel: "racing" }, undefined))
        yield* waiting(2)
        yield* blocker.executeRaw("commit", [])
        assert.deepStrictEqual(ids(yield* Fiber.join(claiming)), ["1"])
        yield* Fiber.join(pausing)
        yield* commit(sends("racing", 2, 2))
        assert.deepStrictEqual(yield* claim("racing"), [])
      })
    )
  )

  it.effect("a build from before the queue works on with what is in its table", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* control.unsafe(
        `insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at)
         values ('older', '1', 't', 'e', '{}', '{}', now(), now()), ('older', '2', 't', 'e', '{}', '{}', now(), now())`
      )
      const old = yield* control<{
        message_id: string
      }>`select message_id from holdfast.claim('older', 1, 60000, 'old')`
      assert.deepStrictEqual(old, [{ message_id: "1" }])
      assert.deepStrictEqual(ids(yield* claim("older")), ["2"])
    })
  )

  it.effect("two do not claim one message where transactions are isolated more strictly", () =>
    Effect.gen(function* () {
      const { control, name, url } = yield* Scratch
      yield* commit(sends("strict", 1, 60))
      yield* control.unsafe(`alter database ${name} set default_transaction_isolation = 'repeatable read'`)
      const claims = Effect.gen(function* () {
        const exits = yield* Effect.forEach(Array.from({ length: 12 }), () => Effect.exit(claim("strict", 5)), {
          concurrency: "unbounded"
        })
        return exits.filter(Exit.isSuccess).flatMap(({ value }) => value)
      })
      const client = PgClient.layer({ url: Redacted.make(url) })
      const open = PgMessaging.layerWith({ notifications: false, maxConnections: 6 }).pipe(Layer.provide(client))
      const both = yield* Effect.all([Effect.provide(claims, open), Effect.provide(claims, open)], {
        concurrency: 2
      }).pipe(
        Effect.ensuring(Effect.orDie(control.unsafe(`alter database ${name} reset default_transaction_isolation`)))
      )
      const all = ids(both.flat())
      assert.isAbove(all.length, 0)
      assert.strictEqual(new Set(all).size, all.length)
    })
  )
})
