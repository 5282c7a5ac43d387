import { initial } from "./migrations/m0001Initial.ts"
import { ordering } from "./migrations/m0002Ordering.ts"
import { consumers } from "./migrations/m0003Consumers.ts"
import { queue } from "./migrations/m0004Queue.ts"
import { deadLetters } from "./migrations/m0005DeadLetters.ts"
import { flow } from "./migrations/m0006Flow.ts"
import { journal } from "./migrations/m0007Journal.ts"

/**
 * One step of the schema. Once released, a step never changes.
 *
 * @internal
 */
export interface Migration {
  readonly id: number
  readonly name: string
  /** `at` is the quoted schema with its dot. */
  readonly sql: (at: string) => string
}

/** @internal */
export const migrations: ReadonlyArray<Migration> = [initial, ordering, consumers, queue, deadLetters, flow, journal]

/**
 * The schema this build works with.
 *
 * @internal
 */
export const latest: number = migrations.reduce((highest, { id }) => Math.max(highest, id), 0)
