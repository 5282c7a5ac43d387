import { assert, layer } from "@effect/vitest"
import { MessageStore } from "@holdfast/core"
import { PgMigrations } from "@holdfast/postgres"
import { Effect } from "effect"
import { ClientLive, messaging, Scratch } from "./database.ts"
import { envelope, sent } from "./fixtures.ts"

const { MessageStore: Store } = MessageStore

const keyed = (channel: string, id: string, orderingKey: string) =>
  sent(channel, id, { envelope: envelope(id, { orderingKey }) })
const commit = (...writes: ReadonlyArray<MessageStore.Write>) =>
  Effect.flatMap(Store, (store) => store.commit([writes]))
const claim = (channel: string, limit = 10) =>
  Effect.map(
    Effect.flatMap(Store, (store) => store.claim({ channel, limit, leaseMillis: 60_000, owner: "test" })),
    (deliveries) => deliveries.map((delivery) => delivery.envelope.id)
  )
/** Runs while another session has a transaction open in which it did this; answers what that was. */
const during = <A, E, R>(text: string, effect: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      yield* connection.executeRaw("begin", [])
      const rows = yield* connection.execute(text, [], undefined)
      yield* Effect.ensuring(effect, Effect.orDie(connection.executeRaw("commit", [])))
      return rows.map((row) => row.id)
    })
  )

const claiming = (channel: string) =>
  `select message_id as id from holdfast.claim('${channel}', 10, 60000, 'another', false, '{}', '{}', '{}', 0, 2, 2, '{}')
   where token is not null order by priority desc, id`

