import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GpuFigures } from '../../../collector/host/gpu-reading.ts'
import { gpuQuery, refusedField } from '../../../collector/host/nvidia-fields.ts'
import { recordedHelp, recordedRows, recordedTasks } from '../../support/recorded-gpu.ts'

const NONE: ReadonlySet<string> = new Set()
const UUID = 'GPU-2a06f14d-a781-3b98-446d-bd427734072e'

/** A row of the query, with these cells; `[N/A]` elsewhere. */
function rowOf(query: { text: string }, cells: Readonly<Record<string, string>>): string {
  const own: Readonly<Record<string, string>> = { index: '0', uuid: UUID, name: 'NVIDIA H100 80GB HBM3', ...cells }
  return query.text
    .split(',')
    .map((name) => own[name] ?? '[N/A]')
    .join(', ')
}

test('a recorded row gives what the driver told, in the units of DCGM exporter, and nothing of what it did not', () => {
  const query = gpuQuery(recordedHelp, NONE)
  const { cells } = recordedRows()[20]!
  const reading = query.read(rowOf(query, { ...cells, 'clocks.sm': '' }))!
  assert.deepEqual(
    { ...reading, values: undefined },
    {
      index: '0',
      uuid: UUID,
      device: '',
      pciBusId: '',
      driverVersion: '',
      modelName: 'NVIDIA H100 80GB HBM3',
      values: undefined,
    },
  )
  assert.deepEqual(Object.fromEntries(reading.values), {
    DCGM_FI_DEV_SM_CLOCK: Number.parseInt(cells['clocks.current.sm']!, 10),
    DCGM_FI_DEV_MEM_CLOCK: 2619,
    DCGM_FI_DEV_GPU_TEMP: Number(cells['temperature.gpu']),
    DCGM_FI_DEV_MEMORY_TEMP: Number(cells['temperature.memory']),
    DCGM_FI_DEV_POWER_USAGE: Number.parseFloat(cells['power.draw']!),
    DCGM_FI_DEV_GPU_UTIL: Number.parseInt(cells['utilization.gpu']!, 10),
    DCGM_FI_DEV_MEM_COPY_UTIL: Number.parseInt(cells['utilization.memory']!, 10),
    DCGM_FI_DEV_FB_TOTAL: 81559,
    DCGM_FI_DEV_FB_USED: 1013,
    DCGM_FI_DEV_PSTATE: 0,
    DCGM_FI_DEV_ECC_DBE_VOL_TOTAL: 0,
  })
})

test('what nvidia-smi writes where it knows nothing is absent, never zero', () => {
  const query = gpuQuery(recordedHelp, NONE)
  for (const nothing of [
    '[N/A]',
    '[Not Supported]',
    '[Unknown Error]',
    '[GPU is lost]',
    'ERR!',
    'N/A',
    '',
    'soon',
    '1e',
    '--',
  ]) {
    const values = query.read(rowOf(query, { 'power.draw': nothing, 'utilization.gpu': '5' }))!.values
    assert.deepEqual([...values], [['DCGM_FI_DEV_GPU_UTIL', 5]], nothing)
  }
})

test('flags, levels and masks are numbers', () => {
  const query = gpuQuery(recordedHelp, NONE)
  const { values } = query.read(
    rowOf(query, {
      pstate: 'P8',
      'remapped_rows.failure': 'Yes',
      'remapped_rows.pending': 'No',
      'clocks_event_reasons.active': '0x0000000000000024',
      'power.draw': '71.05 W',
    }),
  )!
  assert.deepEqual(Object.fromEntries(values), {
    DCGM_FI_DEV_POWER_USAGE: 71.05,
    DCGM_FI_DEV_PSTATE: 8,
    DCGM_FI_DEV_CLOCKS_EVENT_REASONS: 0x24,
    DCGM_FI_DEV_ROW_REMAP_FAILURE: 1,
    DCGM_FI_DEV_ROW_REMAP_PENDING: 0,
  })
})

