/**
 * Rows of what comes besides samples, on their way to ClickHouse: histograms, exemplars, metadata, starts of counters. Few
 * beside samples, so they are kept as they are and turned into columns when they are inserted.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { ByteWriter } from '../../proto/wire/bytes.ts'
import type { Exemplar } from '../../proto/wire/exemplar.ts'
import type { SeriesId } from '../../proto/wire/labels.ts'
import type { MetricMetadata } from '../../proto/wire/metadata.ts'
import type { NativeHistogram } from '../../proto/wire/native-histogram.ts'
import { STALE_HIGH, STALE_LOW } from '../../proto/wire/remote-write.ts'
import { encodeLabel } from './insert-series.ts'
import type { Column } from './native.ts'
import { bytesOf, nativeBlock, numberListColumn, stringColumn, stringListColumn } from './native.ts'

/** Buckets and bounds that count as one row more. */
const ELEMENTS_PER_ROW = 4

/** Encoded in one turn of the event loop: some milliseconds. */
const BLOCK_ROWS = 1000

interface OfSeries {
  readonly tenant: string
  readonly id: SeriesId
  /** Arrival, µs since the epoch; the larger wins. */
  readonly at: number
}

export type HistogramRow = OfSeries & { readonly histogram: NativeHistogram }
export type ExemplarRow = OfSeries & { readonly exemplar: Exemplar }
export type MetadataRow = { readonly tenant: string; readonly at: number; readonly metadata: MetricMetadata }
/** From `from` on a series counts since `since`, both ms since the epoch. */
export type StartRow = OfSeries & { readonly from: number; readonly since: number }

/** A table's rows as an insert. */
export interface TableRows {
  readonly table: string
  readonly columns: readonly string[]
  readonly block: Uint8Array[]
}

export class ExtraRows {
  readonly histograms: HistogramRow[] = []
  readonly exemplars: ExemplarRow[] = []
  readonly metadata: MetadataRow[] = []
  readonly starts: StartRow[] = []

  get count(): number {
    return this.histograms.length + this.exemplars.length + this.metadata.length + this.starts.length
  }

  /** In samples: a histogram with many buckets takes the room of many. */
  get weight(): number {
    let elements = 0
    for (const { histogram: h } of this.histograms)
      elements += h.positive.length + h.negative.length + h.customValues.length
    return this.count + Math.floor(elements / ELEMENTS_PER_ROW)
  }

  /** The inserts that are needed, one a table at most. */
  async tables(): Promise<TableRows[]> {
    const tables = [
      await tableOf('histograms', this.histograms, histogramColumns),
      await tableOf('exemplars', this.exemplars, exemplarColumns),
      await tableOf('metadata', this.metadata, metadataColumns),
      await tableOf('starts', this.starts, startColumns),
    ]
    return tables.filter((rows) => rows !== undefined)
  }
}

/** In blocks, with other work between them. */
async function tableOf<T>(
  table: string,
  rows: readonly T[],
  columnsOf: (rows: readonly T[]) => Column[],
): Promise<TableRows | undefined> {
  if (rows.length === 0) return undefined
  let columns: readonly string[] = []
  const block: Uint8Array[] = []
  for (let start = 0; start < rows.length; start += BLOCK_ROWS) {
    if (start > 0) await nextTurn()
    const some = rows.slice(start, start + BLOCK_ROWS)
    const encoded = columnsOf(some)
    columns = encoded.map((column) => column.name)
    block.push(...nativeBlock(some.length, encoded))
  }
  return { table, columns, block }
}

