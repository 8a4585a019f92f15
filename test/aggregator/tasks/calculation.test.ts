/** What is taken for a task of the series around it: which node, pod and GPUs, by which exporter, and what of it is its own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aggregatorSection } from '../../../aggregator/config.ts'
import type { Calculation } from '../../../aggregator/tasks/calculation.ts'
import { calculate, readSpanOf } from '../../../aggregator/tasks/calculation.ts'
import { DEFAULT_MAPPING, readMetricMapping } from '../../../aggregator/tasks/metric-mapping.ts'
import type { Series } from '../../../aggregator/tasks/series-source.ts'
import type { TaskFacts } from '../../../aggregator/tasks/signal.ts'
import type { TaskRecord } from '../../../aggregator/tasks/task-record.ts'
import { selectorsOf } from '../../../aggregator/tasks/window.ts'

const T0 = Date.parse('2026-01-31T12:00:00.000Z')
const SECONDS = 100
const MIB = 1024 * 1024

const task = (taskId: string, from: number, to: number | undefined, facts: TaskFacts = {}): TaskRecord => ({
  tenant: 't',
  taskId,
  attempt: 1,
  state: to === undefined ? 'running' : 'completed',
  startedAt: T0 + from * 1000,
  ...(to === undefined ? {} : { endedAt: T0 + to * 1000 }),
  facts: { nodeId: 'n', ...facts },
  tags: {},
  loads: [],
  flags: [],
})

/** A sample every ten seconds from ten before the hour on. @param of the second */
function series(name: string, labels: Readonly<Record<string, string>>, of: (second: number) => number): Series {
  const seconds = Array.from({ length: SECONDS / 10 + 3 }, (_, i) => i * 10 - 10)
  return { name, labels, times: seconds.map((s) => T0 + s * 1000), values: seconds.map(of) }
}

const calculation = (
  record: TaskRecord,
  given: readonly Series[],
  neighbours: readonly TaskRecord[] = [],
): Calculation =>
  calculate({
    record,
    neighbours,
    nodeNames: ['n', 'host'],
    series: given,
    mapping: DEFAULT_MAPPING,
    prices: () => undefined,
    intervalMs: 10_000,
    now: T0 + SECONDS * 1000,
  })

const gpu = (index: number, more: Readonly<Record<string, string>> = {}) => ({
  Hostname: 'host',
  UUID: `GPU-${index}`,
  gpu: String(index),
  ...more,
})

test('the GPUs of a task are those it names, those whose series name its pod, or all of its node', () => {
  const given = [0, 1, 2].map((i) =>
    series('DCGM_FI_DEV_GPU_UTIL', gpu(i, i === 2 ? { exported_pod: 'p', exported_namespace: 'x' } : {}), () => 50),
  )
  const held = (facts: TaskFacts): unknown => {
    const { usage, gpus, flags } = calculation(task('a', 0, 100, facts), given)
    return [usage.gpu_seconds_held.value, usage.gpu_seconds_busy.value, gpus.map((one) => one.gpu), flags]
  }
  assert.deepEqual(held({ gpus: ['1'] }), [100, 50, ['GPU-1'], []])
  assert.deepEqual(held({ gpus: ['GPU-0', 'GPU-1'] }), [200, 100, ['GPU-0', 'GPU-1'], []])
  assert.deepEqual(held({ pod: 'p', namespace: 'x' }), [100, 50, ['GPU-2'], []])
  assert.deepEqual(held({ pod: 'p' }), [100, 50, ['GPU-2'], []])
  assert.deepEqual(held({ pod: 'p', namespace: 'other' }), [300, 150, ['GPU-0', 'GPU-1', 'GPU-2'], ['gpus_of_node']])
  assert.deepEqual(held({ gpus: ['GPU-9'] }), [100, null, [], []])
})

