/**
 * The owner log: every decision about tasks and quotas follows from its records, in their order.
 *
 * What a driver promises: {@link OwnerLog.append} resolves when its records are durable, in one piece and behind all that were appended
 * before; a position is given once, and never again to another record, whatever happens; only one process appends. The file driver
 * (file-log.ts) serves one aggregator; that in PostgreSQL (postgres-log.ts) fences by generation and serves several.
 */
import type { Logger } from '../../proto/runtime/log.ts'

export interface OwnerRecord {
  /** What it is: `event`, or the name that a fold gives to its own. */
  readonly kind: string
  readonly tenant: string
  /** Of its kind: an event's id. */
  readonly key: string
  /** When it came to be, µs since the epoch. */
  readonly at: number
  /** JSON. */
  readonly body: string
}

export interface LoggedRecord extends OwnerRecord {
  /** Position, from 1; may skip numbers. */
  readonly n: number
}

export interface OwnerLog {
  /** Grows at each start. */
  readonly generation: number
  /** Position of the newest record that is durable. */
  readonly end: number
  /** Position before its first record, as it was opened: without a snapshot, what came up to there is not of this log. */
  readonly begin: number
  /** What it cannot do at the moment, for a person. */
  readonly problem: string | undefined

  /**
   * Makes it ready.
   * @param floor positions up to here were given, whatever the log itself still knows
   * @param needed records up to here are needed no more: one that is missing there is no loss
   * @param inTables rows in ClickHouse have positions up to here: where the log ends before that, records were lost, and it goes on behind it
   * @throws FleetmeterError `FM_OWNER_LOG` when it cannot be read
   */
  open(floor: number, needed: number, inTables?: number): Promise<void>
  /**
   * Appends records in one piece, in the order of the calls.
   * @returns position of the first one; the others follow it without a gap
   * @throws FleetmeterError `FM_OWNER_LOG`; then none of them is there, and they may be appended
   *   again; where the disk does not even take that back, they may be there after a restart, so that they must be known by their keys
   */
  append(records: readonly OwnerRecord[]): Promise<number>
  /**
   * Resolves when it is known that at some time after this call nobody else could append: before an answer that no record stands behind.
   * @throws FleetmeterError `FM_OWNER_LOG` where that cannot be known
   */
  confirm(): Promise<void>
  /** Records behind a position, in order, in pieces. @throws FleetmeterError `FM_OWNER_LOG` */
  read(after: number): AsyncIterable<readonly LoggedRecord[]>
  /** Records up to here are needed no more. */
  release(upTo: number): Promise<void>
  close(): Promise<void>
}

/**
 * Records that left no row, such as reservations, may have come behind the last one that did: a log that is behind its rows goes on
 * behind these too.
 */
const UNSEEN_POSITIONS = 1_000_000

/**
 * Rows in ClickHouse are known by positions: one that is given again would replace a row, or be replaced by it.
 * @param end position of the newest record that the log knows of, or knew of
 * @param inTables the largest position of a row
 * @returns behind which position the next record comes
 */
export function behindRows(end: number, inTables: number, log: Logger): number {
  if (inTables <= end) return end
  const position = inTables + UNSEEN_POSITIONS
  log.warn(
    { end, inTables, position },
    'ClickHouse has rows of records that are not in the owner log: it was lost, or is an older copy, or another ClickHouse was given. It goes on behind them. What was used is known from the rows; what was reserved, lent or running by the records that are missing is not',
  )
  return position
}
