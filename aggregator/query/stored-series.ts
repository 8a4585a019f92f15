/**
 * What ClickHouse knows of a metric: its series, and their buckets over a time that memory does not reach back to.
 * All values travel as parameters; numbers written into statements are our own. Results never have the name of a column: in
 * ClickHouse a WHERE would then mean the result.
 */
import type { Label } from '../../proto/wire/labels.ts'
import type { Database, Parameters } from '../store/clickhouse.ts'
import { decodeLabel, encodeLabel, encodeLabelKey } from '../store/insert-series.ts'
import { VALUE_SQL } from '../store/schema/migrations.ts'
import type { Bucket } from './buckets.ts'
import type { Segments, Span } from './segments.ts'

/** A point that memory holds although ClickHouse may have it too: statements leave its instant out. */
export interface Instant {
  /** The series' id as a decimal number. */
  readonly series: string
  readonly time: number
}

export interface Selection {
  readonly tenant: string
  readonly name: string
  readonly filter: readonly Label[]
  /** Only these series, ids as decimal numbers; undefined: all that match. */
  readonly series: readonly string[] | undefined
}

export interface StoredBucket extends Bucket {
  /** Id of the series, or value of the label that is grouped by; null where the series has none. */
  readonly group: string | null
  readonly start: number
}

export interface BucketRequest {
  readonly segments: Segments
  readonly dirtyHours: readonly number[]
  readonly without: readonly Instant[]
  readonly stepMs: number
  readonly groupBy: string | undefined
  readonly quantile: number | undefined
  /** Buckets whose samples memory has a part of: their values are wanted, not their quantile. */
  readonly openStarts: readonly number[]
  /** Newest buckets of a group that are wanted. */
  readonly bucketsMax: number
}

/** A quantile over more samples than this in one bucket is refused rather than collected. */
export const QUANTILE_VALUES_MAX = 2_000_000

const EXACT = 'SETTINGS do_not_merge_across_partitions_select_final = 1'

export class StoredSeries {
  readonly #db: Database
  readonly #database: string

  constructor(db: Database, database: string) {
    this.#db = db
    this.#database = database
  }

