import type { TagClass } from "../Channel.ts"
import type { MessageFailed } from "./messageFailed.ts"

/**
 * `unknown` if the channel may be the error channel of the channel `Name`, else the reason.
 *
 * @internal
 */
export type HearsFailures<Name extends string, Errors> =
  Errors extends TagClass<any, infer ErrorName, infer C>
    ? [ErrorName] extends [Name]
      ? `${Name} cannot be its own error channel: what fails there would be told to what fails there`
      : typeof MessageFailed extends C
        ? unknown
        : `${ErrorName} does not carry MessageFailed, so it cannot be an error channel: add it to its messages`
    : unknown
