/** Which GPU is of which machine, who had it, and what is left: found together from what samples, rows and directories say. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Price } from '../../../aggregator/directory/price.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import type { Calculation } from '../../../aggregator/tasks/calculation.ts'
import { calculate } from '../../../aggregator/tasks/calculation.ts'
import { DEFAULT_MAPPING } from '../../../aggregator/tasks/metric-mapping.ts'
import type { NodeCounted, TaskWindow } from '../../../aggregator/tasks/node-counted.ts'
import { fleetOf } from '../../../aggregator/tasks/node-fleet.ts'
import type { PresenceSeries } from '../../../aggregator/tasks/node-presence.ts'
import { piecesOf, spansOfHours } from '../../../aggregator/tasks/node-presence.ts'
import type { NodeUsageResult } from '../../../aggregator/tasks/node-usage.ts'
import { NodeUsage } from '../../../aggregator/tasks/node-usage.ts'
import { nodeUsageAnswer } from '../../../aggregator/tasks/node-usage-answer.ts'
import type { NodeUsageLineAnswer } from '../../../aggregator/tasks/node-usage-answers.ts'
import { readNodeUsageFilter } from '../../../aggregator/tasks/node-usage-filter.ts'
import type { Series } from '../../../aggregator/tasks/series-source.ts'
import type { Span } from '../../../aggregator/tasks/step-function.ts'
import { taskPrices } from '../../../aggregator/tasks/task-prices.ts'
import type { TaskRecord } from '../../../aggregator/tasks/task-record.ts'
import { nodeRecord } from '../../support/task-rig.ts'

const T0 = Date.parse('2026-11-21T12:00:00Z')
const HOUR_MS = 3_600_000
const UTILIZATION = DEFAULT_MAPPING.filter(({ measure }) => measure === 'gpu_utilization')
const TENANT = 'default'

const dcgm = (id: string, host: string, uuid: string, gpu: string): PresenceSeries => ({
  id,
  name: 'DCGM_FI_DEV_GPU_UTIL',
  labels: { Hostname: host, instance: `${host}:9400`, UUID: uuid, gpu, modelName: 'NVIDIA H100' },
})

async function directoryOf(...records: Parameters<DirectorySnapshot['with']>[1]): Promise<DirectorySnapshot> {
  return new DirectorySnapshot().with(1, records)
}
const node = (fields: Parameters<typeof nodeRecord>[0]) => ({
  kind: 'node' as const,
  record: nodeRecord({ tenant: TENANT, ...fields }),
})
const price = (fields: Partial<Price> = {}) => ({
  kind: 'price' as const,
  record: {
    ...{ id: `p${fields.amount_micros ?? 0}`, version: 1, tenant: TENANT, changed_at: '', supersedes: null },
    ...{ valid_from: '2026-01-01T00:00:00.000Z', valid_to: null, superseded_by: null },
    ...{
      resource: 'gpu_seconds',
      vm_type: null,
      gpu_model: null,
      currency: 'EUR',
      amount_micros: 3_600_000,
      per: 3600,
    },
    ...fields,
  } satisfies Price,
})

test('fleetOf(): UUID and index are one GPU, and names are one machine where the directory says so', async () => {
  const series: PresenceSeries[] = [
    dcgm('1', 'gpu-01', 'GPU-a', '0'),
    { id: '2', name: 'gpu_utilization', labels: { node_id: 'n-1', gpu_index: '0' } },
    dcgm('3', 'gpu-01', 'GPU-b', '1'),
    { id: '4', name: 'gpu_utilization', labels: { node_id: 'alone', gpu_index: '0' } },
    { id: '5', name: 'gpu_utilization', labels: { gpu_index: '0' } }, // of no node
    { id: '6', name: 'gpu_utilization', labels: { node_id: 'n-1' } }, // of no GPU
  ]
  const plain = (directory: DirectorySnapshot) =>
    fleetOf(series, UTILIZATION, directory, TENANT, T0).map(({ name, vmType, gpus }) => [
      name,
      vmType,
      gpus.map(({ id, model, series: of }) => `${id} ${model}: ${of.join()}`),
    ])
  const apart = plain(new DirectorySnapshot())
  assert.deepEqual(apart, [
    ['gpu-01', '', ['GPU-a NVIDIA H100: 1', 'GPU-b NVIDIA H100: 3']],
    ['n-1', '', ['0 : 2']],
    ['alone', '', ['0 : 4']],
  ])
  const entry = node({ node_id: 'n-1', host_name: 'GPU-01', vm_type: 'large' })
  assert.deepEqual(plain(await directoryOf(entry)), [
    ['n-1', 'large', ['GPU-a NVIDIA H100: 1,2', 'GPU-b NVIDIA H100: 3']],
    ['alone', '', ['0 : 4']],
  ])
})

test('fleetOf(): many GPUs that say one name of a machine take no longer than those of many', () => {
  const count = 20_000
  const series = Array.from({ length: count }, (_, i) => dcgm(`${i}`, 'one', `GPU-${i}`, `${i}`))
  const since = performance.now()
  const [found] = fleetOf(series, UTILIZATION, new DirectorySnapshot(), TENANT, T0)
  assert.equal(found!.gpus.length, count)
  assert.ok(performance.now() - since < 3000, 'each GPU was looked for among all of them')
})

test('spansOfHours(): hours that follow each other are one span, a gap is none, and few samples hold for no longer than samples do', () => {
  const hour = (i: number, count: number, from = 0, to = 3_590_000) => ({
    first: T0 + i * HOUR_MS + from,
    last: T0 + i * HOUR_MS + to,
    count,
  })
  const hours = [hour(0, 360), hour(1, 360), hour(3, 360), hour(5, 2, 0, 3_590_000)]
  assert.deepEqual(spansOfHours(hours, 10_000), [
    { from: T0, to: T0 + 2 * HOUR_MS - 10_000 + 25_000 },
    { from: T0 + 3 * HOUR_MS, to: T0 + 4 * HOUR_MS - 10_000 + 25_000 },
    { from: T0 + 5 * HOUR_MS, to: T0 + 5 * HOUR_MS + 50_000 },
  ])
})

test('piecesOf(): days that fit are read together, a day that does not in parts, and no series and no day is left out', () => {
  const day = (i: number, ...counts: number[]) => ({
    from: T0 + i * 24 * HOUR_MS,
    to: T0 + (i + 1) * 24 * HOUR_MS,
    counts: new Map(counts.map((count, id) => [String(id), count])),
  })
  const ids = ['0', '1', '2']
  const pieces = piecesOf(ids, [day(0, 3, 3, 3), day(1), day(2, 2), day(3, 1, 6, 6), day(4, 20, 1), day(5)], 10)
  assert.deepEqual(
    pieces.map(({ ids: some, from, to }) => [some.join(''), (from - T0) / HOUR_MS / 24, (to - T0) / HOUR_MS / 24]),
    [
      ['012', 0, 2],
      ['012', 2, 3],
      ['01', 3, 4],
      ['2', 3, 4],
      ['0', 4, 5],
      ['12', 4, 5],
      ['012', 5, 6],
    ],
  )
})

/** A node with two GPUs for an hour, a sample every 10 s. */
const GPUS = [dcgm('1', 'gpu-01', 'GPU-a', '0'), dcgm('2', 'gpu-01', 'GPU-b', '1')]
const THERE: Span = { from: T0, to: T0 + HOUR_MS }
const SERIES: Series[] = GPUS.map(({ name, labels }) => {
  const times = Array.from({ length: 361 }, (_, i) => T0 + i * 10_000)
  return { name, labels, times, values: times.map(() => 50) }
})

