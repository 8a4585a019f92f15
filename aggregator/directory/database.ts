/**
 * The database of operational records, whichever it is: PostgreSQL, or PGlite in a thread of this process. Both speak the same SQL,
 * with parameters as $1, $2, …; every query has an end.
 */

export type Row = Readonly<Record<string, unknown>>

export interface Queries {
  /** @throws FleetmeterError `FM_DATABASE`, retryable, with `fields.sqlState` where the database refused it */
  query(sql: string, parameters?: readonly unknown[]): Promise<readonly Row[]>
}

export interface OperationalDatabase extends Queries {
  /** For people: `PostgreSQL at db:5432`, `PGlite`. */
  readonly name: string
  /** Whether other processes change it too. */
  readonly shared: boolean
  /** There is nothing in it yet, and to open it makes it. */
  readonly unmade: boolean
  /** Opens it. @throws FleetmeterError */
  open(): Promise<void>
  /**
   * Several queries as one: all of them stay, or none. One at a time in this process where the database knows only one.
   * When it rejects after the last query, whether they stay is not known.
   */
  transaction<T>(work: (queries: Queries) => Promise<T>): Promise<T>
  close(): Promise<void>
}
