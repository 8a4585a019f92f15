/**
 * What does it cost to take a heartbeat, beside the least that a server in Node does with it? A collector (journal, checks,
 * forwarding) and a bare handler, side by side and in turn, the same bodies from the same daemons:
 *
 *     heartbeats process ──JSON──▶ collector ──▶ sink process
 *                        └─JSON──▶ bare handler
 *
 * The first turn is cold: series that are new, code that is not compiled yet. CPU is read when the queues have drained, and what
 * the sink holds must be what was sent: as many samples, of the same sum.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TOKEN } from '../test/support/programs.ts'
import { startCollector } from './forwarders.ts'
import type { HeartbeatsJob, HeartbeatsResult } from './heartbeats.process.ts'
import { cpuSeconds, memoryMib, quiet } from './processes.ts'
import { quantiles } from './quantiles.ts'
import { checkForwarded, Sink, Talker } from './talker.ts'

/** As many daemons as beat every three seconds. */
const HEARTBEATS = { daemons: 30_000, connections: 200, rounds: 2, perSecond: 10_000 }

export interface HeartbeatCost {
  /** CPU seconds a thousand heartbeats, of the process with all its threads. */
  readonly cpuPerThousand: number
  readonly result: HeartbeatsResult
}

export interface HeartbeatPair {
  readonly bare: HeartbeatCost
  readonly collector: HeartbeatCost
}

export interface Heartbeats {
  readonly cold: HeartbeatPair
  readonly pairs: readonly HeartbeatPair[]
  readonly peakMib: { readonly bare: number; readonly collector: number }
}

export async function measureHeartbeats(load: Omit<HeartbeatsJob, 'token'>, pairs: number): Promise<Heartbeats> {
  const job: HeartbeatsJob = { ...load, token: TOKEN }
  const daemons = new Talker('./heartbeats.process.ts', [JSON.stringify(job)])
  const sink = new Sink()
  const bare = new Talker('./json-floor.process.ts', [])
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  try {
    const [sinkUrl, bareUrl] = [await sink.url(), await bare.line(), await daemons.line()]
    const collector = await startCollector(directory, sinkUrl)
    const { pid } = collector
    const measurePair = async (): Promise<HeartbeatPair> => {
      await daemons.ask('make')
      const pair = {
        bare: await measure(daemons, bare.pid, bareUrl),
        collector: await measure(daemons, pid, collector.url),
      }
      const { points: samples, sum } = pair.collector.result
      checkForwarded((await sink.received()).batches, samples, sum)
      return pair
    }
    try {
      const cold = await measurePair()
      const found: HeartbeatPair[] = []
      while (found.length < pairs) found.push(await measurePair())
      return { cold, pairs: found, peakMib: { bare: memoryMib(bare.pid).peak, collector: memoryMib(pid).peak } }
    } finally {
      await collector.stop()
    }
  } finally {
    for (const process of [daemons, sink, bare]) process.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function measure(daemons: Talker, pid: number, url: string): Promise<HeartbeatCost> {
  const before = cpuSeconds(pid)
  const result = JSON.parse(await daemons.ask(url)) as HeartbeatsResult
  await quiet([pid])
  return { cpuPerThousand: ((cpuSeconds(pid) - before) / result.beats) * 1000, result }
}

/** Prints the table. */
export async function heartbeats(turns: number): Promise<void> {
  const { cold, pairs, peakMib } = await measureHeartbeats(HEARTBEATS, turns)
  console.log('| CPU s / 1,000 heartbeats | collector | bare handler | × | a second | | answered p99, ms | |')
  console.log('|---|---:|---:|---:|---:|---:|---:|---:|')
  const ratio = ({ collector, bare }: HeartbeatPair): number => collector.cpuPerThousand / bare.cpuPerThousand
  const row = (name: string, pair: HeartbeatPair): void => {
    const both = [pair.collector, pair.bare]
    const cpu = [...both.map((one) => one.cpuPerThousand.toFixed(4)), ratio(pair).toFixed(2)]
    const rates = both.map(({ result }) => Math.round(result.beats / result.seconds).toLocaleString('en'))
    const answers = both.map(({ result }) => result.latencies.p99.toFixed(1))
    console.log(`| ${[name, ...cpu, ...rates, ...answers].join(' | ')} |`)
  }
  row('cold', cold)
  for (const pair of pairs) row('warm', pair)
  console.log(`\nmedian × ${quantiles(pairs.map(ratio)).p50.toFixed(2)}`)
  console.log(`peak memory, MiB: ${peakMib.collector.toFixed(0)} / ${peakMib.bare.toFixed(0)}`)
}
