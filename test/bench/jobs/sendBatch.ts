import type { Job } from "../job.ts"
import { bare, graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import { sending } from "./sending.ts"

const calls = { callers: 2, perCall: 1_000 }

/** A thousand commands in one call, two calls at a time. */
export const sendBatch: Job = {
  name: "send-batch",
  title: "Send 1,000 in a call, 2 calls at once",
  size: 100_000,
  usual: 1,
  figures: { rate: "/s" },
  contenders: [
    sending(holdfast, { ...calls, share: 1, setting: "CommandBus.sendAll" }),
    sending(graphileWorker, { ...calls, share: 1, setting: "addJobs" }),
    sending(pgBoss, { ...calls, share: 1, setting: "insert" }),
    sending(bare, { ...calls, share: 1, setting: "prepared INSERT … SELECT unnest" })
  ]
}
