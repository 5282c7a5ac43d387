import { assert } from "@effect/vitest"
import type { Envelope, MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import { advance, after, claim, claimOne, commit, envelope, fresh, type It, minute, send, using } from "./fixtures.ts"

const publish = (message: Envelope.Envelope, options?: Partial<MessageStore.Publish>): MessageStore.Publish => ({
  _tag: "Publish",
  envelope: message,
  priority: 0,
  due: undefined,
  except: [],
  ...options
})

const subscribe = (...subscriptions: ReadonlyArray<MessageStore.Subscription>) =>
  using((store) => store.subscribe(subscriptions))

const subscribers = (tag: string) =>
  using((store) => Effect.map(store.subscriptions, (all) => all.filter((each) => each.tag === tag)))

const endpoints = (deliveries: ReadonlyArray<MessageStore.Delivery>) =>
  deliveries.map((delivery) => delivery.envelope.endpoint).toSorted()

/** An event's tag, two endpoints on one channel and one on another. */
const three = Effect.gen(function* () {
  const [tag, channel, other] = [fresh("Placed"), fresh("orders"), fresh("orders")]
  const [a, b, c] = [fresh("A"), fresh("B"), fresh("C")]
  yield* subscribe({ tag, endpoint: a, channel }, { tag, endpoint: b, channel }, { tag, endpoint: c, channel: other })
  return { tag, channel, other, a, b, c }
})

export const subscriptions = (it: It): void => {
  it.effect("remembers each subscription once", () =>
    Effect.gen(function* () {
      const [tag, endpoint, channel] = [fresh("Placed"), fresh("Mail"), fresh("orders")]
      yield* subscribe({ tag, endpoint, channel }, { tag, endpoint: `${endpoint}-b`, channel })
      yield* subscribe({ tag, endpoint, channel })
      yield* subscribe()
      assert.sameDeepMembers(
        [...(yield* subscribers(tag))],
        [
          { tag, endpoint, channel },
          { tag, endpoint: `${endpoint}-b`, channel }
        ]
      )
      yield* commit(publish(envelope({ tag })))
      assert.lengthOf(yield* claim(channel), 2)
    })
  )

  it.effect("removes every subscription of an endpoint, and no other", () =>
    Effect.gen(function* () {
      const [tag, other, endpoint, kept, channel] = [
        fresh("A"),
        fresh("B"),
        fresh("Mail"),
        fresh("Log"),
        fresh("orders")
      ]
      yield* subscribe({ tag, endpoint, channel }, { tag: other, endpoint, channel }, { tag, endpoint: kept, channel })
      yield* using((store) => store.unsubscribe(endpoint))
      yield* using((store) => store.unsubscribe(fresh("Nobody")))
      assert.deepStrictEqual(yield* subscribers(tag), [{ tag, endpoint: kept, channel }])
      assert.deepStrictEqual(yield* subscribers(other), [])
      yield* commit(publish(envelope({ tag })), publish(envelope({ tag: other })))
      assert.deepStrictEqual(endpoints(yield* claim(channel)), [kept])
    })
  )

  it.effect("publishes a copy to every subscription of the event, marked as not delayed yet", () =>
    Effect.gen(function* () {
      const { a, b, c, channel, other, tag } = yield* three
      const event = envelope({ tag, endpoint: "", headers: { tenant: "acme" }, payload: '{"orderId":1}' })
      yield* commit(publish(event))
      const copies = [...(yield* claim(channel)), ...(yield* claim(other))]
      assert.deepStrictEqual(endpoints(copies), [a, b, c].toSorted())
      for (const copy of copies) {
        assert.deepStrictEqual(copy.envelope, { ...event, endpoint: copy.envelope.endpoint })
        assert.isTrue(copy.undelayed)
      }
      assert.strictEqual(copies.find((copy) => copy.envelope.endpoint === c)?.lease.channel, other)
    })
  )

  it.effect("publishes no copy to the endpoints that were served already", () =>
    Effect.gen(function* () {
      const { a, b, c, channel, other, tag } = yield* three
      yield* commit(publish(envelope({ tag }), { except: [a, c, fresh("Nobody")] }))
      assert.deepStrictEqual(endpoints(yield* claim(channel)), [b])
      assert.isEmpty(yield* claim(other))
    })
  )

  it.effect("publishes nothing when nobody subscribed to the event", () =>
    Effect.gen(function* () {
      const { channel } = yield* three
      yield* commit(publish(envelope({ tag: fresh("Unknown") })))
      assert.isEmpty(yield* claim(channel))
    })
  )

  it.effect("publishes copies for later, with their priority", () =>
    Effect.gen(function* () {
      const { channel, tag, a, b } = yield* three
      yield* commit(publish(envelope({ tag }), { due: after(10 * minute), priority: 5, except: [b] }))
      yield* commit(send(channel))
      assert.deepStrictEqual(yield* using((store) => store.depth(channel)), { ready: 1, scheduled: 1 })
      yield* advance(11 * minute)
      const [first, second] = yield* claim(channel)
      assert.deepStrictEqual([first!.envelope.endpoint, first!.undelayed], [a, false])
      assert.isFalse(second!.undelayed)
    })
  )

  it.effect("publishes several events of one unit to all who want them", () =>
    Effect.gen(function* () {
      const { channel, other, tag } = yield* three
      const events = [envelope({ tag, payload: "1" }), envelope({ tag, payload: "2" })]
      yield* commit(...events.map((event) => publish(event)))
      assert.lengthOf(yield* claim(channel), 4)
      const payloads = (yield* claim(other)).map((delivery) => delivery.envelope.payload)
      assert.deepStrictEqual(payloads, ["1", "2"])
    })
  )

  it.effect("sends to an endpoint where it subscribed last", () =>
    Effect.gen(function* () {
      const [tag, endpoint, before, now] = [fresh("Placed"), fresh("Mail"), fresh("orders"), fresh("orders")]
      yield* subscribe({ tag, endpoint, channel: before })
      yield* subscribe({ tag, endpoint, channel: now })
      yield* commit(publish(envelope({ tag })))
      assert.isEmpty(yield* claim(before))
      yield* claimOne(now)
    })
  )
}
