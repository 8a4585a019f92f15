/**
 * When GPUs were there, as far as stored samples say so: of the metrics of utilisation that tasks are calculated of (metric-mapping.ts),
 * and by the same rule: a sample holds until the next, at most 2.5 intervals; a stale marker ends it. ClickHouse joins what follows each
 * other, so that a month of a GPU without a gap is one span here. Where samples have expired, figures of whole hours are taken.
 */
import type { Label } from '../../proto/wire/labels.ts'
import { QueryTooLarge } from '../query/metric-query.ts'
import type { Database } from '../store/clickhouse.ts'
import { decodeLabel } from '../store/insert-series.ts'
import { jsonRows } from '../store/json-rows.ts'
import { VALUE_SQL } from '../store/schema/migrations.ts'
import { HOLD_INTERVALS, medianOf } from './devices.ts'
import type { MetricMapping } from './metric-mapping.ts'
import { clipped, unionOf } from './spans.ts'
import type { Span } from './step-function.ts'

export interface PresenceSeries {
  /** A decimal number. */
  readonly id: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
}

/** By id of the series. */
export type Presence = Map<string, readonly Span[]>

export interface PresenceOptions {
  readonly db: Database
  readonly database: string
  /** Of utilisation alone. */
  readonly mapping: MetricMapping
  /** The usual time between two samples, ms. */
  readonly intervalMs: number
  /** Most series that one question reads. */
  readonly seriesMax: number
  /** Most samples that one question reads; undefined: two hundred million. */
  readonly samplesMax?: number
  /** Most spans that one question holds; undefined: a million. */
  readonly spansMax?: number
}

/** Samples that one statement goes through: it sorts them in memory. */
const STATEMENT_SAMPLES_MAX = 3_000_000
/** Samples that one question goes through. */
const SAMPLES_MAX = 200_000_000
/** Times that a GPU came, of all together: without gaps each has one. */
const SPANS_MAX = 1_000_000
const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
/** Before a span: what may hold at its start, of a sample an hour too. */
const BEFORE_MS = 3 * HOUR_MS
const EXACT = 'SETTINGS do_not_merge_across_partitions_select_final = 1'
/** Numbers by which DCGM says that there is none. @see window.ts */
const BLANK = 'abs(x) >= 2147483632'

export class NodePresence {
  readonly #options: PresenceOptions

  constructor(options: PresenceOptions) {
    this.#options = options
  }

  /** Of utilisation alone. */
  get mapping(): MetricMapping {
    return this.#options.mapping
  }

  /** Of a tenant: those that had samples at the earliest a day before. */
  async series(tenant: string, from: number): Promise<PresenceSeries[]> {
    const { db, database, mapping, seriesMax } = this.#options
    const rows = await db.rows<{ id: string; name: string; labels: string[] }>(
      `SELECT toString(series) AS id, any(s.name) AS name, any(kv) AS labels FROM ${database}.series AS s
       WHERE tenant = {tenant:String} AND s.name IN {names:Array(String)}
       GROUP BY series HAVING max(seen) >= toDate({day:String}) ORDER BY series LIMIT ${seriesMax + 1}`,
      {
        tenant,
        names: [...new Set(mapping.map(({ metric }) => metric))],
        day: new Date(Math.max(0, from - DAY_MS)).toISOString().slice(0, 10),
      },
    )
    if (rows.length > seriesMax) throw new QueryTooLarge(`more than ${seriesMax} series of GPUs: raise task_series_max`)
    return rows.map(({ id, name, labels }) => ({ id, name, labels: labelsOf(labels.map(decodeLabel)) }))
  }

  /** @param ids of series @throws QueryTooLarge where they have too many samples in the period */
  async samples(tenant: string, ids: readonly string[], span: Span): Promise<Presence> {
    const found = new Map<string, Span[]>()
    if (ids.length === 0 || span.to <= span.from) return found
    const days = await this.#daysOf(tenant, ids, span)
    const count = days.reduce((sum, { counts }) => sum + sumOf(counts), 0)
    const { samplesMax: max = SAMPLES_MAX } = this.#options
    let held = 0
    if (count > max)
      throw new QueryTooLarge(
        `${count} samples of GPUs are more than ${max} for one question: ask for a shorter period, or for one node`,
      )
    for (const piece of piecesOf(ids, days, STATEMENT_SAMPLES_MAX))
      for await (const { id, spans } of this.#pieceOf(tenant, piece)) {
        const known = found.get(id) ?? []
        found.set(id, known)
        for (const one of clipped(spans, piece)) known.push(one)
        held += spans.length
        this.#bound(held)
      }
    return new Map([...found].map(([id, spans]) => [id, unionOf(spans)]))
  }

