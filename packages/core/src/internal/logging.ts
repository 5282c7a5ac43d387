import * as Context from "effect/Context"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as HashMap from "effect/HashMap"
import * as HashSet from "effect/HashSet"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { CurrentEnvelope, type Metadata } from "../Envelope.ts"
import { correlationId } from "../Headers.ts"
import { CurrentEndpoint } from "./endpoint.ts"

/** What a line of the log says of the message it is about. @internal */
export const annotations = (channel: string | undefined, { endpoint, headers, id }: Metadata) => ({
  ...(channel === undefined ? undefined : { channel }),
  ...(endpoint === "" ? undefined : { endpoint }),
  message: id,
  correlation: headers[correlationId] ?? id
})

/**
 * The loggers as handlers see them: each line says of which message it is, looked up when there is a line. What the
 * handler annotates itself stays.
 *
 * @internal
 */
export const aware = (
  loggers: HashSet.HashSet<Logger.Logger<unknown, any>>
): HashSet.HashSet<Logger.Logger<unknown, any>> =>
  HashSet.map(loggers, (logger) => awareOnes.get(logger) ?? make(logger))

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** A handler's layer may be built inside of another handler: its loggers are aware already. */
const awareOnes = new WeakMap<Logger.Logger<unknown, any>, Logger.Logger<unknown, any>>()

const make = (logger: Logger.Logger<unknown, any>): Logger.Logger<unknown, any> => {
  const made = Logger.make<unknown, any>((options) => logger.log(annotated(options)))
  awareOnes.set(logger, made)
  awareOnes.set(made, made)
  return made
}

const annotated = (options: Logger.Logger.Options<unknown>): Logger.Logger.Options<unknown> => {
  const context = FiberRefs.getOrDefault(options.context, FiberRef.currentContext)
  const envelope = Context.getOption(context, CurrentEnvelope)
  if (Option.isNone(envelope)) return options
  const channel = Context.getOption(context, CurrentEndpoint).pipe(Option.getOrUndefined)?.channel?.name
  let all = HashMap.fromIterable<string, unknown>(Object.entries(annotations(channel, envelope.value)))
  for (const [name, value] of options.annotations) all = HashMap.set(all, name, value)
  return { ...options, annotations: all }
}
