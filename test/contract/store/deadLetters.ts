import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import {
  advance,
  claim,
  claimOne,
  commit,
  envelope,
  fresh,
  type It,
  ids,
  minute,
  park,
  retry,
  send,
  sent,
  using
} from "./fixtures.ts"

const letters = (filter: MessageStore.Filter) => using((store) => store.deadLetters(filter))

const counted = (filter: MessageStore.Filter) => using((store) => store.countDeadLetters(filter))

const replay = (...keys: ReadonlyArray<string>) => using((store) => store.replay(keys))

/** Parks that many messages, one after the other. */
const parked = (channel: string, howMany: number) =>
  Effect.map(
    Effect.forEach(Array.from({ length: howMany }), () => {
      const write = park(undefined, { channel })
      return Effect.as(commit(write), write.envelope.id)
    }),
    (all) => all.toReversed()
  )

const reasons: ReadonlyArray<MessageStore.ParkReason> = [
  "Exhausted",
  "Defect",
  "Undecodable",
  "Crashed",
  "UnknownEndpoint",
  "UnknownVersion"
]

const payloads = ['{"a": 1.0}', '{"cut', "not json", "", "\\u0000 \\ ' \" $1", " 🚀 ä\r\n\t", '"\ud83d\ude80"']

export const deadLetters = (it: It): void => {
  for (const reason of reasons) {
    it.effect(`parks a message as it was: ${reason}`, () =>
      Effect.gen(function* () {
        const channel = fresh("orders")
        yield* sent(channel, 1)
        yield* commit(retry(yield* claimOne(channel), 0, { at: 1, error: "first" }))
        const delivery = yield* claimOne(channel)
        const failures = [...delivery.envelope.failures, { at: 2, error: "second" }]
        const message = { ...delivery.envelope, failures }
        const write = park(delivery, { envelope: message, reason, error: "ä\n🚀", fingerprint: "f" })
        const before = yield* using((store) => store.now)
        yield* commit(write)
        const now = yield* using((store) => store.now)

        const [letter, ...others] = yield* letters({ channel })
        assert.isEmpty(others)
        const { key: _, parkedAt, ...rest } = letter!
        assert.deepStrictEqual(rest, { channel, envelope: message, reason, error: "ä\n🚀", fingerprint: "f" })
        assert.isTrue(before <= parkedAt && parkedAt <= now)
        yield* advance(2 * minute)
        assert.isEmpty(yield* claim(channel))
      })
    )
  }

  for (const payload of payloads) {
    it.effect(`parks and replays a payload byte for byte: ${JSON.stringify(payload)}`, () =>
      Effect.gen(function* () {
        const channel = fresh("orders")
        yield* commit(park(undefined, { channel, envelope: envelope({ payload }) }))
        const [letter] = yield* letters({ channel })
        assert.strictEqual(letter!.envelope.payload, payload)
        yield* replay(letter!.key)
        assert.strictEqual((yield* claimOne(channel)).envelope.payload, payload)
      })
    )
  }

  it.effect("parks the message of a lease as it was stored, not as its consumer understood it", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const write = send(channel, { envelope: envelope({ payload: '{"a": 1.0}', headers: { tenant: "acme" } }) })
      yield* commit(write)
      const delivery = yield* claimOne(channel)
      yield* commit(park(delivery, { envelope: { ...delivery.envelope, payload: '{"a":1}', headers: {} } }))
      assert.deepStrictEqual((yield* letters({ channel }))[0]!.envelope, write.envelope)
    })
  )

  it.effect("keeps the priority of a message over parking and replay", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const urgent = send(channel, { priority: 1 })
      yield* commit(urgent)
      yield* commit(park(yield* claimOne(channel)))
      const [others] = yield* sent(channel, 1)
      const [letter] = yield* letters({ channel })
      yield* replay(letter!.key)
      assert.deepStrictEqual(ids(yield* claim(channel)), [urgent.envelope.id, others!])
    })
  )

  it.effect("parks a broker's message without a lease", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const message = envelope({ attempt: 3, failures: [{ at: 1, error: "no" }] })
      yield* commit(park(undefined, { channel, envelope: message }))
      const [letter] = yield* letters({ channel })
      assert.deepStrictEqual(letter!.envelope, message)
      assert.deepStrictEqual(yield* using((store) => store.depth(channel)), { ready: 0, scheduled: 0 })
    })
  )

  it.effect("shows the newest dead letters first", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const newestFirst = yield* parked(channel, 4)
      assert.deepStrictEqual(ids(yield* letters({ channel })), newestFirst)
      assert.deepStrictEqual(ids(yield* letters({ channel, limit: 2 })), newestFirst.slice(0, 2))
    })
  )

  it.effect("shows 100 dead letters unless told otherwise, and counts all", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(...Array.from({ length: 101 }, () => park(undefined, { channel })))
      assert.lengthOf(yield* letters({ channel }), 100)
      assert.lengthOf(yield* letters({ channel, limit: 1_000 }), 101)
      assert.strictEqual(yield* counted({ channel }), 101)
    })
  )

  it.effect("shows and counts only what matches all that the filter names", () =>
    Effect.gen(function* () {
      const [channel, other, fingerprint] = [fresh("orders"), fresh("orders"), fresh("f")]
      const written = (options: Partial<MessageStore.Park>, tag: string, endpoint: string) =>
        park(undefined, { channel, ...options, envelope: envelope({ tag, endpoint }) })
      const a = written({ fingerprint }, "A", "One")
      const b = written({}, "A", "Two")
      const c = written({ fingerprint }, "B", "One")
      const d = written({ channel: other, fingerprint }, "A", "One")
      for (const write of [d, c, b, a]) yield* commit(write)
      const cases: ReadonlyArray<readonly [MessageStore.Filter, ReadonlyArray<MessageStore.Park>]> = [
        [{ channel }, [a, b, c]],
        [{ channel, tag: "A" }, [a, b]],
        [{ channel, endpoint: "One" }, [a, c]],
        [{ fingerprint }, [a, c, d]],
        [{ channel, fingerprint, tag: "A", endpoint: "One", id: a.envelope.id }, [a]],
        [{ id: d.envelope.id }, [d]],
        [{ channel, id: d.envelope.id }, []],
        [{ channel: fresh("orders") }, []]
      ]
      for (const [filter, expected] of cases) {
        assert.deepStrictEqual(ids(yield* letters(filter)), ids(expected))
        assert.strictEqual(yield* counted(filter), expected.length)
      }
    })
  )

  it.effect("replays a message to its handler as if for the first time, and says when", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const write = send(channel)
      const headers = { tenant: "acme" }
      yield* commit({ ...write, envelope: { ...write.envelope, headers } })
      yield* claimOne(channel)
      yield* advance(2 * minute)
      yield* commit(retry(yield* claimOne(channel), 0, { at: 1, error: "no" }))
      yield* commit(park(yield* claimOne(channel)))
      const [letter] = yield* letters({ channel })
      const before = yield* using((store) => store.now)
      assert.strictEqual(yield* replay(letter!.key), 1)
      const now = yield* using((store) => store.now)

      assert.strictEqual(yield* counted({ channel }), 0)
      const delivery = yield* claimOne(channel)
      const { replayedAt, replayOf, ...others } = delivery.envelope.headers
      assert.strictEqual(replayOf, letter!.key)
      assert.deepStrictEqual({ ...delivery.envelope, headers: others }, { ...write.envelope, headers })
      assert.strictEqual(delivery.crashes, 0)
      assert.match(replayedAt!, /^\d+$/)
      assert.isTrue(before <= Number(replayedAt) && Number(replayedAt) <= now)
    })
  )

  it.effect("replays each dead letter once, and answers how many were there", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const expected = yield* parked(channel, 3)
      const keys = (yield* letters({ channel })).map((letter) => letter.key)
      assert.strictEqual(yield* replay(...keys.slice(0, 2)), 2)
      assert.strictEqual(yield* replay(...keys), 1)
      assert.strictEqual(yield* replay(...keys), 0)
      assert.strictEqual(yield* replay(), 0)
      assert.sameMembers([...ids(yield* claim(channel))], [...expected])
    })
  )

  it.effect("replays the oldest first, however they are named", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const newestFirst = yield* parked(channel, 3)
      const keys = (yield* letters({ channel })).map((letter) => letter.key)
      assert.strictEqual(yield* replay(...keys, ...keys), 3)
      assert.deepStrictEqual(ids(yield* claim(channel)), newestFirst.toReversed())
    })
  )

  it.effect("replays each dead letter once when many replay at once", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* parked(channel, 5)
      const keys = (yield* letters({ channel })).map((letter) => letter.key)
      const counts = yield* Effect.all(
        [keys, keys.toReversed(), keys, keys.toReversed()].map((each) => replay(...each)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(
        counts.reduce((sum, each) => sum + each, 0),
        5
      )
      assert.lengthOf(yield* claim(channel), 5)
    })
  )

  it.effect("can park a replayed message again", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* parked(channel, 1)
      const [first] = yield* letters({ channel })
      yield* replay(first!.key)
      yield* commit(park(yield* claimOne(channel)))
      const [second, ...others] = yield* letters({ channel })
      assert.isEmpty(others)
      assert.strictEqual(second!.envelope.id, first!.envelope.id)
      assert.strictEqual(yield* replay(second!.key), 1)
    })
  )

  it.effect("deletes dead letters, and answers how many were there", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* parked(channel, 3)
      const keys = (yield* letters({ channel })).map((letter) => letter.key)
      const discard = (...which: ReadonlyArray<string>) => using((store) => store.deleteDeadLetters(which))
      assert.strictEqual(yield* discard(...keys.slice(0, 2)), 2)
      assert.strictEqual(yield* discard(...keys.slice(0, 2)), 0)
      assert.strictEqual(yield* replay(...keys), 1)
      assert.strictEqual(yield* counted({ channel }), 0)
    })
  )
}