  /** The same of figures of whole hours: as exact as their first and last sample, and gaps within an hour are its end. */
  async hours(tenant: string, ids: readonly string[], { from, to }: Span): Promise<Presence> {
    const { db, database, intervalMs } = this.#options
    const out: Presence = new Map()
    let held = 0
    if (ids.length === 0 || to <= from) return out
    const rows = db.stream(
      `SELECT toString(series) AS id, arraySort(groupArray((toUnixTimestamp64Milli(first_ts), toUnixTimestamp64Milli(last_ts), count))) AS hours
       FROM ${database}.r1h FINAL WHERE ${hoursOf(ids)} AND count > 0 GROUP BY series ${EXACT}`,
      'JSONEachRow',
      { tenant, ...secondsOf({ from: from - BEFORE_MS, to }) },
    )
    for await (const { id, hours } of jsonRows<{ id: string; hours: [string, string, number][] }>(rows)) {
      const figures = hours.map(([first, last, count]) => ({ first: Number(first), last: Number(last), count }))
      const spans = clipped(spansOfHours(figures, intervalMs), { from, to })
      out.set(id, spans)
      held += spans.length
      this.#bound(held)
    }
    return out
  }

  #bound(spans: number): void {
    const { spansMax = SPANS_MAX } = this.#options
    if (spans > spansMax)
      throw new QueryTooLarge(
        `GPUs were away more than ${spansMax} times in that time: ask for a shorter period, or for one node`,
      )
  }

  /** How many samples there are about, as far as roll-ups say so yet. */
  async #daysOf(tenant: string, ids: readonly string[], { from, to }: Span): Promise<DayCounts[]> {
    const { db, database } = this.#options
    const rows = db.stream(
      `SELECT toString(toUnixTimestamp(toStartOfDay(b))) AS day, toString(series) AS id, toString(sum(count)) AS samples
       FROM ${database}.r1h FINAL WHERE ${hoursOf(ids)} GROUP BY day, series ${EXACT}`,
      'JSONEachRow',
      { tenant, ...secondsOf({ from, to }) },
    )
    const byDay = new Map<number, Map<string, number>>()
    for await (const { day, id, samples } of jsonRows<Record<'day' | 'id' | 'samples', string>>(rows)) {
      const counts = byDay.get(Number(day) * 1000) ?? new Map<string, number>()
      byDay.set(Number(day) * 1000, counts.set(id, Number(samples)))
    }
    const days: DayCounts[] = []
    for (let day = Math.floor(from / DAY_MS) * DAY_MS; day < to; day += DAY_MS)
      days.push({
        from: Math.max(from, day),
        to: Math.min(to, day + DAY_MS),
        counts: byDay.get(day) ?? new Map(),
      })
    return days
  }

  async *#pieceOf(
    tenant: string,
    { ids, from, to }: Piece,
  ): AsyncIterable<{ readonly id: string; readonly spans: Span[] }> {
    const { db, database, intervalMs } = this.#options
    // The same as heldSteps() of step-function.ts, in whole ms, with what touches joined; arrays begin at 1.
    const rows = db.stream(
      `SELECT id, starts, stops FROM (SELECT toString(series) AS id,
         arraySort(groupArray((ms, finite))) AS points, arrayMap(p -> p.1, points) AS times,
         arrayPopFront(arrayDifference(times)) AS gaps,
         if(length(gaps) < 3, 0, arraySort(gaps)[intDiv(length(gaps), 2) + 1]) AS median,
         floor(${HOLD_INTERVALS} * greatest(${Math.round(intervalMs)}, median)) AS hold,
         arrayMap((t, next) -> least(next, t + hold), times, arrayPopFront(arrayPushBack(times, 9e15))) AS untils,
         arrayFilter((t, p) -> p.2 = 1, times, points) AS begins,
         arrayFilter((u, p) -> p.2 = 1, untils, points) AS ends,
         arrayFilter((t, before) -> t > before, begins, arrayPopBack(arrayPushFront(ends, -1.))) AS starts,
         arrayFilter((u, next) -> u < next, ends, arrayPopFront(arrayPushBack(begins, 9.1e15))) AS stops
       FROM (
         SELECT series, toFloat64(toUnixTimestamp64Milli(ts)) AS ms, ${VALUE_SQL} AS x, isFinite(x) AS finite FROM ${database}.samples FINAL
         WHERE tenant = {tenant:String} AND series IN (${listOf(ids)})
         AND toStartOfHour(ts) >= toStartOfHour(${AT('from')}) AND toStartOfHour(ts) <= toStartOfHour(${AT('to')})
         AND ts >= ${AT('from')} AND ts < ${AT('to')}
       ) WHERE NOT (finite AND ${BLANK}) GROUP BY series) ${EXACT}`,
      'JSONEachRow',
      { tenant, from: from - BEFORE_MS, to },
    )
    for await (const { id, starts, stops } of jsonRows<{ id: string; starts: number[]; stops: number[] }>(rows))
      yield { id, spans: starts.map((start, i) => ({ from: start, to: stops[i]! })) }
  }
}

