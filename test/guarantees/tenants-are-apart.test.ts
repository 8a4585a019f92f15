/**
 * Two tenants at one collector and one aggregator, with the same series: one sends ten times what it may. It is told so, and
 * when to come again; the other notices nothing: all of its samples are taken and answered, and no answer of one holds
 * anything of the other. Neither key reaches the other's tenant, the way of the batches, or the programs' own figures.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startPair } from '../support/pair.ts'
import { authorized, eventually, scrape } from '../support/programs.ts'
import { remoteWriteBody } from '../support/write-request.ts'

const RATE = 2000
const FLOOD_MS = 4000
const FLOODERS = 4
const FLOOD_PAUSE_MS = 100
/** Times in one body of the flood, for each series: together ten times the rate. */
const FLOOD_TIMES = 25
const SERIES = 20
/** By its size a value tells whose it is. */
const VALUE_OF_A = 1_000_000
const NAME = 'gpu_power_watts'

const KEYS = [
  { name: 'team-a', token: 'token-of-a', tenant: 'a', may: ['write', 'read'] },
  { name: 'team-b', token: 'token-of-b', tenant: 'b', may: ['write', 'read'] },
  { name: 'collectors', token: 'token-of-collectors', may: ['forward'] },
]

const bearer = (name: string): Record<string, string> => ({ Authorization: `Bearer token-of-${name}` })

interface Answer {
  readonly data: readonly {
    readonly labels: Readonly<Record<string, string>>
    readonly values: readonly { readonly timestamp: string; readonly value: number }[]
  }[]
}

/** Waits until the sender's time is over. @returns bodies by status, and what Retry-After said */
async function flood(
  url: string,
  from: number,
): Promise<{ accepted: number; refused: number; retryAfter: string[]; others: number[] }> {
  const out = { accepted: 0, refused: 0, retryAfter: [] as string[], others: [] as number[] }
  let body = 0
  const end = performance.now() + FLOOD_MS
  const one = async (): Promise<void> => {
    while (performance.now() < end) {
      const first = from + body++ * FLOOD_TIMES
      const points = Array.from({ length: SERIES * FLOOD_TIMES }, (_, i) => ({
        name: NAME,
        labels: { gpu: String(Math.floor(i / FLOOD_TIMES)) },
        time: first + (i % FLOOD_TIMES),
        value: VALUE_OF_A,
      }))
      const response = await fetch(`${url}/api/v1/write`, {
        method: 'POST',
        body: remoteWriteBody(points),
        headers: { ...bearer('a'), 'Content-Encoding': 'snappy', 'Content-Type': 'application/x-protobuf' },
      })
      await response.text()
      if (response.status === 204) out.accepted++
      else if (response.status === 429) {
        out.refused++
        out.retryAfter.push(response.headers.get('retry-after') ?? 'none')
      } else out.others.push(response.status)
      await sleep(FLOOD_PAUSE_MS)
    }
  }
  await Promise.all(Array.from({ length: FLOODERS }, one))
  return out
}

