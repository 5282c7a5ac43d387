/**
 * What is paid for being seen: CPU time of this process for each span that nobody hears, each metric and each line of the
 * journal, and the bytes that PostgreSQL writes ahead for such a line. Run it with DATABASE_URL set:
 *
 *     node test/dist/bench/micro/telemetry.js
 */
import { PgClient } from "@effect/sql-pg"
import { type Envelope, MessageStore } from "@holdfast/core"
import { PgMessaging } from "@holdfast/postgres"
import { Effect, Redacted } from "effect"

/** Internals, as they were built: no package exports them. */
const internal = (path: string): Promise<any> =>
  import(new URL(`../../../../packages/${path}.js`, import.meta.url).href)
const Metrics: typeof import("../../../packages/core/src/internal/metrics.js") =
  await internal("core/dist/internal/metrics")
const Telemetry: typeof import("../../../packages/core/src/internal/telemetry.js") =
  await internal("core/dist/internal/telemetry")
const { collect } = await internal("postgres/dist/internal/staged")
const { compose } = await internal("postgres/dist/internal/write")
const { partsOf } = await internal("postgres/dist/internal/writeParts")

const schema = "bench_telemetry"
const batch = 500
const rounds = 120
/** Rounds in which the engine still compiles. */
const warm = 40

