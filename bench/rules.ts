/**
 * What does a sample cost that only an aggregation rule needs? One rule without `pod` (avg, max, last; 30 s; the input dropped) over
 * series that are a group each, in a collector; beside it, what a vmagent takes for merely forwarding the same samples flat out.
 *
 *     load process ──▶ collector ──outputs──▶ sink process ◀──samples── vmagent ◀── load process
 *
 * A turn is a window, by the clock: its samples come while it lasts, its outputs behind its end, and CPU is read when they have
 * come, what the collector takes for waiting included. Number and sum of the outputs must be what the samples imply, to the last one.
 *
 *     window k   ├─ samples to the collector ── to vmagent ── end + grace ── outputs ─┤ CPU is read
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { GPUS } from './fleet.ts'
import type { Forwarder } from './forwarders.ts'
import { startCollector, startVmagent, vmagentVersion } from './forwarders.ts'
import type { LoadResult } from './load.process.ts'
import { cpuSeconds, memoryMib } from './processes.ts'
import { quantiles } from './quantiles.ts'
import type { Forwarded } from './sink.process.ts'
import { row } from './table.ts'
import { checkForwarded, Load, Sink } from './talker.ts'

/** By name. */
export const RULES_JOBS: Readonly<Record<string, Omit<RulesJob, 'turns'>>> = {
  flat: { nodes: 200, rounds: 40, overMs: 0 },
  paced: { nodes: 400, rounds: 2, overMs: 8000 },
}

export interface RulesJob {
  readonly nodes: number
  /** Samples of each series in a window. */
  readonly rounds: number
  /** They come evenly over this time, ms; 0: flat out. */
  readonly overMs: number
  readonly turns: number
}

/** CPU seconds a million samples. */
export interface RulesTurn {
  readonly fleetmeter: number
  /** Of its forwarding. */
  readonly vmagent: number
  readonly outputs: number
}

export interface RulesCost {
  readonly cold: RulesTurn
  readonly warm: readonly RulesTurn[]
  readonly peakMib: number
}

const MILLION = 1e6
const WINDOW_MS = 30_000
/** Every other window is used: in the next one the peer gets its samples, and outputs may take their time. */
const EVERY_MS = 2 * WINDOW_MS
const RULE = {
  match: '{__name__=~"DCGM_.*"}',
  interval: '30s',
  without: ['pod'],
  outputs: ['avg', 'max', 'last'],
  keep_input: false,
}
/** After so long a vmagent has nothing left to do. */
const DRAINED_MS = 2000
/** How often it is looked whether outputs have come. */
const LOOK_MS = 1000
/** Time to make a sample, ms, generously. */
const MAKE_MS = 0.006
const START_MS = 15_000

export async function measureRules(job: RulesJob): Promise<RulesCost> {
  const rounds = job.rounds * (job.turns + 1)
  const firstEnd = windowAfter(Date.now() + START_MS + rounds * job.nodes * 240 * MAKE_MS) + WINDOW_MS
  const stepMs = WINDOW_MS / job.rounds
  const load = new Load({
    nodes: job.nodes,
    pods: true,
    versions: [1],
    rounds,
    startMs: firstEnd - WINDOW_MS + stepMs,
    stepMs,
    windows: { rounds: job.rounds, everyMs: EVERY_MS },
    connections: 4,
  })
  const sink = new Sink()
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const started: Forwarder[] = []
  try {
    const sinkUrl = await sink.url()
    await load.ready()
    const vmagent = await startVmagent(directory, sinkUrl)
    started.push(vmagent)
    const fleetmeter = await startCollector(join(directory, 'collector'), sinkUrl, {
      FLEETMETER_COLLECTOR_RULES: JSON.stringify([RULE]),
      FLEETMETER_COLLECTOR_RULES_POINTS_MAX: '20000000',
      FLEETMETER_COLLECTOR_RULES_GROUPS_MAX: '1000000',
    })
    started.push(fleetmeter)
    const turns: RulesTurn[] = []
    for (let turn = 0; turn <= job.turns; turn++) {
      const end = firstEnd + turn * EVERY_MS
      await sleep(Math.max(0, end - WINDOW_MS + DRAINED_MS - Date.now()))
      const before = [cpuSeconds(fleetmeter.pid), cpuSeconds(vmagent.pid)] as const
      const part = { first: turn * job.rounds, end: (turn + 1) * job.rounds, version: 1 } as const
      const sent = await load.send({ url: fleetmeter.writeUrl, overMs: job.overMs, ...part })
      if (Date.now() > end) throw new Error('the window is over before its samples are sent: too slow for this bench')
      await load.send({ url: vmagent.writeUrl, overMs: 0, ...part })
      await sleep(DRAINED_MS)
      const theirs = cpuSeconds(vmagent.pid)
      await outputsCome(sink, sent, end + EVERY_MS - WINDOW_MS)
      await sleep(DRAINED_MS)
      const ours = cpuSeconds(fleetmeter.pid)
      const perMillion = (cpu: number): number => (cpu / sent.samples) * MILLION
      turns.push({
        fleetmeter: perMillion(ours - before[0]),
        vmagent: perMillion(theirs - before[1]),
        outputs: sent.outputs,
      })
    }
    return { cold: turns[0]!, warm: turns.slice(1), peakMib: memoryMib(fleetmeter.pid).peak }
  } finally {
    for (const { stop } of started) await stop()
    load.end()
    sink.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Until the sink has all samples and outputs, and no others. @param latest ms */
async function outputsCome(sink: Sink, sent: LoadResult, latest: number): Promise<void> {
  const outputs = { samples: 0, sum: 0, bytes: 0 }
  const samples = { ...outputs }
  do {
    await sleep(LOOK_MS)
    const { batches, writes } = await sink.received()
    add(outputs, batches)
    add(samples, writes)
  } while (outputs.samples < sent.outputs && Date.now() < latest)
  checkForwarded(samples, sent.samples, sent.sum)
  checkForwarded(outputs, sent.outputs, sent.outputSum)
}

function add(to: { samples: number; sum: number; bytes: number }, { samples, sum, bytes }: Forwarded): void {
  to.samples += samples
  to.sum += sum
  to.bytes += bytes
}

function windowAfter(time: number): number {
  return Math.ceil(time / WINDOW_MS) * WINDOW_MS
}

/** Prints the table of a kind of job. */
export async function rules(kind: string, turns: number): Promise<void> {
  const job = RULES_JOBS[kind]
  if (job === undefined) throw new Error(`there is no job "${kind}" of rules: ${Object.keys(RULES_JOBS).join(', ')}`)
  console.log(`\nrules, ${kind}: ${job.nodes * GPUS * 30} series, ${job.rounds} samples of each in a window of 30 s`)
  console.log(`beside ${vmagentVersion()}, merely forwarding, flat out\n`)
  const { cold, warm, peakMib } = await measureRules({ ...job, turns })
  console.log(
    '| CPU s / million samples | fleetmeter, rule | vmagent, forwarding | × | outputs |\n|---|---:|---:|---:|---:|',
  )
  const over = (turn: RulesTurn): number => turn.fleetmeter / turn.vmagent
  const tell = (name: string, turn: RulesTurn): void =>
    row(name, [turn.fleetmeter, turn.vmagent, over(turn), turn.outputs])
  tell('cold', cold)
  for (const turn of warm) tell('warm', turn)
  console.log(`\nmedian × ${quantiles(warm.map(over)).p50.toFixed(2)}; peak memory ${peakMib.toFixed(0)} MiB`)
}
