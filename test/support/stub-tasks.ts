/** Answers about tasks as the aggregator gives them, made up, for the page: each with what a test wants to be different. */
import type { NodeUsageAnswer } from '../../aggregator/tasks/node-usage-answers.ts'
import type {
  FigureAnswer,
  QuantitiesAnswer,
  QuantityAnswer,
  TaskAnswer,
  TaskAttemptAnswer,
  TaskChartAnswer,
} from '../../aggregator/tasks/task-answers.ts'

const MINUTE = 60_000
const GIB = 1024 ** 3

export const taskUuid = (n: number): string => `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`
const iso = (ms: number): string => new Date(ms).toISOString()

/** A task that ended `n` minutes ago and ran for one. */
export function stubTask(n: number, now: number, different: Partial<TaskAnswer> = {}): TaskAnswer {
  return {
    task_id: taskUuid(n),
    attempt: 1,
    state: 'completed',
    provisional: false,
    user_id: `user-${n % 7}`,
    project: `project-${n % 3}`,
    department: 'research',
    node_id: `node-${n % 5}`,
    model: ['llama-3.1-70b-instruct', 'sdxl-turbo', 'whisper-large-v3'][n % 3]!,
    queued_at: iso(now - (n + 1) * MINUTE - 5000),
    started_at: iso(now - (n + 1) * MINUTE),
    ended_at: iso(now - n * MINUTE),
    duration_seconds: 60,
    result: true,
    error_category: null,
    gpu_held_seconds: 120,
    gpu_busy_seconds: 90,
    cpu_core_seconds: 41.5,
    energy_wh: 3.6908,
    cost_micros: 83_333,
    currency: 'EUR',
    updated_at: iso(now),
    ...different,
  }
}

function quantity(value: number | null, different: Partial<QuantityAnswer> = {}): QuantityAnswer {
  const known = { value, coverage: value === null ? 0 : 1, method: value === null ? 'none' : 'alone', samples: null }
  return { ...known, confidence: value === null ? 'low' : 'full', ...different }
}

const NOTHING: QuantitiesAnswer = {
  gpu_held_seconds: quantity(null),
  gpu_busy_seconds: quantity(null),
  gpu_idle_ratio: quantity(null),
  gpu_memory_peak_bytes: quantity(null),
  energy_wh: quantity(null),
  cpu_core_seconds: quantity(null),
  memory_peak_bytes: quantity(null),
  disk_bytes: quantity(null),
  network_bytes: quantity(null),
  tokens_in: quantity(null),
  tokens_out: quantity(null),
  load_seconds: quantity(null),
  queue_seconds: quantity(null),
}

/** All that is known of it where there are no samples. */
export function stubAttempt(task: TaskAnswer, different: Partial<TaskAttemptAnswer> = {}): TaskAttemptAnswer {
  const { started_at, ended_at, updated_at, duration_seconds } = task
  return {
    ...task,
    version: 2,
    vm_type: null,
    gpu_model: null,
    url: null,
    namespace: null,
    pod: null,
    resource_id: null,
    tags: {},
    attribution: {
      project_from: 'membership',
      department_from: 'membership',
      membership_id: null,
      chosen: 'only',
      environment: null,
      cost_center: null,
    },
    samples_of: 'tenant',
    stages: [],
    window:
      started_at === null
        ? null
        : { from: started_at, to: ended_at ?? updated_at, seconds: duration_seconds ?? 0, open: ended_at === null },
    quantities: NOTHING,
    gpus: [],
    node_figures: [],
    usage: [],
    cost: {
      micros: null,
      currency: null,
      reason: 'quantity_unknown',
      why: 'No samples say how much it was.',
      lines: [],
    },
    error: null,
    assumptions: [],
    event_ids: [],
    charts: [],
    ...different,
  }
}

function figure(name: string, unit: string, mean: number, different: Partial<FigureAnswer> = {}): FigureAnswer {
  return {
    name,
    unit,
    mean,
    min: mean * 0.4,
    max: mean * 1.05,
    p95: mean * 1.02,
    last: mean,
    integral: mean * 60,
    integral_unit: `${unit}_seconds`,
    coverage: 1,
    method: 'gauge',
    samples: 60,
    confidence: 'full',
    ...different,
  }
}

export const gpuUuid = (i: number): string => `GPU-${i}a06f14d-a781-3b98-446d-bd4277340729`

