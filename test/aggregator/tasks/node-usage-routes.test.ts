/** What nodes delivered, over its route, on the real engine: samples through intake, rows as the product makes them of a real H100's tasks. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { Hono } from 'hono'
import type { Price } from '../../../aggregator/directory/price.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import { rollUp } from '../../../aggregator/rollup/roller.ts'
import type { RecordStore } from '../../../aggregator/store/record-store.ts'
import type { Calculation } from '../../../aggregator/tasks/calculation.ts'
import { calculate } from '../../../aggregator/tasks/calculation.ts'
import { gpusOf } from '../../../aggregator/tasks/devices.ts'
import { DEFAULT_MAPPING } from '../../../aggregator/tasks/metric-mapping.ts'
import type { PresenceSeries } from '../../../aggregator/tasks/node-presence.ts'
import { NodePresence } from '../../../aggregator/tasks/node-presence.ts'
import type { NodeUsageAnswer } from '../../../aggregator/tasks/node-usage-answers.ts'
import type { Series } from '../../../aggregator/tasks/series-source.ts'
import { SLOT_MS, slotOf } from '../../../aggregator/tasks/shares.ts'
import { clipped, unionOf } from '../../../aggregator/tasks/spans.ts'
import type { Span } from '../../../aggregator/tasks/step-function.ts'
import type { UsageAnswer } from '../../../aggregator/tasks/task-answers.ts'
import type { TaskCost, TaskWho } from '../../../aggregator/tasks/task-details.ts'
import { taskPrices } from '../../../aggregator/tasks/task-prices.ts'
import { TaskQuery } from '../../../aggregator/tasks/task-query.ts'
import type { TaskRecord } from '../../../aggregator/tasks/task-record.ts'
import { addTaskRoutes } from '../../../aggregator/tasks/task-routes.ts'
import { taskRow, usageRows } from '../../../aggregator/tasks/task-rows.ts'
import { deltas } from '../../../aggregator/tasks/usage-out.ts'
import { UsageQuery } from '../../../aggregator/tasks/usage-query.ts'
import { measuredOf } from '../../../aggregator/tasks/window.ts'
import type { BatchPoint } from '../../support/batches.ts'
import { batchOf, definition } from '../../support/batches.ts'
import { engineOfFile } from '../../support/engine.ts'
import type { Rig } from '../../support/intake.ts'
import { startRig } from '../../support/intake.ts'
import { nodeUsageOf } from '../../support/node-usage.ts'
import { RECORDED_HOST, recordedSeries, recordedTaskRecords } from '../../support/recorded-tasks.ts'
import { startRecordStore, taskDetails } from '../../support/task-rows.ts'

const engine = engineOfFile()
const DATABASE = 'node_usage'
const TENANT = 'default'
const DAY_MS = 86_400_000
/** The recording is of the first minutes of a quarter of an hour; so it is here, two hours ago. */
const SLOT = slotOf(Date.now()) - 8 * SLOT_MS
const SHIFT_MS = SLOT - Date.parse('2026-11-21T00:00:00Z')
const PERIOD = `from=${new Date(SLOT).toISOString()}&to=${new Date(SLOT + SLOT_MS).toISOString()}`
const UTILIZATION = DEFAULT_MAPPING.filter(({ measure }) => measure === 'gpu_utilization')
let rig: Rig
let store: RecordStore
let app: Hono
let position = 0
let refs = 0

after(async () => {
  await store.stop(AbortSignal.timeout(5000))
  await rig.stop()
})

/** Through intake into ClickHouse. */
async function send(series: readonly Series[], tenant = TENANT): Promise<void> {
  const definitions = series.map(({ name, labels }) => definition(++refs, name, labels, tenant))
  const at = Date.now() * 1000
  const points = series.flatMap(({ times, values }, i) =>
    Array.from(times, (time, k): BatchPoint => ({ ref: definitions[i]!.ref, time, at: at + k, value: values[k]! })),
  )
  await rig.intake.receive(batchOf(points, definitions, { session: `s${refs}` }))
}

