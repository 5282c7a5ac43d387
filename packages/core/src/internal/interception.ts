import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Metadata } from "../Envelope.ts"
import type { HandlerRegistry, Route } from "../HandlerRegistry.ts"
import * as Headers from "../Headers.ts"
import type { Interception, TagClass } from "../Interceptor.ts"
import type * as Message from "../Message.ts"
import { classOf } from "./dispatch.ts"
import { CurrentEndpoint } from "./endpoint.ts"

/** Which handler a message goes to, and by which channel. */
interface Destination {
  readonly name: string
  readonly route: Pick<Route, "channel"> | undefined
}

/** Runs those interceptors of a place around `handled` that select the message, the first of them outermost. @internal */
export const intercepted = <A, E, R>(
  { interceptors }: HandlerRegistry["Type"],
  at: "Bus" | "Handler" | "Consumer",
  message: Message.Any,
  envelope: Metadata,
  destination: Destination | undefined,
  handled: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const registered = interceptors.at(at)
  if (registered.length === 0) return handled
  return Effect.suspend(() => {
    const interception = make(at, message, envelope, destination)
    return registered.reduceRight<Effect.Effect<A, E, R>>(
      (inner, { select, wrap }) => (select(interception) ? wrap(inner, interception) : inner),
      handled
    )
  })
}

/** The metadata of a new message, with the headers that interceptors add when it is sent. @internal */
export const sending = <E, R>(
  { interceptors }: HandlerRegistry["Type"],
  message: Message.Any,
  made: Effect.Effect<Metadata, E, R>,
  destination: Destination | undefined
): Effect.Effect<Metadata, E, R> => {
  const registered = interceptors.sending()
  if (registered.length === 0) return made
  return Effect.flatMap(made, (metadata) =>
    Effect.reduce(registered, metadata, (envelope, { headers, select }) => {
      const interception = make("Sending", message, envelope, destination)
      if (!select(interception)) return Effect.succeed(envelope)
      return Effect.map(headers(interception), (added) => ({
        ...envelope,
        headers: Headers.add(envelope.headers, added)
      }))
    })
  )
}

/** Runs an interceptor around one handler. @internal */
export const interceptHandler = (
  handler: { readonly name: string; readonly messages: ReadonlyArray<Message.AnyClass> },
  tag: TagClass<any, string, any, any>,
  handled: Effect.Effect<any, any, any>,
  message: Message.Any,
  envelope: Metadata
): Effect.Effect<any, any, any> =>
  Effect.zipWith(tag, Effect.serviceOption(CurrentEndpoint), (interceptor, endpoint) => {
    const channel = Option.getOrUndefined(endpoint)?.channel
    const destination = { name: handler.name, route: channel && { channel } }
    const interception = make("Handler", message, envelope, destination, stepOf(handler.messages))
    return interceptor.wrap(handled, interception, tag.provides)
  }).pipe(Effect.flatten)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** The class of what a step of an orchestrator takes: a value of any type, which does not tell it itself. */
const stepOf = ([first]: ReadonlyArray<Message.AnyClass>): Message.AnyClass | undefined =>
  first !== undefined && "process" in first && first.process === "Step" ? first : undefined

const make = (
  at: Interception["at"],
  message: Message.Any,
  envelope: Metadata,
  destination: Destination | undefined,
  { kind, messageAnnotations }: Message.AnyClass = classOf(message)
): Interception => ({
  at,
  kind,
  message,
  envelope,
  annotations: messageAnnotations,
  handler: destination?.name,
  channel: destination?.route?.channel.name
})
