/**
 * A shard without its thread: everything that decides what becomes of a sample, from the body to the batch.
 *
 *     take:  decode ─▶ judge ─▶ journal ─▶ apply (counters, outbox) ─▶ answer
 *     tick:  what is stored ─▶ cursor;  sync;  batches out of the outbox
 *
 * Nothing is applied before it is in the journal: where the append fails, the last values are put back, and the answer is
 * "retry". The core is synchronous and knows no clock; a test drives it through any crash.
 */
import { join } from 'node:path'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Faults } from '../../proto/runtime/fault.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { ok, reject, retry } from '../../proto/runtime/outcome.ts'
import type { SeriesDefinition } from '../../proto/wire/batch.ts'
import { encodeDefinitions } from '../../proto/wire/batch.ts'
import type { PointRejection } from '../../proto/wire/metric-batch.ts'
import { MetricBatchError } from '../../proto/wire/metric-batch.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { Files } from '../journal/files.ts'
import { Journal } from '../journal/journal.ts'
import type { Door, JournalRecord } from '../journal/record.ts'
import { decodeVerdict, encodeVerdict } from '../journal/verdict.ts'
import type { BodyDecoder, BodyReport, SeriesLimits } from './body-decoder.ts'
import { KEYS_PER_SERIES, labelsOfKey, PortableDecoder, seriesText } from './body-decoder.ts'
import { CursorFile } from './cursor-file.ts'
import { Judge } from './judge.ts'
import type { BatchOrigin, OutgoingBatch } from './outbox.ts'
import { Outbox } from './outbox.ts'
import type { Refusal } from './refusals.ts'
import { REFUSAL_CODES } from './refusals.ts'
import { Scratch } from './scratch.ts'
import { SeriesTable } from './series-table.ts'
import { ShardCounts } from './shard-counts.ts'

export interface ShardOptions {
  readonly directory: string
  readonly origin: BatchOrigin
  /** 0-999: last digits of every arrival, different for every writer of this collector. */
  readonly writer: number
  readonly limits: SeriesLimits
  /** A sample may be this much ahead of our clock, and this old, ms. */
  readonly futureMaxMs: number
  readonly lateMaxMs: number
  readonly journalBytesMax: number
  readonly segmentBytes: number
  /** Sync before every answer instead of once a second. */
  readonly syncEveryWrite: boolean
  /** A batch is closed at about this size, bytes. */
  readonly batchBytes: number
  readonly batchSamples: number
  /** Seed of the hash table. */
  readonly seed: number
}

/** A body on its way in. */
export interface IncomingBody {
  readonly door: Door
  readonly tenant: string
  /** Credential and address, as a short hash; `host` for this host's own figures. */
  readonly sender: string
  readonly body: Uint8Array
}

/** What became of a body's samples. */
export interface Taken {
  readonly samples: number
  readonly accepted: number
  readonly duplicate: number
  readonly replaced: number
  /** By reason: how many, which samples of the body (the first hundred), and one of them in words. */
  readonly refused: readonly {
    readonly reason: Refusal
    readonly count: number
    readonly items: readonly number[]
    readonly example: string
  }[]
  readonly extras: BodyReport['extras']
  /** The first hundred. */
  readonly badPoints: readonly PointRejection[]
}

export interface Tick {
  /** Wall clock, ms. */
  readonly now: number
  /** Ranges that aggregators have stored since the last tick. */
  readonly stored: readonly { readonly from: number; readonly to: number }[]
  /** How many batches and bytes the sender has room for. */
  readonly roomBatches: number
  readonly roomBytes: number
  /** The process is stopping: batches say that they are waited for. */
  readonly urgent: boolean
}

const MICROS = 1000
const SYNC_EVERY_MS = 1000
/** An idle shard says how far it is this often. */
const SIGN_OF_LIFE_MS = 5000
/** Last values are restored from this much of the journal's end: they only save sending repeats. */
const REPLAY_BYTES = 16 * 1024 * 1024
/** A series that sent nothing for this long may be forgotten when the table is nearly full, looked at once in a while. */
const IDLE_SERIES_MS = 600_000
const COMPACT_EVERY_MS = 60_000
const EXAMPLE_LABELS_MAX = 4

export class ShardCore {
  readonly counts: ShardCounts = new ShardCounts()
  readonly #options: ShardOptions
  readonly #files: Files
  readonly #faults: Faults
  readonly #journal: Journal
  readonly #outbox: Outbox
  readonly #scratch = new Scratch()
  readonly #judge: Judge
  readonly #decoder: BodyDecoder
  readonly #cursorFile: CursorFile
  #table: SeriesTable
  readonly #tenants: string[] = []
  #lastAtMs: number
  #lastSync = 0
  #lastBatch = 0
  #cursorWritten: number
  #cursorWrittenAt = 0
  #compactedAt = 0
  #state: string | undefined

