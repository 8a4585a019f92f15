/**
 * Hosts and their GPUs, from node_exporter's names (a collector's own host has them too) and dcgm-exporter's.
 *
 * A host is the label `instance` without its port, or the `nodename` that node_uname_info gives for it; GPUs say theirs in `Hostname`.
 * Busy is what is not idle, over all processors.
 */
import type { Label } from '../../proto/wire/labels.ts'
import type { Recent, RecentSeries } from './recent.ts'
import { labelOf } from './recent.ts'
import type { Steps } from './steps.ts'
import { StepMeans } from './steps.ts'

export class Host {
  readonly name: string
  readonly gpus: Map<string, Gpu> = new Map()
  readonly cpu: StepMeans
  readonly memory: StepMeans
  readonly processors: Set<string> = new Set()
  load1: number | undefined
  memoryTotal: number | undefined
  memoryAvailable: number | undefined
  /** Time of the newest sample that says anything of it, ms. */
  lastSeen = 0

  constructor(name: string, steps: Steps) {
    this.name = name
    this.cpu = new StepMeans(steps)
    this.memory = new StepMeans(steps)
  }
}

export class Gpu {
  readonly host: string
  readonly uuid: string
  /** Its number on the host, as a text. */
  readonly index: string
  readonly model: string
  readonly utilization: StepMeans
  readonly power: StepMeans
  utilizationNow: number | undefined
  powerNow: number | undefined
  temperature: number | undefined
  memoryUsedMib: number | undefined
  memoryFreeMib: number | undefined
  memoryReservedMib: number | undefined
  lastSeen = 0

  constructor(host: string, labels: readonly Label[], steps: Steps) {
    this.host = host
    this.uuid = labelOf(labels, 'UUID')
    this.index = labelOf(labels, 'gpu')
    this.model = labelOf(labels, 'modelName')
    this.utilization = new StepMeans(steps)
    this.power = new StepMeans(steps)
  }
}

type GpuFigure = 'utilizationNow' | 'powerNow' | 'temperature' | 'memoryUsedMib' | 'memoryFreeMib' | 'memoryReservedMib'

const GPU_METRICS: readonly (readonly [name: string, figure: GpuFigure, chart?: 'utilization' | 'power'])[] = [
  ['DCGM_FI_DEV_GPU_UTIL', 'utilizationNow', 'utilization'],
  ['DCGM_FI_DEV_POWER_USAGE', 'powerNow', 'power'],
  ['DCGM_FI_DEV_GPU_TEMP', 'temperature'],
  ['DCGM_FI_DEV_FB_USED', 'memoryUsedMib'],
  ['DCGM_FI_DEV_FB_FREE', 'memoryFreeMib'],
  ['DCGM_FI_DEV_FB_RESERVED', 'memoryReservedMib'],
]

/** Hosts by name. @param only leaves out all others */
export async function readFleet(recent: Recent, steps: Steps, only: string | undefined): Promise<Map<string, Host>> {
  return new FleetReader(recent, steps, only).read()
}

class FleetReader {
  readonly #recent: Recent
  readonly #steps: Steps
  readonly #only: string | undefined
  readonly #hosts = new Map<string, Host>()
  readonly #nodeNames = new Map<string, string>()

  constructor(recent: Recent, steps: Steps, only: string | undefined) {
    this.#recent = recent
    this.#steps = steps
    this.#only = only
  }

  async read(): Promise<Map<string, Host>> {
    for await (const { labels } of this.#recent.series('node_uname_info'))
      this.#nodeNames.set(labelOf(labels, 'instance'), labelOf(labels, 'nodename'))
    await this.#each('node_load1', (host, series) => {
      host.load1 = series.value
    })
    await this.#each('node_memory_MemTotal_bytes', (host, series) => {
      host.memoryTotal = series.value
    })
    await this.#each('node_memory_MemAvailable_bytes', (host, { slot, value }) => {
      host.memoryAvailable = value
      const total = host.memoryTotal
      if (total === undefined || total === 0) return
      this.#recent.values(slot, this.#steps.start, (time, available) => host.memory.add(time, 1 - available / total))
    })
    await this.#each(
      'node_cpu_seconds_total',
      (host, { slot, labels }) => {
        host.processors.add(labelOf(labels, 'cpu'))
        // One value before the first step: the first step's rise begins there.
        this.#recent.rises(slot, this.#steps.start - this.#steps.stepMs, (time, rise, overMs) => {
          if (overMs > 0) host.cpu.add(time, 1 - Math.min(1, (rise / overMs) * 1000))
        })
      },
      [['mode', 'idle']],
    )
    for (const [name, figure, chart] of GPU_METRICS) {
      await this.#each(name, (host, { slot, labels, time, value }) => {
        const gpu = gpuOf(host, labels, this.#steps)
        gpu[figure] = value
        gpu.lastSeen = Math.max(gpu.lastSeen, time)
        if (chart === undefined) return
        const scale = chart === 'utilization' ? 0.01 : 1
        this.#recent.values(slot, this.#steps.start, (at, figureThen) => gpu[chart].add(at, figureThen * scale))
      })
    }
    return this.#hosts
  }

  async #each(
    metric: string,
    visit: (host: Host, series: RecentSeries) => void,
    filter: readonly Label[] = [],
  ): Promise<void> {
    for await (const series of this.#recent.series(metric, filter)) {
      const host = this.#hostOf(series.labels)
      if (host === undefined) continue
      host.lastSeen = Math.max(host.lastSeen, series.time)
      visit(host, series)
    }
  }

  #hostOf(labels: readonly Label[]): Host | undefined {
    const instance = labelOf(labels, 'instance')
    const name =
      labelOf(labels, 'Hostname') || this.#nodeNames.get(instance) || withoutPort(instance) || '(without a name)'
    if (this.#only !== undefined && name !== this.#only) return undefined
    let host = this.#hosts.get(name)
    if (host === undefined) {
      host = new Host(name, this.#steps)
      this.#hosts.set(name, host)
    }
    return host
  }
}

function gpuOf(host: Host, labels: readonly Label[], steps: Steps): Gpu {
  const key = labelOf(labels, 'UUID') || labelOf(labels, 'gpu')
  let gpu = host.gpus.get(key)
  if (gpu === undefined) {
    gpu = new Gpu(host.name, labels, steps)
    host.gpus.set(key, gpu)
  }
  return gpu
}

/** `gpu-01:9100` and `[::1]:9100` have a port, `::1` has none. */
function withoutPort(instance: string): string {
  return /^(\[[^\]]*\]|[^:]*):\d+$/.exec(instance)?.[1] ?? instance
}
