import { Effect, Schedule } from "effect"
import { handledOnce, same } from "../check.ts"
import { settle } from "../database.ts"
import { type Contender, contender, type Job } from "../job.ts"
import { graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import { type Library, payload } from "../queue.ts"
import { percentile } from "../statistics.ts"
import { drain } from "../workers.ts"

/** From before the send in one process until the handler begins in another, on an idle channel. */
const lone = (library: Library, setting: string): Contender =>
  contender({
    name: library.name,
    setting,
    share: 1,
    setup: (url) => Effect.map(library.open(url, "noop"), (queue) => ({ queue, url })),
    fill: ({ queue, url }) => Effect.zipRight(queue.clear, settle(url)),
    run: ({ queue, url }, count) => {
      let n = 0
      const send = Effect.suspend(() => queue.send(payload(n++)))
      const ticks = Schedule.intersect(Schedule.fixed("20 millis"), Schedule.recurs(count - 1))
      const sends = Effect.delay(Effect.repeat(Effect.forkDaemon(send), ticks), "500 millis")
      return drain({ kind: "noop", processes: 1, url, library: library.name, count }, queue, Effect.asVoid(sends))
    },
    check: (drained, { queue }, count) =>
      Effect.gen(function* () {
        yield* handledOnce(drained, count)
        yield* same("messages left", yield* queue.left, 0)
        const waited = [...drained.reports[0]!.waited]
        return { p50: percentile(waited, 0.5), p99: percentile(waited, 0.99) }
      })
  })

export const latency: Job = {
  name: "latency",
  title: "End-to-end latency at 50 messages a second",
  size: 500,
  usual: 1,
  figures: { p50: "ms", p99: "ms" },
  contenders: [
    lone(holdfast, "notifications on"),
    lone(graphileWorker, "localQueue 500, LISTEN"),
    lone(pgBoss, "fetch every 5 ms while idle; its work looks every 500 ms at best")
  ]
}
