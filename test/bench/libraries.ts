import { bare } from "./queues/bare.ts"
import { graphileWorker } from "./queues/graphileWorker.ts"
import { holdfast } from "./queues/holdfast.ts"
import { pgBoss } from "./queues/pgBoss.ts"

export { bare, graphileWorker, holdfast, pgBoss }

/** By name, for the processes that are told whom to run. */
export const libraries = [holdfast, graphileWorker, pgBoss, bare]
