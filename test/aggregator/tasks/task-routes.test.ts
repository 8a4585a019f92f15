/** Questions about tasks over their routes, on the real engine, with rows that the product's own store inserts. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Hono } from 'hono'
import type { RecordStore } from '../../../aggregator/store/record-store.ts'
import { migrate } from '../../../aggregator/store/schema/migrate.ts'
import { DEFAULT_MAPPING } from '../../../aggregator/tasks/metric-mapping.ts'
import type { TaskAnswer, TaskDetailAnswer, TasksAnswer } from '../../../aggregator/tasks/task-answers.ts'
import { TaskQuery } from '../../../aggregator/tasks/task-query.ts'
import { addTaskRoutes } from '../../../aggregator/tasks/task-routes.ts'
import { UsageQuery } from '../../../aggregator/tasks/usage-query.ts'
import { engineOfFile } from '../../support/engine.ts'
import { nodeUsageOf } from '../../support/node-usage.ts'
import { calculationOf, RECORDED_HOST, recordedSeries, recordedTaskRecords } from '../../support/recorded-tasks.ts'
import { put, quantitiesOf, startRecordStore, taskDetails, taskRow } from '../../support/task-rows.ts'

const engine = engineOfFile()
const DATABASE = 'task_routes'
let store: RecordStore
let app: Hono

test('the store and its routes are there', async () => {
  await migrate(engine.db, DATABASE, { pointsDays: 30, rollupDays: 396, eventDays: 396 })
  store = await startRecordStore(engine.db, DATABASE)
  const options = { db: engine.db, database: DATABASE, settled: () => store.settled() }
  app = new Hono()
  addTaskRoutes(
    app,
    {
      tasks: new TaskQuery(options),
      usage: new UsageQuery(options),
      nodes: nodeUsageOf(engine.db, DATABASE),
      charts: { mapping: DEFAULT_MAPPING, series: async () => recordedSeries() },
      now: () => Date.now(),
    },
    [],
    (c) => ({ tenant: c.req.header('x-tenant') ?? 'default', admin: false }),
  )
})

after(() => store.stop(AbortSignal.timeout(5000)))

const ask = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  Promise.resolve(app.request(path, { headers }))

async function list(tenant: string, query: string): Promise<TasksAnswer> {
  const response = await ask(`/v1/tasks?${query}`, { 'x-tenant': tenant })
  assert.equal(response.status, 200, await response.clone().text())
  return (await response.json()) as TasksAnswer
}

const idsOf = (data: readonly TaskAnswer[]): string[] => data.map(({ task_id, attempt }) => `${task_id}/${attempt}`)
const T = Date.UTC(2026, 10, 21, 10)
const at = (seconds: number): string => new Date(T + seconds * 1000).toISOString()

test('GET /v1/tasks: each filter finds its own and no other, the newest first', async () => {
  const tenant = 'filters'
  const one = (id: string, seconds: number, fields: Parameters<typeof taskRow>[1] = {}) =>
    taskRow(id, { tenant, started: T + seconds * 1000, ended: T + (seconds + 10) * 1000, ...fields })
  put(store, {
    tasks: [
      one('plain', 0),
      one('hers', 20, { userId: 'u1', project: 'apollo', department: 'research' }),
      one('node', 40, { nodeId: 'gpu-01', model: 'llama, "7b"' }),
      one('oom', 60, { state: 'failed', errorCategory: 'resource.oom_gpu', result: 0 }),
      one('disk', 80, { state: 'failed', errorCategory: 'resource.disk', result: 0 }),
      one('good', 100, { result: 1 }),
      one('runs', 120, { state: 'running', ended: 0, provisional: true }),
      one('waits', 140, { state: 'queued', queued: T + 140_000, started: 0, ended: 0 }),
      one('void', 160, { state: 'void' }),
    ],
  })
  const found = async (query: string): Promise<string[]> => idsOf((await list(tenant, query)).data)
  const all = ['waits/1', 'runs/1', 'good/1', 'disk/1', 'oom/1', 'node/1', 'hers/1', 'plain/1']
  assert.deepEqual(await found(''), all)
  assert.deepEqual(await found('user_id=u1'), ['hers/1'])
  assert.deepEqual(await found('project=apollo'), ['hers/1'])
  assert.deepEqual(await found('department=research'), ['hers/1'])
  assert.deepEqual(
    await found('department='),
    all.filter((id) => id !== 'hers/1'),
  )
  assert.deepEqual(await found('node=gpu-01'), ['node/1'])
  assert.deepEqual(await found(`model=${encodeURIComponent('llama, "7b"')}`), ['node/1'])
  assert.deepEqual(await found('state=failed'), ['disk/1', 'oom/1'])
  assert.deepEqual(await found('error_category=resource.disk'), ['disk/1'])
  assert.deepEqual(await found('error_category=resource.*'), ['disk/1', 'oom/1'])
  assert.deepEqual(await found('result=true'), ['good/1'])
  assert.deepEqual(await found('result=false'), ['disk/1', 'oom/1'])
  assert.deepEqual(await found('open=true'), ['waits/1', 'runs/1'])
  assert.deepEqual(await found('open=false&state=running'), [])
  // What was there at some time in it: it had begun before its end, and had not ended before its beginning.
  assert.deepEqual(await found(`from=${at(65)}&to=${at(85)}`), ['disk/1', 'oom/1'])
  assert.deepEqual(await found(`from=${at(125)}`), ['waits/1', 'runs/1'])
  assert.deepEqual(await found(`to=${at(20)}`), ['plain/1'])
  assert.deepEqual(await found('user_id=u1&project=other'), [])
})

test('GET /v1/tasks: the tasks of a machine are found by any of its names, however it is written', async () => {
  const tenant = 'names'
  const { who } = taskDetails()
  const names = ['6f9619ff', 'GPU-01.example', '10.0.0.7:9400', 'a\'"\\b']
  const named = { who: { ...who, node: { ...who.node, names } } }
  put(store, {
    tasks: [
      taskRow('here', { tenant, nodeId: '6f9619ff' }, named),
      taskRow('there', { tenant, nodeId: 'gpu-02' }),
      taskRow('nowhere', { tenant }),
    ],
  })
  const found = async (name: string): Promise<string[]> =>
    idsOf((await list(tenant, `node=${encodeURIComponent(name)}`)).data)
  for (const name of [...names, 'gpu-01.EXAMPLE']) assert.deepEqual(await found(name), ['here/1'], name)
  assert.deepEqual(await found('gpu-02'), ['there/1'])
  assert.deepEqual(await found('GPU-01'), [])
  assert.deepEqual(await found(''), ['nowhere/1'])
})

test('GET /v1/tasks: pages stay apart while tasks come and are calculated again', async () => {
  const tenant = 'pages'
  const row = (i: number, fields: Parameters<typeof taskRow>[1] = {}) =>
    taskRow(`t${String(i).padStart(3, '0')}`, {
      tenant,
      // Four begin at the same time: among them the name decides.
      started: T + Math.floor(i / 4) * 1000,
      ended: T + 1_000_000,
      ...fields,
    })
  put(store, { tasks: Array.from({ length: 50 }, (_, i) => row(i)) })
  const seen: string[] = []
  let cursor: string | null = ''
  for (let page = 0; cursor !== null; page++) {
    const answer: TasksAnswer = await list(tenant, `limit=7${cursor === '' ? '' : `&cursor=${cursor}`}`)
    seen.push(...idsOf(answer.data))
    cursor = answer.next_cursor
    // New ones, which stand before; and all of those once more, another state each time.
    put(store, { tasks: Array.from({ length: 20 }, (_, i) => row(1000 + page * 20 + i)) })
    put(store, { tasks: Array.from({ length: 50 }, (_, i) => row(i, { state: page % 2 ? 'completed' : 'lost' })) })
  }
  const wanted = Array.from({ length: 50 }, (_, i) => `t${String(49 - i).padStart(3, '0')}/1`)
  assert.deepEqual(seen, wanted)
})

test('GET /v1/tasks: a newer version replaces, whatever it changed; it is never there twice', async () => {
  const tenant = 'versions'
  const about = { tenant, started: T, ended: 0 }
  put(store, { tasks: [taskRow('t', { ...about, state: 'running', userId: 'u1' })] })
  await store.settled()
  put(store, { tasks: [taskRow('t', { ...about, started: T - 86_400_000 * 40, ended: T, userId: 'u2' })] })
  const { data } = await list(tenant, '')
  assert.deepEqual(idsOf(data), ['t/1'])
  assert.equal(data[0]!.user_id, 'u2')
  // Not by what the older one said.
  assert.deepEqual((await list(tenant, 'user_id=u1')).data, [])
  assert.deepEqual((await list(tenant, 'open=true')).data, [])
  assert.deepEqual((await list(tenant, `from=${at(10)}`)).data, [])
})

test('GET /v1/tasks: what is not known is null, what is nothing is 0', async () => {
  const tenant = 'nulls'
  const [record] = recordedTaskRecords()
  const base = calculationOf(record!, [record!], recordedSeries())
  const known = { ...base, usage: quantitiesOf(0) }
  const unknown = { ...base, usage: quantitiesOf(null) }
  put(store, {
    tasks: [
      taskRow('known', { tenant, currency: 'EUR' }, { calculation: known }),
      taskRow('unknown', { tenant, started: 0, ended: 500 }, { calculation: unknown }),
    ],
  })
  const { data } = await list(tenant, '')
  const [of, without] = data
  assert.deepEqual([of!.gpu_held_seconds, of!.energy_wh, of!.cost_micros, of!.currency], [0, 0, 0, 'EUR'])
  assert.deepEqual([without!.gpu_held_seconds, without!.energy_wh, without!.cost_micros], [null, null, null])
  assert.deepEqual([without!.started_at, without!.duration_seconds, without!.user_id], [null, null, null])
})

test('GET /v1/tasks as CSV: cells that spreadsheets would take for formulas, quotes, line breaks', async () => {
  const tenant = 'csv'
  put(store, {
    tasks: [
      taskRow('=HYPERLINK("http://x")', {
        tenant,
        userId: '-2+3',
        project: 'a,b\r\n"c"',
        costMicro: -5,
        currency: 'EUR',
      }),
      taskRow('next', { tenant, started: 500, ended: 600 }),
    ],
  })
  const response = await ask('/v1/tasks?limit=1', { 'x-tenant': tenant, accept: 'text/csv' })
  assert.match(response.headers.get('content-type') ?? '', /^text\/csv/)
  assert.match(response.headers.get('link') ?? '', /^<\/v1\/tasks\?limit=1&cursor=[\w-]+>; rel="next"$/)
  const text = await response.text()
  assert.match(text, /^task_id,attempt,state,/)
  assert.ok(text.includes(`"'=HYPERLINK(""http://x"")",1,completed`), text)
  assert.ok(text.includes(`,'-2+3,"a,b\r\n""c""",`), text)
  assert.ok(text.includes(',-5,EUR,'), 'less than nothing is a number')
})

test('questions that cannot be understood name each parameter at fault', async () => {
  const hostile: readonly (readonly [query: string, fields: readonly string[]])[] = [
    ['state=dead&open=maybe&result=1', ['state', 'open', 'result']],
    ['from=yesterday&to=-1', ['from', 'to']],
    [`from=${at(1)}&to=${at(0)}`, ['from']],
    ['limit=0', ['limit']],
    ['limit=1e9', ['limit']],
    ['cursor=%27%20OR%201%3D1', ['cursor']],
    [`cursor=${Buffer.from('1 x t').toString('base64url')}`, ['cursor']],
    ['user_id=a&user_id=b', ['user_id']],
    [`user_id=${'x'.repeat(2000)}`, ['user_id']],
    ['user_id=%00', ['user_id']],
    ['error_category=%27%3B--', ['error_category']],
    ['usr=1', ['usr']],
  ]
  for (const [query, fields] of hostile) {
    const response = await ask(`/v1/tasks?${query}`)
    assert.equal(response.status, 400, query)
    const { errors, code } = (await response.json()) as { errors: { field: string }[]; code: string }
    assert.equal(code, 'BAD_REQUEST')
    assert.deepEqual(
      errors.map(({ field }) => field),
      fields,
      query,
    )
  }
  assert.deepEqual((await list('nobody', `user_id=${encodeURIComponent("' OR 1=1 --")}`)).data, [])
  const posted = await app.request('/v1/tasks', { method: 'POST' })
  assert.equal(posted.status, 405)
  assert.equal(posted.headers.get('allow'), 'GET, HEAD')
})

test('GET /v1/tasks/{task_id}: the recording as it was, with what it was made of', async () => {
  const tenant = 'detail'
  const records = recordedTaskRecords()
  const [record] = records
  const calculation = calculationOf(record!, records, recordedSeries())
  const memory = { tenant, taskId: 'secret', signals: [], dropped: false, stages: [], accounts: [] }
  const details = taskDetails({ record: record!, calculation, events: ['e1', 'e2'], memory })
  const known = {
    ...details,
    who: { ...details.who, samplesOf: 'tenant' as const, node: { ...details.who.node, names: [RECORDED_HOST] } },
  }
  const { taskId } = record!
  put(store, {
    tasks: [
      taskRow(taskId, { tenant, attempt: 2, started: record!.startedAt!, ended: record!.endedAt! }, known),
      taskRow(taskId, { tenant, attempt: 1, state: 'failed', errorCategory: 'resource.oom_gpu' }),
      taskRow(taskId, { tenant, attempt: 3, state: 'void' }),
    ],
  })
  const response = await ask(`/v1/tasks/${taskId}`, { 'x-tenant': tenant })
  const text = await response.text()
  assert.ok(!text.includes('secret'), 'what the aggregator keeps for itself is not shown')
  const answer = JSON.parse(text) as TaskDetailAnswer
  assert.deepEqual(
    answer.attempts.map(({ attempt }) => attempt),
    [1, 2],
  )
  const { quantities, gpus, usage, stages, window, assumptions, event_ids, charts, cost } = answer.attempts[1]!
  assert.ok(Math.abs(quantities.energy_wh.value! - 3.6908) < 0.004)
  assert.deepEqual([quantities.energy_wh.coverage, quantities.energy_wh.samples], [1, 20])
  assert.equal(quantities.tokens_in.value, null)
  assert.equal(window!.seconds, 20.024)
  assert.deepEqual(gpus[0]!.figures.map(({ name }) => name).sort(), [
    'gpu_memory_used_bytes',
    'gpu_power_watts',
    'gpu_utilization_ratio',
  ])
  const seconds = usage.filter(({ resource }) => resource === 'gpu_seconds')
  assert.deepEqual(
    seconds.map(({ amount, unit }) => [amount, unit]),
    [['20.024', 's']],
  )
  assert.deepEqual(stages, [
    { stage: 'running', from: at(0).replace(/T.*/, 'T00:01:50.209Z'), to: window!.to, seconds: 20.024, ok: null },
  ])
  assert.ok(assumptions.some(({ flag, sentence }) => flag === 'gpus_of_node' && sentence.length > 20))
  assert.deepEqual(event_ids, ['e1', 'e2'])
  assert.deepEqual([cost.micros, cost.reason], [null, 'no_price'])
  const [power] = charts.filter(({ name }) => name === 'gpu_power_watts')
  assert.equal(power!.metric, 'DCGM_FI_DEV_POWER_USAGE')
  assert.deepEqual([power!.from, power!.to], [window!.from, window!.to])
  assert.equal(power!.series[0]!.labels['Hostname'], RECORDED_HOST)
  assert.match(power!.series[0]!.selector, /^\{__name__="DCGM_FI_DEV_POWER_USAGE",Hostname="gpu-01",/)

  const other = await ask(`/v1/tasks/${taskId}`, { 'x-tenant': 'other' })
  assert.equal(other.status, 404)
  assert.equal(((await other.json()) as { code: string }).code, 'NOT_FOUND')
})
