/**
 * What does a sample cost that only an aggregation rule needs? One rule without `pod` (avg, max, last; the input dropped) over
 * series that are a group each, in a collector; beside it, what a vmagent takes for merely forwarding the same samples flat out.
 *
 *     load process ──▶ collector ──outputs──▶ sink process ◀──samples── vmagent ◀── load process
 *
 * A turn is a minute by the clock. All that the collector takes in it counts, waiting for the next samples included. In the end number
 * and sum of the outputs must be what the samples imply, to the last one.
 *
 *     flat     ├─ samples ── to vmagent ── end of the window + grace ── outputs ── nothing ─┤
 *     paced    ├─ window ─┼─ window ─┼─ … ─┼─ window ─┼─ to vmagent ────────────────────────┤  each with outputs of the ones before
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { GPUS } from './fleet.ts'
import type { Forwarder } from './forwarders.ts'
import { MANY_SERIES, startCollector, startVmagent } from './forwarders.ts'
import { vmagentPeer } from './peers.ts'
import { cpuSeconds, memoryMib } from './processes.ts'
import { quantiles } from './quantiles.ts'
import type { Forwarded } from './sink.process.ts'
import { row } from './table.ts'
import { checkForwarded, Load, Sink } from './talker.ts'

/** By name. */
const RULES_JOBS: Readonly<Record<string, Omit<RulesJob, 'turns'>>> = {
  flat: { nodes: 200, rounds: 100, windowMs: 30_000, windows: 1, overMs: 0, keepMs: 60_000 },
  // As many samples to an output as of many: windows come one after the other, what is in them flat out before.
  few: { nodes: 50, rounds: 10, windowMs: 2000, windows: 25, overMs: 0, keepMs: 10_000 },
  many: { nodes: 4175, rounds: 10, windowMs: 30_000, windows: 1, overMs: 0, keepMs: 60_000 },
  paced: { nodes: 200, rounds: 2, windowMs: 1000, windows: 50, overMs: 49_000, keepMs: 10_000 },
}

export interface RulesJob {
  readonly nodes: number
  /** Samples of each series in a window. */
  readonly rounds: number
  readonly windowMs: number
  /** In a turn, from its start on. */
  readonly windows: number
  /** Their samples come evenly over this time, ms; 0: flat out. */
  readonly overMs: number
  /** So long windows take late samples: short enough for them to give their memory back within the run. */
  readonly keepMs: number
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
const TURN_MS = 60_000
const RULE = {
  match: '{__name__=~"DCGM_.*"}',
  without: ['pod'],
  outputs: ['avg', 'max', 'last'],
  keep_input: false,
}
/** After so long a vmagent has nothing left to do. */
const DRAINED_MS = 2000
/** How often it is looked whether outputs have come, and how long. */
const LOOK_MS = 1000
const LAST_MS = 60_000
/** Time to make a sample, ms, generously. */
const MAKE_MS = 0.005
const START_MS = 15_000

export async function measureRules(job: RulesJob): Promise<RulesCost> {
  const { windowMs } = job
  const perTurn = job.rounds * job.windows
  const rounds = perTurn * (job.turns + 1)
  const start = Math.ceil((Date.now() + START_MS + rounds * job.nodes * 240 * MAKE_MS) / windowMs) * windowMs
  const stepMs = windowMs / job.rounds
  const load = new Load({
    nodes: job.nodes,
    pods: true,
    versions: [1],
    rounds,
    startMs: start + stepMs,
    stepMs,
    windows: { rounds: job.rounds, everyMs: windowMs, inTurn: job.windows, turnMs: TURN_MS },
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
      FLEETMETER_COLLECTOR_RULES: JSON.stringify([{ ...RULE, interval: `${windowMs / 1000}s` }]),
      FLEETMETER_COLLECTOR_RULES_POINTS_MAX: '40000000',
      FLEETMETER_COLLECTOR_RULES_GROUPS_MAX: '2000000',
      ...MANY_SERIES,
      FLEETMETER_COLLECTOR_RULES_KEEP_MS: String(job.keepMs),
    })
    started.push(fleetmeter)
    const turns: RulesTurn[] = []
    const all = { samples: 0, sum: 0, outputs: 0, outputSum: 0 }
    if (Date.now() > start) throw new Error('samples were not made in time: too slow for this bench')
    for (let turn = 0; turn <= job.turns; turn++) {
      const began = start + turn * TURN_MS
      await until(began)
      const before = [cpuSeconds(fleetmeter.pid), cpuSeconds(vmagent.pid)] as const
      const part = { first: turn * perTurn, end: (turn + 1) * perTurn, version: 1 } as const
      const sent = await load.send({ url: fleetmeter.writeUrl, overMs: job.overMs, ...part })
      if (Date.now() > began + job.windows * windowMs)
        throw new Error('a window is over before its samples are sent: too slow for this bench')
      await load.send({ url: vmagent.writeUrl, overMs: 0, ...part })
      await sleep(DRAINED_MS)
      const theirs = cpuSeconds(vmagent.pid)
      if (Date.now() > began + TURN_MS) throw new Error('a turn is over before its end: too slow for this bench')
      await until(began + TURN_MS)
      const ours = cpuSeconds(fleetmeter.pid)
      const perMillion = (cpu: number): number => (cpu / sent.samples) * MILLION
      turns.push({
        fleetmeter: perMillion(ours - before[0]),
        vmagent: perMillion(theirs - before[1]),
        outputs: sent.outputs,
      })
      all.samples += sent.samples
      all.sum += sent.sum
      all.outputs += sent.outputs
      all.outputSum += sent.outputSum
    }
    const { batches, writes } = await outputsCome(sink, all.outputs)
    checkForwarded(writes, all.samples, all.sum)
    checkForwarded(batches, all.outputs, all.outputSum)
    return { cold: turns[0]!, warm: turns.slice(1), peakMib: memoryMib(fleetmeter.pid).peak }
  } finally {
    for (const { stop } of started) await stop()
    load.end()
    sink.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

function until(time: number): Promise<void> {
  return sleep(Math.max(0, time - Date.now()))
}

/** Waits until the sink has so many. */
async function outputsCome(sink: Sink, outputs: number): Promise<{ batches: Forwarded; writes: Forwarded }> {
  const latest = Date.now() + LAST_MS
  const batches = { samples: 0, sum: 0, bytes: 0 }
  const writes = { ...batches }
  do {
    await sleep(LOOK_MS)
    const received = await sink.received()
    add(batches, received.batches)
    add(writes, received.writes)
  } while (batches.samples < outputs && Date.now() < latest)
  return { batches, writes }
}

function add(to: { samples: number; sum: number; bytes: number }, { samples, sum, bytes }: Forwarded): void {
  to.samples += samples
  to.sum += sum
  to.bytes += bytes
}

/** Prints the table of a kind of job. */
export async function rules(kind: string, turns: number): Promise<void> {
  const job = RULES_JOBS[kind]
  if (job === undefined) throw new Error(`there is no job "${kind}" of rules: ${Object.keys(RULES_JOBS).join(', ')}`)
  const window = `${job.windowMs / 1000} s, ${job.windows} a minute`
  console.log(
    `\nrules, ${kind}: ${job.nodes * GPUS * 30} series, ${job.rounds} samples of each in a window of ${window}`,
  )
  console.log(`beside ${vmagentPeer().version}, merely forwarding, flat out\n`)
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
