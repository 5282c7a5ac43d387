import type { Any } from "../Handler.ts"
import * as Input from "./input.ts"
import * as limits from "./limits.ts"
import type { Transition } from "./saga.ts"

/** What is wrong with how a handler was made, as far as the types cannot tell. @internal */
export const problemOf = (handler: Any): Input.Problem => {
  const { circuitBreaker, deadLetter, deduplicate, timeout, timeToLive } = handler.options
  return [
    handler.options.mistake,
    handler.name === "" ? "A handler has an empty name: messages in flight name it, so give it one" : undefined,
    handler.messages.length === 0 && handler.options.step !== true
      ? `The handler "${handler.name}" has no messages: give it at least one`
      : undefined,
    Input.duration(`The timeout of the handler "${handler.name}"`, timeout, { least: "1 millis" }),
    Input.duration(`The time to live of the handler "${handler.name}"`, timeToLive, { least: "1 millis" }),
    Input.duration(`The window of Handler.deduplicate of "${handler.name}"`, deduplicate?.window, {
      least: "1 millis",
      most: "36500 days"
    }),
    Input.duration(`resendAfter of the handler "${handler.name}"`, deadLetter?.resendAfter, {
      least: "1 millis",
      most: "36500 days"
    }),
    Input.atLeastOne(`afterCrashes of the handler "${handler.name}"`, deadLetter?.afterCrashes ?? 1),
    ...limits.problems(`of the handler "${handler.name}"`, handler.options),
    Input.wholeNumber(`The failures of Handler.circuitBreaker of "${handler.name}"`, circuitBreaker?.failures, 1),
    Input.duration(`The openFor of Handler.circuitBreaker of "${handler.name}"`, circuitBreaker?.openFor, {
      least: "1 millis",
      most: "1 day"
    }),
    "transitions" in handler ? twice(handler.name, handler.transitions as ReadonlyArray<Transition>) : undefined
  ].find((problem) => problem !== undefined)
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Of two transitions for one thing only the first would run. */
const twice = (saga: string, transitions: ReadonlyArray<Transition>): Input.Problem => {
  const names = transitions.map((transition) =>
    "timeout" in transition
      ? `Saga.onTimeout("${transition.timeout}", …)`
      : `${transition.starts ? "Saga.startOn" : "Saga.on"}(${transition.message._tag}, …)`
  )
  const name = names.find((name, index) => names.indexOf(name) < index)
  return name === undefined ? undefined : `Saga ${saga} has ${name} twice, and only the first would run: remove one`
}
