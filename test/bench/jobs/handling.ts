import { Effect, type Scope } from "effect"
import { handledOnce, same } from "../check.ts"
import { settle } from "../database.ts"
import { type Contender, contender, type Figures } from "../job.ts"
import { type Kind, type Library, payload, type Queue } from "../queue.ts"
import { type Drained, drain } from "../workers.ts"

export interface Handling {
  readonly kind: Kind
  readonly processes: number
  readonly share: number
  /** What is there besides, from before the first round until after the last. */
  readonly beside?: (queue: Queue, count: number, url: string) => Effect.Effect<void, never, Scope.Scope>
  /** Under how many keys `count` messages are. */
  readonly keys?: (count: number) => number
  readonly variant?: (count: number) => string
  readonly figures?: (drained: Drained, count: number) => Figures
  readonly check?: (drained: Drained, count: number) => Effect.Effect<void>
}

/** Worker processes that handle a full channel until it is empty. */
export const handling = (library: Library, options: Handling): Contender =>
  contender({
    name: library.name,
    setting: library.setting(options.kind),
    share: options.share,
    ...(options.variant === undefined ? {} : { variant: options.variant }),
    setup: (url, count) =>
      Effect.gen(function* () {
        const queue = yield* library.open(url, options.kind)
        if (options.beside !== undefined) yield* options.beside(queue, count, url)
        return { queue, url }
      }),
    fill: ({ queue, url }, count) =>
      Effect.gen(function* () {
        yield* queue.clear
        yield* inCalls(count, (from, to) => {
          const keys = options.keys?.(count)
          return queue.sendAll(Array.from({ length: to - from }, (_, k) => payload(from + k, keys)))
        })
        yield* settle(url)
      }),
    run: ({ queue, url }, count) => drain({ ...options, url, library: library.name, count }, queue),
    check: (drained, { queue }, count) =>
      Effect.gen(function* () {
        yield* handledOnce(drained, count)
        yield* same("messages left", yield* queue.left, 0)
        const effects = options.kind === "write" || options.kind === "saga" ? count : 0
        yield* same("rows written or messages sent", yield* queue.effects, effects)
        if (options.check !== undefined) yield* options.check(drained, count)
        return { rate: (count * 1000) / drained.millis, ...options.figures?.(drained, count) }
      })
  })

/** 0 to `count`, in calls of a thousand, one after the other: the order of the numbers is that of the sends. */
export const inCalls = (count: number, call: (from: number, to: number) => Effect.Effect<void>) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(count / 1_000) }, (_, i) => i * 1_000),
    (from) => call(from, Math.min(count, from + 1_000)),
    { discard: true }
  )
