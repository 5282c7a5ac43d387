import { assert, layer } from "@effect/vitest"
import { MessageStore } from "@holdfast/core"
import { Effect, Option } from "effect"
import { messaging, Scratch } from "../postgres/database.ts"
import { claiming, guardedStatements, guards, hotStatements, pages, seqScans } from "../postgres/hotStatements.ts"

const million = 1_000_000
const batch = 500

const fill = (channel: string, count: number) =>
  `insert into holdfast.queue (channel, message_id, tag, endpoint, payload, headers, created_at, priority, undelayed)
   select '${channel}', n, 't', 'e', '${JSON.stringify({ note: "x".repeat(100) })}', '{}', now(), 0, false
   from generate_series(1, ${count}) n`

const unanalysed = ["queue", "lease", "message", "scheduled", "dead_letter", "saga", "deduplication", "idempotency"]
  .map((table) => `alter table holdfast.${table} set (autovacuum_enabled = off)`)
  .join(";")

const noSeqScans = Effect.gen(function* () {
  for (const [name, [text, params]] of Object.entries(hotStatements)) {
    assert.deepStrictEqual(yield* seqScans(text, params), [], name)
  }
  for (const [name, [text, params]] of Object.entries(guardedStatements)) {
    assert.deepStrictEqual(yield* seqScans(text, params, guards), [], name)
  }
})

/** Claims and acknowledges all but the last messages, and answers how long each claim took. */
const drain = (channel: string, count: number) =>
  Effect.gen(function* () {
    const store = yield* MessageStore.MessageStore
    const times: Array<number> = []
    let last = 0
    let lease = 0
    for (let left = count; left > 2 * batch; left -= batch) {
      const from = performance.now()
      const deliveries = yield* store.claim({ channel, limit: batch, leaseMillis: 600_000, owner: "plans" })
      times.push(performance.now() - from)
      assert.lengthOf(deliveries, batch)
      const outcomes = yield* store.commit(deliveries.map(({ lease }) => [{ _tag: "Acknowledge", lease } as const]))
      assert.isTrue(outcomes.every(Option.isNone))
      lease = Number(deliveries.at(-1)!.lease.token)
      last = Number(deliveries.at(-1)!.lease.key.split(":")[1])
    }
    return { times, last, lease }
  })

const median = (times: ReadonlyArray<number>) => times.toSorted((self, that) => self - that)[times.length >> 1]!

/** What a claim reads at the end of a backlog, and how long claims take there, each by what it was at the start. */
const endByStart = (channel: string) =>
  Effect.gen(function* () {
    const { control } = yield* Scratch
    yield* control.unsafe(fill(channel, million))
    const start = yield* pages(claiming(channel, batch))
    const { last, lease, times } = yield* drain(channel, million)
    const end = yield* pages(claiming(channel, batch, last, 0, lease))
    assert.deepStrictEqual([start.rows, end.rows], [batch, batch])
    const tenth = Math.floor(times.length / 10)
    const time = median(times.slice(-tenth)) / median(times.slice(0, tenth))
    console.log(`${channel}: pages ${start.pages} to ${end.pages}, median time of a claim times ${time.toFixed(2)}`)
    return { pages: end.pages / start.pages, time }
  })

layer(messaging({ notifications: false }), { excludeTestServices: true, timeout: "15 minutes" })(
  "a backlog of a million on tables that were never analysed",
  (it) => {
    it.effect("is claimed at the end at the cost of the start", () =>
      Effect.gen(function* () {
        const { control } = yield* Scratch
        yield* control.unsafe(unanalysed)
        const cost = yield* endByStart("fresh")
        assert.isBelow(cost.pages, 1.5)
        assert.isBelow(cost.time, 1.5)
      })
    )

    it.effect("is claimed at the end at the cost of the start, or little more, under an old snapshot", () =>
      Effect.gen(function* () {
        const { control } = yield* Scratch
        const old = yield* control.reserve
        yield* old.executeRaw("begin isolation level repeatable read", [])
        yield* old.execute("select count(*) from holdfast.lease", [], undefined)
        const cost = yield* endByStart("pinned")
        yield* old.executeRaw("rollback", [])
        assert.isBelow(cost.pages, 1 / 0.7)
        assert.isBelow(cost.time, 1 / 0.7)
      }).pipe(Effect.scoped)
    )

    it.effect("has no statement that reads a table from end to end, before it is analysed and after", () =>
      Effect.gen(function* () {
        const { control } = yield* Scratch
        yield* control.unsafe(fill("c0", million / 4))
        yield* control.unsafe(fill("c1", million / 4))
        yield* control.unsafe(`
          insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at,
            ordering_key)
          select 'c' || n % 2, n, 't', 'e', '{}', '{}', now(), now(), case when n % 2 = 0 then 'key ' || n % 500 end
          from generate_series(1, ${million}) n;
          insert into holdfast.scheduled (channel, message_id, tag, endpoint, payload, headers, created_at, due_at,
            timer_owner, timer_name)
          select 'c' || n % 2, n, 't', 'e', '{}', '{}', now(), now() + n * interval '1 second', 'o' || n, 'n'
          from generate_series(1, ${million}) n;
          insert into holdfast.dead_letter (channel, message_id, tag, endpoint, payload, headers, failures, attempt, reason,
            error, fingerprint, parked_at, ordering_key, place)
          select 'c' || n % 2, n, 't', 'e', '{}', '{}', '[]', 1, 'Defect', '', 'f', now(), 'dead ' || n, n
          from generate_series(1, ${million / 10}) n;
          insert into holdfast.lease (channel, id, priority, from_id, last_id, until, owner, begun)
          select 'c' || n % 2, 1000000000 + n, 0, n * 10, n * 10 + 9, now() + interval '1 minute', 'o', true
          from generate_series(1, 20000) n;
          insert into holdfast.deduplication (key, expires_at)
          select 'key ' || n, now() + (n - ${million / 2}) * interval '1 second' from generate_series(1, ${million}) n;
          insert into holdfast.idempotency (key, token, lease_until, result, expires_at)
          select 'key ' || n, n, now(), '{}', now() + (n - ${million / 2}) * interval '1 second'
          from generate_series(1, ${million}) n;
          insert into holdfast.saga (saga, id, version, state, completed, timers, created_at, updated_at)
          select 'S', n, 1, '{}', false, '{}', now(), now() from generate_series(1, ${million}) n`)
        yield* noSeqScans
        yield* control.unsafe("analyze")
        yield* noSeqScans
      })
    )
  }
)