  /** Names of metrics that have a series. */
  async names(tenant: string): Promise<string[]> {
    const rows = await this.#db.rows<{ name: string }>(
      `SELECT DISTINCT name FROM ${this.#database}.series WHERE tenant = {tenant:String}`,
      { tenant },
    )
    return rows.map((row) => row.name)
  }

  /** Labels of the series that match, by id. @param max one more than this many are never read */
  async labels(selection: Selection, max: number): Promise<Map<string, Label[]>> {
    const rows = await this.#db.rows<{ id: string; labels: string[] }>(
      `SELECT toString(series) AS id, any(kv) AS labels FROM ${this.#database}.series WHERE ${this.#describes(selection)} GROUP BY series LIMIT ${max + 1}`,
      parametersOf(selection),
    )
    return new Map(rows.map((row) => [row.id, row.labels.map(decodeLabel)]))
  }

  /** Newest finite sample of each series in the segments, ms. */
  async latest(
    selection: Selection,
    request: Pick<BucketRequest, 'segments' | 'dirtyHours' | 'without'>,
  ): Promise<Map<string, number>> {
    const { segments } = request
    const parts: string[] = []
    if (segments.points !== undefined) {
      parts.push(
        `SELECT series, max(ts) AS t FROM (${this.#points(selection, request)}) WHERE isFinite(x) GROUP BY series`,
      )
    }
    for (const span of [segments.exact, segments.expired]) {
      if (span === undefined) continue
      parts.push(
        `SELECT series, max(last_ts) AS t FROM ${this.#database}.r1h FINAL WHERE ${this.#rolled(selection, span, span === segments.exact ? request.dirtyHours : [])} GROUP BY series`,
      )
    }
    if (parts.length === 0) return new Map()
    const rows = await this.#db.rows<{ id: string; newest: string }>(
      `SELECT toString(series) AS id, toString(toUnixTimestamp64Milli(max(t))) AS newest FROM (${parts.join(' UNION ALL ')}) GROUP BY series ${EXACT}`,
      parametersOf(selection),
    )
    return new Map(rows.map((row) => [row.id, Number(row.newest)]))
  }

  /** Buckets of the segments, grouped, unordered. */
  async buckets(selection: Selection, request: BucketRequest): Promise<StoredBucket[]> {
    const { segments, stepMs, groupBy, quantile } = request
    const parts: string[] = []
    if (segments.points !== undefined) parts.push(this.#pointBuckets(selection, request))
    for (const span of [segments.exact, segments.expired]) {
      if (span !== undefined)
        parts.push(this.#rollupBuckets(selection, request, span, span === segments.exact ? request.dirtyHours : []))
    }
    if (parts.length === 0) return []
    const quantiles = quantile === undefined ? '' : ', any(ql) AS low, any(qh) AS high, any(vs) AS values'
    const rows = await this.#db.rows<BucketRow>(
      `SELECT g, k, toString(sum(n)) AS count, sum(s) AS total, min(lo) AS least, max(hi) AS most, argMax(la, (lt, lat)) AS last,
         toString(toUnixTimestamp64Milli(max(lt))) AS last_time, toString(toUnixTimestamp64Micro(argMax(lat, (lt, lat)))) AS last_arrival ${quantiles}
       FROM (${parts.join(' UNION ALL ')}) GROUP BY g, k ORDER BY g, k DESC LIMIT ${request.bucketsMax} BY g ${EXACT}`,
      { ...parametersOf(selection), key: groupBy === undefined ? '' : `${encodeLabelKey(groupBy)}=` },
    )
    return rows.map((row) => bucketOf(row, stepMs, groupBy !== undefined))
  }

  /** What is stored at these instants. */
  async at(
    selection: Selection,
    instants: readonly Instant[],
  ): Promise<Map<string, { value: number; arrival: number }>> {
    if (instants.length === 0) return new Map()
    const span = { from: Math.min(...instants.map((i) => i.time)), to: Math.max(...instants.map((i) => i.time)) }
    const rows = await this.#db.rows<{ id: string; time: string; value: number | string; arrival: string }>(
      `SELECT toString(series) AS id, toString(toUnixTimestamp64Milli(ts)) AS time, ${VALUE_SQL} AS value, toString(toUnixTimestamp64Micro(at)) AS arrival
       FROM ${this.#database}.samples FINAL WHERE ${this.#within(selection, span)} AND (series, ts) IN (${instantsSql(instants)}) ${EXACT}`,
      parametersOf(selection),
    )
    return new Map(
      rows.map((row) => [`${row.id}@${row.time}`, { value: Number(row.value), arrival: Number(row.arrival) }]),
    )
  }

  #pointBuckets(selection: Selection, request: BucketRequest): string {
    const { stepMs, quantile, openStarts } = request
    const open = openStarts.length === 0 ? '0' : `k IN (${openStarts.map((start) => start / stepMs).join(', ')})`
    // The two neighbours of the rank; interpolating is done in one place for memory and ClickHouse.
    const rank = `${quantile} * (length(sorted) - 1)`
    const quantiles =
      quantile === undefined
        ? ''
        : `, arraySort(groupArray(x)) AS sorted, sorted[toUInt32(floor(${rank})) + 1] AS ql, sorted[toUInt32(ceil(${rank})) + 1] AS qh,
        groupArrayIf(${QUANTILE_VALUES_MAX + 1})(x, ${open}) AS vs`
    return `SELECT ${this.#group(request)} AS g, toInt64(intDiv(toUnixTimestamp64Milli(ts), ${stepMs})) AS k, count() AS n, sum(x) AS s, min(x) AS lo, max(x) AS hi,
        argMax(x, (ts, at)) AS la, max(ts) AS lt, argMax(at, (ts, at)) AS lat ${quantiles}
      FROM (${this.#points(selection, request)}) AS p ${this.#join(selection, request)} WHERE isFinite(x) GROUP BY g, k`
  }

  #rollupBuckets(selection: Selection, request: BucketRequest, span: Span, without: readonly number[]): string {
    return `SELECT ${this.#group(request)} AS g, toInt64(intDiv(toUnixTimestamp(b) * 1000, ${request.stepMs})) AS k, sum(count) AS n, sum(p.sum) AS s, min(p.min) AS lo, max(p.max) AS hi,
        argMax(p.last, p.last_ts) AS la, max(p.last_ts) AS lt, toDateTime64(0, 6, 'UTC') AS lat
      FROM (SELECT * FROM ${this.#database}.r1h FINAL WHERE ${this.#rolled(selection, span, without)}) AS p ${this.#join(selection, request)} GROUP BY g, k`
  }

  #group({ groupBy }: BucketRequest): string {
    return groupBy === undefined ? 'toString(p.series)' : 'd.label'
  }

  /** The value of the label that is grouped by, for each series: 'key=value', or '' for none. */
  #join(selection: Selection, { groupBy }: BucketRequest): string {
    if (groupBy === undefined) return ''
    return `INNER JOIN (SELECT series, any(arrayFirst(l -> startsWith(l, {key:String}), kv)) AS label FROM ${this.#database}.series WHERE ${this.#describes(selection)} GROUP BY series) AS d ON p.series = d.series`
  }

  /** Points of the segment, exact, without the hours that roll-ups answer and the instants that memory answers. */
  #points(
    selection: Selection,
    { segments, dirtyHours, without }: Pick<BucketRequest, 'segments' | 'dirtyHours' | 'without'>,
  ): string {
    const { points, exact } = segments
    let where = this.#within(selection, points!)
    if (exact !== undefined) {
      const dirty = dirtyHours.length === 0 ? '' : `OR toStartOfHour(ts) IN (${dirtyHours.map(hourSql).join(', ')})`
      where += ` AND (toStartOfHour(ts) < ${hourSql(exact.from)} OR toStartOfHour(ts) > ${hourSql(exact.to + 1 - 3_600_000)} ${dirty})`
    }
    if (without.length > 0) where += ` AND (series, ts) NOT IN (${instantsSql(without)})`
    return `SELECT series, ts, at, ${VALUE_SQL} AS x FROM ${this.#database}.samples FINAL WHERE ${where}`
  }

  /** The hour is asked for by name: the key begins with it. */
  #within(selection: Selection, { from, to }: Span): string {
    return `tenant = {tenant:String} AND ${this.#seriesIn(selection)}
      AND toStartOfHour(ts) >= toStartOfHour(${timeSql(from)}) AND toStartOfHour(ts) <= toStartOfHour(${timeSql(to)}) AND ts >= ${timeSql(from)} AND ts <= ${timeSql(to)}`
  }

  #rolled(selection: Selection, { from, to }: Span, without: readonly number[]): string {
    const except = without.length === 0 ? '' : `AND b NOT IN (${without.map(hourSql).join(', ')})`
    return `tenant = {tenant:String} AND ${this.#seriesIn(selection)} AND b >= ${hourSql(from)} AND b <= ${hourSql(to + 1 - 3_600_000)} AND count > 0 ${except}`
  }

  #seriesIn(selection: Selection): string {
    // Written as text: a number over 2^64 in a statement would be a float, and find nothing.
    if (selection.series !== undefined)
      return `series IN (${selection.series.map((id) => `'${id}'`).join(', ') || "'0'"})`
    return `series IN (SELECT series FROM ${this.#database}.series WHERE ${this.#describes(selection)})`
  }

  #describes({ filter }: Selection): string {
    return `tenant = {tenant:String} AND name = {name:String}${filter.map((_, i) => ` AND has(kv, {label${i}:String})`).join('')}`
  }
}

