/**
 * From a body as received to items in columns: one implementation per way of reading, all behind `BodyDecoder`.
 *
 * The portable one below reads with `snappyjs` and the `protobufjs` reader, in one pass, and makes neither an object nor a
 * string for a series that the table knows.
 */

import { sha256 } from '../../proto/runtime/sha256.ts'
import type { ExtraKind } from '../../proto/wire/batch-extras.ts'
import { ByteReader, ByteWriter, utf8Decode, utf8Encode } from '../../proto/wire/bytes.ts'
import type { Exemplar } from '../../proto/wire/exemplar.ts'
import { encodeExemplar, readExemplar } from '../../proto/wire/exemplar.ts'
import { LabelBlock } from '../../proto/wire/label-block.ts'
import type { Label, SeriesId } from '../../proto/wire/labels.ts'
import { SeriesIds, sortLabels } from '../../proto/wire/labels.ts'
import type { MetricMetadata } from '../../proto/wire/metadata.ts'
import { encodeMetadata, metricType, readMetadata } from '../../proto/wire/metadata.ts'
import type { MetricPoint, PointRejection } from '../../proto/wire/metric-batch.ts'
import { readMetricBatch } from '../../proto/wire/metric-batch.ts'
import { readHistogram } from '../../proto/wire/native-histogram.ts'
import { readLabels, readWriteRequest } from '../../proto/wire/remote-write.ts'
import type { MetadataRanges, Request2Sink } from '../../proto/wire/remote-write-2.ts'
import { readRequest2 } from '../../proto/wire/remote-write-2.ts'
import type { Snappy } from '../../proto/wire/snappy.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { Door } from '../journal/record.ts'
import type { Extras } from './extras.ts'
import type { PlainSink2 } from './fast/fast-keys.ts'
import { FastKeys } from './fast/fast-keys.ts'
import type { KnownMetadata } from './known-metadata.ts'
import type { Overflow, SeriesBound } from './overflow.ts'
import { OVERFLOW } from './overflow.ts'
import type { Refusal } from './refusals.ts'
import { REFUSAL_CODES } from './refusals.ts'
import type { Scratch } from './scratch.ts'
import { refusedSeries } from './scratch.ts'
import type { SeriesBounds, SeriesShares } from './series-shares.ts'
import { keyBytesMax } from './series-shares.ts'
import type { SeriesTable } from './series-table.ts'
import { KEY_CANONICAL, KEY_PROTOBUF } from './series-table.ts'

/** Bounds on what a sender may send; generous, so that no real fleet meets them. */
export interface SeriesLimits extends SeriesBounds {
  /** Series beyond these bounds that are told apart for ten minutes, to aggregate them. */
  readonly overflowSeriesMax: number
  readonly labelCountMax: number
  readonly labelNameBytesMax: number
  readonly labelValueBytesMax: number
  /** Most bytes that a compressed body may decode to. */
  readonly decodedBytesMax: number
  /** Metadata that is known, all texts together. */
  readonly metadataBytesMax: number
  /** Of items of all kinds. */
  readonly samplesPerBodyMax: number
}

/** What is said of a body beyond its items. */
export interface BodyReport {
  /** The first hundred points of a metric batch that are of the wrong form; each has a place in the columns, refused as `bad_point`. */
  readonly badPoints: readonly PointRejection[]
}

/** A tenant's number in the table, and its name. */
export interface Tenant {
  readonly number: number
  readonly name: string
}

export interface BodyDecoder {
  /** The table that keys are looked up in; it may be exchanged between bodies. */
  table: SeriesTable
  /**
   * Appends a body's items to the columns, samples and others each in the order of the body. The n-th item is the n-th for
   * every decoder and version: the journal's verdicts count on it.
   * @param from whose it is; undefined: a replay. Its sender was answered long ago, so limits are not applied again
   * @param overflow of a replay: 1 for each sample that was beyond the cardinality bounds
   * @throws WireError or MetricBatchError when the body as a whole is unusable; the columns then hold a part of it
   */
  decode(door: Door, tenant: Tenant, body: Uint8Array, from: string | undefined, overflow?: Uint8Array): BodyReport
}