/** The newest rows of a task, as its calculation leaves them behind. */
function count(
  record: TaskRecord,
  { cost, ...calculation }: Calculation & { readonly cost: TaskCost },
  fields: { readonly tenant?: string; readonly samplesOf?: TaskWho['samplesOf'] } = {},
): void {
  const { tenant = TENANT, samplesOf = 'tenant' } = fields
  const logged = { n: ++position, tenant, at: Date.now() * 1000 }
  const key = { tenant, taskId: `${tenant}-${record.taskId}`, attempt: record.attempt }
  const { who } = taskDetails()
  const node = { ...who.node, name: RECORDED_HOST, names: [RECORDED_HOST] }
  const decision = {
    ...{ what: 'calculated' as const, key, version: 1, upTo: 0, final: true, record, calculation },
    assessment: { error: null, cost, who: { ...who, samplesOf, node }, directory: 1 },
  }
  const counted = deltas(undefined, { version: 1, amounts: calculation.amounts }).deltas
  store.addLogged(position, {
    tasks: [taskRow(logged, decision, undefined)],
    usage: usageRows(logged, decision, counted),
  })
}

const calculated = (record: TaskRecord, directory: DirectorySnapshot): ReturnType<typeof calculate> =>
  calculate({
    ...{
      record,
      neighbours: recordedTaskRecords(SHIFT_MS),
      nodeNames: [RECORDED_HOST],
      series: recordedSeries(SHIFT_MS),
    },
    ...{ mapping: DEFAULT_MAPPING, intervalMs: 1000, now: record.endedAt! },
    prices: taskPrices(directory, TENANT, { vmType: null, gpuModel: null }),
  })

const price: Price = {
  ...{ id: 'p', version: 1, tenant: TENANT, changed_at: '', supersedes: null, superseded_by: null },
  ...{
    valid_from: '2020-01-01T00:00:00.000Z',
    valid_to: null,
    resource: 'gpu_seconds',
    vm_type: null,
    gpu_model: null,
  },
  ...{ currency: 'EUR', amount_micros: 3_333_333, per: 3600 },
}

const ask = (query: string, headers: Record<string, string> = {}, path = '/v1/usage/nodes'): Promise<Response> =>
  Promise.resolve(app.request(`${path}?${query}`, { headers }))

async function nodes(query: string, headers: Record<string, string> = {}): Promise<NodeUsageAnswer> {
  const response = await ask(query, headers)
  assert.equal(response.status, 200, await response.clone().text())
  return (await response.json()) as NodeUsageAnswer
}

test('the stores, the recording of an H100 and its tasks are there', async () => {
  rig = await startRig(engine.db, DATABASE, join(engine.directory, 'quarantine'), Date.now() - 60_000)
  store = await startRecordStore(engine.db, DATABASE)
  const directory = await new DirectorySnapshot().with(1, [{ kind: 'price', record: price }])
  const options = { db: engine.db, database: DATABASE, settled: () => store.settled() }
  app = new Hono()
  const settled = async (): Promise<void> => {
    await store.settled()
    await rig.store.settled()
  }
  addTaskRoutes(
    app,
    {
      tasks: new TaskQuery(options),
      usage: new UsageQuery(options),
      nodes: nodeUsageOf(engine.db, DATABASE, { taskIntervalMs: 1000, directory: () => directory, settled }),
      charts: { mapping: [], series: async () => [] },
      now: () => Date.now(),
    },
    [],
    (c) => ({ tenant: c.req.header('x-scope-orgid') ?? TENANT, admin: false }),
  )
  await send(recordedSeries(SHIFT_MS))
  for (const record of recordedTaskRecords(SHIFT_MS)) count(record, calculated(record, directory))
})

test('GET /v1/usage/nodes: of a real H100 what was measured, what its four tasks had, and what was idle', async () => {
  const { data, totals, method, warnings, group_by } = await nodes(`${PERIOD}&group_by=gpu`)
  const [line, ...others] = data
  assert.deepEqual([others, group_by, method, warnings], [[], ['node', 'gpu'], 'samples', []])
  // From 00:01:39.395 until 00:03:12.464, and two and a half of the usual 1.001 s more, to the ms.
  assert.deepEqual(
    { ...line },
    {
      node_id: RECORDED_HOST,
      gpu: 'GPU-2a06f14d-a781-3b98-446d-bd427734072e',
      gpus: 1,
      delivered_gpu_seconds: '95.571',
      // 20.024 + 15.041 + 30.277 + 0.039
      attributed_gpu_seconds: '65.381',
      idle_gpu_seconds: '30.19',
      unmeasured_gpu_seconds: '0',
      idle_ratio: 30_190 / 95_571,
      coverage: 95_571 / 900_000,
      delivered_cost_micros: line!.delivered_cost_micros,
      attributed_cost_micros: line!.attributed_cost_micros,
      idle_cost_micros: line!.idle_cost_micros,
      currency: 'EUR',
    },
  )
  // At 3.333333 EUR for 3600 s; each moment is rounded by itself.
  assert.ok(Math.abs(line!.delivered_cost_micros! - (95.571 * 3_333_333) / 3600) <= 1)
  assert.ok(Math.abs(line!.idle_cost_micros! - (30.19 * 3_333_333) / 3600) <= 6)
  assert.equal(line!.attributed_cost_micros! + line!.idle_cost_micros!, line!.delivered_cost_micros)
  const { node_id: _, gpu: __, ...sums } = line!
  assert.deepEqual(totals, [sums])
  // What it says of tasks is what /v1/usage says.
  const usage = (await (await ask(`${PERIOD}&resource=gpu_seconds`, {}, '/v1/usage')).json()) as UsageAnswer
  assert.deepEqual(
    usage.totals.map(({ amount, cost_micros }) => [amount, cost_micros]),
    [[line!.attributed_gpu_seconds, line!.attributed_cost_micros]],
  )
})

