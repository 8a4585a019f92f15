/**
 * What ClickHouse has of the series that match, as it was sent: samples, starts, histograms, exemplars.
 *
 * Values travel as parameters. A regular expression is Prometheus' own language (RE2) in ClickHouse too; it is anchored.
 */
import type { Exemplar } from '../../proto/wire/exemplar.ts'
import type { Label } from '../../proto/wire/labels.ts'
import type { BucketSpan, NativeHistogram } from '../../proto/wire/native-histogram.ts'
import type { ReadMatcher } from '../../proto/wire/remote-read.ts'
import { STALE_HIGH, STALE_LOW } from '../../proto/wire/remote-write.ts'
import type { Database, Parameters } from '../store/clickhouse.ts'
import { fixedRows } from '../store/fixed-rows.ts'
import { decodeLabel, encodeLabelKey } from '../store/insert-series.ts'
import { jsonRows } from '../store/json-rows.ts'
import { VALUE_SQL } from '../store/schema/migrations.ts'

/** What is wanted, ms since the epoch, both ends inclusive. */
export interface PartsSelection {
  readonly tenant: string
  readonly from: number
  readonly to: number
  readonly matchers: readonly ReadMatcher[]
}

/** Series by id, 32 hex digits. */
export type ById<T> = Map<string, T>

/** A sample: time in ms, and the bits of its value, low word first. */
export interface StoredSamples {
  readonly times: number[]
  readonly words: number[]
}

const EXACT = 'SETTINGS do_not_merge_across_partitions_select_final = 1'
const ID_SQL = 'hex(reinterpretAsFixedString(series))'
const STALE_BITS = ((BigInt(STALE_HIGH) << 32n) | BigInt(STALE_LOW)).toString()
/** Collectors say starts again once a day. */
const SAID_AGAIN_MS = 2 * 86_400_000
const STARTS_MAX = 1_000_000
const SAMPLE_ROW_BYTES = 16 + 8 + 8

export class StoredParts {
  readonly #db: Database
  readonly #database: string

  constructor(db: Database, database: string) {
    this.#db = db
    this.#database = database
  }

  /** Labels of the series that match, with `__name__`; one more than `max` at most. */
  async series(selection: PartsSelection, max: number): Promise<ById<Label[]>> {
    const { where, parameters } = this.#matching(selection)
    const rows = await this.#db.rows<{ id: string; metric: string; labels: string[] }>(
      `SELECT ${ID_SQL} AS id, any(name) AS metric, any(kv) AS labels FROM ${this.#database}.series WHERE ${where} GROUP BY series LIMIT ${max + 1}`,
      parameters,
    )
    return new Map(rows.map(({ id, metric, labels }) => [idOf(id), [['__name__', metric], ...labels.map(decodeLabel)]]))
  }

  /** Samples in the order of time. @param max one more than this many at most */
  async samples(selection: PartsSelection, max: number): Promise<ById<StoredSamples>> {
    const out: ById<StoredSamples> = new Map()
    const { where, parameters } = this.#within('samples', selection)
    const rows = this.#db.stream(
      `SELECT series, toUnixTimestamp64Milli(ts), reinterpretAsUInt64(${VALUE_SQL}) FROM ${this.#database}.samples FINAL
       WHERE ${where} ORDER BY tenant, toStartOfHour(ts), series, ts LIMIT ${max + 1} ${EXACT}, optimize_read_in_order = 1`,
      'RowBinary',
      parameters,
    )
    let id = ''
    let samples: StoredSamples | undefined
    for await (const row of fixedRows(rows, SAMPLE_ROW_BYTES)) {
      const next = row.toString('hex', 0, 16)
      if (next !== id) {
        id = next
        samples = out.get(id) ?? { times: [], words: [] }
        out.set(id, samples)
      }
      samples!.times.push(Number(row.readBigInt64LE(16)))
      samples!.words.push(row.readUInt32LE(24), row.readUInt32LE(28))
    }
    return out
  }

  /** Since when the samples count: each row holds from its time on until the next. Series that never said so are missing. */
  async starts(selection: PartsSelection): Promise<ById<{ readonly from: number; readonly since: number }[]>> {
    const { where, parameters } = this.#ofSeries(selection)
    const rows = this.#rows<{ id: string; f: string; s: string }>(
      `SELECT ${ID_SQL} AS id, toString(toUnixTimestamp64Milli(valid_from)) AS f, toString(toUnixTimestamp64Milli(since)) AS s
       FROM ${this.#database}.starts FINAL WHERE ${where} AND valid_from >= ${timeSql(selection.from - SAID_AGAIN_MS)} AND valid_from <= ${timeSql(selection.to)}
       ORDER BY series, valid_from LIMIT ${STARTS_MAX} ${EXACT}`,
      parameters,
    )
    return await grouped(rows, (row) => ({ from: Number(row.f), since: Number(row.s) }))
  }

  /** Histograms in the order of time. @param max one more than this many at most */
  async histograms(selection: PartsSelection, max: number): Promise<ById<NativeHistogram[]>> {
    const { where, parameters } = this.#within('histograms', selection)
    const rows = this.#rows<HistogramRow>(
      `SELECT ${ID_SQL} AS id, toString(toUnixTimestamp64Milli(ts)) AS time, toString(toUnixTimestamp64Milli(start)) AS started, float, schema, reset_hint,
         zero_threshold, sum, reinterpretAsUInt64(sum) = ${STALE_BITS} AS stale, count, zero_count, positive, negative, count_float, zero_count_float,
         positive_float, negative_float, positive_offsets, positive_lengths, negative_offsets, negative_lengths, custom_values
       FROM ${this.#database}.histograms FINAL WHERE ${where} ORDER BY series, ts LIMIT ${max + 1} ${EXACT}`,
      parameters,
    )
    return await grouped(rows, histogramOf)
  }

  /** Exemplars in the order of time. @param max one more than this many at most */
  async exemplars(selection: PartsSelection, max: number): Promise<ById<Exemplar[]>> {
    const { where, parameters } = this.#within('exemplars', selection)
    const rows = this.#rows<{ id: string; time: string; labels: string[]; value: number | string }>(
      `SELECT ${ID_SQL} AS id, toString(toUnixTimestamp64Milli(ts)) AS time, labels, value
       FROM ${this.#database}.exemplars FINAL WHERE ${where} ORDER BY series, ts, labels, value LIMIT ${max + 1} ${EXACT}`,
      parameters,
    )
    return await grouped(rows, ({ time, labels, value }) => ({
      labels: labels.map(decodeLabel),
      value: Number(value),
      timestamp: Number(time),
    }))
  }

  #rows<T>(sql: string, parameters: Parameters): AsyncIterable<T> {
    return jsonRows<T>(this.#db.stream(sql, 'JSONEachRow', parameters))
  }

  /** The hour is asked for by name: the keys begin with it. */
  #within(table: string, selection: PartsSelection): { where: string; parameters: Parameters } {
    const { where, parameters } = this.#ofSeries(selection)
    const [from, to] = [timeSql(selection.from), timeSql(selection.to)]
    const ts = `${table}.ts`
    return {
      where: `${where} AND toStartOfHour(${ts}) >= toStartOfHour(${from}) AND toStartOfHour(${ts}) <= toStartOfHour(${to}) AND ${ts} >= ${from} AND ${ts} <= ${to}`,
      parameters,
    }
  }

  #ofSeries(selection: PartsSelection): { where: string; parameters: Parameters } {
    const { where, parameters } = this.#matching(selection)
    return {
      where: `tenant = {tenant:String} AND series IN (SELECT series FROM ${this.#database}.series WHERE ${where})`,
      parameters,
    }
  }

  /** A label that a series does not have counts as empty, as in Prometheus. */
  #matching({ tenant, matchers }: PartsSelection): { where: string; parameters: Parameters } {
    const conditions = ['tenant = {tenant:String}']
    const parameters: Record<string, string> = { tenant }
    for (const [i, { operator, name, value }] of matchers.entries()) {
      parameters[`k${i}`] = `${encodeLabelKey(name)}=`
      parameters[`v${i}`] = operator === '=' || operator === '!=' ? value : `^(?s:${value})$`
      const label =
        name === '__name__'
          ? 'name'
          : `substring(arrayFirst(l -> startsWith(l, {k${i}:String}), kv), length({k${i}:String}) + 1)`
      const compared =
        operator === '=' || operator === '!='
          ? `${label} = {v${i}:String}`
          : `match(${name === '__name__' ? 'toString(name)' : label}, {v${i}:String})`
      conditions.push(operator === '!=' || operator === '!~' ? `NOT (${compared})` : compared)
    }
    return { where: conditions.join(' AND '), parameters }
  }
}

