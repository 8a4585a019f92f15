/**
 * One of two senders to the same collector, in a process of its own, until its standard input ends.
 *
 *     arguments: JSON NeighbourJob
 *     prints:    JSON NeighbourResult
 *
 * The honest one writes twenty samples every few milliseconds. The hostile one offers ten times its limit as 500 series that nobody has
 * seen yet a body, and between them rows and bodies that are too large, and noise.
 */
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { remoteWriteBody } from '../test/support/write-request.ts'
import { post } from './post.ts'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface NeighbourJob {
  readonly url: string
  readonly role: 'honest' | 'hostile'
  /** Samples a second that the hostile one offers. */
  readonly samplesPerSecond: number
}

export interface NeighbourResult {
  readonly statuses: Readonly<Record<number, number>>
  /** Request to answer, ms. */
  readonly latencies: Quantiles
}

const HONEST_EVERY_MS = 5
const HONEST_SERIES = 20
const BOMB_SERIES = 500
/** Made before the attack: what making them costs is not the collector's. */
const BOMBS = 400
const RUBBISH_EVERY_MS = 50
const MIB = 1024 * 1024

const job = JSON.parse(process.argv[2]!) as NeighbourJob
const statuses: Record<number, number> = {}
const latencies: number[] = []
let over = false
process.stdin.on('end', () => {
  over = true
})
process.stdin.resume()

/** A connection that is cut while the body is still on its way (413) counts as status 0. */
async function send(body: Uint8Array, agent: Agent): Promise<void> {
  const since = performance.now()
  const status = await post(`${job.url}/api/v1/write`, body, agent)
  statuses[status] = (statuses[status] ?? 0) + 1
  latencies.push(performance.now() - since)
}

async function sendHonest(): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, localAddress: '127.0.0.2' })
  for (let time = Date.now(), n = 0; !over; n++) {
    time = Math.max(time + 1, Date.now())
    const points = Array.from({ length: HONEST_SERIES }, (_, i) => ({
      name: 'honest',
      labels: { series: String(i) },
      time,
      value: n,
    }))
    await send(remoteWriteBody(points), agent)
    await sleep(HONEST_EVERY_MS)
  }
  agent.destroy()
}

async function sendHostile(): Promise<void> {
  const time = Date.now()
  const bombs = Array.from({ length: BOMBS }, (_, b) =>
    remoteWriteBody(
      Array.from({ length: BOMB_SERIES }, (_, i) => ({ name: 'bomb', labels: { id: `x${b}-${i}` }, time, value: i })),
    ),
  )
  const long = remoteWriteBody([{ name: 'long', labels: { text: 'x'.repeat(100_000) }, time, value: 1 }])
  const bombEveryMs = (BOMB_SERIES * 1000) / job.samplesPerSecond
  await Promise.all([
    sendInTurn(bombs, bombEveryMs, 4),
    sendInTurn([long, new Uint8Array(1000).fill(0xff)], RUBBISH_EVERY_MS, 2),
    sendInTurn([new Uint8Array(33 * MIB)], RUBBISH_EVERY_MS, 2),
  ])
}

/** An open loop as far as `atOnce` connections carry it. */
async function sendInTurn(bodies: readonly Uint8Array[], everyMs: number, atOnce: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: atOnce, localAddress: '127.0.0.3' })
  const started = performance.now()
  let waiting = 0
  for (let n = 0; !over; n++) {
    const early = started + n * everyMs - performance.now()
    if (early > 0) await sleep(early)
    while (waiting >= atOnce && !over) await sleep(1)
    waiting++
    void send(bodies[n % bodies.length]!, agent).then(() => waiting--)
  }
}

await (job.role === 'honest' ? sendHonest() : sendHostile())
const result: NeighbourResult = { statuses, latencies: quantiles(latencies) }
// Large bodies may still be on their way.
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit())
