import * as Pg from "pg"
import type { Statement } from "./pgQuery.ts"

/**
 * One query and the commands around it, in one round trip: they are written together, and what follows one that fails
 * is not run.
 *
 * The driver waits for the answer of a query before it writes the next. It lets others write what they like, though, and
 * leaves it to them to read the answers, as it does for cursors.
 *
 * @internal
 */
export class Exchange implements Pg.Submittable {
  /** For the driver, which reads it here. */
  readonly query_timeout: number | undefined
  /** What commands before the query have answered: the first column of the first row, or nothing. */
  readonly answers: Array<string | undefined> = []
  /** What the command after the query was answered by: COMMIT, or ROLLBACK. */
  ended: string | undefined

  private readonly before: ReadonlyArray<Statement>
  private readonly query: DriverQuery
  private readonly after: Statement | undefined
  private done = 0

  constructor(options: {
    readonly before?: ReadonlyArray<Statement> | undefined
    readonly query: Pg.QueryConfig
    readonly after?: Statement | undefined
    readonly timeoutMillis?: number | undefined
  }) {
    this.before = options.before ?? []
    this.query = new Pg.Query({ ...options.query, queryMode: "extended" } as Pg.QueryConfig) as unknown as DriverQuery
    this.after = options.after
    this.query_timeout = options.timeoutMillis
  }

  /** Whether all commands before the query have ended well. */
  get begun(): boolean {
    return this.done >= this.before.length
  }

  /** Whether the query has ended well: an error that comes now is of the command after it. */
  get answered(): boolean {
    return this.done > this.before.length
  }

  submit(connection: Pg.Connection): void {
    const driver = connection as unknown as DriverConnection
    // one write costs the system less than one for each message
    const written: Array<Buffer> = []
    const open: DriverConnection = Object.create(driver)
    open.stream = { writable: true, write: (chunk) => written.push(chunk) > 0 }
    for (const command of this.before) write(open, command)
    // the query ends what is written, but the command after it belongs to that
    open.sync = () => {}
    this.query.submit(open)
    if (this.after !== undefined) write(open, this.after)
    Reflect.deleteProperty(open, "sync")
    open.sync()
    if (driver.stream.writable) driver.stream.write(Buffer.concat(written))
  }

  // What the driver reads and sets of a query of its own.

  get name(): string | undefined {
    return this.current.name
  }

  get text(): string {
    return this.current.text
  }

  get callback() {
    return this.query.callback
  }

  set callback(callback) {
    this.query.callback = callback
  }

  get _result() {
    return this.query._result
  }

  handleRowDescription(message: unknown): void {
    this.query.handleRowDescription(message)
  }

  handleDataRow(message: { readonly fields: ReadonlyArray<string | null> }): void {
    if (this.begun) this.query.handleDataRow(message)
    else this.answers[this.done] = message.fields[0] ?? undefined
  }

  handleCommandComplete(message: { readonly text: string }, connection: unknown): void {
    if (this.answered) this.ended = message.text
    else if (this.begun) this.query.handleCommandComplete(message, connection)
    this.done++
  }

  handleEmptyQuery(connection: unknown): void {
    this.query.handleEmptyQuery(connection)
    this.done++
  }

  handlePortalSuspended(connection: unknown): void {
    this.query.handlePortalSuspended(connection)
  }

  handleCopyInResponse(connection: unknown): void {
    this.query.handleCopyInResponse(connection)
  }

  handleCopyData(message: unknown, connection: unknown): void {
    this.query.handleCopyData(message, connection)
  }

  handleError(error: unknown, connection: unknown): void {
    this.query.handleError(error, connection)
  }

  handleReadyForQuery(connection: unknown): void {
    this.query.handleReadyForQuery(connection)
  }

  private get current(): { readonly name?: string | undefined; readonly text: string } {
    if (!this.begun) return this.before[this.done]!
    return this.answered ? (this.after ?? this.query) : this.query
  }
}

/**
 * Whether a statement of the user's can be the query of an exchange: several statements in one text cannot, nor what
 * copies; and a pool that writes ahead by itself takes no queries but the driver's own.
 *
 * @internal
 */
export const isExchangeable = (pg: Pg.ClientBase, text: string): boolean =>
  oneStatement.test(text) && (pg as { readonly pipeline?: boolean }).pipeline !== true

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const oneStatement = /^\s*(?:insert|update|delete|select|with|merge|values)\b[^;]*$/i

/** A query of the driver's, as its client sees it. */
interface DriverQuery {
  readonly name: string | undefined
  readonly text: string
  readonly _result: unknown
  callback: ((error: Error | null, result: any) => void) | undefined
  readonly submit: (connection: DriverConnection) => void
  readonly handleRowDescription: (message: unknown) => void
  readonly handleDataRow: (message: unknown) => void
  readonly handleCommandComplete: (message: unknown, connection: unknown) => void
  readonly handleEmptyQuery: (connection: unknown) => void
  readonly handlePortalSuspended: (connection: unknown) => void
  readonly handleCopyInResponse: (connection: unknown) => void
  readonly handleCopyData: (message: unknown, connection: unknown) => void
  readonly handleError: (error: unknown, connection: unknown) => void
  readonly handleReadyForQuery: (connection: unknown) => void
}

/** What a query of the driver's writes to. */
interface DriverConnection {
  stream: { readonly writable: boolean; readonly write: (chunk: Buffer) => boolean }
  /** The texts of the named statements that the server knows. */
  readonly parsedStatements: Readonly<Record<string, string>>
  readonly parse: (statement: { readonly name: string; readonly text: string }) => void
  readonly bind: (options: { readonly statement: string }) => void
  readonly execute: (options: {}) => void
  sync: () => void
}

/** The driver notes for itself that a statement was parsed, when it hears so. */
const write = (connection: DriverConnection, { name = "", text }: Statement): void => {
  if (name === "" || connection.parsedStatements[name] === undefined) connection.parse({ name, text })
  connection.bind({ statement: name })
  connection.execute({})
}