interface HistogramRow {
  readonly id: string
  readonly time: string
  readonly started: string
  readonly float: number
  readonly schema: number
  readonly reset_hint: number
  readonly zero_threshold: number | string
  readonly sum: number | string
  readonly stale: number
  readonly count: string
  readonly zero_count: string
  readonly positive: readonly string[]
  readonly negative: readonly string[]
  readonly count_float: number | string
  readonly zero_count_float: number | string
  readonly positive_float: readonly (number | string)[]
  readonly negative_float: readonly (number | string)[]
  readonly positive_offsets: readonly number[]
  readonly positive_lengths: readonly number[]
  readonly negative_offsets: readonly number[]
  readonly negative_lengths: readonly number[]
  readonly custom_values: readonly (number | string)[]
}

function histogramOf(row: HistogramRow): NativeHistogram {
  const shape = {
    timestamp: Number(row.time),
    startTimestamp: Number(row.started),
    schema: row.schema,
    zeroThreshold: Number(row.zero_threshold),
    resetHint: row.reset_hint,
    sum: Number(row.sum),
    stale: row.stale === 1,
    positiveSpans: spansOf(row.positive_offsets, row.positive_lengths),
    negativeSpans: spansOf(row.negative_offsets, row.negative_lengths),
    customValues: row.custom_values.map(Number),
  }
  if (row.float === 1)
    return {
      ...shape,
      float: true,
      count: Number(row.count_float),
      zeroCount: Number(row.zero_count_float),
      positive: row.positive_float.map(Number),
      negative: row.negative_float.map(Number),
    }
  return {
    ...shape,
    float: false,
    count: BigInt(row.count),
    zeroCount: BigInt(row.zero_count),
    positive: row.positive.map(BigInt),
    negative: row.negative.map(BigInt),
  }
}

function spansOf(offsets: readonly number[], lengths: readonly number[]): BucketSpan[] {
  return offsets.map((offset, i) => ({ offset, length: lengths[i]! }))
}

async function grouped<R extends { readonly id: string }, T>(
  rows: AsyncIterable<R>,
  read: (row: R) => T,
): Promise<ById<T[]>> {
  const out: ById<T[]> = new Map()
  for await (const row of rows) {
    const id = idOf(row.id)
    const list = out.get(id)
    if (list === undefined) out.set(id, [read(row)])
    else list.push(read(row))
  }
  return out
}

/** ClickHouse leaves zeros at the end of a fixed string out. */
function idOf(hex: string): string {
  return hex.toLowerCase().padEnd(32, '0')
}

function timeSql(ms: number): string {
  return `fromUnixTimestamp64Milli(toInt64(${ms}), 'UTC')`
}
