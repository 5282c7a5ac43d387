import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { messaging, Scratch } from "./database.ts"
import { claiming, guardedStatements, guards, hotStatements, pages, seqScans } from "./hotStatements.ts"

/** Twenty thousand messages on four channels, a tenth of them claimed; as many scheduled ones and sagas. */
const load = Effect.flatMap(Scratch, ({ control }) =>
  control.unsafe(`
    insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at, priority,
      lease_until, lease_token)
    select 'c' || n % 4, n, 't', 'e', '{}', '{}', now(), now(), n % 3,
      case when n % 10 = 0 then now() + interval '1 minute' end, case when n % 10 = 0 then n end
    from generate_series(1, 20000) n;
    insert into holdfast.scheduled (channel, message_id, tag, endpoint, payload, headers, created_at, due_at, timer_owner, timer_name)
    select 'c' || n % 4, n, 't', 'e', '{}', '{}', now(), now() + n * interval '1 second', 'o' || n, 'n'
    from generate_series(1, 20000) n;
    insert into holdfast.saga (saga, id, version, state, completed, timers, created_at, updated_at)
    select 'S', n, 1, '{}', false, '{}', now(), now() from generate_series(1, 20000) n;
    insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at, priority,
      ordering_key)
    select 'c' || n % 4, n, 't', 'e', '{}', '{}', now(), now(), n % 3, 'key ' || n % 500 from generate_series(1, 20000) n;
    insert into holdfast.queue (channel, message_id, tag, endpoint, payload, headers, created_at, priority, undelayed)
    select 'c' || n % 4, n, 't', 'e', '{}', '{}', now(), n % 3, false from generate_series(1, 20000) n;
    insert into holdfast.lease (channel, id, priority, from_id, last_id, until, owner, begun)
    select 'c' || n % 4, n, n % 3, n * 10, n * 10 + 9, now() + interval '1 minute', 'o', true from generate_series(1, 20000) n;
    insert into holdfast.deduplication (key, expires_at)
    select 'key ' || n, now() + (n - 10000) * interval '1 minute' from generate_series(1, 20000) n;
    insert into holdfast.idempotency (key, token, lease_until, result, expires_at)
    select 'key ' || n, n, now(), '{}', now() + (n - 10000) * interval '1 minute' from generate_series(1, 20000) n;
    analyze holdfast.deduplication; analyze holdfast.idempotency;
    analyze holdfast.message; analyze holdfast.queue; analyze holdfast.lease; analyze holdfast.scheduled; analyze holdfast.saga`)
)

layer(messaging(), { excludeTestServices: true })("the plans of the hot statements", (it) => {
  it.effect("use indexes on tables of some thousand rows", () =>
    Effect.gen(function* () {
      yield* load
      assert.deepStrictEqual(new Set(yield* seqScans("select 1 from holdfast.message", [])), new Set(["message"]))
      for (const [name, [text, params]] of Object.entries(hotStatements)) {
        assert.deepStrictEqual(yield* seqScans(text, params), [], name)
      }
      for (const [name, [text, params]] of Object.entries(guardedStatements)) {
        assert.deepStrictEqual(yield* seqScans(text, params, guards), [], name)
      }
    })
  )

  it.effect("an idle claim and a claim of many are short", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const explain = `explain (analyze, buffers, format json) ${claiming("nothing", 100)}`
      yield* control.unsafe(explain)
      const [row] = yield* control.unsafe<any>(explain)
      const buffers = row!["QUERY PLAN"][0].Plan["Shared Hit Blocks"]
      assert.isBelow(buffers, 60, "an idle claim reads a few pages of indexes")
      const claimed = yield* control.unsafe(claiming("c1", 100))
      assert.strictEqual(claimed.length, 100)
    })
  )

  it.effect("a claim of ten keys does not read the messages that wait behind them", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* control.unsafe(`
        insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at,
          ordering_key)
        select 'keyed', n, 't', 'e', '{}', '{}', now(), now(), 'key ' || n % 20 from generate_series(1, 20000) n;
        analyze holdfast.message`)
      // a session that knows the tables
      const connection = yield* control.reserve
      const explain = `explain (analyze, buffers, format json) ${claiming("keyed", 5)}`
      yield* connection.execute(explain, [], undefined)
      const [row] = yield* connection.execute(explain, [], undefined)
      const plan = row["QUERY PLAN"][0].Plan
      assert.strictEqual(plan["Actual Rows"], 5)
      assert.isBelow(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], 500)
      const rest = yield* connection.execute(claiming("keyed", 100), [], undefined)
      assert.lengthOf(rest, 10)
    }).pipe(Effect.scoped)
  )

  it.effect(
    "a session that has planned its claims while the tables were empty goes through indexes when they are not",
    () =>
      Effect.gen(function* () {
        const { control } = yield* Scratch
        for (const table of ["message", "queue", "lease", "scheduled", "dead_letter"]) {
          yield* control.unsafe(`truncate holdfast.${table}`)
          // or it might see in time what has happened
          yield* control.unsafe(`alter table holdfast.${table} set (autovacuum_enabled = off)`)
          yield* control.unsafe(`vacuum analyze holdfast.${table}`)
        }
        const connection = yield* control.reserve
        const fill = (from: number, to: number, channel: string) => `
        insert into holdfast.message (channel, message_id, tag, endpoint, payload, headers, created_at, available_at,
          ordering_key)
        select '${channel}', n, 't', 'e', '{}', '{}', now(), now(), 'key ' || n % 100 from generate_series(${from}, ${to}) n`
        yield* connection.executeRaw(fill(1, 30, "warm"), [])
        const claim = claiming("warm", 1)
        yield* Effect.repeatN(connection.execute(claim, [], undefined), 11)
        yield* connection.executeRaw(fill(1, 20_000, "busy"), [])
        const explain = `explain (analyze, buffers, format json) ${claiming("busy", 5)}`
        const [row] = yield* connection.execute(explain, [], undefined)
        const plan = row["QUERY PLAN"][0].Plan
        assert.strictEqual(plan["Actual Rows"], 5)
        assert.isBelow(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], 1000)
      }).pipe(Effect.scoped)
  )

  it.effect("a session that has planned its claims while the queue was empty reads little when it is not", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      yield* Effect.repeatN(connection.execute(claiming("first", 10), [], undefined), 11)
      yield* connection.executeRaw(
        `insert into holdfast.queue (channel, message_id, tag, endpoint, payload, headers, created_at, priority, undelayed)
         select 'first', n, 't', 'e', '{}', '{}', now(), n % 2, false from generate_series(1, 20000) n`,
        []
      )
      for (const sweep of [0, 1, 2]) {
        const explain = `explain (analyze, buffers, format json) ${claiming("first", 10, 0, sweep)}`
        const [row] = yield* connection.execute(explain, [], undefined)
        const plan = row["QUERY PLAN"][0].Plan
        assert.strictEqual(plan["Actual Rows"], 10)
        assert.isBelow(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], 400)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("a claim of ten reads no more where thousands wait than where few do", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* control.unsafe(
        `insert into holdfast.queue (channel, message_id, tag, endpoint, payload, headers, created_at, priority, undelayed)
         select case when n <= 20 then 'few' else 'many' end, n, 't', 'e', '{}', '{}', now(), 0, false
         from generate_series(1, 20000) n`
      )
      const few = yield* pages(claiming("few", 10))
      const many = yield* pages(claiming("many", 10))
      assert.deepStrictEqual([few.rows, many.rows], [10, 10])
      assert.isBelow(many.pages, 1.5 * few.pages)
    })
  )
})
