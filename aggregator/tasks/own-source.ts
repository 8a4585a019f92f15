/**
 * The samples that collectors delivered: from memory what it has, from ClickHouse what is older. Memory is read first and is
 * complete from its floor on, as in a query; points below it that are not stored yet are taken from memory too.
 */

import { LRUCache } from 'lru-cache'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Label } from '../../proto/wire/labels.ts'
import type { Pattern } from '../../proto/wire/re2.ts'
import { compilePattern } from '../../proto/wire/re2.ts'
import type { HotSeries } from '../hot/hot-series.ts'
import type { SeriesRegistry } from '../hot/series-registry.ts'
import type { StoredParts } from '../prometheus/stored-parts.ts'
import { Turns } from '../query/turns.ts'
import type { Selector, Series, SeriesSource } from './series-source.ts'
import { SeriesRefused, SeriesUnavailable, seriesKey } from './series-source.ts'
import { withoutPort } from './window.ts'

export interface OwnSourceOptions {
  /** @throws while memory is not filled yet */
  readonly hot: () => HotSeries
  readonly registry: SeriesRegistry
  readonly parts: Pick<StoredParts, 'series' | 'samples'>
  /** Why ClickHouse cannot be asked; undefined when it can. */
  readonly storedProblem: () => string | undefined
  readonly seriesMax: number
  readonly pointsMax: number
  /** Other aggregators take samples too: memory has not all of any time, and ClickHouse is read for all times. */
  readonly shared?: boolean
}

/** How often a window is read again because memory had to give up what was being read. */
const ATTEMPTS = 4
/** Compiled patterns: one of all metrics, and one a node. */
const PATTERNS_MAX = 2000

/** What of a node. */
interface Wanted {
  readonly selectors: readonly Selector[]
  readonly names: readonly string[]
}

/** A series' values by time. Nearly all come in its order: those are kept as they come. */
class Found {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly #times: number[] = []
  readonly #values: number[] = []
  #byTime: Map<number, number> | undefined

  constructor(name: string, labels: Readonly<Record<string, string>>) {
    this.name = name
    this.labels = labels
  }

  /** Of two for one time the later one given. */
  set(time: number, value: number): void {
    if (this.#byTime === undefined && (this.#times.length === 0 || time > this.#times.at(-1)!)) {
      this.#times.push(time)
      this.#values.push(value)
    } else this.#all().set(time, value)
  }

  /** Unless there is one. */
  add(time: number, value: number): void {
    const all = this.#all()
    if (!all.has(time)) all.set(time, value)
  }

  series(): Series[] {
    const { name, labels } = this
    const all = this.#byTime
    const times = all === undefined ? this.#times : [...all.keys()].sort((a, b) => a - b)
    if (times.length === 0) return []
    return [{ name, labels, times, values: all === undefined ? this.#values : times.map((time) => all.get(time)!) }]
  }

  #all(): Map<number, number> {
    this.#byTime ??= new Map(this.#times.map((time, i) => [time, this.#values[i]!]))
    return this.#byTime
  }
}

export class OwnSeriesSource implements SeriesSource {
  readonly #options: OwnSourceOptions
  readonly #patterns = new LRUCache<string, Pattern>({ max: PATTERNS_MAX })

  constructor(options: OwnSourceOptions) {
    this.#options = options
  }

