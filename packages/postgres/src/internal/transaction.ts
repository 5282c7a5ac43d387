import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import type { PgClient as Client } from "@effect/sql-pg/PgClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import type { Joining, Transaction, TransactionScope } from "@holdfast/core/MessageStore"
import * as UnitOfWork from "@holdfast/core/UnitOfWork"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Pg from "pg"
import { Outside, wrap } from "./client.ts"
import * as ScopeConnection from "./connection.ts"
import type { Database } from "./database.ts"
import { joined } from "./joined.ts"
import { owned } from "./owned.ts"
import type { Pool } from "./pool.ts"
import type { Session } from "./session.ts"
import { UnitScope } from "./unitScope.ts"

/**
 * Tells this process and others that something was put on channels.
 *
 * @internal
 */
export type Put = (channels: ReadonlySet<string>) => Effect.Effect<void>

/**
 * Opens the transactions of units.
 *
 * @internal
 */
export interface Transactions {
  readonly client: Client
  readonly begin: (put: Put) => Effect.Effect<Transaction>
  /** Whether `begin` would join a transaction of the caller's. */
  readonly joins: (context: Context.Context<never>) => boolean
  readonly joining: (context: Context.Context<never>) => Joining
}

/** @internal */
export const make = (database: Database, pool: Pool, notifications: boolean): Effect.Effect<Transactions, SqlError> =>
  Effect.map(database.lend(Effect.succeed), (pg) => {
    const address = addressOf(pg)
    const wrapped = wrap(pool)
    const clients: Clients = { raw: pool.raw, wrapped }
    const joining = { database, notifications, locks: new WeakMap<Pg.ClientBase, Effect.Semaphore>() }
    return {
      client: wrapped,
      joins: (context) => outerConnection(context, address) !== undefined,
      begin: (put) =>
        Effect.contextWith((context: Context.Context<never>) => {
          const outer = outerConnection(context, address)
          return outer === undefined
            ? owned({ database, pool, put, enter: (session) => enter(session, clients) })
            : joined({ ...joining, pg: outer, enter: (session) => enter(session, clients) })
        }),
      joining: (context) =>
        usesOther(context, clients)
          ? { context: withoutConnection(context), join: undefined }
          : { context: replaceClients(context, clients), join: { key: SqlClient.TransactionConnection.key, service } }
    }
  })

/**
 * The context without the unit's connection, for code that leaves the unit.
 *
 * @internal
 */
export const outside = (context: Context.Context<never>): Context.Context<never> =>
  Context.add(withoutConnection(context), Outside, true)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const withoutConnection = (context: Context.Context<never>): Context.Context<never> =>
  Context.omit(SqlClient.TransactionConnection)(
    context as Context.Context<SqlClient.TransactionConnection>
  ) as Context.Context<never>

interface Clients {
  readonly raw: Client
  readonly wrapped: Client
}

/** Where a connection leads: two with one address are of one database. */
const addressOf = (pg: Pg.ClientBase): string => {
  const { database, host, port } = pg as { readonly host?: string; readonly port?: number; readonly database?: string }
  return JSON.stringify([host, port, database])
}

/** The connection of a transaction that the caller has open on this database, outside of any unit. */
const outerConnection = (context: Context.Context<never>, address: string): Pg.ClientBase | undefined => {
  if (context.unsafeMap.has(UnitOfWork.UnitOfWork.key)) return undefined
  const entry = context.unsafeMap.get(SqlClient.TransactionConnection.key) as readonly [Connection] | undefined
  if (entry === undefined || ScopeConnection.isOurs(entry[0])) return undefined
  const { pg } = entry[0] as { readonly pg?: Pg.ClientBase }
  return pg !== undefined && addressOf(pg) === address ? pg : undefined
}

const enter = (session: Session, clients: Clients): { readonly root: TransactionScope; readonly scope: UnitScope } => {
  const scope = new UnitScope(session, undefined)
  return { root: makeScope(scope, clients), scope }
}

/** What SQL finds in a unit that has not begun: the connection of the scope that is asked for with the first statement. */
const service = (scope: () => TransactionScope): Context.Tag.Service<typeof SqlClient.TransactionConnection> => [
  ScopeConnection.make(() => scopes.get(scope())!),
  0
]

const scopes = new WeakMap<TransactionScope, UnitScope>()

const makeScope = (scope: UnitScope, clients: Clients): TransactionScope => {
  const connection = ScopeConnection.make(() => scope)
  const join = (context: Context.Context<never>) => {
    const entry = context.unsafeMap.get(SqlClient.TransactionConnection.key) as
      | readonly [Connection, number]
      | undefined
    if (entry !== undefined) scope.opener ??= { fiber: "", entry, depth: entry[1] }
    return replaceClients(context, clients).pipe(Context.add(SqlClient.TransactionConnection, [connection, 0]))
  }
  const transactionScope: TransactionScope = {
    provide: (context) => (usesOther(context, clients) ? withoutConnection(context) : join(context)),
    provideQuery: (context) => {
      if (usesOther(context, clients) || !scope.session.begun || scope.session.finished)
        return withoutConnection(context)
      return join(context)
    },
    nested: () => makeScope(new UnitScope(scope.session, scope), clients),
    close: (keep) => scope.close(keep)
  }
  scopes.set(transactionScope, scope)
  return transactionScope
}

const clientTags = [SqlClient.SqlClient, PgClient.PgClient] as const

/** Copies of the client, such as the one without transformations, share its configuration. */
const usesOther = (context: Context.Context<never>, { raw }: Clients): boolean =>
  clientTags.some(({ key }) => {
    const client = context.unsafeMap.get(key) as Partial<Client> | undefined
    return client !== undefined && client.config !== raw.config
  })

const replaceClients = (context: Context.Context<never>, { wrapped }: Clients): Context.Context<never> =>
  clientTags.reduce(
    (replaced, tag) =>
      context.unsafeMap.has(tag.key)
        ? (Context.add(replaced, tag as any, wrapped) as Context.Context<never>)
        : replaced,
    context
  )