/** Figures of an hour: times of its first and last sample, ms, and how many there were. */
export interface HourFigures {
  readonly first: number
  readonly last: number
  readonly count: number
}

/** @param hours in order */
export function spansOfHours(hours: readonly HourFigures[], intervalMs: number): Span[] {
  const gaps = hours.flatMap(({ first, last, count }) => (count > 1 ? [(last - first) / (count - 1)] : []))
  const hold = Math.floor(HOLD_INTERVALS * Math.max(intervalMs, medianOf(gaps)))
  const spans = hours.map(({ first, last, count }, i) => {
    const until = Math.min(last, first + (count - 1) * hold) + hold
    const next = hours[i + 1]?.first ?? Number.POSITIVE_INFINITY
    return { from: first, to: Math.min(until, next) }
  })
  return unionOf(spans)
}

/** Samples of a day, or a part of one, by id of the series. */
export interface DayCounts extends Span {
  readonly counts: ReadonlyMap<string, number>
}

/** What one statement reads. */
export interface Piece extends Span {
  readonly ids: readonly string[]
}

/** Days that follow each other together, days of too many samples in parts. @param max samples of a piece, where it is not one series' day */
export function piecesOf(ids: readonly string[], days: readonly DayCounts[], max: number): Piece[] {
  const pieces: (Piece & { readonly count: number })[] = []
  for (const { from, to, counts } of days) {
    const count = sumOf(counts)
    const last = pieces.at(-1)
    if (last !== undefined && last.to === from && last.ids === ids && last.count + count <= max)
      pieces[pieces.length - 1] = { ...last, to, count: last.count + count }
    else if (count <= max) pieces.push({ ids, from, to, count })
    else for (const some of inParts(ids, counts, max)) pieces.push({ ids: some, from, to, count: max })
  }
  return pieces.map(({ ids: some, from, to }) => ({ ids: some, from, to }))
}

function inParts(ids: readonly string[], counts: ReadonlyMap<string, number>, max: number): string[][] {
  const parts: string[][] = []
  let left = 0
  for (const id of ids) {
    const count = counts.get(id) ?? 0
    if (parts.length === 0 || count > left) {
      parts.push([])
      left = max
    }
    parts.at(-1)!.push(id)
    left -= count
  }
  return parts
}

function sumOf(counts: ReadonlyMap<string, number>): number {
  let sum = 0
  for (const count of counts.values()) sum += count
  return sum
}

const AT = (name: string): string => `fromUnixTimestamp64Milli({${name}:Int64}, 'UTC')`
/** As text: a number over 2^64 in a statement would be a float, and find nothing. */
const listOf = (ids: readonly string[]): string => ids.map((id) => `'${id}'`).join(', ')
const hoursOf = (ids: readonly string[]): string =>
  `tenant = {tenant:String} AND series IN (${listOf(ids)}) AND b >= fromUnixTimestamp({from:UInt32}) AND b < fromUnixTimestamp({to:UInt32})`

/** From the beginning of an hour. */
function secondsOf({ from, to }: Span): { from: number; to: number } {
  return { from: Math.max(0, Math.floor(from / HOUR_MS) * (HOUR_MS / 1000)), to: Math.ceil(to / 1000) }
}

function labelsOf(labels: readonly Label[]): Record<string, string> {
  return Object.fromEntries(labels)
}
