import type { SqlError } from "@effect/sql/SqlError"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { processOf } from "./commit.ts"
import type { Database } from "./database.ts"
import { isConnectionLost, sqlError, sqlState } from "./errors.ts"
import { Exchange, isExchangeable } from "./exchange.ts"
import { inTurn } from "./inTurn.ts"
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
  readonly begin: Statement
  /** The transaction is the unit's own: what commits it can be asked for by its id. */
  readonly own: boolean
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
  /** The transaction's id, if a statement that writes has brought it along. */
  xid: string | undefined
  /** The first error since the transaction was last known to be good. */
  failure: SqlError | undefined
  /** Why the transaction may not commit, whatever the server thinks. */
  doomed: string | undefined

  private readonly opening: Opening

  constructor(database: Database, opening: Opening) {
    this.database = database
    this.opening = opening
  }

  /**
   * Runs one statement, and with it what is still to be sent before: BEGIN, RELEASE and SAVEPOINT. `prepare` refuses it,
   * or notes what it implies.
   */
  exchange(prepare: () => SqlError | undefined, config: Pg.QueryConfig): Effect.Effect<Pg.QueryResult, SqlError> {
    return inTurn(this.wire)(
      Effect.suspend(() => {
        const refused = this.finished ? refusal() : prepare()
        if (refused !== undefined) return Effect.fail(refused)
        return this.pg === undefined
          ? Effect.flatMap(this.connect, (pg) => this.send(pg, config))
          : this.send(this.pg, config)
      })
    )
  }

  /** Opens the connection if need be and sends what is due. */
  get flush(): Effect.Effect<void, SqlError> {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(this.connect), (pg) => {
        const pending = this.savepoints.pending()
        const text = [...(this.begun ? [] : [this.opening.begin.text]), ...pending.text].join("; ")
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

  private send(pg: Pg.ClientBase, config: Pg.QueryConfig): Effect.Effect<Pg.QueryResult, SqlError> {
    const pending = this.savepoints.pending()
    const asksXid = this.opening.own && this.xid === undefined && !reads.test(config.text)
    const before = [
      ...(this.begun ? [] : [this.opening.begin]),
      ...pending.text.map((text) => ({ name: undefined, text })),
      ...(asksXid ? [xidStatement] : [])
    ]
    if (before.length === 0) return this.run(pg, config)
    if (!isExchangeable(pg, config.text))
      return Effect.zipRight(
        this.flush,
        Effect.suspend(() => this.run(pg, config))
      )
    const exchange = new Exchange({ before, query: config })
    return this.run(pg, exchange, () => {
      if (!exchange.begun) return
      this.begun = true
      if (asksXid) this.xid = exchange.answers.at(-1)
      pending.sent()
    })
  }

  private run(
    pg: Pg.ClientBase,
    query: Pg.QueryConfig | Exchange,
    answered?: () => void
  ): Effect.Effect<Pg.QueryResult, SqlError> {
    return cancellable(
      this.database,
      pg,
      query,
      (error) => {
        answered?.()
        if (pg.getTransactionStatus() === "I" && error === undefined) {
          this.doomed ??= "The handler ended the unit's transaction itself"
        }
        return error && this.remember(error)
      },
      () => {
        this.failure ??= sqlError("A statement of the unit was interrupted while it ran")
      }
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

const xidStatement: Statement = { name: "hf_xid", text: "select pg_current_xact_id()::text" }

/** What may need no transaction id: one is not taken for it. */
const reads = /^\s*(?:select|values|with)\b/i

/**
 * Runs a statement that can be interrupted: it is cancelled over a connection of the store's own, since the user's pool
 * may be full, and awaited, so that the cancel cannot hit the next one. `answered` is told of the end in any case.
 */
const cancellable = (
  database: Database,
  pg: Pg.ClientBase,
  query: Pg.QueryConfig | Exchange,
  answered: (error: SqlError | undefined) => SqlError | undefined,
  interrupted: () => void
): Effect.Effect<Pg.QueryResult, SqlError> =>
  Effect.async((resume) => {
    let ended = false
    let stopped: (() => void) | undefined
    const done = (error: Error | null, result: Pg.QueryResult) => {
      ended = true
      const failure = answered(error ? sqlError("Failed to execute statement", error) : undefined)
      resume(failure === undefined ? Effect.succeed(result) : Effect.fail(failure))
      stopped?.()
    }
    if (query instanceof Exchange) {
      query.callback = done
      pg.query(query)
    } else pg.query(query, done)
    return Effect.suspend(() => {
      interrupted()
      const pid = processOf(pg)
      const cancel = pid === undefined ? Effect.void : Effect.ignore(database.run(cancelStatement, [pid]))
      const end = Effect.async<void>((resume) => {
        stopped = () => resume(Effect.void)
        if (ended) stopped()
      })
      // a server that had not begun with the statement has not noticed
      const stop: Effect.Effect<void> = Effect.suspend(() =>
        ended
          ? Effect.void
          : Effect.flatMap(Effect.zipRight(cancel, Effect.timeoutOption(end, Duration.millis(250))), () => stop)
      )
      return stop.pipe(Effect.interruptible, Effect.timeoutOption(Duration.seconds(5)), live)
    })
  })
