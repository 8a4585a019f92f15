/** Outputs of rules as a merger gives them, one object each. */
import type { Merger, OutputSink } from '../../collector/rules/merger.ts'
import type { OutputGroup } from '../../collector/rules/output-groups.ts'
import type { SampleHistogram } from '../../collector/rules/sample-histogram.ts'
import type { Label } from '../../proto/wire/labels.ts'
import { readLabels } from '../../proto/wire/remote-write.ts'

export interface OutputPoint {
  /** Index of the rule. */
  readonly rule: number
  readonly tenant: string
  readonly labels: readonly Label[]
  /** End of the window, ms. */
  readonly time: number
  readonly output:
    | { readonly kind: 'float'; readonly value: number }
    | { readonly kind: 'histogram'; readonly histogram: SampleHistogram }
    | { readonly kind: 'none' }
}

export function outputPoints(merger: Merger): OutputPoint[] {
  const points: OutputPoint[] = []
  const add = (
    { rule, tenant, labels, ends }: OutputGroup,
    series: number,
    time: number,
    output: OutputPoint['output'],
  ) => {
    const start = series === 0 ? 0 : ends[series - 1]!
    points.push({ rule, tenant, labels: readLabels(labels, start, ends[series]!), time, output })
  }
  const sink: OutputSink = {
    float: (group, series, time, value) => add(group, series, time, { kind: 'float', value }),
    histogram: (group, series, time, histogram) => add(group, series, time, { kind: 'histogram', histogram }),
    none: (group, series, time) => add(group, series, time, { kind: 'none' }),
  }
  merger.give(sink)
  return points
}
