import type { EmbeddedPostgres } from "@holdfast/embedded"
import { Cause, Console, Effect, Exit } from "effect"
import { fresh } from "./database.ts"
import type { Contender, Figures, Job } from "./job.ts"

export interface Plan {
  readonly rounds: number
  readonly scale: number
  /** Takes the whole size of each job, whatever part of it is usual. */
  readonly full: boolean
}

/** A contender's figures of each round, or why it has none. */
export interface Result {
  readonly contender: Contender
  readonly count: number
  readonly rounds: ReadonlyArray<Figures>
  readonly failure: string | undefined
}

export interface Measured {
  readonly job: Job
  readonly results: ReadonlyArray<Result>
}

const fewest = 100

export const countOf = (job: Job, { share }: Contender, { full, scale }: Plan) =>
  Math.max(fewest, Math.round(job.size * share * scale * (full ? 1 : job.usual)))

/**
 * Every contender once a round, each on a database of its own. The one that begins a round ends the next, so that what
 * changes on the machine meanwhile meets all of them alike.
 */
export const measure = (server: EmbeddedPostgres.Server, job: Job, plan: Plan) =>
  Effect.gen(function* () {
    yield* Console.log(`\n${job.title}`)
    const entries = yield* Effect.forEach(job.contenders, (contender) => prepare(server, job, contender, plan))
    for (let round = 0; round < plan.rounds; round++) {
      const first = round % entries.length
      for (const entry of [...entries.slice(first), ...entries.slice(0, first)]) {
        if (entry.failure === undefined) yield* oneRound(entry)
      }
    }
    const measured: Measured = { job, results: entries }
    return measured
  }).pipe(Effect.scoped)

interface Entry extends Result {
  readonly rounds: Array<Figures>
  readonly ready: unknown
  failure: string | undefined
}

const prepare = (server: EmbeddedPostgres.Server, job: Job, contender: Contender, plan: Plan) =>
  Effect.gen(function* () {
    const count = countOf(job, contender, plan)
    const ready = yield* Effect.exit(Effect.flatMap(fresh(server), (url) => contender.setup(url, count)))
    const entry: Entry = {
      contender,
      count,
      rounds: [],
      ready: Exit.isSuccess(ready) ? ready.value : undefined,
      failure: Exit.isSuccess(ready) ? undefined : sentenceOf(ready.cause)
    }
    return entry
  })

const oneRound = (entry: Entry) => {
  const { contender, count, ready } = entry
  return Effect.gen(function* () {
    yield* contender.fill(ready, count)
    const ran = yield* contender.run(ready, count)
    const figures = yield* contender.check(ran, ready, count)
    entry.rounds.push(figures)
    const shown = Object.entries(figures).map(([name, value]) => `${name} ${Math.round(value * 100) / 100}`)
    yield* Console.log(`  ${contender.name} ${contender.variant?.(count) ?? ""}: ${shown.join(", ")}`)
  }).pipe(
    Effect.scoped,
    Effect.catchAllCause((cause) => {
      entry.failure = sentenceOf(cause)
      return Console.log(`  ${contender.name} failed: ${entry.failure}`)
    })
  )
}

const sentenceOf = (cause: Cause.Cause<unknown>) => Cause.pretty(cause).split("\n")[0]!
