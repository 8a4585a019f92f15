/** xtrace's HTTP contract as its clients see it, asked of the real programs through the collector's address. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startPair } from '../support/pair.ts'
import { authorized, eventually, TOKEN } from '../support/programs.ts'

let url: string
const cleanups: (() => void | Promise<void>)[] = []
before(async () => {
  const { collector } = await startPair(
    { after: (f) => void cleanups.unshift(f) },
    {
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '1000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000',
      XTRACE_PUBLIC_KEY: 'pk',
      XTRACE_SECRET_KEY: 'sk',
    },
  )
  url = collector.url
})
after(async () => {
  for (const f of cleanups) await f()
})

const json = { ...authorized, 'Content-Type': 'application/json' }

async function post(
  body: unknown,
  headers: Record<string, string> = json,
): Promise<{ status: number; body: Record<string, unknown>; headers: Headers }> {
  const response = await fetch(`${url}/v1/metrics/batch`, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers,
  })
  return {
    status: response.status,
    body: (await response.json()) as Record<string, unknown>,
    headers: response.headers,
  }
}

interface Answer {
  data: { labels: Record<string, string | null>; values: { timestamp: string; value: number }[]; latest_ts: string }[]
  meta: { latest_ts?: string; series_count: number; truncated: boolean }
}

async function query(parameters: Record<string, string>): Promise<Answer> {
  const response = await fetch(`${url}/api/public/metrics/query?${new URLSearchParams(parameters)}`, {
    headers: authorized,
  })
  assert.equal(response.status, 200)
  return (await response.json()) as Answer
}

const visible = (name: string, series: number) =>
  eventually(`${name} is visible`, async () => (await query({ name, agg: 'last' })).meta.series_count === series)

test("nebula's heartbeat is taken, and the router's and the scheduler's questions are answered with it", async () => {
  const time = new Date()
  const timestamp = time.toISOString().replace('Z', '456789Z')
  const engine = (model_uid: string, replica_id: string, name: string, value: number) => ({
    name,
    labels: { node_id: 'node-1', model_uid, replica_id },
    value,
    timestamp,
  })
  const gpu = (name: string, value: number) => ({
    name,
    labels: { node_id: 'node-1', gpu_index: '0' },
    value,
    timestamp,
  })
  const sent = await post({
    metrics: [
      gpu('gpu_memory_used_mb', 40960),
      gpu('gpu_memory_total_mb', 81559),
      gpu('gpu_temperature', 61),
      gpu('gpu_utilization', 97),
      engine('qwen-72b', '0', 'pending_requests', 3),
      engine('qwen-72b', '0', 'kv_cache_usage', 0.613),
      engine('qwen-72b', '0', 'prefix_cache_hit_rate', 0.2),
      engine('qwen-72b', '1', 'pending_requests', 0),
      engine('qwen-72b', '1', 'kv_cache_usage', 0.02),
    ],
  })
  assert.deepEqual([sent.status, sent.body], [200, { message: 'Request Successful.' }])
  await visible('kv_cache_usage', 2)

  for (const [seconds, step] of [
    [60, '60s'],
    [120, '120s'],
  ] as const) {
    const now = Date.now()
    const answer = await query({
      name: 'pending_requests',
      from: new Date(now - seconds * 1000).toISOString().replace('Z', '000721+00:00'),
      to: new Date(now).toISOString(),
      step,
      agg: 'last',
    })
    assert.deepEqual(
      answer.data.map((d) => [d.labels, d.values.map((v) => v.value)]),
      [
        [{ model_uid: 'qwen-72b', node_id: 'node-1', replica_id: '0' }, [3]],
        [{ model_uid: 'qwen-72b', node_id: 'node-1', replica_id: '1' }, [0]],
      ],
    )
    const start = Math.floor(time.getTime() / (seconds * 1000)) * seconds * 1000
    assert.equal(Date.parse(answer.data[0]!.values[0]!.timestamp), start, 'the value stands at the start of its bucket')
    assert.equal(Date.parse(answer.meta.latest_ts!), time.getTime(), 'latest_ts is the time of the sample')
    assert.match(answer.meta.latest_ts!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?\+00:00$/)
    assert.deepEqual([answer.meta.series_count, answer.meta.truncated], [2, false])
  }
})

test('a retry doubles nothing', async () => {
  const timestamp = new Date().toISOString()
  const point = { name: 'retried', labels: {}, value: 5, timestamp }
  for (let i = 0; i < 3; i++) assert.equal((await post({ metrics: [point] })).status, 200)
  await visible('retried', 1)
  assert.equal((await query({ name: 'retried', agg: 'sum' })).data[0]!.values[0]!.value, 5)
})

test('points that cannot be taken cost themselves only', async () => {
  const timestamp = new Date().toISOString()
  const good = { name: 'partial', labels: { i: 'good' }, value: 1, timestamp }
  const { status, body } = await post({
    metrics: [
      good,
      { ...good, value: 'x' },
      { ...good, timestamp: '2001-01-01T00:00:00Z' },
      { ...good, labels: { nul: 'a\u0000b' } },
    ],
  })
  assert.equal(status, 200)
  assert.equal(body['message'], 'Request Successful.')
  assert.equal(body['rejected_count'], 2)
  const rejected = body['rejected'] as { index: number; reason: string }[]
  assert.deepEqual(
    rejected.map(({ index, reason }) => [index, reason.split(':')[0]]),
    [
      [1, 'value'],
      [2, 'too_old'],
    ],
  )
  await visible('partial', 2)
})

test('an empty list is fine; labels may be absent; names, keys and values may be empty', async () => {
  assert.equal((await post({ metrics: [] })).status, 200)
  const timestamp = new Date().toISOString()
  assert.deepEqual(
    (
      await post({
        metrics: [
          { name: '', value: -0.5, timestamp },
          { name: 'empty', labels: { '': '' }, value: 1, timestamp },
        ],
      })
    ).body,
    { message: 'Request Successful.' },
  )
  await visible('empty', 1)
  assert.deepEqual((await query({ name: 'empty' })).data[0]!.labels, { '': '' })
  assert.equal((await query({ name: '' })).data[0]!.values[0]!.value, -0.5)
})

test('every failure of the write door is JSON with message and code', async () => {
  const timestamp = new Date().toISOString()
  for (const [body, headers, status, code] of [
    ['{', json, 400, 'BAD_REQUEST'],
    ['', json, 400, 'BAD_REQUEST'],
    [{ metrics: null }, json, 422, 'BAD_REQUEST'],
    [{ metrics: [{ name: 'a', value: 1 }] }, json, 422, 'BAD_REQUEST'],
    [{ metrics: [{ name: 'a', value: 1, labels: null, timestamp }] }, json, 422, 'BAD_REQUEST'],
    [{ metrics: [{ name: 'a', value: 1, timestamp: '2000-01-01T00:00:00Z' }] }, json, 400, 'BAD_REQUEST'],
    [{ metrics: [] }, { ...authorized, 'Content-Type': 'text/plain' }, 415, 'BAD_REQUEST'],
    [{ metrics: [] }, { 'Content-Type': 'application/json' }, 401, 'UNAUTHORIZED'],
    [{ metrics: [] }, { ...json, Authorization: 'Bearer wrong' }, 401, 'UNAUTHORIZED'],
    [{ metrics: [] }, { ...json, Authorization: 'Bearer ' }, 401, 'UNAUTHORIZED'],
    [{ metrics: [] }, { ...json, Authorization: `Basic ${btoa('pk:wrong')}` }, 401, 'UNAUTHORIZED'],
  ] as const) {
    const answer = await post(body, headers as Record<string, string>)
    assert.equal(answer.status, status, JSON.stringify(body))
    assert.equal(answer.body['code'], code)
    assert.ok(typeof answer.body['message'] === 'string' && answer.body['message'] !== '')
    assert.ok(answer.headers.get('x-request-id'))
  }
})

test('Bearer in any case, Basic, and +json are accepted', async () => {
  for (const headers of [
    { ...json, Authorization: `bearer  ${TOKEN} ` },
    { ...json, Authorization: `Basic ${btoa('pk:sk')}` },
    { ...json, 'Content-Type': 'application/vnd.x+json; charset=utf-8' },
  ]) {
    assert.equal((await post({ metrics: [] }, headers)).status, 200)
  }
})

test('every failure of a query is JSON with message and code', async () => {
  for (const [path, init, status, code] of [
    ['/api/public/metrics/query', { headers: authorized }, 400, 'BAD_REQUEST'],
    ['/api/public/metrics/query?name=a&step=1M', { headers: authorized }, 400, 'BAD_REQUEST'],
    ['/api/public/metrics/query?name=a&from=x', { headers: authorized }, 400, 'BAD_REQUEST'],
    ['/api/public/metrics/query?name=a', {}, 401, 'UNAUTHORIZED'],
    ['/api/public/metrics/names', {}, 401, 'UNAUTHORIZED'],
    ['/api/internal/rate_limit_stats', {}, 401, 'UNAUTHORIZED'],
    ['/api/public/metrics/query?name=a', { method: 'POST', headers: authorized }, 405, 'BAD_REQUEST'],
    ['/api/public/metrics/query/?name=a', { headers: authorized }, 404, 'NOT_FOUND'],
    ['//api/public/metrics/query?name=a', { headers: authorized }, 404, 'NOT_FOUND'],
    ['/nothing', { headers: authorized }, 404, 'NOT_FOUND'],
  ] as const) {
    const response = await fetch(url + path, init)
    assert.equal(response.status, status, path)
    assert.equal(((await response.json()) as { code: string }).code, code, path)
  }
})

test('an unknown metric has no data and no latest_ts', async () => {
  const response = await fetch(`${url}/api/public/metrics/query?name=nobody`, { headers: authorized })
  const answer = (await response.json()) as Answer
  assert.deepEqual(
    [answer.data, answer.meta.series_count, answer.meta.truncated, 'latest_ts' in answer.meta],
    [[], 0, false, false],
  )
})

test('names are listed once and sorted; HEAD works; health needs no token', async () => {
  const { data } = (await (await fetch(`${url}/api/public/metrics/names`, { headers: authorized })).json()) as {
    data: string[]
  }
  assert.ok(data.includes('pending_requests'))
  assert.deepEqual(data, [...new Set(data)].sort())
  assert.equal((await fetch(`${url}/api/public/metrics/names`, { method: 'HEAD', headers: authorized })).status, 200)
  const health = await fetch(`${url}/healthz`)
  assert.deepEqual([health.status, await health.text()], [200, ''])
})

test('samples of the future never count beyond `to`, and a stale window has no data', async () => {
  const timestamp = new Date(Date.now() + 120_000).toISOString()
  await post({ metrics: [{ name: 'future', value: 1, timestamp }] })
  await eventually(
    'it is there',
    async () =>
      (await query({ name: 'future', to: new Date(Date.now() + 300_000).toISOString() })).meta.series_count === 1,
  )
  assert.equal((await query({ name: 'future' })).meta.series_count, 0)
})
