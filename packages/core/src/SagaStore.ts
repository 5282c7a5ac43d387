/**
 * Where sagas remember.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { MessageStore, type SagaPut, type SagaRow } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"
import { UnitOfWork } from "./UnitOfWork.ts"

/**
 * The states of sagas. Writes are staged on the unit of work, so a saga's state, the messages it sent and the
 * acknowledgement of the message that moved it are one.
 *
 * @example
 * ```ts
 * import { SagaStore } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * // its state as JSON text
 * const stored = Effect.flatMap(SagaStore.SagaStore, (sagas) => sagas.load("Fulfilment", "A1"))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class SagaStore extends Context.Tag("@holdfast/core/SagaStore")<
  SagaStore,
  {
    /** The state as this unit of work sees it: what it staged itself, else what is stored. */
    readonly load: (saga: string, id: string) => Effect.Effect<Option.Option<SagaRow>, MessagingError>
    /** Stages a state. The unit fails and is run again if somebody else moved the saga meanwhile. */
    readonly put: (row: SagaRow) => Effect.Effect<void>
  }
>() {}

/**
 * Saga states of the message store.
 *
 * @example
 * ```ts
 * import { MessageStore, SagaStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Sagas = SagaStore.layer.pipe(Layer.provide(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SagaStore, never, MessageStore> = Layer.effect(
  SagaStore,
  Effect.map(MessageStore, (store) =>
    SagaStore.of({
      load: (saga, id) =>
        Effect.contextWithEffect((context: Context.Context<never>) => {
          const unit = Option.getOrUndefined(Context.getOption(context, UnitOfWork))
          if (unit === undefined) return store.loadSaga(saga, id)
          const staged = unit
            .staged()
            .find((write): write is SagaPut => write._tag === "SagaPut" && write.saga === saga && write.id === id)
          return staged === undefined ? (unit.reads ?? store).loadSaga(saga, id) : Effect.succeedSome(staged)
        }),
      put: (row) =>
        Effect.contextWithEffect((context: Context.Context<never>) => {
          const unit = Option.getOrUndefined(Context.getOption(context, UnitOfWork))
          return unit === undefined
            ? Effect.dieMessage("SagaStore.put needs a unit of work to write in")
            : unit.stage({ _tag: "SagaPut", ...row })
        })
    })
  )
)
