import type { SqlError } from "@effect/sql/SqlError"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberId from "effect/FiberId"
import type * as Pg from "pg"
import { processOf } from "./commit.ts"
import type { Database } from "./database.ts"
import { isConnectionLost, sqlError, sqlState } from "./errors.ts"
import { live } from "./live.ts"
import { query, type Statement } from "./pgQuery.ts"
import { type Mark, Savepoints } from "./savepoints.ts"

/**
 * SQL from a fiber that outlived the unit or the scope it was started in. Arrives as the cause of a `SqlError`.
 *
 * @internal
 */
export class UnitFinished extends Data.TaggedError("UnitFinished")<{}> {
  override readonly message =
    "A fiber outlived its handler, or the nested scope it was started in, and then used the unit's transaction. " +
    "Wait for the fiber in the handler, or start it in UnitOfWork.outside"
}

/**
 * Where a unit gets its connection from, and how its transaction begins there.
 *
 * @internal
 */
export interface Opening {
  readonly acquire: Effect.Effect<Pg.ClientBase, SqlError>
  readonly begin: string
}

/**
 * One unit's connection, opened by its first statement, and what is known of its transaction.
 *
 * @internal
 */
export class Session {
  /** One exchange at a time: an interrupted statement that waits is never sent. */
  readonly wire = Effect.unsafeMakeSemaphore(1)
  readonly savepoints = new Savepoints()
  readonly database: Database
  pg: Pg.ClientBase | undefined
  begun = false
  finished = false
  /** The first error since the transaction was last known to be good. */
  failure: SqlError | undefined
  /** Why the transaction may not commit, whatever the server thinks. */
  doomed: string | undefined

  private readonly opening: Opening

  constructor(database: Database, opening: Opening) {
    this.database = database
    this.opening = opening
  }

  /** Runs one statement, after what is still to be sent before it. `prepare` refuses it, or notes what it implies. */
  exchange(prepare: () => SqlError | undefined, config: Pg.QueryConfig): Effect.Effect<Pg.QueryResult, SqlError> {
    return this.wire.withPermits(1)(
      Effect.suspend(() => {
        const refused = this.finished ? refusal() : prepare()
        if (refused !== undefined) return Effect.fail(refused)
        return Effect.zipRight(
          this.flush,
          Effect.suspend(() => this.run(config))
        )
      })
    )
  }

  /** Opens the connection if need be and sends BEGIN, RELEASE and SAVEPOINT that are due. */
  get flush(): Effect.Effect<void, SqlError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(this.connect), (pg) => {
        const pending = this.savepoints.pending()
        const text = [...(this.begun ? [] : [this.opening.begin]), ...pending.text].join("; ")
        if (text === "") return Effect.void
        return Effect.map(this.command(pg, text), () => {
          this.begun = true
          pending.sent()
        })
      })
    )
  }

  /** Undoes a savepoint. Never fails: one that cannot be restored leaves a transaction that cannot commit. */
  undo(mark: Mark): Effect.Effect<void> {
    return Effect.suspend(() => {
      const text = this.savepoints.undo(mark)
      if (this.finished || text === undefined || this.pg === undefined) return Effect.void
      return Effect.match(query(this.pg, { name: undefined, text }, [], this.database.timeoutMillis), {
        onSuccess: () => {
          this.failure = undefined
        },
        onFailure: (error) => {
          this.failure ??= error
        }
      })
    }).pipe(Effect.uninterruptible)
  }

  command(pg: Pg.ClientBase, text: string): Effect.Effect<void, SqlError> {
    return query(pg, { name: undefined, text }, [], this.database.timeoutMillis).pipe(
      Effect.mapError((error) => this.remember(error)),
      Effect.asVoid
    )
  }

  private get connect(): Effect.Effect<Pg.ClientBase, SqlError> {
    return Effect.suspend(() => {
      if (this.pg !== undefined) return Effect.succeed(this.pg)
      return Effect.tap(this.opening.acquire, (pg) => {
        this.pg = pg
      })
    })
  }

  private run(config: Pg.QueryConfig): Effect.Effect<Pg.QueryResult, SqlError> {
    const pg = this.pg!
    return cancellable(this.database, pg, config).pipe(
      Effect.tap(() => {
        if (pg.getTransactionStatus() === "I") this.doomed ??= "The handler ended the unit's transaction itself"
      }),
      Effect.mapError((error) => this.remember(error)),
      Effect.onInterrupt(() => {
        this.failure ??= sqlError("A statement of the unit was interrupted while it ran")
        return Effect.void
      })
    )
  }

  /** After the first error every statement is answered by 25P02, which says nothing. */
  private remember(error: SqlError): SqlError {
    const state = sqlState(error)
    if (state === "25P02" && this.failure !== undefined) {
      return sqlError("The unit's transaction was already aborted by an earlier error", this.failure)
    }
    if (state !== undefined || isConnectionLost(error)) this.failure ??= error
    return error
  }
}

/** @internal */
export const refusal = (): SqlError => sqlError("SQL after the unit of work has finished", new UnitFinished())

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const cancelStatement: Statement = { name: "hf_cancel", text: "select pg_cancel_backend($1::int)" }

/**
 * Runs a statement that can be interrupted: it is cancelled over a connection of the store's own, since the user's pool
 * may be full, and awaited, so that the cancel cannot hit the next one.
 */
const cancellable = (
  database: Database,
  pg: Pg.ClientBase,
  config: Pg.QueryConfig
): Effect.Effect<Pg.QueryResult, SqlError> =>
  Effect.async((resume) => {
    const ended = Deferred.unsafeMake<void>(FiberId.none)
    pg.query(config, (error: Error | null, result) => {
      Deferred.unsafeDone(ended, Effect.void)
      resume(error ? Effect.fail(sqlError("Failed to execute statement", error)) : Effect.succeed(result))
    })
    const pid = processOf(pg)
    const cancel = pid === undefined ? Effect.void : Effect.ignore(database.run(cancelStatement, [pid]))
    return Effect.zipRight(cancel, Deferred.await(ended)).pipe(
      Effect.interruptible,
      Effect.timeoutOption(Duration.seconds(5)),
      live
    )
  })
