/**
 * What is seen from outside: spans for those who installed a tracer, and lines of the log that say of which message they
 * are.
 */
import { assert, it } from "@effect/vitest"
import { CommandBus, DeadLetter, EventBus, Handler, Headers, Orchestrator, QueryBus, Saga } from "@holdfast/core"
import { Context, Effect, Exit, Layer, Logger, Option, Schema, Tracer } from "effect"
import type { Backend } from "./backend.ts"
import {
  advance,
  CountRows,
  drain,
  letters,
  minute,
  Orders,
  onlyLetter,
  Paid,
  Place,
  Placed,
  place,
  placed,
  Ship,
  ship,
  within
} from "./fixtures.ts"

/** A tracer that keeps the spans that have ended, in their order; not those of the client of the database. */
const makeTracer = () => {
  const ended: Array<Tracer.Span & { readonly exit: Exit.Exit<unknown, unknown> }> = []
  let count = 0
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const id = (++count).toString(16).padStart(16, "0")
      const attributes = new Map<string, unknown>()
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        spanId: id,
        traceId: Option.match(parent, { onNone: () => id.padStart(32, "f"), onSome: ({ traceId }) => traceId }),
        parent,
        context,
        links,
        kind,
        sampled: true,
        status: { _tag: "Started", startTime },
        attributes,
        attribute: (key, value) => void attributes.set(key, value),
        event: () => {},
        addLinks: () => {},
        end: (_, exit) => {
          if (!name.startsWith("sql.")) ended.push(Object.assign(span, { exit }))
        }
      }
      return span
    },
    context: (f) => f()
  })
  const named = (name: string) => {
    const found = ended.filter((span) => span.name === name)
    assert.strictEqual(found.length, 1, `spans named ${name}: ${ended.map((span) => span.name)}`)
    return found[0]!
  }
  return { ended, named, layer: Layer.setTracer(tracer) }
}

const parentOf = (span: Tracer.Span) => Option.getOrUndefined(Option.map(span.parent, ({ spanId }) => spanId))

