import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberRef from "effect/FiberRef"
import { identity } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { pipeArguments } from "effect/Pipeable"
import * as Runtime from "effect/Runtime"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import type { Channel, TagClass } from "../Channel.ts"
import { Deduplication } from "../Deduplication.ts"
import { CurrentEnvelope, type Metadata } from "../Envelope.ts"
import type { Any, Mode, Options } from "../Handler.ts"
import { type Entry, HandlerRegistry, type Route } from "../HandlerRegistry.ts"
import type * as Message from "../Message.ts"
import { due } from "../MessageScheduler.ts"
import { MessageStore } from "../MessageStore.ts"
import { MessagingError } from "../MessagingError.ts"
import { afterCommit, UnitOfWork } from "../UnitOfWork.ts"
import { makeDecode } from "./decode.ts"
import { CurrentEndpoint } from "./endpoint.ts"
import { problemOf } from "./handlerInput.ts"
import * as Input from "./input.ts"
import { intercepted } from "./interception.ts"
import { recordingFor } from "./journal.ts"
import * as Keys from "./keys.ts"
import { routeLimits } from "./limits.ts"
import { aware } from "./logging.ts"
import { messagesIn } from "./output.ts"
import { inPlace } from "./retrying.ts"
import type { Standing } from "./standing.ts"
import { twoOfOneTag } from "./wire.ts"

/** @internal */
export const TypeId = "~@holdfast/core/Handler" as const

const Proto = {
  [TypeId]: TypeId,
  pipe() {
    return pipeArguments(this, arguments)
  }
}

/** @internal */
export const make = (
  name: string,
  messages: ReadonlyArray<Message.AnyClass>,
  handle: (message: any, envelope: Metadata) => Effect.Effect<any, any, any>,
  mode: Mode = "Synchronous",
  options: Options = {}
): any => Object.assign(Object.create(Proto), { name, mode, messages, handle, options })

/** @internal */
export const update = (self: Any, mode: Mode, options: Options): any =>
  Object.assign(Object.create(Object.getPrototypeOf(self)), self, { mode, options: { ...self.options, ...options } })

/** @internal */
export const around = (
  self: Any,
  f: (handled: Effect.Effect<any, any, any>, message: any, envelope: Metadata) => Effect.Effect<any, any, any>
): any =>
  Object.assign(Object.create(Object.getPrototypeOf(self)), self, {
    handle: (message: any, envelope: Metadata) =>
      Effect.suspend(() => f(self.handle(message, envelope), message, envelope))
  })

/** Whether somebody waits for an answer. @internal */
export const replies = (handler: Any): boolean =>
  handler.messages.some(({ success }) => success !== (Schema.Void as unknown))

/** @internal */
export const layer = (...handlers: ReadonlyArray<Any>): Layer.Layer<any, never, any> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const registry = yield* HandlerRegistry
      const surroundings = yield* capture(registry)
      let provided = Context.empty() as Context.Context<any>
      for (const handler of handlers.flatMap(withParts)) {
        yield* Input.dieOn(problemOf(handler))
        const entry = makeEntry(handler, surroundings, true)
        yield* checkStore(handler, entry, surroundings.context)
        yield* registry.add(entry)
        provided = phantoms(provided, handler, true)
      }
      return provided
    })
  )

/** @internal */
export const routes = (...handlers: ReadonlyArray<Any>): Layer.Layer<any, never, any> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const registry = yield* HandlerRegistry
      const surroundings = yield* capture(registry)
      let provided = Context.empty() as Context.Context<any>
      for (const handler of handlers.flatMap(withParts)) {
        if (handler.options.channel === undefined) {
          return yield* Effect.dieMessage(
            `Handler.routes was given "${handler.name}", which has no channel: only asynchronous handlers can run elsewhere`
          )
        }
        yield* Input.dieOn(problemOf(handler))
        yield* registry.add(makeEntry(handler, surroundings, false))
        provided = phantoms(provided, handler, false)
      }
      return provided
    })
  )

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** A handler, and the steps of an orchestrator that have a channel. */
const withParts = (handler: Any): ReadonlyArray<Any> => [handler, ...(handler.options.parts ?? [])]