layer(messaging({ notifications: false }), { excludeTestServices: true })("ordering keys in PostgreSQL", (it) => {
  it.effect("what commits late, before a message that is being handled, waits for it", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const inserting = `insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, ordering_key,
        created_at, available_at) values ('late', '1', 't', 'Confirm', '{}', '{}', 'a', now(), now())`
      yield* during(
        inserting,
        Effect.gen(function* () {
          yield* commit(keyed("late", "2", "a"))
          assert.deepStrictEqual(yield* claim("late"), ["2"])
        })
      )
      assert.deepStrictEqual(yield* claim("late"), [], "2 is being handled")
      yield* store.advance(61_000)
      assert.deepStrictEqual(yield* claim("late"), ["1"])
      assert.deepStrictEqual(yield* claim("late"), [])
    })
  )

  it.effect("what commits late, before a message that a claim under way has taken, waits for it too", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const [row] = yield* control<{ id: string }>`
        select nextval(pg_get_serial_sequence('holdfast.message', 'id')) as id`
      yield* commit(keyed("race", "2", "a"))
      const late = control.unsafe(`
        insert into holdfast.message (id, channel, message_id, tag, endpoint, payload, headers, ordering_key, created_at,
          available_at) overriding system value
        values (${row!.id}, 'race', '1', 't', 'Confirm', '{}', '{}', 'a', now(), now())`)
      const taken = yield* during(
        claiming("race"),
        Effect.gen(function* () {
          yield* late
          // the lease on 2 cannot be seen yet
          assert.deepStrictEqual(yield* claim("race"), [])
        })
      )
      assert.deepStrictEqual(taken, ["2"])
      assert.deepStrictEqual(yield* claim("race"), [], "2 is being handled")
    })
  )

  it.effect("a claim under way keeps nobody from other keys, nor from what has none", () =>
    Effect.gen(function* () {
      yield* commit(keyed("beside", "1", "a"), keyed("beside", "2", "a"))
      const others = Effect.gen(function* () {
        yield* commit(keyed("beside", "3", "b"), sent("beside", "4"))
        assert.deepStrictEqual(yield* claim("beside"), ["3", "4"])
      })
      assert.deepStrictEqual(yield* during(claiming("beside"), others), ["1"])
    })
  )

  it.effect("a claim under way in another schema keeps nobody from the same key", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* Effect.provide(PgMigrations.migrate({ schema: "elsewhere" }), ClientLive)
      yield* control.unsafe(`insert into elsewhere.message (channel, message_id, tag, endpoint, payload, headers,
        ordering_key, created_at, available_at) values ('twice', '1', 't', 'Confirm', '{}', '{}', 'a', now(), now())`)
      yield* commit(keyed("twice", "2", "a"))
      const here = Effect.map(claim("twice"), (ids) => assert.deepStrictEqual(ids, ["2"]))
      const there = yield* during(claiming("twice").replace("holdfast.", "elsewhere."), here)
      assert.deepStrictEqual(there, ["1"])
    })
  )

  it.effect("what is due later does not pass what another claim is just bringing in", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const keys = ["a", "b", "c", "d"]
      const later = (id: string, millis: number) =>
        keys.map((key) => ({ ...keyed("due", key + id, key), due: { _tag: "After" as const, millis } }))
      yield* commit(...later("1", 1000), sent("due", "x", { priority: 1 }))
      yield* store.advance(2000)
      const taken = yield* during(
        claiming("due").replace("10,", "1,"),
        Effect.gen(function* () {
          yield* commit(...later("2", 1), sent("due", "y", { due: { _tag: "After", millis: 1 } }))
          yield* store.advance(1000)
          assert.deepStrictEqual(yield* claim("due"), ["y"], "the first ones of the keys cannot be seen yet")
        })
      )
      assert.deepStrictEqual(taken, ["x"])
      assert.deepStrictEqual((yield* claim("due")).toSorted(), ["a1", "b1", "c1", "d1"])
    })
  )

  it.effect(
    "a consumer does not ask without rest for a lease that has run out, but whose commit is still under way",
    () =>
      Effect.gen(function* () {
        const store = yield* Store
        yield* commit(keyed("stuck", "1", "a"), keyed("stuck", "2", "a"))
        assert.deepStrictEqual(yield* claim("stuck"), ["1"])
        yield* store.advance(61_000)
        let asked = 0
        const asking = Effect.suspend(() => {
          asked++
          return Effect.zipRight(claim("stuck"), store.wake("stuck", 60_000))
        })
        yield* during(
          "select message_id as id from holdfast.message where channel = 'stuck' and message_id = '1' for update",
          Effect.timeoutOption(Effect.forever(asking), 200)
        )
        assert.isBelow(asked, 20)
        yield* Effect.timeout(store.wake("stuck", 60_000), 5_000)
        assert.deepStrictEqual(yield* claim("stuck"), ["1"])
      })
  )

  it.effect("the database itself refuses two of one key at once", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* commit(keyed("refused", "1", "a"), keyed("refused", "2", "a"))
      const both = control.unsafe(
        "update holdfast.message set lease_token = 1, lease_until = now() where channel = 'refused'"
      )
      const error = yield* Effect.flip(both)
      assert.include(String((error.cause as { readonly message: string }).message), "message_lane_leased")
    })
  )

  it.effect("of some thousand keys that wait, the one that can be claimed is found", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* control.unsafe(`insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, ordering_key,
          created_at, available_at)
        select 'wide', n, 't', 'e', '{}', '{}', 'key ' || n % 900, now(),
          now() + case when n < 900 then interval '1 hour' else interval '0' end
        from generate_series(0, 3600) n`)
      assert.deepStrictEqual(yield* claim("wide"), [])
      yield* control.unsafe(
        "update holdfast.message set available_at = now() where channel = 'wide' and message_id = '77'"
      )
      assert.deepStrictEqual(yield* claim("wide"), ["77"])
    })
  )

  it.effect("a key that had nothing until now is found at once, however many are held up", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* control.unsafe(`insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, ordering_key,
          created_at, available_at)
        select 'held', n, 't', 'e', '{}', '{}', 'key ' || n, now(), now() + interval '1 hour'
        from generate_series(1, 10000) n`)
      for (const id of ["1", "2", "3", "4", "5"]) {
        yield* commit(keyed("held", id, id))
        assert.deepStrictEqual(yield* claim("held"), [id])
      }
    })
  )
})
