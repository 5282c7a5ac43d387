import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Context, Effect, Option } from "effect"
import {
  acknowledge,
  advance,
  after,
  claim,
  claimOne,
  commit,
  day,
  deduplicate,
  envelope,
  type Features,
  fresh,
  hour,
  type It,
  ids,
  minute,
  park,
  refused,
  retry,
  sagaPut,
  send,
  sent,
  using
} from "./fixtures.ts"

const completeKey = (key: string, token: string): MessageStore.CompleteKey => ({
  _tag: "CompleteKey",
  key,
  token,
  result: '"done"',
  windowMillis: hour
})

const claimKey = (key: string) => using((store) => store.claimKey(key, minute))

const tokenOf = (claim: MessageStore.KeyClaim): string => (claim._tag === "Claimed" ? claim.token : assert.fail())

/** A claim that another consumer has taken over. */
const lost = Effect.gen(function* () {
  const channel = fresh("orders")
  yield* sent(channel, 1)
  const delivery = yield* claimOne(channel)
  yield* advance(2 * minute)
  yield* claimOne(channel)
  return delivery
})

/** A write that must fail its unit, and the reason. */
const conflicts = {
  "an acknowledgement without lease": Effect.map(lost, (delivery) => [acknowledge(delivery), "LeaseLost"] as const),
  "a retry without lease": Effect.map(lost, (delivery) => [retry(delivery, 0), "LeaseLost"] as const),
  "a parking without lease": Effect.map(lost, (delivery) => [park(delivery), "LeaseLost"] as const),
  "a saga that exists already": Effect.gen(function* () {
    const put = sagaPut()
    yield* commit(put)
    return [put, "Conflict"] as const
  }),
  "a saga that somebody else has changed": Effect.gen(function* () {
    const put = sagaPut()
    yield* commit(put)
    yield* commit({ ...put, version: 2 })
    return [{ ...put, version: 2 }, "Conflict"] as const
  }),
  "a saga that does not exist": Effect.sync(() => [sagaPut({ version: 2 }), "Conflict"] as const),
  "a remembered key": Effect.gen(function* () {
    const key = fresh("key")
    yield* commit(deduplicate(key))
    return [deduplicate(key), "Conflict"] as const
  }),
  "an answer to a key that somebody else has taken": Effect.gen(function* () {
    const key = fresh("key")
    const token = tokenOf(yield* claimKey(key))
    yield* advance(2 * minute)
    yield* claimKey(key)
    return [completeKey(key, token), "LeaseLost"] as const
  })
}

/** A unit of every kind of write, and a check that none of it happened, which then does it without the bad one. */
const everything = Effect.gen(function* () {
  const [channel, other, owner, tag, key, dedup] = [
    fresh("orders"),
    fresh("orders"),
    fresh("saga"),
    fresh("Placed"),
    fresh("key"),
    fresh("key")
  ]
  const timer = (name: string) => send(channel, { due: after(day), timer: { owner, name } })
  const armed = [timer("rearmed"), timer("cancelled")]
  yield* commit(...armed)
  yield* using((store) => store.subscribe([{ tag, endpoint: fresh("Mail"), channel }]))
  yield* sent(other, 3)
  const [handled, failed, given] = yield* claim(other)
  const saga = sagaPut()
  const writes: ReadonlyArray<MessageStore.Write> = [
    acknowledge(handled!),
    retry(failed!, hour, { at: 1, error: "no" }),
    park(given!),
    park(undefined, { channel: other }),
    send(channel),
    send(channel, { due: after(hour) }),
    timer("rearmed"),
    timer("rearmed"),
    { _tag: "CancelTimer", owner, name: "cancelled" },
    { _tag: "Publish", envelope: envelope({ tag }), priority: 0, due: undefined, except: [] },
    saga,
    deduplicate(dedup),
    completeKey(key, tokenOf(yield* claimKey(key)))
  ]
  const seen = using((store) =>
    Effect.all({
      channel: store.depth(channel),
      other: store.depth(other),
      armed: Effect.map(store.scheduled({ channel }), ids),
      saga: Effect.map(store.loadSaga(saga.saga, saga.id), Option.isSome),
      remembered: Effect.map(store.remembered([dedup]), (found) => found.size),
      dead: store.countDeadLetters({ channel: other })
    })
  )
  return { writes, seen, armed: ids(armed) }
})

