/**
 * What a person does with dead letters: finds them, mends them, puts them away, and replays many of them.
 */
import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect, Option } from "effect"
import {
  advance,
  claim,
  claimOne,
  commit,
  day,
  envelope,
  fresh,
  type It,
  ids,
  minute,
  park,
  second,
  send,
  sent,
  using
} from "./fixtures.ts"

const searched = (filter: MessageStore.DeadLetterFilter, before?: string) =>
  using((store) => store.searchDeadLetters(filter, before))

const found = (filter: MessageStore.DeadLetterFilter) => Effect.map(searched(filter), ({ letters }) => ids(letters))

const counted = (filter: MessageStore.DeadLetterFilter) => using((store) => store.countDeadLetters(filter))

const listed = (filter: MessageStore.DeadLetterFilter) => using((store) => store.deadLetters(filter))

/** Parks that many, one after the other, and answers their keys, oldest first. */
const parked = (channel: string, howMany: number, options?: Partial<MessageStore.Park>) =>
  Effect.gen(function* () {
    for (let index = 0; index < howMany; index++) yield* commit(park(undefined, { channel, ...options }))
    return (yield* listed({ channel })).map(({ key }) => key).toReversed()
  })

const start = (filter: MessageStore.DeadLetterFilter, canary = 0) =>
  using((store) => store.startReplay({ filter, canary, rate: undefined }))

const step = (replay: MessageStore.Replay, options?: Partial<MessageStore.ReplayStep>): MessageStore.ReplayStep => ({
  id: replay.id,
  version: replay.version,
  limit: 2,
  canary: false,
  state: "Running",
  detail: undefined,
  afterMillis: 0,
  ...options
})

const taken = (next: MessageStore.ReplayStep) => using((store) => store.advanceReplay(next))

/** How it stands now. */
const current = ({ id }: MessageStore.Replay) =>
  using((store) =>
    Effect.map(store.replays({ due: false, limit: 1_000 }), (all) => all.find((replay) => replay.id === id)!)
  )

const isDue = ({ id }: MessageStore.Replay) =>
  using((store) => Effect.map(store.replays({ due: true, limit: 1_000 }), (all) => all.some((_) => _.id === id)))

