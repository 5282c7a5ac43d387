import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { MessageStore, UnitOfWork } from "@holdfast/core"
import { PgMessaging } from "@holdfast/postgres"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Option, Redacted } from "effect"
import { messaging, Scratch } from "./database.ts"
import { envelope, sent } from "./fixtures.ts"

const { MessageStore: Store } = MessageStore
type Writes = ReadonlyArray<MessageStore.Write>

const commit = (...units: ReadonlyArray<Writes>) =>
  Effect.flatMap(Store, (store) =>
    Effect.map(store.commit(units), (outcomes) =>
      outcomes.map((outcome) => (Option.isNone(outcome) ? "ok" : outcome.value.reason))
    )
  )
const claim = (channel: string, limit = 100, leaseMillis = 10_000) =>
  Effect.flatMap(Store, (store) => store.claim({ channel, limit, leaseMillis, owner: "test" }))
const ids = (deliveries: ReadonlyArray<MessageStore.Delivery>) => deliveries.map(({ envelope }) => envelope.id)
const advance = (millis: number) => Effect.flatMap(Store, (store) => store.advance(millis))
const acknowledge = (delivery: MessageStore.Delivery): Writes => [{ _tag: "Acknowledge", lease: delivery.lease }]

layer(messaging(), { excludeTestServices: true })("PgMessageStore", (it) => {
  it.effect("hands out what was sent, once, by priority and then age", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit([sent("order", "1"), sent("order", "2", { priority: 5 })], [sent("order", "3", { priority: 5 })])
      const first = yield* claim("order", 2)
      assert.deepStrictEqual(ids(first), ["2", "3"])
      assert.deepStrictEqual(first[0]!.envelope, envelope("2"))
      const second = yield* claim("order")
      assert.deepStrictEqual(ids(second), ["1"])
      assert(BigInt(second[0]!.lease.token) > BigInt(first[0]!.lease.token))
      assert.deepStrictEqual(yield* commit(...[...first, ...second].map(acknowledge)), ["ok", "ok", "ok"])
      assert.deepStrictEqual(yield* store.depth("order"), { ready: 0, scheduled: 0 })
    })
  )

  it.effect("an expired lease commits nothing, and counts as a lost consumer", () =>
    Effect.gen(function* () {
      yield* commit([sent("expire", "1")])
      const [lost] = yield* claim("expire", 1, 5000)
      yield* advance(6000)
      assert.deepStrictEqual(yield* commit([...acknowledge(lost!), sent("expire", "effect")]), ["LeaseLost"])
      const [again, ...rest] = yield* claim("expire")
      assert.deepStrictEqual(rest, [])
      assert.deepStrictEqual([again!.crashes, again!.envelope.attempt], [1, 2])
      assert.deepStrictEqual(yield* commit(acknowledge(lost!)), ["LeaseLost"])
      assert.deepStrictEqual(yield* commit(acknowledge(again!)), ["ok"])
    })
  )

  it.effect("a lease is renewed while it lives, and not after", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit([sent("renew", "1")], [sent("renew", "2")])
      const [one, two] = yield* claim("renew", 2, 5000)
      yield* advance(3000)
      assert.deepStrictEqual(yield* store.renew([one!.lease], 5000), [])
      yield* advance(3000)
      assert.deepStrictEqual(yield* store.renew([one!.lease, two!.lease], 5000), [two!.lease])
      assert.deepStrictEqual(yield* commit(acknowledge(one!), acknowledge(two!)), ["ok", "LeaseLost"])
      yield* advance(100)
      yield* Effect.flatMap(claim("renew"), ([two]) => commit(acknowledge(two!)))
    })
  )

  it.effect("what is released counts neither as an attempt nor as a crash", () =>
    Effect.gen(function* () {
      const store = yield* Store
      yield* commit([sent("release", "1")])
      const [first] = yield* claim("release")
      yield* store.release([first!.lease], 0)
      const [second] = yield* claim("release")
      yield* store.release([second!.lease, first!.lease], 5000)
      assert.deepStrictEqual(yield* claim("release"), [])
      assert.deepStrictEqual(yield* store.depth("release"), { ready: 0, scheduled: 1 })
      yield* advance(5001)
      const [third] = yield* claim("release")
      assert.deepStrictEqual([third!.crashes, third!.envelope.attempt], [0, 1])
      yield* commit(acknowledge(third!))
    })
  )

  it.effect("an interrupted claim leaves nothing claimed", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* commit([sent("interrupted", "1")])
      for (let n = 0; n < 5; n++) {
        const fiber = yield* Effect.fork(claim("interrupted"))
        yield* Effect.sleep(n)
        yield* Fiber.interrupt(fiber)
        if (Exit.isSuccess(yield* Fiber.await(fiber))) return
      }
      yield* Effect.sleep(100)
      const leased =
        yield* control`select 1 from holdfast.message where channel = 'interrupted' and lease_until is not null
          union all select 1 from holdfast.lease where channel = 'interrupted'
            and exists (select from holdfast.queue q where q.id between from_id and last_id)`
      assert.strictEqual(leased.length, 0)
    })
  )

  it.effect("a retry keeps the history of failures and waits for its time", () =>
    Effect.gen(function* () {
      yield* commit([sent("retry", "1")])
      const [first] = yield* claim("retry")
      const failures = [{ at: 1, error: 'no "stock"\n\\' }]
      assert.deepStrictEqual(yield* commit([{ _tag: "Retry", lease: first!.lease, failures, afterMillis: 1000 }]), [
        "ok"
      ])
      assert.deepStrictEqual(yield* claim("retry"), [])
      yield* advance(1001)
      const [second] = yield* claim("retry")
      assert.deepStrictEqual(second!.envelope, envelope("1", { attempt: 2, failures }))
      yield* commit(acknowledge(second!))
    })
  )

  it.effect("sends that are due later, at an instant, or in the past", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const now = yield* store.now
      yield* commit([
        sent("due", "after", { due: { _tag: "After", millis: 1000 } }),
        sent("due", "at", { due: { _tag: "At", epochMillis: now + 60_000 } }),
        sent("due", "past", { due: { _tag: "At", epochMillis: 5 } })
      ])
      assert.deepStrictEqual(ids(yield* claim("due")), ["past"])
      const listed = yield* store.scheduled({ channel: "due" })
      assert.deepStrictEqual(
        listed.map(({ envelope }) => envelope.id),
        ["after", "at"]
      )
      assert.strictEqual(listed[1]!.dueAt, now + 60_000)
      assert.isTrue(yield* store.reschedule(listed[1]!.key, { _tag: "After", millis: 0 }))
      assert.deepStrictEqual(ids(yield* claim("due")), ["at"])
      assert.isTrue(yield* store.cancelScheduled(listed[0]!.key))
      assert.isFalse(yield* store.cancelScheduled(listed[0]!.key))
      assert.deepStrictEqual(yield* store.scheduled({ channel: "due" }), [])
    })
  )

  it.effect("a timer armed again replaces itself, and the last word in a unit counts", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const timer = { owner: "saga-1", name: "payment" }
      const arm = (id: string, millis: number) => sent("timer", id, { timer, due: { _tag: "After", millis } })
      const cancel: MessageStore.CancelTimer = { _tag: "CancelTimer", owner: "saga-1", name: undefined }
      const armed = Effect.map(store.scheduled({ channel: "timer" }), (rows) => rows.map((_) => _.envelope.id))
      yield* commit([arm("a", 1000)], [arm("b", 2000)])
      assert.deepStrictEqual(yield* armed, ["b"])
      yield* commit([arm("c", 1000), cancel])
      assert.deepStrictEqual(yield* armed, [])
      yield* commit([cancel, arm("d", 0), arm("e", 1000)])
      assert.deepStrictEqual(yield* armed, ["e"])
      yield* advance(1001)
      yield* commit([sent("timer", "other")])
      assert.deepStrictEqual(ids(yield* claim("timer", 1)), ["other"])
      yield* commit([arm("f", 5000)])
      assert.deepStrictEqual(yield* claim("timer"), [])
      yield* commit([arm("g", 0)])
      yield* commit([{ _tag: "CancelTimer", owner: "saga-1", name: "payment" }])
      assert.deepStrictEqual(yield* claim("timer"), [])
      assert.deepStrictEqual(yield* armed, [])
    })
  )

  it.effect("a timer that fired and is retried may be armed again meanwhile", () =>
    Effect.gen(function* () {
      const timer = { owner: "saga-2", name: "t" }
      yield* commit([sent("fired", "1", { timer, due: { _tag: "After", millis: 0 } })])
      const [fired] = yield* claim("fired")
      yield* commit([sent("fired", "2", { timer, due: { _tag: "After", millis: 1000 } })])
      assert.deepStrictEqual(yield* commit([{ _tag: "Retry", lease: fired!.lease, failures: [], afterMillis: 500 }]), [
        "ok"
      ])
      yield* advance(1001)
      assert.deepStrictEqual(ids(yield* claim("fired")), ["1", "2"])
    })
  )

  it.effect("publishing copies to every subscription except those already served", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const subscription = (endpoint: string, channel: string) => ({ tag: "Published", endpoint, channel })
      yield* store.subscribe([subscription("A", "pub-1"), subscription("B", "pub-2"), subscription("C", "pub-2")])
      yield* store.subscribe([subscription("B", "pub-2")])
      const event = envelope("e", { tag: "Published", endpoint: "" })
      yield* commit([{ _tag: "Publish", envelope: event, priority: 3, due: undefined, except: ["C", 'x"y'] }])
      const copies = [...(yield* claim("pub-1")), ...(yield* claim("pub-2"))]
      assert.deepStrictEqual(
        copies.map((_) => [_.envelope.endpoint, _.envelope.id, _.undelayed]),
        [
          ["A", "e", true],
          ["B", "e", true]
        ]
      )
      yield* store.unsubscribe("A")
      yield* commit([
        { _tag: "Publish", envelope: event, priority: 0, due: { _tag: "After", millis: 1000 }, except: [] }
      ])
      assert.deepStrictEqual(yield* claim("pub-1"), [])
      assert.strictEqual((yield* store.depth("pub-2")).scheduled, 2)
      assert.strictEqual((yield* store.subscriptions).length, 2)
    })
  )

  it.effect("in a group only the units that conflict fail", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const put = (id: string, version: number): MessageStore.SagaPut => ({
        _tag: "SagaPut",
        saga: "S",
        id,
        version,
        state: `{"v":${version}}`,
        completed: false,
        timers: { t: "1" }
      })
      const remember = (key: string): MessageStore.Deduplicate => ({ _tag: "Deduplicate", key, windowMillis: 1000 })
      const stolen = { channel: "group", key: "999999", token: "1" }
      const outcomes = yield* commit(
        [sent("group", "1"), put("s", 1)],
        [sent("group", "2"), { _tag: "Acknowledge", lease: stolen }],
        [sent("group", "3"), put("s", 1)],
        [sent("group", "4"), put("s", 2)],
        [sent("group", "5"), remember("k")],
        [sent("group", "6"), remember("k")],
        [sent("group", "7"), put("s2", 2)],
        [sent("group", "8")]
      )
      assert.deepStrictEqual(outcomes, ["ok", "LeaseLost", "Conflict", "ok", "ok", "Conflict", "Conflict", "ok"])
      assert.deepStrictEqual(ids(yield* claim("group")).toSorted(), ["1", "4", "5", "8"])
      const stored = yield* store.loadSaga("S", "s")
      assert.deepStrictEqual(Option.getOrThrow(stored), {
        saga: "S",
        id: "s",
        version: 2,
        state: '{"v":2}',
        completed: false,
        timers: { t: "1" }
      })
      assert.deepStrictEqual(yield* store.remembered(["k", "other"]), new Set(["k"]))
      yield* advance(1001)
      assert.deepStrictEqual(yield* store.remembered(["k"]), new Set())
      assert.deepStrictEqual(yield* commit([remember("k")]), ["ok"])
    })
  )

  it.effect("a lock that one unit waits for holds up none of those that would have been committed with it", () =>
    Effect.gen(function* () {
      const client = yield* PgClient.PgClient
      const remember = (key: string): Writes => [{ _tag: "Deduplicate", key, windowMillis: 60_000 }]
      const saga = (version: number): Writes => [
        { _tag: "SagaPut", saga: "Held", id: "1", version, state: "{}", completed: false, timers: {} }
      ]
      const [locked, released] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const holder = yield* Effect.flatMap(UnitOfWork.UnitOfWork, (unit) =>
        unit.stage(...remember("held"), ...remember("kept"))
      ).pipe(
        UnitOfWork.run,
        Effect.zipRight(Deferred.succeed(locked, undefined)),
        Effect.zipRight(Deferred.await(released)),
        Effect.zipRight(Effect.fail("undone" as const)),
        client.withTransaction,
        Effect.fork
      )
      yield* Deferred.await(locked)
      const stuck = yield* Effect.fork(commit(remember("free"), remember("held"), remember("held")))
      const others = yield* Effect.forEach(["a", "b"], (key) => Effect.fork(commit(remember(key))))
      assert.deepStrictEqual(yield* Effect.forEach(others, Fiber.join), [["ok"], ["ok"]])
      const later = yield* Effect.fork(commit(saga(1), [...saga(2), ...remember("kept")], remember("c")))
      const other = yield* Effect.fork(commit(remember("d")))
      assert.deepStrictEqual(yield* Fiber.join(other), ["ok"])
      assert.deepStrictEqual(yield* Effect.forEach([stuck, later], Fiber.poll), [Option.none(), Option.none()])
      yield* Deferred.succeed(released, undefined)
      assert.deepStrictEqual(yield* Fiber.join(stuck), ["ok", "ok", "Conflict"])
      assert.deepStrictEqual(yield* Fiber.join(later), ["ok", "ok", "ok"])
      yield* Fiber.await(holder)
    })
  )

  it.effect("a limit of the database's own on waiting refuses no unit: it may be tried again", () =>
    Effect.gen(function* () {
      const { control, url: address } = yield* Scratch
      const url = new URL(address)
      url.searchParams.set("options", "-c lock_timeout=50 -c statement_timeout=100")
      const impatient = yield* PgMessaging.layerWith({}).pipe(
        Layer.provide(PgClient.layer({ url: Redacted.make(url.href) })),
        Layer.build
      )
      const locking = (table: string) => control.unsafe(`lock table holdfast.${table} in access exclusive mode`)
      const outcome = commit([{ _tag: "Deduplicate", key: "limited", windowMillis: 60_000 }])
      const locked = Effect.zipRight(locking("deduplication"), Effect.provide(outcome, impatient))
      assert.deepStrictEqual(yield* control.withTransaction(locked), ["Unavailable"])
      assert.deepStrictEqual(yield* Effect.provide(outcome, impatient), ["ok"])
    }).pipe(Effect.scoped)
  )

  it.effect("a lease is renewed though another message is just being settled, which may take long", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const { control } = yield* Scratch
      yield* commit([sent("settling", "1")], [sent("settling", "2")])
      const [one, two] = yield* claim("settling", 2, 5000)
      const locked = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const settling = yield* Effect.fork(
        control
          .withTransaction(
            control`select from holdfast.lease where id = ${one!.lease.token} for key share`.pipe(
              Effect.zipRight(control`delete from holdfast.queue where channel = 'settling' and message_id = '1'`),
              Effect.zipRight(Deferred.succeed(locked, undefined)),
              Effect.zipRight(Deferred.await(done)),
              Effect.zipRight(Effect.fail("undone"))
            )
          )
          .pipe(Effect.ignore)
      )
      yield* Deferred.await(locked)
      const lost = yield* Effect.timeout(store.renew([one!.lease, two!.lease], 20_000), "2 seconds").pipe(
        Effect.ensuring(Deferred.succeed(done, undefined))
      )
      assert.deepStrictEqual(lost, [])
      yield* Fiber.join(settling)
      yield* advance(6000)
      // they share a lease, on which the one that is settled has no other claim than to keep it from being taken away
      assert.deepStrictEqual(yield* store.renew([one!.lease, two!.lease], 5000), [])
    })
  )

  it.effect("a consumer is woken when a unit with SQL has committed, not before", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const sql = yield* PgClient.PgClient
      yield* sql.unsafe(`create table slow (id int);
        create function slow_commit() returns trigger language plpgsql as
          'begin perform pg_sleep(0.3); return null; end';
        create constraint trigger slow_commit after insert on slow deferrable initially deferred
          for each row execute function slow_commit()`)
      const woken = yield* Effect.fork(store.wake("slow", 10_000))
      yield* Effect.sleep(50)
      const unit = Effect.zipRight(
        sql`insert into slow values (1)`,
        Effect.flatMap(UnitOfWork.UnitOfWork, (unit) => unit.stage(sent("slow", "1")))
      )
      const committing = yield* Effect.fork(UnitOfWork.run(unit))
      yield* Fiber.join(woken)
      assert.deepStrictEqual(ids(yield* claim("slow")), ["1"])
      yield* Fiber.join(committing)
    })
  )

  it.effect("a claim on an idempotency key is renewed by its holder alone", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const first = yield* store.claimKey("renewed", 2000)
      assert(first._tag === "Claimed")
      yield* store.renewKey("renewed", first.token, 60_000)
      yield* advance(3000)
      const waiting = yield* Effect.fork(store.claimKey("renewed", 2000))
      yield* Effect.sleep(100)
      assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
      yield* advance(60_000)
      const second = yield* Fiber.join(waiting)
      assert(second._tag === "Claimed")
      yield* store.renewKey("renewed", first.token, 60_000)
      yield* advance(3000)
      assert.strictEqual((yield* store.claimKey("renewed", 1000))._tag, "Claimed")
    })
  )

  it.effect("an idempotency key is claimed once, waited for, and answered", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const first = yield* store.claimKey("key", 10_000)
      assert(first._tag === "Claimed")
      const waiting = yield* Effect.fork(store.claimKey("key", 10_000))
      yield* Effect.sleep(40)
      const complete = (token: string): MessageStore.CompleteKey => ({
        _tag: "CompleteKey",
        key: "key",
        token,
        result: "42",
        windowMillis: 60_000
      })
      assert.deepStrictEqual(yield* commit([complete("0")]), ["LeaseLost"])
      assert.deepStrictEqual(yield* commit([complete(first.token)]), ["ok"])
      assert.deepStrictEqual(yield* Fiber.join(waiting), { _tag: "Completed", result: "42" })
      yield* advance(60_001)
      const again = yield* store.claimKey("key", 1000)
      assert(again._tag === "Claimed")
      yield* advance(1001)
      const taken = yield* store.claimKey("key", 1000)
      assert(taken._tag === "Claimed")
      const late = yield* Effect.flip(store.completeKey("key", again.token, "1", 1000))
      assert.strictEqual(late.reason, "LeaseLost")
      yield* store.releaseKey("key", taken.token)
      assert.strictEqual((yield* store.claimKey("key", 1000))._tag, "Claimed")
    })
  )

  it.effect("dead letters keep the message as it was, and are replayed as if sent now", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const payload = '{ "odd" : "spacing\\u0000" }'
      yield* commit([sent("dead", "1", { priority: 4, envelope: envelope("1", { payload }) })])
      const [delivery] = yield* claim("dead")
      const park = (lease: MessageStore.Lease | undefined): MessageStore.Park => ({
        _tag: "Park",
        channel: "dead",
        lease,
        envelope: envelope(lease === undefined ? "broker" : "1", { payload: "{}", failures: [{ at: 1, error: "no" }] }),
        reason: "Exhausted",
        error: "boom\u0000",
        fingerprint: lease === undefined ? "other" : "boom"
      })
      assert.deepStrictEqual(yield* commit([park(delivery!.lease)], [park(undefined)]), ["ok", "ok"])
      assert.deepStrictEqual(yield* store.depth("dead"), { ready: 0, scheduled: 0 })
      assert.strictEqual(yield* store.countDeadLetters({ channel: "dead" }), 2)
      const [letter] = yield* store.deadLetters({ fingerprint: "boom", limit: 5 })
      assert.strictEqual(letter!.envelope.payload, payload)
      assert.deepStrictEqual(letter!.envelope.failures, [{ at: 1, error: "no" }])
      assert.strictEqual(yield* store.replay([letter!.key, letter!.key, "123456"]), 1)
      assert.strictEqual(yield* store.replay([letter!.key]), 0)
      const [back] = yield* claim("dead")
      assert.strictEqual(back!.envelope.payload, payload)
      assert.deepStrictEqual([back!.envelope.attempt, back!.envelope.failures], [1, []])
      assert.match(back!.envelope.headers.replayedAt!, /^\d{13}$/)
      assert.strictEqual(back!.envelope.headers.tenant, "acme")
      const [other] = yield* store.deadLetters({ id: "broker" })
      assert.strictEqual(yield* store.deleteDeadLetters([other!.key]), 1)
      yield* commit(acknowledge(back!))
    })
  )

  it.effect("a consumer is woken by a commit, by what is due, and otherwise after its time", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const idle = yield* Effect.timed(store.wake("wake", 60))
      assert.isAbove(Duration.toMillis(idle[0]), 40)
      const woken = yield* Effect.fork(store.wake("wake", 10_000))
      yield* Effect.sleep(30)
      yield* commit([sent("wake", "1", { due: { _tag: "After", millis: 150 } })])
      yield* Effect.timeout(Fiber.join(woken), 2000)
      yield* Effect.timeout(store.wake("wake", 10_000), 2000)
      assert.deepStrictEqual(ids(yield* claim("wake")), ["1"])
    })
  )

  it.effect("keeps numbers, unicode and odd names as they were", () =>
    Effect.gen(function* () {
      const odd = "ünï\"cöde\\{},🙂\n'; drop table x"
      const strange = envelope(odd, { headers: { [odd]: odd }, payload: JSON.stringify({ odd, lone: "\ud800" }) })
      yield* commit([sent(odd, odd, { envelope: strange, priority: -7 })])
      const [delivery] = yield* claim(odd)
      assert.deepStrictEqual(delivery!.envelope, strange)
      yield* commit(acknowledge(delivery!))
    })
  )

  it.effect("many committers at once do not deadlock", () =>
    Effect.gen(function* () {
      const store = yield* Store
      const unit = (n: number): Writes =>
        Array.from(
          { length: 5 },
          (_, k): MessageStore.Write => ({
            _tag: "Send",
            channel: "many",
            envelope: envelope(`${n}-${k}`),
            priority: 0,
            due: { _tag: "After", millis: 60_000 },
            timer: { owner: "shared", name: String((n * 7 + k * 3) % 5) }
          })
        )
      const outcomes = yield* Effect.forEach(
        Array.from({ length: 40 }, (_, n) => n),
        (n) => commit(unit(n)),
        { concurrency: "unbounded" }
      )
      assert.isTrue(outcomes.flat().every((outcome) => outcome === "ok"))
      assert.strictEqual((yield* store.depth("many")).scheduled, 5)
    })
  )
})