test('GET /v1/usage/nodes: times before and after, a node by name, CSV', async () => {
  const wide = `from=${new Date(SLOT - 2 * SLOT_MS).toISOString()}&to=${new Date(SLOT + 3 * SLOT_MS).toISOString()}`
  const { data } = await nodes(`${wide}&group_by=slot,node&node=${RECORDED_HOST.toUpperCase()}`)
  assert.deepEqual(
    data.map(({ node_id, period, idle_gpu_seconds }) => [node_id, period, idle_gpu_seconds]),
    [[RECORDED_HOST, `${new Date(SLOT).toISOString().slice(0, 19)}Z`, '30.19']],
  )
  assert.deepEqual((await nodes(`${wide}&node=nowhere`)).data, [])
  const csv = await (await ask(`${PERIOD}&group_by=node`, { accept: 'text/csv' })).text()
  const [head, row] = csv.split('\r\n')
  assert.equal(
    head,
    'node_id,gpus,delivered_gpu_seconds,attributed_gpu_seconds,idle_gpu_seconds,unmeasured_gpu_seconds,idle_ratio,coverage,delivered_cost_micros,attributed_cost_micros,idle_cost_micros,currency',
  )
  assert.match(row!, /^gpu-01,1,95.571,65.381,30.19,0,0\.31\d+,0\.10\d+,\d+,\d+,\d+,EUR$/)
})

test('GET /v1/usage/nodes: a tenant sees machines that it measures; tasks of others there have no name', async () => {
  const none = await nodes(PERIOD, { 'x-scope-orgid': 'other' })
  assert.deepEqual([none.data, none.totals], [[], []])
  const [record] = recordedTaskRecords(SHIFT_MS)
  const idle = { ...record!, startedAt: SLOT + 131_000, endedAt: SLOT + 134_000 }
  const figures = calculated(idle, new DirectorySnapshot())
  // Whoever names a machine that is not theirs has no samples of it.
  count(idle, figures, { tenant: 'liar', samplesOf: 'none' })
  assert.equal((await nodes(PERIOD)).totals[0]!.attributed_gpu_seconds, '65.381')
  count(idle, figures, { tenant: 'other', samplesOf: 'operator' })
  const answer = await nodes(`${PERIOD}&group_by=gpu`)
  assert.deepEqual(
    answer.totals.map((sums) => [sums.attributed_gpu_seconds, sums.idle_gpu_seconds, sums.unmeasured_gpu_seconds]),
    [['68.381', '27.19', '0']],
  )
  assert.ok(!JSON.stringify(answer).includes('other'))
  const theirs = await nodes(PERIOD, { 'x-scope-orgid': 'other' })
  assert.deepEqual(
    theirs.data.map((line) => [line.delivered_gpu_seconds, line.attributed_gpu_seconds, line.unmeasured_gpu_seconds]),
    [['0', '3', '3']],
  )
})

test('GET /v1/usage/nodes: pages hold each line once', async () => {
  const other = recordedSeries(SHIFT_MS).map((one) => ({
    ...one,
    labels: { ...one.labels, Hostname: 'gpu-02', instance: 'gpu-02', UUID: 'GPU-other' },
  }))
  await send(other)
  const all = await nodes(`${PERIOD}&group_by=gpu`)
  assert.deepEqual(
    all.data.map(({ node_id, idle_gpu_seconds }) => [node_id, idle_gpu_seconds]),
    [
      ['gpu-01', '27.19'],
      ['gpu-02', '95.571'],
    ],
  )
  const first = await nodes(`${PERIOD}&group_by=gpu&limit=1`)
  const second = await nodes(`${PERIOD}&group_by=gpu&limit=1&cursor=${first.next_cursor}`)
  assert.deepEqual([...first.data, ...second.data], all.data)
  assert.deepEqual([second.next_cursor, first.totals, second.totals], [null, all.totals, all.totals])
})

