/** State that follows from the owner log: tasks, quotas, prices. */
import type { LoggedRows } from '../store/record-store.ts'
import type { LoggedRecord, OwnerRecord } from './owner-log.ts'

/**
 * Appends records of a fold's own. They are durable and have been applied, by every fold, when it resolves.
 * @returns position of the first
 * @throws FleetmeterError `FM_OWNER_LOG`; then none of them is in the log
 */
export type Append = (records: readonly OwnerRecord[]) => Promise<number>

/**
 * A record, and what its text says, which is read once however many folds look at it. The value of a record of kind `event` is a
 * `ReceivedEvent`.
 */
export interface AppliedRecord extends LoggedRecord {
  readonly value: unknown
}

export interface Fold {
  /** Of its part of a snapshot. */
  readonly name: string
  /**
   * The next record: each one that there is, in order, after it is durable, in one turn of the event loop. State follows from records
   * alone, no clock and no chance, so that a replay makes the same one. A record that it cannot use it passes over: what it throws is
   * counted, and the next record comes.
   */
  apply(record: AppliedRecord): void
  /** What goes into tables for a record, after it was applied; the same each time it is asked. */
  rows?(record: AppliedRecord): LoggedRows
  /** Rows of records up to here are in ClickHouse: nobody asks for them again. */
  stored?(upTo: number): void
  /** All of its state, as JSON; of the moment: nothing in it may change afterwards. */
  snapshot(): unknown
  /** The state that a snapshot had, before the first record is applied. */
  restore(state: unknown): void
  /** The replay is over: from now on it may append, from a clock or a request too. */
  begin?(append: Append): void
}
