/**
 * From a body as received to samples in columns: one implementation per way of reading, all behind `BodyDecoder`.
 *
 * The portable one below reads with `snappyjs` and the `protobufjs` reader, in one pass, and makes neither an object nor a
 * string for a series that the table knows.
 */

import { sha256 } from '../../proto/runtime/sha256.ts'
import { ByteReader, ByteWriter, utf8Encode } from '../../proto/wire/bytes.ts'
import type { Label } from '../../proto/wire/labels.ts'
import { SeriesIds, sortLabels } from '../../proto/wire/labels.ts'
import type { MetricPoint, PointRejection } from '../../proto/wire/metric-batch.ts'
import { readMetricBatch } from '../../proto/wire/metric-batch.ts'
import type { ExtraKind, WriteRequestSink } from '../../proto/wire/remote-write.ts'
import { readLabels, readWriteRequest } from '../../proto/wire/remote-write.ts'
import type { Request2Sink } from '../../proto/wire/remote-write-2.ts'
import { readRequest2 } from '../../proto/wire/remote-write-2.ts'
import type { Snappy } from '../../proto/wire/snappy.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { Door } from '../journal/record.ts'
import type { Refusal } from './refusals.ts'
import { REFUSAL_CODES } from './refusals.ts'
import type { Scratch } from './scratch.ts'
import { refusedSeries } from './scratch.ts'
import type { SeriesTable } from './series-table.ts'
import { KEY_CANONICAL, KEY_PROTOBUF } from './series-table.ts'

/** Bounds on what a sender may send; generous, so that no real fleet meets them. */
export interface SeriesLimits {
  readonly seriesMax: number
  readonly labelCountMax: number
  readonly labelNameBytesMax: number
  readonly labelValueBytesMax: number
  /** Most bytes that a compressed body may decode to. */
  readonly decodedBytesMax: number
  readonly samplesPerBodyMax: number
}

/** What a body holds besides samples. */
export interface BodyReport {
  readonly extras: Readonly<Record<ExtraKind, number>>
  /** The first hundred points of a metric batch that are of the wrong form; each has a place in the columns, refused as `bad_point`. */
  readonly badPoints: readonly PointRejection[]
}

export interface BodyDecoder {
  /** The table that keys are looked up in; it may be exchanged between bodies. */
  table: SeriesTable
  /**
   * Appends a body's samples to the columns, each with its series. The n-th sample is the n-th for every decoder and
   * version: the journal's verdicts count on it.
   * @param trusted a replay: the sender was answered long ago, so limits are not applied again
   * @throws WireError or MetricBatchError when the body as a whole is unusable; the columns then hold a part of it
   */
  decode(door: Door, tenant: number, body: Uint8Array, trusted: boolean): BodyReport
}

/** Spellings of its labels that a shard keeps for a series, on average. */
export const KEYS_PER_SERIES = 2
/** Labels without a value count as absent, but not without end. */
const SENT_LABELS_FACTOR = 4
const BAD_POINTS_MAX = 100

const NO_LIMITS: SeriesLimits = {
  seriesMax: Number.POSITIVE_INFINITY,
  labelCountMax: Number.POSITIVE_INFINITY,
  labelNameBytesMax: Number.POSITIVE_INFINITY,
  labelValueBytesMax: Number.POSITIVE_INFINITY,
  decodedBytesMax: 2 ** 32,
  samplesPerBodyMax: Number.POSITIVE_INFINITY,
}

export class PortableDecoder implements BodyDecoder, WriteRequestSink, Request2Sink {
  table: SeriesTable
  readonly #scratch: Scratch
  readonly #snappy: Snappy
  readonly #limits: SeriesLimits
  readonly #ids = new SeriesIds(sha256)
  readonly #key = new ByteWriter(1024)
  // Of the body in hand:
  #applied: SeriesLimits = NO_LIMITS
  #tenant = 0
  /** Where the columns may reach to. */
  #samplesEnd = 0
  #scope = 0
  #view: DataView = new DataView(new ArrayBuffer(0))
  #bytes: Uint8Array = new Uint8Array(0)
  #current = 0
  #extras = { exemplar: 0, histogram: 0, metadata: 0 }

