/**
 * Senders of a fleet's samples, made before the clock runs.
 *
 *     arguments: JSON OverloadJob
 *     prints:    `ready`, then for each JSON OverloadTurn on a line of its standard input a JSON OverloadResult
 *
 * Closed loop: each connection sends its next body when the one before is answered. Open loop: a body is due at its time, whatever
 * became of those before; its latency counts from then, and what is refused is not sent again.
 */
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fleet } from './fleet.ts'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface OverloadJob {
  readonly nodes: number
  /** Bodies for all turns together. */
  readonly bodies: number
  /** Each with an address of its own. */
  readonly senders: number
}

export interface OverloadTurn {
  readonly url: string
  readonly seconds: number
  /** Bodies a second in an open loop; 0: a closed loop. */
  readonly rate: number
}

export interface OverloadResult {
  readonly seconds: number
  readonly offered: number
  readonly accepted: number
  readonly refused: number
  /** Connections lost, other answers, and refusals without Retry-After. */
  readonly wrong: number
  /** ms. */
  readonly latencies: Quantiles
  readonly refusals: Quantiles
  /** Sending behind its time at most, ms. */
  readonly lagMs: number
}

const CONNECTIONS_CLOSED = 16
/** Of each sender, in an open loop. */
const CONNECTIONS_OPEN = 64
const STEP_MS = 100

const job = JSON.parse(process.argv[2]!) as OverloadJob
const fleet = new Fleet(job.nodes)
const perRound = Math.ceil(fleet.series / 2000)
const begin = Date.now() - Math.ceil(job.bodies / perRound) * STEP_MS
const bodies: (Uint8Array | undefined)[] = []
for (let i = 0; i < job.bodies; i++) bodies.push(fleet.request(begin + Math.floor(i / perRound) * STEP_MS))
let next = 0
/** What was refused is as new, and making bodies takes long. */
const again: Uint8Array[] = []

/** @returns the status; -1 for a refusal that does not say when to come again */
function post(url: string, body: Uint8Array, agent: Agent): Promise<number> {
  return new Promise((resolve) => {
    const headers = {
      'Content-Type': 'application/x-protobuf',
      'Content-Encoding': 'snappy',
      'Content-Length': body.length,
    }
    const outgoing = request(`${url}/api/v1/write`, { method: 'POST', agent, headers })
    outgoing.on('response', (response) => {
      response.resume()
      const silent = response.statusCode === 503 && response.headers['retry-after'] === undefined
      response.on('end', () => resolve(silent ? -1 : (response.statusCode ?? 0)))
      response.on('error', () => resolve(0))
    })
    outgoing.on('error', () => resolve(0))
    outgoing.end(body)
  })
}

class Tally {
  offered = 0
  wrong = 0
  lag = 0
  readonly accepted: number[] = []
  readonly refused: number[] = []

  /** @param due when it should have been sent */
  async send(url: string, agent: Agent, due: number): Promise<void> {
    const body = again.pop() ?? bodies[next]
    if (body === undefined) throw new Error('there are not enough bodies: raise RATE_MAX')
    if (body === bodies[next]) bodies[next++] = undefined // its memory is needed
    this.offered++
    this.lag = Math.max(this.lag, performance.now() - due)
    const status = await post(url, body, agent)
    const ms = performance.now() - due
    if (status === 204) this.accepted.push(ms)
    else if (status === 503) {
      this.refused.push(ms)
      again.push(body)
    } else this.wrong++
  }
}

function agents(connections: number): Agent[] {
  return Array.from(
    { length: job.senders },
    (_, s) => new Agent({ keepAlive: true, maxSockets: connections, localAddress: `127.0.0.${2 + s}` }),
  )
}

async function run({ url, seconds, rate }: OverloadTurn): Promise<OverloadResult> {
  const tally = new Tally()
  const senders = agents(rate === 0 ? CONNECTIONS_CLOSED / job.senders : CONNECTIONS_OPEN)
  const started = performance.now()
  const end = started + seconds * 1000
  const waiting = new Set<Promise<void>>()
  if (rate === 0) {
    const connection = async (agent: Agent): Promise<void> => {
      while (performance.now() < end) await tally.send(url, agent, performance.now())
    }
    for (let n = 0; n < CONNECTIONS_CLOSED; n++) waiting.add(connection(senders[n % senders.length]!))
  } else {
    for (let n = 0; n < rate * seconds; n++) {
      const due = started + (n * 1000) / rate
      const early = due - performance.now()
      if (early > 0) await sleep(early)
      const sent = tally.send(url, senders[n % senders.length]!, due)
      waiting.add(sent)
      void sent.then(() => waiting.delete(sent))
    }
  }
  // Of an open loop, what was answered within its time counts; the rest only has its latency.
  const inTime = tally.accepted.length
  const took = (performance.now() - started) / 1000
  await Promise.all(waiting)
  for (const agent of senders) agent.destroy()
  const accepted = rate === 0 ? tally.accepted.length : inTime
  return {
    seconds: rate === 0 ? (performance.now() - started) / 1000 : took,
    offered: tally.offered,
    accepted,
    refused: tally.refused.length,
    wrong: tally.wrong,
    latencies: quantiles(tally.accepted),
    refusals: quantiles(tally.refused),
    lagMs: tally.lag,
  }
}

process.stdout.write('ready\n')
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  void run(JSON.parse(line) as OverloadTurn).then((result) => process.stdout.write(`${JSON.stringify(result)}\n`))
})
await once(lines, 'close')
process.exit()