/** With so many GPUs, of which one has few samples; stages with a gap; a cost of two prices. */
export function stubFullAttempt(task: TaskAnswer, gpus: number): TaskAttemptAnswer {
  const from = task.started_at ?? task.updated_at
  const to = task.ended_at ?? task.updated_at
  const start = Date.parse(from)
  const chart = (name: string, metric: string, unit: string, scale: number, gpu: string): TaskChartAnswer => ({
    name,
    gpu,
    metric,
    series: [{ labels: { Hostname: 'node-1', UUID: gpu }, selector: `${metric}{UUID="${gpu}"}` }],
    counter: false,
    scale,
    unit,
    from,
    to,
  })
  const uuids = Array.from({ length: gpus }, (_, i) => gpuUuid(i))
  return stubAttempt(task, {
    vm_type: 'Standard_NC40ads_H100_v5',
    gpu_model: 'NVIDIA H100 80GB HBM3',
    namespace: 'models',
    pod: 'llama-7d9f',
    tags: { environment: 'prod', purpose: 'evaluation' },
    stages: [
      { stage: 'queued', from: iso(start - 30_000), to: iso(start - 22_000), seconds: 8, ok: null },
      { stage: 'loading', from: iso(start - 12_000), to: iso(start), seconds: 12, ok: true },
      { stage: 'running', from, to: task.ended_at, seconds: task.duration_seconds, ok: null },
    ],
    quantities: {
      ...NOTHING,
      gpu_held_seconds: quantity(60 * gpus),
      gpu_busy_seconds: quantity(45 * gpus, { method: 'by_weight', coverage: 0.93, samples: 480 }),
      gpu_idle_ratio: quantity(0.25),
      gpu_memory_peak_bytes: quantity(21.2 * GIB),
      energy_wh: quantity(3.6908, { method: 'counter' }),
      cpu_core_seconds: quantity(41.5, { method: 'node, equal', confidence: 'low', samples: 1 }),
      disk_bytes: quantity(null, { coverage: 0.31, method: 'node' }),
      tokens_in: quantity(11_313, { method: 'event' }),
      load_seconds: quantity(12, { method: 'event' }),
      queue_seconds: quantity(8, { method: 'event' }),
    },
    gpus: uuids.map((gpu, i) => ({
      gpu,
      figures: [
        figure('gpu_utilization_ratio', 'ratio', 0.93 - i * 0.05),
        figure('gpu_memory_used_bytes', 'bytes', 20 * GIB),
        ...(i === 0
          ? [figure('gpu_power_watts', 'watts', 412, { coverage: 0.62, confidence: 'low', samples: 1 })]
          : [figure('gpu_power_watts', 'watts', 600)]),
      ],
    })),
    node_figures: [figure('cpu_cores', 'cores', 1.4, { method: 'counter', integral_unit: 'core_seconds' })],
    usage: [
      {
        resource: 'gpu_seconds',
        unit: 's',
        from: iso(start),
        to: iso(start + 900_000),
        amount: '480.000000',
        cost_micros: 83_333,
        currency: 'EUR',
      },
      {
        resource: 'energy',
        unit: 'Wh',
        from: iso(start),
        to: iso(start + 900_000),
        amount: '3.690800',
        cost_micros: null,
        currency: null,
      },
    ],
    cost: {
      micros: 83_333,
      currency: 'EUR',
      reason: null,
      why: 'GPU time while running, by the price of its GPU model.',
      lines: [
        {
          phase: 'run',
          resource: 'gpu_seconds',
          unit: 's',
          from,
          to,
          amount: '480.000000',
          cost_micros: 83_333,
          price_ids: ['0190a1b2-0000-7000-8000-000000000001', '0190a1b2-0000-7000-8000-000000000002'],
        },
      ],
    },
    assumptions: [
      { flag: 'node_shared', sentence: 'CPU is of the whole node, divided among the tasks that were on it.' },
    ],
    event_ids: [taskUuid(900_001), taskUuid(900_002), taskUuid(900_003)],
    charts: uuids.flatMap((gpu) => [
      chart('gpu_utilization_ratio', 'DCGM_FI_DEV_GPU_UTIL', 'ratio', 0.01, gpu),
      chart('gpu_memory_used_bytes', 'DCGM_FI_DEV_FB_USED', 'bytes', 1024 ** 2, gpu),
      chart('gpu_power_watts', 'DCGM_FI_DEV_POWER_USAGE', 'watts', 1, gpu),
    ]),
  })
}

/** Of eight GPUs in a day: six hours of each were idle. */
export function stubNodeUsage(now: number): NodeUsageAnswer {
  const hours = (count: number): string => String(count * 3600)
  return {
    from: iso(now - 1440 * MINUTE),
    to: iso(now),
    as_of: iso(now),
    group_by: ['node'],
    data: [],
    next_cursor: null,
    totals: [
      {
        gpus: 8,
        delivered_gpu_seconds: hours(192),
        attributed_gpu_seconds: hours(144),
        idle_gpu_seconds: hours(48),
        unmeasured_gpu_seconds: '0',
        idle_ratio: 0.25,
        coverage: 1,
        delivered_cost_micros: 480_000_000,
        attributed_cost_micros: 360_000_000,
        idle_cost_micros: 120_000_000,
        currency: 'EUR',
      },
    ],
    method: 'samples',
    warnings: [],
  }
}
