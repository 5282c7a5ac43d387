/**
 * What core itself pays for a message: the real consumer over a store that hands out messages from an array and answers
 * commits at once. CPU time, so that a busy machine tells the same as a quiet one.
 *
 *     npm run bench:micro -- [noop gen waits saga sends] [--count 50000] [--rounds 3]
 *
 * With `--memory` the store is that of `MessageStore.layerMemory`, and what it costs is in the figure.
 */
import { parseArgs } from "node:util"
import {
  Channel,
  CommandBus,
  Consumer,
  Handler,
  Message,
  MessageBus,
  MessageStore,
  Saga,
  SagaStore
} from "@holdfast/core"
import { Effect, Layer, Logger, LogLevel, Option, Schema } from "effect"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    count: { type: "string", default: "50000" },
    rounds: { type: "string", default: "3" },
    memory: { type: "boolean", default: false }
  }
})
const count = Number(values.count)

const fields = {
  n: Schema.Number,
  at: Schema.Number,
  key: Schema.String,
  customer: Schema.String,
  amount: Schema.Number,
  currency: Schema.String,
  note: Schema.String
}

class Noop extends Message.Command<Noop>()("Noop", { payload: fields }) {}
class NoopGen extends Message.Command<NoopGen>()("NoopGen", { payload: fields }) {}
class Waits extends Message.Command<Waits>()("Waits", { payload: fields }) {}
class Sends extends Message.Command<Sends>()("Sends", { payload: fields }) {}
class Step extends Message.Command<Step>()("Step", { payload: fields }) {}
class Stepped extends Message.Command<Stepped>()("Stepped", { payload: fields }) {}
class Work extends Channel.Tag<Work>()("bench/Work", { messages: [Noop, NoopGen, Waits, Sends, Step] }) {}
class Out extends Channel.Tag<Out>()("bench/Out", { messages: [Stepped] }) {}

let handled = 0
const counted = <A>(value: A) =>
  Effect.sync(() => {
    handled++
    return value
  })

const handlers = Handler.layer(
  Handler.command(
    Noop,
    Effect.fnUntraced(function* (_: Noop) {
      handled++
    })
  ).pipe(Handler.asynchronous(Work)),
  Handler.command(NoopGen, () =>
    Effect.gen(function* () {
      handled++
    })
  ).pipe(Handler.asynchronous(Work)),
  Handler.command(Waits, () =>
    Effect.async<void>((resume) => {
      handled++
      queueMicrotask(() => resume(Effect.void))
    })
  ).pipe(Handler.asynchronous(Work)),
  Handler.command(Sends, (payload) => {
    handled++
    return CommandBus.send(new Stepped(payload))
  }).pipe(Handler.asynchronous(Work)),
  Handler.command(Stepped, () => Effect.void).pipe(Handler.asynchronous(Out)),
  Saga.make("Counting", { state: Schema.Struct({ steps: Schema.Number }) }).pipe(
    Saga.startOn(Step, { id: ({ key }) => key, handle: () => counted({ steps: 0 }) }),
    Saga.on(Step, {
      id: ({ key }) => key,
      handle: ({ steps }) => counted({ steps: steps + 1 })
    }),
    Handler.asynchronous(Work)
  )
)

const payload = (n: number) => ({
  n,
  at: 1_700_000_000_000 + n,
  key: `key-${n % 1_000}`,
  customer: `customer-${n % 100}`,
  amount: 12.5 + n,
  currency: "EUR",
  note: "a note of some forty characters, or so it"
})

const deliveries = (tag: string, endpoint: string): ReadonlyArray<MessageStore.Delivery> =>
  Array.from({ length: count }, (_, n) => ({
    lease: { channel: Work.channelName, key: String(n), token: String(n >> 8) },
    envelope: {
      id: `018bcfe5-6800-7000-8000-${String(n).padStart(12, "0")}`,
      tag,
      endpoint,
      attempt: 1,
      headers: { correlationId: "018bcfe5-6800-7000-8000-000000000000", timestamp: "1700000000000" },
      payload: JSON.stringify({ _tag: tag, ...payload(n) }),
      failures: []
    },
    claimedAt: 1_700_000_000_000,
    availableAt: 1_700_000_000_000,
    crashes: 0,
    priority: 0,
    undelayed: false
  }))

