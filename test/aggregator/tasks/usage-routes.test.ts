/** Sums of usage over their route, on the real engine: exact, by any grouping, whatever was counted twice or taken back. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { Hono } from 'hono'
import type { RecordStore } from '../../../aggregator/store/record-store.ts'
import { migrate } from '../../../aggregator/store/schema/migrate.ts'
import type { UsageAnswer } from '../../../aggregator/tasks/task-answers.ts'
import { TaskQuery } from '../../../aggregator/tasks/task-query.ts'
import { addTaskRoutes } from '../../../aggregator/tasks/task-routes.ts'
import { UsageQuery } from '../../../aggregator/tasks/usage-query.ts'
import { engineOfFile } from '../../support/engine.ts'
import { nodeUsageOf } from '../../support/node-usage.ts'
import { put, startRecordStore, taskRow, usageRow } from '../../support/task-rows.ts'

const engine = engineOfFile()
const DATABASE = 'usage_routes'
const T = Date.UTC(2026, 9, 31, 23, 45) / 1000
const NOW = Date.UTC(2026, 10, 21, 10)
let store: RecordStore
let app: Hono

after(() => store.stop(AbortSignal.timeout(5000)))

const ask = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  Promise.resolve(app.request(path, { headers }))

async function usage(query: string, headers: Record<string, string> = {}): Promise<UsageAnswer> {
  const response = await ask(`/v1/usage?from=2026-10-01T00:00:00Z&${query}`, headers)
  assert.equal(response.status, 200, await response.clone().text())
  return (await response.json()) as UsageAnswer
}

test('the store, its rows and routes are there', async () => {
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
      charts: { mapping: [], series: async () => [] },
      now: () => NOW,
    },
    [],
    (c) => ({ tenant: c.req.header('x-scope-orgid') ?? 'default', admin: c.req.header('x-admin') !== undefined }),
  )
  const eur = { currency: 'EUR' }
  const first = usageRow('t1', { slot: T, userId: 'u1', project: 'a', amount: 0.1, costMicro: 7, ...eur })
  put(store, {
    usage: [
      first,
      usageRow('t1', { slot: T + 900, userId: 'u1', project: 'a', amount: 0.2, costMicro: 8, ...eur }),
      // Calculated again: less than before.
      usageRow('t1', { slot: T + 900, userId: 'u1', project: 'a', amount: -0.05, costMicro: -2, ...eur }),
      usageRow('t2', { slot: T + 900, project: '=cmd', amount: 5 }),
      usageRow('t2', { slot: T + 900, resource: 'transfer_bytes', amount: 9_007_199_254_740_991 }),
      // It was another's first.
      usageRow('t3', { slot: T + 900, userId: 'wrong', amount: 3 }),
      usageRow('t3', { slot: T + 900, userId: 'wrong', amount: -3 }),
      usageRow('t3', { slot: T + 900, userId: 'u2', amount: 3 }),
      usageRow('t9', { slot: T, tenant: 'other', userId: 'theirs', amount: 99 }),
    ],
    tasks: [
      taskRow('t1', { model: 'llama', nodeId: 'n1' }),
      taskRow('t2', { model: 'old', nodeId: 'n2' }),
      taskRow('t2', { model: 'qwen', nodeId: 'n2' }),
    ],
  })
  await store.settled()
  put(store, { usage: [first] }) // after a restart the same row is inserted again
})

test('GET /v1/usage: sums are exact, and nothing is counted twice', async () => {
  const { data, totals, from, to } = await usage('group_by=user')
  assert.deepEqual([from, to], ['2026-10-01T00:00:00.000Z', '2026-11-21T10:00:00.000Z'])
  const plain = data.map(({ user_id, resource, amount, tasks, cost_micros, currency }) =>
    [user_id, resource, amount, tasks, cost_micros, currency].join(' '),
  )
  assert.deepEqual(plain, [
    ' gpu_seconds 5 1  ',
    ' transfer_bytes 9007199254740991 1  ',
    'u1 gpu_seconds 0.25 1 13 EUR',
    'u2 gpu_seconds 3 1  ',
  ])
  assert.deepEqual(totals, [
    { resource: 'gpu_seconds', unit: 's', amount: '8', unattributed_amount: '5', cost_micros: null, currency: null },
    { resource: 'gpu_seconds', unit: 's', amount: '0.25', unattributed_amount: '0', cost_micros: 13, currency: 'EUR' },
    {
      resource: 'transfer_bytes',
      unit: 'B',
      amount: '9007199254740991',
      unattributed_amount: '9007199254740991',
      cost_micros: null,
      currency: null,
    },
  ])
})

test('GET /v1/usage: by every group, alone and together', async () => {
  const lines = async (query: string, field: string): Promise<string[]> =>
    (await usage(`${query}&resource=gpu_seconds`)).data.map(
      (line) => `${(line as unknown as Record<string, string>)[field]} ${line.amount}`,
    )
  assert.deepEqual(await lines('group_by=project', 'project'), [' 3', '=cmd 5', 'a 0.25'])
  assert.deepEqual(await lines('group_by=department', 'department'), [' 8', ' 0.25'])
  assert.deepEqual(await lines('group_by=model', 'model'), [' 3', 'llama 0.25', 'qwen 5'])
  assert.deepEqual(await lines('group_by=node', 'node_id'), [' 3', 'n1 0.25', 'n2 5'])
  assert.deepEqual(await lines('group_by=resource', 'resource'), ['gpu_seconds 8', 'gpu_seconds 0.25'])
  assert.deepEqual(await lines('group_by=slot&user_id=u1', 'period'), [
    '2026-10-31T23:45:00Z 0.1',
    '2026-11-01T00:00:00Z 0.15',
  ])
  assert.deepEqual(await lines('group_by=hour&user_id=u1', 'period'), [
    '2026-10-31T23:00:00Z 0.1',
    '2026-11-01T00:00:00Z 0.15',
  ])
  assert.deepEqual(await lines('group_by=day&user_id=u1', 'period'), [
    '2026-10-31T00:00:00Z 0.1',
    '2026-11-01T00:00:00Z 0.15',
  ])
  assert.deepEqual(await lines('group_by=month&user_id=u1', 'period'), [
    '2026-10-01T00:00:00Z 0.1',
    '2026-11-01T00:00:00Z 0.15',
  ])
  const { data, group_by } = await usage('group_by=month,user,node&user_id=u1')
  assert.deepEqual(group_by, ['user', 'node', 'month'])
  assert.deepEqual(Object.keys(data[0]!).slice(0, 3), ['user_id', 'node_id', 'period'])
  // A period that ends within a quarter of an hour has all of it.
  assert.equal((await usage('to=2026-10-31T23:46:00Z&user_id=u1')).data[0]!.amount, '0.1')
})

test('GET /v1/usage: pages hold each line once', async () => {
  const all = (await usage('group_by=user')).data
  const paged = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const answer: UsageAnswer = await usage(`group_by=user&limit=1${cursor === '' ? '' : `&cursor=${cursor}`}`)
    paged.push(...answer.data)
    assert.equal(answer.totals.length, 3)
    cursor = answer.next_cursor
  }
  assert.deepEqual(paged, all)
})

test('GET /v1/usage as CSV, and with the columns of FOCUS', async () => {
  const path = '/v1/usage?from=2026-10-01T00:00:00Z&group_by=project&resource=gpu_seconds'
  const csv = await (await ask(path, { accept: 'text/csv' })).text()
  assert.equal(
    csv,
    "project,resource,unit,amount,tasks,cost_micros,currency\r\n,gpu_seconds,s,3,1,,\r\n'=cmd,gpu_seconds,s,5,1,,\r\na,gpu_seconds,s,0.25,1,13,EUR\r\n",
  )
  assert.equal(await (await ask(`${path}&format=csv`)).text(), csv)
  const focus = await ask(`${path.replace('by=project', 'by=project,month')}&format=focus&user_id=u1`)
  assert.match(focus.headers.get('content-type') ?? '', /^text\/csv/)
  const slots = await (await ask(`${path.replace('by=project', 'by=slot')}&format=focus&user_id=u1`)).text()
  assert.match(slots, /^0.000007,EUR,Usage,2026-10-31T23:45:00.000Z,2026-11-01T00:00:00.000Z,0.1,/m)
  const [head, line] = (await focus.text()).split('\r\n')
  assert.match(head!, /^BilledCost,BillingCurrency,ChargeCategory,ChargePeriodStart,ChargePeriodEnd,/)
  assert.match(line!, /^0.000007,EUR,Usage,2026-10-01T00:00:00.000Z,2026-11-01T00:00:00.000Z,0.1,Seconds,,Compute,/)
})

test('GET /v1/usage: one tenant sees its own; the admin may have all', async () => {
  const mine = await ask('/v1/usage?group_by=tenant', { 'x-scope-orgid': 'other' })
  assert.equal(mine.status, 403)
  assert.equal(((await mine.json()) as { code: string }).code, 'FORBIDDEN')
  assert.ok(!JSON.stringify(await usage('group_by=user')).includes('theirs'))
  const all = await usage('group_by=tenant&resource=gpu_seconds', { 'x-admin': '1' })
  assert.deepEqual(
    all.data.map(({ tenant, amount }) => `${tenant} ${amount}`),
    ['default 8', 'default 0.25', 'other 99'],
  )
  const one = await usage('group_by=tenant', { 'x-admin': '1', 'x-scope-orgid': 'other' })
  assert.deepEqual(
    one.data.map(({ tenant }) => tenant),
    ['other'],
  )
})

test('questions about usage that cannot be understood name each parameter at fault', async () => {
  const other = Buffer.from('["a"]').toString('base64url')
  const hostile: readonly (readonly [query: string, fields: readonly string[]])[] = [
    ['group_by=users', ['group_by']],
    ['group_by=user,user', ['group_by']],
    ['group_by=day,month', ['group_by']],
    ["group_by=user')%20--", ['group_by']],
    ['from=2026-11-21T00:00:00Z&to=2026-11-20T00:00:00Z', ['from']],
    ['format=xml', ['format']],
    [`cursor=${other}`, ['cursor']],
    ['limit=-1&nonsense=1', ['nonsense', 'limit']],
  ]
  for (const [query, fields] of hostile) {
    const response = await ask(`/v1/usage?${query}`)
    assert.equal(response.status, 400, query)
    const { errors } = (await response.json()) as { errors: { field: string }[] }
    assert.deepEqual(
      errors.map(({ field }) => field),
      fields,
      query,
    )
  }
})