const task = (taskId: string, from: number, to: number, gpus?: readonly string[]): TaskRecord => ({
  tenant: TENANT,
  taskId,
  attempt: 1,
  state: 'completed',
  startedAt: T0 + from * 1000,
  endedAt: T0 + to * 1000,
  facts: { nodeId: 'gpu-01', ...(gpus === undefined ? {} : { gpus }) },
  tags: {},
  loads: [],
  flags: [],
})

interface Rows {
  readonly windows: readonly TaskWindow[]
  readonly counted: readonly NodeCounted[]
}

/** As the product calculates them, and as its rows say it. */
function rowsOf(records: readonly TaskRecord[], directory: DirectorySnapshot, tenant = TENANT): Rows {
  const prices = taskPrices(directory, TENANT, { vmType: null, gpuModel: 'NVIDIA H100' })
  const calculations = records.map((record): [TaskRecord, Calculation] => [
    record,
    calculate({
      ...{ record, neighbours: records, nodeNames: ['gpu-01'], series: SERIES, mapping: DEFAULT_MAPPING },
      ...{ intervalMs: 10_000, now: T0 + HOUR_MS, prices },
    }),
  ])
  const of = { tenant, name: 'gpu-01', names: ['gpu-01'] }
  return {
    windows: calculations.map(([{ facts }, { gpus, window }]) => ({
      ...{ ...of, ...window, gpus: gpus.map(({ gpu }) => gpu) },
      unseen: Math.max(0, (facts.gpus?.length ?? 0) - gpus.length),
    })),
    counted: calculations.flatMap(([, { amounts }]) =>
      amounts
        .filter(({ resource }) => resource === 'gpu_seconds')
        .map(({ slot, amount, costMicro = 0, currency = '' }) => ({ ...of, slot, amount, costMicro, currency })),
    ),
  }
}

