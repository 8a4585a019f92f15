/**
 * Whole records (events, dead letters, usage, tasks) on their way into ClickHouse.
 *
 *     add ───────▶ [ buffer ] ──▶ insert into each table ──▶ answers
 *     addLogged ─▶   fills while the one before is written ──▶ U: every row of the owner log up to here is in
 *
 * Rows of log records come in the log's order, and buffers are written one after the other, so that U is the last position of the
 * newest buffer that is in. An insert that fails is tried again without end: what it holds was not answered, or is in the log.
 */
import type { ReceivedLetter } from '../../proto/events/event.ts'
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { Database } from './clickhouse.ts'
import { InsertLoop } from './insert-loop.ts'
import { Insistence } from './insistence.ts'
import type { EventRow, TaskRow, UsageRow } from './record-rows.ts'
import { DEAD_LETTERS, EVENTS, TASKS, USAGE } from './record-rows.ts'
import { TableRows } from './table-rows.ts'

export interface RecordStoreOptions {
  readonly database: string
  /** An insert is due when this many rows wait … */
  readonly insertRows: number
  /** … or the oldest waits this long, ms. */
  readonly insertAfterMs: number
  /** Most bytes of text in rows that wait, and in what the log has of them. */
  readonly bytesMax: number
  readonly clock: Clock
  readonly faults: Faults
  readonly log: Logger
}

/** Rows that a record of the owner log makes. */
export interface LoggedRows {
  readonly events?: readonly EventRow[]
  readonly usage?: readonly UsageRow[]
  readonly tasks?: readonly TaskRow[]
}

interface Filling {
  readonly events: TableRows<EventRow>
  readonly letters: TableRows<ReceivedLetter>
  readonly usage: TableRows<UsageRow>
  readonly tasks: TableRows<TaskRow>
  readonly waiting: (() => void)[]
  /** When the first row came, ms of the monotonic clock. */
  since: number
  /** Every row of log records up to this position is here, or in an earlier buffer. */
  upTo: number
  bytes: number
}

/** What a row costs besides its text. */
const ROW_BYTES = 200
/** Memory of rows is kept for the next ones up to this. */
const SPARE_BYTES_MAX = 64 * 1024 * 1024

export class RecordStore implements Service {
  readonly name = 'records'
  readonly #db: Database
  readonly #options: RecordStoreOptions
  readonly #insistence: Insistence
  readonly #inserts: InsertLoop
  #filling: Filling | undefined
  #writing: Filling | undefined
  #spare: Filling | undefined
  #storedUpTo = 0
  #onStored: (upTo: number) => void = () => {}
  #counts = { rows: 0, inserts: 0 }