/** The requirements that only the type system reads: a key of their own in the context, so that layers compose. */
const phantoms = (context: Context.Context<any>, handler: Any, handled: boolean): Context.Context<any> => {
  let result = context
  for (const message of handler.messages) {
    if (message.kind === "Event") continue
    result = Context.add(
      result,
      Context.Tag(`@holdfast/core/Handler/Handles/${message._tag}`)<any, string>(),
      message._tag
    )
  }
  const channel = handler.options.channel
  return channel === undefined || !handled
    ? result
    : Context.add(result, Context.Tag(`@holdfast/core/Handler/HandledOn/${channel.key}`)<any, string>(), channel.key)
}

const checkStore = ({ options }: Any, entry: Entry, context: Context.Context<never>): Effect.Effect<void> => {
  const store = Context.getOption(context, MessageStore)
  const channel = entry.route?.channel
  if (channel?._tag === "Direct" && options.stored !== undefined) {
    return Effect.dieMessage(
      `${options.stored}, which a store keeps, but channel "${channel.name}" is a broker's: give it a channel that the ` +
        "store keeps"
    )
  }
  return channel?._tag === "Stored" && Option.isSome(store) && channel.store !== store.value.kind
    ? Effect.dieMessage(
        `The layer of channel "${channel.name}" is for the ${channel.store} store, but messages here are kept by the ` +
          `${store.value.kind} store: use the channel layer of that one`
      )
    : Effect.void
}

/** What a handler's layer was built with: what its handlers see, whoever sends to them. */
interface Surroundings {
  readonly context: Context.Context<never>
  readonly runtime: Runtime.Runtime<never>
  /** Gives an effect the clock, configuration, random numbers, tracer and loggers of the layer. */
  readonly within: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly registry: HandlerRegistry["Type"]
}

const capture = (registry: HandlerRegistry["Type"]): Effect.Effect<Surroundings> =>
  Effect.gen(function* () {
    const services = yield* FiberRef.get(DefaultServices.currentServices)
    const loggers = aware(yield* FiberRef.get(FiberRef.currentLoggers))
    const runtime = Runtime.setFiberRef(yield* Effect.runtime<never>(), FiberRef.currentLoggers, loggers)
    const { context } = runtime
    return {
      context,
      runtime,
      registry,
      within: (effect) =>
        effect.pipe(
          Effect.locally(DefaultServices.currentServices, services),
          Effect.locally(FiberRef.currentLoggers, loggers)
        )
    }
  })

const makeEntry = (handler: Any, surroundings: Surroundings, local: boolean): Entry => {
  const { context } = surroundings
  const route = makeRoute(handler, context)
  const codecs = makeCodecs([...handler.messages, ...(handler.options.internal ?? [])], context)
  return {
    name: handler.name,
    local,
    messages: handler.messages,
    internal: handler.options.internal ?? [],
    route,
    retry: inPlace(handler.options.retryInPlace, handler.options.retryTagsInPlace),
    handle: ofItsClass(handler, makeHandle(handler, route, surroundings)),
    serialize: handler.options.serialize,
    encode: codecs.encode,
    decode: codecs.decode,
    validate: makeValidate(handler),
    standing: makeStanding(handler, route, surroundings)
  }
}