test('questions about nodes that cannot be understood name each parameter at fault', async () => {
  const other = Buffer.from('["a"]').toString('base64url')
  const hostile: readonly (readonly [query: string, fields: readonly string[]])[] = [
    ['group_by=user', ['group_by']],
    ['group_by=node,node', ['group_by']],
    ['group_by=day,month', ['group_by']],
    ["group_by=node')%20--", ['group_by']],
    ['from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z', ['from']],
    ['from=2026-11-21T00:00:00Z&to=2026-11-21T00:00:00Z', ['from']],
    ['from=2020-01-01T00:00:00Z&to=2026-11-20T00:00:00Z', ['from']],
    ['from=yesterday', ['from']],
    ['format=focus', ['format']],
    [`cursor=${other}&group_by=gpu`, ['cursor']],
    ['limit=-1&user_id=1', ['user_id', 'limit']],
  ]
  for (const [query, fields] of hostile) {
    const response = await ask(query)
    assert.equal(response.status, 400, query)
    const { errors } = (await response.json()) as { errors: { field: string }[] }
    assert.deepEqual(
      errors.map(({ field }) => field),
      fields,
      query,
    )
  }
  assert.equal((await app.request('/v1/usage/nodes', { method: 'POST' })).status, 405)
  assert.deepEqual((await nodes(`node=${encodeURIComponent("x' OR '1'='1")}`)).data, [])
})

test('a time that no column holds is of nothing, and not of 1970', async () => {
  const period = 'from=2110-01-01T00:00:00Z&to=2110-02-01T00:00:00Z'
  for (const path of ['/v1/usage', '/v1/usage/nodes']) {
    const response = await ask(period, {}, path)
    const { data, totals } = (await response.json()) as UsageAnswer | NodeUsageAnswer
    assert.deepEqual([response.status, data, totals], [200, [], []], path)
  }
})

test('as many series as there may be are asked for at once', async () => {
  const ids = Array.from({ length: 10_000 }, (_, i) => String(2n ** 127n + BigInt(i)))
  const span = { from: SLOT, to: SLOT + SLOT_MS }
  assert.equal((await presenceWith(1e6).samples(TENANT, ids, span)).size, 0)
  assert.equal((await presenceWith(1e6).hours(TENANT, ids, span)).size, 0)
})

const presenceWith = (samplesMax: number, spansMax = 1000): NodePresence =>
  new NodePresence({
    db: engine.db,
    database: DATABASE,
    mapping: UTILIZATION,
    intervalMs: 10_000,
    seriesMax: 100,
    samplesMax,
    spansMax,
  })