  constructor(table: SeriesTable, scratch: Scratch, snappy: Snappy, limits: SeriesLimits) {
    this.table = table
    this.#scratch = scratch
    this.#snappy = snappy
    this.#limits = limits
  }

  decode(door: Door, tenant: number, body: Uint8Array, trusted: boolean): BodyReport {
    this.#applied = trusted ? NO_LIMITS : this.#limits
    this.#tenant = tenant
    this.#extras = { exemplar: 0, histogram: 0, metadata: 0 }
    this.#samplesEnd = this.#scratch.count + this.#applied.samplesPerBodyMax
    this.table.begin()
    if (door === 'metrics_batch') return { extras: this.#extras, badPoints: this.#points(body) }
    this.#scope = tenant * 2 + KEY_PROTOBUF
    const decoded = this.#snappy.uncompress(body, this.#applied.decodedBytesMax)
    if (door === 'remote_write_2') readRequest2(decoded, this, this.#applied.decodedBytesMax)
    else readWriteRequest(decoded, this)
    return { extras: this.#extras, badPoints: [] }
  }

  // The sink of a write request, of either version.

  expect(body: Uint8Array, pos: number, end: number): number {
    return this.table.expect(body, this.#viewOf(body), pos, end, this.#scope)
  }

  series(body: Uint8Array, start: number, end: number): void {
    const view = this.#viewOf(body)
    const known = this.table.find(body, view, start, end, this.#scope)
    this.#current = known >= 0 ? known : this.#learn(body, view, start, end)
  }

  unreadableSeries(): void {
    this.#current = refused('malformed_labels')
  }

  sample(timestamp: number, low: number, high: number): void {
    this.#scratch.push(this.#current, timestamp, low, high)
    this.#bound()
  }

  retract(n: number): void {
    this.#scratch.count -= n
  }

  extra(kind: ExtraKind, count: number): void {
    this.#extras[kind] += count
  }

  #bound(): void {
    if (this.#scratch.count > this.#samplesEnd)
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
    // Prometheus' own meaning: a label without a value is no label.
    const labels = sortLabels(sent.filter(([name, value]) => value !== '' || name === ''))
    const at = labels.findIndex(([label]) => label === '__name__')
    const name = at < 0 ? '' : labels[at]![1]
    if (name === '') return refused('no_metric_name')
    const problem = this.#check(labels)
    if (problem !== undefined) return refused(problem)
    labels.splice(at, 1)
    const series = this.#seriesOf(name, labels)
    if (series >= 0) this.#remember(body, view, start, end, this.#scope, series)
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
    const end = key.pos
    const view = new DataView(key.buf.buffer)
    const scope = this.#tenant * 2 + KEY_CANONICAL
    const known = this.table.find(key.buf, view, 0, end, scope)
    if (known >= 0) return known
    const problem = this.#check([['__name__', point.name], ...point.labels])
    if (problem === 'empty_label_name' || problem === undefined) {
      // xtrace takes empty names and keys, and so do we at its door.
      const series = this.#seriesOf(point.name, point.labels)
      if (series >= 0) this.#remember(key.buf, view, 0, end, scope, series)
      return series
    }
    return refused(problem)
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

  #seriesOf(name: string, labels: readonly Label[]): number {
    const id = this.#ids.of(name, labels)
    const known = this.table.withId(id, this.#tenant)
    if (known >= 0) return known
    if (this.table.count >= this.#applied.seriesMax) return refused('series_limit')
    return this.table.add(id, this.#tenant)
  }

  /** Keeps a series' first key, and others unless a sender shuffles its labels: a few of them, not all permutations. */
  #remember(bytes: Uint8Array, view: DataView, start: number, end: number, scope: number, series: number): void {
    if (!this.table.hasKey(series) || this.table.entries < this.#limits.seriesMax * KEYS_PER_SERIES)
      this.table.remember(bytes, view, start, end, scope, series)
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
  const reader = new ByteReader(key.bytes)
  const name = reader.string()
  const labels: Label[] = []
  while (reader.left > 0) labels.push([reader.string(), reader.string()])
  return { name, labels }
}

/** `up{instance="a:1"}`, for messages to people. */
export function seriesText(name: string, labels: readonly Label[]): string {
  return `${name}{${labels.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}}`
}
