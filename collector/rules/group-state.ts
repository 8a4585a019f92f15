/**
 * The state of one group in one window, which a shard folds its points into, and the collector the states of its shards. It
 * depends neither on the order of what is folded nor on how that was divided: sums are exact, the rest is chosen by value.
 */
import { ExactSum } from './exact-sum.ts'
import type { Rule } from './rule.ts'
import { countsIncrease } from './rule.ts'
import { Buckets } from './sample-histogram.ts'

/** Which parts of the state a rule's outputs ask for. */
export interface Needs {
  readonly sum: boolean
  readonly extremes: boolean
  readonly last: boolean
  readonly increase: boolean
  readonly values: boolean
  readonly buckets: boolean
  /** All outputs follow from a row of a part's columns, without a state. */
  readonly rowSuffices: boolean
}

export function needsOf(rule: Rule): Needs {
  const kinds = new Set(rule.outputs.map(({ kind }) => kind))
  const needs = {
    sum: kinds.has('sum') || kinds.has('avg') || kinds.has('histogram'),
    extremes: kinds.has('min') || kinds.has('max'),
    last: kinds.has('last'),
    increase: countsIncrease(rule),
    values: kinds.has('quantiles'),
    buckets: kinds.has('histogram'),
  }
  return { ...needs, rowSuffices: !(needs.increase || needs.values || needs.buckets) }
}

/** Only what is needed is there. */
export class GroupState {
  /** Samples, NaN included; 0: the group has no output here. */
  count = 0
  /** NaN only when all samples are. */
  min: number = Number.NaN
  max: number = Number.NaN
  /** Newest sample; of several at one time the largest, NaN above all. */
  lastTime: number = Number.NEGATIVE_INFINITY
  last: number = Number.NaN
  readonly sum: ExactSum | undefined
  /** How the group's counters grew; `steps` is how often two readings of one series could be compared. */
  readonly increase: ExactSum | undefined
  steps = 0
  readonly values: number[] | undefined
  readonly buckets: Buckets | undefined

  constructor(needs: Needs) {
    this.sum = needs.sum ? new ExactSum() : undefined
    this.increase = needs.increase ? new ExactSum() : undefined
    this.values = needs.values ? [] : undefined
    this.buckets = needs.buckets ? new Buckets() : undefined
  }

  /** Folds a sample in. */
  add(needs: Needs, time: number, value: number): void {
    this.count++
    this.sum?.add(value)
    if (needs.extremes) this.extend(value, value)
    if (needs.last) this.follow(time, value)
    this.values?.push(value)
    this.buckets?.observe(value)
  }

  extend(min: number, max: number): void {
    if (Number.isNaN(this.min)) this.min = min
    else if (min < this.min || (min === 0 && this.min === 0 && Object.is(min, -0))) this.min = min
    if (Number.isNaN(this.max)) this.max = max
    else if (max > this.max || (max === 0 && this.max === 0 && Object.is(max, 0))) this.max = max
  }

  follow(time: number, value: number): void {
    if (time > this.lastTime || (time === this.lastTime && above(value, this.last))) {
      this.lastTime = time
      this.last = value
    }
  }
}

/** A total order of doubles: -Inf … -0, +0 … +Inf, NaN. */
export function above(a: number, b: number): boolean {
  if (a === b) return a === 0 && Object.is(b, -0) && Object.is(a, 0)
  return a > b || (Number.isNaN(a) && !Number.isNaN(b))
}

/** As Prometheus' quantile_over_time; NaN is the smallest of values. @param values from {@link sortedValues}, not empty */
export function quantile(phi: number, values: Float64Array): number {
  const n = values.length
  const rank = phi * (n - 1)
  const lower = Math.max(0, Math.floor(rank))
  const upper = Math.min(n - 1, lower + 1)
  const weight = rank - Math.floor(rank)
  return values[lower]! * (1 - weight) + values[upper]! * weight
}

/** Values in the order that quantiles are taken of: NaN first, then by value. */
export function sortedValues(values: readonly number[]): Float64Array {
  const sorted = Float64Array.from(values).sort() // NaN last, -0 before +0
  let numbers = sorted.length
  while (numbers > 0 && Number.isNaN(sorted[numbers - 1]!)) numbers--
  if (numbers < sorted.length) {
    sorted.copyWithin(sorted.length - numbers, 0, numbers)
    sorted.fill(Number.NaN, 0, sorted.length - numbers)
  }
  return sorted
}