const saga = { saga: "Counting", version: 1, state: '{"steps":1}', completed: false, timers: {} }

/** The store in memory, with its own work. */
const kept = (own: MessageStore.Encoded) => {
  const commits = { calls: 0, units: 0, claims: 0 }
  const store: MessageStore.Encoded = {
    ...own,
    claim: (options) => Effect.tap(own.claim(options), () => void commits.claims++),
    commit: (units) =>
      Effect.tap(own.commit(units), () => {
        commits.calls++
        commits.units += units.length
      })
  }
  const fill = (all: ReadonlyArray<MessageStore.Delivery>) =>
    own.commit(
      all.map(({ envelope }) => [
        { _tag: "Send", channel: Work.channelName, envelope, priority: 0, due: undefined, timer: undefined }
      ])
    )
  return { store, fill, commits }
}

/** Hands out what is in the array, and answers at once. */
const stub = (own: MessageStore.Encoded) => {
  let left: ReadonlyArray<MessageStore.Delivery> = []
  let next = 0
  const commits = { calls: 0, units: 0, claims: 0 }
  const store: MessageStore.Encoded = {
    ...own,
    claim: ({ limit }) =>
      Effect.sync(() => {
        commits.claims++
        const claimed = left.slice(next, next + limit)
        next += claimed.length
        return claimed
      }),
    renew: () => Effect.succeed([]),
    release: () => Effect.void,
    started: () => Effect.void,
    loadSaga: (_, id) => Effect.succeed(Option.some({ id, ...saga })),
    commit: (units) =>
      Effect.sync(() => {
        commits.calls++
        commits.units += units.length
        return units.map(() => Option.none())
      })
  }
  const fill = (all: ReadonlyArray<MessageStore.Delivery>) =>
    Effect.sync(() => {
      left = all
      next = 0
    })
  return { store, fill, commits }
}

const jobs: Readonly<Record<string, readonly [tag: string, endpoint: string]>> = {
  noop: ["Noop", "Noop"],
  gen: ["NoopGen", "NoopGen"],
  waits: ["Waits", "Waits"],
  saga: ["Step", "Counting"],
  sends: ["Sends", "Sends"]
}

const main = Effect.gen(function* () {
  const { commits, fill, store } = (values.memory ? kept : stub)(yield* MessageStore.MessageStore)
  const Messaging = handlers.pipe(
    Layer.provideMerge(MessageBus.layer),
    Layer.provideMerge(SagaStore.layer),
    Layer.provideMerge(Layer.mergeAll(Channel.layerMemory(Work), Channel.layerMemory(Out))),
    Layer.provideMerge(Layer.succeed(MessageStore.MessageStore, store))
  )
  const context = yield* Layer.build(Messaging)
  for (const [name, [tag, endpoint]] of Object.entries(jobs)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue
    const all = deliveries(tag, endpoint)
    const micros: Array<number> = []
    for (let round = 0; round <= Number(values.rounds); round++) {
      yield* fill(all)
      handled = 0
      commits.calls = commits.units = commits.claims = 0
      const before = process.cpuUsage()
      yield* Consumer.run(Work, { concurrency: 10, stopAfter: { messages: count } }).pipe(
        Effect.provide(context),
        Effect.orDie
      )
      const used = process.cpuUsage(before)
      if (handled !== count) throw new Error(`${name}: ${handled} of ${count} handled`)
      if (round > 0) micros.push((used.user + used.system) / count)
    }
    const sorted = micros.toSorted((self, that) => self - that)
    const shown = sorted.map((each) => each.toFixed(1)).join(" ")
    process.stdout.write(
      `${name.padEnd(8)} ${sorted[sorted.length >> 1]!.toFixed(1).padStart(7)} us of CPU a message (${shown}), ` +
        `${commits.claims} claims, ${commits.calls} commits of ${commits.units} units\n`
    )
  }
}).pipe(Effect.scoped, Effect.provide(MessageStore.layerMemory), Effect.provide(Logger.minimumLogLevel(LogLevel.Error)))

await Effect.runPromise(main)