export const spans = <R>(backend: Backend<R>): void => {
  const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))

  it.effect("tell of a send and of its handling, as OpenTelemetry has it", () => {
    const { layer, named } = makeTracer()
    return Effect.gen(function* () {
      yield* ship("1", { headers: { correlationId: "conversation" } })
      yield* drain
      const [send, process] = [named("send test/Orders"), named("process test/Orders")]
      const id = send.attributes.get("messaging.message.id")
      assert.strictEqual(send.kind, "producer")
      assert.deepStrictEqual(Object.fromEntries(send.attributes), {
        "messaging.system": "holdfast",
        "messaging.operation.type": "send",
        "messaging.operation.name": "send",
        "messaging.destination.name": "test/Orders",
        "messaging.message.id": id,
        "messaging.message.conversation_id": "conversation",
        "messaging.message.body.size": '{"id":"1","_tag":"Ship"}'.length,
        "messaging.holdfast.message.tag": "Ship"
      })
      assert.strictEqual(process.kind, "consumer")
      assert.strictEqual(parentOf(process), send.spanId)
      assert.deepStrictEqual(Object.fromEntries(process.attributes), {
        "messaging.system": "holdfast",
        "messaging.operation.type": "process",
        "messaging.operation.name": "process",
        "messaging.destination.name": "test/Orders",
        "messaging.destination.subscription.name": "Ship",
        "messaging.message.id": id,
        "messaging.message.conversation_id": "conversation",
        "messaging.message.body.size": '{"id":"1","_tag":"Ship"}'.length,
        "messaging.holdfast.message.tag": "Ship",
        "messaging.holdfast.message.attempt": 1
      })
      assert.isTrue(Exit.isSuccess(process.exit))
    }).pipe(within(backend, Handler.layer(shipping)), Effect.provide(layer))
  })

  it.effect("of an event are one for who publishes and one for each who handles", () => {
    const { ended, layer, named } = makeTracer()
    const [first, second] = ["First", "Second"].map((name) =>
      Handler.event(Placed, { name, handle: () => Effect.void }).pipe(Handler.asynchronous(Orders))
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      const publish = named("publish Placed")
      assert.strictEqual(publish.kind, "producer")
      assert.strictEqual(publish.attributes.get("messaging.destination.name"), "Placed")
      const processed = ended.filter(({ name }) => name === "process test/Orders")
      assert.deepStrictEqual(
        processed.map((span) => span.attributes.get("messaging.destination.subscription.name")).sort(),
        ["First", "Second"]
      )
      for (const span of processed) assert.strictEqual(parentOf(span), publish.spanId)
    }).pipe(within(backend, Handler.layer(first!, second!)), Effect.provide(layer))
  })

  it.effect("of what its sender waits for are no messaging, and enclose what it sends", () => {
    const { layer, named } = makeTracer()
    const counting = Handler.query(CountRows, () => Effect.succeed(1))
    const placing = Handler.command(Place, () => Effect.zipRight(QueryBus.ask(new CountRows()), Effect.as(ship(), "")))
    return Effect.gen(function* () {
      yield* place()
      const [send, ask] = [named("send Place"), named("ask CountRows")]
      assert.deepStrictEqual([send.kind, ask.kind], ["internal", "internal"])
      assert.isFalse(send.attributes.has("messaging.operation.type"))
      assert.strictEqual(parentOf(ask), send.spanId)
      assert.strictEqual(parentOf(named("send test/Orders")), send.spanId)
    }).pipe(within(backend, Handler.layer(placing, counting, shipping)), Effect.provide(layer))
  })

  it.effect("say what failed, at each attempt", () => {
    const { ended, layer } = makeTracer()
    class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
    const failing = Handler.command(Ship, () => Effect.fail(new Broken())).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      const deadLetters = yield* DeadLetter.DeadLetter
      yield* deadLetters.replay([(yield* onlyLetter).key])
      yield* drain
      const send = ended.find(({ name }) => name === "send test/Orders")!
      const processed = ended.filter(({ name }) => name === "process test/Orders")
      assert.strictEqual(processed.length, 2, "also as a dead letter that was replayed")
      for (const span of processed) {
        assert.isTrue(Exit.isFailure(span.exit))
        assert.strictEqual(span.attributes.get("error.type"), "Broken")
        assert.strictEqual(parentOf(span), send.spanId)
      }
    }).pipe(within(backend, Handler.layer(failing)), Effect.provide(layer))
  })

  it.effect("of one trace go on over delays, sagas and their timeouts", () => {
    const { ended, layer, named } = makeTracer()
    const fulfilment = Saga.make("Fulfilment", { state: Schema.Struct({ paid: Schema.Boolean }) }).pipe(
      Saga.startOn(Placed, {
        id: ({ id }) => id,
        handle: () => Effect.as(Saga.arm("payment", "1 hour"), { paid: false })
      }),
      Saga.onTimeout("payment", { handle: (state) => Effect.as(ship(), Saga.complete(state)) }),
      Handler.asynchronous(Orders),
      Handler.delay("1 minute")
    )
    return Effect.gen(function* () {
      yield* placed()
      yield* advance(120 * minute)
      const { traceId } = named("publish Placed")
      assert.deepStrictEqual(new Set(ended.map((span) => span.traceId)), new Set([traceId]))
      const processed = ended.filter(({ name }) => name === "process test/Orders")
      assert.strictEqual(processed.length, 3, "the event, the timeout and the command")
      assert.strictEqual(parentOf(processed[1]!), processed[0]!.spanId)
    }).pipe(within(backend, Handler.layer(fulfilment, shipping)), Effect.provide(layer))
  })

  it.effect("are not made where nobody listens, and the trace goes on all the same", () => {
    const seen: Array<Option.Option<Tracer.AnySpan>> = []
    const sent: Array<string | undefined> = []
    const look = Effect.map(Effect.option(Effect.currentParentSpan), (span) => void seen.push(span))
    const placing = Handler.event(Placed, {
      name: "Forward",
      handle: (_, { headers }) =>
        Effect.zipRight(
          Effect.sync(() => sent.push(headers[Headers.traceparent])),
          Effect.zipRight(look, EventBus.publish(new Paid({ id: "1" })))
        )
    }).pipe(Handler.asynchronous(Orders))
    const paid = Handler.event(Paid, {
      name: "Last",
      handle: (_, { headers }) => Effect.sync(() => sent.push(headers[Headers.traceparent]))
    }).pipe(Handler.asynchronous(Orders))
    const outer = Tracer.externalSpan({ traceId: "a".repeat(32), spanId: "b".repeat(16), context: Context.empty() })
    return Effect.gen(function* () {
      yield* placed()
      yield* drain
      assert.isTrue(Option.isNone(seen[0]!))
      assert.deepStrictEqual(sent, [undefined, undefined])
      yield* Effect.withParentSpan(placed(), outer)
      yield* drain
      const [, second] = seen.map(Option.getOrUndefined)
      assert.deepStrictEqual([second?._tag, second?.spanId], ["ExternalSpan", outer.spanId])
      const header = `00-${outer.traceId}-${outer.spanId}-01`
      assert.deepStrictEqual(sent.slice(2), [header, header])
    }).pipe(within(backend, Handler.layer(placing, paid)))
  })

  it.effect("are not made where tracing is switched off", () => {
    const { ended, layer } = makeTracer()
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      assert.deepStrictEqual(ended, [])
    }).pipe(within(backend, Handler.layer(shipping)), Effect.provide(layer), Effect.withTracerEnabled(false))
  })

  it.effect("of an orchestrator are its start and its steps, in one trace", () => {
    const { ended, layer, named } = makeTracer()
    const step = (name: string) =>
      Orchestrator.step(name, { input: Schema.String, output: Schema.String, run: (text) => Effect.succeed(text) })
    const flow = Orchestrator.make("Flow", { input: Schema.String }).pipe(
      Orchestrator.andThen(step("a")),
      Orchestrator.andThen(step("b").pipe(Handler.asynchronous(Orders)))
    )
    return Effect.gen(function* () {
      yield* Orchestrator.start(flow, "1")
      yield* drain
      const { spanId, traceId } = named("start Flow")
      assert.strictEqual(parentOf(named("step Flow/a")), spanId)
      assert.strictEqual(parentOf(named("step Flow/b")), named("process test/Orders").spanId)
      assert.deepStrictEqual(new Set(ended.map((span) => span.traceId)), new Set([traceId]))
    }).pipe(within(backend, Handler.layer(flow)), Effect.provide(layer))
  })
}

