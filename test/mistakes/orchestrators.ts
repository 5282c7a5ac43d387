/**
 * Orchestrators: what they are given, what is stored of them, and when they are asked for what is not there.
 */
import { Channel, Consumer, Handler, Orchestrator, UnitOfWork } from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import { mistake } from "./page.ts"
import { building, dies, fails, letter, Memory, Orders, within, write } from "./shop.ts"

const starting = "Wiring, found at start"
const section = "Payload and schema"

const text = { input: Schema.String, output: Schema.String }
const resize = Orchestrator.step("resize", { ...text, run: Effect.succeed<string> })
const upload = Orchestrator.step("upload", { ...text, run: Effect.succeed<string> })
const empty = Orchestrator.make("Publish", { input: Schema.String })
const publish = empty.pipe(Orchestrator.andThen(resize))
const count = Orchestrator.step("count", {
  input: Schema.Number,
  output: Schema.Number,
  run: Effect.succeed<number>
})
/** Its steps were in another order once. */
const counting = empty.pipe(
  Orchestrator.andThen(Orchestrator.step("read", { ...text, output: Schema.Number, run: (_) => Effect.succeed(1) })),
  Orchestrator.andThen(count)
)

const options = { id: "A1" }

class Audit extends Channel.Tag<Audit>()("shop/Audit") {}
const AuditBroker = Channel.layerDirect(Audit, {
  send: () => Effect.void,
  claim: () => Effect.succeed([]),
  renew: () => Effect.succeed([]),
  acknowledge: () => Effect.void,
  release: () => Effect.void,
  wake: (atMost) => Effect.sleep(atMost)
})

const refusing = <P, E>(handlers: Layer.Layer<P, E, Layer.Layer.Success<typeof Memory> | Audit>) =>
  dies(building(handlers.pipe(Layer.provide([Memory, AuditBroker]))))

/** An instance that this program did not write, and its message on the channel. */
const stored = (state: object) =>
  write({
    _tag: "SagaPut",
    saga: "Publish",
    id: "A1",
    version: 1,
    state: JSON.stringify({ _tag: "Orchestrator", status: "Running", hop: 1, done: [], remaining: [], ...state }),
    completed: false,
    timers: {}
  })

const message = write({
  _tag: "Send",
  channel: Orders.channelName,
  envelope: {
    id: "1",
    tag: "holdfast/OrchestratorStep",
    endpoint: "Publish",
    attempt: 1,
    headers: {},
    payload: JSON.stringify({ _tag: "holdfast/OrchestratorStep", id: "A1", hop: 1 }),
    failures: []
  },
  priority: 0,
  due: undefined,
  timer: undefined
})

/** What becomes of an instance in that state. */
const moving = (state: object, flow: typeof publish | typeof counting = publish) =>
  Effect.all([stored(state), message, Consumer.drain(Orders)]).pipe(
    Effect.zipRight(letter),
    Effect.map((error) => error.replace("MessagingError: ", "")),
    within(Handler.layer((flow as typeof publish).pipe(Handler.asynchronous(Orders))))
  )

const planning = (...names: ReadonlyArray<"resize">) => {
  const flow = empty.pipe(Orchestrator.plan([resize], (_) => Effect.succeed(names)))
  return fails(Orchestrator.start(flow, "")).pipe(within(Handler.layer(flow)))
}

export const orchestrators = (): void => {
  mistake(starting, "two steps of one name", refusing(Handler.layer(publish.pipe(Orchestrator.andThen(resize)))))
  mistake(
    starting,
    "an orchestrator on a broker's channel",
    refusing(Handler.layer(publish.pipe(Handler.asynchronous(Audit))))
  )
  mistake(
    starting,
    "a step on a broker's channel",
    refusing(Handler.layer(empty.pipe(Orchestrator.andThen(resize.pipe(Handler.asynchronous(Audit))))))
  )
  mistake(
    starting,
    "an orchestrator that is in no layer (untyped)",
    dies(Orchestrator.start(publish, "").pipe(Effect.provide(Memory)) as Effect.Effect<string, unknown>)
  )

  mistake(
    section,
    "an input that the orchestrator's schema refuses",
    fails(Orchestrator.start(publish, 1 as never)).pipe(within(Handler.layer(publish)))
  )
  const wrong = empty.pipe(
    Orchestrator.andThen(Orchestrator.step("resize", { ...text, run: () => Effect.succeed(1 as never) }))
  )
  mistake(
    section,
    "a step that answers what its schema refuses",
    fails(Orchestrator.start(wrong, "")).pipe(within(Handler.layer(wrong)))
  )
  const huge = Orchestrator.make("Publish", { input: Schema.BigIntFromSelf })
  mistake(
    section,
    "a value of an orchestrator that is not JSON",
    fails(Orchestrator.start(huge, 1n, options)).pipe(within(Handler.layer(huge)))
  )
  mistake(section, "a stored value that no longer decodes", moving({ from: "resize", value: 1 }))
  mistake(
    section,
    "a value that the next step no longer takes",
    moving({ value: "", remaining: [{ step: "count" }] }, counting)
  )
  mistake(
    section,
    "a result that is none any more",
    fails(Effect.zipRight(stored({ status: "Completed", value: "" }), Orchestrator.result(counting, "A1"))).pipe(
      within(Handler.layer(counting))
    )
  )
  mistake(
    section,
    "a saga's row read as an orchestrator's",
    fails(Effect.zipRight(stored({ _tag: "paid" }), Orchestrator.get(publish, "A1"))).pipe(
      within(Handler.layer(publish))
    )
  )
  mistake(section, "a removed step that instances still need", moving({ value: "", remaining: [{ step: "upload" }] }))
  mistake(section, "a removed plan that instances still need", moving({ value: "", remaining: [{ plan: 0 }] }))
  mistake(section, "a plan of something else", planning(upload.name as "resize"))
  mistake(section, "a plan that repeats a step", planning("resize", "resize"))
  mistake(
    section,
    "an orchestrator started under an empty id",
    fails(Orchestrator.start(publish, "", { id: "" })).pipe(within(Handler.layer(publish)))
  )
  mistake(
    section,
    "the result of no instance",
    fails(Orchestrator.result(publish, "A1")).pipe(within(Handler.layer(publish)))
  )
  const later = empty.pipe(Orchestrator.andThen(resize.pipe(Handler.asynchronous(Orders))))
  mistake(
    section,
    "waiting for what this unit of work has started",
    fails(
      UnitOfWork.run(Effect.zipRight(Orchestrator.start(later, "", options), Orchestrator.result(later, "A1")))
    ).pipe(within(Handler.layer(later)))
  )
}