async function ask(query: string, rows: Rows, directory = new DirectorySnapshot(), there = [THERE]) {
  const usage = new NodeUsage({
    presence: {
      mapping: UTILIZATION,
      series: async () => GPUS,
      samples: async (_, ids) => new Map(ids.map((id) => [id, there])),
      hours: async () => new Map(),
    },
    counts: { windows: async () => [...rows.windows], counted: async () => [...rows.counted] },
    directory: () => directory,
    operator: TENANT,
    settled: async () => {},
    pointsMs: 30 * 24 * HOUR_MS,
    now: () => T0 + 2 * HOUR_MS,
  })
  const filter = readNodeUsageFilter(
    new URLSearchParams(`from=2026-11-21T12:00:00Z&to=2026-11-21T13:00:00Z&${query}`),
    T0,
  )
  assert.ok(!('errors' in filter), JSON.stringify(filter))
  const found: NodeUsageResult = await usage.find(TENANT, filter)
  return nodeUsageAnswer(filter, found, found.lines, null)
}

const figures = (line: Omit<NodeUsageLineAnswer, 'node_id'>): string =>
  [
    line.gpu ?? '-',
    line.delivered_gpu_seconds,
    line.attributed_gpu_seconds,
    line.idle_gpu_seconds,
    line.unmeasured_gpu_seconds,
    line.idle_cost_micros,
  ].join(' ')

test('tasks that share GPUs, on some of them and on all: each GPU has its own idle time', async () => {
  const directory = await directoryOf(price())
  const records = [task('all', 0, 600), task('a', 300, 1000.5, ['GPU-a']), task('b', 2000, 2400, ['1'])]
  const rows = rowsOf(records, directory)
  const { data, totals } = await ask('group_by=gpu', rows, directory)
  assert.deepEqual(data.map(figures), ['GPU-a 3600 1000.5 2599.5 0 2599500', 'GPU-b 3600 1000 2600 0 2600000'])
  assert.deepEqual(
    data.map(({ coverage, idle_ratio, currency }) => [coverage, idle_ratio, currency]),
    [
      [1, 2599.5 / 3600, 'EUR'],
      [1, 2600 / 3600, 'EUR'],
    ],
  )
  const [total] = totals
  assert.deepEqual([total!.gpus, total!.delivered_cost_micros], [2, 7_200_000])
  assert.equal(total!.attributed_cost_micros! + total!.idle_cost_micros!, total!.delivered_cost_micros)
})

