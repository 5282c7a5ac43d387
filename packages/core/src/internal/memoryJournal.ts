import * as Headers from "../Headers.ts"
import type { Due, JournalEntry, JournalQuery, JournalRow } from "../MessageStore.ts"
import type { Journal } from "./memoryTable.ts"
import { traceOf } from "./telemetry.ts"

/**
 * What happened, in the order in which it did; the oldest is forgotten after a while, or when there is too much.
 *
 * @internal
 */
export class Entries {
  private readonly changes: Journal
  private rows: Array<JournalRow> = []
  private sequence = 0

  constructor(changes: Journal) {
    this.changes = changes
  }

  add(now: number, { envelope, event, ...write }: JournalEntry): void {
    if (this.rows.length >= most || (this.rows[0]?.at ?? now) < now - retentionMillis) this.forget(now)
    const { attempt, endpoint, headers, id, tag } = envelope
    this.rows.push({
      key: `${Math.floor(now) * 1000}-${++this.sequence}`,
      event,
      at: now,
      id,
      tag,
      endpoint,
      channel: write.channel,
      attempt,
      correlationId: headers[Headers.correlationId] ?? id,
      causationId: headers[Headers.causationId],
      tenant: headers[Headers.tenant],
      traceId: traceOf(envelope),
      dueAt: dueAt(now, write.due),
      durationMillis: write.durationMillis,
      worker: write.worker,
      reason: write.reason,
      error: write.error,
      payload: write.payload
    })
    this.changes.record(() => void this.rows.pop())
  }

  matching(query: JournalQuery): ReadonlyArray<JournalRow> {
    const newestFirst = query.order === "NewestFirst"
    const place = query.after === undefined ? undefined : placeOf(query.after)
    const found = this.rows.filter(
      (row) =>
        matches(query, row) &&
        (place === undefined || (newestFirst ? placeOf(row.key) < place : placeOf(row.key) > place))
    )
    return (newestFirst ? found.reverse() : found).slice(0, query.limit ?? 100)
  }

  private forget(now: number): void {
    this.rows = this.rows
      .slice(this.rows.length >= most ? most / 10 : 0)
      .filter(({ at }) => at >= now - retentionMillis)
  }
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const most = 100_000
const retentionMillis = 14 * 24 * 60 * 60 * 1000

/** In one process they are numbered as they come. */
const placeOf = (key: string): number => Number(key.slice(key.indexOf("-") + 1))

const dueAt = (now: number, due: Due | undefined): number | undefined =>
  due === undefined ? undefined : due._tag === "At" ? due.epochMillis : now + due.millis

const matches = (query: JournalQuery, row: JournalRow): boolean =>
  (query.id === undefined || query.id === row.id) &&
  (query.correlationId === undefined || query.correlationId === row.correlationId) &&
  (query.channel === undefined || query.channel === row.channel) &&
  (query.endpoint === undefined || query.endpoint === row.endpoint) &&
  (query.tag === undefined || query.tag === row.tag) &&
  (query.event === undefined || query.event === row.event) &&
  (query.since === undefined || row.at >= query.since) &&
  (query.until === undefined || row.at < query.until)
