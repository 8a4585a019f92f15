/**
 * A router: asks for a metric of all replicas over the last quarter of an hour, again and again at a steady rate.
 *
 *     arguments: JSON QueryJob
 *     prints:    `ready`, then for each line `ADDRESS QUERIES` on its standard input a JSON QueryResult
 */
import { once } from 'node:events'
import { Agent, get } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface QueryJob {
  readonly token: string
  readonly metric: string
  readonly series: number
  readonly perSecond: number
}

export interface QueryResult {
  readonly latencies: Quantiles
  /** Of the last answer. */
  readonly bytes: number
}

/** What a router reads of it. */
interface Answer {
  readonly data: readonly { readonly values: readonly { readonly value: number }[] }[]
}

const QUARTER_MS = 900_000
const BUCKETS_LEAST = 15

const job = JSON.parse(process.argv[2]!) as QueryJob
const agent = new Agent({ keepAlive: true })

function ask(url: string): Promise<string> {
  const now = Date.now()
  const query = new URLSearchParams({
    name: job.metric,
    from: new Date(now - QUARTER_MS).toISOString(),
    to: new Date(now).toISOString(),
    step: '60s',
    agg: 'last',
    limit: String(job.series),
  })
  return new Promise((resolve, reject) => {
    const request = get(
      `${url}/api/public/metrics/query?${query}`,
      { agent, headers: { Authorization: `Bearer ${job.token}` } },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          if (response.statusCode === 200) resolve(text)
          else reject(new Error(`${url} answered ${response.statusCode}: ${text}`))
        })
      },
    )
    request.on('error', reject)
  })
}

function check(text: string): void {
  const { data } = JSON.parse(text) as Answer
  if (data.length !== job.series || data.some(({ values }) => values.length < BUCKETS_LEAST))
    throw new Error(`${data.length} series, ${Math.min(...data.map(({ values }) => values.length))} values at least`)
}

async function run(url: string, queries: number): Promise<QueryResult> {
  const latencies: number[] = []
  let last = ''
  const started = performance.now()
  const one = async (): Promise<void> => {
    const since = performance.now()
    last = await ask(url)
    latencies.push(performance.now() - since)
  }
  const asked: Promise<void>[] = []
  for (let i = 0; i < queries; i++) {
    await sleep(Math.max(0, started + (i * 1000) / job.perSecond - performance.now()))
    asked.push(one())
  }
  await Promise.all(asked)
  check(last)
  return { latencies: quantiles(latencies), bytes: last.length }
}

process.stdout.write('ready\n')
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const [url, queries] = line.split(' ') as [string, string]
  void run(url, Number(queries)).then((result) => process.stdout.write(`${JSON.stringify(result)}\n`))
})
await once(lines, 'close')
process.exit()
