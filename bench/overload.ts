/**
 * What becomes of a collector that is offered more than it can take? How much that is (closed loop, sixteen connections) is measured
 * right before each open loop of once and three times as much: a busy machine meets both. What it takes is forwarded to a sink.
 *
 *     senders ──remote write──▶ collector ──▶ sink process
 *     processor 1 …             processor 0   processor 1 …
 *
 * The collector has a processor of its own: else the bench would show what senders leave it, of which there are three times as many.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { kill, ready, scrape, start, total } from '../test/support/programs.ts'
import type { OverloadJob, OverloadResult, OverloadTurn } from './overload.process.ts'
import { memoryMib, pin } from './processes.ts'
import { Sink, Talker } from './talker.ts'

const NODES = 40
const SENDERS = 8
/** Bodies a second that no machine takes: so many are made before the clock runs, some 50 KB each. */
const RATE_MAX = 2000
const WARM_SECONDS = 3
const PAUSE_MS = 500
const TIMES = [1, 3]

export interface OverloadRound {
  readonly times: number
  /** Bodies a second in the closed loop before it. */
  readonly capacity: number
  readonly closed: OverloadResult
  readonly open: OverloadResult
  readonly peakMib: number
}

/** @param seconds of each turn */
export async function measureOverload(seconds: number): Promise<OverloadRound[]> {
  const last = availableParallelism() - 1
  if (last === 0) throw new Error('this bench needs two processors: one for the collector, one for its senders')
  pin(process.pid, `1-${last}`)
  const bodies = RATE_MAX * (WARM_SECONDS + seconds * 2 * TIMES.length) // what is refused is sent again
  const job: OverloadJob = { nodes: NODES, bodies, senders: SENDERS }
  const load = new Talker('./overload.process.ts', [JSON.stringify(job)])
  const sink = new Sink()
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  try {
    const sinkUrl = await sink.url()
    await load.line()
    const collector = await start('collector', {
      FLEETMETER_DATA_DIR: directory,
      FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_AGGREGATOR_URL: sinkUrl,
    })
    try {
      await ready(collector.url)
      pin(collector.process.pid!, '0')
      const run = async (turn: Omit<OverloadTurn, 'url'>): Promise<OverloadResult> => {
        const result = JSON.parse(await load.ask(JSON.stringify({ url: collector.url, ...turn }))) as OverloadResult
        // Every body holds as many samples, and what is acknowledged is in the counters: told apart from what was refused.
        for (let waits = 1; waits > 0; await sleep(PAUSE_MS))
          waits = total(await scrape(collector.url), 'fleetmeter_collector_items_waiting')
        await sink.received()
        return result
      }
      await run({ seconds: WARM_SECONDS, rate: 0 })
      const rounds: OverloadRound[] = []
      for (const times of TIMES) {
        const closed = await run({ seconds, rate: 0 })
        const capacity = closed.accepted / closed.seconds
        const open = await run({ seconds, rate: Math.round(times * capacity) })
        rounds.push({ times, capacity, closed, open, peakMib: memoryMib(collector.process.pid!).peak })
      }
      return rounds
    } finally {
      await kill(collector)
    }
  } finally {
    load.end()
    sink.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Prints the table. */
export async function overload(seconds: number): Promise<void> {
  console.log('capacity: bodies of 2,000 samples a second in a closed loop of 16 connections, right before\n')
  console.log(
    '| offered | capacity | taken of it | closed loop p50, ms | p99 | taken p50, ms | p99 | refused | refusal p50, ms | p99 | not sent | peak MiB | behind, ms |',
  )
  console.log(`|${'---:|'.repeat(13)}`)
  for (const { times, capacity, closed, open, peakMib } of await measureOverload(seconds)) {
    const taken = open.accepted / open.seconds / capacity
    const text = [
      `${times} ×`,
      capacity.toFixed(0),
      `${(100 * taken).toFixed(0)} %`,
      closed.latencies.p50.toFixed(0),
      closed.latencies.p99.toFixed(0),
      open.latencies.p50.toFixed(0),
      open.latencies.p99.toFixed(0),
      `${((100 * open.refused) / open.offered).toFixed(0)} %`,
      open.refused === 0 ? '' : open.refusals.p50.toFixed(0),
      open.refused === 0 ? '' : open.refusals.p99.toFixed(0),
      `${((100 * open.unsent) / open.offered).toFixed(0)} %`,
      peakMib.toFixed(0),
      open.lagMs.toFixed(0),
    ]
    console.log(`| ${text.join(' | ')} |`)
    const wrong = closed.wrong + open.wrong
    if (wrong > 0) throw new Error(`${wrong} requests were neither taken nor refused with a time to come again`)
  }
}
