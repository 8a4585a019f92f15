/**
 * The owner log: every decision about tasks and quotas follows from its records, in their order.
 *
 * What a driver promises: {@link OwnerLog.append} resolves when its records are durable, in one piece and behind all that were appended
 * before; a position is given once, and never again to another record, whatever happens; only one process appends. The file driver
 * (file-log.ts) serves one aggregator; that in PostgreSQL (postgres-log.ts) fences by generation and serves several.
 */

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
  /** What it cannot do at the moment, for a person. */
  readonly problem: string | undefined

  /**
   * Makes it ready.
   * @param floor positions up to here were given, whatever the log itself still knows
   * @param needed records up to here are needed no more: one that is missing there is no loss
   * @throws FleetmeterError `FM_OWNER_LOG` when it cannot be read
   */
  open(floor: number, needed: number): Promise<void>
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
