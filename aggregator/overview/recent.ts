/**
 * What memory holds of one tenant, read the way the overview needs it: newest values, increases, and means by step. Never asks
 * ClickHouse. Loops over series give way to other work every few milliseconds.
 */
import type { Label } from '../../proto/wire/labels.ts'
import type { HotSeries } from '../hot/hot-series.ts'
import type { SeriesRegistry } from '../hot/series-registry.ts'
import { Turns } from '../query/turns.ts'

export interface RecentOptions {
  readonly hot: HotSeries
  readonly registry: SeriesRegistry
  /** Wall clock, ms. */
  readonly now: () => number
}

/** A series with a finite newest value. */
export interface RecentSeries {
  readonly slot: number
  readonly labels: readonly Label[]
  /** Of the newest sample, ms. */
  readonly time: number
  readonly value: number
}

export class Recent {
  readonly tenant: string
  /** When this was asked, ms. */
  readonly now: number
  readonly #hot: HotSeries
  readonly #registry: SeriesRegistry
  readonly #turns = new Turns()

  constructor({ hot, registry, now }: RecentOptions, tenant: string) {
    this.tenant = tenant
    this.now = now()
    this.#hot = hot
    this.#registry = registry
  }

  /** The series of a metric that have points and have not ended (their newest is no stale marker). */
  async *series(name: string, filter: readonly Label[] = []): AsyncGenerator<RecentSeries> {
    for (const slot of this.#registry.matching(this.tenant, name, filter)) {
      if (this.#turns.over) await this.#turns.next()
      if (!this.#registry.has(slot)) continue // released while others had their turn
      const time = this.#hot.newest(slot)
      let value = Number.NaN
      this.#hot.read(slot, time, time, (_, newest) => {
        value = newest
      })
      if (Number.isFinite(value)) yield { slot, labels: this.#registry.get(slot).labels, time, value }
    }
  }

  /** Visits the finite values since a time, ms. */
  values(slot: number, from: number, visit: (time: number, value: number) => void): void {
    this.#hot.read(slot, from, Number.POSITIVE_INFINITY, (time, value) => {
      if (Number.isFinite(value)) visit(time, value)
    })
  }

  /**
   * Visits how much a counter rose from each of its values to the next; where it fell it began anew, at zero.
   * @param visit told the later one's time and how long after the earlier one that is, ms
   */
  rises(slot: number, from: number, visit: (time: number, rise: number, overMs: number) => void): void {
    let before: { time: number; value: number } | undefined
    this.values(slot, from, (time, value) => {
      if (before !== undefined) {
        const rise = value >= before.value ? value - before.value : value
        visit(time, rise, time - before.time)
      }
      before = { time, value }
    })
  }

  increase(slot: number, from: number): number {
    let sum = 0
    this.rises(slot, from, (_, rise) => {
      sum += rise
    })
    return sum
  }

  /** How fast a counter rose since a time, a second; undefined where memory has less than two values. */
  rate(slot: number, from: number): number | undefined {
    let sum = 0
    let ms = 0
    this.rises(slot, from, (_, rise, overMs) => {
      sum += rise
      ms += overMs
    })
    return ms === 0 ? undefined : (sum / ms) * 1000
  }
}

/** A label's value, '' where the series has none. */
export function labelOf(labels: readonly Label[], name: string): string {
  return labels.find(([key]) => key === name)?.[1] ?? ''
}
