/** Outputs of rules as a merger gives them, one object each. */
import type { Merger, OutputSink } from '../../collector/rules/merger.ts'
import type { OutputGroups } from '../../collector/rules/output-groups.ts'
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
  const add = (groups: OutputGroups, group: number, series: number, time: number, output: OutputPoint['output']) => {
    groups.make(group)
    const labels = readLabels(groups.bytesOf(group), groups.startOf(group, series), groups.endOf(group, series))
    points.push({ rule: groups.rule, tenant: groups.tenantOf(group), labels, time, output })
  }
  const sink: OutputSink = {
    float: (groups, group, series, time, value) => add(groups, group, series, time, { kind: 'float', value }),
    floats: (groups, group, time, values) => {
      for (const [series, value] of values.entries()) add(groups, group, series, time, { kind: 'float', value })
    },
    histogram: (groups, group, series, time, histogram) =>
      add(groups, group, series, time, { kind: 'histogram', histogram }),
    none: (groups, group, series, time) => add(groups, group, series, time, { kind: 'none' }),
    flush: () => {},
  }
  merger.give(sink)
  return points
}
