/**
 * What the compiler infers of orchestrators, pinned: each line fails to compile on a drift. Compiled, never run.
 */
import type { Envelope, HandlerRegistry, MessageScheduler, MessageStore, MessagingError } from "@holdfast/core"
import { Consumer, Handler, Orchestrator, type SagaStore } from "@holdfast/core"
import { type Cause, Effect, Layer, type Option, Schedule, type Schema } from "effect"
import { equal, ok } from "./equal.ts"
import {
  announce,
  type Blocked,
  check,
  empty,
  Image,
  Images,
  publish,
  resize,
  type Storage,
  type StorageError,
  type TooBig,
  upload,
  uploadLater
} from "./fixtures-orchestrators.ts"

type Failure = MessagingError.MessagingError
type ImageSchema = typeof Image

// -----------------------------------------------------------------------------
// steps
// -----------------------------------------------------------------------------

ok(equal<Orchestrator.Step<"check", ImageSchema, ImageSchema, typeof TooBig, TooBig>>()(check))
ok(equal<Orchestrator.Step<"resize", ImageSchema, Schema.UndefinedOr<ImageSchema>>>()(resize))
ok(equal<Orchestrator.Step<"announce", typeof Schema.URL, typeof Schema.Void>>()(announce))
ok(
  equal<
    Orchestrator.Step<
      "upload",
      ImageSchema,
      typeof Schema.URL,
      typeof Blocked,
      StorageError,
      Storage | Images | MessageScheduler.MessageScheduler,
      "Asynchronous"
    >
  >()(uploadLater)
)

// Input and envelope are typed in `run`, the value in what Handler's combinators say of it.
Orchestrator.step("typed", {
  input: Image,
  run: (image, envelope) => {
    ok(equal<Image>()(image))
    ok(equal<Envelope.Metadata>()(envelope))
    return Effect.void
  }
}).pipe(
  Handler.asynchronous(Images),
  Handler.delay((image) => {
    ok(equal<Image>()(image))
    return image.bytes
  }),
  Handler.priority((image) => image.bytes)
)

// -----------------------------------------------------------------------------
// orchestrators
// -----------------------------------------------------------------------------

ok(equal<Orchestrator.Orchestrator<"Publish", ImageSchema, Image, never, never, SagaStore.SagaStore>>()(empty))

// A step adds its result, its declared error and its needs; what may have ended the flow before stays in the result.
ok(
  equal<
    Orchestrator.Orchestrator<
      "Publish",
      ImageSchema,
      URL | undefined,
      TooBig | Blocked,
      "upload",
      Storage | Images | MessageScheduler.MessageScheduler | SagaStore.SagaStore
    >
  >()(publish)
)
ok(
  equal<
    Orchestrator.Orchestrator<
      "Publish",
      ImageSchema,
      void | undefined,
      TooBig | Blocked,
      "announce",
      Storage | Images | MessageScheduler.MessageScheduler | SagaStore.SagaStore
    >
  >()(Orchestrator.andThen(publish, announce))
)

// A plan gives what its steps give and what it was given; its names are those of its steps.
const planned = empty.pipe(
  Orchestrator.plan([check, resize], (image) => {
    ok(equal<Image>()(image))
    return Effect.succeed(image.bytes > 10 ? ["check", "resize"] : ["resize"])
  })
)
ok(
  equal<
    Orchestrator.Orchestrator<
      "Publish",
      ImageSchema,
      Image | undefined,
      TooBig,
      "check" | "resize",
      SagaStore.SagaStore
    >
  >()(planned)
)
ok(equal<typeof planned>()(Orchestrator.plan(empty, [check, resize], () => Effect.succeed([]))))
Orchestrator.andThen(planned, uploadLater)
Orchestrator.plan(planned, [check], (image) => (image.bytes > 10 ? Effect.succeed(["check"]) : Effect.succeed([])))

// Handler's combinators keep what `start`, `result` and `get` need.
const moved = publish.pipe(Handler.asynchronous(Images), Handler.retry(Schedule.recurs(1)))
ok(
  equal<
    Handler.Handler<
      Orchestrator.StartClass<"Publish", ImageSchema, URL | undefined, TooBig | Blocked>,
      Failure,
      Storage | Images | MessageScheduler.MessageScheduler | SagaStore.SagaStore,
      "Asynchronous"
    >
  >()(moved)
)

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

// The channels of the steps are handled by the orchestrator's layer, whether it has one itself or not.
type PublishLive = Layer.Layer<
  Handler.Handles<"Publish"> | Handler.HandledOn<Images>,
  never,
  Storage | Images | MessageScheduler.MessageScheduler | SagaStore.SagaStore | HandlerRegistry.HandlerRegistry
>
ok(equal<PublishLive>()(Handler.layer(publish)))
ok(equal<PublishLive>()(Handler.layer(moved)))
ok(
  equal<Layer.Layer<Handler.Handles<"Publish">, never, SagaStore.SagaStore | HandlerRegistry.HandlerRegistry>>()(
    Handler.layer(Orchestrator.andThen(empty, check))
  )
)
ok(
  equal<
    Layer.Layer<
      never,
      Failure,
      | Storage
      | Images
      | MessageScheduler.MessageScheduler
      | SagaStore.SagaStore
      | HandlerRegistry.HandlerRegistry
      | MessageStore.MessageStore
    >
  >()(Consumer.layer(Images).pipe(Layer.provide(Handler.layer(publish))))
)
ok(
  equal<Layer.Layer<Handler.Handles<"Publish">, never, HandlerRegistry.HandlerRegistry | Images>>()(
    Handler.routes(moved)
  )
)

// -----------------------------------------------------------------------------
// running
// -----------------------------------------------------------------------------

ok(
  equal<
    Effect.Effect<
      string,
      Failure,
      HandlerRegistry.HandlerRegistry | MessageStore.MessageStore | SagaStore.SagaStore | Handler.Handles<"Publish">
    >
  >()(Orchestrator.start(publish, { key: "a", bytes: 1 }, { id: "a", headers: { tenant: "acme" } }))
)
ok(
  equal<Effect.Effect<URL | undefined, TooBig | Blocked | Failure, SagaStore.SagaStore>>()(
    Orchestrator.result(moved, "a")
  )
)
ok(
  equal<Effect.Effect<URL | undefined, TooBig | Blocked | Failure | Cause.TimeoutException, SagaStore.SagaStore>>()(
    Orchestrator.result(publish, "a", { timeout: "5 seconds" })
  )
)
ok(
  equal<Effect.Effect<Option.Option<Orchestrator.Instance<"Publish">>, Failure, SagaStore.SagaStore>>()(
    Orchestrator.get(moved, "a")
  )
)

// A step that may fail with more than it declares goes to a channel, or mends it.
Orchestrator.andThen(empty, upload.pipe(Handler.asynchronous(Images)))
