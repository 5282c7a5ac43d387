import { Effect } from "effect"
import { same } from "../check.ts"
import { settle } from "../database.ts"
import { type Contender, contender } from "../job.ts"
import { type Library, now, type Payload, payload, type Queue } from "../queue.ts"

/** `callers` that each send, wait until that is committed, and send again: `perCall` messages at a time. */
export const sending = (
  library: Library,
  options: { readonly callers: number; readonly perCall: number; readonly share: number; readonly setting: string }
): Contender =>
  contender({
    name: library.name,
    setting: options.setting,
    share: options.share,
    setup: (url) => Effect.map(library.open(url, "noop"), (queue) => ({ queue, url })),
    fill: ({ queue, url }) => Effect.zipRight(queue.clear, settle(url)),
    run: ({ queue }, count) =>
      Effect.gen(function* () {
        const began = now()
        yield* sendFrom(options.callers, queue, batches(count, options.perCall))
        return now() - began
      }),
    check: (millis, { queue }, count) =>
      Effect.gen(function* () {
        yield* same("messages sent", yield* queue.left, count)
        return { rate: (count * 1000) / millis }
      })
  })

const batches = (count: number, size: number) =>
  Array.from({ length: Math.ceil(count / size) }, (_, i) =>
    Array.from({ length: Math.min(size, count - i * size) }, (_, k) => payload(i * size + k))
  )

/** Each caller takes the next call when its last is committed. */
export const sendFrom = (callers: number, queue: Queue, calls: ReadonlyArray<ReadonlyArray<Payload>>) => {
  const next = calls.values()
  const caller: Effect.Effect<void> = Effect.suspend(() => {
    const { done, value: call } = next.next()
    if (done) return Effect.void
    return Effect.zipRight(call.length === 1 ? queue.send(call[0]!) : queue.sendAll(call), caller)
  })
  return Effect.all(
    Array.from({ length: callers }, () => caller),
    { concurrency: "unbounded", discard: true }
  )
}