test('tenants are apart: in what they send, how much, and what they are answered', { timeout: 120_000 }, async (t) => {
  const { collector, aggregator } = await startPair(t, {
    FLEETMETER_KEYS: JSON.stringify(KEYS),
    FLEETMETER_COLLECTOR_FORWARD_TOKEN: 'token-of-collectors',
    FLEETMETER_COLLECTOR_SENDER_SAMPLES_PER_SECOND: String(RATE),
    FLEETMETER_COLLECTOR_SENDER_BURST_SECONDS: '1',
  })
  const from = Math.floor((Date.now() - 600_000) / 1000) * 1000
  const started = performance.now()
  const flooding = flood(collector.url, from)

  // Meanwhile the other one sends a second of its series each tenth of a second, a tenth of what it may.
  let rounds = 0
  for (; performance.now() - started < FLOOD_MS; rounds++) {
    const response = await fetch(`${collector.url}/v1/metrics/batch`, {
      method: 'POST',
      headers: { ...bearer('b'), 'Content-Type': 'application/json' },
      body: JSON.stringify({
        metrics: Array.from({ length: SERIES }, (_, gpu) => ({
          name: NAME,
          labels: { gpu: String(gpu) },
          value: rounds + gpu / 100,
          timestamp: new Date(from + rounds * 1000).toISOString(),
        })),
      }),
    })
    assert.equal(response.status, 200, `the other tenant, round ${rounds}: ${await response.text()}`)
    await sleep(100)
  }
  const flooded = await flooding
  const seconds = (performance.now() - started) / 1000
  t.diagnostic(
    `${flooded.accepted} bodies of the flood taken, ${flooded.refused} refused; ${rounds} rounds of the other`,
  )

  assert.deepEqual(flooded.others, [])
  assert.ok(flooded.accepted > 0 && flooded.refused > flooded.accepted, 'most of the flood is refused')
  for (const text of flooded.retryAfter) assert.match(text, /^[1-9]\d*$/)
  const accepted = flooded.accepted * SERIES * FLOOD_TIMES
  const inFlight = FLOODERS * SERIES * FLOOD_TIMES
  assert.ok(accepted <= RATE * (seconds + 1) + inFlight, `${accepted} in ${seconds} s`)
  const metrics = await scrape(collector.url)
  const received = (tenant: string): number | undefined =>
    metrics.get(`fleetmeter_collector_tenant_samples_received_total{tenant="${tenant}"}`)
  assert.deepEqual([received('a'), received('b')], [accepted, rounds * SERIES])
  assert.equal(metrics.get('fleetmeter_collector_requests_limited_total{limit="sender"}'), flooded.refused)

  const range = `from=${new Date(from).toISOString()}&to=${new Date().toISOString()}`
  const ask = async (name: string, query: string, headers: Record<string, string> = {}): Promise<Answer> => {
    const response = await fetch(`${collector.url}/api/public/metrics/query?name=${NAME}&${range}&${query}`, {
      headers: { ...bearer(name), ...headers },
    })
    assert.equal(response.status, 200)
    return (await response.json()) as Answer
  }
  const expected = Array.from({ length: SERIES }, (_, gpu) => ({
    gpu: String(gpu),
    values: Array.from({ length: rounds }, (_, round) => round + gpu / 100),
  })).sort((x, y) => (x.gpu < y.gpu ? -1 : 1))
  const ofB = async (headers: Record<string, string> = {}): Promise<unknown> => {
    const { data } = await ask('b', 'step=1s&agg=last', headers)
    return data.map(({ labels, values }) => ({ gpu: labels['gpu'], values: values.map(({ value }) => value) }))
  }
  await eventually("all of the other's samples are answered", async () => {
    assert.deepEqual(await ofB(), expected)
    return true
  })
  assert.deepEqual(await ofB({ 'X-Scope-OrgID': 'b' }), expected, 'its own tenant may be named')
  await eventually("all of the flood's samples that were taken are answered, and nothing else", async () => {
    const { data } = await ask('a', 'step=1d&agg=sum')
    const sum = data.flatMap(({ values }) => values).reduce((n, { value }) => n + value, 0)
    return sum === accepted * VALUE_OF_A
  })
  for (const { values } of (await ask('a', 'step=1s&agg=min')).data)
    for (const { value } of values) assert.equal(value, VALUE_OF_A)

  // Neither through the collector nor at the aggregator.
  for (const { url } of [collector, aggregator]) {
    const status = async (path: string, headers: Record<string, string>, init: RequestInit = {}): Promise<number> => {
      const response = await fetch(`${url}${path}`, { ...init, headers })
      const text = await response.text()
      assert.ok(response.status === 200 || !text.includes('"data"'), text)
      return response.status
    }
    const query = `/api/public/metrics/query?name=${NAME}`
    assert.equal(await status(query, { ...bearer('a'), 'X-Scope-OrgID': 'b' }), 403)
    assert.equal(await status(query, { ...bearer('a'), 'X-Scope-OrgID': 'a|b' }), 400)
    assert.equal(await status('/api/public/metrics/names', { ...bearer('a'), 'X-Scope-OrgID': 'b' }), 403)
    for (const path of ['/v1/tasks', '/v1/tasks/of-b', '/v1/usage', '/v1/usage/nodes', '/v1/dead_letters']) {
      assert.equal(await status(path, { ...bearer('a'), 'X-Scope-OrgID': 'b' }), 403, path)
      assert.equal(await status(path, bearer('collectors')), 403, path)
      assert.equal(await status(path, {}), 401, path)
    }
    assert.equal(await status('/v1/usage?group_by=tenant', bearer('a')), 403)
    assert.equal(await status('/v1/usage?group_by=tenant', authorized), 200)
    assert.equal(await status(query, {}), 401)
    assert.equal(await status(query, bearer('collectors')), 403)
    for (const path of ['/intake/v1/batches', '/intake/v1/flush'])
      assert.equal(await status(path, bearer('a'), { method: 'POST', body: 'x' }), 403)
    assert.equal(await status('/metrics', bearer('a')), 403)
    assert.equal(await status('/metrics', authorized), 200)
    assert.equal(await status('/api/internal/rate_limit_stats', bearer('a')), 403)
    assert.equal(await status(query, { ...authorized, 'X-Scope-OrgID': 'b' }), 200)
  }
  const write = await fetch(`${collector.url}/v1/metrics/batch`, {
    method: 'POST',
    headers: { ...bearer('b'), 'X-Scope-OrgID': 'a', 'Content-Type': 'application/json' },
    body: '{"metrics":[]}',
  })
  assert.deepEqual([write.status, /team-b/.test(await write.text())], [403, true])
  const end = await scrape(collector.url)
  assert.equal(end.get('fleetmeter_collector_forward_failures_total'), 0, "the collector's own key was enough")
})
