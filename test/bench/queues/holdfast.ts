import { SqlClient } from "@effect/sql"
import { PgClient } from "@effect/sql-pg"
import {
  Channel,
  CommandBus,
  Consumer,
  Handler,
  Message,
  MessageBus,
  type MessagingError,
  Saga,
  UnitOfWork
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

const concurrency = 10

/** Everything as a user has it: Schema decodes every message, every handler runs in a unit of work, nothing is off. */
export const holdfast: Library = {
  name: "Holdfast",
  setting: (kind) =>
    `Consumer.layer concurrency ${concurrency}` +
    (kind === "write" ? ", the INSERT in the handler's unit" : "") +
    (kind === "saga" ? `, Saga.on, ${sagas} instances` : "") +
    (kind === "keyed" ? ", Handler.orderedBy" : ""),
  open: (url, kind) =>
    Effect.gen(function* () {
      const connections = yield* pool(url, 1)
      yield* query(connections, writtenTable)
      const bus = yield* Layer.build(messaging(url, () => {}))
      if (kind === "saga") yield* startSagas.pipe(Effect.provide(bus), Effect.orDie)
      const send = (payload: Payload) => sendAs(kind, payload).pipe(Effect.provide(bus), Effect.orDie)
      const sendAll = (payloads: ReadonlyArray<Payload>, options: Delay = {}) =>
        UnitOfWork.run(Effect.forEach(payloads, (each) => sendAs(kind, each, options), { discard: true })).pipe(
          Effect.provide(bus),
          Effect.orDie
        )
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
        clear: query(connections, "TRUNCATE holdfast.message, holdfast.queue, written")
      }
      return own
    }),
  consume: ({ url }, handled) =>
    Effect.gen(function* () {
      const context = yield* Layer.build(messaging(url, handled))
      return Layer.build(Consumer.layer(Work, { concurrency })).pipe(
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

const messaging = (url: string, handled: Handled) =>
  handlers(handled).pipe(
    Layer.provideMerge(MessageBus.layer),
    Layer.provideMerge(Layer.mergeAll(PgChannel.layer(Work), PgChannel.layer(Out))),
    Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
    Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections: concurrency })),
    Layer.orDie
  )

type Delay = { readonly delay?: "1 day" }

type Handles = Handler.Handles<"Noop"> | Handler.Handles<"Write"> | Handler.Handles<"Keyed"> | Handler.Handles<"Step">
type Sending = Effect.Effect<void, MessagingError.MessagingError, CommandBus.CommandBus | Handles>

const sendAs = (kind: Kind, payload: Payload, options: Delay = {}): Sending => {
  switch (kind) {
    case "noop":
      return CommandBus.send(new Noop(payload), options)
    case "write":
      return CommandBus.send(new Write(payload), options)
    case "keyed":
      return CommandBus.send(new Keyed(payload), options)
    case "saga":
      return CommandBus.send(new Step(payload), options)
  }
}

/** Every instance is there before the clock runs, so that each step loads one. */
const startSagas = Effect.forEach(
  Array.from({ length: sagas }, (_, n) => payload(n)),
  (each) => sendAs("saga", each),
  { discard: true }
).pipe(UnitOfWork.run, Effect.zipRight(Consumer.run(Work, { concurrency, stopAfter: { empty: true } })))