test('by the slot, the model and the day; one GPU, one node, and of a model that is not there nothing', async () => {
  const rows = rowsOf([task('a', 0, 1000, ['GPU-a'])], new DirectorySnapshot())
  const of = async (query: string) => (await ask(query, rows)).data
  assert.deepEqual(
    (await of('group_by=slot&gpu=0')).map((line) => [line.period, figures(line)]),
    [
      ['2026-11-21T12:00:00Z', '- 900 900 0 0 '],
      ['2026-11-21T12:15:00Z', '- 900 100 800 0 '],
      ['2026-11-21T12:30:00Z', '- 900 0 900 0 '],
      ['2026-11-21T12:45:00Z', '- 900 0 900 0 '],
    ],
  )
  assert.deepEqual(
    (await of('group_by=gpu_model,day')).map((line) => [line.gpu_model, line.period, figures(line)]),
    [['NVIDIA H100', '2026-11-21T00:00:00Z', '- 7200 1000 6200 0 ']],
  )
  assert.deepEqual((await of('node=GPU-01')).map(figures), ['- 7200 1000 6200 0 '])
  assert.deepEqual(await of('gpu_model=A100'), [])
})

test('a task while the samples had a gap, and a GPU that no sample is of, are unmeasured', async () => {
  const there = [
    { from: T0, to: T0 + 1_000_000 },
    { from: T0 + 2_000_000, to: T0 + HOUR_MS },
  ]
  const records = [task('a', 900, 2100, ['GPU-a', 'GPU-unseen'])]
  const { data } = await ask('group_by=gpu', rowsOf(records, new DirectorySnapshot()), undefined, there)
  assert.deepEqual(data.map(figures), [' 0 1200 0 1200 ', 'GPU-a 2600 1200 2400 1000 ', 'GPU-b 2600 0 2600 0 '])
})

test('two tenants on one GPU: what both were counted is attributed, and idle is what neither had', async () => {
  const directory = new DirectorySnapshot()
  const own = rowsOf([task('mine', 0, 1000, ['GPU-a'])], directory)
  const other = rowsOf([task('theirs', 500, 1500, ['GPU-a'])], directory, 'other')
  const rows = { windows: [...own.windows, ...other.windows], counted: [...own.counted, ...other.counted] }
  const answer = await ask('group_by=gpu', rows)
  assert.deepEqual(answer.data.map(figures), ['GPU-a 3600 2000 2100 500 ', 'GPU-b 3600 0 3600 0 '])
  assert.ok(!JSON.stringify(answer).includes('theirs'))
  // Of a machine that nobody here measures only the own tasks are told.
  const elsewhere = (tenant: string, one: Rows) => ({
    windows: one.windows.map((window) => ({ ...window, tenant, name: 'far', names: ['far'] })),
    counted: one.counted.map((sum) => ({ ...sum, tenant, name: 'far', names: ['far'] })),
  })
  const nodesOf = async (some: Rows) => (await ask('', some)).data.map((line) => `${line.node_id} ${figures(line)}`)
  assert.deepEqual(await nodesOf(elsewhere(TENANT, own)), ['far - 0 1000 0 1000 ', 'gpu-01 - 7200 0 7200 0 '])
  assert.deepEqual(await nodesOf(elsewhere('other', own)), ['gpu-01 - 7200 0 7200 0 '])
})

test('a price that changes within a quarter of an hour costs both parts what they cost', async () => {
  const directory = await directoryOf(
    price({ valid_to: '2026-11-21T12:20:00.000Z' }),
    price({ valid_from: '2026-11-21T12:20:00.000Z', amount_micros: 7_200_000 }),
  )
  const rows = rowsOf([task('a', 1000, 1300, ['GPU-a'])], directory)
  const { data } = await ask('group_by=gpu&gpu=GPU-a', rows, directory)
  // 1200 s at 1, then 2400 s at 2; the task had 200 s of the first and 100 s of the second.
  assert.deepEqual(
    data.map((line) => [line.delivered_cost_micros, line.attributed_cost_micros, line.idle_cost_micros]),
    [[6_000_000_000 / 1000, 400_000, 5_600_000]],
  )
})
