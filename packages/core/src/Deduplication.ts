/**
 * Remembers what was handled, so that the same thing arriving twice is done once. The memory is written in the unit of
 * the handler: it is there if and only if the handler's effects are.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Input from "./internal/input.ts"
import { MessageStore } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"
import { UnitOfWork } from "./UnitOfWork.ts"

/**
 * What `Handler.deduplicate` needs.
 *
 * @example
 * ```ts
 * import { Deduplication } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * // inside a handler
 * const book = Effect.flatMap(Deduplication.Deduplication, (deduplication) =>
 *   deduplication.once("payment-17", 86_400_000, Effect.log("booked"), Effect.log("booked before"))
 * )
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class Deduplication extends Context.Tag("@holdfast/core/Deduplication")<
  Deduplication,
  {
    /**
     * Runs the effect unless the key was met within the window, else `duplicate`, and remembers the key with the
     * current unit of work.
     * When two units meet the key at once, one commits; the other runs again and then finds it.
     */
    readonly once: <A, E, R>(
      key: string,
      windowMillis: number,
      effect: Effect.Effect<A, E, R>,
      duplicate: Effect.Effect<void>
    ) => Effect.Effect<A | void, E | MessagingError, R>
  }
>() {}

/**
 * Deduplication by the message store.
 *
 * @example
 * ```ts
 * import { Deduplication, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Once = Deduplication.layer.pipe(Layer.provide(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Deduplication, never, MessageStore> = Layer.effect(
  Deduplication,
  Effect.map(MessageStore, (store) =>
    Deduplication.of({
      once: (key, windowMillis, effect, duplicate) =>
        Effect.contextWithEffect((context: Context.Context<never>) => {
          const unit = Context.getOption(context, UnitOfWork)
          if (unit._tag === "None") return Effect.dieMessage("Deduplication.once needs a unit of work to write in")
          const problem = Input.duration("The window of Deduplication.once", windowMillis, window)
          if (problem !== undefined) return Effect.dieMessage(problem)
          const staged = unit.value.staged().some((write) => write._tag === "Deduplicate" && write.key === key)
          if (staged) return duplicate
          return Effect.flatMap((unit.value.reads ?? store).remembered([key]), (seen) =>
            seen.has(key)
              ? duplicate
              : Effect.zipRight(unit.value.stage({ _tag: "Deduplicate", key, windowMillis }), effect)
          )
        }) as any
    })
  )
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const window = { least: "1 millis", most: "36500 days" } as const
