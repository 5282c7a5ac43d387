import type { Job } from "../job.ts"
import { bare, graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import type { Drained } from "../workers.ts"
import { handling } from "./handling.ts"

/** Messages a second between two moments of the drain, given as parts of it; 0 is when the first were handled. */
const rateBetween = ({ samples }: Drained, count: number, from: number, to: number) => {
  const reached = (part: number) => samples.find((sample) => sample.count >= Math.max(1, count * part))!
  const first = reached(from)
  const last = reached(to)
  return ((last.count - first.count) * 1000) / Math.max(1, last.at - first.at)
}

const figures = (drained: Drained, count: number) => {
  const first = rateBetween(drained, count, 0, 0.1)
  const last = rateBetween(drained, count, 0.9, 1)
  return { first, last, kept: last / first, memory: drained.reports[0]!.memory / 1024 / 1024 }
}

const work = { kind: "noop" as const, processes: 1, figures }

/** Whether a consumer that starts behind a long queue is as fast at its end as at its start, and stays small. */
export const backlog: Job = {
  name: "backlog",
  title: "A backlog, drained by one process: first tenth, last tenth, memory",
  size: 1_000_000,
  usual: 0.2,
  figures: { rate: "/s", first: "/s", last: "/s", kept: "x", memory: "MB" },
  contenders: [
    handling(holdfast, { ...work, share: 0.1 }),
    handling(graphileWorker, { ...work, share: 1 }),
    handling(pgBoss, { ...work, share: 0.5 }),
    handling(bare, { ...work, share: 1 })
  ]
}