const id = (): string => {
  const random = globalThis.crypto.randomUUID()
  const time = Date.now().toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${random.slice(15)}`
}

const envelope = (): Envelope.Envelope => {
  const own = id()
  return {
    id: own,
    tag: "OrderPlaced",
    endpoint: "SendConfirmation",
    attempt: 1,
    headers: { timestamp: String(Date.now()), correlationId: own, causationId: id() },
    payload: `{"_tag":"OrderPlaced","orderId":"${own}","total":1200,"currency":"EUR"}`,
    failures: []
  }
}

const entry = (message: Envelope.Envelope, payload: boolean): MessageStore.JournalEntry => ({
  _tag: "JournalEntry",
  event: "Handled",
  envelope: message,
  channel: "shop/Orders",
  due: undefined,
  durationMillis: 0.41,
  worker: "0199f0a0-0000-7000-8000-000000000001",
  reason: undefined,
  error: undefined,
  payload: payload ? message.payload : undefined
})

const send = (message: Envelope.Envelope): MessageStore.Send => ({
  _tag: "Send",
  channel: "bench",
  envelope: message,
  priority: 0,
  due: undefined,
  timer: undefined
})

/** CPU time of this process for one of `count`, in microseconds. */
const cpu = <A, E, R>(count: number, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = process.cpuUsage()
    yield* effect
    const { system, user } = process.cpuUsage(before)
    return (system + user) / count
  })

/** Of a busy machine, what it costs when nobody disturbs: the lower decile. */
const undisturbed = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 10)]!

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

const inProcess = Effect.gen(function* () {
  const count = 300_000
  const message = envelope()
  const delivery = { channel: "shop/Orders", envelope: message }
  const labels = Metrics.labelsOf("shop/Orders", message)
  const traced = { ...delivery, envelope: { ...message, headers: { ...message.headers, traceparent } } }
  const loop = (f: () => Effect.Effect<unknown>) =>
    Effect.loop(0, { while: (n) => n < count, step: (n) => n + 1, body: f, discard: true })
  const variants: Record<string, Effect.Effect<unknown>> = {
    nothing: loop(() => Effect.void),
    "span of handling, nobody listens": loop(() => Telemetry.processing(delivery, () => false, Effect.void)),
    "the same, with a trace to go on": loop(() => Telemetry.processing(traced, () => false, Effect.void)),
    "span of sending, nobody listens": loop(() =>
      Telemetry.sending(
        () => Effect.void,
        () => ({ operation: "send", tag: "OrderPlaced", destination: "shop/Orders" })
      )
    ),
    "metrics of one message": loop(() => {
      Metrics.committed([send(message)], [])
      Metrics.settled(labels, "Handled")
      Metrics.succeeded(labels, 0.4, 12)
      return Effect.void
    })
  }
  const measured: Record<string, Array<number>> = {}
  for (let round = 0; round < 5; round++)
    for (const [name, effect] of Object.entries(variants))
      measured[name] = [...(measured[name] ?? []), yield* cpu(count, effect)]
  const base = median(measured.nothing!)
  for (const [name, values] of Object.entries(measured))
    if (name !== "nothing") yield* print(name, `${(median(values) - base).toFixed(3)} us`)
})

const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`

const print = (name: string, value: string) => Effect.sync(() => console.info(name.padEnd(44), value))

/** The same units without, with, and with the payload: what the journal adds. */
const journal = Effect.gen(function* () {
  const store = yield* MessageStore.MessageStore
  const sql = yield* PgClient.PgClient
  const clear = sql.unsafe(`truncate ${schema}.queue, ${schema}.message, ${schema}.journal`)
  const variants: Record<string, (message: Envelope.Envelope) => ReadonlyArray<MessageStore.Write>> = {
    off: (message) => [send(message)],
    on: (message) => [send(message), entry(message, false)],
    payload: (message) => [send(message), entry(message, true)]
  }
  const measured: Record<string, Array<number>> = {}
  for (let round = 0; round < rounds; round++)
    for (const [name, writes] of Object.entries(variants)) {
      const messages = Array.from({ length: batch }, envelope)
      // what builds the line counts too
      const committed = Effect.suspend(() => store.commit([messages.flatMap(writes)]))
      const each = yield* cpu(batch, committed)
      if (round >= warm) measured[name] = [...(measured[name] ?? []), each]
    }
  const off = undisturbed(measured.off!)
  yield* print("a send of 500 in a unit, for each", `${off.toFixed(2)} us`)
  yield* print("a line of the journal adds", `${(undisturbed(measured.on!) - off).toFixed(2)} us`)
  yield* print("a line with its payload adds", `${(undisturbed(measured.payload!) - off).toFixed(2)} us`)
  yield* clear
  for (const [name, write] of [
    ["a message", send],
    ["a line", (message: Envelope.Envelope) => entry(message, false)],
    ["a line with a payload of 90 bytes", (message: Envelope.Envelope) => entry(message, true)]
  ] as const) {
    const bytes: Array<number> = []
    const millis: Array<number> = []
    for (let round = 0; round < warm; round++) {
      const parts = partsOf(collect([Array.from({ length: batch }, () => write(envelope()))]))
      const text = `explain (analyze, wal, format json) ${compose(`${schema}.`, parts)}`
      const [row] = yield* sql.unsafe<any>(text, parts.flatMap(({ params }: any) => params) as Array<any>)
      bytes.push(walOf(row!["QUERY PLAN"][0].Plan) / batch)
      millis.push((row!["QUERY PLAN"][0]["Execution Time"] * 1000) / batch)
    }
    yield* print(`${name}: written ahead`, `${median(bytes).toFixed(0)} bytes`)
    yield* print(`${name}: time of the server`, `${undisturbed(millis).toFixed(1)} us`)
  }
  const [size] = yield* sql.unsafe<any>(
    `select pg_relation_size('${schema}.journal') / count(*) as heap, pg_indexes_size('${schema}.journal') / count(*) as indexes
     from ${schema}.journal`
  )
  yield* print("on disk, half of them with payload", `${size!.heap} bytes, and ${size!.indexes} in indexes`)
})

const walOf = (plan: any): number => {
  const own = plan.Operation === "Insert" ? plan["WAL Bytes"] : 0
  return own + (plan.Plans ?? []).reduce((sum: number, inner: any) => sum + walOf(inner), 0)
}

const client = PgClient.layer({ url: Redacted.make(process.env.DATABASE_URL ?? "postgres://localhost/test") })

const program = Effect.gen(function* () {
  const sql = yield* PgClient.PgClient
  const drop = Effect.orDie(sql.unsafe(`drop schema if exists ${schema} cascade`))
  yield* drop
  yield* inProcess
  yield* journal.pipe(
    Effect.provide(PgMessaging.layerWith({ schema, migrate: true, testing: true })),
    Effect.ensuring(drop)
  )
}).pipe(Effect.provide(client), Effect.scoped)

await Effect.runPromise(program)
