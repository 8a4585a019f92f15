/** Who gets in at the doors of a real collector, for which tenant, and how much: every status, with no aggregator anywhere. */
import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { after, before, test } from 'node:test'
import type { Running } from '../../support/programs.ts'
import { authorized, kill, scrape, start, TOKEN, temporaryDirectory } from '../../support/programs.ts'
import { metricsBatchBody, remoteWrite2Body, remoteWriteBody } from '../../support/write-request.ts'

const KEYS = [
  { name: 'team-a', token: 'token-of-a', tenant: 'a', tenants: ['a-test'], may: ['write', 'read'] },
  { name: 'any', token: 'token-of-any', tenant: 'any', tenants: ['*'], may: ['write'] },
  { name: 'reader', token: 'token-of-reader', tenant: 'a', may: ['read'] },
  { name: 'forwarder', token: 'token-of-forwarder', may: ['forward'] },
]
/** Samples a second, and their burst in seconds: a debt lasts longer than any test. */
const RATE = 10
const BURST = 60

const env = {
  FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
  FLEETMETER_AGGREGATOR_URL: 'http://127.0.0.1:9',
  FLEETMETER_COLLECTOR_HOST: 'false',
  FLEETMETER_LOG_LEVEL: 'error',
  FLEETMETER_KEYS: JSON.stringify(KEYS),
}

let collector: Running
let limited: Running
before(async () => {
  collector = await start('collector', {
    ...env,
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_OPEN_WRITE_TENANTS: 'guest',
    FLEETMETER_COLLECTOR_TENANTS_MAX: '8',
  })
  limited = await start('collector', {
    ...env,
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_SENDER_SAMPLES_PER_SECOND: String(RATE),
    FLEETMETER_COLLECTOR_SENDER_BURST_SECONDS: String(BURST),
    FLEETMETER_COLLECTOR_TENANT_SAMPLES_PER_SECOND: String(2 * RATE),
    FLEETMETER_COLLECTOR_TENANT_BURST_SECONDS: String(BURST),
  })
})
after(async () => {
  await kill(collector)
  await kill(limited)
})

const bearer = (token: string): Record<string, string> => ({ Authorization: `Bearer ${token}` })
const as = (tenant: string): Record<string, string> => ({ 'X-Scope-OrgID': tenant })
const snappy = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' }

let value = 0
const points = (n: number) =>
  Array.from({ length: n }, (_, i) => ({ name: 'up', labels: { i: String(i) }, time: Date.now(), value: ++value }))

interface Answer {
  readonly status: number
  readonly message: string
  readonly headers: Headers
}

async function post(
  url: string,
  body: Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
  method = 'POST',
): Promise<Answer> {
  const response = await fetch(url, { method, headers, body })
  const text = await response.text()
  const { message = '' } = text === '' ? {} : (JSON.parse(text) as { message?: string })
  return { status: response.status, message, headers: response.headers }
}

const write = (to: Running, headers: Record<string, string>, n = 1): Promise<Answer> =>
  post(`${to.url}/api/v1/write`, remoteWriteBody(points(n)), { ...snappy, ...headers })

const DOORS: readonly (readonly [
  path: string,
  headers: Record<string, string>,
  body: () => Uint8Array<ArrayBuffer>,
])[] = [
  ['/api/v1/write', snappy, () => remoteWriteBody(points(1))],
  [
    '/api/v1/write',
    { ...snappy, 'Content-Type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request' },
    () => remoteWrite2Body(points(1)),
  ],
  ['/v1/prometheus', snappy, () => remoteWriteBody(points(1))],
  ['/prometheus', snappy, () => remoteWriteBody(points(1))],
  ['/v1/metrics/batch', { 'Content-Type': 'application/json' }, () => metricsBatchBody(points(1))],
]

test('every door: who may write which tenant, and why not', async () => {
  for (const [path, headers, body] of DOORS) {
    const ask = (more: Record<string, string>): Promise<Answer> =>
      post(`${collector.url}${path}`, body(), { ...headers, ...more })
    for (const good of [
      authorized,
      { ...authorized, ...as('whoever') },
      bearer('token-of-a'),
      { ...bearer('token-of-a'), ...as('a') },
      { ...bearer('token-of-a'), ...as('a-test') },
    ]) {
      const { status, message } = await ask(good)
      assert.ok(status === 204 || status === 200, `${path} ${JSON.stringify(good)}: ${status} ${message}`)
    }
    for (const [bad, status, reason] of [
      [bearer('token-of-nobody'), 401, /Unauthorized/],
      [bearer('token-of-reader'), 403, /the right "write", which the key "reader" does not have/],
      [bearer('token-of-forwarder'), 403, /the right "write", which the key "forwarder" does not have/],
      [{ ...bearer('token-of-a'), ...as('b') }, 403, /X-Scope-OrgID names the tenant "b", which the key "team-a"/],
      [{ ...bearer('token-of-a'), ...as('a|a-test') }, 400, /several tenants \("a\|a-test"\)/],
      [{ ...bearer('token-of-a'), ...as('') }, 400, /X-Scope-OrgID: "" is not allowed: expected the name of a tenant/],
      [{ ...bearer('token-of-a'), ...as('a/b') }, 400, /"a\/b" is not allowed/],
      [{ ...bearer('token-of-any'), ...as('x'.repeat(151)) }, 400, /is not allowed/],
    ] as const) {
      const answer = await ask(bad)
      assert.equal(answer.status, status, `${path} ${JSON.stringify(bad)}`)
      assert.match(answer.message, reason)
    }
  }
})

