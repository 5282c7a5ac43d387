import type * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type * as Runtime from "effect/Runtime"
import type { Metadata } from "../Envelope.ts"
import type { CurrentEndpoint } from "./endpoint.ts"

/**
 * What a consumer needs to run a handler in a fiber of its own: all that is the same for each of its messages.
 *
 * @internal
 */
export interface Standing {
  /** The services, clock, configuration and loggers that the handler's layer was built with. */
  readonly runtime: Runtime.Runtime<never>
  readonly endpoint: CurrentEndpoint["Type"]
  /** The handler in a context that has the unit, the envelope, the endpoint and a scope. */
  readonly perform: (message: any, envelope: Metadata) => Effect.Effect<unknown, unknown, any>
  /** Reads a message of the current version, by its tag, where its schema needs neither services nor time. */
  readonly decode: ReadonlyMap<string, (payload: unknown) => Either.Either<any, unknown>>
}