export const letters = (it: It): void => {
  it.effect("finds dead letters by what is in their error or payload, as it is written, large or small", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const written = (error: string, payload: string) =>
        park(undefined, { channel, error, envelope: envelope({ payload }) })
      const a = written("Timed out: 100% of 5_000 ms", "{}")
      const b = written("no stock", '{"note":"timed out"}')
      const c = written("no stock", '{"note":"\\\\d+ [a-z]"}')
      for (const write of [a, b, c]) yield* commit(write)
      assert.deepStrictEqual(yield* found({ channel, text: "TIMED out" }), ids([b, a]))
      assert.deepStrictEqual(yield* found({ channel, text: "100% of 5_" }), ids([a]))
      assert.deepStrictEqual(yield* found({ channel, text: "1000_" }), [])
      assert.deepStrictEqual(yield* found({ channel, text: "d+ [a-z" }), ids([c]))
      assert.deepStrictEqual(yield* found({ channel, text: "\u0000" }), [])
      assert.strictEqual(yield* counted({ channel, text: "no stock" }), 2)
    })
  )

  it.effect("finds dead letters by reason, time and key", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const [first] = yield* parked(channel, 1, { reason: "Defect" })
      yield* advance(minute)
      yield* parked(channel, 1)
      const [late, early] = yield* listed({ channel })
      assert.deepStrictEqual(yield* found({ channel, reason: "Defect" }), ids([early!]))
      assert.deepStrictEqual(yield* found({ channel, since: late!.parkedAt }), ids([late!]))
      assert.deepStrictEqual(yield* found({ channel, until: early!.parkedAt }), ids([early!]))
      assert.deepStrictEqual(yield* found({ channel, since: early!.parkedAt + 1, until: late!.parkedAt - 1 }), [])
      assert.deepStrictEqual(yield* found({ keys: [first!, "no key", "-1"] }), ids([early!]))
      assert.deepStrictEqual(yield* found({ keys: [] }), [])
    })
  )

  it.effect("shows what it finds page by page, while more come and some go", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* parked(channel, 5)
      const all = yield* listed({ channel })
      const first = yield* searched({ channel, limit: 2 })
      assert.deepStrictEqual(first.letters, all.slice(0, 2))
      yield* parked(channel, 1)
      yield* using((store) => store.deleteDeadLetters([all[1]!.key]))
      const second = yield* searched({ channel, limit: 2 }, first.next)
      assert.deepStrictEqual(second.letters, all.slice(2, 4))
      const third = yield* searched({ channel, limit: 2 }, second.next)
      assert.deepStrictEqual([third.letters, third.next], [all.slice(4), undefined])
    })
  )

  it.effect("finds a text behind thousands of letters that lack it, though a page may hold nothing", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const rare = park(undefined, { channel, error: "rare" })
      yield* commit(rare)
      for (let batch = 0; batch < 5; batch++) {
        yield* commit(...Array.from({ length: 500 }, () => park(undefined, { channel })))
      }
      const hits: Array<string> = []
      let before: string | undefined
      do {
        const page = yield* searched({ channel, text: "rare", limit: 10 }, before)
        hits.push(...ids(page.letters))
        before = page.next
      } while (before !== undefined)
      assert.deepStrictEqual(hits, ids([rare]))
    })
  )

  it.effect("groups what failed alike: the largest first, with the last error", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const [often, once] = [fresh("b"), fresh("a")]
      yield* parked(channel, 2, { fingerprint: often, error: "first" })
      yield* advance(minute)
      const last = envelope({ endpoint: "Another", tag: "Paid" })
      yield* commit(park(undefined, { channel, fingerprint: often, error: "last", envelope: last, reason: "Defect" }))
      yield* parked(channel, 1, { fingerprint: once })
      const all = yield* listed({ channel, fingerprint: often })
      const groups = yield* using((store) => store.deadLetterGroups({ channel }))
      assert.deepStrictEqual(
        groups.map(({ count, fingerprint }) => [fingerprint, count]),
        [
          [often, 3],
          [once, 1]
        ]
      )
      const times = all.map(({ parkedAt }) => parkedAt)
      assert.deepStrictEqual(groups[0], {
        fingerprint: often,
        count: 3,
        firstAt: Math.min(...times),
        lastAt: Math.max(...times),
        error: "last",
        channels: [channel],
        endpoints: ["Another", "Confirm"],
        tags: ["Paid", "Placed"],
        reasons: ["Defect", "Exhausted"]
      })
      assert.lengthOf(yield* using((store) => store.deadLetterGroups({ channel, limit: 1 })), 1)
      const [some] = yield* using((store) => store.deadLetterGroups({ channel, endpoint: "Another" }))
      assert.strictEqual(some!.count, 1)
    })
  )

  it.effect("puts dead letters away: they show and are replayed no more until they are restored", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const [one, two] = yield* parked(channel, 2)
      const archive = using((store) => store.archiveDeadLetters([one!, one!, "no key"]))
      assert.strictEqual(yield* archive, 1)
      assert.strictEqual(yield* archive, 0)
      assert.deepStrictEqual(
        (yield* listed({ channel })).map(({ key }) => key),
        [two]
      )
      assert.strictEqual(yield* counted({ channel }), 1)
      const [away] = yield* listed({ channel, archived: true })
      assert.strictEqual(away!.key, one)
      assert.isNumber(away!.archivedAt)
      assert.deepStrictEqual(yield* using((store) => store.deadLetter(one!)), Option.some(away!))
      assert.strictEqual(yield* using((store) => store.replay([one!])), 0)
      assert.isFalse(yield* using((store) => store.editDeadLetter(one!, "{}")))
      const [group] = yield* using((store) => store.deadLetterGroups({ channel, archived: true }))
      assert.strictEqual(group!.count, 1)

      assert.strictEqual(yield* using((store) => store.restoreDeadLetters([one!, two!])), 1)
      assert.strictEqual(yield* using((store) => store.restoreDeadLetters([one!])), 0)
      const { archivedAt: _, ...asBefore } = away!
      assert.deepStrictEqual(yield* using((store) => store.deadLetter(one!)), Option.some(asBefore))
      assert.strictEqual(yield* using((store) => store.replay([one!])), 1)
      yield* using((store) => store.archiveDeadLetters([two!]))
      assert.strictEqual(yield* using((store) => store.deleteDeadLetters([two!])), 1)
      assert.deepStrictEqual(yield* using((store) => store.deadLetter(two!)), Option.none())
    })
  )

  it.effect("lets those go that wait behind a letter of their key which is put away", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const writes = Array.from({ length: 2 }, () => send(channel, { envelope: envelope({ orderingKey: "1" }) }))
      yield* commit(...writes)
      yield* commit(park(yield* claimOne(channel)))
      assert.isEmpty(yield* claim(channel))
      const [letter] = yield* listed({ channel })
      yield* using((store) => store.archiveDeadLetters([letter!.key]))
      assert.strictEqual((yield* claimOne(channel)).envelope.id, writes[1]!.envelope.id)
    })
  )

  it.effect("gives a dead letter another payload and keeps the first, beyond its replay", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const write = park(undefined, { channel, envelope: envelope({ payload: '{"a": 1}' }) })
      yield* commit(write)
      const [key] = (yield* listed({ channel })).map(({ key }) => key)
      assert.isTrue(yield* using((store) => store.editDeadLetter(key!, '{"a": 2}')))
      assert.isTrue(yield* using((store) => store.editDeadLetter(key!, '{"a": 3}')))
      assert.isFalse(yield* using((store) => store.editDeadLetter("999999999", "{}")))
      const [edited] = yield* listed({ channel })
      assert.deepStrictEqual([edited!.envelope.payload, edited!.original], ['{"a": 3}', '{"a": 1}'])
      assert.isNumber(edited!.editedAt)
      yield* using((store) => store.replay([key!]))
      const delivery = yield* claimOne(channel)
      assert.deepStrictEqual([delivery.envelope.id, delivery.envelope.payload], [write.envelope.id, '{"a": 3}'])

      assert.isEmpty(yield* listed({ channel }))
      const [record] = yield* listed({ channel, archived: true })
      assert.deepStrictEqual([record!.key, record!.original], [key, '{"a": 1}'])
      assert.isNumber(record!.replayedAt)
      assert.strictEqual(yield* using((store) => store.restoreDeadLetters([key!])), 0)
    })
  )

  it.effect("archives and deletes what its channel has kept for long enough, and nothing else", () =>
    Effect.gen(function* () {
      const [channel, other] = [fresh("orders"), fresh("orders")]
      yield* parked(channel, 2)
      yield* parked(other, 1)
      yield* advance(2 * day)
      yield* parked(channel, 1)
      const sweep = (archiveAfterMillis: number, deleteAfterMillis: number) =>
        using((store) => store.sweepDeadLetters({ channel, archiveAfterMillis, deleteAfterMillis }))
      assert.strictEqual(yield* sweep(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY), 0)
      assert.strictEqual(yield* sweep(day, Number.POSITIVE_INFINITY), 2)
      assert.strictEqual(yield* sweep(day, Number.POSITIVE_INFINITY), 0)
      assert.deepStrictEqual([yield* counted({ channel }), yield* counted({ channel, archived: true })], [1, 2])
      assert.strictEqual(yield* sweep(day, day), 2)
      assert.strictEqual(yield* sweep(Number.POSITIVE_INFINITY, day), 0)
      yield* advance(2 * day)
      assert.strictEqual(yield* sweep(Number.POSITIVE_INFINITY, day), 1)
      assert.deepStrictEqual([yield* counted({ channel }), yield* counted({ channel, archived: true })], [0, 0])
      assert.strictEqual(yield* counted({ channel: other }), 1)
    })
  )

  it.effect("says since when a channel is paused, and why", () =>
    Effect.gen(function* () {
      const [channel, other] = [fresh("orders"), fresh("orders")]
      yield* using((store) => store.flow.pause({ channel }, "a bug\u0000"))
      yield* using((store) => store.flow.pause({ channel }, "another"))
      yield* using((store) => store.flow.pause({ channel: other }, undefined))
      const pauses = yield* using((store) => store.flow.pauses)
      const of = (name: string) => pauses.find((pause) => pause.channel === name)
      assert.match(of(channel)!.reason!, /^a bug/)
      assert.isNumber(of(channel)!.pausedAt)
      assert.isUndefined(of(other)!.reason)
      yield* using((store) => Effect.zipRight(store.flow.resume({ channel }), store.flow.resume({ channel: other })))
      assert.isEmpty((yield* using((store) => store.flow.pauses)).filter((_) => _.channel === channel))
    })
  )

  it.effect("replays what matched when it was asked, oldest first, step by step, and then is done", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* parked(channel, 5)
      const expected = ids(yield* listed({ channel })).toReversed()
      const replay = yield* start({ channel, text: "NO stock" })
      assert.deepStrictEqual([replay.state, replay.total, replay.replayed], ["Pending", 5, 0])
      assert.deepStrictEqual(replay.filter, { channel, text: "NO stock" })
      yield* parked(channel, 1)
      for (const count of [2, 2, 1]) {
        const now = yield* current(replay)
        assert.isTrue(yield* isDue(replay))
        assert.deepStrictEqual(yield* taken(step(now)), Option.some(count))
      }
      const after = yield* current(replay)
      assert.deepStrictEqual([after.state, after.replayed], ["Done", 5])
      assert.isFalse(yield* isDue(replay))
      assert.deepStrictEqual(yield* taken(step(after)), Option.none())
      const deliveries = yield* claim(channel)
      assert.deepStrictEqual(ids(deliveries), expected)
      assert.isUndefined(deliveries[0]!.envelope.headers.canaryOf)
      assert.strictEqual(yield* counted({ channel }), 1)
    })
  )

  it.effect("takes each step once, whoever else tries it", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* parked(channel, 6)
      const replay = yield* start({ channel })
      const outcomes = yield* Effect.all(
        Array.from({ length: 4 }, () => taken(step(replay))),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(outcomes.filter(Option.isSome), 1)
      assert.strictEqual((yield* current(replay)).replayed, 2)
      assert.lengthOf(yield* claim(channel), 2)
    })
  )

  it.effect("replays each letter once, though two replays and a person want them at once", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const keys = yield* parked(channel, 6)
      const [one, two] = [yield* start({ channel }), yield* start({ channel })]
      const [first, second, by] = yield* Effect.all(
        [
          taken(step(one, { limit: 10 })),
          taken(step(two, { limit: 10 })),
          using((store) => store.replay(keys.toReversed()))
        ],
        { concurrency: "unbounded" }
      )
      assert.strictEqual(Option.getOrThrow(first) + Option.getOrThrow(second) + by, 6)
      assert.lengthOf(yield* claim(channel), 6)
    })
  )

  it.effect("marks the first ones of a replay, and waits with the rest", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const keys = yield* parked(channel, 3)
      const replay = yield* start({ channel }, 1)
      assert.strictEqual(replay.canary, 1)
      yield* taken(step(replay, { limit: 1, canary: true, state: "Canary", afterMillis: second }))
      const now = yield* current(replay)
      assert.deepStrictEqual([now.state, now.canaries, now.replayed], ["Canary", [keys[0]!], 1])
      assert.isFalse(yield* isDue(replay))
      const delivery = yield* claimOne(channel)
      assert.strictEqual(delivery.envelope.headers.canaryOf, replay.id)
      yield* commit(park(delivery))
      yield* advance(2 * second)
      assert.isTrue(yield* isDue(replay))
      yield* taken(step(now, { limit: 0, state: "Stopped", detail: "it came back" }))
      const after = yield* current(replay)
      assert.deepStrictEqual([after.state, after.detail, after.replayed], ["Stopped", "it came back", 1])
      const [again] = yield* listed({ channel })
      yield* using((store) => store.replay([again!.key]))
      assert.isUndefined((yield* claimOne(channel)).envelope.headers.canaryOf, "of a replay that is over")
    })
  )

  it.effect("has first ones though thousands of letters before them lack the text that is asked for", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      for (let batch = 0; batch < 5; batch++) {
        yield* commit(...Array.from({ length: 500 }, () => park(undefined, { channel })))
      }
      yield* commit(park(undefined, { channel, error: "rare 1" }), park(undefined, { channel, error: "rare 2" }))
      const replay = yield* start({ channel, text: "rare" }, 1)
      let now = replay
      for (let steps = 0; now.state === "Pending" && steps < 5; steps++) {
        assert.isTrue(yield* isDue(replay), "at once: none has been replayed")
        yield* taken(step(now, { limit: 1, canary: true, state: "Canary", afterMillis: second }))
        now = yield* current(replay)
      }
      assert.deepStrictEqual([now.state, now.replayed, now.canaries.length], ["Canary", 1, 1])
      const [only, ...none] = yield* claim(channel)
      assert.strictEqual(only?.envelope.headers.canaryOf, replay.id)
      assert.deepStrictEqual(none, [])
    })
  )

  it.effect("waits for none of its first ones that somebody else has replayed meanwhile", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const keys = yield* parked(channel, 8)
      const replay = yield* start({ channel }, 8)
      const [, others] = yield* Effect.all(
        [
          taken(step(replay, { limit: 8, canary: true, state: "Canary", afterMillis: second })),
          Effect.forEach(keys.toReversed(), (key) => using((store) => store.replay([key])), {
            concurrency: "unbounded"
          })
        ],
        { concurrency: "unbounded" }
      )
      const now = yield* current(replay)
      const deliveries = yield* claim(channel)
      assert.lengthOf(deliveries, 8)
      const first = deliveries.filter(({ envelope }) => envelope.headers.canaryOf === replay.id)
      const mine = keys.filter((_, index) => others.toReversed()[index] === 0)
      assert.deepStrictEqual(first.map(({ envelope }) => envelope.headers.replayOf!).sort(), mine.toSorted())
      if (now.state === "Canary") assert.deepStrictEqual(now.canaries.toSorted(), mine.toSorted())
    })
  )

  it.effect("ends a replay that somebody cancels, where it is", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* parked(channel, 3)
      const replay = yield* start({ channel })
      yield* taken(step(replay))
      const before = yield* current(replay)
      const cancel = using((store) => store.cancelReplay(replay.id))
      assert.isTrue(yield* cancel)
      assert.isFalse(yield* cancel)
      assert.isFalse(yield* using((store) => store.cancelReplay("no id")))
      assert.deepStrictEqual(yield* taken(step(before)), Option.none())
      assert.strictEqual((yield* current(replay)).state, "Cancelled")
      assert.strictEqual(yield* counted({ channel }), 1)
    })
  )

  it.effect("puts the letters of a key back in their places, by a replay of many too", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const writes = Array.from({ length: 2 }, () => send(channel, { envelope: envelope({ orderingKey: "1" }) }))
      yield* commit(...writes)
      yield* commit(park(yield* claimOne(channel)))
      yield* sent(channel, 1)
      const replay = yield* start({ channel })
      yield* taken(step(replay))
      const order = ids(yield* claim(channel))
      assert.include(order, writes[0]!.envelope.id)
      assert.notInclude(order, writes[1]!.envelope.id)
    })
  )
}
