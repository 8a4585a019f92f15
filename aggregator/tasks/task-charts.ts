/** What to ask for to see an attempt's window: the series that its figures were made of. */
import { utc } from '../overview/answers.ts'
import type { Calculation } from './calculation.ts'
import { SHOWN } from './figure-answer.ts'
import type { Measure, MetricMapping } from './metric-mapping.ts'
import type { Selector, Series } from './series-source.ts'
import type { TaskChartAnswer } from './task-answers.ts'
import type { TaskDetails } from './task-details.ts'
import type { Measured } from './window.ts'
import { measuredOf, selectorsOf } from './window.ts'

export interface TaskChartsOptions {
  readonly mapping: MetricMapping
  /** Series of a node that match any of the selectors and have samples in [from, to], ms; more than a bound: the first. */
  readonly series: (
    tenant: string,
    selectors: readonly Selector[],
    from: number,
    to: number,
    names: readonly string[],
  ) => Promise<readonly Pick<Series, 'name' | 'labels'>[]>
}

/** None where the figures were made of samples that the tenant cannot ask for. */
export async function chartsOf(
  tenant: string,
  { record, calculation, who }: TaskDetails,
  { mapping, series }: TaskChartsOptions,
): Promise<TaskChartAnswer[]> {
  if (record === null || calculation === null || who.samplesOf !== 'tenant') return []
  const { names } = who.node
  const { from, to } = calculation.window
  const found = await series(tenant, selectorsOf(mapping, names), from, to, names)
  const measured = measuredOf(
    mapping,
    names,
    found.map((one) => ({ ...one, times: [], values: [] })),
  )
  const { pod } = record.facts
  const charts: TaskChartAnswer[] = []
  const add = (gpu: string | null, measure: Measure, all: readonly Measured[]): void => {
    const own = all.filter((one) => one.measure === measure)
    const best = Math.min(...own.map(({ rank }) => rank))
    for (const rank of ranksLike(mapping, best)) {
      const of = own.filter((one) => one.rank === rank)
      if (of.length > 0) charts.push(chartOf(gpu, measure, mapping[rank]!, of, calculation))
    }
  }
  for (const { gpu, figures } of calculation.gpus)
    for (const measure of Object.keys(figures) as Measure[])
      add(
        gpu,
        measure,
        measured.filter((one) => one.gpu.includes(gpu)),
      )
  const ofPod = measured.filter((one) => one.scope === 'pod' && pod !== undefined && one.pod === pod)
  const ofNode = measured.filter((one) => one.scope === 'node')
  for (const measure of Object.keys(calculation.node) as Measure[]) {
    const own = ofPod.some((one) => one.measure === measure) ? ofPod : ofNode
    // Where nothing tells what is used, what is left says it.
    add(null, own.some((one) => one.measure === measure) ? measure : 'memory_available', own)
  }
  return charts
}

/** Reads and writes are two metrics of one measure: those of the preferred one's scope and labels belong together. */
function ranksLike(mapping: MetricMapping, best: number): number[] {
  const first = mapping[best]
  if (first === undefined) return []
  if (first.kind === 'gauge' || first.scope === 'gpu') return [best]
  return mapping.flatMap((one, rank) => (one.measure === first.measure && one.scope === first.scope ? [rank] : []))
}

function chartOf(
  gpu: string | null,
  measure: Measure,
  { metric, kind, scale }: MetricMapping[number],
  measured: readonly Measured[],
  { window }: Calculation,
): TaskChartAnswer {
  const { name, unit } = SHOWN[measure]
  return {
    name,
    gpu,
    metric,
    series: measured.map(({ labels }) => ({ labels, selector: selectorOf(metric, labels) })),
    counter: kind === 'counter',
    scale,
    unit,
    from: utc(window.from),
    to: utc(window.to),
  }
}

function selectorOf(metric: string, labels: Readonly<Record<string, string>>): string {
  const matchers = Object.entries({ __name__: metric, ...labels })
  return `{${matchers.map(([label, value]) => `${/^[a-zA-Z_]\w*$/.test(label) ? label : JSON.stringify(label)}=${JSON.stringify(value)}`).join(',')}}`
}
