/**
 * Rows of all collectors and tenants on their way into ClickHouse, in few large inserts.
 *
 *     add ──▶ [ buffer ] ──▶ definitions ──▶ rows ──▶ marks of roll-up windows ──▶ "stored"
 *              fills while the one before is written
 *
 * The order is what makes an answer true: when a batch is answered, its series are described, its rows are in, and every
 * window that they fall into will be rolled up again. A crash anywhere between means no answer, and the same rows again.
 * An insert that fails is tried again without end. Full: batches are refused with "later", collectors keep them.
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { SeriesInfo } from '../hot/series-registry.ts'
import type { Marks } from '../rollup/marks.ts'
import type { Database } from './clickhouse.ts'
import { ExtraRows } from './extra-rows.ts'
import { InsertLoop } from './insert-loop.ts'
import { insertSeries } from './insert-series.ts'
import { Insistence } from './insistence.ts'
import { RowBuffer, SAMPLE_COLUMNS } from './row-buffer.ts'

export interface StoreOptions {
  readonly database: string
  /** An insert is due when this many rows wait … */
  readonly insertRows: number
  /** … or the oldest waits this long, ms … */
  readonly insertAfterMs: number
  /** … or this long while there are only a few. */
  readonly insertFewAfterMs: number
  /** Most rows that wait; a batch that finds more is refused. */
  readonly rowsMax: number
  readonly clock: Clock
  readonly faults: Faults
  readonly log: Logger
}

/** Where a batch is put. */
export interface Filled {
  readonly rows: RowBuffer
  readonly extras: ExtraRows
  /** Whether the definition of a slot was stored today. */
  readonly isDescribed: (slot: number) => boolean
  readonly describe: (slot: number, series: SeriesInfo) => void
}

/** Rows written by the caller, and what waits for them. */
interface Filling {
  readonly rows: RowBuffer
  readonly extras: ExtraRows
  readonly definitions: Map<number, SeriesInfo>
  readonly waiting: (() => void)[]
  /** When the first batch came, ms of the monotonic clock. */
  readonly since: number
}

const FEW_ROWS = 2000
const ROWS_AT_FIRST = 1024
/** Memory of rows is kept for the next insert up to so many times its usual size. */
const SPARE_INSERTS = 4
const NEVER = 0
const DAY_MS = 86_400_000

export class Store implements Service {
  readonly name = 'store'
  readonly #db: Database
  readonly #marks: Marks
  readonly #options: StoreOptions
  readonly #insistence: Insistence
  readonly #inserts: InsertLoop
  #filling: Filling | undefined
  #writing: Filling | undefined
  /** Day on which the definition of a slot was stored last, days since the epoch. */
  #described: Uint16Array = new Uint16Array(1024)
  /** Memory of rows that were stored, for the next ones. */
  #spare: RowBuffer | undefined
  #counts = { stored: 0, inserts: 0, refused: 0 }

