import type { Job } from "../job.ts"
import { bare, holdfast } from "../libraries.ts"
import { handling } from "./handling.ts"

const work = { kind: "saga" as const, processes: 1 }

/** Load the state, decide, store it, send one message, acknowledge. No queue keeps state, so there is no peer. */
export const saga: Job = {
  name: "saga",
  title: "Saga step: load, decide, store, send one message",
  size: 10_000,
  usual: 1,
  figures: { rate: "/s" },
  contenders: [handling(holdfast, { ...work, share: 1 }), handling(bare, { ...work, share: 1 })]
}
