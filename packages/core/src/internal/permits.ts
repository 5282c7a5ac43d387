import * as Effect from "effect/Effect"
import type { Delivery, Encoded, Limit } from "../MessageStore.ts"
import type { MessagingError } from "../MessagingError.ts"
import * as batch from "./batch.ts"

/**
 * What a consumer takes from limits, many messages at a time.
 *
 * @internal
 */
export interface Permits {
  /** Answers the name of the limit that refuses, if one does. */
  readonly take: (request: Request) => Effect.Effect<string | undefined, MessagingError>
  /** Gives back what was taken for the message from limits without interval. */
  readonly giveBack: (delivery: Delivery) => Effect.Effect<void>
  readonly renew: Effect.Effect<void>
}

/** @internal */
export interface Request {
  readonly delivery: Delivery
  readonly limits: ReadonlyArray<Limit>
}

/** @internal */
export const make = (
  store: Encoded,
  { leaseMillis, owner }: { readonly leaseMillis: number; readonly owner: string }
): Permits => {
  const held = new Map<Delivery, ReadonlyArray<string>>()
  const counts = new Map<string, number>()
  // what the store has of this consumer changes in one order, the one in which it is counted here
  const oneAtATime = Effect.unsafeMakeSemaphore(1).withPermits(1)
  let certain = true
  const count = (names: ReadonlyArray<string>, by: number) => {
    for (const name of names) {
      const sum = (counts.get(name) ?? 0) + by
      if (sum === 0) counts.delete(name)
      else counts.set(name, sum)
    }
  }
  const uncertain = Effect.sync(() => {
    certain = false
  })
  const take = batch.make((requests: ReadonlyArray<Request>) =>
    store.flow.take({ owner, leaseMillis, requests: requests.map(({ limits }) => limits) }).pipe(
      Effect.tap((answers) =>
        Effect.sync(() => {
          for (const [index, { delivery, limits }] of requests.entries()) {
            const names = limits.flatMap(({ intervalMillis, name }) => (intervalMillis === undefined ? [name] : []))
            if (answers[index] !== undefined || names.length === 0) continue
            held.set(delivery, names)
            count(names, 1)
          }
        })
      ),
      Effect.tapErrorCause(() => uncertain),
      oneAtATime
    )
  )
  const giveBack = batch.make((given: ReadonlyArray<ReadonlyArray<string>>) =>
    store.flow.giveBack(owner, given.flat()).pipe(
      Effect.catchAllCause((cause) =>
        Effect.zipRight(uncertain, Effect.logDebug("Permits were not given back; they are at the next renewal", cause))
      ),
      Effect.zipRight(Effect.sync(() => count(given.flat(), -1))),
      Effect.as(given),
      oneAtATime
    )
  )
  const renew = Effect.suspend(() => {
    if (counts.size === 0 && certain) return Effect.void
    const permits = Array.from(counts, ([name, count]) => ({ name, count }))
    return Effect.zipRight(
      store.flow.renew(owner, leaseMillis, permits),
      Effect.sync(() => {
        certain = true
      })
    )
  }).pipe(
    oneAtATime,
    Effect.uninterruptible,
    Effect.catchAllCause((cause) => Effect.logDebug("Permits were not renewed; trying again", cause))
  )
  return {
    take,
    giveBack: (delivery) => {
      const names = held.get(delivery)
      if (names === undefined) return Effect.void
      held.delete(delivery)
      return Effect.asVoid(giveBack(names))
    },
    renew
  }
}