  constructor(db: Database, marks: Marks, options: StoreOptions) {
    this.#db = db
    this.#marks = marks
    this.#options = options
    this.#insistence = new Insistence(options.clock, options.log)
    this.#inserts = new InsertLoop(
      () => this.#pause(),
      () => this.#insert(),
    )
  }

  get counts(): Readonly<{ stored: number; inserts: number; failures: number; refused: number }> {
    return { ...this.#counts, failures: this.#insistence.failures }
  }

  /** Rows that were taken and are not stored yet. */
  get waiting(): number {
    return sizeOf(this.#writing) + sizeOf(this.#filling)
  }

  /** The items among them, by kind in the order of `ITEM_KINDS`. */
  get waitingItems(): number[] {
    const of = (count: (filling: Filling) => number): number =>
      [this.#writing, this.#filling].reduce((sum, filling) => sum + (filling === undefined ? 0 : count(filling)), 0)
    return [
      of((f) => f.rows.count),
      of((f) => f.extras.histograms.length),
      of((f) => f.extras.exemplars.length),
      of((f) => f.extras.metadata.length),
    ]
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

  /**
   * Takes a batch.
   * @param rows how many, of samples and extras
   * @param fill writes them and says which series they are of
   * @returns when everything is stored; undefined when there is no room, and then nothing was taken
   */
  add(rows: number, fill: (into: Filled) => void): Promise<void> | undefined {
    if (this.#inserts.stopped || (rows > 0 && this.waiting > 0 && this.waiting + rows > this.#options.rowsMax)) {
      this.#counts.refused += rows
      return undefined
    }
    if (this.#filling === undefined) {
      this.#filling = {
        rows: this.#spare ?? new RowBuffer(Math.max(rows, ROWS_AT_FIRST)),
        extras: new ExtraRows(),
        definitions: new Map(),
        waiting: [],
        since: this.#options.clock.monotonic(),
      }
      this.#spare = undefined
    }
    const { rows: buffer, extras, definitions, waiting } = this.#filling
    const today = this.#today()
    fill({
      rows: buffer,
      extras,
      isDescribed: (slot) => this.#described[slot] === today,
      describe: (slot, series) => void definitions.set(slot, series),
    })
    const stored = new Promise<void>((resolve) => waiting.push(resolve))
    if (sizeOf(this.#filling) >= this.#options.insertRows) this.#inserts.look()
    return stored
  }

  /** Stores what was taken so far at once. Resolves when it is stored; rejects when nothing is taken any more. */
  async settled(): Promise<void> {
    if (this.waiting === 0) return
    const done = this.add(0, () => {})
    if (done === undefined)
      throw new FleetmeterError('FM_STORAGE', this.#insistence.problem ?? 'The store is full or stopping')
    this.flush()
    await done
  }

  /** Somebody waits: insert at once what is there. */
  flush(): void {
    this.#inserts.flush()
  }

  /** A slot was given back: it may be another series next time. */
  forget(slot: number): void {
    if (slot < this.#described.length) this.#described[slot] = NEVER
  }

  async #insert(): Promise<boolean> {
    const filling = this.#filling
    if (filling === undefined) return false
    this.#filling = undefined
    this.#writing = filling
    const failuresBefore = this.#insistence.failures
    await this.#write(filling)
    this.#writing = undefined
    this.#counts.stored += sizeOf(filling)
    this.#keep(filling.rows, failuresBefore)
    for (const answer of filling.waiting) answer()
    return true
  }

  /** What an attempt that failed was given may still be on its way out of this process: that memory is not used again. */
  #keep(rows: RowBuffer, failuresBefore: number): void {
    if (this.#insistence.failures !== failuresBefore || rows.capacity > SPARE_INSERTS * this.#options.insertRows) return
    rows.clear()
    this.#spare = rows
  }

  /** How long until an insert is worth its price, ms. */
  #pause(): number {
    const { insertRows, insertAfterMs, insertFewAfterMs, clock } = this.#options
    if (this.#filling === undefined) return insertFewAfterMs
    const rows = sizeOf(this.#filling)
    const after = rows >= insertRows ? 0 : rows >= FEW_ROWS ? insertAfterMs : insertFewAfterMs
    // What is few now may be many soon.
    return Math.min(this.#filling.since + after - clock.monotonic(), insertAfterMs)
  }

  async #write({ rows, extras, definitions }: Filling): Promise<void> {
    const { database, faults } = this.#options
    const today = this.#today()
    await this.#insistence.until('definitions', () =>
      insertSeries(this.#db, database, [...definitions.values()], today),
    )
    for (const slot of definitions.keys()) this.#wasDescribed(slot, today)
    if (rows.count > 0)
      await this.#insistence.until('rows', () => this.#db.insert(`${database}.samples`, SAMPLE_COLUMNS, rows.block()))
    for (const { table, columns, block } of await extras.tables())
      await this.#insistence.until(table, () => this.#db.insert(`${database}.${table}`, columns, block))
    faults('store.rows.after')
    await this.#insistence.until('marks', () => this.#marks.afterRows(rows.hours))
    this.#counts.inserts++
  }

  #today(): number {
    return Math.floor(this.#options.clock.now() / DAY_MS)
  }

  #wasDescribed(slot: number, day: number): void {
    if (slot >= this.#described.length) {
      const grown = new Uint16Array(Math.max(2 * this.#described.length, slot + 1))
      grown.set(this.#described)
      this.#described = grown
    }
    this.#described[slot] = day
  }
}

function sizeOf(filling: Filling | undefined): number {
  return filling === undefined ? 0 : filling.rows.count + filling.extras.weight
}