test('writes without a token are of the default tenant, and may choose those that are listed for them', async () => {
  assert.equal((await write(collector, {})).status, 204)
  assert.equal((await write(collector, as('guest'))).status, 204)
  assert.equal((await write(collector, as('default'))).status, 204)
  const answer = await write(collector, as('a'))
  assert.equal(answer.status, 403)
  assert.match(answer.message, /the tenant "a", which a write without a token does not reach: .*open_write_tenants/)
})

test('two X-Scope-OrgID headers are several tenants, not one of them', async () => {
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const request = httpRequest(
      `${collector.url}/api/v1/write`,
      { method: 'POST', headers: { ...snappy, ...bearer('token-of-a'), 'X-Scope-OrgID': ['a', 'a-test'] } },
      (response) => resolve(response.resume().statusCode),
    )
    request.on('error', reject)
    request.end(remoteWriteBody(points(1)))
  })
  assert.equal(status, 400)
})

test('/metrics is for the admin and open networks, not for keys', async () => {
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await fetch(`${collector.url}/metrics`, { headers })).status
  assert.deepEqual(
    [await status({}), await status(authorized), await status(bearer('token-of-a')), await status(bearer('nobody'))],
    [200, 200, 403, 401],
  )
})

test('samples are counted by tenant; one tenant more than the bound is told so, and those that are known are not', async () => {
  const before = await scrape(collector.url)
  const received = (metrics: ReadonlyMap<string, number>, tenant: string): number =>
    metrics.get(`fleetmeter_collector_tenant_samples_received_total{tenant="${tenant}"}`) ?? 0
  assert.equal((await write(collector, bearer('token-of-a'), 7)).status, 204)
  const statuses: number[] = []
  for (let i = 0; i < 10; i++)
    statuses.push((await write(collector, { ...bearer('token-of-any'), ...as(`made-up-${i}`) }, 2)).status)
  const taken = statuses.filter((status) => status === 204).length
  assert.ok(taken >= 1 && taken < 8, `${statuses}`)
  const answer = await write(collector, { ...bearer('token-of-any'), ...as('one-more') })
  assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '60'])
  assert.match(answer.message, /collector\.tenants_max/)
  assert.equal((await write(collector, bearer('token-of-a'))).status, 204)
  const metrics = await scrape(collector.url)
  assert.equal(received(metrics, 'a') - received(before, 'a'), 8)
  assert.equal(received(metrics, '(other)') - received(before, '(other)'), 2 * taken)
  for (const name of metrics.keys()) assert.ok(!name.includes('made-up'), name)
})

test('over its limit a sender is answered 429 at every door, with when to come again; another is not held up', async () => {
  const a = bearer('token-of-a')
  assert.equal((await write(limited, a, RATE * BURST + 300)).status, 204, 'a body is taken whole')
  for (const [path, headers, body] of DOORS) {
    const answer = await post(`${limited.url}${path}`, body(), { ...headers, ...a })
    assert.equal(answer.status, 429, path)
    const seconds = Number(answer.headers.get('retry-after'))
    assert.ok(Number.isInteger(seconds) && seconds > 0 && seconds <= 31, `${seconds}`)
    assert.match(
      answer.message,
      /^Too Many Requests: this sender may send 10 samples a second \(collector\.sender_samples_per_second\) with a burst of 60 s, and is \d+ samples over: send this again in \d+ s$/,
    )
  }
  const raw = await fetch(`${limited.url}/v1/metrics/batch`, { method: 'POST', headers: a, body: '{}' })
  const { code, data, meta } = (await raw.json()) as {
    code: string
    data: null
    meta: { rate_limit: { remaining: number; reset_at: string } }
  }
  assert.deepEqual([raw.status, code, data, meta.rate_limit.remaining], [429, 'TOO_MANY_REQUESTS', null, 0])
  assert.ok(Date.parse(meta.rate_limit.reset_at) > Date.now())
  assert.equal((await write(limited, {})).status, 204)
  assert.equal((await write(limited, authorized)).status, 204)
  const metrics = await scrape(limited.url)
  assert.equal(metrics.get('fleetmeter_collector_requests_limited_total{limit="sender"}'), DOORS.length + 1)
  assert.equal(metrics.get('fleetmeter_collector_requests_limited_total{limit="tenant"}'), 0)
})

test('the limit of a tenant holds over its senders together', async () => {
  const x = { ...bearer(TOKEN), ...as('x') }
  const any = { ...bearer('token-of-any'), ...as('x') }
  assert.equal((await write(limited, x, 2 * RATE * BURST + 100)).status, 204)
  const answer = await write(limited, any)
  assert.equal(answer.status, 429)
  assert.match(answer.message, /the tenant "x" may send 20 samples a second \(collector\.tenant_samples_per_second\)/)
  assert.equal((await write(limited, bearer('token-of-any'))).status, 204, 'the same key for another tenant')
})

test('a flood of what cannot be read is limited too, and 429 reaches a client that writes to the end first', async () => {
  // Of the limit's own sender: a token and no samples.
  const headers = { ...snappy, ...bearer('token-of-any'), ...as('garbage') }
  const garbage = new Uint8Array(8 * 1024 * 1024)
  const send = (): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const request = httpRequest(`${limited.url}/api/v1/write`, { method: 'POST', headers })
      request.on('response', (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode))
      })
      request.on('error', reject)
      request.end(garbage)
    })
  const statuses: (number | undefined)[] = []
  for (let i = 0; i < 4; i++) statuses.push(await send())
  assert.deepEqual(statuses, [400, 429, 429, 429])
})