  async read(
    tenant: string,
    selectors: readonly Selector[],
    from: number,
    to: number,
    names: readonly string[],
  ): Promise<Series[]> {
    const hot = this.#options.hot()
    const unpin = hot.pin()
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const { generation } = hot
        const found = new Map<string, Found>()
        await this.#readMemory(found, hot, tenant, { selectors, names }, from, to)
        const floor = this.#floorOf(hot)
        if (from < floor) await this.#readStored(found, tenant, selectors, from, Math.min(to, floor - 1))
        if (hot.generation === generation) return [...found.values()].flatMap((one) => one.series())
      }
    } finally {
      unpin()
    }
    throw new SeriesUnavailable('memory is over its bound and gave up what was being read')
  }

  /** Which series match, in memory or with samples in [from, to] in ClickHouse; without their samples, as many as may be at most. */
  async series(
    tenant: string,
    selectors: readonly Selector[],
    from: number,
    to: number,
    names: readonly string[],
  ): Promise<Pick<Series, 'name' | 'labels'>[]> {
    const { parts, storedProblem, seriesMax } = this.#options
    const found = new Map<string, Found>()
    await this.#matching(found, tenant, { selectors, names })
    if (from < this.#floorOf(this.#options.hot()) && storedProblem() === undefined)
      for (const matchers of selectors)
        for (const labels of (await parts.series({ tenant, from, to, matchers }, seriesMax)).values()) {
          const { name, own } = namedLabels(labels)
          foundOf(found, name, own)
        }
    return [...found.values()].slice(0, seriesMax)
  }

  #floorOf({ floor }: HotSeries): number {
    return this.#options.shared === true ? Number.POSITIVE_INFINITY : floor
  }

  async #readMemory(
    found: Map<string, Found>,
    hot: HotSeries,
    tenant: string,
    wanted: Wanted,
    from: number,
    to: number,
  ): Promise<void> {
    const slots = await this.#matching(found, tenant, wanted)
    this.#bound(slots.size, 0)
    // In one turn: what memory says of one instant is of one instant.
    let points = 0
    for (const [slot, one] of slots) {
      hot.read(slot, from, to, (time, value) => {
        one.set(time, value)
        points++
      })
    }
    for (const late of hot.late(from, to)) slots.get(late.slot)?.set(late.time, late.value)
    this.#bound(slots.size, points)
  }

  /** Series in memory, by slot: looked for among those of the node, since others are many. */
  async #matching(
    found: Map<string, Found>,
    tenant: string,
    { selectors, names }: Wanted,
  ): Promise<Map<number, Found>> {
    const { registry } = this.#options
    const turns = new Turns()
    let tests: readonly (readonly SeriesTest[])[] | undefined
    const slots = new Map<number, Found>()
    for (const group of new Set(names.flatMap((name) => [name, withoutPort(name)]))) {
      for (const slot of registry.inGroup(tenant, group)) {
        if (slots.has(slot) || !registry.has(slot)) continue
        tests ??= selectors.map((selector) => this.#testsOf(selector))
        const { name, labels } = registry.get(slot)
        const own = Object.fromEntries(labels)
        if (tests.some((all) => all.every((test) => test(name, own)))) slots.set(slot, foundOf(found, name, own))
        if (turns.over) await turns.next()
      }
    }
    return slots
  }

  /** What memory has of an instant came later than what is stored of it. */
  async #readStored(
    found: Map<string, Found>,
    tenant: string,
    selectors: readonly Selector[],
    from: number,
    to: number,
  ): Promise<void> {
    const { parts, storedProblem, seriesMax, pointsMax } = this.#options
    const problem = storedProblem()
    if (problem !== undefined) throw new SeriesUnavailable(problem)
    try {
      for (const matchers of selectors) {
        const selection = { tenant, from, to, matchers }
        const labels = await parts.series(selection, seriesMax)
        this.#bound(labels.size, 0)
        if (labels.size === 0) continue
        const samples = await parts.samples(selection, pointsMax)
        let points = 0
        for (const [id, { times, words }] of samples) {
          points += times.length
          const { name, own } = namedLabels(labels.get(id) ?? [])
          const one = foundOf(found, name, own)
          const floats = new Float64Array(Uint32Array.from(words).buffer)
          for (const [i, time] of times.entries()) one.add(time, floats[i]!)
        }
        this.#bound(labels.size, points)
      }
    } catch (error) {
      if (!(error instanceof FleetmeterError)) throw error
      throw new SeriesUnavailable(`samples cannot be read: ${messageOf(error)}`, { cause: error })
    }
  }

  #testsOf(selector: Selector): SeriesTest[] {
    return selector.map(({ name: label, operator, value }) => {
      const pattern = operator.includes('~') ? this.#compiled(value) : { test: (text: string) => text === value }
      const wanted = !operator.startsWith('!')
      return (name, labels) => pattern.test(label === '__name__' ? name : (labels[label] ?? '')) === wanted
    })
  }

  #compiled(value: string): Pattern {
    const known = this.#patterns.get(value)
    if (known !== undefined) return known
    const pattern = compilePattern(value)
    this.#patterns.set(value, pattern)
    return pattern
  }

  #bound(series: number, points: number): void {
    const { seriesMax, pointsMax } = this.#options
    if (series > seriesMax || points > pointsMax)
      throw new SeriesRefused(`a window of more than ${seriesMax} series or ${pointsMax} samples is not read`)
  }
}

type SeriesTest = (name: string, labels: Readonly<Record<string, string>>) => boolean

function foundOf(found: Map<string, Found>, name: string, labels: Readonly<Record<string, string>>): Found {
  const key = seriesKey(name, labels)
  let series = found.get(key)
  if (series === undefined) {
    series = new Found(name, labels)
    found.set(key, series)
  }
  return series
}

function namedLabels(labels: readonly Label[]): { name: string; own: Record<string, string> } {
  const { __name__: name = '', ...own } = Object.fromEntries(labels)
  return { name, own }
}