test('series of another node, blank values and series that count twice are left out', () => {
  const given = [
    series('DCGM_FI_DEV_GPU_UTIL', gpu(0), (s) => (s === 50 ? 2 ** 63 : 40)),
    series('DCGM_FI_DEV_GPU_UTIL', { ...gpu(7), Hostname: 'other' }, () => 100),
    series('DCGM_FI_DEV_POWER_USAGE', { ...gpu(0), Hostname: 'host:9400' }, (s) => (s === 50 ? 140737488355328 : 360)),
    series('gpu_utilization', { node_id: 'n', gpu_index: '0' }, () => 90),
    series('node_disk_read_bytes_total', { instance: 'host:9100', device: 'sda' }, (s) => s * 10),
    series('node_disk_written_bytes_total', { instance: 'host:9100', device: 'sda' }, (s) => s * 5),
    series('node_disk_read_bytes_total', { instance: 'host:9100', device: 'dm-0' }, (s) => s * 10),
    series('node_network_receive_bytes_total', { instance: 'host:9100', device: 'lo' }, (s) => s * 10),
  ]
  const { usage, gpus } = calculation(task('a', 0, 100), given)
  assert.deepEqual(
    gpus.map((one) => one.gpu),
    ['GPU-0'],
  )
  assert.equal(usage.gpu_seconds_busy.value, 40)
  assert.deepEqual([usage.energy.value, usage.energy.method], [10, 'power, alone'])
  assert.deepEqual([usage.disk_bytes.value, usage.disk_bytes.method], [1500, 'node, alone'])
  assert.deepEqual([usage.network_bytes.value, usage.network_bytes.coverage], [null, 0])
})

test('energy is of the counter where there is one, and says when that was computed from power', () => {
  const counted = (labels: Readonly<Record<string, string>>): unknown => {
    const { usage } = calculation(task('a', 5, 95), [
      series('DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', labels, (s) => (s < 50 ? 1e9 : 0) + (s + 10) * 400_000),
      series('DCGM_FI_DEV_POWER_USAGE', labels, () => 1),
    ])
    return [usage.energy.value, usage.energy.method]
  }
  // 400 W for 90 s; the reset costs what had been counted in the ten seconds around it, and brings what was counted after it:
  // (80 + 60) · 400 / 3600 Wh, to a millionth at both ends.
  assert.deepEqual(counted(gpu(0)), [15.555555, 'counter, alone'])
  assert.deepEqual(counted(gpu(0, { derived: 'power' })), [15.555555, 'power, alone'])
})

test('a pod’s own series are taken before the node’s, which are divided among those that were there', () => {
  const node = [
    series('node_cpu_seconds_total', { instance: 'host:9100', cpu: '0', mode: 'user' }, (s) => s * 2),
    series('node_cpu_seconds_total', { instance: 'host:9100', cpu: '0', mode: 'idle' }, (s) => s * 9),
    series('node_memory_MemTotal_bytes', { instance: 'host:9100' }, () => 64 * MIB),
    series('node_memory_MemAvailable_bytes', { instance: 'host:9100' }, (s) => (s === 30 ? 4 : 24) * MIB),
  ]
  const alone = calculation(task('a', 0, 100), node)
  assert.deepEqual([alone.usage.cpu_core_seconds.value, alone.usage.cpu_core_seconds.method], [200, 'node, alone'])
  assert.deepEqual([alone.usage.memory_peak.value, alone.usage.memory_peak.method], [60 * MIB, 'node'])
  const shared = calculation(task('a', 0, 100), node, [task('b', 50, undefined)])
  assert.deepEqual([shared.usage.cpu_core_seconds.value, shared.usage.cpu_core_seconds.method], [150, 'node, equal'])
  const container = (pod: string, name: string) => ({ instance: 'host:10250', pod, namespace: 'x', container: name })
  const podded = calculation(task('a', 0, 100, { pod: 'p', namespace: 'x' }), [
    ...node,
    series('container_cpu_usage_seconds_total', container('p', 'main'), (s) => s / 2),
    series('container_cpu_usage_seconds_total', container('p', 'sidecar'), (s) => s / 4),
    series('container_cpu_usage_seconds_total', container('p', ''), (s) => s),
    series('container_cpu_usage_seconds_total', container('q', 'main'), (s) => s * 7),
    series('container_memory_working_set_bytes', container('p', 'main'), () => 5 * MIB),
  ])
  assert.deepEqual([podded.usage.cpu_core_seconds.value, podded.usage.cpu_core_seconds.method], [75, 'pod'])
  assert.deepEqual([podded.usage.memory_peak.value, podded.usage.memory_peak.method], [5 * MIB, 'pod'])
})