interface BucketRow {
  readonly g: string
  readonly k: string | number
  readonly count: string
  readonly total: number | string
  readonly least: number | string
  readonly most: number | string
  readonly last: number | string
  readonly last_time: string
  readonly last_arrival: string
  readonly low?: number | string
  readonly high?: number | string
  readonly values?: readonly (number | string)[]
}

function bucketOf(row: BucketRow, stepMs: number, grouped: boolean): StoredBucket {
  const values = row.values?.map(Number) ?? []
  return {
    group: grouped ? (row.g === '' ? null : decodeLabel(row.g)[1]) : row.g,
    start: Number(row.k) * stepMs,
    count: Number(row.count),
    sum: Number(row.total),
    min: Number(row.least),
    max: Number(row.most),
    last: Number(row.last),
    lastTime: Number(row.last_time),
    lastArrival: Number(row.last_arrival),
    values: values.length === 0 ? undefined : values,
    neighbours: values.length === 0 && row.low !== undefined ? [Number(row.low), Number(row.high)] : undefined,
  }
}

function parametersOf({ tenant, name, filter }: Selection): Parameters {
  return { tenant, name, ...Object.fromEntries(filter.map((label, i) => [`label${i}`, encodeLabel(label)])) }
}

function timeSql(ms: number): string {
  return `fromUnixTimestamp64Milli(toInt64(${ms}), 'UTC')`
}

function hourSql(ms: number): string {
  return `toDateTime(${ms / 1000}, 'UTC')`
}

function instantsSql(instants: readonly Instant[]): string {
  return instants.map(({ series, time }) => `(toUInt128('${series}'), ${timeSql(time)})`).join(', ')
}
