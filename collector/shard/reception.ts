/**
 * From bodies to decisions, and from journal records back to items: what a shard knows about what it takes.
 *
 *     bodies ──▶ decode ──▶ columns ──▶ judge ──▶ records for the journal ──▶ (appended) commit, or undo
 *     record ──▶ decode ──▶ columns ──▶ its verdict ──▶ visitor
 *
 * The columns are used again for each write and each record: only one is in hand at a time.
 */
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { reject, retry } from '../../proto/runtime/outcome.ts'
import type { BatchBuilder, SeriesDefinition } from '../../proto/wire/batch.ts'
import type { ItemKind } from '../../proto/wire/batch-extras.ts'
import { EXTRA_KINDS, ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import { grown } from '../../proto/wire/grown.ts'
import { LabelBlock } from '../../proto/wire/label-block.ts'
import { readMetadata } from '../../proto/wire/metadata.ts'
import type { PointRejection } from '../../proto/wire/metric-batch.ts'
import { MetricBatchError } from '../../proto/wire/metric-batch.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { Door, JournalRecord } from '../journal/record.ts'
import { decodeVerdict, encodeMarks, encodeVerdict, markCount } from '../journal/verdict.ts'
import type { BodyDecoder, BodyReport, SeriesLimits, Tenant } from './body-decoder.ts'
import { KEYS_PER_SERIES, labelsOfKey, NO_LIMITS, PortableDecoder, seriesText } from './body-decoder.ts'
import { Extras } from './extras.ts'
import { ExtrasJudge } from './extras-judge.ts'
import { fastKeys } from './fast/fast-keys.ts'
import type { TimeBounds } from './judge.ts'
import { Judge } from './judge.ts'
import type { MakeKeys } from './key-index.ts'
import { KnownMetadata } from './known-metadata.ts'
import type { OverflowingMetric } from './overflow.ts'
import { OVERFLOW, Overflow } from './overflow.ts'
import type { Refusal } from './refusals.ts'
import { REFUSAL_CODES } from './refusals.ts'
import { Scratch } from './scratch.ts'
import { keyBytesMax, SeriesShares } from './series-shares.ts'
import { KEY_PROTOBUF, SeriesTable } from './series-table.ts'
import type { ShardCounts } from './shard-counts.ts'
import type { Tally } from './verdicts.ts'
import { ACCEPTED, DUPLICATE, REFUSED, REPLACED } from './verdicts.ts'

/** A body on its way in. */
export interface IncomingBody {
  readonly door: Door
  readonly tenant: string
  /** Credential and address, as a short hash; `host` for this host's own figures. */
  readonly sender: string
  readonly body: Uint8Array
}

/** What was refused of one kind for one reason. */
export interface RefusedItems {
  readonly kind: ItemKind
  readonly reason: Refusal
  readonly count: number
  /** Which ones of their kind in the body, from 0; the first hundred. */
  readonly items: readonly number[]
  /** One of them in words. */
  readonly example: string
}

/** What became of a body's items. */
export interface Taken {
  /** How many there were, by kind. */
  readonly items: Readonly<Record<ItemKind, number>>
  /** Of all kinds together. */
  readonly accepted: number
  readonly duplicate: number
  readonly replaced: number
  readonly refused: readonly RefusedItems[]
  /** What went into aggregates since its series are beyond the cardinality bounds. */
  readonly overflow: readonly OverflowingMetric[]
  /** The first hundred. */
  readonly badPoints: readonly PointRejection[]
}

/** A body in the columns: its samples are [start, end) of the scratch, its other items [extrasStart, extrasEnd) of the extras. */
export interface Received {
  readonly incoming: IncomingBody
  readonly start: number
  readonly end: number
  readonly extrasStart: number
  readonly extrasEnd: number
  readonly report: BodyReport
  /** Set when the body as a whole is refused. */
  readonly outcome: Outcome<never> | undefined
}

/** What is told about a record's accepted items. */
export interface RecordVisitor {
  /** @param dropped whether it was decided that the sample is not stored itself */
  sample(item: number, dropped: boolean): void
  extra(item: number): void
}

/** Samples [start, end) of the columns, of which those with the verdict `ACCEPTED` are taken. */
export interface PlainSamples {
  readonly start: number
  readonly end: number
  readonly verdicts: Uint8Array
  /** 1 for each that is not to be stored itself; undefined: none is. */
  readonly drops: Uint8Array | undefined
}

/** Writes 1 for each of a body's samples that is not to be stored itself, by item, else 0. @returns how many these are */
export type WillDrop = (samples: PlainSamples, into: Uint8Array) => number

/** A body's record for the journal, and where its items are. */
export interface Recorded {
  readonly record: JournalRecord
  readonly body: Received
}

/** A series that sent nothing for this long may be forgotten when the table is nearly full, looked at once in a while. */
const IDLE_SERIES_MS = 600_000
const COMPACT_EVERY_MS = 60_000
const MICROS = 1000
const EXAMPLE_LABELS_MAX = 4
const WRITE_ITEMS_MAX = 1_000_000
const WRITE_EXTRA_BYTES_MAX = 32 * 1024 * 1024
const NO_ROOM = REFUSED + REFUSAL_CODES.indexOf('series_limit')
const NOTHING = new Uint8Array(0)
const NO_REPORT: BodyReport = { badPoints: [] }

export class Reception {
  readonly scratch: Scratch = new Scratch()
  readonly extras: Extras = new Extras()
  readonly overflow: Overflow
  table: SeriesTable
  readonly #limits: SeriesLimits
  readonly #shares: SeriesShares
  readonly #judge: Judge
  readonly #extrasJudge: ExtrasJudge
  readonly #metadata: KnownMetadata
  readonly #decoder: BodyDecoder
  readonly #tenants: string[] = []
  readonly #block = new LabelBlock()
  #compactedAt = 0
  /** 1 for each sample of the write that is not to be stored itself; meaningful while `#dropping`. */
  #drops = new Uint8Array(0)
  #dropping = false

  /** @param seed of hash tables, random */
  constructor(limits: SeriesLimits, seed: number, makeKeys: MakeKeys = fastKeys) {
    this.#limits = limits
    this.table = new SeriesTable(seed, makeKeys)
    this.#judge = new Judge(this.scratch, seed)
    this.#extrasJudge = new ExtrasJudge(this.extras)
    this.#metadata = new KnownMetadata(limits.metadataBytesMax)
    this.overflow = new Overflow(limits.overflowSeriesMax, seed)
    this.#shares = new SeriesShares(limits)
    const { scratch, extras, overflow } = this
    this.#decoder = new PortableDecoder(
      this.table,
      { scratch, extras, metadata: this.#metadata, shares: this.#shares, overflow },
      portableSnappy,
      limits,
    )
  }

  /**
   * Reads bodies into the columns and decides about each item.
   * @param now wall clock, ms
   * @param takesOverflow whether a sample of a series beyond the bounds can be aggregated
   */
  receive(
    now: number,
    bodies: readonly IncomingBody[],
    bounds: TimeBounds,
    takesOverflow: (item: number) => boolean,
  ): Received[] {
    this.forgetIdleSeries(now)
    this.overflow.forget(now)
    this.#metadata.begin(now)
    this.#clear()
    const received = bodies.map((body) => (this.#isFull() ? this.#left(body) : this.#decode(body)))
    this.#judge.judge(this.table, bounds)
    this.#extrasJudge.judge(bounds)
    if (this.overflow.used) this.#judgeOverflow(takesOverflow)
    return received
  }

  /** Small bodies can be large once decoded: what comes behind waits for another write. */
  #isFull(): boolean {
    return this.scratch.count + this.extras.count > WRITE_ITEMS_MAX || this.extras.bytes > WRITE_EXTRA_BYTES_MAX
  }

  #left(incoming: IncomingBody): Received {
    const [start, extrasStart] = [this.scratch.count, this.extras.count]
    const outcome = retry('busy', 'More came at once than can be taken in one write: send this again')
    return { incoming, start, end: start, extrasStart, extrasEnd: extrasStart, report: NO_REPORT, outcome }
  }

  /** Of several values of a series for one instant in a write, the last counts: they have one arrival. */
  #judgeOverflow(takes: (item: number) => boolean): void {
    const { series, times, words } = this.scratch
    const { bytes } = this.#judge.verdicts
    const instants = new Map<string, number>()
    for (let i = 0; i < this.scratch.count; i++) {
      if (!this.#isOverflow(i) || bytes[i] !== ACCEPTED) continue
      if (!takes(i)) {
        bytes[i] = NO_ROOM
        continue
      }
      const instant = `${this.overflow.refOf(series[i]!)}:${times[i]}`
      const earlier = instants.get(instant)
      if (earlier !== undefined) {
        const same = words[2 * earlier] === words[2 * i] && words[2 * earlier + 1] === words[2 * i + 1]
        bytes[same ? i : earlier] = same ? DUPLICATE : REPLACED
        if (same) continue
      }
      instants.set(instant, i)
    }
  }

  /**
   * One record for each body of which something is accepted.
   * @param willDrop which accepted samples are not to be stored themselves; undefined: none
   */
  recordsOf(
    received: readonly Received[],
    firstPosition: number,
    at: number,
    willDrop: WillDrop | undefined,
  ): Recorded[] {
    const records: Recorded[] = []
    let position = firstPosition
    for (const body of received) {
      const kinds = this.#acceptedKinds(body)
      const count = kinds.reduce((sum, n) => sum + n, 0)
      if (count === 0) continue
      const { incoming, start, end, extrasStart, extrasEnd } = body
      const samples = end - start
      const all = samples + extrasEnd - extrasStart
      const verdict =
        count === all
          ? NOTHING
          : encodeVerdict(all, (item) =>
              item < samples
                ? this.#judge.verdicts.isAccepted(start + item)
                : this.#extrasJudge.verdicts.isAccepted(extrasStart + item - samples),
            )
      const { door, tenant } = incoming
      const { used } = this.overflow
      const dropped = willDrop === undefined && !used ? NOTHING : this.#droppedOf(start, end, willDrop)
      const overflow = used
        ? encodeMarks(samples, (i) => this.#isOverflow(start + i) || this.scratch.series[start + i]! < 0)
        : NOTHING
      const record = { position, count, kinds, at, door, tenant, verdict, dropped, overflow, body: incoming.body }
      records.push({ record, body })
      position += count
    }
    return records
  }

  /** The write could not be journalled: as if it had not come. */
  undo(): void {
    this.#judge.undo(this.table)
  }

  /** The write is journalled: counts it. */
  count(received: readonly Received[], counts: ShardCounts): void {
    for (const { incoming, start, end, extrasStart, extrasEnd, outcome } of received) {
      const { door } = incoming
      if (outcome !== undefined) {
        if (outcome.kind === 'reject') counts.undecodable(door)
        continue
      }
      this.#judge.verdicts.count(start, end, counts.of(door, 'sample'))
      for (let i = extrasStart; i < extrasEnd; i++)
        this.#extrasJudge.verdicts.count(i, i + 1, counts.of(door, this.extras.kind(i)))
    }
  }

  /**
   * The samples of a body, where it has nothing else and each has a series: the usual case, for loops of its own.
   * The body is journalled, and so committed. @param atMs its arrival
   */
  plainSamples({ start, end, extrasStart, extrasEnd }: Received, atMs: number): PlainSamples | undefined {
    if (extrasEnd > extrasStart || this.overflow.used) return undefined
    const { series } = this.scratch
    const { usedAt } = this.table
    const verdicts = this.#judge.verdicts.bytes
    for (let i = start; i < end; i++) if (verdicts[i] === ACCEPTED) usedAt[series[i]!] = atMs
    return { start, end, verdicts, drops: this.#dropping ? this.#drops : undefined }
  }

  /** Visits the accepted items of a body, which is journalled. @param atMs its arrival */
  commit({ start, end, extrasStart, extrasEnd }: Received, atMs: number, visitor: RecordVisitor): void {
    for (let i = start; i < end; i++) {
      if (!this.#judge.verdicts.isAccepted(i)) continue
      const series = this.scratch.series[i]!
      if (series < OVERFLOW) this.table.usedAt[series] = atMs
      else this.overflow.count(series)
      visitor.sample(i, this.#dropping && this.#drops[i] === 1)
    }
    for (let i = extrasStart; i < extrasEnd; i++) {
      if (!this.#extrasJudge.verdicts.isAccepted(i)) continue
      const series = this.extras.series[i]!
      if (this.extras.kind(i) === 'metadata') {
        const message = this.extras.message(i)
        this.#metadata.add(series, message, readMetadata(message))
      } else this.table.usedAt[series] = atMs
      visitor.extra(i)
    }
  }

  /**
   * Visits the accepted items of a record, by its verdict. Between writes only: the columns are free then.
   * @returns false when this version cannot read the record. A bug throws: what it left of the columns is not to be trusted
   */
  replay(record: JournalRecord, visitor: RecordVisitor): boolean {
    this.#clear()
    try {
      const overflow = marksOf(record.overflow)
      this.#decoder.decode(record.door, this.#tenantOf(record.tenant), record.body, undefined, overflow)
      const samples = this.scratch.count
      const taken = new Uint8Array(samples + this.extras.count)
      decodeVerdict(record.verdict, taken)
      const drops = record.dropped.length === 0 ? undefined : new Uint8Array(samples)
      if (drops !== undefined) decodeVerdict(record.dropped, drops)
      for (let i = 0; i < samples; i++) {
        const series = this.scratch.series[i]!
        if (taken[i] !== 1 || series < 0) continue
        if (series < OVERFLOW) this.table.usedAt[series] = Math.max(this.table.usedAt[series]!, record.at / MICROS)
        visitor.sample(i, (drops !== undefined && drops[i] === 1) || this.#isOverflow(i))
      }
      for (let i = 0; i < this.extras.count; i++)
        if (taken[samples + i] === 1 && this.extras.series[i]! >= 0) visitor.extra(i)
      return true
    } catch (error) {
      if (error instanceof WireError || error instanceof MetricBatchError) return false
      throw error
    }
  }

  /** What a body's sender is told. */
  answer(received: Received): Taken {
    const { start, end, extrasStart, extrasEnd, report } = received
    if (extrasEnd === extrasStart && !this.overflow.used && this.#judge.verdicts.accepted(start, end) === end - start)
      return allTaken(end - start)
    const items = Object.fromEntries(ITEM_KINDS.map((kind) => [kind, 0])) as Record<ItemKind, number>
    const samples = this.#judge.verdicts.tally(start, end)
    const sum = { accepted: samples.accepted, duplicate: samples.duplicate, replaced: samples.replaced }
    const refused = this.#refused('sample', samples, (item) => item - start)
    items.sample = end - start
    if (extrasEnd > extrasStart) {
      const places = new Map<number, number>()
      for (let i = extrasStart; i < extrasEnd; i++) places.set(i, items[this.extras.kind(i)]++)
      for (const kind of EXTRA_KINDS) {
        const tally = this.#extrasJudge.verdicts.tally(extrasStart, extrasEnd, (i) => this.extras.kind(i) === kind)
        sum.accepted += tally.accepted
        sum.duplicate += tally.duplicate
        sum.replaced += tally.replaced
        refused.push(...this.#refused(kind, tally, (item) => places.get(item)!))
      }
    }
    const overflow = this.overflow.used ? this.overflow.describe(this.#overflowing(start, end)) : []
    return { items, ...sum, refused, overflow, badPoints: report.badPoints }
  }

  *#overflowing(start: number, end: number): Iterable<number> {
    for (let i = start; i < end; i++)
      if (this.#isOverflow(i) && this.#judge.verdicts.isAccepted(i)) yield this.scratch.series[i]!
  }

  /** Gives memory back that only an unusually large write needed. Between writes only. */
  release(): void {
    this.scratch.release()
    this.extras.release()
    this.#judge.release()
    this.#extrasJudge.verdicts.release()
  }

  tenant(number: number): string {
    return this.#tenants[number]!
  }

  /** Puts the definition of a series into a batch. */
  readonly describe = (series: number, builder: BatchBuilder): void => {
    const { table } = this
    const { bytes, kind } = table.keyOf(series)
    if (kind === KEY_PROTOBUF && this.#block.read(bytes, 0, bytes.length, NO_LIMITS)) {
      const { name, count, canonical } = this.#block
      const tenant = this.#tenants[table.tenantOf(series)]!
      builder.defineEncoded(table.ref[series]!, tenant, table.idOf(series), name, count, canonical)
    } else builder.define(this.define(series))
  }

  /** The metric of a series. */
  nameOf(series: number): string {
    const key = this.table.keyOf(series)
    if (key.kind === KEY_PROTOBUF && this.#block.read(key.bytes, 0, key.bytes.length, NO_LIMITS))
      return this.#block.nameText
    return labelsOfKey(key).name
  }

  readonly define = (series: number): SeriesDefinition => {
    const { name, labels } = labelsOfKey(this.table.keyOf(series))
    return {
      ref: this.table.ref[series]!,
      tenant: this.#tenants[this.table.tenantOf(series)]!,
      id: this.table.idOf(series),
      name,
      labels,
    }
  }

  /** Which samples are dropped, as the journal keeps it: nothing when none are. */
  #droppedOf(start: number, end: number, willDrop: WillDrop | undefined): Uint8Array {
    if (this.#drops.length < end) this.#drops = grown(this.#drops, new Uint8Array(this.scratch.times.length))
    const samples = { start, end, verdicts: this.#judge.verdicts.bytes, drops: undefined }
    const count = willDrop?.(samples, this.#drops) ?? 0
    if (willDrop === undefined) this.#drops.fill(0, start, end)
    const marks = count === 0 ? NOTHING : encodeMarks(end - start, (item) => this.#drops[start + item] === 1)
    this.#dropping ||= count > 0 || this.overflow.used
    // Nor is what goes into aggregates, of which the record says so elsewhere.
    if (this.overflow.used)
      for (let i = start; i < end; i++)
        if (this.#isOverflow(i) && this.#judge.verdicts.isAccepted(i)) this.#drops[i] = 1
    return marks
  }

  #isOverflow(item: number): boolean {
    return this.scratch.series[item]! >= OVERFLOW
  }

  #clear(): void {
    this.overflow.begin()
    this.#dropping = false
    this.scratch.begin()
    this.extras.truncate(0)
  }

  #decode(incoming: IncomingBody): Received {
    const start = this.scratch.count
    const extrasStart = this.extras.count
    try {
      const report = this.#decoder.decode(
        incoming.door,
        this.#tenantOf(incoming.tenant),
        incoming.body,
        incoming.sender,
      )
      const end = this.scratch.count
      return { incoming, start, end, extrasStart, extrasEnd: this.extras.count, report, outcome: undefined }
    } catch (error) {
      this.scratch.count = start
      this.extras.truncate(extrasStart)
      const outcome = undecodable(error)
      return { incoming, start, end: start, extrasStart, extrasEnd: extrasStart, report: NO_REPORT, outcome }
    }
  }

  #acceptedKinds({ start, end, extrasStart, extrasEnd }: Received): number[] {
    const kinds = ITEM_KINDS.map(() => 0)
    kinds[0] = this.#judge.verdicts.accepted(start, end)
    for (let i = extrasStart; i < extrasEnd; i++)
      if (this.#extrasJudge.verdicts.isAccepted(i)) kinds[this.extras.kinds[i]! + 1]!++
    return kinds
  }

  #refused(kind: ItemKind, tally: Tally, place: (item: number) => number): RefusedItems[] {
    return [...tally.refused].map(([reason, { count, items }]) => ({
      kind,
      reason: REFUSAL_CODES[reason]!,
      count,
      items: items.map(place),
      example: kind === 'sample' ? this.#sampleText(items[0]!) : this.#extraText(items[0]!),
    }))
  }

  /** A refused sample in words: its series where that is known, and its time. */
  #sampleText(item: number): string {
    const time = `timestamp ${this.scratch.times[item]}`
    const series = this.scratch.series[item]!
    return series < 0 || series >= OVERFLOW ? time : `${this.#seriesText(series)}, ${time}`
  }

  #extraText(item: number): string {
    const series = this.extras.series[item]!
    const time = this.extras.times[item]!
    const parts = [
      ...(series >= 0 && series < OVERFLOW && this.extras.kind(item) !== 'metadata' ? [this.#seriesText(series)] : []),
      ...(Number.isNaN(time) ? [] : [`timestamp ${time}`]),
      ...(this.extras.details.has(item) ? [this.extras.details.get(item)!] : []),
    ]
    return parts.join(', ')
  }

  #seriesText(series: number): string {
    const { name, labels } = labelsOfKey(this.table.keyOf(series))
    return seriesText(name, labels.slice(0, EXAMPLE_LABELS_MAX))
  }

  /** Where there is hardly room for new ones. Between writes and records only: numbers of series change. @param now ms */
  forgetIdleSeries(now: number): void {
    const { seriesMax } = this.#limits
    const { count, keys } = this.table
    const full =
      count >= seriesMax * 0.9 ||
      keys.entries >= seriesMax * KEYS_PER_SERIES ||
      keys.bytes >= keyBytesMax(this.#limits) * 0.9
    if (!(full || this.#shares.tight) || now - this.#compactedAt < COMPACT_EVERY_MS) return
    this.#compactedAt = now
    this.table = this.table.retain(now - IDLE_SERIES_MS)
    this.#decoder.table = this.table
    this.#shares.recount(this.table)
    this.#metadata.forgetSeries()
  }

  #tenantOf(name: string): Tenant {
    const known = this.#tenants.indexOf(name)
    return { name, number: known >= 0 ? known : this.#tenants.push(name) - 1 }
  }
}

/** The usual answer. */
function allTaken(samples: number): Taken {
  const items = { sample: samples, histogram: 0, exemplar: 0, metadata: 0 }
  return { items, accepted: samples, duplicate: 0, replaced: 0, refused: [], overflow: [], badPoints: [] }
}

/** Marks of a record, a byte each; past their end there are none. */
function marksOf(runs: Uint8Array): Uint8Array {
  if (runs.length === 0) return NOTHING
  const marks = new Uint8Array(markCount(runs))
  decodeVerdict(runs, marks)
  return marks
}

function undecodable(error: unknown): Outcome<never> {
  if (error instanceof MetricBatchError) return reject(error.status === 422 ? 'invalid' : 'undecodable', error.message)
  if (error instanceof WireError) return reject(error.code === 'too_large' ? 'too_large' : 'undecodable', error.message)
  throw error
}
