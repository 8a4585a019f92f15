/**
 * Mutated bodies at every door of a running collector: bits flipped, cut off, lengths forged, in the snappy block, in the message
 * under it and in JSON. No crash, no 5xx, every refusal with a reason, and nothing is left behind in memory.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Agent, request as httpRequest } from 'node:http'
import { test } from 'node:test'
import { encodeWriteRequest } from '../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import { fullRequest1, fullRequest2 } from '../support/full-requests.ts'
import { mutate } from '../support/mutate.ts'
import { authorized, eventually, kill, ready, scrape, start, temporaryDirectory } from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'
import { encodeRequest2, metricsBatchBody } from '../support/write-request.ts'

const BODIES = Number(process.env['FLEETMETER_TEST_HOSTILE_BODIES'] ?? 20_000)
/** Memory is looked at after each; a multiple of 3. */
const TURNS = 12
/** A body that left something behind would leave more than this, KiB. */
const LEFT_BEHIND_MAX = 0.5
const GROWTH_MAX = 1.05
/** What is in use once nothing comes any more, beside what was in use after the first thousand. */
const AT_REST_MAX = 1.1
/** V8 collects within some seconds of rest, twice. */
const REST_MS = 60_000
const AT_ONCE = 8

const snappy = { 'Content-Encoding': 'snappy' }
const DOORS = {
  'remote write 1.0': {
    path: '/api/v1/write',
    headers: { ...snappy, 'Content-Type': 'application/x-protobuf' },
  },
  'remote write 2.0': {
    path: '/api/v1/write',
    headers: { ...snappy, 'Content-Type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request' },
  },
  'metric batch': {
    path: '/v1/metrics/batch',
    headers: { ...authorized, 'Content-Type': 'application/json' },
  },
} as const
type Door = keyof typeof DOORS

function sound(door: Door, random: Random): Uint8Array {
  const now = Date.now()
  const labels = { job: 'hostile', s: String(random.between(0, 50)) }
  if (door === 'metric batch') return metricsBatchBody([{ name: 'up', labels, time: now, value: random.next() }])
  // Sometimes with everything that a request can hold.
  if (random.chance(0.5)) return door === 'remote write 1.0' ? fullRequest1(now) : fullRequest2(now)
  const series = Array.from({ length: 5 }, () => ({
    labels: Object.entries({ __name__: 'up', ...labels }) as [string, string][],
    samples: [{ timestamp: now - random.between(0, 1000), value: random.next() }],
  }))
  return door === 'remote write 1.0' ? encodeWriteRequest(series) : encodeRequest2(series)
}

function hostile(door: Door, random: Random): Uint8Array<ArrayBuffer> {
  const body = sound(door, random)
  if (door === 'metric batch') return mutate(body, random)
  // In the message, or in the block around it.
  if (random.chance(0.6)) return Uint8Array.from(portableSnappy.compress(mutate(body, random)))
  return mutate(portableSnappy.compress(body), random)
}

function residentMib(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
}

test('mutated bodies: no crash, no 5xx, every refusal with a reason, and memory stays', {
  timeout: 900_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}, ${BODIES} bodies a door`)
  const random = new Random(seed)
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: 'http://127.0.0.1:9',
    FLEETMETER_COLLECTOR_HOST: 'false',
    // Changed labels are new series: a table that is full soon shows what else grows.
    FLEETMETER_COLLECTOR_SERIES_MAX: '500',
    FLEETMETER_LOG_LEVEL: 'error',
  })
  t.after(() => kill(collector))
  await ready(collector.url)
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE })
  t.after(() => agent.destroy())
  const send = (door: Door, body: Uint8Array): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const { path, headers } = DOORS[door]
      const outgoing = httpRequest(`${collector.url}${path}`, {
        method: 'POST',
        agent,
        headers: { ...headers, 'Content-Length': body.length },
      })
      outgoing.on('response', (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString()
        })
        response.on('end', () => resolve({ status: response.statusCode!, text }))
      })
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  const statuses = new Map<string, number>()
  const flood = async (door: Door, bodies: number): Promise<void> => {
    let left = bodies
    const one = async (): Promise<void> => {
      while (left-- > 0) {
        const { status, text } = await send(door, hostile(door, random))
        statuses.set(`${door} ${status}`, (statuses.get(`${door} ${status}`) ?? 0) + 1)
        assert.ok(status < 500, `${door}: ${status} ${text}`)
        if (status >= 400) assert.match(text, /^\{"message":".+","code":"BAD_REQUEST"/)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, one))
  }
  const doors = Object.keys(DOORS) as Door[]
  for (const door of doors) await flood(door, 333)
  const thousand = residentMib(collector.process.pid!)
  const resident: number[] = []
  for (let turn = 0; turn < TURNS; turn++) {
    for (const door of doors) await flood(door, Math.ceil(BODIES / TURNS))
    resident.push(residentMib(collector.process.pid!))
  }
  t.diagnostic(`${[...statuses].map(([what, n]) => `${what}: ${n}`).join(', ')}`)
  t.diagnostic(
    `${Math.round(thousand)} MiB after the first thousand, then ${resident.map((mib) => Math.round(mib)).join(', ')}`,
  )
  for (const door of doors) {
    const kinds = [...statuses.keys()].filter((what) => what.startsWith(door))
    assert.ok(kinds.length >= 2, `${door}: only ${kinds.join()}`)
  }
  // Once V8 has compiled what is used and its heaps have their size, resident memory goes up and down with its collections: what
  // is left behind raises even the lowest of the last turns above the highest of those in the middle.
  const middle = Math.max(...resident.slice(TURNS / 3, (2 * TURNS) / 3))
  const lowest = Math.min(...resident.slice((2 * TURNS) / 3))
  assert.ok(lowest <= middle * GROWTH_MAX, `${middle} MiB grew to ${lowest} MiB`)
  const perBody = ((lowest - middle) * 1024) / ((doors.length * BODIES) / 3)
  assert.ok(perBody <= LEFT_BEHIND_MAX, `${perBody} KiB a body are left behind`)
  const metrics = await scrape(collector.url)
  const pid = collector.process.pid!
  const atRest = `at rest at most ${AT_REST_MAX} times the ${thousand} MiB`
  await eventually(atRest, () => residentMib(pid) <= thousand * AT_REST_MAX, REST_MS)
  t.diagnostic(`at rest ${Math.round(residentMib(pid))} MiB`)
  for (const [name, starts] of metrics)
    if (name.startsWith('fleetmeter_collector_shard_thread_starts_total')) assert.equal(starts, 1, name)
  assert.equal((await fetch(`${collector.url}/readyz`)).status, 200)
})
