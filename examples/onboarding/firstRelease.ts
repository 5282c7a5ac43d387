/**
 * What the first release knew of applications. A process of it may still run, or have left messages on the channel.
 */
import { Channel, CommandBus, Handler, Message, MessageBus } from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"

class Apply extends Message.Command<Apply>()("Apply", {
  payload: { id: Schema.String, name: Schema.String, company: Schema.Boolean }
}) {}

class Applications extends Channel.Tag<Applications>()("onboarding/Applications", { messages: [Apply] }) {}

/** It sent only: another process handled. */
const Release = Handler.routes(Handler.command(Apply, () => Effect.void).pipe(Handler.asynchronous(Applications)))

export const applyWithFirstRelease = (tenant: string, applicant: typeof Apply.payload.Type) =>
  CommandBus.send(new Apply(applicant), { headers: { tenant } }).pipe(
    Effect.provide(Release.pipe(Layer.provideMerge(MessageBus.layer)))
  )
