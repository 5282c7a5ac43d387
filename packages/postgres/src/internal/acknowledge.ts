import type { Acknowledge, Lease, Write } from "@holdfast/core/MessageStore"
import { MessagingError } from "@holdfast/core/MessagingError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type Database, named } from "./database.ts"
import { isConnectionLost, toMessagingError } from "./errors.ts"
import { idOf, isQueued, numbers, priorityOf, shared } from "./leaseKey.ts"
import { leaseLost } from "./part.ts"
import { text } from "./rows.ts"

type Unit = ReadonlyArray<Write>
type Outcome = Option.Option<MessagingError>

/**
 * Commits units by `commitAll`, but those that only acknowledge a message of the queue by one statement for all of them.
 * It does not wait for the disk: a crash of the server can only cause a message to be handled again, as it would have
 * been a moment before.
 *
 * @internal
 */
export const acknowledging = (
  database: Database,
  units: ReadonlyArray<Unit>,
  commitAll: (units: ReadonlyArray<Unit>) => Effect.Effect<ReadonlyArray<Outcome>>
): Effect.Effect<ReadonlyArray<Outcome>> =>
  Effect.suspend(() => {
    const { others, places } = partition(units)
    if (places.length === 0) return commitAll(units)
    const outcomes: Array<Outcome> = units.map(() => Option.none())
    const commitOthers = (indexes: ReadonlyArray<number>) =>
      indexes.length === 0
        ? Effect.void
        : Effect.map(commitAll(indexes.map((index) => units[index]!)), (answers) =>
            indexes.forEach((index, place) => {
              outcomes[index] = answers[place]!
            })
          )
    return Effect.forEach(places, (indexes) => acknowledge(database, units, indexes, outcomes)).pipe(
      Effect.flatMap((lost) => commitOthers([...others, ...lost.flat()].sort((self, that) => self - that))),
      Effect.as(outcomes),
      Effect.uninterruptible
    )
  })

/**
 * `gone` is null if that is all of them. Those that lie close together are found by one walk from the first to the last.
 *
 * @internal
 */
export const acknowledgeSql = (at: string, dense: boolean): string =>
  `with clock as materialized (
       select ${at}now() as now, set_config('synchronous_commit', 'off', true)
     ), fenced as materialized (
       select count(*) = cardinality($4::bigint[]) as whole from (
         select from ${at}lease l
         where l.channel = $1::text and l.id = any ($4::bigint[]) and l.until > (select now from clock)
         order by l.id for key share) held
     ), dequeued as (
       delete from ${at}queue q
       where q.channel = $1::text and q.priority = $2::int and (select whole from fenced) and ${
         dense
           ? "q.id between $5::bigint and $6::bigint and case when q.id in (select unnest($3::bigint[])) then true end"
           : "q.id = any ($3::bigint[])"
       }
       returning q.id
     )
     select (select whole from fenced) as whole,
       (select case when count(*) < cardinality($3::bigint[]) then coalesce(array_agg(id), '{}') end from dequeued) as gone`

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

type Indexes = ReadonlyArray<number>

/** By channel and priority, since that is how the queue is kept. One that names a message a second time is left over. */
const partition = (
  units: ReadonlyArray<Unit>
): { readonly places: ReadonlyArray<Indexes>; readonly others: Indexes } => {
  const places = new Map<string, Array<number>>()
  const seen = new Set<string>()
  const others: Array<number> = []
  for (let index = 0; index < units.length; index++) {
    const [write, more] = units[index]!
    if (more !== undefined || write?._tag !== "Acknowledge" || !isQueued(write.lease) || seen.has(write.lease.key)) {
      others.push(index)
      continue
    }
    seen.add(write.lease.key)
    const place = `${priorityOf(write.lease)} ${write.lease.channel}`
    const indexes = places.get(place)
    if (indexes === undefined) places.set(place, [index])
    else indexes.push(index)
  }
  return { places: Array.from(places.values()), others }
}

/** Answers those of which nothing was done, as not all of their leases hold. */
const acknowledge = (
  database: Database,
  units: ReadonlyArray<Unit>,
  indexes: Indexes,
  outcomes: Array<Outcome>
): Effect.Effect<Indexes> => {
  const leases = indexes.map((index) => (units[index]![0] as Acknowledge).lease)
  const send = asking(database, leases)
  // whoever did not hear of the first try may find that it has been done
  const again = Effect.map(send, ([row]) => [{ whole: row!.whole!, gone: null }])
  return Effect.match(
    Effect.catchIf(send, isConnectionLost, () => again),
    {
      onFailure: (error) => {
        const failed = Option.some(toMessagingError(error))
        for (const index of indexes) outcomes[index] = failed
        return []
      },
      onSuccess: ([row]) => {
        if (row!.whole !== "t") return indexes
        if (row!.gone === null) return []
        const gone = new Set(text(row!, "gone").slice(1, -1).split(","))
        leases.forEach((lease, place) => {
          if (!gone.has(idOf(lease))) outcomes[indexes[place]!] = Option.some(lost)
        })
        return []
      }
    }
  )
}

const lost = new MessagingError({ reason: leaseLost.otherwise, detail: leaseLost.detail })

const asking = (database: Database, leases: ReadonlyArray<Lease>) => {
  const ids = leases.map((lease) => Number(idOf(lease)))
  const first = ids.reduce((least, id) => Math.min(least, id))
  const last = ids.reduce((most, id) => Math.max(most, id))
  const dense = last - first < 8 * ids.length
  const { at } = database
  return database.run(named(database, dense ? "acknowledge_dense" : "acknowledge", acknowledgeSql(at, dense)), [
    ...[leases[0]!.channel, priorityOf(leases[0]!), numbers(ids)],
    ...[numbers(shared(leases).map(({ token }) => token)), ...(dense ? [first, last] : [])]
  ])
}
