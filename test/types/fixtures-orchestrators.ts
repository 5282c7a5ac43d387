/**
 * A publisher of images: what the type tests infer from orchestrators and refuse of them.
 */
import { Channel, Handler, Orchestrator } from "@holdfast/core"
import { Context, Effect, Schedule, Schema } from "effect"

export class TooBig extends Schema.TaggedError<TooBig>()("TooBig", { bytes: Schema.Number }) {}
export class Blocked extends Schema.TaggedError<Blocked>()("Blocked", {}) {}
export class StorageError extends Schema.TaggedError<StorageError>()("StorageError", {}) {}

export class Storage extends Context.Tag("media/Storage")<
  Storage,
  { readonly put: (key: string) => Effect.Effect<URL, StorageError> }
>() {}

/** Its messages are named, and no step among them: what the runtime sends travels every channel. */
export class Images extends Channel.Tag<Images>()("media/Images", { messages: [] }) {}

export const Image = Schema.Struct({ key: Schema.String, bytes: Schema.Number })
export type Image = typeof Image.Type

export const check = Orchestrator.step("check", {
  input: Image,
  output: Image,
  error: TooBig,
  run: (image) => (image.bytes > 100 ? new TooBig({ bytes: image.bytes }) : Effect.succeed(image))
})

/** May end the flow. */
export const resize = Orchestrator.step("resize", {
  input: Image,
  output: Schema.UndefinedOr(Image),
  run: (image) => Effect.succeed(image.bytes === 0 ? undefined : image)
})

export const upload = Orchestrator.step("upload", {
  input: Image,
  output: Schema.URL,
  error: Blocked,
  run: (image) => Effect.flatMap(Storage, (storage) => storage.put(image.key))
})

export const uploadLater = upload.pipe(Handler.asynchronous(Images), Handler.retry(Schedule.recurs(3)))

export const announce = Orchestrator.step("announce", { input: Schema.URL, run: (url) => Effect.log(url.href) })

export const empty = Orchestrator.make("Publish", { input: Image })

export const publish = empty.pipe(
  Orchestrator.andThen(check),
  Orchestrator.andThen(resize),
  Orchestrator.andThen(uploadLater)
)
