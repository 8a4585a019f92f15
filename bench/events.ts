/**
 * What does an event cost the collector? Checked, journalled, synced, forwarded: 10,000 a second, a hundred in a request, by
 * `POST /v1/events` and by Kafka REST, beside a bare handler that parses the same bodies.
 *
 *     this process ──JSON──▶ collector ──▶ sink in this process
 *                  └─JSON──▶ bare handler
 *
 * CPU is read when the queues have drained, and the sink must hold every event that was sent.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeEventBatch } from '../proto/wire/event-batch.ts'
import { startCollector } from './forwarders.ts'
import { cpuSeconds, memoryMib, quiet } from './processes.ts'
import { quantiles } from './quantiles.ts'
import { Talker } from './talker.ts'

export const PER_SECOND: number = 10_000
export const PER_REQUEST: number = 100
const PROMPT = 'A cat that sits on a mat, in the style of a painter who is long dead, at dusk. '.repeat(3)

interface Door {
  readonly type: string
  readonly body: (events: readonly object[]) => string
}
const RECORDS: Door = {
  type: 'application/vnd.kafka.json.v2+json',
  body: (events) => JSON.stringify({ records: events.map((value) => ({ value })) }),
}
type DoorPath = '/v1/events' | '/topics/xumi_task'
const DOORS: Readonly<Record<DoorPath, Door>> = {
  '/v1/events': { type: 'application/json', body: (events) => JSON.stringify(events) },
  '/topics/xumi_task': RECORDS,
}
/** As evidence: no task hangs on it. */
const AUDIT: Door = {
  ...RECORDS,
  body: (events) => RECORDS.body(events.map((event) => ({ ...event, event_type: 'bench.audit.noted' }))),
}

interface Cost {
  /** CPU µs an event, of the process with all its threads. */
  readonly micros: number
  readonly perSecond: number
  readonly latencies: { readonly p50: number; readonly p99: number }
}

/** Prints the table. */
export async function events(turns: number, seconds: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const bare = new Talker('./json-floor.process.ts', [])
  const arrived = new Set<string>()
  let batches: Buffer[] = []
  const sink = createServer((incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.on('end', () => {
      if (incoming.url === '/intake/v1/events') batches.push(Buffer.concat(chunks))
      response.writeHead(200).end('{"stored":true,"expired":0}')
    })
  })
  await new Promise<void>((resolve) => sink.listen(0, '127.0.0.1', resolve))
  const collector = await startCollector(directory, `http://127.0.0.1:${(sink.address() as AddressInfo).port}`)
  try {
    const bareUrl = await bare.line()
    console.log('| CPU µs / event | | a second | answered p50, ms | p99, ms |')
    console.log('|---|---:|---:|---:|---:|')
    const row = (name: string, { micros, perSecond, latencies }: Cost): void =>
      console.log(
        `| ${name} | ${micros.toFixed(1)} | ${Math.round(perSecond).toLocaleString('en')} | ${latencies.p50.toFixed(1)} | ${latencies.p99.toFixed(1)} |`,
      )
    for (let turn = 0; turn < turns; turn++) {
      const when = turn === 0 ? 'cold' : 'warm'
      row(`${when}: bare handler`, (await measure(bare.pid, bareUrl, '/v1/events', seconds)).cost)
      for (const path of Object.keys(DOORS) as DoorPath[]) {
        const { cost, sent } = await measure(collector.pid, collector.url, path, seconds)
        for (const batch of batches)
          for (const item of decodeEventBatch(batch).items) if ('event' in item) arrived.add(item.event.event_id)
        batches = []
        const missing = sent.filter((id) => !arrived.has(id)).length
        if (missing > 0) throw new Error(`${missing} of ${sent.length} events did not arrive`)
        row(`${when}: ${path}`, cost)
      }
    }
    console.log(`\npeak memory, MiB: ${memoryMib(collector.pid).peak.toFixed(0)}`)
  } finally {
    await collector.stop()
    bare.end()
    sink.closeAllConnections()
    sink.close()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function measure(
  pid: number,
  url: string,
  path: DoorPath,
  seconds: number,
): Promise<{ cost: Cost; sent: string[] }> {
  const agent = new Agent({ keepAlive: true })
  const sent: string[] = []
  const latencies: number[] = []
  const before = cpuSeconds(pid)
  const started = performance.now()
  const under: Promise<void>[] = []
  const requests = (seconds * PER_SECOND) / PER_REQUEST
  for (let n = 0; n < requests; n++) {
    const due = started + (n * 1000 * PER_REQUEST) / PER_SECOND
    if (due > performance.now()) await sleep(due - performance.now())
    under.push(post(agent, url, path, sent, latencies))
  }
  await Promise.all(under)
  const took = (performance.now() - started) / 1000
  await quiet([pid])
  agent.destroy()
  const micros = ((cpuSeconds(pid) - before) / sent.length) * 1e6
  return { cost: { micros, perSecond: sent.length / took, latencies: quantiles(latencies) }, sent }
}

export async function post(
  agent: Agent,
  url: string,
  path: DoorPath | '/topics/pbac_access',
  sent: string[],
  latencies: number[],
): Promise<void> {
  const door = path === '/topics/pbac_access' ? AUDIT : DOORS[path]
  const made = Array.from({ length: PER_REQUEST }, generation)
  for (const { event_id } of made) sent.push(event_id)
  const body = Buffer.from(door.body(made))
  const headers = { 'Content-Type': door.type, 'Content-Length': body.length }
  const since = performance.now()
  const status = await new Promise<number>((resolve, reject) => {
    const outgoing = request(`${url}${path}`, { method: 'POST', agent, headers }, (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
  latencies.push(performance.now() - since)
  if (status >= 300) throw new Error(`${path} answered ${status}`)
}

/** As the seed's Python service sends one. */
function generation(): { event_id: string } {
  const created = new Date().toISOString()
  return {
    event_id: randomUUID(),
    ...{
      event_type: 'xumi.generation.start',
      timestamp: created,
      tenant_id: 'default',
      source: 'xumi',
      version: '1.0',
    },
    ...{
      user_id: randomUUID(),
      session_id: randomUUID(),
      metadata: { attempt: 1 },
      tags: { project: 'p', department: 'd' },
    },
    ...{
      model: 'xumi:3',
      url: 'https://weights/xumi-3',
      created,
      prompt: PROMPT,
      speed: 'fast',
      task_id: randomUUID(),
    },
    ...{
      node_id: '6f9619ff-8b86-4011-b42d-00c04fc964ff',
      vm_type: 'NV6',
      host_name: 'gpu-1',
      storage_size: 1e12,
      storage_type: 'nvme',
    },
  }
}
