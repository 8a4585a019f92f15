/**
 * Which series say what about a task's node: configuration, with defaults for DCGM exporter, node_exporter, cAdvisor (kubelet)
 * and this product's own host metrics, which have the names of the first two.
 */
import * as v from 'valibot'
import { compilePattern, PatternError } from '../../proto/wire/re2.ts'
import { MATCHER_OPERATORS } from '../../proto/wire/remote-read.ts'

const name = v.pipe(v.string(), v.nonEmpty('expected a name'))
const names = v.optional(v.array(name), [])

/** What the figures are of, in the units after scaling. */
const MEASURES = [
  'gpu_utilization', // 0 to 1
  'gpu_memory_used', // bytes
  'gpu_power', // W
  'gpu_energy', // J, counts
  'gpu_share', // how much of a GPU a process uses, in any unit
  'cpu', // core-seconds, counts
  'memory_used', // bytes
  'memory_total', // bytes; used = total - available where nothing tells it
  'memory_available', // bytes
  'disk', // bytes, counts
  'network', // bytes, counts
] as const

export type Measure = (typeof MEASURES)[number]

export interface MetricSource {
  readonly metric: string
  readonly measure: Measure
  readonly kind: 'gauge' | 'counter'
  /** What a value is multiplied by to be in the measure's unit. */
  readonly scale: number
  /** Of one GPU, of one pod, or of the whole node. */
  readonly scope: 'gpu' | 'pod' | 'node'
  /** Labels that may name the node. */
  readonly node: readonly string[]
  /** Labels that name the GPU, the surest first. */
  readonly gpu: readonly string[]
  readonly pod: readonly string[]
  readonly namespace: readonly string[]
  /** Label of the process. */
  readonly process?: string
  /** Only series whose labels are so. Patterns are anchored. */
  readonly where: readonly LabelCondition[]
}

export interface LabelCondition {
  readonly label: string
  readonly operator: (typeof MATCHER_OPERATORS)[number]
  readonly value: string
}

const conditionSchema: v.GenericSchema<unknown, LabelCondition> = v.pipe(
  v.strictObject({ label: name, operator: v.picklist(MATCHER_OPERATORS), value: v.string() }),
  v.check(({ operator, value }) => !operator.includes('~') || isPattern(value), 'expected a pattern of RE2'),
)

const sourceSchema: v.GenericSchema<unknown, MetricSource> = v.pipe(
  v.strictObject({
    metric: name,
    measure: v.picklist(MEASURES),
    kind: v.picklist(['gauge', 'counter']),
    scale: v.optional(v.pipe(v.number(), v.finite(), v.minValue(Number.MIN_VALUE)), 1),
    scope: v.picklist(['gpu', 'pod', 'node']),
    node: v.pipe(v.array(name), v.nonEmpty('expected the labels that name the node')),
    gpu: names,
    pod: names,
    namespace: names,
    process: v.exactOptional(name),
    where: v.optional(v.array(conditionSchema), []),
  }),
  v.check(({ scope, gpu }) => scope !== 'gpu' || gpu.length > 0, 'expected the labels that name the GPU'),
)

/** For each measure the first whose series are there is taken. */
export type MetricMapping = readonly MetricSource[]

/** @returns the mapping, or what is wrong with it, a line each */
export function readMetricMapping(value: unknown): MetricMapping | { readonly problems: readonly string[] } {
  const result = v.safeParse(v.pipe(v.array(sourceSchema), v.maxLength(200)), value)
  if (result.success) return result.output
  return { problems: result.issues.map((issue) => `${v.getDotPath(issue) ?? 'mapping'}: ${issue.message}`) }
}

function isPattern(text: string): boolean {
  try {
    compilePattern(text)
    return true
  } catch (error) {
    if (error instanceof PatternError) return false
    throw error
  }
}

