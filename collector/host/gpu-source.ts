/** What a maker's GPUs are to the sampler. */
import type { Sample } from './figure.ts'
import type { GpuProcess } from './gpu-processes.ts'
import type { GpuFigures, GpuReading } from './gpu-reading.ts'
import type { Tool, ToolOptions } from './tool.ts'

export interface GpuSource {
  readonly tools: readonly Tool[]
  /** GPUs that answered last. */
  readonly count: number
  /** A round begins; what is read comes to {@link GpuSourceOptions.emit} when it is there. */
  tick(intervalMs: number): void
  stop(): Promise<void>
}

export interface GpuSourceOptions {
  readonly tool: Omit<ToolOptions, 'names'>
  readonly figures: GpuFigures
  readonly emit: (samples: readonly Sample[]) => void
  /** Processes compute on a GPU at this moment. */
  readonly computing: () => void
}

/** The memory of processes: DCGM has no name for it. */
export function processSamples(
  { figures, tool, computing }: GpuSourceOptions,
  processes: readonly GpuProcess[],
  gpus: ReadonlyMap<string, Omit<GpuReading, 'values'>>,
): Sample[] {
  const timestamp = tool.clock.now()
  if (processes.length > 0) computing()
  return processes.flatMap(({ uuid, pid, name, bytes }): Sample[] => {
    if (bytes === undefined) return []
    // A part of a divided GPU (MIG) has an id of its own that no row names.
    const gpu = gpus.get(uuid) ?? { index: '', uuid, device: '', pciBusId: '', modelName: '', driverVersion: '' }
    const labels = { ...figures.labels(gpu), pid, ...(name === '' ? {} : { process_name: name }) }
    return [{ name: 'gpu_process_memory_used_bytes', labels, value: bytes, timestamp }]
  })
}
