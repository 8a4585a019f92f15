/** What memory knows of a node's samples: its newest one, and which node a series is of. Memory's registry groups series by it. */
import type { Label } from '../../proto/wire/labels.ts'
import type { HotSeries } from '../hot/hot-series.ts'
import type { SeriesRegistry } from '../hot/series-registry.ts'
import type { MetricMapping } from './metric-mapping.ts'
import { evidenceSources } from './task-evidence.ts'
import { withoutPort } from './window.ts'

export class NodeSamples {
  readonly #nodeLabels = new Map<string, Set<string>>()

  constructor(mapping: MetricMapping) {
    for (const { metric, node } of [...mapping, ...evidenceSources(mapping)])
      this.#nodeLabels.set(metric, new Set([...(this.#nodeLabels.get(metric) ?? []), ...node]))
  }

  /** Nodes that a series may be of; none where tasks take no notice of its metric. */
  nodesOf(name: string, labels: readonly Label[]): string[] {
    const known = this.#nodeLabels.get(name)
    if (known === undefined) return []
    return labels.flatMap(([key, value]) => (known.has(key) && value !== '' ? [withoutPort(value)] : []))
  }

  /** Time of the newest sample of a node, ms; undefined: memory has none. @param names of the node */
  newest(tenant: string, names: readonly string[], registry: SeriesRegistry, hot: HotSeries): number | undefined {
    let newest = Number.NEGATIVE_INFINITY
    for (const name of names)
      for (const slot of registry.inGroup(tenant, withoutPort(name))) newest = Math.max(newest, hot.newest(slot))
    return Number.isFinite(newest) ? newest : undefined
  }
}
