/**
 * What of the journal is on its way to an aggregator, and how far it is stored.
 *
 *     0 ──── cursor ──▓▓──── builtFrom ════════ builtTo ──── end of the journal
 *      stored      given out in batches   in the builder    only in the journal ("behind")
 *
 * While the outbox keeps up, samples go from the write that took them straight into the builder. When the aggregator is
 * slow or away the builder reaches its bound: its content is dropped (it is in the journal), the outbox is behind, and
 * batches are made from the journal until its end is reached again.
 */
import type { BatchHeader } from '../../proto/wire/batch.ts'
import { BATCH_SAMPLES_MAX, BatchBuilder } from '../../proto/wire/batch.ts'
import { ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import { decimalExponent, decimalMantissa, RAW_FLOAT } from '../../proto/wire/decimal.ts'
import type { Door } from '../journal/record.ts'
import { DOORS } from '../journal/record.ts'
import type { Extras } from './extras.ts'
import { Progress } from './progress.ts'
import type { PlainSamples } from './reception.ts'
import type { Scratch } from './scratch.ts'
import type { SeriesTable } from './series-table.ts'
import type { KindCounts } from './shard-counts.ts'
import { ACCEPTED } from './verdicts.ts'

/** A batch ready to be sent: the samples (from, to] of the journal. */
export interface OutgoingBatch {
  readonly from: number
  readonly to: number
  readonly samples: number
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** What a batch says of its origin that does not change from one to the next. */
export type BatchOrigin = Pick<BatchHeader, 'collector' | 'session' | 'shard' | 'shards'>

/** Puts the definition of a series into a batch. */
export type DescribeSeries = (series: number, builder: BatchBuilder) => void

/** What waits in memory goes as one batch: beyond so many of the usual size the copy is given up, and the journal read. */
const BATCHES_KEPT = 4
/** A record of the journal is at most about this large as a batch; several may meet in one write. */
const BATCH_BYTES_HUGE = 32 * 1024 * 1024

export class Outbox {
  readonly #origin: BatchOrigin
  readonly #batch: { readonly batchBytes: number; readonly batchSamples: number }
  readonly #builder = new BatchBuilder()
  readonly #progress: Progress
  #builtFrom: number
  #builtTo: number
  #builtDoors = noItems()
  #behind = true
  /** Series of which the builder holds a definition or a start, and the table that numbers them. */
  readonly #said: number[] = []
  #saidOf: SeriesTable | undefined
  /** What was said before is void too, or cannot be told by number. */
  #saidAll = true
  /** Batches given out and not stored, by their first position: how many items of each kind of each door. */
  readonly #sent = new Map<number, { readonly to: number; readonly doors: readonly KindCounts[] }>()

  /**
   * @param cursor everything up to here is stored
   * @param batch a batch is closed at about this size, or this many samples
   */
  constructor(
    origin: BatchOrigin,
    cursor: number,
    batch: { readonly batchBytes: number; readonly batchSamples: number },
  ) {
    this.#origin = origin
    this.#batch = batch
    this.#progress = new Progress(cursor)
    this.#builtFrom = cursor
    this.#builtTo = cursor
  }

  /** Everything up to here is stored. */
  get cursor(): number {
    return this.#progress.cursor
  }

  /** Samples must be read from the journal; those just taken are not to be put here. */
  get behind(): boolean {
    return this.#behind
  }

  /** Where reading goes on. */
  get builtTo(): number {
    return this.#builtTo
  }

  get full(): boolean {
    return this.#builder.bytes >= this.#batch.batchBytes || this.#builder.count >= this.#batch.batchSamples
  }

  /**
   * Called before a write's items are put from memory. The copy is given up when nobody fetches it, and where one batch would
   * be too large: read from the journal, it is cut between records.
   */
  shed(table: SeriesTable, samples: number): void {
    if (this.#behind) return
    if (
      this.#builder.bytes >= BATCHES_KEPT * this.#batch.batchBytes ||
      this.#builder.count + samples > BATCH_SAMPLES_MAX
    )
      this.#fallBehind(table)
  }

  /** Called between the records of a write: one batch of many large ones would be more than anybody takes. */
  shedHuge(table: SeriesTable): void {
    if (!this.#behind && this.#builder.bytes >= BATCH_BYTES_HUGE) this.#fallBehind(table)
  }

  /** Puts sample i of the scratch columns into the batch. @param describe for a series that was not described yet */
  put(table: SeriesTable, scratch: Scratch, i: number, arrival: number, describe: DescribeSeries): void {
    const series = scratch.series[i]!
    this.#describe(table, series, describe)
    if (scratch.hasStarts) this.#start(table, series, scratch.times[i]!, scratch.starts[i] ?? 0, arrival)
    const value = scratch.values[i]!
    const exponent = decimalExponent(value, table.exponent[series]!)
    if (exponent === RAW_FLOAT) {
      this.#builder.float(
        table.ref[series]!,
        scratch.times[i]!,
        arrival,
        scratch.words[2 * i]!,
        scratch.words[2 * i + 1]!,
      )
      return
    }
    table.exponent[series] = exponent
    this.#builder.decimal(table.ref[series]!, scratch.times[i]!, arrival, exponent, decimalMantissa(value, exponent))
  }

  /** Puts the taken ones of samples of the scratch columns into the batch, but for those that are not to be stored themselves. */
  putAll(
    table: SeriesTable,
    scratch: Scratch,
    { start, end, verdicts, drops }: PlainSamples,
    arrival: number,
    describe: DescribeSeries,
  ): void {
    const { series, times, values, words, hasStarts } = scratch
    const { ref: refs, exponent: exponents, described } = table
    const columns = { series, refs, exponents, times, values, words }
    for (let i = start; i < end; ) {
      let next = i
      while (
        next < end &&
        verdicts[next] === ACCEPTED &&
        drops?.[next] !== 1 &&
        described[series[next]!] === 1 &&
        !hasStarts
      )
        next++
      if (next > i) this.#builder.samples(columns, i, next, arrival)
      else if (verdicts[i] === ACCEPTED && drops?.[i] !== 1) this.put(table, scratch, next++, arrival, describe)
      else next++
      i = next
    }
  }

  /** Puts an item that is no sample into the batch. @param tenant of metadata */
  putExtra(
    table: SeriesTable,
    extras: Extras,
    i: number,
    arrival: number,
    tenant: string,
    describe: DescribeSeries,
  ): void {
    const kind = extras.kind(i)
    const message = extras.message(i)
    if (kind === 'metadata') {
      this.#builder.extras.extra({ kind, tenant, arrival, message })
      return
    }
    const series = extras.series[i]!
    this.#describe(table, series, describe)
    this.#builder.extras.extra({ kind, ref: table.ref[series]!, time: extras.times[i]!, arrival, message })
  }

  #describe(table: SeriesTable, series: number, describe: DescribeSeries): void {
    if (table.described[series] === 1) return
    table.described[series] = 1
    this.#note(table, series)
    describe(series, this.#builder)
  }

  /** Of a series something is in the builder that is nowhere else. */
  #note(table: SeriesTable, series: number): void {
    if (table !== this.#saidOf) {
      // Its numbers are others: should the builder's content be given up, everything is said again.
      this.#saidAll = this.#said.length > 0
      this.#said.length = 0
      this.#saidOf = table
    }
    this.#said.push(series)
  }

  /** Says since when a series counts, where that was not said or is another time than was said last. */
  #start(table: SeriesTable, series: number, time: number, since: number, arrival: number): void {
    const said = table.startOf(series)
    if (since === said.since && time >= said.from) return
    if (since === 0 && said.since === 0) return
    table.setStart(series, since, time)
    this.#note(table, series)
    this.#builder.extras.start({ ref: table.ref[series]!, from: time, since, arrival })
  }

  /** A record that is stored already: after a rewind, the batch reaches over it without its samples. */
  passes(from: number, to: number): boolean {
    if (!this.#progress.has(from, to)) return false
    this.#builtTo = to
    return true
  }

  /** The items of a record were put: the batch now reaches to `to`. */
  reach(door: Door, kinds: KindCounts, to: number): void {
    const built = this.#builtDoors[DOORS.indexOf(door)]!
    for (const i of built.keys()) built[i]! += kinds[i]!
    this.#builtTo = to
  }

  /** The journal's end is reached: from now on samples come from memory. */
  caughtUp(end: number): void {
    this.#behind = false
    this.#builtTo = end
  }

  /**
   * Closes the batch, or answers undefined when there is nothing in it.
   * @param watermark everything that arrived before this time (ms) is in this batch or an earlier one; 0 when not known
   */
  cut(watermark: number, urgent: boolean): OutgoingBatch | undefined {
    if (this.#builtTo === this.#builtFrom) return undefined
    const from = this.#builtFrom
    const to = this.#builtTo
    const samples = this.#builder.count + this.#builder.extras.count
    const bytes = this.#builder.finish({ ...this.#origin, from, to, cursor: this.cursor, now: watermark, urgent })
    this.#sent.set(from, { to, doors: this.#builtDoors })
    this.#said.length = 0
    this.#saidAll = false
    this.#builtDoors = noItems()
    this.#builtFrom = to
    return { from, to, samples, bytes }
  }

  /** A batch without samples, so that an aggregator knows how far an idle shard is. */
  sign(watermark: number): OutgoingBatch {
    const at = this.#builtFrom
    const header = { ...this.#origin, from: at, to: at, cursor: this.cursor, now: watermark, urgent: false }
    return { from: at, to: at, samples: 0, bytes: new BatchBuilder().finish(header) }
  }

  /** An aggregator has stored (from, to]. Calls `count` with how many items of each door that settles. */
  stored(from: number, to: number, count: (door: Door, kinds: KindCounts) => void): void {
    this.#progress.stored(from, to)
    const sent = this.#sent.get(from)
    if (sent?.to !== to) return
    this.#sent.delete(from)
    for (const [i, door] of DOORS.entries()) count(door, sent.doors[i]!)
  }

  /** Batches from here on cannot be sent as they are: they are made again. Answers to them must not be reported any more. */
  rewind(from: number, table: SeriesTable): void {
    for (const first of this.#sent.keys()) if (first >= from) this.#sent.delete(first)
    this.#builtFrom = Math.min(this.#builtFrom, from)
    this.#saidAll = true
    this.#fallBehind(table)
  }

  /** Gives up the copy in memory; definitions in it are given again with the samples. */
  #fallBehind(table: SeriesTable): void {
    this.#builder.clear()
    this.#builtDoors = noItems()
    this.#builtTo = this.#builtFrom
    if (this.#saidAll || table !== this.#saidOf) {
      table.described.fill(0)
      table.forgetStarts()
    } else {
      for (const series of this.#said) {
        table.described[series] = 0
        table.forgetStart(series)
      }
    }
    this.#said.length = 0
    this.#saidAll = false
    this.#behind = true
  }
}

function noItems(): number[][] {
  return DOORS.map(() => ITEM_KINDS.map(() => 0))
}
