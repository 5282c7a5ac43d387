import type { SqlError } from "@effect/sql/SqlError"
import { MessagingError } from "@holdfast/core/MessagingError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { command, type Database } from "./database.ts"
import { classify, detailOf, isConnectionLost, toMessagingError } from "./errors.ts"
import { live } from "./live.ts"
import type { Statement } from "./pgQuery.ts"

/**
 * A COMMIT that nobody answered, and what is needed to ask for it.
 *
 * @internal
 */
export interface CommitLost {
  readonly pid: number | undefined
  readonly xid: string
  readonly cause: SqlError
}

/**
 * Sends COMMIT and learns how it ended; answers with what is still to be asked if the connection was lost. An aborted
 * transaction answers COMMIT with ROLLBACK and no error.
 *
 * @internal
 */
export const sendCommit = (
  database: Database,
  pg: Pg.ClientBase,
  xid: string
): Effect.Effect<CommitLost | undefined, MessagingError> =>
  command(database, pg, "COMMIT").pipe(
    Effect.matchEffect({
      onSuccess: ({ command }) => ended(command),
      onFailure: (cause) => notCommitted(pg, xid, cause)
    }),
    Effect.uninterruptible
  )

/**
 * BEGIN as what an exchange starts with.
 *
 * @internal
 */
export const beginStatement: Statement = { name: "hf_BEGIN", text: "BEGIN" }

/**
 * COMMIT as the end of an exchange.
 *
 * @internal
 */
export const commitStatement: Statement = { name: "hf_COMMIT", text: "COMMIT" }

/**
 * How a COMMIT ended that was answered.
 *
 * @internal
 */
export const ended = (command: string | undefined): Effect.Effect<undefined, MessagingError> =>
  command === "COMMIT" ? Effect.succeed(undefined) : Effect.fail(answeredRollback)

/**
 * What the failure of a COMMIT means: it was refused, or is to be asked for.
 *
 * @internal
 */
export const notCommitted = (
  pg: Pg.ClientBase,
  xid: string,
  cause: SqlError
): Effect.Effect<CommitLost, MessagingError> =>
  isConnectionLost(cause) ? Effect.succeed({ pid: processOf(pg), xid, cause }) : Effect.fail(refused(cause))

/**
 * Runs what ends with `sendCommit` as a transaction on a connection of the store's own. That connection is given back
 * before another is asked for a lost COMMIT, or all could wait for each other.
 *
 * @internal
 */
export const transaction = <A extends { readonly xid: string }>(
  database: Database,
  body: (pg: Pg.PoolClient) => Effect.Effect<A, SqlError | MessagingError>
): Effect.Effect<A, SqlError | MessagingError> =>
  begun(database, (pg) => Effect.zipRight(command(database, pg, "BEGIN"), body(pg)))

/**
 * The same for what sends BEGIN itself.
 *
 * @internal
 */
export const begun = <A extends { readonly xid: string }>(
  database: Database,
  body: (pg: Pg.PoolClient) => Effect.Effect<A, SqlError | MessagingError>
): Effect.Effect<A, SqlError | MessagingError> =>
  database
    .lend((pg) =>
      Effect.flatMap(body(pg), (written) =>
        Effect.map(sendCommit(database, pg, written.xid), (lost) => ({ written, lost }))
      ).pipe(
        Effect.tapError((error) =>
          isConnectionLost(error) ? Effect.void : Effect.ignore(command(database, pg, "ROLLBACK"))
        )
      )
    )
    .pipe(
      Effect.flatMap(({ lost, written }) => Effect.as(resolve(database, lost), written)),
      Effect.uninterruptible
    )

/**
 * The server process of a connection.
 *
 * @internal
 */
export const processOf = (pg: Pg.ClientBase): number | undefined =>
  (pg as { readonly processID?: number | null }).processID ?? undefined

/**
 * Asks another connection how a lost COMMIT ended.
 *
 * @internal
 */
export const resolve = (database: Database, lost: CommitLost | undefined): Effect.Effect<void, MessagingError> =>
  lost === undefined ? Effect.void : ask(database, lost, 0)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const answeredRollback = new MessagingError({
  reason: "UnitAborted",
  detail: "COMMIT was answered by ROLLBACK: an earlier error had aborted the transaction"
})

const refused = (error: SqlError): MessagingError =>
  classify(error) === "Refused"
    ? new MessagingError({
        reason: "Rejected",
        detail: `The database refused the COMMIT. ${detailOf(error)}`,
        cause: error
      })
    : toMessagingError(error)

const statusOf: Statement = {
  name: "hf_xact_status",
  text: "select coalesce(pg_xact_status($1::text::xid8), 'unknown') as status"
}

/** Ends the lost session, so that a COMMIT which never arrived cannot keep its transaction open. */
const endSession: Statement = {
  name: "hf_xact_end",
  text: `select pg_terminate_backend(pid) from pg_stat_activity
    where pid = $1::int and backend_xid = ($2::text::xid8)::xid and pid <> pg_backend_pid()`
}

/** About three seconds in all. */
const attempts = 6

const ask = (database: Database, lost: CommitLost, attempt: number): Effect.Effect<void, MessagingError> =>
  Effect.matchEffect(database.run(statusOf, [lost.xid]), {
    onFailure: () => askAgain(database, lost, attempt),
    onSuccess: ([row]) => {
      if (row?.status === "committed") return Effect.void
      if (row?.status === "aborted") return Effect.fail(toMessagingError(lost.cause))
      return row?.status === "in progress"
        ? Effect.zipRight(end(database, lost), askAgain(database, lost, attempt))
        : Effect.fail(unknown(lost))
    }
  })

const askAgain = (database: Database, lost: CommitLost, attempt: number): Effect.Effect<void, MessagingError> =>
  attempt === attempts
    ? Effect.fail(unknown(lost))
    : Effect.zipRight(
        live(Effect.sleep(Duration.millis(50 * 2 ** attempt))),
        Effect.suspend(() => ask(database, lost, attempt + 1))
      )

const end = (database: Database, { pid, xid }: CommitLost): Effect.Effect<void> =>
  pid === undefined ? Effect.void : Effect.ignore(database.run(endSession, [pid, xid]))

const unknown = ({ cause }: CommitLost): MessagingError =>
  new MessagingError({
    reason: "OutcomeUnknown",
    detail: "The connection was lost during COMMIT, and the database could not say how it ended",
    cause
  })
