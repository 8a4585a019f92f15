/**
 * Answers a metric query from memory, from ClickHouse, or from both.
 *
 *     ……… ClickHouse, without the late points of memory ………│floor│……… memory ………
 *
 * Memory is read first. What it gives up afterwards is in ClickHouse by then; what arrives afterwards is newer than the
 * question. Late points (below the floor, not stored yet) are taken from memory, and statements leave their instants out:
 * where ClickHouse has one of them too, the larger arrival wins here as it does there.
 *
 * Main threads must not block: long loops over series give way to other work every few milliseconds.
 */
import type { Label } from '../../proto/wire/labels.ts'
import { compareUtf8 } from '../../proto/wire/labels.ts'
import type { HotSeries, LatePoint } from '../hot/hot-series.ts'
import type { SeriesInfo, SeriesRegistry } from '../hot/series-registry.ts'
import { labelsJson } from '../hot/series-registry.ts'
import { Buckets, quantileOf } from './buckets.ts'
import type { MetricQuery } from './parameters.ts'
import { planSegments } from './segments.ts'
import type { BucketRequest, Instant, Selection, StoredSeries } from './stored-series.ts'
import { QUANTILE_VALUES_MAX } from './stored-series.ts'
import { Turns } from './turns.ts'

/** One line of the answer: a series, or a group of them. */
export interface ResultSeries {
  /** The full label set, or the one label that is grouped by (null: those without it). */
  readonly labels: readonly Label[] | readonly [key: string, value: null][]
  readonly buckets: Buckets
}

export interface MetricResult {
  /** In byte order of the labels as JSON; at most `limit`. */
  readonly series: readonly ResultSeries[]
  /** How many matched with a sample in the range. */
  readonly matched: number
  /** Time of the newest sample among all that matched, ms. */
  readonly latest: number | undefined
  readonly warnings: readonly string[]
}

/** The question is answerable only in a smaller form. */
export class QueryTooLarge extends Error {}

/** The answer needs something that is not there at the moment. */
export class QueryUnavailable extends Error {}

export interface MetricQueryContext {
  readonly hot: HotSeries
  readonly registry: SeriesRegistry
  readonly stored: StoredSeries
  /** Hours whose roll-ups may lack points, starts in ms. */
  readonly dirtyHours: () => Promise<ReadonlySet<number>>
  /** Why ClickHouse cannot be asked; undefined when it can. */
  readonly storedProblem: () => string | undefined
  /** Stores what waits, at once. */
  readonly flush: () => void
  readonly now: () => number
  readonly pointsMs: number
  /** How old points may be when they arrive: roll-ups below that are not recomputed. */
  readonly lateMaxMs: number
  readonly pointsPerSeriesMax: number
  readonly seriesScannedMax: number
}

/** How often a question is begun again because memory had to give up what it was reading. */
const ATTEMPTS = 4
const HOUR_MS = 3_600_000
/** Late points that a statement can name; with more, the store is asked to hurry. */
const INSTANTS_MAX = 2000
const LATE_WAIT_MS = 5000

export async function runMetricQuery(
  context: MetricQueryContext,
  tenant: string,
  query: MetricQuery,
  limit: number,
): Promise<MetricResult> {
  const filter = query.filter
  if (filter === undefined) return { series: [], matched: 0, latest: undefined, warnings: [] }
  const { hot } = context
  const unpin = hot.pin()
  try {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { generation } = hot
      const result = await new Run(context, tenant, { ...query, filter }, limit).result().catch((error: unknown) => {
        if (hot.generation === generation) throw error
        return undefined
      })
      if (result !== undefined && hot.generation === generation) return result
    }
    throw new QueryUnavailable('Memory is over its bound and gave up what was being read: ask again, or for less')
  } finally {
    unpin()
  }
}

/** A series that has samples in the range, from wherever. */
interface Candidate {
  /** Where memory keeps it. */
  slot: number | undefined
  readonly labels: readonly Label[]
  latest: number
}

class Run {
  readonly #context: MetricQueryContext
  readonly #query: MetricQuery & { readonly filter: readonly Label[] }
  readonly #limit: number
  readonly #floor: number
  readonly #selection: Selection
  readonly #slots: readonly number[]
  readonly #candidates = new Map<string, Candidate>()
  readonly #turns = new Turns()

  constructor(
    context: MetricQueryContext,
    tenant: string,
    query: MetricQuery & { readonly filter: readonly Label[] },
    limit: number,
  ) {
    this.#context = context
    this.#query = query
    this.#limit = limit
    this.#floor = context.hot.floor
    this.#selection = { tenant, name: query.name, filter: query.filter, series: undefined }
    this.#slots = context.registry.matching(tenant, query.name, query.filter)
  }

