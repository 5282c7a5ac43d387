import type { Job } from "../job.ts"
import { bare, graphileWorker, holdfast, pgBoss } from "../libraries.ts"
import { handling } from "./handling.ts"

/** What delivery itself costs: a handler that does nothing. */
export const noop = (processes: number): Job => {
  const work = { kind: "noop" as const, processes }
  return {
    name: `noop-${processes}`,
    title: `Process with a no-op handler, ${processes === 1 ? "1 process" : `${processes} processes`}`,
    size: 50_000,
    usual: 1,
    figures: { rate: "/s" },
    contenders: [
      handling(holdfast, { ...work, share: 1 }),
      handling(holdfast, { ...work, kind: "journaled", share: 1, variant: () => "with its journal" }),
      handling(graphileWorker, { ...work, share: 1 }),
      handling(pgBoss, { ...work, share: 0.5 }),
      handling(bare, { ...work, share: 1 })
    ]
  }
}