const MIB = 1024 * 1024
const POD = { pod: ['exported_pod', 'pod'], namespace: ['exported_namespace', 'namespace'], where: [] }
const DCGM = {
  ...POD,
  scope: 'gpu',
  node: ['Hostname', 'hostname', 'node', 'kubernetes_node', 'instance'],
  gpu: ['UUID', 'gpu'],
} as const
const NEBULA = { ...POD, kind: 'gauge', scope: 'gpu', node: ['node_id'], gpu: ['gpu_index'] } as const
const NODE = {
  scope: 'node',
  node: ['instance', 'node', 'nodename', 'hostname'],
  gpu: [],
  pod: [],
  namespace: [],
} as const
const CONTAINER = { ...POD, scope: 'pod', node: ['node', 'kubernetes_io_hostname', 'instance'], gpu: [] } as const

const dcgm = (metric: string, measure: Measure, kind: 'gauge' | 'counter', scale: number): MetricSource => ({
  ...DCGM,
  metric: `DCGM_FI_${metric}`,
  measure,
  kind,
  scale,
})
const node = (
  metric: string,
  measure: Measure,
  kind: 'gauge' | 'counter',
  where: MetricSource['where'] = [],
): MetricSource => ({ ...NODE, metric: `node_${metric}`, measure, kind, scale: 1, where })
const container = (
  metric: string,
  measure: Measure,
  kind: 'gauge' | 'counter',
  where: MetricSource['where'],
): MetricSource => ({ ...CONTAINER, metric: `container_${metric}`, measure, kind, scale: 1, where })

/** A pod's containers, without its sum and without the one that holds its network. */
const CONTAINERS: MetricSource['where'] = [{ label: 'container', operator: '!~', value: '|POD' }]
/** Disks, without what is made of them: those bytes would count twice. */
const DISKS: MetricSource['where'] = [{ label: 'device', operator: '!~', value: '(dm-|md|loop|ram|zram|sr).*' }]
/** Ways out of the host, without those inside it. */
const LINKS: MetricSource['where'] = [
  { label: 'device', operator: '!~', value: 'lo|(veth|docker|br-|cni|cali|flannel|virbr|tap|tun|vnet|cilium|lxc).*' },
]

export const DEFAULT_MAPPING: MetricMapping = [
  dcgm('PROF_GR_ENGINE_ACTIVE', 'gpu_utilization', 'gauge', 1),
  dcgm('DEV_GPU_UTIL', 'gpu_utilization', 'gauge', 0.01),
  { ...NEBULA, metric: 'gpu_utilization', measure: 'gpu_utilization', scale: 0.01 },
  dcgm('DEV_FB_USED', 'gpu_memory_used', 'gauge', MIB),
  { ...NEBULA, metric: 'gpu_memory_used_mb', measure: 'gpu_memory_used', scale: MIB },
  dcgm('DEV_TOTAL_ENERGY_CONSUMPTION', 'gpu_energy', 'counter', 0.001),
  dcgm('DEV_POWER_USAGE', 'gpu_power', 'gauge', 1),
  { ...DCGM, metric: 'gpu_process_memory_used_bytes', measure: 'gpu_share', kind: 'gauge', scale: 1, process: 'pid' },
  container('cpu_usage_seconds_total', 'cpu', 'counter', CONTAINERS),
  node('cpu_seconds_total', 'cpu', 'counter', [{ label: 'mode', operator: '!~', value: 'idle|iowait|steal' }]),
  container('memory_working_set_bytes', 'memory_used', 'gauge', CONTAINERS),
  node('memory_MemTotal_bytes', 'memory_total', 'gauge'),
  node('memory_MemAvailable_bytes', 'memory_available', 'gauge'),
  container('fs_reads_bytes_total', 'disk', 'counter', CONTAINERS),
  container('fs_writes_bytes_total', 'disk', 'counter', CONTAINERS),
  node('disk_read_bytes_total', 'disk', 'counter', DISKS),
  node('disk_written_bytes_total', 'disk', 'counter', DISKS),
  container('network_receive_bytes_total', 'network', 'counter', []),
  container('network_transmit_bytes_total', 'network', 'counter', []),
  node('network_receive_bytes_total', 'network', 'counter', LINKS),
  node('network_transmit_bytes_total', 'network', 'counter', LINKS),
]
