import type { Job } from "../job.ts"
import { bare, graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import { handling } from "./handling.ts"

const work = { kind: "write" as const, processes: 1 }

/**
 * A handler whose row is there exactly once, whatever crashes. In Holdfast it commits with the acknowledgement; the
 * queues handle a message again after a crash, so theirs skip a row that is there.
 */
export const write: Job = {
  name: "write",
  title: "Process with a handler that writes one row exactly once",
  size: 10_000,
  usual: 1,
  figures: { rate: "/s" },
  contenders: [
    handling(holdfast, { ...work, share: 1 }),
    handling(graphileWorker, { ...work, share: 1 }),
    handling(pgBoss, { ...work, share: 1 }),
    handling(bare, { ...work, share: 1 })
  ]
}