const makeRoute = (handler: Any, context: Context.Context<never>): Route | undefined => {
  const { channel, circuitBreaker, deadLetter, delay, errorChannel, orderedBy, priority, retryDurably, timeToLive } =
    handler.options
  if (channel === undefined) return undefined
  const { policy } = channel
  return {
    channel: Context.unsafeGet(context, channel as TagClass<any, string, any>) as Channel,
    carries: channel.messages,
    policy,
    delay: delay === undefined ? undefined : (message) => due(typeof delay === "function" ? delay(message) : delay),
    priority: priority === undefined ? undefined : typeof priority === "function" ? priority : () => priority,
    orderingKey: orderedBy,
    timeToLive: timeToLive === undefined ? undefined : Duration.toMillis(timeToLive),
    retry: retryDurably ?? policy.retry,
    retryTags: handler.options.retryTagsDurably,
    deadLetter: {
      ...policy.deadLetter,
      onGivenUp: deadLetter?.onGivenUp ?? policy.deadLetter.onGivenUp,
      resendAfter:
        deadLetter?.resendAfter === undefined
          ? policy.deadLetter.resendAfter
          : Duration.toMillis(deadLetter.resendAfter),
      afterCrashes: deadLetter?.afterCrashes ?? policy.deadLetter.afterCrashes
    },
    errorChannel: errorChannel?.channelName ?? policy.errorChannel,
    limits: [
      ...routeLimits(channel.channelName, handler.name, handler.options),
      ...routeLimits(channel.channelName, "", {
        rateLimit: byHeaders(policy.rateLimit),
        concurrencyLimit: byHeaders(policy.concurrencyLimit)
      })
    ],
    circuitBreaker:
      circuitBreaker === undefined
        ? undefined
        : { failures: circuitBreaker.failures, openMillis: Input.millisOf(circuitBreaker.openFor) }
  }
}

/** A channel's limit knows the headers of a message only. */
const byHeaders = <A extends { readonly key?: ((headers: Metadata["headers"]) => string | undefined) | undefined }>(
  limit: A | undefined
) => {
  if (limit === undefined) return undefined
  const { key } = limit
  return { ...limit, key: key && ((_message: unknown, headers: Metadata["headers"]) => key(headers)) }
}

const makeCodecs = (messages: ReadonlyArray<Message.AnyClass>, context: Context.Context<never>) => {
  const byTag = new Map(
    messages.map((message) => {
      const schema = message as Schema.Schema.Any as Schema.Schema<any, any, never>
      return [message._tag, { encode: Schema.encode(schema), decode: makeDecode(message) }]
    })
  )
  return {
    encode: (message: any) => {
      const encoded = byTag.get(message._tag)!.encode(message)
      return Either.isEither(encoded) ? encoded : Effect.provide(encoded, context)
    },
    decode: ({ headers, tag }: Metadata, payload: unknown) =>
      Effect.provide(byTag.get(tag)!.decode(payload, headers), context)
  }
}

const makeValidate = (handler: Any): Entry["validate"] => {
  const schema = handler.messages[0]?.success as Schema.Schema<any, any, never> | undefined
  if (schema === undefined || !replies(handler)) return undefined
  const validate = Schema.validate(Schema.typeSchema(schema))
  return (answer) =>
    Effect.mapError(
      Effect.asVoid(validate(answer)),
      (cause) =>
        new MessagingError({
          reason: "Rejected",
          detail: `the handler of ${handler.name} answered a value that its schema refuses: ${cause.message}`,
          cause
        })
    )
}

type Perform = (message: any, envelope: Metadata) => Effect.Effect<unknown, unknown, any>

/** The handler with what is wrapped around it: interceptors, deduplication, and the check of what it returned. */
const makePerform = (handler: Any, route: Route | undefined, registry: HandlerRegistry["Type"]): Perform => {
  const { observe } = registry
  const destination = { name: handler.name, route }
  const complete = replies(handler) ? identity : Effect.flatMap((answer: unknown) => loseNothing(handler, answer))
  const plain: Perform = (message, envelope) => complete(Effect.suspend(() => handler.handle(message, envelope)))
  const handled: Perform = (message, envelope) =>
    intercepted(registry, "Handler", message, envelope, destination, plain(message, envelope))
  return handler.options.deduplicate === undefined
    ? handled
    : (message, envelope) =>
        Effect.suspend(() => deduplicated(handler, message, envelope, observe, handled(message, envelope)))
}

const endpointOf = (handler: Any, route: Route | undefined, registry: HandlerRegistry["Type"]) => ({
  name: handler.name,
  channel: route?.channel,
  recording: recordingFor(registry, route?.policy),
  observe: registry.observe
})

