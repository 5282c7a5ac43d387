/**
 * What the types refuse of orchestrators, with the wording.
 */
import { Channel, CommandBus, Consumer, Handler, Message, MessagingTest, Orchestrator } from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import {
  announce,
  check,
  empty,
  Image,
  Images,
  publish,
  resize,
  Storage,
  upload,
  uploadLater
} from "./fixtures-orchestrators.ts"

class Sweep extends Message.Command<Sweep>()("Sweep") {}

// -----------------------------------------------------------------------------
// steps
// -----------------------------------------------------------------------------

// @refused Property 'nope' does not exist on type '{ readonly key: string; readonly bytes: number; }'
Orchestrator.step("bad", { input: Image, run: (image) => Effect.log(image.nope) })

// @refused Type 'string' is not assignable to type 'number'
Orchestrator.step("bad", { input: Image, output: Schema.Number, run: (image) => Effect.succeed(image.key) })

// @refused "Step upload fails with StorageError, which it does not declare: name it in its error, catch it, or add Handler.asynchronous"
empty.pipe(Orchestrator.andThen(upload))

// @refused "Step upload fails with StorageError, which it does not declare
Orchestrator.andThen(empty, upload)

// @refused "Step check fails with TimeoutException, which it does not declare
empty.pipe(Orchestrator.andThen(check.pipe(Handler.timeout("1 second"))))

// @refused "The handler of resize has a channel already, and a handler has one: remove the other Handler.asynchronous"
resize.pipe(Handler.asynchronous(Images), Handler.asynchronous(Images))

// @refused "Only a handler with a channel can be delayed: add Handler.asynchronous first"
resize.pipe(Handler.delay("1 second"))

// @refused "resize belongs to an orchestrator, which would never end if its message expired: limit it with Handler.timeout"
resize.pipe(Handler.asynchronous(Images), Handler.timeToLive("1 second"))

// @refused "resize runs once for each id that its orchestrator is started with: give Orchestrator.start an id"
resize.pipe(Handler.deduplicate({ key: (image) => image.key }))

// @refused Property 'process' is missing in type 'typeof Sweep' but required in type 'StepClass<string, AnyNoContext, AnyNoContext, All>'
empty.pipe(Orchestrator.andThen(Handler.command(Sweep, () => Effect.void)))

// @refused "resize is a step, which runs in an orchestrator: add it to one with Orchestrator.andThen"
Handler.layer(resize)

// @refused "upload is a step, which runs in an orchestrator: add it to one with Orchestrator.andThen"
Handler.layer(publish, uploadLater)

// @refused "upload is a step, which runs in an orchestrator: add it to one with Orchestrator.andThen"
Handler.routes(uploadLater)

// -----------------------------------------------------------------------------
// their order
// -----------------------------------------------------------------------------

// @refused "Step resize cannot follow step upload: it does not take what upload gives"
empty.pipe(Orchestrator.andThen(uploadLater), Orchestrator.andThen(resize))

// @refused "Step check cannot follow step upload: it does not take what upload gives"
Orchestrator.andThen(publish, check)

// @refused "Step announce cannot be the first of Publish: it does not take the input of Publish"
empty.pipe(Orchestrator.andThen(announce))

// @refused "Step resize cannot follow step announce: announce answers nothing, which ends Publish"
publish.pipe(Orchestrator.andThen(announce), Orchestrator.andThen(resize))

// @refused Property '[TypeId]' is missing in type 'Handler<StartClass<"Publish"
publish.pipe(Handler.asynchronous(Images), Orchestrator.andThen(announce))

// @refused is not assignable to parameter of type 'Handler<StepClass<
empty.pipe(Orchestrator.andThen(publish))

// -----------------------------------------------------------------------------
// plans
// -----------------------------------------------------------------------------

// @refused Type '"upload"' is not assignable to type '"check" | "resize"'
empty.pipe(Orchestrator.plan([check, resize], () => Effect.succeed(["upload"])))

// @refused "Step upload cannot be in a plan with step check: it gives another type than check takes"
empty.pipe(Orchestrator.plan([check, uploadLater], () => Effect.succeed(["check"])))

// @refused "Step announce cannot be in a plan with step check: it takes another type than check"
empty.pipe(Orchestrator.plan([check, announce], () => Effect.succeed(["check"])))

// @refused "Step upload fails with StorageError, which it does not declare
empty.pipe(Orchestrator.plan([upload], () => Effect.succeed([])))

// @refused "Step check cannot follow step upload: it does not take what upload gives"
publish.pipe(Orchestrator.plan([check], () => Effect.succeed(["check"])))

// @refused Type 'string' is not assignable to type 'MessagingError'
empty.pipe(Orchestrator.plan([check], () => Effect.fail("no plan")))

// -----------------------------------------------------------------------------
// an orchestrator is a handler
// -----------------------------------------------------------------------------

// @refused "Publish belongs to an orchestrator, which would never end if its message expired: limit it with Handler.timeout"
publish.pipe(Handler.asynchronous(Images), Handler.timeToLive("1 second"))

// @refused "Publish runs once for each id that its orchestrator is started with: give Orchestrator.start an id"
Handler.deduplicate(publish, { key: (image) => image.key })

// @refused "The handler of Publish fails with TimeoutException, which Publish does not declare"
Handler.layer(publish.pipe(Handler.timeout("1 second")))

// @refused "A handler of Publish has no channel, so it cannot run elsewhere: add Handler.asynchronous"
Handler.routes(publish)

// @refused 'key' does not exist in type 'Message<"Command", string, any
CommandBus.send({ key: "a", bytes: 1 })

// -----------------------------------------------------------------------------
// running
// -----------------------------------------------------------------------------

const image = { key: "a", bytes: 1 }

// @refused Type 'number' is not assignable to type 'string'
Orchestrator.start(publish, { key: 1, bytes: 1 })

// @refused causationId is set by the runtime
Orchestrator.start(publish, image, { headers: { causationId: "1" } })

// @refused is missing the following properties from type 'StartClass<"resize", AnyNoContext, unknown, unknown>'
Orchestrator.start(resize, image)

// @refused Type '"soon"' is not assignable to type 'DurationInput'
Orchestrator.result(publish, "1", { timeout: "soon" })

const Testing = Layer.provideMerge(MessagingTest.layer, Channel.layerMemory(Images))

// @refused Type 'Handles<"Publish">' is not assignable to type 'never'
Orchestrator.start(publish, image).pipe(Effect.provide(Testing), Effect.runPromise)

const NoChannel = Handler.layer(publish).pipe(
  Layer.provideMerge(MessagingTest.layer),
  Layer.provide(Layer.succeed(Storage, { put: () => Effect.never }))
)

// @refused Type 'Images' is not assignable to type 'never'
Orchestrator.start(publish, image).pipe(Effect.provide(NoChannel), Effect.runPromise)

// @refused Type 'Storage' is not assignable to type 'never'
Orchestrator.start(publish, image).pipe(
  Effect.provide(Handler.layer(publish).pipe(Layer.provideMerge(Testing))),
  Effect.runPromise
)

// @refused Type 'HandledOn<Images>' is not assignable to type 'never'
Layer.launch(Consumer.layer(Images).pipe(Layer.provide(Testing))).pipe(Effect.runPromise)

// @refused Type 'SagaStore' is not assignable to type 'never'
Effect.runPromise(Orchestrator.result(publish, "1"))