test('only fields that the driver lists are asked for, by the name that it knows', () => {
  const asked = (help: string, refused = NONE) => gpuQuery(help, refused).text.split(',')
  assert.ok(asked(recordedHelp).includes('clocks_event_reasons.active'))
  const old = recordedHelp.replaceAll(/"clocks_event_reasons\.(\w+)" or /g, '').replaceAll('"memory.reserved"', '')
  assert.ok(asked(old).includes('clocks_throttle_reasons.active'))
  assert.ok(!asked(old).includes('clocks_event_reasons.active'))
  assert.ok(!asked(old).includes('memory.reserved'))
  assert.ok(!asked(recordedHelp, new Set(['fan.speed'])).includes('fan.speed'))
  // A driver that lists nothing is asked for what all know.
  assert.ok(asked('usage: none').includes('utilization.gpu'))
  assert.ok(!asked('').includes('clocks_event_reasons.active'))
  assert.equal(
    refusedField('Field "clocks_event_reasons.active" is not a valid field to query.\n'),
    'clocks_event_reasons.active',
  )
  assert.equal(refusedField('NVIDIA-SMI has failed'), undefined)
})

test('a model name may hold commas; what is no row is none', () => {
  const query = gpuQuery(recordedHelp, NONE)
  assert.equal(query.read(rowOf(query, { name: 'GRID A100, 40C, "x"' }))?.modelName, 'GRID A100, 40C, "x"')
  for (const line of [
    '',
    'No devices were found',
    'Unable to determine the device handle for GPU 0000:00:06.0: GPU is lost.  Reboot the system to recover this GPU',
    '0, GPU-1, torn',
    rowOf(query, { index: '[N/A]' }),
    rowOf(query, { uuid: 'ERR!' }),
    ','.repeat(100),
  ])
    assert.equal(query.read(line), undefined, line)
})

test('energy counted from power gives each recorded task what the step integral gives', () => {
  let now = 0
  const clock = { now: () => now, monotonic: () => now }
  const figures = new GpuFigures({ host: 'h', nodeId: undefined, slowMs: 10_000, clock })
  const query = gpuQuery(recordedHelp, NONE)
  const counter = recordedRows().map(({ at, cells }) => {
    now = at
    const energy = figures.of(query.read(rowOf(query, cells))!).find((s) => s.name.endsWith('ENERGY_CONSUMPTION'))!
    assert.equal(energy.labels['derived'], 'power')
    return { at, millijoules: energy.value }
  })
  /** A counter is a line between two samples. */
  const readAt = (time: number): number => {
    const i = counter.findIndex(({ at }) => at > time)
    const [a, b] = [counter[i - 1]!, counter[i]!]
    return a.millijoules + ((b.millijoules - a.millijoules) * (time - a.at)) / (b.at - a.at)
  }
  const hours = recordedTasks().map(({ start, end }) => (readAt(Date.parse(end)) - readAt(Date.parse(start))) / 3.6e6)
  assert.deepEqual(
    hours.map((h) => h.toFixed(4)),
    ['3.6908', '0.5081', '2.0360', '0.0013'],
    "the recording's README",
  )
})

test('energy: a gap is not filled with the power before it; a counter of the device itself is left as it is', () => {
  let now = 0
  const figures = new GpuFigures({
    host: 'h',
    nodeId: undefined,
    slowMs: 10_000,
    clock: { now: () => now, monotonic: () => now },
  })
  const identity = { index: '0', uuid: 'u', device: '', pciBusId: '', modelName: '', driverVersion: '' }
  const energy = (values: [string, number][]) =>
    figures.of({ ...identity, values: new Map(values) }).find((s) => s.name === 'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION')
  assert.equal(energy([['DCGM_FI_DEV_POWER_USAGE', 100]])?.value, 0)
  now = 3_600_000
  assert.equal(energy([['DCGM_FI_DEV_POWER_USAGE', 100]])?.value, 100 * 25_000, 'two and a half slow rounds at most')
  const given = energy([
    ['DCGM_FI_DEV_POWER_USAGE', 100],
    ['DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', 5],
  ])
  assert.deepEqual([given?.value, given?.labels['derived']], [5, undefined])
})

test("nebula's four names have nebula's labels and no others, and exist only where the value is known", () => {
  const clock = { now: () => 7, monotonic: () => 7 }
  const query = gpuQuery(recordedHelp, NONE)
  const reading = query.read(rowOf(query, { ...recordedRows()[20]!.cells, 'temperature.gpu': '[N/A]' }))!
  const of = (nodeId: string | undefined) =>
    new GpuFigures({ host: 'h', nodeId, slowMs: 1, clock }).of(reading).filter((s) => s.name.startsWith('gpu_'))
  assert.deepEqual(
    of('node-1').map(({ name, labels }) => [name, labels]),
    ['gpu_utilization', 'gpu_memory_used_mb', 'gpu_memory_total_mb'].map((name) => [
      name,
      { node_id: 'node-1', gpu_index: '0' },
    ]),
  )
  assert.deepEqual(of(undefined), [])
})