/** Spellings of its labels that a shard keeps for a series, on average. */
export const KEYS_PER_SERIES = 2
/** Labels without a value count as absent, but not without end. */
const SENT_LABELS_FACTOR = 4
const BAD_POINTS_MAX = 100
/** Tags and lengths of a label, and a little more. */
const LABEL_OVERHEAD = 32
/** Messages of a body that are no samples: they go into one batch. */
const EXTRA_BYTES_MAX = 16 * 1024 * 1024
/** Buckets and bounds of a histogram that count as one sample more. */
const ELEMENTS_PER_ITEM = 4
/** Metadata that names its metric itself belongs to no series. */
const NOTHING: Uint8Array = new Uint8Array(0)
const NO_SERIES = Number.MIN_SAFE_INTEGER

/** Of what was accepted once: limits are not applied again. */
export const NO_LIMITS: SeriesLimits = {
  seriesMax: Number.POSITIVE_INFINITY,
  seriesPerTenantMax: Number.POSITIVE_INFINITY,
  seriesPerSenderMax: Number.POSITIVE_INFINITY,
  overflowSeriesMax: Number.POSITIVE_INFINITY,
  labelCountMax: Number.POSITIVE_INFINITY,
  labelNameBytesMax: Number.POSITIVE_INFINITY,
  labelValueBytesMax: Number.POSITIVE_INFINITY,
  decodedBytesMax: 2 ** 32,
  metadataBytesMax: Number.POSITIVE_INFINITY,
  samplesPerBodyMax: Number.POSITIVE_INFINITY,
}

/** Where items go to, and what decides whether they may. */
interface DecoderColumns {
  readonly scratch: Scratch
  readonly extras: Extras
  readonly metadata: KnownMetadata
  readonly shares: SeriesShares
  readonly overflow: Overflow
}

export class PortableDecoder implements BodyDecoder, PlainSink2, Request2Sink {
  table: SeriesTable
  readonly #scratch: Scratch
  readonly #extras: Extras
  readonly #metadata: KnownMetadata
  readonly #shares: SeriesShares
  readonly #overflow: Overflow
  readonly #snappy: Snappy
  readonly #limits: SeriesLimits
  readonly #ids = new SeriesIds(sha256)
  readonly #key = new ByteWriter(1024)
  readonly #block = new LabelBlock()
  // Of the body in hand:
  #applied: SeriesLimits = NO_LIMITS
  #tenant = 0
  #tenantOf: Tenant = { number: 0, name: '' }
  #sender = 0
  #trusted = false
  #overflowed = NOTHING
  #bodyStart = 0
  #bodyExtraBytes = 0
  readonly #saidMetadata = new Set<string>()
  /** How many items may stand in the columns. */
  #itemsEnd = 0
  /** Where the parts of the series in hand begin. */
  #seriesSamples = 0
  #seriesExtras = 0
  #scope = 0
  #view: DataView = new DataView(new ArrayBuffer(0))
  #bytes: Uint8Array = new Uint8Array(0)
  #current = 0

  constructor(table: SeriesTable, columns: DecoderColumns, snappy: Snappy, limits: SeriesLimits) {
    this.table = table
    this.#scratch = columns.scratch
    this.#extras = columns.extras
    this.#metadata = columns.metadata
    this.#shares = columns.shares
    this.#overflow = columns.overflow
    this.#snappy = snappy
    this.#limits = limits
  }

