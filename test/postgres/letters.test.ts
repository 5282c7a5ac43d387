/**
 * How the statements on dead letters are carried out: through indexes, and never reading more than a page.
 */
import { assert, layer } from "@effect/vitest"
import { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import { messaging, Scratch } from "./database.ts"
import { envelope } from "./fixtures.ts"
import { Letters, Replays } from "./internal.ts"

const database = { at: '"holdfast".', schema: "holdfast" }

/** Twenty thousand letters of forty kinds on four channels, with payloads that are not small. */
const load = Effect.flatMap(Scratch, ({ control }) =>
  control.unsafe(`
    insert into holdfast.dead_letter (channel, message_id, tag, endpoint, payload, headers, failures, attempt, reason,
      error, fingerprint, parked_at)
    select 'c' || n % 4, n, 't', 'e' || n % 8, repeat('x', 1000), '{}', '[]', 1, 'Exhausted', 'no ' || n, 'f' || n % 40,
      now() - (20000 - n) * interval '1 second'
    from generate_series(1, 20000) n;
    insert into holdfast.replay (filter, canary, total, up_to, state, created_at, updated_at, next_at)
    select '{}', 0, 0, 0, 'Done', now(), now(), now() from generate_series(1, 5000)`)
)

const literal = (value: unknown): string =>
  Array.isArray(value) ? `'{${value.join(",")}}'` : `'${String(value).replaceAll("'", "''")}'`

interface Plan {
  readonly "Node Type": string
  readonly "Relation Name"?: string
  readonly Plans?: ReadonlyArray<Plan>
}

const nodes = (plan: Plan): ReadonlyArray<Plan> => [plan, ...(plan.Plans ?? []).flatMap(nodes)]

/** The plan, as a session makes it that prepares the statement once for all parameters. */
const explain = ({ params, statement }: Letters.Asked) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const connection = yield* control.reserve
      yield* connection.executeRaw("set plan_cache_mode = force_generic_plan", [])
      const types = params.map(() => "unknown").join(", ")
      yield* connection.executeRaw(`prepare asked (${types}) as ${statement.text}`, [])
      const [row] = yield* connection.execute(
        `explain (analyze, buffers, format json) execute asked(${params.map(literal).join(", ")})`,
        [],
        undefined
      )
      yield* connection.executeRaw("deallocate asked", [])
      yield* connection.executeRaw("reset plan_cache_mode", [])
      const plan = row["QUERY PLAN"][0].Plan
      const pages: number = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
      return { pages, kinds: nodes(plan).map((node) => node["Node Type"]) }
    })
  )

/** Until all pages are known to be visible, which any transaction that is open meanwhile puts off. */
const vacuumed: Effect.Effect<void, unknown, Scratch> = Effect.gen(function* () {
  const { control } = yield* Scratch
  yield* control.unsafe("vacuum analyze holdfast.dead_letter")
  const [table] = yield* control.unsafe<{ done: boolean }>(
    "select relallvisible >= relpages as done from pg_class where oid = 'holdfast.dead_letter'::regclass"
  )
  if (!table!.done) yield* vacuumed
})

const filters: Readonly<Record<string, MessageStore.DeadLetterFilter>> = {
  all: {},
  channel: { channel: "c1" },
  fingerprint: { fingerprint: "f7" },
  id: { id: "77" },
  keys: { keys: ["1", "2"] },
  both: { channel: "c1", fingerprint: "f9" }
}

layer(messaging(), { excludeTestServices: true })("the plans of statements on dead letters", (it) => {
  it.effect("lists and pages read what they show", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      yield* load
      for (const gathered of [false, true]) {
        if (gathered) yield* control.unsafe("vacuum analyze holdfast.dead_letter")
        for (const [name, filter] of Object.entries(filters)) {
          const asked: Record<string, Letters.Asked> = {
            list: Letters.listed(database, { ...filter, limit: 20 }),
            page: Letters.searched(database, { ...filter, limit: 20 }, "15000")
          }
          for (const [what, each] of Object.entries(asked)) {
            const { kinds, pages } = yield* explain(each)
            assert.notInclude(kinds, "Seq Scan", `${what} of ${name}, ${gathered ? "analysed" : "never analysed"}`)
            assert.isBelow(pages, 600, `${what} of ${name}, ${gathered ? "analysed" : "never analysed"}`)
          }
        }
      }
    })
  )

  it.effect("a search for a text reads a bounded number of letters", () =>
    Effect.gen(function* () {
      const { kinds, pages } = yield* explain(Letters.searched(database, { text: "nowhere", limit: 20 }, undefined))
      assert.notInclude(kinds, "Seq Scan")
      assert.isBelow(pages, 2_500)
    })
  )

  it.effect("groups are counted from an index, without the letters", () =>
    Effect.gen(function* () {
      yield* vacuumed
      const { kinds, pages } = yield* explain(Letters.grouped(database, { limit: 20 }))
      assert.include(kinds, "Index Only Scan", kinds.join())
      const { control } = yield* Scratch
      const [table] = yield* control.unsafe<{ pages: string }>(
        "select (pg_relation_size('holdfast.dead_letter') / 8192)::text as pages"
      )
      assert.isBelow(pages, Number(table!.pages) / 3, "the letters themselves are not read")
    })
  )

  it.effect("the next step of a replay is found without the replays that are over", () =>
    Effect.gen(function* () {
      const statement = { name: "due", text: Replays.dueReplays(database.at) }
      const { kinds, pages } = yield* explain({ statement, params: [10] })
      assert.notInclude(kinds, "Seq Scan")
      assert.isBelow(pages, 10)
    })
  )

  it.effect("a replay of many letters goes on in steps of as many letters", () =>
    Effect.gen(function* () {
      const store = yield* MessageStore.MessageStore
      const replay = yield* store.startReplay({ filter: { fingerprint: "f7" }, canary: 0, rate: undefined })
      assert.strictEqual(replay.total, 500)
      const { id, version } = replay
      const step = {
        id,
        version,
        limit: 200,
        canary: false,
        state: "Running" as const,
        detail: undefined,
        afterMillis: 0
      }
      yield* store.advanceReplay(step)
      const [after] = yield* store.replays({ due: true, limit: 1 })
      assert.deepStrictEqual([after!.replayed, after!.state], [200, "Running"])
      yield* store.commit([
        [
          {
            _tag: "Park",
            channel: "c1",
            lease: undefined,
            envelope: envelope("1"),
            reason: "Defect",
            error: "",
            fingerprint: "f7"
          }
        ]
      ])
      yield* store.advanceReplay({ ...step, version: after!.version, limit: 500 })
      const [done] = yield* store.replays({ due: false, limit: 1 })
      assert.deepStrictEqual([done!.replayed, done!.state], [500, "Done"])
    })
  )
})
