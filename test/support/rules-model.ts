/**
 * What aggregation rules must come to, recomputed from the list of all points in the plainest way; and the same with a defect
 * put in on purpose, which a property must notice.
 */

import { groupKey, outputSeries } from '../../collector/rules/output-labels.ts'
import type { Rule } from '../../collector/rules/rule.ts'
import type { SampleHistogram } from '../../collector/rules/sample-histogram.ts'
import type { Label } from '../../proto/wire/labels.ts'

/** A point that a collector took. */
export interface RulePoint {
  readonly name: string
  readonly labels: readonly Label[]
  readonly time: number
  /** Undefined: a stale marker. */
  readonly value: number | undefined
  /** µs. */
  readonly at: number
}

export const MODEL_DEFECTS = [
  'windows closed on the left',
  'first arrival wins',
  'repeats count',
  'late ones are taken',
  'no baseline',
  'no resets',
  'stale markers are numbers',
  'sums are rounded on the way',
  'NaN is the largest',
] as const
export type ModelDefect = (typeof MODEL_DEFECTS)[number]

/** All outputs that there must be in the end, as text by rule, labels and time. */
export function rulesModel(
  rules: readonly Rule[],
  points: readonly RulePoint[],
  options: { readonly keepMs: number; readonly collector: string },
  defect?: ModelDefect,
): Map<string, string> {
  const out = new Map<string, string>()
  for (const [r, rule] of rules.entries()) {
    const { intervalMs, graceMs } = rule
    const endOf = (time: number): number =>
      defect === 'windows closed on the left'
        ? (Math.floor(time / intervalMs) + 1) * intervalMs
        : Math.ceil(time / intervalMs) * intervalMs
    // Series → time → point, of those that were not late.
    const series = new Map<string, { key: string; points: RulePoint[] }>()
    for (const point of points) {
      if (!rule.match.some((selector) => selector.matches(point.name, point.labels))) continue
      const late = point.at / 1000 > endOf(point.time) + graceMs + options.keepMs
      if (late && defect !== 'late ones are taken') continue
      const id = JSON.stringify([point.name, point.labels])
      const one = series.get(id) ?? { key: groupKey(rule, 't', point.name, point.labels), points: [] }
      series.set(id, one)
      const same = one.points.findIndex((p) => p.time === point.time)
      if (same < 0 || defect === 'repeats count') one.points.push(point)
      else if (defect !== 'first arrival wins' && point.at > one.points[same]!.at) one.points[same] = point
    }
    const groups = new Map<string, { end: number; key: string; values: Reading[]; increases: number[][] }>()
    for (const { key, points: own } of series.values()) {
      own.sort((a, b) => a.time - b.time)
      for (const end of new Set(own.map((p) => endOf(p.time)))) {
        const inWindow = readings(own, (p) => endOf(p.time) === end, defect)
        const before = defect === 'no baseline' ? [] : readings(own, (p) => endOf(p.time) === end - intervalMs, defect)
        const group = groups.get(`${end} ${key}`) ?? { end, key, values: [], increases: [] }
        groups.set(`${end} ${key}`, group)
        group.values.push(...inWindow)
        const increase = increaseOf(before, inWindow, defect)
        if (increase !== undefined) group.increases.push(increase)
      }
    }
    for (const { end, key, values, increases } of groups.values()) {
      if (values.length === 0) continue
      for (const { output, phi, labels } of outputSeries(rule, key, options.collector).series) {
        const text = outputText(output.kind, phi, values, increases, intervalMs, defect)
        if (text !== undefined) out.set(`${r} ${JSON.stringify(labels)} ${end}`, text)
      }
    }
  }
  return out
}

interface Reading {
  readonly time: number
  readonly value: number
}

function readings(points: readonly RulePoint[], within: (p: RulePoint) => boolean, defect?: ModelDefect): Reading[] {
  return points.filter(within).flatMap(({ time, value }) => {
    if (value === undefined) return defect === 'stale markers are numbers' ? [{ time, value: Number.NaN }] : []
    return [{ time, value }]
  })
}

/** Terms of the sum; undefined when no two readings can be compared. */
function increaseOf(
  before: readonly Reading[],
  inWindow: readonly Reading[],
  defect?: ModelDefect,
): number[] | undefined {
  const finite = (rs: readonly Reading[]): number[] => rs.map((r) => r.value).filter(Number.isFinite)
  const all = [...finite(before).slice(-1), ...finite(inWindow)]
  if (finite(inWindow).length === 0 || all.length < 2) return undefined
  return all.slice(1).flatMap((value, i) => (value >= all[i]! || defect === 'no resets' ? [value, -all[i]!] : [value]))
}

