import type { Job } from "../job.ts"
import { bare, graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import { sending } from "./sending.ts"

/** Commands sent one by one: each caller hears that its message is committed before it sends the next. */
export const send = (callers: number, size: number): Job => ({
  name: `send-${callers}`,
  title: `Send one by one, ${callers === 1 ? "1 caller" : `${callers} callers at once`}`,
  size,
  usual: 1,
  figures: { rate: "/s" },
  contenders: [
    sending(holdfast, { callers, perCall: 1, share: 1, setting: "CommandBus.send" }),
    sending(graphileWorker, { callers, perCall: 1, share: 1, setting: "addJob, 10 connections" }),
    sending(pgBoss, { callers, perCall: 1, share: 1, setting: "send, 10 connections" }),
    sending(bare, { callers, perCall: 1, share: 1, setting: "prepared INSERT, 10 connections" })
  ]
})
