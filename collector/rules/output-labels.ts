/**
 * What a group is called on the way, and its outputs in the end.
 *
 * Names are built as vmagent builds them, so that dashboards can move: `<metric>:<interval>[_by_a_b|_without_a_b]_<output>`.
 */
import type { Label } from '../../proto/wire/labels.ts'
import { sortLabels } from '../../proto/wire/labels.ts'
import { METRIC_NAME } from '../../proto/wire/selector.ts'
import type { Output, Rule } from './rule.ts'
import { formatDuration } from './rule.ts'

/** Labels that outputs get; a group's own of that name becomes `exported_…`, as in Prometheus' scrapes. */
const COLLECTOR = 'collector'
const QUANTILE = 'quantile'

/** A group as text: the same on all shards, and after a restart. */
export type GroupKey = string

/** @param labels in canonical order */
export function groupKey(rule: Rule, tenant: string, metric: string, labels: readonly Label[]): GroupKey {
  const { kind, labels: names } = rule.grouping
  const kept = labels.filter(([name, value]) => value !== '' && names.includes(name) === (kind === 'by'))
  return JSON.stringify([tenant, rule.metric ?? metric, ...kept.flat()])
}

/** An output series of a group; for quantiles one each. */
export interface OutputSeries {
  readonly output: Output
  /** Of `quantiles`: which one. */
  readonly phi: number | undefined
  /** In canonical order, `__name__` included. */
  readonly labels: readonly Label[]
}

/** The series that a rule writes for a group, in the order of its outputs. */
export function outputSeries(
  rule: Rule,
  key: GroupKey,
  collector: string,
): { readonly tenant: string; readonly series: readonly OutputSeries[] } {
  const [tenant, metric, ...flat] = JSON.parse(key) as [string, string, ...string[]]
  const group: Label[] = []
  for (let i = 0; i < flat.length; i += 2) group.push([flat[i]!, flat[i + 1]!])
  const own: Label[] = [[METRIC_NAME, ''], [COLLECTOR, collector], ...rule.labels]
  const plain = withGroup(own, group)
  const series = rule.outputs.flatMap((output): OutputSeries[] => {
    const name = outputName(rule, metric, output.kind)
    if (output.kind !== 'quantiles') return [{ output, phi: undefined, labels: named(plain, name) }]
    return output.phis.map((phi) => {
      const labels = withGroup([...own, [QUANTILE, String(phi)]], group)
      return { output, phi, labels: named(labels, name) }
    })
  })
  return { tenant, series }
}

/** The same with a metric name in its place. */
function named(labels: readonly Label[], name: string): Label[] {
  return labels.with(
    labels.findIndex(([label]) => label === METRIC_NAME),
    [METRIC_NAME, name],
  )
}

/** @see https://docs.victoriametrics.com/victoriametrics/stream-aggregation/#output-metric-names */
export function outputName(rule: Rule, metric: string, output: Output['kind']): string {
  const { kind, labels } = rule.grouping
  const grouping = labels.length === 0 && kind === 'by' ? '' : `_${[kind, ...labels].join('_')}`
  return `${metric}:${formatDuration(rule.intervalMs)}${grouping}_${output}`
}

/** Our labels and the group's; where both have a name, the group's is moved out of the way. */
function withGroup(own: readonly Label[], group: readonly Label[]): Label[] {
  const taken = new Set([...own, ...group].map(([name]) => name))
  const ours = new Set(own.map(([name]) => name))
  const moved = group.map(([name, value]): Label => {
    if (!ours.has(name)) return [name, value]
    let free = `exported_${name}`
    while (taken.has(free)) free = `exported_${free}`
    taken.add(free)
    return [free, value]
  })
  return sortLabels([...own, ...moved])
}
