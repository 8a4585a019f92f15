/** Which machines and GPUs series of utilisation are of: named as tasks' windows name them, and joined by the directory alone. */
import type { NodeRecord } from '../directory/node-entry.ts'
import { namesOf } from '../directory/node-entry.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import { gpusOf } from './devices.ts'
import type { MetricMapping } from './metric-mapping.ts'
import type { PresenceSeries } from './node-presence.ts'
import type { Measured } from './window.ts'
import { measuredOf, withoutPort } from './window.ts'

export interface FleetGpu {
  /** Its UUID, or its index where nobody says the UUID. */
  readonly id: string
  readonly names: ReadonlySet<string>
  /** '': nobody says it. */
  readonly model: string
  /** Ids of its series. */
  readonly series: readonly string[]
}

export interface FleetNode {
  readonly name: string
  /** All that it is called, in lower case. */
  readonly names: ReadonlySet<string>
  /** '': the directory does not say it. */
  readonly vmType: string
  readonly gpus: readonly FleetGpu[]
}

/** @param mapping of utilisation alone @param at of the directory, ms */
export function fleetOf(
  series: readonly PresenceSeries[],
  mapping: MetricMapping,
  directory: DirectorySnapshot,
  tenant: string,
  at: number,
): FleetNode[] {
  const labelsOfNodes = [...new Set(mapping.flatMap(({ node }) => node))]
  const nodes = new Map<string, { name: string; names: Set<string>; entry: NodeRecord | undefined; series: OfGpu[] }>()
  for (const one of series) {
    const called = labelsOfNodes.flatMap((label) => one.labels[label] || [])
    const [measured] = measuredOf(mapping, called.map(withoutPort), [{ ...one, times: [], values: [] }])
    if (measured === undefined || measured.gpu.length === 0) continue
    const entry = called.map((name) => directory.nodeOf(tenant, name, at)).find((found) => found !== undefined)
    const name = entry === undefined ? withoutPort(called[0]!) : nameOf(entry)
    const key = entry?.id ?? `=${name.toLowerCase()}`
    const node = nodes.get(key) ?? { name, names: new Set<string>(), entry, series: [] }
    nodes.set(key, node)
    for (const known of [name, withoutPort(called[0]!), ...(entry === undefined ? [] : namesOf(entry))])
      node.names.add(withoutPort(known).toLowerCase())
    node.series.push({ id: one.id, measured })
  }
  return [...nodes.values()].map(({ name, names, entry, series: own }) => ({
    name,
    names,
    vmType: entry?.vm_type ?? '',
    gpus: gpusOfNode(own, entry),
  }))
}

interface OfGpu {
  readonly id: string
  readonly measured: Measured
}

function gpusOfNode(series: readonly OfGpu[], entry: NodeRecord | undefined): FleetGpu[] {
  const gpus = gpusOf(
    series.map(({ measured }) => measured),
    { intervalMs: 0 },
  )
  const owners = new Map<string, OfGpu[]>(gpus.map(({ id }) => [id, []]))
  const byName = new Map<string, string>()
  for (const { id, names } of gpus) for (const name of names) if (!byName.has(name)) byName.set(name, id)
  for (const one of series) {
    const owner = byName.get(one.measured.gpu[0]!)
    if (owner !== undefined) owners.get(owner)!.push(one)
  }
  return gpus.map(({ id, names }) => {
    const own = owners.get(id)!
    const said = own.map(({ measured: { labels } }) => labels['modelName'] || labels['gpu_model']).find(Boolean)
    return { id, names, model: entry?.gpu_model ?? said ?? '', series: own.map((one) => one.id) }
  })
}

function nameOf(entry: NodeRecord): string {
  return entry.node_id ?? entry.host_name ?? entry.kubernetes_node ?? withoutPort(entry.instances[0]!)
}
