import type { Job } from "../job.ts"
import { graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import { type Library, payload, type Queue } from "../queue.ts"
import { handling, inCalls } from "./handling.ts"

const perMessage = 20

/** Holdfast or a queue twice: with an empty table of delayed messages, and with a full one. */
const pair = (library: Library, share: number) => {
  const work = { kind: "noop" as const, processes: 1, share }
  const waiting = (count: number) => Math.round((count * perMessage) / share)
  return [
    handling(library, work),
    handling(library, {
      ...work,
      variant: (count) => `beside ${waiting(count).toLocaleString("en")} delayed`,
      beside: (queue, count) => delay(queue, waiting(count))
    })
  ]
}

/** Messages that are due in a day, on the channel that is to be emptied. */
const delay = (queue: Queue, count: number) =>
  inCalls(count, (from, to) => queue.delayAll(Array.from({ length: to - from }, (_, k) => payload(from + k))))

/** Whether messages that wait for their time slow down those that do not. */
export const delayed: Job = {
  name: "delayed",
  title: "Delayed messages beside a busy channel",
  size: 50_000,
  usual: 0.1,
  figures: { rate: "/s" },
  contenders: [...pair(holdfast, 0.4), ...pair(graphileWorker, 1), ...pair(pgBoss, 1)]
}
