/**
 * The database of operational records, whichever it is: PostgreSQL, or PGlite in a thread of this process. Both speak the same SQL,
 * with parameters as $1, $2, …; every query has an end.
 */

import { FleetmeterError } from '../../proto/runtime/errors.ts'

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

/** SQLSTATE: connection broken, too many of them, shutting down, crashed, starting up. */
const PASSING = /^(08|53300$|57P0[1235]$)/

/** Whether the server is away for the moment: what it refuses otherwise, it refuses again. */
export function isAway(error: unknown): boolean {
  if (!(error instanceof FleetmeterError) || error.code !== 'FM_DATABASE') return false
  const { sqlState } = error.fields
  return sqlState === undefined || PASSING.test(String(sqlState))
}