function histogramColumns(rows: readonly HistogramRow[]): Column[] {
  const all = rows.map((row) => row.histogram)
  const whole = all.map((h) => (h.float ? undefined : h))
  const float = all.map((h) => (h.float ? h : undefined))
  return [
    ...seriesColumns(rows),
    time(
      'ts',
      all.map((h) => h.timestamp),
    ),
    time(
      'start',
      all.map((h) => startOf(h)),
    ),
    { name: 'float', type: 'UInt8', data: Uint8Array.from(all, (h) => (h.float ? 1 : 0)) },
    { name: 'schema', type: 'Int8', data: bytesOf(Int8Array.from(all, (h) => h.schema)) },
    { name: 'reset_hint', type: 'UInt8', data: Uint8Array.from(all, (h) => h.resetHint) },
    { name: 'zero_threshold', type: 'Float64', data: bytesOf(Float64Array.from(all, (h) => h.zeroThreshold)) },
    { name: 'sum', type: 'Float64', data: sums(all) },
    { name: 'count', type: 'UInt64', data: bytesOf(BigUint64Array.from(whole, (h) => h?.count ?? 0n)) },
    { name: 'zero_count', type: 'UInt64', data: bytesOf(BigUint64Array.from(whole, (h) => h?.zeroCount ?? 0n)) },
    list(
      'positive',
      'UInt64',
      whole.map((h) => h?.positive ?? []),
      uint64s,
    ),
    list(
      'negative',
      'UInt64',
      whole.map((h) => h?.negative ?? []),
      uint64s,
    ),
    { name: 'count_float', type: 'Float64', data: bytesOf(Float64Array.from(float, (h) => h?.count ?? 0)) },
    { name: 'zero_count_float', type: 'Float64', data: bytesOf(Float64Array.from(float, (h) => h?.zeroCount ?? 0)) },
    list(
      'positive_float',
      'Float64',
      float.map((h) => h?.positive ?? []),
      float64s,
    ),
    list(
      'negative_float',
      'Float64',
      float.map((h) => h?.negative ?? []),
      float64s,
    ),
    list(
      'positive_offsets',
      'Int32',
      all.map((h) => h.positiveSpans.map((s) => s.offset)),
      int32s,
    ),
    list(
      'positive_lengths',
      'UInt32',
      all.map((h) => h.positiveSpans.map((s) => s.length)),
      int32s,
    ),
    list(
      'negative_offsets',
      'Int32',
      all.map((h) => h.negativeSpans.map((s) => s.offset)),
      int32s,
    ),
    list(
      'negative_lengths',
      'UInt32',
      all.map((h) => h.negativeSpans.map((s) => s.length)),
      int32s,
    ),
    list(
      'custom_values',
      'Float64',
      all.map((h) => h.customValues),
      float64s,
    ),
  ]
}

/** A start behind the histogram's own time, or before 1970, says nothing. */
function startOf({ startTimestamp, timestamp }: NativeHistogram): number {
  return startTimestamp > 0 && startTimestamp <= timestamp ? startTimestamp : 0
}

function exemplarColumns(rows: readonly ExemplarRow[]): Column[] {
  return [
    ...seriesColumns(rows),
    time(
      'ts',
      rows.map((row) => row.exemplar.timestamp),
    ),
    {
      name: 'labels',
      type: 'Array(String)',
      data: stringListColumn(rows.map((row) => row.exemplar.labels.map(encodeLabel))),
    },
    { name: 'value', type: 'Float64', data: bytesOf(Float64Array.from(rows, (row) => row.exemplar.value)) },
  ]
}

function metadataColumns(rows: readonly MetadataRow[]): Column[] {
  const text = (name: string, of: (row: MetadataRow) => string): Column => ({
    name,
    type: 'String',
    data: stringColumn(rows.map(of)),
  })
  return [
    text('tenant', (row) => row.tenant),
    text('metric', (row) => row.metadata.family),
    text('type', (row) => row.metadata.type),
    text('unit', (row) => row.metadata.unit),
    text('help', (row) => row.metadata.help),
    arrival(rows),
  ]
}

function startColumns(rows: readonly StartRow[]): Column[] {
  return [
    ...seriesColumns(rows),
    time(
      'valid_from',
      rows.map((row) => row.from),
    ),
    time(
      'since',
      rows.map((row) => row.since),
    ),
  ]
}

function seriesColumns(rows: readonly OfSeries[]): Column[] {
  const ids = new Uint8Array(rows.length * 16)
  for (const [i, { id }] of rows.entries()) ids.set(id, i * 16)
  return [
    { name: 'tenant', type: 'String', data: stringColumn(rows.map((row) => row.tenant)) },
    { name: 'series', type: 'UInt128', data: ids },
    arrival(rows),
  ]
}

function arrival(rows: readonly { readonly at: number }[]): Column {
  return { name: 'at', type: "DateTime64(6, 'UTC')", data: bytesOf(BigInt64Array.from(rows, (row) => BigInt(row.at))) }
}

function time(name: string, values: readonly number[]): Column {
  return { name, type: "DateTime64(3, 'UTC')", data: bytesOf(BigInt64Array.from(values, (ms) => BigInt(ms))) }
}

/** A stale marker's bits are written as they are: as a number it might become another NaN. */
function sums(histograms: readonly NativeHistogram[]): Uint8Array {
  const out = new ByteWriter(histograms.length * 8)
  for (const { sum, stale } of histograms) {
    if (stale) {
      out.u32(STALE_LOW)
      out.u32(STALE_HIGH)
    } else out.f64(sum)
  }
  return out.take()
}

function list<T extends number | bigint>(
  name: string,
  type: string,
  lists: readonly (readonly T[])[],
  make: Parameters<typeof numberListColumn<T>>[1],
): Column {
  return { name, type: `Array(${type})`, data: numberListColumn(lists, make) }
}

const uint64s = (length: number): BigUint64Array => new BigUint64Array(length)
const float64s = (length: number): Float64Array => new Float64Array(length)
/** Signed and unsigned alike: the bits are the same. */
const int32s = (length: number): Int32Array => new Int32Array(length)