  decode(
    door: Door,
    tenant: Tenant,
    body: Uint8Array,
    from: string | undefined,
    overflow: Uint8Array = NOTHING,
  ): BodyReport {
    const trusted = from === undefined
    this.#applied = trusted ? NO_LIMITS : this.#limits
    this.#trusted = trusted
    this.#sender = this.#shares.numberOf(from)
    this.#overflowed = overflow
    this.#tenantOf = tenant
    this.#tenant = tenant.number
    this.#scope = tenant.number * 2 + (door === 'metrics_batch' ? KEY_CANONICAL : KEY_PROTOBUF)
    this.#begin()
    if (this.#readFast(door, body)) return { badPoints: [] }
    if (door === 'metrics_batch') return { badPoints: this.#points(body) }
    const decoded = this.#snappy.uncompress(body, this.#applied.decodedBytesMax)
    if (door === 'remote_write_2') readRequest2(decoded, this, this.#applied.decodedBytesMax)
    else readWriteRequest(decoded, this)
    return { badPoints: [] }
  }

  plainMetadata(series: number, metadata: MetadataRanges): void {
    this.#current = series
    this.seriesMetadata(metadata)
  }

  #begin(): void {
    this.#bodyStart = this.#scratch.count
    this.#bodyExtraBytes = this.#extras.bytes
    if (this.#saidMetadata.size > 0) this.#saidMetadata.clear() // clearing makes a new table of nothing too
    this.#itemsEnd = this.#scratch.count + this.#extras.count + this.#applied.samplesPerBodyMax
    this.table.keys.begin()
  }

  /** Whatever it does not take, or refuses, is for the portable reader: that says what is wrong. */
  #readFast(door: Door, body: Uint8Array): boolean {
    const { keys } = this.table
    // Which samples overflowed is said by their number, one at a time.
    if (!(keys instanceof FastKeys) || this.#overflowed.length > 0) return false
    const extras = this.#extras.count
    const { pending } = this.#metadata
    const { decodedBytesMax } = this.#applied
    try {
      if (readBy(keys, door, body, this.#scope, decodedBytesMax, this)) return true
    } catch (error) {
      if (!(error instanceof WireError)) throw error
    }
    this.#scratch.count = this.#bodyStart
    this.#extras.truncate(extras)
    this.#metadata.pending = pending
    this.#begin()
    return false
  }

  // The sink of a write request, of either version.

  plainSamples(series: Int32Array, times: Float64Array, words: Uint32Array, count: number): void {
    this.#scratch.pushAll(series, times, words, count)
    this.#bound()
  }

  expect(body: Uint8Array, pos: number, end: number): number {
    return this.table.keys.expect(body, this.#viewOf(body), pos, end, this.#scope)
  }

  series(body: Uint8Array, start: number, end: number): void {
    this.#seriesSamples = this.#scratch.count
    this.#seriesExtras = this.#extras.count
    const view = this.#viewOf(body)
    const known = this.#isOverflowed() ? -1 : this.table.keys.find(body, view, start, end, this.#scope)
    this.#current = known >= 0 ? known : this.#learn(body, view, start, end)
  }

  unreadableSeries(): void {
    this.#current = refused('malformed_labels')
  }

  sample(timestamp: number, low: number, high: number, start: number): void {
    this.#scratch.push(this.#current, timestamp, low, high)
    if (start > 0 && start <= timestamp) this.#scratch.setStart(start) // any other says nothing
    this.#bound()
  }

  retract(): void {
    this.#scratch.count = this.#seriesSamples
    this.#extras.truncate(this.#seriesExtras)
  }

  histogram(body: Uint8Array, start: number, end: number): void {
    const read = readHistogram(body, start, end)
    if ('problem' in read) this.#refuse('histogram', 'bad_histogram', read.timestamp, read.problem)
    else if (this.#current >= OVERFLOW) this.#refuse('histogram', 'series_limit', read.timestamp)
    else {
      // A wide one is as much work as many samples.
      const elements = read.positive.length + read.negative.length + read.customValues.length
      this.#itemsEnd -= Math.floor(elements / ELEMENTS_PER_ITEM)
      this.#extra('histogram', this.#current, read.timestamp, body.subarray(start, end))
    }
  }

  exemplarMessage(body: Uint8Array, start: number, end: number): void {
    this.exemplar(readable(() => readExemplar(body, start, end)))
  }

  exemplar(exemplar: Exemplar | undefined): void {
    if (exemplar === undefined || this.#check(exemplar.labels) !== undefined)
      this.#refuse('exemplar', 'bad_exemplar', exemplar?.timestamp ?? Number.NaN)
    else if (this.#current >= OVERFLOW) this.#refuse('exemplar', 'series_limit', exemplar.timestamp)
    else this.#extra('exemplar', this.#current, exemplar.timestamp, encodeExemplar(exemplar))
  }

  metadataMessage(body: Uint8Array, start: number, end: number): void {
    this.#current = NO_SERIES
    this.#pushMetadata(readable(() => readMetadata(body, start, end)))
  }

  seriesMetadata(ranges: MetadataRanges | undefined): void {
    const series = this.#current
    if (ranges === undefined || series < 0) {
      this.#pushMetadata(undefined)
      return
    }
    // A series that is not kept has no metadata of its own to keep.
    if (series >= OVERFLOW || (!this.#trusted && this.#metadata.repeats(series, ranges))) {
      this.#extras.pushRepeat('metadata')
      this.#bound()
      return
    }
    // Series of one metric in one request say the same: compared by where the texts stand, before they are read.
    const { name } = labelsOfKey(this.table.keyOf(series))
    const said = `${ranges.type} ${ranges.helpAt} ${ranges.unitAt} ${name}`
    if (!this.#trusted && this.#saidMetadata.has(said)) {
      this.#extras.pushRepeat('metadata')
      this.#bound()
      return
    }
    this.#saidMetadata.add(said)
    this.#pushMetadata(
      readable(() => ({
        type: metricType(ranges.type),
        family: name,
        help: utf8Decode(ranges.body.subarray(ranges.helpAt, ranges.helpAt + ranges.helpLength)),
        unit: utf8Decode(ranges.body.subarray(ranges.unitAt, ranges.unitAt + ranges.unitLength)),
      })),
    )
  }

  /** @param metadata undefined when it could not be read */
  #pushMetadata(metadata: MetricMetadata | undefined): void {
    const longest = this.#applied.labelValueBytesMax
    if (
      metadata === undefined ||
      metadata.family === '' ||
      [metadata.family, metadata.help, metadata.unit].some((text) => tooLong(text, longest))
    ) {
      // Of a refused series: refused as that is.
      this.#refuse('metadata', 'bad_metadata', Number.NaN)
      return
    }
    const message = encodeMetadata(metadata)
    if (!this.#trusted) {
      if (this.#metadata.has(this.#tenant, message, this.#current)) {
        this.#extras.pushRepeat('metadata')
        this.#bound()
        return
      }
      if (this.#metadata.full) {
        this.#refuse('metadata', 'metadata_limit', Number.NaN)
        return
      }
      this.#metadata.expect(message)
    }
    this.#extra('metadata', this.#tenant, Number.NaN, message)
  }

  /** @param series metadata stands by itself: its tenant */
  #extra(kind: ExtraKind, series: number, time: number, message: Uint8Array): void {
    this.#extras.push(kind, series, time, message)
    this.#bound()
    if (this.#extras.bytes - this.#bodyExtraBytes > EXTRA_BYTES_MAX && !this.#trusted)
      throw new WireError('too_large', 'histograms, exemplars and metadata of the body are too large once written out')
  }

  /** An item that is refused for what it is, unless its series is refused already. */
  #refuse(kind: ExtraKind, reason: Refusal, time: number, detail?: string): void {
    const ofSeries = this.#current < 0 && this.#current !== NO_SERIES
    if (detail !== undefined && !ofSeries) this.#extras.explain(detail)
    this.#extras.push(kind, ofSeries ? this.#current : refused(reason), time, undefined)
    this.#bound()
  }

  #bound(): void {
    if (this.#scratch.count + this.#extras.count > this.#itemsEnd)
      throw new WireError(
        'too_large',
        `the body holds more than ${this.#applied.samplesPerBodyMax} samples (samples_per_body_max): send them in several requests`,
      )
  }

  #viewOf(body: Uint8Array): DataView {
    if (body !== this.#bytes) {
      this.#bytes = body
      this.#view = new DataView(body.buffer, body.byteOffset, body.byteLength)
    }
    return this.#view
  }

  /** See {@link PlainSink}. */
  learnPlain(body: Uint8Array, start: number, end: number): boolean {
    const block = this.#block
    if (!block.read(body, start, end, this.#applied)) return false
    const id = this.#ids.ofEncoded(block.nameText, block.canonical)
    const known = this.table.withId(id, this.#tenant)
    if (known >= 0 && !this.#isKeyKept(known)) return false
    if (known < 0 && this.#boundFor() !== undefined) return false
    const series = known >= 0 ? known : this.#add(id)
    this.table.remember(body, this.#viewOf(body), start, end, this.#scope, series)
    return true
  }

  /** A label block that was never seen: decode it, check it, and find or make its series. */
  #learn(body: Uint8Array, view: DataView, start: number, end: number): number {
    let sent: Label[]
    try {
      sent = readLabels(body, start, end, this.#applied.labelCountMax * SENT_LABELS_FACTOR)
    } catch (error) {
      if (error instanceof WireError)
        return refused(error.code === 'too_large' ? 'too_many_labels' : 'malformed_labels')
      throw error
    }
    if (!this.#trusted && end - start > bytesExplained(sent)) return refused('malformed_labels')
    // Prometheus' own meaning: a label without a value is no label.
    const labels = sortLabels(sent.filter(([name, value]) => value !== '' || name === ''))
    const at = labels.findIndex(([label]) => label === '__name__')
    const name = at < 0 ? '' : labels[at]![1]
    if (name === '') return refused('no_metric_name')
    const problem = this.#check(labels)
    if (problem !== undefined) return refused(problem)
    labels.splice(at, 1)
    const series = this.#seriesOf(name, labels)
    if (series >= 0 && series < OVERFLOW) this.#remember(body, view, start, end, this.#scope, series)
    return series
  }

  #points(body: Uint8Array): PointRejection[] {
    const bad: PointRejection[] = []
    readMetricBatch(
      body,
      (point) => {
        this.#scratch.pushValue(this.#pointSeries(point), point.timestamp, point.value)
        this.#bound()
      },
      (rejection) => {
        this.#scratch.push(refused('bad_point'), 0, 0, 0)
        this.#bound()
        if (bad.length < BAD_POINTS_MAX) bad.push(rejection)
      },
    )
    return bad
  }

  #pointSeries(point: MetricPoint): number {
    const key = this.#key
    key.pos = 0
    key.string(point.name)
    for (const [name, value] of point.labels) {
      key.string(name)
      key.string(value)
    }
    const view = this.#viewOf(key.buf)
    const known = this.#isOverflowed() ? -1 : this.table.keys.find(key.buf, view, 0, key.pos, this.#scope)
    return known >= 0 ? known : this.#learnPoint(key.buf, key.pos, point)
  }

  /** A point's name and labels that were never seen: check them, and find or make their series. */
  #learnPoint(key: Uint8Array, end: number, { name, labels }: Pick<MetricPoint, 'name' | 'labels'>): number {
    const problem = this.#check([['__name__', name], ...labels])
    // xtrace takes empty names and keys, and so do we at its door.
    if (problem !== undefined && problem !== 'empty_label_name') return refused(problem)
    const series = this.#seriesOf(name, labels)
    if (series >= 0 && series < OVERFLOW) this.#remember(key, this.#viewOf(key), 0, end, this.#scope, series)
    return series
  }

  #check(labels: readonly Label[]): Refusal | undefined {
    const limits = this.#applied
    if (labels.length > limits.labelCountMax) return 'too_many_labels'
    let before: string | undefined
    for (const [name, value] of labels) {
      if (name === before) return 'duplicate_label'
      before = name
      // Most texts are short: their UTF-16 length tells without encoding them.
      if (tooLong(name, limits.labelNameBytesMax) || tooLong(value, limits.labelValueBytesMax)) return 'label_too_long'
    }
    return labels.some(([name]) => name === '') ? 'empty_label_name' : undefined
  }

  /** Of a replay: whether the sample that comes next was beyond the bounds. */
  #isOverflowed(): boolean {
    return this.#overflowed[this.#scratch.count - this.#bodyStart] === 1
  }

  #seriesOf(name: string, labels: readonly Label[]): number {
    const id = this.#ids.of(name, labels)
    if (this.#isOverflowed()) return this.#beyond(id, name, labels, 'series_max')
    const known = this.table.withId(id, this.#tenant)
    if (known >= 0) return known
    const bound = this.#boundFor()
    return bound === undefined ? this.#add(id) : this.#beyond(id, name, labels, bound)
  }

  /** The bound that one more series would be beyond. */
  #boundFor(): SeriesBound | undefined {
    return this.#trusted ? undefined : this.#shares.boundFor(this.table, this.#tenant, this.#sender)
  }

  #add(id: SeriesId): number {
    const series = this.table.add(id, this.#tenant)
    this.#shares.added(this.table, series, this.#sender)
    return series
  }

  #beyond(id: SeriesId, name: string, labels: readonly Label[], bound: SeriesBound): number {
    return this.#overflow.enter(id, this.#tenantOf, name, labels, bound) ?? refused('series_limit')
  }

  /** Keeps a series' first key, and others unless a sender shuffles its labels: a few of them, not all permutations. */
  #remember(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number, series: number): void {
    if (this.#isKeyKept(series)) this.table.remember(bytes, view, start, end, scope, series)
  }

  #isKeyKept(series: number): boolean {
    const { keys } = this.table
    return (
      !this.table.hasKey(series) ||
      (keys.entries < this.#limits.seriesMax * KEYS_PER_SERIES && keys.bytes < keyBytesMax(this.#limits))
    )
  }
}

function readBy(
  keys: FastKeys,
  door: Door,
  body: Uint8Array,
  scope: number,
  bytesMax: number,
  sink: PlainSink2,
): boolean {
  if (door === 'metrics_batch') return keys.readBatch(body, scope, sink)
  if (door === 'remote_write_2') return keys.read2(body, scope, bytesMax, sink)
  return keys.read(body, scope, bytesMax, sink)
}

/** Most bytes that labels take as fields: what a block has beyond them is in fields that nobody knows, and would be kept with it. */
function bytesExplained(labels: readonly Label[]): number {
  return labels.reduce((bytes, [name, value]) => bytes + 3 * (name.length + value.length) + LABEL_OVERHEAD, 0)
}

/** What was read, or undefined when it is not readable. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

function refused(reason: Refusal): number {
  return refusedSeries(REFUSAL_CODES.indexOf(reason))
}

function tooLong(text: string, max: number): boolean {
  return text.length * 3 > max && (text.length > max || utf8Encode(text).length > max)
}

/** Name and labels in canonical order, out of the key that first led to a series. */
export function labelsOfKey(key: ReturnType<SeriesTable['keyOf']>): { name: string; labels: Label[] } {
  if (key.kind === KEY_PROTOBUF) {
    const labels = sortLabels(readLabels(key.bytes, 0, key.bytes.length).filter(([, value]) => value !== ''))
    const at = labels.findIndex(([label]) => label === '__name__')
    const [[, name]] = labels.splice(at, 1) as [Label]
    return { name, labels }
  }
  return textsOfKey(key.bytes)
}

/** The same, of a key that holds nothing else. */
function textsOfKey(bytes: Uint8Array): { name: string; labels: Label[] } {
  const reader = new ByteReader(bytes)
  const name = reader.string()
  const labels: Label[] = []
  while (reader.left > 0) labels.push([reader.string(), reader.string()])
  return { name, labels }
}

/** `up{instance="a:1"}`, for messages to people. */
export function seriesText(name: string, labels: readonly Label[]): string {
  return `${name}{${labels.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}}`
}
