import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type Headers, messageVersion } from "../Headers.ts"
import type * as Message from "../Message.ts"

/** The version a message says it is of, 1 if it says nothing. @internal */
export const versionOf = (headers: Headers): number => Number(headers[messageVersion] ?? "1")

/**
 * Reads a message of this or an older version as an instance of its class. Whatever goes wrong with it is a failure,
 * also when a transformation throws.
 *
 * @internal
 */
export const makeDecode = (
  message: Message.AnyClass
): ((payload: unknown, headers: Headers) => Effect.Effect<unknown, unknown>) => {
  const current = Schema.decodeUnknown(message as unknown as AnySchema)
  const older = new Map(
    Object.entries(message.upcasters).map(([version, upcaster]) => [
      Number(version),
      Schema.decodeUnknown(upcaster as unknown as AnySchema)
    ])
  )
  const constructed = (payload: any) => new (message as unknown as new (payload: any) => unknown)(payload)
  return (payload, headers) =>
    Effect.suspend((): Effect.Effect<unknown, unknown> => {
      const version = versionOf(headers)
      if (version === message.version) return current(payload)
      const upcast = older.get(version)
      return upcast === undefined ? unreadable(message, headers) : Effect.map(upcast(payload), constructed)
    }).pipe(Effect.catchAllDefect(Effect.fail))
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Its services are those of the layer. */
type AnySchema = Schema.Schema<any, any>

const unreadable = ({ _tag, upcasters, version }: Message.AnyClass, headers: Headers) => {
  const oldest = version - Object.keys(upcasters).length
  const known = oldest === version ? `version ${version} alone` : `versions ${oldest} to ${version}`
  return Effect.fail(
    new Error(
      `${_tag} of version ${headers[messageVersion] ?? "1"} cannot be read: this build reads ${known}. ` +
        "Declare an upcaster for it, deploy, and replay"
    )
  )
}
