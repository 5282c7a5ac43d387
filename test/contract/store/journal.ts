/**
 * The journal: what happened is written in the commit in which it happened, and found again by message, conversation,
 * time and name.
 */
import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import {
  acknowledge,
  advance,
  after,
  claimOne,
  commit,
  envelope,
  fresh,
  type It,
  minute,
  park,
  refused,
  sent,
  using
} from "./fixtures.ts"

const entry = (options?: Partial<MessageStore.JournalEntry>): MessageStore.JournalEntry => ({
  _tag: "JournalEntry",
  event: "Handled",
  envelope: envelope(),
  channel: undefined,
  due: undefined,
  durationMillis: undefined,
  worker: undefined,
  reason: undefined,
  error: undefined,
  payload: undefined,
  ...options
})

const read = (query: MessageStore.JournalQuery) => using((store) => store.journal(query))
const now = using((store) => store.now)
const events = (rows: ReadonlyArray<MessageStore.JournalRow>) => rows.map(({ event }) => event)

export const journal = (it: It): void => {
  it.effect("writes down what a unit says, with nothing lost", () =>
    Effect.gen(function* () {
      const correlationId = fresh("conversation")
      const traceId = "a".repeat(32)
      const headers = {
        correlationId,
        causationId: "cause",
        tenant: "acme",
        traceparent: `00-${traceId}-${"b".repeat(16)}-01`
      }
      const full = envelope({ headers, attempt: 3, tag: 'Pl"aced\\', endpoint: "{Confirm}" })
      const bare = envelope({ endpoint: "" })
      const before = yield* now
      yield* commit(
        entry({
          event: "DeadLettered",
          envelope: full,
          channel: "orders",
          due: after(minute),
          durationMillis: 1.5,
          worker: "worker",
          reason: "Exhausted",
          error: 'no "stock"',
          payload: '{"id":"é, \\u0000"}'
        }),
        entry({ event: "Published", envelope: bare })
      )
      const [{ at, dueAt, key, ...row }] = (yield* read({ id: full.id })) as [MessageStore.JournalRow]
      assert.isString(key)
      assert.isAtLeast(at, before)
      assert.approximately(dueAt! - at, minute, 1)
      assert.deepStrictEqual(row, {
        event: "DeadLettered",
        id: full.id,
        tag: 'Pl"aced\\',
        endpoint: "{Confirm}",
        channel: "orders",
        attempt: 3,
        correlationId,
        causationId: "cause",
        tenant: "acme",
        traceId,
        durationMillis: 1.5,
        worker: "worker",
        reason: "Exhausted",
        error: 'no "stock"',
        payload: '{"id":"é, \\u0000"}'
      })
      const [published] = yield* read({ id: bare.id })
      assert.strictEqual(published!.correlationId, bare.id, "a conversation of its own")
      assert.deepStrictEqual(
        [published!.channel, published!.causationId, published!.dueAt, published!.error],
        [undefined, undefined, undefined, undefined]
      )
    })
  )

  it.effect("keeps an error with characters that a database cannot keep", () =>
    Effect.gen(function* () {
      const odd = entry({ event: "Failed", error: "half \ud83d and \u0000, whole 😀" })
      yield* commit(odd)
      const [row] = yield* read({ id: odd.envelope.id })
      assert.match(row!.error!, /^half . and ., whole 😀$/s)
    })
  )

  it.effect("has what a unit says if and only if the unit commits", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* sent(channel, 1)
      const delivery = yield* claimOne(channel)
      const written = entry({ envelope: delivery.envelope })
      const stale = { ...delivery.lease, token: "0" }
      assert.strictEqual(yield* refused({ _tag: "Acknowledge", lease: stale }, written), "LeaseLost")
      assert.deepStrictEqual(yield* read({ id: delivery.envelope.id }), [])
      const outcomes = yield* using((store) =>
        store.commit([
          [acknowledge(delivery), written],
          [{ _tag: "Acknowledge", lease: stale }, entry({ event: "Failed", envelope: delivery.envelope })]
        ])
      )
      assert.deepStrictEqual(
        outcomes.map(({ _tag }) => _tag),
        ["None", "Some"]
      )
      assert.deepStrictEqual(events(yield* read({ id: delivery.envelope.id })), ["Handled"])
    })
  )

  it.effect("is read by message, conversation, channel, endpoint, tag and event, in both directions", () =>
    Effect.gen(function* () {
      const [channel, correlationId] = [fresh("orders"), fresh("conversation")]
      const headers = { correlationId }
      const one = envelope({ headers, tag: "One", endpoint: "A" })
      const two = envelope({ headers, tag: "Two", endpoint: "B" })
      yield* commit(entry({ event: "Sent", envelope: one, channel }), entry({ event: "Sent", envelope: two, channel }))
      yield* commit(entry({ event: "Handled", envelope: one, channel }))
      const found = (query: MessageStore.JournalQuery) =>
        Effect.map(read({ channel, ...query }), (rows) => rows.map(({ event, tag }) => `${event} ${tag}`))
      assert.deepStrictEqual(yield* found({}), ["Sent One", "Sent Two", "Handled One"])
      assert.deepStrictEqual(yield* found({ order: "NewestFirst" }), ["Handled One", "Sent Two", "Sent One"])
      assert.deepStrictEqual(yield* found({ id: one.id }), ["Sent One", "Handled One"])
      assert.deepStrictEqual(yield* found({ correlationId, event: "Sent" }), ["Sent One", "Sent Two"])
      assert.deepStrictEqual(yield* found({ endpoint: "B" }), ["Sent Two"])
      assert.deepStrictEqual(yield* found({ tag: "One", limit: 1 }), ["Sent One"])
      assert.deepStrictEqual(yield* found({ channel: fresh("other") }), [])
    })
  )

  it.effect("is read from one time to another, and page by page", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      for (let index = 0; index < 3; index++) {
        yield* commit(...["a", "b"].map((tag) => entry({ channel, envelope: envelope({ tag: `${index}${tag}` }) })))
        yield* advance(minute)
      }
      const all = yield* read({ channel })
      const tags = (rows: ReadonlyArray<MessageStore.JournalRow>) => rows.map(({ tag }) => tag).join(" ")
      assert.strictEqual(tags(all), "0a 0b 1a 1b 2a 2b")
      const [since, until] = [all[2]!.at, all[4]!.at]
      assert.strictEqual(tags(yield* read({ channel, since: since - 1, until })), "1a 1b")
      for (const [order, expected] of [
        ["OldestFirst", "0a 0b 1a 1b 2a 2b"],
        ["NewestFirst", "2b 2a 1b 1a 0b 0a"]
      ] as const) {
        const pages: Array<string> = []
        let after: string | undefined
        for (;;) {
          const page = yield* read({ channel, order, limit: 1, after })
          if (page.length === 0) break
          pages.push(tags(page))
          after = page.at(-1)!.key
        }
        assert.strictEqual(pages.join(" "), expected)
      }
    })
  )

  it.effect("says what came back from the dead letters", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(park(undefined, { channel }))
      const [letter] = yield* using((store) => store.deadLetters({ channel }))
      assert.strictEqual(yield* using((store) => store.replay([letter!.key, letter!.key])), 1)
      const [row] = yield* read({ id: letter!.envelope.id })
      assert.deepStrictEqual([row!.event, row!.channel, row!.endpoint], ["Replayed", channel, "Confirm"])
    })
  )
}