const makeHandle = (
  handler: Any,
  route: Route | undefined,
  { context, registry, within }: Surroundings
): Entry["handle"] => {
  const perform = makePerform(handler, route, registry)
  const endpoint = endpointOf(handler, route, registry)
  return (message, envelope) => {
    const isQuery = message.constructor?.kind === "Query"
    return perform(message, envelope).pipe(
      Effect.scoped,
      within,
      Effect.mapInputContext((caller: Context.Context<never>) =>
        enter(context, caller, envelope, isQuery).pipe(Context.add(CurrentEndpoint, endpoint))
      )
    ) as Effect.Effect<unknown, unknown>
  }
}

const makeStanding = (handler: Any, route: Route | undefined, { registry, runtime }: Surroundings): Standing => ({
  runtime,
  endpoint: endpointOf(handler, route, registry),
  perform: makePerform(handler, route, registry),
  decode: new Map(
    [...handler.messages, ...(handler.options.internal ?? [])].map((message) => [
      message._tag,
      Schema.decodeUnknownEither(message as unknown as Schema.Schema<any, any, never>)
    ])
  )
})

/** What was not stored was not decoded either: another class may come under the tag. */
const ofItsClass = ({ messages, options }: Any, handle: Entry["handle"]): Entry["handle"] => {
  const classes = [...messages, ...(options.internal ?? [])] as ReadonlyArray<any>
  return (message, envelope) =>
    classes.some((each) => message instanceof each)
      ? handle(message, envelope)
      : Effect.dieMessage(twoOfOneTag(envelope.tag))
}

/** Types refuse this, where they can see it: a message that was returned is sent, or it is told. */
const loseNothing = (handler: Any, answer: unknown): Effect.Effect<void> => {
  const [lost] = messagesIn(answer)
  return lost === undefined
    ? Effect.void
    : Effect.dieMessage(
        `The handler ${handler.name} returned ${lost._tag}, and nothing says where it goes: list it in Handler.outputTo`
      )
}

const deduplicated = (
  handler: Any,
  message: any,
  envelope: Metadata,
  observe: HandlerRegistry["Type"]["observe"],
  effect: Effect.Effect<any, any, any>
) => {
  const options = handler.options.deduplicate
  // what only the runtime sends has no key, and comes once: the timeouts of a saga
  if (options === undefined || handler.options.internal?.some(({ _tag }) => _tag === envelope.tag)) return effect
  const own = options.key === undefined ? undefined : (options.key(message, envelope) ?? "")
  const known = own === undefined ? `id "${envelope.id}"` : `key "${own}"`
  const detail = `${envelope.tag} was handled already by "${handler.name}" under the ${known}`
  const duplicate = Effect.zipRight(
    afterCommit(Effect.sync(() => observe?.({ _tag: "Ignored", message, envelope, detail }))),
    Effect.logInfo(detail)
  )
  return Effect.zipRight(
    Input.reject(Input.key(`the key of ${envelope.tag} for Handler.deduplicate of "${handler.name}"`, own)),
    Effect.flatMap(Deduplication, (deduplication) =>
      deduplication.once(
        own === undefined ? Keys.ofMessage(handler.name, envelope.id) : Keys.ofBusiness(handler.name, own),
        Duration.toMillis(options.window),
        effect,
        duplicate
      )
    )
  )
}

/** What the layer captured wins; of the caller only the unit of work, with its connection, and the span flow in. */
const enter = (
  captured: Context.Context<never>,
  caller: Context.Context<never>,
  envelope: Metadata,
  isQuery: boolean
) => {
  const unit = Context.getOption(caller, UnitOfWork)
  const span = Context.getOption(caller, Tracer.ParentSpan)
  let context = Context.add(captured, CurrentEnvelope, envelope) as Context.Context<any>
  if (Option.isSome(span)) context = Context.add(context, Tracer.ParentSpan, span.value)
  if (Option.isNone(unit)) return context
  const inside = Context.add(context, UnitOfWork, unit.value)
  return isQuery ? unit.value.sql.provideQuery(inside) : unit.value.sql.provide(inside)
}
