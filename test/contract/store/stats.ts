/**
 * What is counted of channels, for those who watch them.
 */
import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import {
  advance,
  after,
  claim,
  commit,
  envelope,
  fresh,
  hour,
  type It,
  minute,
  park,
  send,
  sent,
  using
} from "./fixtures.ts"

const stats = (channels: ReadonlyArray<string>, most = 1_000) => using((store) => store.stats(channels, most))

/** Counts, and the age in whole minutes. */
const short = ({ deadLetters, oldestAgeMillis, ready, scheduled }: MessageStore.ChannelStats) => [
  ready,
  scheduled,
  deadLetters,
  oldestAgeMillis === undefined ? undefined : Math.floor(oldestAgeMillis / minute)
]

const keyed = (channel: string) => send(channel, { envelope: envelope({ orderingKey: "k" }) })

export const counting = (it: It): void => {
  it.effect("counts what is ready or claimed, what waits for its time and what is dead, channel by channel", () =>
    Effect.gen(function* () {
      const [orders, mails, nothing] = [fresh("orders"), fresh("mails"), fresh("nothing")]
      yield* commit(send(orders, { due: after(hour) }), send(orders), send(orders, { priority: 3 }), keyed(orders))
      yield* commit(keyed(orders), keyed(mails), park(undefined, { channel: mails }))
      yield* claim(orders, 2)
      const found = yield* stats([mails, orders, nothing])
      assert.deepStrictEqual(
        found.map(({ channel }) => channel),
        [mails, orders, nothing]
      )
      assert.deepStrictEqual(found.map(short), [
        [1, 0, 1, 0],
        [4, 1, 0, 0],
        [0, 0, 0, undefined]
      ])
      assert.deepStrictEqual(yield* stats([]), [])
    })
  )

  it.effect("counts what is due as ready, though nobody has come for it", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(send(channel, { due: after(minute) }))
      yield* advance(3 * minute)
      assert.deepStrictEqual((yield* stats([channel])).map(short), [[1, 0, 0, 2]])
    })
  )

  for (const [what, first] of [
    ["of the lowest priority", (channel: string) => send(channel, { priority: -5 })],
    ["with an ordering key", keyed]
  ] as const) {
    it.effect(`tells the age of the oldest, though it is one ${what}`, () =>
      Effect.gen(function* () {
        const channel = fresh("orders")
        yield* commit(first(channel))
        yield* advance(5 * minute)
        yield* commit(send(channel), send(channel, { priority: 5 }), keyed(channel))
        assert.deepStrictEqual((yield* stats([channel])).map(short), [[4, 0, 0, 5]])
      })
    )
  }

  it.effect("tells the age of one that is claimed", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      yield* advance(5 * minute)
      yield* using((store) => store.claim({ channel, limit: 1, leaseMillis: hour, owner: "worker" }))
      yield* sent(channel, 1)
      assert.deepStrictEqual((yield* stats([channel])).map(short), [[2, 0, 0, 5]])
    })
  )

  it.effect("counts what is held apart, whether it keeps its place or not, and has no age of it", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      const name = fresh("limit")
      yield* sent(channel, 2)
      yield* commit(keyed(channel))
      const claimed = yield* claim(channel, 3)
      const limit = { name, channel, limit: 1, intervalMillis: undefined }
      yield* using((store) => store.flow.take({ owner: "worker", leaseMillis: hour, requests: [[limit]] }))
      const leases = claimed.map(({ lease }) => lease)
      yield* using((store) => store.flow.hold(leases, name))
      yield* advance(5 * minute)
      const [found] = yield* stats([channel])
      assert.deepStrictEqual([short(found!), found!.held], [[0, 0, 0, undefined], 3])
      assert.strictEqual((yield* stats([channel], 2))[0]!.held, 2)
    })
  )

  it.effect("counts no further than it is told", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 5)
      yield* commit(...[1, 2, 3].map(() => send(channel, { due: after(hour) })))
      yield* commit(...[1, 2, 3].map(() => park(undefined, { channel })))
      assert.deepStrictEqual((yield* stats([channel], 2)).map(short), [[2, 2, 2, 0]])
    })
  )
}