test('two tasks on one GPU have equal parts, and say so, or the parts that their processes use', () => {
  const util = series('DCGM_FI_DEV_GPU_UTIL', gpu(0), () => 100)
  const neighbours = [task('a', 0, 100, { process: '1' }), task('b', 50, 100, { process: '2' })]
  const equal = neighbours.map((one) => calculation(one, [util], neighbours))
  assert.deepEqual(
    equal.map(({ usage, flags }) => [
      usage.gpu_seconds_held.value,
      usage.gpu_seconds_busy.value,
      flags.includes('shared_equally'),
    ]),
    [
      [75, 75, true],
      [25, 25, true],
    ],
  )
  const processes = [
    series('gpu_process_memory_used_bytes', gpu(0, { pid: '1' }), () => 3),
    series('gpu_process_memory_used_bytes', gpu(0, { pid: '2' }), () => 1),
  ]
  const weighed = neighbours.map((one) => calculation(one, [util, ...processes], neighbours))
  assert.deepEqual(
    weighed.map(({ usage, flags }) => [
      usage.gpu_seconds_held.value,
      usage.gpu_seconds_held.method,
      flags.includes('shared_equally'),
    ]),
    [
      [87.5, 'by_weight', false],
      [12.5, 'by_weight', false],
    ],
  )
})

test('amounts are stated by the slot that they fall into', () => {
  const slot = T0 - 900_000
  const { amounts } = calculation(task('a', -5, 10, { tokensIn: 3, tokensOut: 4 }), [
    series('DCGM_FI_DEV_GPU_UTIL', gpu(0), () => 50),
  ])
  assert.deepEqual(amounts, [
    { resource: 'gpu_seconds', slot, amount: 5_000_000 },
    { resource: 'gpu_seconds', slot: T0, amount: 10_000_000 },
    { resource: 'gpu_busy_seconds', slot, amount: 2_500_000 },
    { resource: 'gpu_busy_seconds', slot: T0, amount: 5_000_000 },
    { resource: 'tokens', slot: T0, amount: 7 },
    { resource: 'tasks', slot, amount: 1 },
  ])
})

test('a node is asked for by all of its names, each quoted, with any port', () => {
  const mapping = DEFAULT_MAPPING.filter(({ metric }) => metric === 'gpu_utilization')
  assert.deepEqual(selectorsOf(mapping, ['10.0.0.7', 'gpu-01.example', 'n']), [
    [
      { operator: '=~', name: '__name__', value: 'gpu_utilization' },
      { operator: '=~', name: 'node_id', value: '(10\\.0\\.0\\.7|gpu-01\\.example|n)(:[0-9]+)?' },
    ],
  ])
  assert.deepEqual(selectorsOf(mapping, []), [])
})

test('a mapping of one’s own is read, and all that is wrong with one is named', () => {
  const own = [
    { metric: 'my_util', measure: 'gpu_utilization', kind: 'gauge', scope: 'gpu', node: ['host'], gpu: ['card'] },
  ]
  assert.deepEqual(readMetricMapping(own), [{ ...own[0], scale: 1, pod: [], namespace: [], where: [] }])
  assert.deepEqual(readMetricMapping(DEFAULT_MAPPING), DEFAULT_MAPPING)
  const wrong = [
    { ...own[0], measure: 'speed', scale: 0 },
    { ...own[0], gpu: [] },
    { ...own[0], where: [{ label: 'a', operator: '=~', value: '(' }] },
  ]
  const result = readMetricMapping(wrong)
  assert.ok('problems' in result)
  assert.deepEqual(
    result.problems.map((problem) => problem.split(':')[0]),
    ['0.scale', '0.measure', '1', '2.where.0'].sort(
      (a, b) => result.problems.findIndex((p) => p.startsWith(a)) - result.problems.findIndex((p) => p.startsWith(b)),
    ),
  )
})

test('by default memory has all that figures of a task of two minutes need, in every second of a quarter of an hour', () => {
  const { hotMinutes, taskIntervalMs } = aggregatorSection.settings
  for (let second = 0; second < 900; second++) {
    const began = T0 + second * 1000
    const { from } = readSpanOf({ from: began, to: began + 120_000 }, taskIntervalMs.fallback)
    const calculated = began + 120_000 + 2 * taskIntervalMs.fallback
    assert.ok(from >= calculated - hotMinutes.fallback * 60_000, `second ${second}`)
  }
})
