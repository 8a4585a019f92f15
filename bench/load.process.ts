/**
 * A fleet's samples, made before the clock runs, sent over a few connections as often as asked: flat out, or so many rounds a second.
 *
 *     arguments: JSON LoadJob
 *     prints:    `ready`, then for each line `ADDRESS FIRST END` on its standard input, which sends the rounds [FIRST, END), a
 *                JSON LoadResult
 *
 * A body that is not taken (503, 429, lost connection) is sent again until it is.
 */
import { once } from 'node:events'
import { Agent } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fleet, SAMPLES_PER_REQUEST } from './fleet.ts'
import { post } from './post.ts'

export interface LoadJob {
  readonly nodes: number
  /** Samples of each series. */
  readonly rounds: number
  /** From one sample of a series to the next. The last one is of now. */
  readonly stepMs: number
  readonly connections: number
  /** 0: as fast as answers come. */
  readonly roundsPerSecond: number
}

export interface LoadResult {
  readonly samples: number
  /** Of all values. */
  readonly sum: number
  readonly bytes: number
  readonly seconds: number
  readonly retries: number
}

const RETRY_MS = 50

const job = JSON.parse(process.argv[2]!) as LoadJob
const fleet = new Fleet(job.nodes)
const perRound = Math.ceil(fleet.series / SAMPLES_PER_REQUEST)
const start = Date.now() - job.rounds * job.stepMs
const bodies: { readonly bytes: Uint8Array; readonly sum: number }[] = []
for (let i = 0; i < perRound * job.rounds; i++) {
  const before = fleet.sum
  const bytes = fleet.request(start + Math.floor(i / perRound) * job.stepMs)
  bodies.push({ bytes, sum: fleet.sum - before })
}

async function send(url: string, first: number, end: number): Promise<LoadResult> {
  const started = performance.now()
  const part = bodies.slice(first * perRound, end * perRound)
  let next = 0
  let retries = 0
  const connection = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    while (next < part.length) {
      const due = job.roundsPerSecond === 0 ? 0 : started + (next / perRound / job.roundsPerSecond) * 1000
      const { bytes } = part[next++]!
      await sleep(Math.max(0, due - performance.now()))
      for (;;) {
        const status = await post(url, bytes, agent)
        if (status === 204 || status === 200) break
        if (status !== 503 && status !== 429 && status !== 0) throw new Error(`${url} answered ${status}`)
        retries++
        await sleep(RETRY_MS)
      }
    }
    agent.destroy()
  }
  await Promise.all(Array.from({ length: job.connections }, connection))
  return {
    samples: part.length * SAMPLES_PER_REQUEST,
    sum: part.reduce((n, { sum }) => n + sum, 0),
    bytes: part.reduce((n, { bytes }) => n + bytes.length, 0),
    seconds: (performance.now() - started) / 1000,
    retries,
  }
}

process.stdout.write('ready\n')
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const [url, first, end] = line.split(' ') as [string, string, string]
  void send(url, Number(first), Number(end)).then((result) => process.stdout.write(`${JSON.stringify(result)}\n`))
})
await once(lines, 'close')
