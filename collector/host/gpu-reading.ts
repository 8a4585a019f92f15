/**
 * What was read of one GPU, and its figures: by the names, units and labels of NVIDIA's DCGM exporter, whoever made the GPU, and by
 * the four names of nebula's seven that a host can know (the others are an inference engine's).
 * @see https://github.com/NVIDIA/dcgm-exporter etc/default-counters.csv
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import { Energy } from './energy.ts'
import type { Sample } from './figure.ts'

export interface GpuReading {
  /** Number on this host, as text. */
  readonly index: string
  readonly uuid: string
  /** Name of its device file, without a folder; '' where it is not known. */
  readonly device: string
  readonly pciBusId: string
  readonly modelName: string
  readonly driverVersion: string
  /** By DCGM's names, in DCGM's units. What the device does not tell is absent, never zero. */
  readonly values: ReadonlyMap<string, number>
}

const POWER = 'DCGM_FI_DEV_POWER_USAGE'
const ENERGY = 'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION'

/** Nebula's names, whose memory is in MiB. The labels are nebula's too, and no others, so that they are the same series. */
const NEBULA: readonly (readonly [name: string, dcgm: string])[] = [
  ['gpu_utilization', 'DCGM_FI_DEV_GPU_UTIL'],
  ['gpu_temperature', 'DCGM_FI_DEV_GPU_TEMP'],
  ['gpu_memory_used_mb', 'DCGM_FI_DEV_FB_USED'],
  ['gpu_memory_total_mb', 'DCGM_FI_DEV_FB_TOTAL'],
]

export interface GpuNaming {
  /** Value of `Hostname` and `instance`. */
  readonly host: string
  /** Value of `node_id`; undefined: nebula's names are not wanted. */
  readonly nodeId: string | undefined
  /** The longest usual time between two readings, ms. */
  readonly slowMs: number
  readonly clock: Clock
}

export class GpuFigures {
  readonly #naming: GpuNaming
  readonly #energy: Energy

  constructor(naming: GpuNaming) {
    this.#naming = naming
    this.#energy = new Energy(naming.slowMs)
  }

  /** The figures of a reading that was taken now. */
  of(reading: GpuReading): Sample[] {
    const { clock, nodeId } = this.#naming
    const timestamp = clock.now()
    const labels = this.labels(reading)
    const samples = [...reading.values].map(([name, value]): Sample => ({ name, labels, value, timestamp }))
    const watts = reading.values.get(POWER)
    if (watts !== undefined && !reading.values.has(ENERGY)) {
      const value = this.#energy.read(reading.uuid, watts, clock.monotonic())
      samples.push({ name: ENERGY, labels: { ...labels, derived: 'power' }, value, timestamp })
    }
    if (nodeId === undefined) return samples
    const nebula = { node_id: nodeId, gpu_index: reading.index }
    for (const [name, dcgm] of NEBULA) {
      const value = reading.values.get(dcgm)
      if (value !== undefined) samples.push({ name, labels: nebula, value, timestamp })
    }
    return samples
  }

  /** Labels as DCGM exporter gives them; those that are not known are left out. */
  labels(reading: Omit<GpuReading, 'values'>): Readonly<Record<string, string>> {
    const { host } = this.#naming
    const all = {
      job: 'gpu',
      instance: host,
      Hostname: host,
      gpu: reading.index,
      UUID: reading.uuid,
      device: reading.device,
      pci_bus_id: reading.pciBusId,
      modelName: reading.modelName,
      DCGM_FI_DRIVER_VERSION: reading.driverVersion,
    }
    return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''))
  }
}
