import * as Context from "effect/Context"
import type { Metadata } from "../Envelope.ts"
import type { ParkReason } from "../MessageStore.ts"

/** @internal */
export type Entry =
  | { readonly _tag: "Sent"; readonly message: unknown; readonly envelope: Metadata; readonly due: number | undefined }
  | { readonly _tag: "Published"; readonly message: unknown; readonly envelope: Metadata }
  | { readonly _tag: "Asked"; readonly message: unknown; readonly envelope: Metadata }
  | { readonly _tag: "Handled"; readonly message: unknown; readonly envelope: Metadata }
  | { readonly _tag: "Failed"; readonly message: unknown; readonly envelope: Metadata; readonly error: string }
  | { readonly _tag: "Retried"; readonly envelope: Metadata; readonly afterMillis: number }
  | {
      readonly _tag: "DeadLettered"
      readonly envelope: Metadata
      readonly reason: ParkReason
      readonly error: string
    }
  | { readonly _tag: "Expired"; readonly message: unknown; readonly envelope: Metadata }
  | { readonly _tag: "Ignored"; readonly message: unknown; readonly envelope: Metadata; readonly detail: string }

/**
 * Hears what happens, once it has happened. Nobody listens by default.
 *
 * @internal
 */
export class Observer extends Context.Reference<Observer>()("@holdfast/core/internal/Observer", {
  defaultValue: (): { readonly observe: ((entry: Entry) => void) | undefined } => ({ observe: undefined })
}) {}