  constructor(db: Database, options: RecordStoreOptions) {
    this.#db = db
    this.#options = options
    this.#insistence = new Insistence(options.clock, options.log)
    this.#inserts = new InsertLoop(
      () => this.#pause(),
      () => this.#insert(),
    )
  }

  get counts(): Readonly<{ rows: number; inserts: number; failures: number }> {
    return { ...this.#counts, failures: this.#insistence.failures }
  }

  /** U: every row of the owner log's records up to this position is in ClickHouse. */
  get storedUpTo(): number {
    return this.#storedUpTo
  }

  get waitingBytes(): number {
    return (this.#writing?.bytes ?? 0) + (this.#filling?.bytes ?? 0)
  }

  get waitingRows(): number {
    return rowsOf(this.#writing) + rowsOf(this.#filling)
  }

  /** Whether so many bytes more may wait. One batch always may. */
  hasRoom(bytes: number): boolean {
    const waiting = this.waitingBytes
    return !this.#inserts.stopped && (waiting === 0 || waiting + bytes <= this.#options.bytesMax)
  }

  async start(): Promise<void> {
    this.#inserts.start()
  }

  stop(deadline: AbortSignal): Promise<void> {
    return this.#inserts.stop(deadline)
  }

  health(): Health {
    return this.#insistence.problem === undefined ? { ready: true } : { ready: false, detail: this.#insistence.problem }
  }

  /** Begins with a log whose rows up to U are in. @param onStored told when U has grown */
  follow(storedUpTo: number, onStored: (upTo: number) => void): void {
    // Rows of an earlier follower that still wait say nothing of this one's.
    for (const waiting of [this.#filling, this.#writing]) if (waiting !== undefined) waiting.upTo = 0
    this.#storedUpTo = storedUpTo
    this.#onStored = onStored
  }

  /** Takes rows that nobody else keeps. Resolves when they are stored. */
  add(events: readonly EventRow[], letters: readonly ReceivedLetter[]): Promise<void> {
    const filling = this.#begin()
    for (const row of events) appendEvent(filling, row)
    for (const letter of letters) {
      filling.letters.append(letter)
      filling.bytes += ROW_BYTES + letter.dead.raw.length + letter.dead.reason.length
    }
    this.#look(filling)
    return new Promise((resolve) => filling.waiting.push(resolve))
  }

  /** Takes the rows of the record at position n of the owner log, which keeps them until U is there. */
  addLogged(n: number, { events = [], usage = [], tasks = [] }: LoggedRows): void {
    const filling = this.#begin()
    for (const row of events) appendEvent(filling, row)
    for (const row of usage) filling.usage.append(row)
    for (const row of tasks) {
      filling.tasks.append(row)
      filling.bytes += row.details.length
    }
    filling.bytes += ROW_BYTES * (usage.length + tasks.length)
    filling.upTo = n
    this.#look(filling)
  }

  /** Resolves when everything that was taken so far is stored. */
  async settled(): Promise<void> {
    if (this.#filling === undefined && this.#writing === undefined) return
    const filling = this.#begin()
    const done = new Promise<void>((resolve) => filling.waiting.push(resolve))
    this.flush()
    await done
  }

  /** Somebody waits: insert at once what is there. */
  flush(): void {
    this.#inserts.flush()
  }

  #begin(): Filling {
    if (this.#filling !== undefined) return this.#filling
    const filling = this.#spare ?? {
      events: new TableRows(EVENTS),
      letters: new TableRows(DEAD_LETTERS),
      usage: new TableRows(USAGE),
      tasks: new TableRows(TASKS),
      waiting: [],
      since: 0,
      upTo: 0,
      bytes: 0,
    }
    this.#spare = undefined
    filling.since = this.#options.clock.monotonic()
    filling.upTo = 0
    filling.bytes = 0
    this.#filling = filling
    return filling
  }

  #look(filling: Filling): void {
    // Half of what may wait: the other half may come while this one is written.
    if (rowsOf(filling) >= this.#options.insertRows || filling.bytes * 2 >= this.#options.bytesMax) this.flush()
  }

  async #insert(): Promise<boolean> {
    const filling = this.#filling
    if (filling === undefined) return false
    this.#filling = undefined
    this.#writing = filling
    const { failures } = this.#insistence
    await this.#write(filling)
    this.#writing = undefined
    this.#counts.inserts++
    this.#counts.rows += rowsOf(filling)
    if (filling.upTo > this.#storedUpTo) {
      this.#storedUpTo = filling.upTo
      this.#onStored(filling.upTo)
    }
    for (const answer of filling.waiting.splice(0)) answer()
    // What an attempt that failed was given may still be on its way out of this process: that memory is not used again.
    if (failures === this.#insistence.failures && filling.bytes <= SPARE_BYTES_MAX) this.#spare = emptied(filling)
    return true
  }

  /** How long until an insert is due, ms. */
  #pause(): number {
    const { insertAfterMs, clock } = this.#options
    return this.#filling === undefined ? insertAfterMs : this.#filling.since + insertAfterMs - clock.monotonic()
  }

  async #write({ events, letters, usage, tasks }: Filling): Promise<void> {
    for (const rows of [events, letters, usage, tasks])
      if (rows.count > 0)
        await this.#insistence.until(rows.table, () =>
          this.#db.insert(`${this.#options.database}.${rows.table}`, rows.names, rows.block()),
        )
    this.#options.faults('events.rows.after')
  }
}

function appendEvent(filling: Filling, row: EventRow): void {
  filling.events.append(row)
  filling.bytes += ROW_BYTES + row.json.length
}

function rowsOf(filling: Filling | undefined): number {
  if (filling === undefined) return 0
  return filling.events.count + filling.letters.count + filling.usage.count + filling.tasks.count
}

function emptied(filling: Filling): Filling {
  for (const rows of [filling.events, filling.letters, filling.usage, filling.tasks]) rows.clear()
  return filling
}