export const committing = (it: It, features: Features): void => {
  it.effect("says what keeps its channels, and how many handlers may use it at once", () =>
    using((store) =>
      Effect.sync(() => {
        assert.strictEqual(store.kind, features.kind)
        assert.isTrue(store.handlerConnections === undefined || store.handlerConnections > 0)
      })
    )
  )

  it.effect("commits every kind of write in one unit", () =>
    Effect.gen(function* () {
      const { seen, writes } = yield* everything
      yield* commit(...writes)
      const { armed, ...rest } = yield* seen
      assert.deepStrictEqual(rest, {
        channel: { ready: 2, scheduled: 2 },
        other: { ready: 0, scheduled: 1 },
        saga: true,
        remembered: 1,
        dead: 2
      })
      assert.deepStrictEqual(armed, ids([writes[5], writes[7]] as ReadonlyArray<MessageStore.Send>))
    })
  )

  for (const [name, conflict] of Object.entries(conflicts)) {
    it.effect(`commits nothing of a unit with ${name}`, () =>
      Effect.gen(function* () {
        const [bad, reason] = yield* conflict
        const { armed, seen, writes } = yield* everything
        const untouched = {
          channel: { ready: 0, scheduled: 2 },
          other: { ready: 3, scheduled: 0 },
          armed,
          saga: false,
          remembered: 0,
          dead: 0
        }
        for (const unit of [
          [bad, ...writes],
          [...writes, bad]
        ]) {
          assert.strictEqual(yield* refused(...unit), reason)
          assert.deepStrictEqual(yield* seen, untouched)
        }
        yield* commit(...writes)
      })
    )

    it.effect(`commits the other units of a call with ${name}, and answers in their order`, () =>
      Effect.gen(function* () {
        const [bad, reason] = yield* conflict
        const channel = fresh("orders")
        const good = [send(channel), send(channel)] as const
        const outcomes = yield* using((store) => store.commit([[good[0]], [send(channel), bad], [good[1]], []]))
        const reasons = outcomes.map((outcome) => Option.getOrUndefined(outcome)?.reason)
        assert.deepStrictEqual(reasons, [undefined, reason, undefined, undefined])
        assert.sameMembers([...ids(yield* claim(channel))], [...ids(good)])
      })
    )
  }

  it.effect("commits nothing when there is nothing", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* using((store) => store.commit([])), [])
      assert.deepStrictEqual(yield* using((store) => store.commit([[]])), [Option.none()])
    })
  )

  it.effect("commits 1,000 units of one call", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const outcomes = yield* using((store) => store.commit(Array.from({ length: 1_000 }, () => [send(channel)])))
      assert.lengthOf(outcomes, 1_000)
      assert.isTrue(outcomes.every(Option.isNone))
      assert.strictEqual((yield* using((store) => store.depth(channel))).ready, 1_000)
    })
  )

  it.effect("lets one of two units in a call win that want the same", () =>
    Effect.gen(function* () {
      const [channel, put, key] = [fresh("orders"), sagaPut(), fresh("key")]
      for (const same of [put, deduplicate(key)]) {
        const outcomes = yield* using((store) =>
          store.commit([
            [same, send(channel)],
            [same, send(channel)]
          ])
        )
        assert.lengthOf(outcomes.filter(Option.isNone), 1)
        assert.deepStrictEqual(
          outcomes.flatMap(Option.toArray).map((error) => error.reason),
          ["Conflict"]
        )
      }
      assert.strictEqual((yield* using((store) => store.depth(channel))).ready, 2)
    })
  )

  it.effect("lets one of many units win that acknowledge the same message at once", () =>
    Effect.gen(function* () {
      const [channel, next] = [fresh("orders"), fresh("orders")]
      yield* sent(channel, 1)
      const unit = commit(acknowledge(yield* claimOne(channel)), send(next))
      const exits = yield* Effect.all(
        Array.from({ length: 10 }, () => Effect.either(unit)),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(
        exits.filter((exit) => exit._tag === "Right"),
        1
      )
      assert.strictEqual((yield* using((store) => store.depth(next))).ready, 1)
    })
  )

  it.effect("opens a transaction that has nothing to commit as long as no SQL was run", () =>
    Effect.gen(function* () {
      const transaction = yield* using((store) => store.begin)
      const nested = transaction.root.nested()
      nested.provide(Context.empty())
      nested.provideQuery(Context.empty())
      yield* nested.nested().close(true)
      yield* nested.close(false)
      assert.isFalse(transaction.joined)
      assert.isFalse(yield* transaction.finish)
      yield* transaction.rollback
    })
  )

  it.effect("keeps in every context what it does not know", () =>
    Effect.gen(function* () {
      class Mail extends Context.Tag("test/Mail")<Mail, string>() {}
      const context = Context.make(Mail, "mail") as Context.Context<never>
      const store = yield* using(Effect.succeed)
      const transaction = yield* store.begin
      const provided = [
        store.outside(context),
        transaction.root.provide(context),
        transaction.root.provideQuery(context),
        transaction.root.nested().provide(context)
      ]
      for (const each of provided) assert.deepStrictEqual(Context.getOption(each, Mail), Option.some("mail"))
      yield* transaction.finish
      yield* transaction.rollback
    })
  )

  it.effect("does not take a handler's failure for the database's", () =>
    using((store) =>
      Effect.sync(() => {
        for (const error of [new Error("no stock"), "no stock", undefined, null, { _tag: "NoStock" }]) {
          assert.isFalse(store.isInfrastructure(error))
        }
      })
    )
  )
}
