/**
 * A script that uses messaging and ends: `ManagedRuntime` builds the layers once, runs effects from plain code, and
 * closes everything, consumers drained, when it is disposed.
 */
import { pathToFileURL } from "node:url"
import { Channel, CommandBus, Consumer, Handler, Message, MessageBus, QueryBus } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Console, Context, Effect, Layer, ManagedRuntime, Ref, Schema } from "effect"

export class Import extends Message.Command<Import>()("Import", { payload: { line: Schema.String } }) {}
export class CountLines extends Message.Query<CountLines>()("CountLines", { success: Schema.Number }) {}
export class Imports extends Channel.Tag<Imports>()("script/Imports", { messages: [Import] }) {}

/** What was imported: in memory here, your tables in life. */
export class Lines extends Context.Tag("script/Lines")<Lines, Ref.Ref<ReadonlyArray<string>>>() {
  static readonly layer = Layer.effect(Lines, Ref.make<ReadonlyArray<string>>([]))
}

const importLine = Handler.command(Import, ({ line }) =>
  Effect.flatMap(Lines, (lines) => Ref.update(lines, (all) => [...all, line]))
).pipe(Handler.asynchronous(Imports))

const countLines = Handler.query(CountLines, () =>
  Effect.flatMap(Lines, (lines) => Effect.map(Ref.get(lines), (all) => all.length))
)

export const Handlers = Handler.layer(importLine, countLines).pipe(Layer.provideMerge(Lines.layer))

/** Everything the script needs, on the embedded PostgreSQL or on that of `DATABASE_URL`. */
const Live = Handlers.pipe(
  Layer.provideMerge(MessageBus.layer),
  Layer.provideMerge(PgChannel.layer(Imports)),
  Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(EmbeddedPostgres.layer)
)

/** Sends the lines, handles what waits on the channel, and answers how many lines there are. */
export const importAll = Effect.fn("importAll")(function* (lines: ReadonlyArray<string>) {
  yield* Effect.forEach(lines, (line) => CommandBus.send(new Import({ line })), { discard: true })
  yield* Consumer.drain(Imports)
  return yield* QueryBus.ask(new CountLines({}))
})

const main = async () => {
  const runtime = ManagedRuntime.make(Live)
  const count = await runtime.runPromise(importAll(["first", "second", "third"]))
  await runtime.runPromise(Console.log(`${count} lines imported`))
  await runtime.dispose()
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main()
