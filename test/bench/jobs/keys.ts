import { handledInOrder } from "../check.ts"
import type { Job } from "../job.ts"
import { graphileWorker, holdfast } from "../libraries.ts"
import type { Library } from "../queue.ts"
import { handling } from "./handling.ts"

const keysOf = (count: number) => Math.min(10_000, count >> 1)

const pair = (library: Library, share: number) => [
  handling(library, { kind: "noop", processes: 1, share }),
  handling(library, {
    kind: "keyed",
    processes: 1,
    share,
    keys: keysOf,
    variant: (count) => `${keysOf(count).toLocaleString("en")} ordering keys`,
    check: (drained, count) => handledInOrder(drained, keysOf(count))
  })
]

/** What order costs. pg-boss has no queue in which the messages of a key come in order. */
export const keys: Job = {
  name: "keys",
  title: "Ordering keys against messages without a key",
  size: 100_000,
  usual: 0.2,
  figures: { rate: "/s" },
  contenders: [...pair(holdfast, 0.2), ...pair(graphileWorker, 0.2)]
}