  /**
   * Opens the shard's directory and replays its journal.
   * @throws FleetmeterError when the directory cannot be used
   */
  constructor(files: Files, options: ShardOptions, faults: Faults = () => {}) {
    this.#files = files
    this.#options = options
    this.#faults = faults
    this.#cursorFile = new CursorFile(files, join(options.directory, 'cursor'))
    this.#table = new SeriesTable(options.seed)
    this.#judge = new Judge(this.#scratch)
    this.#decoder = new PortableDecoder(this.#table, this.#scratch, portableSnappy, options.limits)
    const hint = this.#cursorFile.read()
    const recent = new RecentRecords(REPLAY_BYTES)
    let firstKept: number | undefined
    this.#journal = Journal.open(files, journalOptions(options), hint?.position, (record) => {
      firstKept ??= record.position
      recent.push(record)
      if (record.position >= (hint?.position ?? 0)) this.counts.recovered(record.door, record.count)
    })
    this.#cursorWritten = Math.min(hint?.position ?? firstKept ?? this.#journal.end, this.#journal.end)
    this.#outbox = new Outbox(options.origin, this.#cursorWritten, options)
    this.#lastAtMs = Math.floor(Math.max(this.#journal.lastAt, hint?.at ?? 0) / MICROS)
    this.#reserveCursor()
    for (const record of recent.records) this.#restoreLastValues(record)
  }

  get journal(): Pick<Journal, 'bytes' | 'segments' | 'end' | 'recovery'> {
    return this.#journal
  }

  get cursor(): number {
    return this.#outbox.cursor
  }

  get series(): number {
    return this.#table.count
  }

  /** The latest arrival that was given out, ms. */
  get lastAt(): number {
    return this.#lastAtMs
  }

  /** Why the shard cannot keep anything at the moment; undefined when it can. */
  get state(): string | undefined {
    return this.#state
  }

  /** There is enough for a batch: a tick is due. */
  get due(): boolean {
    return this.#outbox.behind || this.#outbox.full
  }

  /**
   * Takes bodies in one write. They share one arrival, so of two values for one instant only the later is kept.
   * @param now wall clock, ms
   */
  take(now: number, bodies: readonly IncomingBody[]): Outcome<Taken>[] {
    this.#forgetIdleSeries(now)
    this.#scratch.count = 0
    const decoded = bodies.map((body) => this.#decode(body))
    this.#judge.judge(this.#table, { oldest: now - this.#options.lateMaxMs, newest: now + this.#options.futureMaxMs })
    const at = Math.max(now, this.#lastAtMs + 1)
    const records = this.#recordsOf(decoded, at * MICROS + this.#options.writer)
    const failure = records.length === 0 ? undefined : this.#append(records)
    if (failure !== undefined) {
      this.#judge.undo(this.#table)
      return decoded.map((d) => d.outcome ?? failure)
    }
    for (const { incoming, start, end, outcome } of decoded) {
      if (outcome === undefined) this.#judge.count(start, end, this.counts.door(incoming.door))
      else this.counts.undecodable(incoming.door)
    }
    if (records.length > 0) this.#apply(records, at)
    return decoded.map((d) => d.outcome ?? ok(this.#answer(d)))
  }

  /** What is stored moves the cursor; then as many batches as there is room for. */
  tick(tick: Tick): OutgoingBatch[] {
    this.#scratch.release()
    this.#judge.release()
    for (const { from, to } of tick.stored)
      this.#outbox.stored(from, to, (door, samples) => this.counts.stored(door, samples))
    this.#sync(tick.now)
    this.#moveCursor(tick.now)
    const batches: OutgoingBatch[] = []
    let bytes = 0
    while (batches.length < tick.roomBatches && bytes < tick.roomBytes) {
      if (this.#outbox.behind) this.#refill()
      // While behind, what has come already is not all in this batch. What comes later gets a later arrival.
      const watermark = this.#outbox.behind ? 0 : tick.now
      this.#lastAtMs = Math.max(this.#lastAtMs, watermark)
      const batch = this.#outbox.cut(watermark, tick.urgent)
      if (batch === undefined) break
      batches.push(batch)
      bytes += batch.bytes.length
    }
    if (batches.length > 0) this.#lastBatch = tick.now
    else if (tick.roomBatches > 0 && !this.#outbox.behind && Math.abs(tick.now - this.#lastBatch) >= SIGN_OF_LIFE_MS) {
      this.#lastBatch = tick.now
      batches.push(this.#outbox.sign(tick.now))
    }
    return batches
  }

  /** Makes the batches from a position on again; answers to those given out must not be reported any more. */
  rewind(from: number): void {
    this.#outbox.rewind(from, this.#table)
  }

  /** Definitions for references that an aggregator does not know, as a section of a batch; those that we forgot are missing. */
  describe(refs: readonly number[]): { readonly found: number; readonly section: Uint8Array<ArrayBuffer> } {
    const wanted = new Set(refs)
    const found: SeriesDefinition[] = []
    for (let series = 0; series < this.#table.count; series++) {
      if (wanted.has(this.#table.ref[series]!)) found.push(this.#define(series))
    }
    return { found: found.length, section: encodeDefinitions(found) }
  }

  /** Syncs, writes the cursor and closes the files. What is not stored stays in the journal. */
  close(now: number): void {
    this.#lastSync = 0
    this.#cursorWrittenAt = 0
    this.#sync(now)
    this.#moveCursor(now)
    this.#journal.close()
  }

  /** While there is room: the cursor must be writable when the journal has filled the disk. */
  #reserveCursor(): void {
    try {
      this.#cursorFile.reserve()
    } catch (error) {
      this.#state = `Cannot write the cursor "${this.#cursorFile.path}": ${messageOf(error)}`
      this.counts.cursorFailures++
    }
  }

  #decode(incoming: IncomingBody): Decoded {
    const start = this.#scratch.count
    try {
      const report = this.#decoder.decode(incoming.door, this.#tenantNumber(incoming.tenant), incoming.body, false)
      return { incoming, start, end: this.#scratch.count, report, outcome: undefined }
    } catch (error) {
      this.#scratch.count = start
      return { incoming, start, end: start, report: NO_REPORT, outcome: undecodable(error) }
    }
  }

  /** One record for each body of which something is accepted. */
  #recordsOf(decoded: readonly Decoded[], at: number): JournalRecord[] {
    const records: JournalRecord[] = []
    let position = this.#journal.end
    for (const { incoming, start, end } of decoded) {
      const count = this.#judge.accepted(start, end)
      if (count === 0) continue
      const verdict = encodeVerdict(end - start, (item) => this.#judge.isAccepted(start + item))
      records.push({ position, count, at, door: incoming.door, tenant: incoming.tenant, verdict, body: incoming.body })
      position += count
    }
    return records
  }

  #append(records: readonly JournalRecord[]): Outcome<never> | undefined {
    try {
      this.#faults('journal.append.before')
      this.#journal.append(records)
      if (this.#options.syncEveryWrite) this.#journal.sync()
      this.#faults('journal.append.after')
      this.#state = undefined
      return undefined
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#state = error.message
      this.counts.appendFailures++
      return retry(error.code === 'FM_JOURNAL_FULL' ? 'disk_full' : 'disk_error', error.message)
    }
  }

  /** What follows from the append; the last values were set by the judge. */
  #apply(records: readonly JournalRecord[], atMs: number): void {
    this.#lastAtMs = atMs
    this.#outbox.shed(this.#table, this.#scratch.count)
    const arrival = records[0]!.at
    for (let i = 0; i < this.#scratch.count; i++) {
      if (!this.#judge.isAccepted(i)) continue
      this.#table.usedAt[this.#scratch.series[i]!] = atMs
      if (!this.#outbox.behind) this.#outbox.put(this.#table, this.#scratch, i, arrival, this.#define)
    }
    if (this.#outbox.behind) return
    for (const record of records) this.#outbox.reach(record.door, record.count, record.position + record.count)
  }

  /** Reads the journal into the outbox until that has enough for a batch, or the journal has no more. */
  #refill(): void {
    while (!this.#outbox.full) {
      const [record] = this.#journal.read(this.#outbox.builtTo, 1)
      if (record === undefined) {
        this.#outbox.caughtUp(this.#journal.end)
        return
      }
      const end = record.position + record.count
      if (this.#outbox.passes(record.position, end)) continue
      this.#replay(record, (i) => this.#outbox.put(this.#table, this.#scratch, i, record.at, this.#define))
      this.#outbox.reach(record.door, record.count, end)
    }
  }

  #restoreLastValues(record: JournalRecord): void {
    const table = this.#table
    this.#replay(record, (i) => {
      const { series, times, words } = this.#scratch
      const s = series[i]!
      table.usedAt[s] = record.at / MICROS
      if (times[i]! < table.lastTime[s]!) return
      table.lastTime[s] = times[i]!
      table.lastWords[2 * s] = words[2 * i]!
      table.lastWords[2 * s + 1] = words[2 * i + 1]!
    })
  }

  /** Visits the accepted samples of a record, by its verdict. Only used between writes: the columns are free then. */
  #replay(record: JournalRecord, visit: (item: number) => void): void {
    this.#scratch.count = 0
    try {
      this.#decoder.decode(record.door, this.#tenantNumber(record.tenant), record.body, true)
      const taken = new Uint8Array(this.#scratch.count)
      decodeVerdict(record.verdict, taken)
      for (let i = 0; i < taken.length; i++) if (taken[i] === 1 && this.#scratch.series[i]! >= 0) visit(i)
    } catch {
      // Sound by its checksum, and yet not readable by this version: kept for a person, counted, passed over. Whatever is
      // wrong with it, the records behind it must not wait for ever.
      this.#files.write(join(this.#options.directory, 'quarantine', `record-${record.position}.bin`), record.body)
      this.counts.unreadable += record.count
    }
  }

  #sync(now: number): void {
    if (Math.abs(now - this.#lastSync) < SYNC_EVERY_MS) return
    this.#lastSync = now
    try {
      this.#journal.sync()
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      this.#state = error.message
      this.counts.syncFailures++
    }
  }

  /** Writes the cursor, then removes what lies before it: in this order, so that it never points before what is kept. */
  #moveCursor(now: number): void {
    const position = this.#outbox.cursor
    if (position === this.#cursorWritten || Math.abs(now - this.#cursorWrittenAt) < SYNC_EVERY_MS) return
    this.#cursorWrittenAt = now
    this.#faults('cursor.before')
    try {
      this.#cursorFile.write({ position, at: this.#lastAtMs * MICROS + MICROS - 1 })
      this.#cursorWritten = position
      this.#journal.release(position)
      this.#state = undefined // the disk takes writes again, and there is room
    } catch (error) {
      this.#state = `Cannot write the cursor "${this.#cursorFile.path}": ${messageOf(error)}`
      this.counts.cursorFailures++
    }
  }

  /** Between writes only: numbers of series change. */
  #forgetIdleSeries(now: number): void {
    const { seriesMax } = this.#options.limits
    const full = this.#table.count >= seriesMax * 0.9 || this.#table.entries >= seriesMax * KEYS_PER_SERIES
    if (!full || now - this.#compactedAt < COMPACT_EVERY_MS) return
    this.#compactedAt = now
    this.#table = this.#table.retain(now - IDLE_SERIES_MS)
    this.#decoder.table = this.#table
  }

  readonly #define = (series: number): SeriesDefinition => {
    const { name, labels } = labelsOfKey(this.#table.keyOf(series))
    return {
      ref: this.#table.ref[series]!,
      tenant: this.#tenants[this.#table.tenantOf(series)]!,
      id: this.#table.idOf(series),
      name,
      labels,
    }
  }

  #tenantNumber(tenant: string): number {
    const known = this.#tenants.indexOf(tenant)
    return known >= 0 ? known : this.#tenants.push(tenant) - 1
  }

  #answer(d: Decoded): Taken {
    const tally = this.#judge.tally(d.start, d.end)
    const { accepted, duplicate, replaced } = tally
    const refused = [...tally.refused].map(([reason, { count, items }]) => ({
      reason: REFUSAL_CODES[reason]!,
      count,
      items: items.map((item) => item - d.start),
      example: this.#example(items[0]!),
    }))
    return {
      samples: d.end - d.start,
      accepted,
      duplicate,
      replaced,
      refused,
      extras: d.report.extras,
      badPoints: d.report.badPoints,
    }
  }

  /** A refused sample in words: its series where that is known, and its time. */
  #example(item: number): string {
    const time = `timestamp ${this.#scratch.times[item]}`
    const series = this.#scratch.series[item]!
    if (series < 0) return time
    const { name, labels } = labelsOfKey(this.#table.keyOf(series))
    return `${seriesText(name, labels.slice(0, EXAMPLE_LABELS_MAX))}, ${time}`
  }
}

interface Decoded {
  readonly incoming: IncomingBody
  /** Its samples are [start, end) of the scratch columns. */
  readonly start: number
  readonly end: number
  readonly report: BodyReport
  /** Set when the body as a whole is refused. */
  readonly outcome: Outcome<never> | undefined
}

/** The last records of a journal, up to a number of bytes. */
class RecentRecords {
  readonly records: JournalRecord[] = []
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  push(record: JournalRecord): void {
    this.records.push(record)
    this.#bytes += record.body.length
    while (this.#bytes > this.#bytesMax) this.#bytes -= this.records.shift()!.body.length
  }
}

const NO_REPORT: BodyReport = { extras: { exemplar: 0, histogram: 0, metadata: 0 }, badPoints: [] }

function journalOptions(options: ShardOptions): Parameters<typeof Journal.open>[1] {
  return {
    directory: options.directory,
    quarantine: join(options.directory, 'quarantine'),
    writer: `${options.origin.collector}/${options.origin.shard}`,
    segmentBytes: options.segmentBytes,
    bytesMax: options.journalBytesMax,
  }
}

function undecodable(error: unknown): Outcome<never> {
  if (error instanceof MetricBatchError) return reject(error.status === 422 ? 'invalid' : 'undecodable', error.message)
  if (error instanceof WireError) return reject(error.code === 'too_large' ? 'too_large' : 'undecodable', error.message)
  throw error
}
