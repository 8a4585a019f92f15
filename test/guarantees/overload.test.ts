/**
 * Far more is offered than the collector can take, by many senders: it goes on taking what it can, refuses the rest with 503 and a
 * time to come again, answers /healthz meanwhile, and its memory stays within its bounds. What it took, and nothing else, is counted.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { test } from 'node:test'
import { kill, ready, scrape, start, temporaryDirectory, total } from '../support/programs.ts'
import { remoteWriteBody } from '../support/write-request.ts'

const SERIES = 500
const SENDERS = 8
const CONNECTIONS = 16
const REQUESTS = 6000
/** Answers in a row of which some must be acknowledgements. */
const WINDOW = 1500
const WAITING_BYTES_MAX = 4 * 1024 * 1024
const MEMORY_MIB_MAX = 500

interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
}

function post(url: string, agent: Agent, body: Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' }
    const outgoing = request(`${url}/api/v1/write`, {
      method: 'POST',
      agent,
      headers: { ...headers, 'Content-Length': body.length },
    })
    outgoing.on('response', (response) => {
      response.resume()
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] }),
      )
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

test('overload: what can be taken is, the rest is told to come again, and nothing grows', {
  timeout: 180_000,
}, async (t) => {
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: 'http://127.0.0.1:9',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_SHARDS: '1',
    FLEETMETER_COLLECTOR_WAITING_MS_MAX: '50',
    FLEETMETER_COLLECTOR_WAITING_BYTES_MAX: String(WAITING_BYTES_MAX),
  })
  t.after(() => kill(collector))
  await ready(collector.url)
  const time = Date.now() - 1000
  // Every series is new: these cost most. Made before, so that they come faster than they can be taken.
  const bodies = Array.from({ length: REQUESTS / 10 }, (_, b) =>
    remoteWriteBody(
      Array.from({ length: SERIES }, (_, s) => ({ name: 'load', labels: { s: `${b}-${s}` }, time, value: s })),
    ),
  )
  const answers: Answer[] = []
  let next = 0
  let waitingMax = 0
  let over = false
  const agents = Array.from(
    { length: SENDERS },
    (_, s) => new Agent({ keepAlive: true, maxSockets: CONNECTIONS, localAddress: `127.0.0.${2 + s}` }),
  )
  t.after(() => {
    for (const agent of agents) agent.destroy()
  })
  const look = async (): Promise<void> => {
    while (!over) {
      assert.equal((await fetch(`${collector.url}/healthz`)).status, 200)
      const metrics = await scrape(collector.url)
      const waiting =
        total(metrics, 'fleetmeter_collector_mailbox_pushed_total') -
        total(metrics, 'fleetmeter_collector_mailbox_popped_total')
      waitingMax = Math.max(waitingMax, waiting * bodies[0]!.length)
    }
  }
  const looking = look()
  await Promise.all(
    Array.from({ length: SENDERS * CONNECTIONS }, async (_, connection) => {
      while (next < REQUESTS)
        answers.push(await post(collector.url, agents[connection % SENDERS]!, bodies[next++ % bodies.length]!))
    }),
  )
  over = true
  await looking

  const accepted = answers.filter(({ status }) => status === 204).length
  const refused = answers.filter(({ status }) => status === 503)
  t.diagnostic(`${accepted} of ${answers.length} taken, ${refused.length} refused; at most ${waitingMax} bytes waited`)
  assert.equal(accepted + refused.length, answers.length)
  assert.ok(refused.length > 0, 'it was never too much')
  assert.ok(refused.every(({ retryAfter }) => Number(retryAfter) >= 1))
  for (let from = 0; from + WINDOW <= answers.length; from += WINDOW)
    assert.ok(
      answers.slice(from, from + WINDOW).some(({ status }) => status === 204),
      `nothing was taken of the answers ${from} to ${from + WINDOW}`,
    )
  assert.ok(waitingMax <= WAITING_BYTES_MAX)
  const metrics = await scrape(collector.url)
  assert.equal(total(metrics, 'fleetmeter_collector_items_received_total'), accepted * SERIES)
  assert.ok(total(metrics, 'fleetmeter_collector_mailbox_too_late_total') > 0)
  const peak =
    Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${collector.process.pid}/status`, 'utf8'))![1]) / 1024
  assert.ok(peak < MEMORY_MIB_MAX, `${peak} MiB`)
  await ready(collector.url)
})