export const logging = <R>(backend: Backend<R>): void => {
  it.effect("says of each line of a handler which message it is about, and keeps what the handler says", () => {
    const lines: Array<{ readonly message: unknown; readonly annotations: Record<string, unknown> }> = []
    const logger = Logger.make<unknown, void>(({ annotations, message }) => {
      lines.push({
        message: Array.isArray(message) ? message[0] : message,
        annotations: Object.fromEntries(annotations)
      })
    })
    const failing = Handler.command(Ship, ({ id }) =>
      Effect.zipRight(
        Effect.annotateLogs(Effect.logInfo("shipping"), { order: id, endpoint: "mine" }),
        Effect.fail("no")
      )
    ).pipe(Handler.asynchronous(Orders))
    const placing = Handler.command(Place, ({ id }) =>
      Effect.as(Effect.zipRight(Effect.logInfo("placing"), CommandBus.send(new Ship({ id }))), "")
    )
    return Effect.gen(function* () {
      yield* place("7", { headers: { correlationId: "conversation" } })
      yield* drain
      const [letter] = yield* letters
      const of = (text: string) => lines.filter(({ message }) => String(message).startsWith(text))
      const { message, ...rest } = of("placing")[0]!.annotations
      assert.isString(message)
      assert.deepStrictEqual(rest, { endpoint: "Place", correlation: "conversation" })
      assert.deepStrictEqual(of("shipping")[0]!.annotations, {
        channel: "test/Orders",
        endpoint: "mine",
        message: letter!.envelope.id,
        correlation: "conversation",
        order: "7"
      })
      const parked = of("Ship was put with the dead letters")
      assert.strictEqual(parked.length, 1)
      assert.deepInclude(parked[0]!.annotations, {
        channel: "test/Orders",
        endpoint: "Ship",
        message: letter!.envelope.id,
        correlation: "conversation"
      })
    }).pipe(
      within(backend, Handler.layer(failing, placing)),
      Effect.provide(Logger.replace(Logger.defaultLogger, logger))
    )
  })

  it.effect("has no line for a message that is handled", () => {
    const lines: Array<unknown> = []
    const logger = Logger.make<unknown, void>(({ message }) => void lines.push(message))
    const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      assert.deepStrictEqual(lines, [])
    }).pipe(within(backend, Handler.layer(shipping)), Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })
}
