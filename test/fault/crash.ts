import { MessageStore } from "@holdfast/core"
import { Effect, Layer } from "effect"

/** Ends this process as a power cut would: nothing is flushed, no finalizer runs. */
const kill = Effect.sync(() => process.kill(process.pid, "SIGKILL")).pipe(Effect.zipRight(Effect.never))

/**
 * A store that kills its process at a named point:
 *
 * - `claimed`: messages are leased to it, none is handled yet;
 * - `before-commit`: the unit's own SQL and its staged writes are sent, or about to be, and COMMIT is not;
 * - `after-commit`: the database has committed, and the process has not heard of it.
 */
export const crashing = (point: string): Layer.Layer<MessageStore.MessageStore, never, MessageStore.MessageStore> =>
  Layer.effect(
    MessageStore.MessageStore,
    Effect.map(MessageStore.MessageStore, (store) => {
      const before = point === "before-commit" ? kill : Effect.void
      const after = point === "after-commit" ? kill : Effect.void
      return MessageStore.MessageStore.of({
        ...store,
        claim: (options) =>
          Effect.tap(store.claim(options), (deliveries) =>
            point === "claimed" && deliveries.length > 0 ? kill : Effect.void
          ),
        begin: Effect.map(store.begin, (transaction) => ({
          ...transaction,
          commit: (writes, beforeCommit) =>
            Effect.zipLeft(transaction.commit(writes, Effect.zipRight(beforeCommit, before)), after)
        })),
        commit: (units) => Effect.zipLeft(Effect.zipRight(before, store.commit(units)), after)
      })
    })
  )
