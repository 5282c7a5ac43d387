/**
 * The journal as tables of the user's: what reads it, what forgets it, and what may be joined with it.
 */
import { assert, layer } from "@effect/vitest"
import { Journal, MessageStore } from "@holdfast/core"
import { Effect, Redacted } from "effect"
import { messaging, Scratch } from "./database.ts"
import { envelope } from "./fixtures.ts"
import { Database, forget, reading } from "./internal.ts"

const database = Effect.flatMap(Scratch, ({ url }) =>
  Database.make({ client: { url: Redacted.make(url) }, schema: "holdfast", maxConnections: 1, timeoutMillis: 5000 })
)

const day = 24 * 60 * 60 * 1000

/** A hundred thousand lines of twenty thousand messages in a thousand conversations, some of them an hour long. */
const load = Effect.flatMap(Scratch, ({ control }) =>
  control.unsafe(`
    insert into holdfast.journal (at, event, message_id, tag, endpoint, channel, attempt, correlation_id)
    select now() - (100000 - n) * interval '36 milliseconds', case when n % 100 = 0 then 'Failed' else 'Handled' end,
      'message ' || n / 5, 'tag ' || n % 7, 'endpoint ' || n % 11, 'channel ' || n % 3, 1, 'conversation ' || n / 100
    from generate_series(1, 100000) n;
    analyze holdfast.journal`)
)

/** The pages that a search reads, and the tables that it reads from end to end. */
const cost = (query: MessageStore.JournalQuery) =>
  Effect.gen(function* () {
    const { control } = yield* Scratch
    const connection = yield* control.reserve
    const { statement, values } = reading({ at: '"holdfast".', schema: "holdfast" }, query)
    const explain = `explain (analyze, buffers, format json) ${statement.text}`
    yield* connection.execute(explain, values, undefined)
    const [row] = yield* connection.execute(explain, values, undefined)
    const { Plan } = row["QUERY PLAN"][0]
    return {
      scans: JSON.stringify(Plan).includes('"Seq Scan"'),
      pages: Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"]
    }
  }).pipe(Effect.scoped)

layer(messaging(), { excludeTestServices: true })("the journal's tables", (it) => {
  it.effect("are read by index, a page costing a page", () =>
    Effect.gen(function* () {
      yield* load
      const journal = yield* Effect.flatMap(MessageStore.MessageStore, (store) => store.journal({ limit: 1 }))
      const later = journal[0]!.key
      const since = Date.now() - day
      const queries: ReadonlyArray<MessageStore.JournalQuery> = [
        { id: "message 77" },
        { correlationId: "conversation 5" },
        { correlationId: "conversation 5", order: "NewestFirst", after: later },
        { correlationId: "conversation 5", event: "Failed" },
        { order: "NewestFirst" },
        { order: "NewestFirst", since, limit: 50 },
        { order: "OldestFirst", after: later, limit: 50 },
        { channel: "channel 1", order: "NewestFirst" },
        { endpoint: "endpoint 3", event: "Handled", order: "NewestFirst" }
      ]
      for (const query of queries) {
        const { pages, scans } = yield* cost(query)
        assert.isFalse(scans, JSON.stringify(query))
        assert.isBelow(pages, 250, JSON.stringify(query))
      }
    })
  )

  it.effect("have beside them a count of channels that goes through indexes, and no further than it is told", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      // a session that has made its plans while the tables were empty
      const count = "select * from holdfast.channel_stats(array['full', 'none'], 100)"
      yield* Effect.repeatN(connection.execute(count, [], undefined), 6)
      yield* control.unsafe(`
        insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at)
        select 'full', n, 't', 'e', '{}', '{}', now(), now() from generate_series(1, 50000) n`)
      const [row] = yield* connection.execute(`explain (analyze, buffers, format json) ${count}`, [], undefined)
      const { Plan } = row["QUERY PLAN"][0]
      assert.strictEqual(Plan["Actual Rows"], 2)
      assert.isBelow(Plan["Shared Hit Blocks"] + Plan["Shared Read Blocks"], 300)
      const [full] = yield* connection.execute(count, [], undefined)
      assert.strictEqual(Number(full.ready), 100)
    }).pipe(Effect.scoped)
  )

  it.effect("are forgotten from the oldest on, in batches, and kept where nobody says for how long", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* control.unsafe(`
        insert into holdfast.journal (at, event, message_id, tag, endpoint, attempt, correlation_id)
        select now() - interval '15 days', 'Sent', 'old', 't', 'e', 1, 'c' from generate_series(1, 12000)`)
      const old = Effect.map(
        control.unsafe<{ n: string }>("select count(*) n from holdfast.journal where message_id = 'old'"),
        ([row]) => Number(row!.n)
      )
      const store = yield* database
      yield* forget(store, Number.POSITIVE_INFINITY)
      assert.strictEqual(yield* old, 12_000)
      yield* forget(store, 14 * day)
      assert.strictEqual(yield* old, 0)
      const [{ n }] = yield* control.unsafe<{ n: string }>("select count(*) n from holdfast.journal")
      assert.isAtLeast(Number(n), 100_000)
    }).pipe(Effect.scoped)
  )

  it.effect("show attempts with their start and end, to be joined with the user's own", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const journal = yield* Journal.Journal
      const store = yield* MessageStore.MessageStore
      const line = (event: MessageStore.JournalEvent, durationMillis?: number): MessageStore.JournalEntry => ({
        _tag: "JournalEntry",
        event,
        envelope: { ...envelope("joined"), headers: { correlationId: "A1" } },
        channel: "orders",
        due: undefined,
        durationMillis,
        worker: "w",
        reason: undefined,
        error: undefined,
        payload: undefined
      })
      yield* store.commit([[line("Sent"), line("Failed", 250), line("Retried"), line("Handled", 500)]])
      assert.strictEqual((yield* journal.ofMessage("joined")).length, 4)
      const rows = yield* control.unsafe(`
        with orders (id, total) as (values ('A1', 10))
        select o.total, a.outcome, a.attempt, round(extract(epoch from a.ended_at - a.started_at) * 1000)::int as took
        from holdfast.attempt a join orders o on o.id = a.correlation_id order by a.ended_at, took`)
      assert.deepStrictEqual(rows, [
        { total: 10, outcome: "Failed", attempt: 1, took: 250 },
        { total: 10, outcome: "Handled", attempt: 1, took: 500 }
      ])
    })
  )
})
