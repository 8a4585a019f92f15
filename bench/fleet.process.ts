/**
 * The fleet's senders, in a process of their own: an open loop at a given rate, or as fast as it is answered.
 *
 *     arguments: JSON {url, nodes, senders, samplesPerSecond (0: flat out), seconds}
 *     prints:    JSON FleetResult
 *
 * A body that is not taken (503, lost connection) is sent again until it is.
 */
import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fleet, SAMPLES_PER_REQUEST } from './fleet.ts'
import { post } from './post.ts'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface FleetJob {
  readonly url: string
  readonly nodes: number
  readonly senders: number
  /** 0: as fast as answers come. */
  readonly samplesPerSecond: number
  /** 0: each series once. */
  readonly seconds: number
}

export interface FleetResult {
  readonly samples: number
  readonly bytes: number
  readonly seconds: number
  readonly retries: number
  /** Request to answer, ms. */
  readonly latencies: Quantiles
  /** How far the sending fell behind the rate at most, ms. */
  readonly lagMs: number
}

const RETRY_MS = 200

async function send(job: FleetJob): Promise<FleetResult> {
  const fleet = new Fleet(job.nodes)
  const requests = fleet.series / SAMPLES_PER_REQUEST
  const latencies: number[] = []
  let sent = 0
  let bytes = 0
  let retries = 0
  let lagMs = 0
  const started = performance.now()
  const end = started + job.seconds * 1000
  const sender = async (index: number): Promise<void> => {
    // Senders are told apart by their address.
    const agent = new Agent({ keepAlive: true, maxSockets: 1, localAddress: `127.0.0.${index + 2}` })
    for (;;) {
      const number = sent++
      const due =
        job.samplesPerSecond === 0 ? 0 : started + (number * SAMPLES_PER_REQUEST * 1000) / job.samplesPerSecond
      if (job.seconds === 0 ? number >= requests : performance.now() >= end || due >= end) {
        sent--
        break
      }
      const early = due - performance.now()
      if (early > 0) await sleep(early)
      else if (due > 0) lagMs = Math.max(lagMs, -early)
      const body = fleet.request(Date.now())
      bytes += body.length
      const since = performance.now()
      for (;;) {
        const status = await post(`${job.url}/api/v1/write`, body, agent)
        if (status === 204 || status === 200) break
        if (status !== 503 && status !== 0) throw new Error(`the receiver answered ${status}`)
        retries++
        await sleep(RETRY_MS)
      }
      latencies.push(performance.now() - since)
    }
    agent.destroy()
  }
  await Promise.all(Array.from({ length: job.senders }, (_, i) => sender(i)))
  return {
    samples: latencies.length * SAMPLES_PER_REQUEST,
    bytes,
    seconds: (performance.now() - started) / 1000,
    retries,
    latencies: quantiles(latencies),
    lagMs,
  }
}

process.stdout.write(`${JSON.stringify(await send(JSON.parse(process.argv[2]!) as FleetJob))}\n`)