function outputText(
  kind: string,
  phi: number | undefined,
  readings: readonly Reading[],
  increases: readonly (readonly number[])[],
  intervalMs: number,
  defect?: ModelDefect,
): string | undefined {
  const values = readings.map((r) => r.value)
  const numbers = values.filter((v) => !Number.isNaN(v)).sort(compare)
  const sum = (terms: readonly number[]): number =>
    defect === 'sums are rounded on the way' ? terms.reduce((a, b) => a + b, 0) : exactSum(terms)
  switch (kind) {
    case 'count':
      return floatText(values.length)
    case 'sum':
      return floatText(sum(values))
    case 'avg': {
      const total = sum(values)
      if (Number.isFinite(total) || !values.every(Number.isFinite)) return floatText(total / values.length)
      return floatText(nearest(values.map(units).reduce((a, b) => a + b) / BigInt(values.length)))
    }
    case 'min':
      return floatText(numbers[0] ?? Number.NaN)
    case 'max':
      return floatText(numbers.at(-1) ?? Number.NaN)
    case 'last': {
      const newest = Math.max(...readings.map((r) => r.time))
      const last = readings.filter((r) => r.time === newest).map((r) => r.value)
      return floatText(last.some(Number.isNaN) ? Number.NaN : last.sort(compare).at(-1)!)
    }
    case 'increase':
      return increases.length === 0 ? undefined : floatText(sum(increases.flat()))
    case 'rate':
      return increases.length === 0 ? undefined : floatText(sum(increases.flat()) / (intervalMs / 1000))
    case 'quantiles': {
      const nans = values.filter(Number.isNaN)
      const sorted = defect === 'NaN is the largest' ? [...numbers, ...nans] : [...nans, ...numbers]
      const rank = phi! * (sorted.length - 1)
      const lower = Math.floor(rank)
      const upper = Math.min(lower + 1, sorted.length - 1)
      return floatText(sorted[lower]! * (1 - (rank - lower)) + sorted[upper]! * (rank - lower))
    }
    default: {
      const buckets = new Map<string, number>()
      const put = (bucket: string): unknown => buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1)
      for (const value of numbers) {
        const size = Math.abs(value)
        if (size <= 2 ** -128) put('zero')
        else put(`${value > 0 ? '+' : '-'}${size === Infinity ? 8193 : Math.ceil(Math.log2(size) * 8)}`)
      }
      return bucketsText(values.length, sum(values), buckets)
    }
  }
}

/** A histogram in the words of the model. */
export function histogramText(h: SampleHistogram): string {
  const buckets = new Map<string, number>()
  if (h.zeroCountInt > 0) buckets.set('zero', h.zeroCountInt)
  for (const [sign, spans, deltas] of [
    ['+', h.positiveSpans, h.positiveDeltas],
    ['-', h.negativeSpans, h.negativeDeltas],
  ] as const) {
    let index = 0
    let count = 0
    let d = 0
    for (const { offset, length } of spans) {
      index += offset
      for (let i = 0; i < length; i++, index++) {
        count += deltas[d++]!
        if (count !== 0) buckets.set(`${sign}${index}`, count)
      }
    }
  }
  return bucketsText(h.countInt, h.sum, buckets)
}

function bucketsText(count: number, sum: number, buckets: ReadonlyMap<string, number>): string {
  return `count ${count} sum ${floatText(sum)} ${[...buckets]
    .map(([k, n]) => `${k}:${n}`)
    .sort()
    .join(' ')}`
}

/** Text that differs for all doubles that differ in bits, NaN aside. */
export function floatText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

function compare(a: number, b: number): number {
  return a === b ? Number(Object.is(a, 0)) - Number(Object.is(b, 0)) : a - b
}

/** The double nearest to the sum, by whole numbers. */
export function exactSum(terms: readonly number[]): number {
  if (!terms.every(Number.isFinite)) return terms.filter((t) => !Number.isFinite(t)).reduce((a, b) => a + b, 0)
  return nearest(terms.map(units).reduce((a, b) => a + b, 0n))
}

const view = new DataView(new ArrayBuffer(8))

/** Multiples of 2^-1074. */
function units(value: number): bigint {
  view.setFloat64(0, value)
  const exponent = (view.getUint16(0) >> 4) & 0x7ff
  const fraction = BigInt.asUintN(52, view.getBigUint64(0))
  const size = exponent === 0 ? fraction : (fraction + 2n ** 52n) * 2n ** BigInt(exponent - 1)
  return value < 0 ? -size : size
}

/** Searches among all doubles; ties to the even one; beyond half a step over the largest it is infinite. */
function nearest(sum: bigint): number {
  const size = sum < 0n ? -sum : sum
  const double = (bits: bigint): number => {
    view.setBigUint64(0, bits)
    return view.getFloat64(0)
  }
  let low = 0n
  let high = 0x7ff0000000000000n // as units: 2^1024, what would follow the largest
  while (high - low > 1n) {
    const middle = (low + high) / 2n
    if (units(double(middle)) <= size) low = middle
    else high = middle
  }
  const above = high === 0x7ff0000000000000n ? 2n ** 2098n : units(double(high))
  const twice = 2n * size - units(double(low)) - above
  const bits = twice > 0n || (twice === 0n && low % 2n === 1n) ? high : low
  return sum < 0n ? -double(bits) : double(bits)
}
