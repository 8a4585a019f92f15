/** Which metrics there are, with their labels: from memory, and from ClickHouse what memory does not hold any more. */
import { LRUCache } from 'lru-cache'
import type { Label } from '../../proto/wire/labels.ts'
import type { SeriesRegistry } from '../hot/series-registry.ts'
import { readMetadataOf } from '../prometheus/stored-metadata.ts'
import type { StoredSeries } from '../query/stored-series.ts'
import { Turns } from '../query/turns.ts'
import type { Database } from '../store/clickhouse.ts'
import type { MetricLabelsAnswer, MetricNameAnswer } from './api.ts'

export interface MetricNamesOptions {
  readonly registry: SeriesRegistry
  readonly stored: StoredSeries
  readonly db: Database
  readonly database: string
  /** Why ClickHouse cannot be asked; undefined when it can. */
  readonly storedProblem: () => string | undefined
  readonly seriesScannedMax: number
}

const NAMES_KEPT_MS = 15_000
const VALUES_COUNTED_MAX = 10_000
const VALUES_SHOWN_MAX = 50
const KEYS_MAX = 200

export class MetricNames {
  readonly #options: MetricNamesOptions
  /** Names that ClickHouse has, by tenant: typing asks for them again and again. */
  readonly #stored = new LRUCache<string, Promise<string[]>>({ max: 100, ttl: NAMES_KEPT_MS })

  constructor(options: MetricNamesOptions) {
    this.#options = options
  }

  /** Names that hold every word of the search, in any case, by name. */
  async names(tenant: string, search: string): Promise<{ names: Map<string, MetricNameAnswer>; warnings: string[] }> {
    const { registry, storedProblem } = this.#options
    const problem = storedProblem()
    const older = problem === undefined ? await this.#storedNames(tenant) : []
    const words = search.toLowerCase().split(/\s+/)
    const names = new Map<string, MetricNameAnswer>()
    for (const name of new Set([...registry.names(tenant), ...older])) {
      const lower = name.toLowerCase()
      if (words.every((word) => lower.includes(word)))
        names.set(name, { name, series: registry.seriesOf(tenant, name) })
    }
    return { names, warnings: problem === undefined ? [] : [`only metrics of the last minutes: ${problem}`] }
  }

  /** What stands in the labels of a metric's series. */
  async labels(tenant: string, name: string): Promise<MetricLabelsAnswer> {
    const { registry, stored, db, database, storedProblem, seriesScannedMax } = this.#options
    const slots = registry.matching(tenant, name, [])
    const problem = storedProblem()
    const warnings = problem === undefined ? [] : [`only series of the last minutes: ${problem}`]
    const counts = new LabelCounts()
    const turns = new Turns()
    for (const slot of slots) {
      if (registry.has(slot)) counts.add(registry.get(slot).labels)
      if (turns.over) await turns.next()
    }
    let series = slots.length
    if (series === 0 && problem === undefined) {
      const older = await stored.labels({ tenant, name, filter: [], series: undefined }, seriesScannedMax)
      for (const labels of older.values()) counts.add(labels)
      series = older.size
    }
    const metadata =
      problem === undefined
        ? (await readMetadataOf(db, database, tenant, { metric: name, metricsMax: 1, perMetricMax: 1 }))[name]?.[0]
        : undefined
    return { name, series, metadata: metadata ?? null, labels: counts.answer(), warnings }
  }

  #storedNames(tenant: string): Promise<string[]> {
    let names = this.#stored.get(tenant)
    if (names === undefined) {
      names = this.#options.stored.names(tenant)
      this.#stored.set(tenant, names)
      names.catch(() => this.#stored.delete(tenant))
    }
    return names
  }
}

/** How many series have which value of which label. */
class LabelCounts {
  readonly #keys = new Map<string, Map<string, number>>()

  add(labels: readonly Label[]): void {
    for (const [key, value] of labels) {
      let values = this.#keys.get(key)
      if (values === undefined) {
        if (this.#keys.size >= KEYS_MAX) continue
        values = new Map()
        this.#keys.set(key, values)
      }
      const count = values.get(value)
      if (count !== undefined || values.size < VALUES_COUNTED_MAX) values.set(value, (count ?? 0) + 1)
    }
  }

  answer(): MetricLabelsAnswer['labels'] {
    return [...this.#keys].map(([key, values]) => ({
      key,
      values: [...values]
        .sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0], 'en', { numeric: true }))
        .slice(0, VALUES_SHOWN_MAX)
        .map(([value, series]) => ({ value, series })),
      values_total: values.size,
    }))
  }
}
