/**
 * The series of a task's window: asked for by its node's names, then put in order by what they measure, of which GPU, of which pod.
 */
import { compilePattern } from '../../proto/wire/re2.ts'
import type { Measure, MetricMapping, MetricSource } from './metric-mapping.ts'
import type { Selector, Series } from './series-source.ts'
import type { Points } from './step-function.ts'

/** One selector a label that may name a node: few questions, whatever the mapping. @param names of the node */
export function selectorsOf(mapping: MetricMapping, names: readonly string[]): Selector[] {
  if (names.length === 0) return []
  const metrics = new Map<string, Set<string>>()
  for (const { metric, node } of mapping)
    for (const label of node) metrics.set(label, (metrics.get(label) ?? new Set()).add(metric))
  const value = `(${names.map(quoted).join('|')})(:[0-9]+)?`
  return [...metrics].map(([label, of]) => [
    { operator: '=~', name: '__name__', value: [...of].map(quoted).join('|') },
    { operator: '=~', name: label, value },
  ])
}

/** A series that counts, in the measure's unit. */
export interface Measured {
  readonly measure: Measure
  readonly kind: 'gauge' | 'counter'
  /** Place in the mapping: the lower is preferred. */
  readonly rank: number
  readonly scope: MetricSource['scope']
  /** What names the GPU, by the label it stands in; one series may say its UUID and its index. */
  readonly gpu: readonly string[]
  readonly pod: string | undefined
  readonly namespace: string | undefined
  readonly process: string | undefined
  /** Computed from power, though it counts. */
  readonly derived: boolean
  readonly labels: Readonly<Record<string, string>>
  readonly points: Points
}

/** @param names of the node */
export function measuredOf(mapping: MetricMapping, names: readonly string[], series: readonly Series[]): Measured[] {
  const known = new Set(names)
  const byMetric = series.length === 0 ? undefined : indexOf(mapping)
  return series.flatMap((one) =>
    (byMetric?.get(one.name) ?? []).flatMap(({ source, rank, where }) => {
      const { labels } = one
      const here = source.node.some(
        (label) => known.has(withoutPort(labels[label] ?? '')) || known.has(labels[label] ?? ''),
      )
      if (!here || !where.every((test) => test(labels))) return []
      return [measuredBy(source, rank, one)]
    }),
  )
}

type MetricIndex = ReadonlyMap<
  string,
  readonly { readonly source: MetricSource; readonly rank: number; readonly where: readonly Test[] }[]
>

/** A mapping is one for the process, and its patterns are compiled once. */
const indexes = new WeakMap<MetricMapping, MetricIndex>()

function indexOf(mapping: MetricMapping): MetricIndex {
  const known = indexes.get(mapping)
  if (known !== undefined) return known
  const byMetric = new Map<string, { source: MetricSource; rank: number; where: readonly Test[] }[]>()
  for (const [rank, source] of mapping.entries()) {
    const list = byMetric.get(source.metric) ?? []
    byMetric.set(source.metric, list)
    list.push({ source, rank, where: source.where.map(testOf) })
  }
  indexes.set(mapping, byMetric)
  return byMetric
}

function measuredBy(source: MetricSource, rank: number, { name, labels, times, values }: Series): Measured {
  const first = (of: readonly string[]): string | undefined => of.map((label) => labels[label]).find(Boolean)
  const isBlank = name.startsWith('DCGM_') ? isBlankOfDcgm : () => false
  const points: { times: number[]; values: number[] } = { times: [], values: [] }
  for (let i = 0; i < times.length; i++) {
    const value = values[i]!
    if (isBlank(value)) continue
    points.times.push(times[i]!)
    points.values.push(value * source.scale)
  }
  return {
    measure: source.measure,
    kind: source.kind,
    rank,
    scope: source.scope,
    gpu: source.gpu.flatMap((label) => labels[label] || []),
    pod: first(source.pod),
    namespace: first(source.namespace),
    process: source.process === undefined ? undefined : labels[source.process],
    derived: labels['derived'] === 'power',
    labels,
    points,
  }
}

/** Numbers by which DCGM says that there is none: not read, not found, not supported, not permitted. @see dcgm_structs.h, DCGM_*_BLANK */
function isBlankOfDcgm(value: number): boolean {
  return (
    value >= 9223372036854775000 ||
    (value >= 140737488355328 && value <= 140737488355331) ||
    (value >= 2147483632 && value <= 2147483635)
  )
}

type Test = (labels: Readonly<Record<string, string>>) => boolean

function testOf({ label, operator, value }: MetricSource['where'][number]): Test {
  const pattern = operator.includes('~') ? compilePattern(value) : { test: (text: string) => text === value }
  const wanted = !operator.startsWith('!')
  return (labels) => pattern.test(labels[label] ?? '') === wanted
}

/** Points of several series of one thing, as when an exporter's own labels changed: of two for one instant, the first. */
export function joined(all: readonly Points[]): Points {
  if (all.length === 1) return all[0]!
  const values = new Map<number, number>()
  for (const points of all)
    for (let i = 0; i < points.times.length; i++)
      if (!values.has(points.times[i]!)) values.set(points.times[i]!, points.values[i]!)
  const times = [...values.keys()].sort((a, b) => a - b)
  return { times, values: times.map((time) => values.get(time)!) }
}

const quoted = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

/** `gpu-01:9100` and `[::1]:9100` have a port, `::1` has none. */
export function withoutPort(name: string): string {
  return /^(\[[^\]]*\]|[^:]*):\d+$/.exec(name)?.[1] ?? name
}
