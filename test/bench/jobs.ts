import type { Job } from "./job.ts"
import { backlog } from "./jobs/backlog.ts"
import { delayed } from "./jobs/delayed.ts"
import { keys } from "./jobs/keys.ts"
import { latency } from "./jobs/latency.ts"
import { noop } from "./jobs/noop.ts"
import { saga } from "./jobs/saga.ts"
import { send } from "./jobs/send.ts"
import { sendBatch } from "./jobs/sendBatch.ts"
import { write } from "./jobs/write.ts"

export const jobs: ReadonlyArray<Job> = [
  ...[send(1, 2_000), send(10, 5_000), send(100, 10_000)],
  sendBatch,
  ...[noop(1), noop(2), noop(4)],
  ...[write, saga, latency, backlog, delayed, keys]
]
