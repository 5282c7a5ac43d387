import { oldSnapshot } from "../database.ts"
import type { Job } from "../job.ts"
import { bare, graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import type { Queue } from "../queue.ts"
import type { Drained, Sample } from "../workers.ts"
import { handling } from "./handling.ts"

/** When so many had been handled, by the samples around that moment. */
const reachedAt = (samples: ReadonlyArray<Sample>, count: number) => {
  const i = samples.findIndex((sample) => sample.count >= count)
  const before = samples[i - 1] ?? { at: 0, count: 0 }
  const after = samples[i]!
  return before.at + ((after.at - before.at) * (count - before.count)) / (after.count - before.count)
}

const figures = ({ reports, samples }: Drained, count: number) => {
  const began = samples.findLast((sample) => sample.count === 0)?.at ?? 0
  const tenth = count * 100 // a tenth of the messages, for milliseconds
  const first = tenth / (reachedAt(samples, count * 0.1) - began)
  const last = tenth / (reachedAt(samples, count) - reachedAt(samples, count * 0.9))
  const memory = reports[0]!.memory / 1024 / 1024
  return { "first tenth": first, "last tenth": last, "last / first": last / first, memory }
}

const held = {
  variant: () => "an old snapshot held open",
  beside: (_: Queue, __: number, url: string) => oldSnapshot(url)
}

const work = { kind: "noop" as const, processes: 1, figures }

/** Whether a consumer that starts behind a long queue is as fast at its end as at its start, and stays small. */
export const backlog: Job = {
  name: "backlog",
  title: "A backlog, drained by one process",
  size: 1_000_000,
  usual: 0.2,
  figures: { rate: "/s", "first tenth": "/s", "last tenth": "/s", "last / first": "x", memory: "MB" },
  contenders: [
    handling(holdfast, { ...work, share: 1 }),
    handling(holdfast, { ...work, ...held, share: 1 }),
    handling(graphileWorker, { ...work, share: 1 }),
    handling(graphileWorker, { ...work, ...held, share: 1 }),
    handling(pgBoss, { ...work, share: 1 }),
    handling(bare, { ...work, share: 1 })
  ]
}
