/**
 * What does it cost to take a sample and forward it? A collector and a vmagent, side by side and in turn, the same samples flat
 * out, the same sink:
 *
 *     load process ──remote write──▶ collector | vmagent ──▶ sink process
 *
 * The first turn is cold and stands by itself. CPU is read when the queues have drained, and what the sink holds must be what was sent: as many samples, of the same sum.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Running } from '../test/support/programs.ts'
import { eventually, freePort, ready, start, terminate } from '../test/support/programs.ts'
import type { LoadJob, LoadResult } from './load.process.ts'
import { cpuSeconds, memoryMib, quiet, stopChild } from './processes.ts'
import type { Received } from './sink.process.ts'
import { Talker } from './talker.ts'

/** CPU seconds a million samples. */
export interface ForwardCost {
  readonly cpuPerMillion: number
  readonly seconds: number
  /** Forwarded, a sample. */
  readonly wireBytes: number
}

export interface ForwardPair {
  readonly fleetmeter: ForwardCost
  readonly vmagent: ForwardCost
}

export interface Forward {
  /** The first samples after the start: series that are new, code that is not compiled yet. */
  readonly cold: ForwardPair
  readonly pairs: readonly ForwardPair[]
  /** Resident memory at its highest, MiB. */
  readonly peakMib: { readonly fleetmeter: number; readonly vmagent: number }
}

const MILLION = 1e6
/** From one sample of a series to the next. */
const STEP_MS = 1000

/** @param rounds samples of each series that each of them takes cold, and in each pair */
export async function measureForward(
  nodes: number,
  rounds: { readonly cold: number; readonly pair: number },
  pairs: number,
): Promise<Forward> {
  const job: LoadJob = {
    nodes,
    rounds: rounds.cold + pairs * rounds.pair,
    stepMs: STEP_MS,
    connections: 4,
    roundsPerSecond: 0,
  }
  const load = new Talker('./load.process.ts', [JSON.stringify(job)])
  const sink = new Talker('./sink.process.ts', [])
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const programs: Program[] = []
  try {
    const sinkUrl = await sink.line()
    await load.line()
    const vmagent = await startVmagent(directory, sinkUrl)
    programs.push(vmagent)
    const fleetmeter = await startCollector(directory, sinkUrl)
    programs.push(fleetmeter)
    const measurePair = async (first: number, end: number): Promise<ForwardPair> => ({
      vmagent: await measure(vmagent, load, sink, first, end),
      fleetmeter: await measure(fleetmeter, load, sink, first, end),
    })
    const cold = await measurePair(0, rounds.cold)
    const found: ForwardPair[] = []
    for (let at = rounds.cold; at < job.rounds; at += rounds.pair) found.push(await measurePair(at, at + rounds.pair))
    const peakMib = { fleetmeter: memoryMib(fleetmeter.pid).peak, vmagent: memoryMib(vmagent.pid).peak }
    return { cold, pairs: found, peakMib }
  } finally {
    for (const { stop } of programs) await stop()
    load.end()
    sink.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

interface Program {
  readonly pid: number
  readonly writeUrl: string
  readonly stop: () => Promise<void>
}

async function measure(program: Program, load: Talker, sink: Talker, first: number, end: number): Promise<ForwardCost> {
  const before = cpuSeconds(program.pid)
  const sent = JSON.parse(await load.ask(`${program.writeUrl} ${first} ${end}`)) as LoadResult
  await quiet([program.pid])
  const cpu = cpuSeconds(program.pid) - before
  const got = checkReceived(await sink.ask('count'), sent)
  return {
    cpuPerMillion: (cpu / sent.samples) * MILLION,
    seconds: sent.seconds,
    wireBytes: got.bytes / got.samples,
  }
}

/** The sink must hold what was sent. */
export function checkReceived(line: string, sent: { readonly samples: number; readonly sum: number }): Received {
  const got = JSON.parse(line) as Received
  if (got.samples !== sent.samples || Math.abs(got.sum - sent.sum) > 1e-9 * Math.abs(sent.sum))
    throw new Error(`the sink has ${got.samples} samples, sum ${got.sum}; sent were ${sent.samples}, ${sent.sum}`)
  return got
}

/** A collector that forwards to a sink, and of which everything there comes from the bench. */
export async function startForwarding(directory: string, sinkUrl: string): Promise<Running> {
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_AGGREGATOR_URL: sinkUrl,
    // What rules make is not what was sent.
    FLEETMETER_COLLECTOR_RULES: '[]',
  })
  await ready(collector.url)
  return collector
}

async function startCollector(directory: string, sinkUrl: string): Promise<Program> {
  const collector = await startForwarding(directory, sinkUrl)
  return {
    pid: collector.process.pid!,
    writeUrl: `${collector.url}/api/v1/write`,
    stop: async () => void (await terminate(collector)),
  }
}

async function startVmagent(directory: string, sinkUrl: string): Promise<Program> {
  const port = await freePort()
  const child = spawn(
    'vmagent',
    [
      `-httpListenAddr=127.0.0.1:${port}`,
      `-remoteWrite.url=${sinkUrl}/api/v1/write`,
      `-remoteWrite.tmpDataPath=${join(directory, 'vmagent')}`,
    ],
    { stdio: 'ignore' },
  )
  const url = `http://127.0.0.1:${port}`
  await eventually('vmagent is ready', async () => (await fetch(`${url}/health`)).status === 200)
  return { pid: child.pid!, writeUrl: `${url}/api/v1/write`, stop: () => stopChild(child) }
}
