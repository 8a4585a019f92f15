/** Figures and quantities of a calculation as they are answered: units in their names, and how many samples stand behind each. */
import type { Calculation, GpuFigures, Quantity } from './calculation.ts'
import type { Figure } from './figure.ts'
import type { Measure } from './metric-mapping.ts'
import type { FigureAnswer, QuantitiesAnswer, QuantityAnswer } from './task-answers.ts'

interface Shown {
  readonly name: string
  readonly unit: string
  readonly integral: string
  readonly method: FigureAnswer['method']
}

/** What is shown of a measure; a counter by how fast it rises. */
export const SHOWN: Readonly<Record<Measure, Shown>> = {
  gpu_utilization: { name: 'gpu_utilization_ratio', unit: 'ratio', integral: 'seconds', method: 'gauge' },
  gpu_memory_used: { name: 'gpu_memory_used_bytes', unit: 'bytes', integral: 'byte_seconds', method: 'gauge' },
  gpu_power: { name: 'gpu_power_watts', unit: 'watts', integral: 'joules', method: 'gauge' },
  gpu_energy: { name: 'gpu_energy_watts', unit: 'watts', integral: 'joules', method: 'counter' },
  gpu_share: { name: 'gpu_process_share', unit: '1', integral: 'seconds', method: 'gauge' },
  cpu: { name: 'cpu_cores', unit: 'cores', integral: 'core_seconds', method: 'counter' },
  memory_used: { name: 'memory_used_bytes', unit: 'bytes', integral: 'byte_seconds', method: 'gauge' },
  memory_total: { name: 'memory_total_bytes', unit: 'bytes', integral: 'byte_seconds', method: 'gauge' },
  memory_available: { name: 'memory_available_bytes', unit: 'bytes', integral: 'byte_seconds', method: 'gauge' },
  disk: { name: 'disk_bytes_per_second', unit: 'bytes_per_second', integral: 'bytes', method: 'counter' },
  network: { name: 'network_bytes_per_second', unit: 'bytes_per_second', integral: 'bytes', method: 'counter' },
}

type Figures = Readonly<Partial<Record<Measure, Figure>>>

export function figureAnswers(figures: Figures): FigureAnswer[] {
  return (Object.entries(figures) as [Measure, Figure][]).map(([measure, figure]) => {
    const { name, unit, integral, method } = SHOWN[measure]
    return { name, unit, ...figure, integral_unit: integral, method }
  })
}

/** @param calculation null: it has not begun */
export function quantityAnswers(calculation: Calculation | null): QuantitiesAnswer {
  const gpus = calculation?.gpus ?? []
  const onGpus = (measure: Measure) => samplesOf(gpus, measure)
  const onNode = (measure: Measure) => calculation?.node[measure]?.samples ?? null
  const { usage } = calculation ?? {}
  const energy = usage?.energy.method.startsWith('counter') ? onGpus('gpu_energy') : onGpus('gpu_power')
  return {
    gpu_held_seconds: quantityAnswer(usage?.gpu_seconds_held, null),
    gpu_busy_seconds: quantityAnswer(usage?.gpu_seconds_busy, onGpus('gpu_utilization')),
    gpu_idle_ratio: quantityAnswer(usage?.gpu_idle_share, onGpus('gpu_utilization')),
    gpu_memory_peak_bytes: quantityAnswer(usage?.gpu_memory_peak, onGpus('gpu_memory_used')),
    energy_wh: quantityAnswer(usage?.energy, energy),
    cpu_core_seconds: quantityAnswer(usage?.cpu_core_seconds, onNode('cpu')),
    memory_peak_bytes: quantityAnswer(usage?.memory_peak, onNode('memory_used')),
    disk_bytes: quantityAnswer(usage?.disk_bytes, onNode('disk')),
    network_bytes: quantityAnswer(usage?.network_bytes, onNode('network')),
    tokens_in: quantityAnswer(usage?.tokens_in, null),
    tokens_out: quantityAnswer(usage?.tokens_out, null),
    load_seconds: quantityAnswer(usage?.load_seconds, null),
    queue_seconds: quantityAnswer(usage?.queue_seconds, null),
  }
}

function quantityAnswer(quantity: Quantity | undefined, samples: number | null): QuantityAnswer {
  if (quantity === undefined) return { value: null, coverage: 0, method: 'none', samples: null, confidence: 'low' }
  const { value, coverage, method, confidence } = quantity
  return { value, coverage, method, samples, confidence }
}

/** Null: nothing measures it. */
function samplesOf(gpus: readonly GpuFigures[], measure: Measure): number | null {
  const figures = gpus.flatMap((gpu) => gpu.figures[measure] ?? [])
  return figures.length === 0 ? null : figures.reduce((sum, { samples }) => sum + samples, 0)
}
