import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import {
  Channel,
  CommandBus,
  Consumer,
  Handler,
  Journal,
  Message,
  MessageBus,
  type MessagingError,
  Saga
} from "@holdfast/core"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Effect, Layer, Redacted, Schema } from "effect"
import { count, pool, query, writtenTable } from "../database.ts"
import { type Handled, type Kind, type Library, type Payload, payload, type Queue, sagas } from "../queue.ts"

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
class Write extends Message.Command<Write>()("Write", { payload: fields }) {}
class Keyed extends Message.Command<Keyed>()("Keyed", { payload: fields }) {}
class Step extends Message.Command<Step>()("Step", { payload: fields }) {}
class Stepped extends Message.Command<Stepped>()("Stepped", { payload: fields }) {}
class Work extends Channel.Tag<Work>()("bench/Work", { messages: [Noop, Write, Keyed, Step] }) {}
class Out extends Channel.Tag<Out>()("bench/Out", { messages: [Stepped] }) {}

/** Ten connections for handlers with SQL; sagas have none of their own, so that more can be moved at once. */
const concurrencyOf = (kind: Kind): number => (kind === "saga" ? 100 : 10)

/** Everything as a user has it: Schema decodes every message, every handler runs in a unit of work, nothing is off. */
export const holdfast: Library = {
  name: "Holdfast",
  setting: (kind) =>
    `Consumer.layer concurrency ${concurrencyOf(kind)}` +
    (kind === "write" ? ", the INSERT in the handler's unit" : "") +
    (kind === "saga" ? `, Saga.on, ${sagas} instances` : "") +
    (kind === "keyed" ? ", Handler.orderedBy" : "") +
    (kind === "journaled" ? ', journal "All"' : ""),
  open: (url, kind) =>
    Effect.gen(function* () {
      const connections = yield* pool(url, 1)
      yield* query(connections, writtenTable)
      const bus = yield* Layer.build(messaging(url, kind, () => {}))
      if (kind === "saga") yield* startSagas.pipe(Effect.provide(bus), Effect.orDie)
      const send = (payload: Payload) => sendAs(kind, payload).pipe(Effect.provide(bus), Effect.orDie, Effect.asVoid)
      const sendAll = (payloads: ReadonlyArray<Payload>, options: Delay = {}) =>
        sendAllAs(kind, payloads, options).pipe(Effect.provide(bus), Effect.orDie, Effect.asVoid)
      const own: Queue = {
        send,
        sendAll,
        delayAll: (payloads) => sendAll(payloads, { delay: "1 day" }),
        left: count(connections, "SELECT count(*) FROM holdfast.waiting WHERE channel = $1", [Work.channelName]),
        effects: count(
          connections,
          "SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM holdfast.waiting WHERE channel = $1)",
          [Out.channelName]
        ),
        clear: query(connections, "TRUNCATE holdfast.message, holdfast.queue, holdfast.journal, written")
      }
      return own
    }),
  consume: ({ kind, url }, handled) =>
    Effect.gen(function* () {
      const context = yield* Layer.build(messaging(url, kind, handled))
      return Layer.build(Consumer.layer(Work, { concurrency: concurrencyOf(kind) })).pipe(
        Effect.provide(context),
        Effect.orDie,
        Effect.asVoid
      )
    }).pipe(Effect.orDie)
}

const handlers = (handled: Handled) => {
  const done = (payload: Payload) => Effect.sync(() => handled(payload))
  return Handler.layer(
    Handler.command(Noop, done).pipe(Handler.asynchronous(Work)),
    Handler.command(Keyed, done).pipe(
      Handler.asynchronous(Work),
      Handler.orderedBy(({ key }) => key)
    ),
    Handler.command(Write, (payload) =>
      Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO written (n) VALUES (${payload.n})`).pipe(
        Effect.orDie,
        Effect.zipRight(done(payload))
      )
    ).pipe(Handler.asynchronous(Work)),
    Handler.command(Stepped, () => Effect.void).pipe(Handler.asynchronous(Out)),
    Saga.make("Counting", { state: Schema.Struct({ steps: Schema.Number }) }).pipe(
      Saga.startOn(Step, { id: ({ key }) => key, handle: () => Effect.succeed({ steps: 0 }) }),
      Saga.on(Step, {
        id: ({ key }) => key,
        handle: ({ steps }, step) =>
          CommandBus.send(new Stepped(step)).pipe(Effect.zipRight(done(step)), Effect.as({ steps: steps + 1 }))
      }),
      Handler.asynchronous(Work)
    )
  )
}

const messaging = (url: string, kind: Kind, handled: Handled) =>
  handlers(handled).pipe(
    Layer.provideMerge(MessageBus.layer),
    Layer.provide(Layer.succeed(Journal.DefaultPolicy, kind === "journaled" ? "All" : "Failures")),
    Layer.provideMerge(Layer.mergeAll(PgChannel.layer(Work), PgChannel.layer(Out))),
    Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
    Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections: concurrencyOf(kind) })),
    Layer.orDie
  )

type Delay = { readonly delay?: "1 day" }

type Handles = Handler.Handles<"Noop"> | Handler.Handles<"Write"> | Handler.Handles<"Keyed"> | Handler.Handles<"Step">
type Sending = Effect.Effect<unknown, MessagingError.MessagingError, CommandBus.CommandBus | Handles>

const commandOf: Record<Kind, (payload: Payload) => Noop | Write | Keyed | Step> = {
  noop: (payload) => new Noop(payload),
  write: (payload) => new Write(payload),
  keyed: (payload) => new Keyed(payload),
  journaled: (payload) => new Noop(payload),
  saga: (payload) => new Step(payload)
}

const sendAs = (kind: Kind, payload: Payload): Sending => CommandBus.send(commandOf[kind](payload))

const sendAllAs = (kind: Kind, payloads: ReadonlyArray<Payload>, options: Delay = {}): Sending =>
  CommandBus.sendAll(payloads.map(commandOf[kind]), options)

/** Every instance is there before the clock runs, so that each step loads one. */
const startSagas = sendAllAs(
  "saga",
  Array.from({ length: sagas }, (_, n) => payload(n))
).pipe(
  Effect.zipRight(Consumer.run(Work, { concurrency: concurrencyOf("saga"), stopAfter: { empty: true } })),
  Effect.asVoid
)
