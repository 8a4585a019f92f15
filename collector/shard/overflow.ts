/**
 * Series beyond the cardinality bounds: their samples are not kept apart, they go into one aggregate a metric and minute.
 *
 *     series ──▶ reference (for a while, so that repeats are known) and the group of its metric in the overflow rule
 *
 * So that a person learns which label did it, the distinct values of each label are counted roughly, by metric.
 */
import type { Label, SeriesId } from '../../proto/wire/labels.ts'
import { SeriesTable } from './series-table.ts'

/** Numbers in the series column from here on are places in {@link Overflow}, valid for the write in hand. */
export const OVERFLOW: number = 2 ** 30

/** The bound that a series was beyond. */
export const SERIES_BOUNDS = ['series_max', 'series_per_tenant_max', 'series_per_sender_max'] as const
export type SeriesBound = (typeof SERIES_BOUNDS)[number]

/** What became of a metric's series beyond the bounds. */
export interface OverflowingMetric {
  readonly tenant: string
  readonly metric: string
  /** The label with most values; '' when there is none. */
  readonly label: string
  readonly bound: SeriesBound
  readonly samples: number
}

interface Entry {
  readonly ref: number
  readonly membership: number
  readonly metric: Metric
}

interface Metric {
  readonly tenant: string
  readonly name: string
  /** Distinct values by label, as a bitmap of hashes. */
  readonly values: Map<string, Uint8Array>
  bound: SeriesBound
  samples: number
}

/** References of the shard's own table are below. */
const FIRST_REF = 2 ** 31
const METRICS_MAX = 1000
const LABELS_MAX = 64
const BITMAP_BYTES = 128
/** How long a series is known: longer than its window may change. */
const KNOWN_MS = 600_000
const TOP = 20

/** The group of a tenant's metric in the overflow rule; undefined when there is no room for one more. */
export type JoinOverflow = (tenant: string, metric: string) => number | undefined

export class Overflow {
  /** Set by whoever owns the rules. */
  join: JoinOverflow = () => undefined
  readonly #seriesMax: number
  readonly #seed: number
  #current: SeriesTable
  #previous: SeriesTable
  #since = 0
  #nextRef = FIRST_REF
  /** Of the write in hand. */
  readonly #entries: Entry[] = []
  readonly #metrics = new Map<string, Metric>()
  /** Metrics beyond those that are told apart. */
  readonly #others: Metric = { tenant: '', name: '', values: new Map(), bound: 'series_max', samples: 0 }

  /** @param seriesMax distinct series at a time; what is beyond is refused */
  constructor(seriesMax: number, seed: number) {
    this.#seriesMax = seriesMax
    this.#seed = seed
    this.#current = new SeriesTable(seed)
    this.#previous = new SeriesTable(seed)
  }

  /** Whether the write in hand has any. */
  get used(): boolean {
    return this.#entries.length > 0
  }

  begin(): void {
    this.#entries.length = 0
  }

  /** Between writes: series that were not seen for long are forgotten. @param now ms */
  forget(now: number): void {
    if (Math.abs(now - this.#since) < KNOWN_MS) return
    this.#since = now
    if (this.#current.count + this.#previous.count === 0) return
    this.#previous = this.#current
    this.#current = new SeriesTable(this.#seed)
  }

  /**
   * @param tenant its number, and its name
   * @returns the number for the series column; undefined when there is no room: refused
   */
  enter(
    id: SeriesId,
    tenant: { readonly number: number; readonly name: string },
    name: string,
    labels: readonly Label[],
    bound: SeriesBound,
  ): number | undefined {
    const membership = this.join(tenant.name, name)
    if (membership === undefined) return undefined
    const metric = this.#metricOf(tenant.name, name)
    metric.bound = bound
    const ref = this.#refOf(id, tenant.number, metric, labels)
    if (ref === undefined) return undefined
    this.#entries.push({ ref, membership, metric })
    return OVERFLOW + this.#entries.length - 1
  }

  refOf(series: number): number {
    return this.#entries[series - OVERFLOW]!.ref
  }

  membershipOf(series: number): number {
    return this.#entries[series - OVERFLOW]!.membership
  }

  /** A sample was taken. */
  count(series: number): void {
    this.#entries[series - OVERFLOW]!.metric.samples++
  }

  /** What of the given series columns overflowed, by metric. */
  describe(series: Iterable<number>): OverflowingMetric[] {
    const samples = new Map<Metric, number>()
    for (const s of series) {
      const { metric } = this.#entries[s - OVERFLOW]!
      samples.set(metric, (samples.get(metric) ?? 0) + 1)
    }
    return [...samples].map(([metric, n]) => told(metric, n))
  }

  /** The metrics that overflow most, in this process. */
  get top(): OverflowingMetric[] {
    return [...this.#metrics.values(), this.#others]
      .filter(({ samples }) => samples > 0)
      .sort((a, b) => b.samples - a.samples)
      .slice(0, TOP)
      .map((metric) => told(metric, metric.samples))
  }

  #refOf(id: SeriesId, tenant: number, metric: Metric, labels: readonly Label[]): number | undefined {
    const known = this.#current.withId(id, tenant)
    if (known >= 0) return this.#current.ref[known]!
    if (this.#current.count >= this.#seriesMax) return undefined
    const before = this.#previous.withId(id, tenant)
    const series = this.#current.add(id, tenant)
    const ref = before >= 0 ? this.#previous.ref[before]! : this.#newRef()
    this.#current.ref[series] = ref
    if (before < 0) noteValues(metric, labels)
    return ref
  }

  #newRef(): number {
    const ref = this.#nextRef
    this.#nextRef = ref === 2 ** 32 - 1 ? FIRST_REF : ref + 1
    return ref
  }

  #metricOf(tenant: string, name: string): Metric {
    const key = `${tenant}\0${name}`
    let metric = this.#metrics.get(key)
    if (metric === undefined) {
      if (this.#metrics.size >= METRICS_MAX) return this.#others
      metric = { tenant, name, values: new Map(), bound: 'series_max', samples: 0 }
      this.#metrics.set(key, metric)
    }
    return metric
  }
}

function told(metric: Metric, samples: number): OverflowingMetric {
  let label = ''
  let most = -1
  for (const [name, bitmap] of metric.values) {
    const count = bitmap.reduce((n, byte) => n + BITS[byte]!, 0)
    if (count > most) label = name
    most = Math.max(most, count)
  }
  return { tenant: metric.tenant, metric: metric.name, label, bound: metric.bound, samples }
}

const BITS = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll('0', '').length)

function noteValues({ values }: Metric, labels: readonly Label[]): void {
  for (const [name, value] of labels) {
    let bitmap = values.get(name)
    if (bitmap === undefined) {
      if (values.size >= LABELS_MAX) continue
      bitmap = new Uint8Array(BITMAP_BYTES)
      values.set(name, bitmap)
    }
    const bit = hashOf(value) % (BITMAP_BYTES * 8)
    bitmap[bit >> 3]! |= 1 << (bit & 7)
  }
}

function hashOf(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h ^= h >>> 15
  return Math.imul(h, 0x2c1b3c6d) >>> 0
}