test('ClickHouse finds a GPU to be there when a calculation does, with gaps, stale markers and slow series', async () => {
  const sample = fc.tuple(
    fc.oneof(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 40_000 })),
    fc.constantFrom(50, 50, 50, 50, Number.NaN, 0),
  )
  const from = SLOT - DAY_MS
  const series = fc
    .sample(fc.array(sample, { minLength: 1, maxLength: 120 }), { numRuns: 40, seed: 11 })
    .map((all, i) => {
      const sorted = [...new Map(all)].sort(([a], [b]) => a - b)
      return {
        name: 'DCGM_FI_DEV_GPU_UTIL',
        labels: { Hostname: 'random', UUID: `GPU-${i}` },
        times: sorted.map(([second]) => from + second * 1000),
        values: sorted.map(([, value]) => value),
      } satisfies Series
    })
  await send(series, 'random')
  await rig.store.settled()
  const presence = presenceWith(1e6)
  const found = await presence.series('random', from)
  assert.equal(found.length, series.length)
  // What came before the piece that is read is no part of it: each begins anew with the period.
  const span = { from, to: from + 43_200_000 }
  const there = await presence.samples(
    'random',
    found.map(({ id }) => id),
    span,
  )
  const gpus = gpusOf(measuredOf(DEFAULT_MAPPING, ['random'], series), { intervalMs: 10_000 })
  const inMs = ({ from: begin, to }: Span): Span => ({ from: begin, to: Math.floor(to) })
  for (const { id, labels } of found) {
    const gpu = gpus.find(({ names }) => names.has(labels['UUID']!))!
    const wanted = unionOf(clipped(gpu.measures.get('gpu_utilization')!.steps.steps.map(inMs), span))
    assert.deepEqual(there.get(id) ?? [], wanted, labels['UUID'])
  }
  const day = 60_000 * 60 * 24
  // As many as there are here are one piece: those of days stand beside each other, and are one.
  const start = Math.floor(from / day) * day - 2 * day
  const times = Array.from({ length: 3000 }, (_, i) => start + i * 60_000 + (i < 1500 ? 0 : 600_000))
  const [long] = series
  await send([{ ...long!, labels: { Hostname: 'long', UUID: 'GPU-long' }, times, values: times.map(() => 1) }], 'long')
  await rig.store.settled()
  const [one] = await presence.series('long', start)
  const all = { from: start, to: start + 3 * day }
  const halves = [
    await presence.samples('long', [one!.id], { ...all, to: start + day }),
    await presence.samples('long', [one!.id], { ...all, from: start + day }),
  ]
  const wanted = [
    { from: start, to: times[1499]! + 150_000 },
    { from: times[1500]!, to: times.at(-1)! + 150_000 },
  ]
  assert.deepEqual((await presence.samples('long', [one!.id], all)).get(one!.id), wanted)
  await assert.rejects(presenceWith(1e6, 1).samples('long', [one!.id], all), /away more than 1 times/)
  assert.deepEqual(unionOf(halves.flatMap((half) => half.get(one!.id) ?? [])), wanted)
  await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * DAY_MS })
  await assert.rejects(presenceWith(2999).samples('long', [one!.id], all), /3000 samples of GPUs are more than 2999/)
  assert.equal((await presenceWith(3000).samples('long', [one!.id], all)).size, 1)
})

test('where samples have expired, figures of whole hours say nearly the same, and the answer says that it is so', async () => {
  const series = { ...recordedSeries()[0]!, labels: { Hostname: 'old', UUID: 'GPU-old', gpu: '0' } }
  const start = Math.floor((Date.now() - DAY_MS) / DAY_MS) * DAY_MS - DAY_MS
  const times = Array.from({ length: 300 }, (_, i) => start + i * 60_000 + (i >= 150 ? 3_600_000 : 0))
  await send([{ ...series, times, values: times.map(() => 1) }], 'old')
  await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * DAY_MS })
  const filter = `from=${new Date(start).toISOString()}&to=${new Date(start + DAY_MS).toISOString()}`
  const expired = new Hono()
  const nodesThere = nodeUsageOf(engine.db, DATABASE, { pointsMs: 0, settled: () => rig.store.settled() })
  const rest = { tasks: {} as TaskQuery, usage: {} as UsageQuery, charts: { mapping: [], series: async () => [] } }
  addTaskRoutes(expired, { ...rest, nodes: nodesThere, now: () => Date.now() }, [], () => ({
    tenant: 'old',
    admin: false,
  }))
  const answer = (await (await expired.request(`/v1/usage/nodes?${filter}`)).json()) as NodeUsageAnswer
  const exact = await nodes(filter, { 'x-scope-orgid': 'old' })
  assert.deepEqual([answer.method, answer.warnings.length, exact.method], ['hourly_figures', 1, 'samples'])
  // 150 minutes, an hour of none, 150 minutes; a sample holds for 2.5 minutes.
  assert.equal(exact.totals[0]!.delivered_gpu_seconds, String(2 * (149 * 60 + 150)))
  assert.equal(answer.totals[0]!.delivered_gpu_seconds, exact.totals[0]!.delivered_gpu_seconds)
  const [{ id }] = (await presenceWith(1e6).series('old', start)) as [PresenceSeries]
  const hours = (spansMax: number) =>
    presenceWith(1e6, spansMax).hours('old', [id], { from: start, to: start + DAY_MS })
  assert.equal((await hours(2)).get(id)?.length, 2)
  await assert.rejects(hours(1), /away more than 1 times/)
  // Cut where it may be, also within a run of samples, a period is its parts.
  const cut = new Date(start + 8 * SLOT_MS).toISOString()
  const [before, then] = [filter.replace(/to=.*/, `to=${cut}`), filter.replace(/from=[^&]*/, `from=${cut}`)]
  const parts = [await nodes(before, { 'x-scope-orgid': 'old' }), await nodes(then, { 'x-scope-orgid': 'old' })]
  assert.deepEqual(
    parts.map(({ totals }) => Number(totals[0]!.idle_gpu_seconds)),
    [8 * 900, 2 * (149 * 60 + 150) - 8 * 900],
  )
})
