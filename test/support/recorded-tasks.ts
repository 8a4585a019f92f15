/** The tasks of the recording (test/fixtures/gpu-h100) with its samples as series, and what its README says of them. */
import assert from 'node:assert/strict'
import type { Calculation } from '../../aggregator/tasks/calculation.ts'
import { calculate, readSpanOf } from '../../aggregator/tasks/calculation.ts'
import { TaskFold } from '../../aggregator/tasks/fold.ts'
import { DEFAULT_MAPPING } from '../../aggregator/tasks/metric-mapping.ts'
import type { Selector, Series } from '../../aggregator/tasks/series-source.ts'
import type { TaskRecord } from '../../aggregator/tasks/task-record.ts'
import { selectorsOf } from '../../aggregator/tasks/window.ts'
import { recordedRows, recordedTasks } from './recorded-gpu.ts'
import { event, TENANT } from './task-events.ts'

/** The table in the fixture's README. */
export const RECORDED_TABLE: readonly {
  readonly seconds: number
  readonly utilization: number
  readonly memoryMib: number | undefined
  readonly energyWh: number
}[] = [
  { seconds: 20.024, utilization: 93.02, memoryMib: 1013, energyWh: 3.6908 },
  { seconds: 15.041, utilization: 0, memoryMib: 21197, energyWh: 0.5081 },
  { seconds: 30.277, utilization: 33.78, memoryMib: 2119, energyWh: 2.036 },
  { seconds: 0.039, utilization: 0, memoryMib: undefined, energyWh: 0.0013 },
]

export const RECORDED_HOST = 'gpu-01'
/** The recording is a sample a second. */
const INTERVAL_MS = 1000

/** As DCGM exporter and the product's own host metrics name them. @param shiftMs added to all times */
export function recordedSeries(shiftMs = 0): Series[] {
  const rows = recordedRows()
  const metrics = [
    ['DCGM_FI_DEV_GPU_UTIL', 'utilization.gpu'],
    ['DCGM_FI_DEV_FB_USED', 'memory.used'],
    ['DCGM_FI_DEV_POWER_USAGE', 'power.draw'],
  ] as const
  return metrics.map(([name, column]) => ({
    name,
    labels: { Hostname: RECORDED_HOST, UUID: rows[0]!.cells['uuid']!, gpu: '0', instance: RECORDED_HOST, job: 'gpu' },
    times: rows.map((row) => row.at + shiftMs),
    values: rows.map((row) => Number.parseFloat(row.cells[column]!)),
  }))
}

/** As the fold has them, of the events that a node would have sent. */
export function recordedTaskRecords(shiftMs = 0): TaskRecord[] {
  const fold = new TaskFold({
    clockSkewMs: 5000,
    nodeOf: (_, { nodeId }) => nodeId,
    tasksMax: 10,
    closedKeptMs: 1e9,
    stagesKeptMs: 1e9,
  })
  return recordedTasks().map((task) => {
    const about = { task_id: task.task_id, node_id: RECORDED_HOST, model: task.kind }
    fold.apply(TENANT, event('xumi.generation.start', Date.parse(task.start) + shiftMs, about))
    const end = {
      ...about,
      result: task.result,
      detail: task.detail,
      ...(task.tokens === undefined ? {} : { tokens: task.tokens }),
    }
    const [change] = fold.apply(TENANT, event('xumi.generation.complete', Date.parse(task.end) + shiftMs, end)).changes
    return change!.record!
  })
}

export const recordedSelectors = (): Selector[] => selectorsOf(DEFAULT_MAPPING, [RECORDED_HOST])

export const recordedReadSpan = (record: TaskRecord): { from: number; to: number } =>
  readSpanOf({ from: record.startedAt!, to: record.endedAt! }, INTERVAL_MS)

export function calculationOf(record: TaskRecord, all: readonly TaskRecord[], series: readonly Series[]): Calculation {
  return calculate({
    record,
    neighbours: all,
    nodeNames: [RECORDED_HOST],
    series,
    mapping: DEFAULT_MAPPING,
    prices: () => undefined,
    intervalMs: INTERVAL_MS,
    now: record.endedAt!,
  })
}

/** The figures of one of the recording's tasks are those of its README, to 0.1 % and the last digit that it gives. */
export function assertRecordedTable(index: number, records: readonly TaskRecord[], series: readonly Series[]): void {
  const record = records[index]!
  const { seconds, utilization, memoryMib, energyWh } = RECORDED_TABLE[index]!
  const { usage, gpus } = calculationOf(record, records, series)
  const near = (value: number | null | undefined, wanted: number, what: string): void =>
    assert.ok(
      typeof value === 'number' && Math.abs(value - wanted) <= wanted * 0.001 + 5e-5,
      `${what} of task ${index + 1}: ${value}, not ${wanted}`,
    )
  near(usage.gpu_seconds_held.value, seconds, 'seconds')
  near(usage.gpu_seconds_busy.value, (utilization / 100) * seconds, 'busy seconds')
  near((gpus[0]?.figures.gpu_utilization?.mean ?? Number.NaN) * 100, utilization, 'utilisation')
  near(usage.energy.value, energyWh, 'energy')
  assert.equal(usage.energy.coverage, 1)
  if (memoryMib !== undefined) assert.equal(usage.gpu_memory_peak.value, memoryMib * 1024 * 1024)
}