  async result(): Promise<MetricResult> {
    const { from, to } = this.#query
    const warnings: string[] = []
    await this.#scanMemory()
    const stored = from < this.#floor ? await this.#prepareStored() : undefined
    if (stored !== undefined) {
      warnings.push(...stored.request.segments.warnings)
      await this.#scanStored(stored)
    }
    const { unseenBefore } = this.#context.hot
    if (unseenBefore > from) {
      warnings.push(
        `samples before ${iso(Math.min(unseenBefore, to))} that ClickHouse has not stored yet are accepted and not visible: it has been away for long`,
      )
    }
    const latest = [...this.#candidates.values()].reduce(
      (newest, c) => Math.max(newest, c.latest),
      Number.NEGATIVE_INFINITY,
    )
    const series =
      this.#query.groupBy === undefined
        ? await this.#perSeries(stored)
        : await this.#perGroup(stored, this.#query.groupBy)
    const matched = this.#query.groupBy === undefined ? this.#candidates.size : series.length
    return {
      series: series.slice(0, this.#limit),
      matched,
      latest: Number.isFinite(latest) ? latest : undefined,
      warnings,
    }
  }

  /** Finds the series with a finite sample in memory's part of the range. */
  async #scanMemory(): Promise<void> {
    const { hot, registry } = this.#context
    const { from, to } = this.#query
    for (const slot of this.#slots) {
      const latest = hot.latest(slot, from, to)
      if (latest > Number.NEGATIVE_INFINITY)
        this.#candidates.set(this.#keyOf(slot), { slot, labels: registry.get(slot).labels, latest })
      if (this.#turns.over) await this.#turns.next()
    }
  }

  /** Decides what ClickHouse is asked, and which late points are put beside its answer. */
  async #prepareStored(): Promise<StoredPart> {
    const { registry, stored, dirtyHours, now, pointsMs, lateMaxMs, pointsPerSeriesMax } = this.#context
    const problem = this.#context.storedProblem()
    if (problem !== undefined) throw new QueryUnavailable(problem)
    const { from, to, stepMs, agg, groupBy } = this.#query
    const end = Math.min(to, this.#floor - 1)
    const late = await this.#lateInstants(from, end)
    const dirty = new Set([...(await dirtyHours()), ...late.map((l) => Math.floor(l.point.time / HOUR_MS) * HOUR_MS)])
    const segments = planSegments({
      from,
      to: end,
      stepMs,
      quantile: quantileOf(agg) !== undefined,
      pointsFrom: Math.ceil((now() - pointsMs) / HOUR_MS) * HOUR_MS,
      rolledFrom: Math.ceil((now() - lateMaxMs) / HOUR_MS) * HOUR_MS,
      dirtyHours: dirty,
    })
    const openStarts = new Set(late.map((l) => Math.floor(l.point.time / stepMs) * stepMs))
    if (to >= this.#floor) openStarts.add(Math.floor(this.#floor / stepMs) * stepMs)
    const request: BucketRequest = {
      segments,
      dirtyHours: [...dirty],
      without: late.map((l) => l.instant),
      stepMs,
      groupBy,
      quantile: quantileOf(agg),
      openStarts: [...openStarts],
      bucketsMax: pointsPerSeriesMax + 1, // one more than is shown tells that there are more
    }
    // Of an instant that both have, the larger arrival counts; its value is what memory adds.
    const there = await stored.at(this.#selection, request.without)
    const points = late.map(({ point, instant }) => {
      const other = there.get(`${instant.series}@${instant.time}`)
      const wins = other !== undefined && other.arrival > point.arrival
      return {
        ...point,
        value: wins ? other.value : point.value,
        arrival: wins ? other.arrival : point.arrival,
        id: instant.series,
        info: registry.get(point.slot),
      }
    })
    return { request, late: points }
  }

  /** Late points of the matching series in a range, one an instant. */
  async #lateInstants(from: number, to: number): Promise<{ point: LatePoint; instant: Instant }[]> {
    const { hot, registry, flush } = this.#context
    const slots = new Set(this.#slots)
    for (const since = performance.now(); ; ) {
      const newest = new Map<string, LatePoint>()
      for (const point of hot.late(from, to)) {
        const key = `${point.slot}@${point.time}`
        if (slots.has(point.slot) && point.arrival > (newest.get(key)?.arrival ?? Number.NEGATIVE_INFINITY))
          newest.set(key, point)
      }
      if (newest.size <= INSTANTS_MAX)
        return [...newest.values()].map((point) => ({
          point,
          instant: { series: idText(registry.get(point.slot)), time: point.time },
        }))
      if (performance.now() - since > LATE_WAIT_MS)
        throw new QueryUnavailable('Many old samples have just arrived and are being stored: ask again')
      flush()
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  /** Finds the series with a finite sample in ClickHouse's part of the range. */
  async #scanStored({ request, late }: StoredPart): Promise<void> {
    const { stored, registry, seriesScannedMax } = this.#context
    const latest = await stored.latest(this.#selection, request)
    const unknown = [...latest.keys()].some((id) => !this.#candidates.has(id))
    const labels = unknown ? await stored.labels(this.#selection, seriesScannedMax) : new Map<string, Label[]>()
    if (labels.size > seriesScannedMax)
      throw new QueryTooLarge(`more than ${seriesScannedMax} series match: add a label filter`)
    for (const [id, time] of latest) this.#found(id, time, labels.get(id) ?? [], undefined)
    for (const point of late) {
      if (Number.isFinite(point.value)) this.#found(point.id, point.time, registry.get(point.slot).labels, point.slot)
    }
  }

  #found(id: string, time: number, labels: readonly Label[], slot: number | undefined): void {
    const known = this.#candidates.get(id)
    if (known === undefined) this.#candidates.set(id, { slot, labels, latest: time })
    else known.latest = Math.max(known.latest, time)
  }

  async #perSeries(stored: StoredPart | undefined): Promise<ResultSeries[]> {
    const { registry } = this.#context
    const kept = [...this.#candidates].map(([id, c]) => ({
      id,
      ...c,
      json: c.slot === undefined ? labelsJson(c.labels) : registry.labelsJson(c.slot),
    }))
    kept.sort((a, b) => compareUtf8(a.json, b.json))
    kept.length = Math.min(kept.length, this.#limit)
    const groups = new Map<string | null, ResultSeries>()
    for (const { id, labels } of kept) groups.set(id, { labels, buckets: this.#newBuckets() })
    const slots = kept.map(({ id, slot }) => [id, slot ?? this.#slotOf(id)] as const)
    await this.#fill(
      groups,
      slots,
      stored,
      kept.map((k) => k.id),
    )
    return [...groups.values()]
  }

  async #perGroup(stored: StoredPart | undefined, key: string): Promise<ResultSeries[]> {
    const { registry } = this.#context
    const groups = new Map<string | null, ResultSeries>()
    const groupOf = (labels: readonly Label[]): string | null => labels.find(([k]) => k === key)?.[1] ?? null
    for (const { labels } of this.#candidates.values()) {
      const value = groupOf(labels)
      if (!groups.has(value))
        groups.set(value, { labels: value === null ? [[key, null]] : [[key, value]], buckets: this.#newBuckets() })
    }
    const slots = this.#slots.map((slot) => [groupOf(registry.get(slot).labels), slot] as const)
    await this.#fill(groups, slots, stored, undefined)
    const json = (group: ResultSeries): string => JSON.stringify(Object.fromEntries(group.labels))
    return [...groups.values()].sort((a, b) => compareUtf8(json(a), json(b)))
  }

  /** Puts the samples of memory, of ClickHouse and the late ones into their groups. */
  async #fill(
    groups: ReadonlyMap<string | null, ResultSeries>,
    slots: readonly (readonly [group: string | null, slot: number | undefined])[],
    stored: StoredPart | undefined,
    series: readonly string[] | undefined,
  ): Promise<void> {
    const { from, to, groupBy } = this.#query
    for (const [key, slot] of slots) {
      const group = groups.get(key)
      if (group === undefined || slot === undefined) continue
      this.#context.hot.read(slot, Math.max(from, this.#floor), to, (time, value, arrival) =>
        group.buckets.add(time, value, arrival),
      )
      if (this.#turns.over) await this.#turns.next()
    }
    if (stored === undefined || groups.size === 0) return
    for (const bucket of await this.#context.stored.buckets({ ...this.#selection, series }, stored.request)) {
      if ((bucket.values?.length ?? 0) > QUANTILE_VALUES_MAX) {
        throw new QueryTooLarge(
          `a percentile over more than ${QUANTILE_VALUES_MAX} samples in one bucket: take a smaller step or a label filter`,
        )
      }
      groups.get(bucket.group)?.buckets.merge(bucket.start, bucket)
    }
    for (const point of stored.late) {
      const key = groupBy === undefined ? point.id : (point.info.labels.find(([k]) => k === groupBy)?.[1] ?? null)
      groups.get(key)?.buckets.add(point.time, point.value, point.arrival)
    }
  }

  #newBuckets(): Buckets {
    return new Buckets(this.#query.stepMs, quantileOf(this.#query.agg) !== undefined)
  }

  /** What a series is found under: its id where ClickHouse is asked too, else the slot, which costs nothing. */
  #keyOf(slot: number): string {
    return this.#query.from < this.#floor ? idText(this.#context.registry.get(slot)) : String(slot)
  }

  /** A series that was found in ClickHouse may have its newest points in memory. */
  #slotOf(id: string): number | undefined {
    this.#slotsById ??= new Map(this.#slots.map((slot) => [idText(this.#context.registry.get(slot)), slot]))
    return this.#slotsById.get(id)
  }
  #slotsById: Map<string, number> | undefined
}

interface StoredPart {
  readonly request: BucketRequest
  /** Late points with the value that counts for their instant. */
  readonly late: readonly (LatePoint & { readonly id: string; readonly info: SeriesInfo })[]
}

/** A series' id as the decimal number that ClickHouse prints. */
function idText({ id }: SeriesInfo): string {
  const view = new DataView(id.buffer, id.byteOffset, 16)
  return ((view.getBigUint64(8, true) << 64n) | view.getBigUint64(0, true)).toString()
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
