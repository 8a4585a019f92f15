/**
 * What does it cost to take a sample and forward it? A vmagent and two collectors, side by side and in turn, the same samples flat
 * out, the same sink; one of the collectors gets them as remote write 2.0:
 *
 *     load process ──remote write──▶ vmagent | collector | collector (2.0) ──▶ sink process
 *
 * The first turn is cold and stands by itself. CPU is read when the queues have drained, and what the sink holds must be what was sent: as many samples, of the same sum.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { allocations } from './allocation.ts'
import type { Forwarder } from './forwarders.ts'
import { startCollector, startVmagent } from './forwarders.ts'
import { vmagentPeer } from './peers.ts'
import type { WriteVersion } from './post.ts'
import { cpuSeconds, memoryMib, quiet } from './processes.ts'
import { quantiles } from './quantiles.ts'
import { row } from './table.ts'
import { checkForwarded, Load, Sink } from './talker.ts'

const NODES = 200
/** Between the cold turn and the others V8 compiles what is used often: 14 million samples, of which a collector of weeks knows nothing. */
const ROUNDS = { cold: 100, between: [100, 100, 100], turn: 80 }

/** CPU seconds a million samples. */
export interface ForwardCost {
  readonly samples: number
  readonly cpuPerMillion: number
  readonly seconds: number
  /** Forwarded, a sample. */
  readonly wireBytes: number
}

const FORWARDERS = ['vmagent', 'fleetmeter', 'fleetmeter2'] as const
/** `fleetmeter2` gets remote write 2.0. */
type Of<T> = Readonly<Record<(typeof FORWARDERS)[number], T>>
export type ForwardTurn = Of<ForwardCost>

export interface Forward {
  /** The first samples after the start: series that are new, code that is not compiled yet. */
  readonly cold: ForwardTurn
  readonly warm: readonly ForwardTurn[]
  /** Resident memory at its highest, MiB. */
  readonly peakMib: Of<number>
  /** That V8 allocates for a sample in a warm turn, by thread, the most first: of another collector, which tells of its collections. */
  readonly allocatedBytes: readonly number[]
}

const MILLION = 1e6
/** Of the collector that tells of its collections: the last one counts. */
const TRACED_TURNS = 3
const STEP_MS = 1000

/** @param rounds samples of each series that each of them takes cold, then without being measured, and in each turn */
export async function measureForward(
  nodes: number,
  rounds: { readonly cold: number; readonly between: readonly number[]; readonly turn: number },
  turns: number,
): Promise<Forward> {
  const before = rounds.between.reduce((sum, n) => sum + n, rounds.cold)
  const all = before + (turns + TRACED_TURNS) * rounds.turn
  const load = new Load({
    nodes,
    pods: false,
    versions: [1, 2],
    rounds: all,
    startMs: Date.now() - all * STEP_MS,
    stepMs: STEP_MS,
    windows: undefined,
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
    const fleetmeter = await startCollector(join(directory, '1'), sinkUrl)
    started.push(fleetmeter)
    const fleetmeter2 = await startCollector(join(directory, '2'), sinkUrl)
    started.push(fleetmeter2)
    const turn = async (first: number, end: number): Promise<ForwardTurn> => ({
      vmagent: await measureTurn(vmagent, load, sink, { first, end, version: 1 }),
      fleetmeter: await measureTurn(fleetmeter, load, sink, { first, end, version: 1 }),
      fleetmeter2: await measureTurn(fleetmeter2, load, sink, { first, end, version: 2 }),
    })
    let at = 0
    const next = (count: number): Promise<ForwardTurn> => {
      at += count
      return turn(at - count, at)
    }
    const cold = await next(rounds.cold)
    for (const count of rounds.between) await next(count)
    const warm: ForwardTurn[] = []
    for (let n = 0; n < turns; n++) warm.push(await next(rounds.turn))
    const allocated = await measureAllocated(join(directory, 'traced'), sinkUrl, load, sink, at, rounds.turn)
    const peak = ({ pid }: Forwarder): number => memoryMib(pid).peak
    const peakMib = { vmagent: peak(vmagent), fleetmeter: peak(fleetmeter), fleetmeter2: peak(fleetmeter2) }
    return { cold, warm, peakMib, allocatedBytes: allocated }
  } finally {
    for (const { stop } of started) await stop()
    load.end()
    sink.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** @param first of the rounds that are left for it @param count of a turn @returns bytes a sample, by thread */
async function measureAllocated(
  directory: string,
  sinkUrl: string,
  load: Load,
  sink: Sink,
  first: number,
  count: number,
): Promise<number[]> {
  const collector = await startCollector(directory, sinkUrl, {}, ['--trace-gc'])
  try {
    let from = 0
    let samples = 0
    for (let turn = 0; turn < TRACED_TURNS; turn++) {
      from = collector.output().length
      const part = { first: first + turn * count, end: first + (turn + 1) * count, version: 1 } as const
      samples = (await measureTurn(collector, load, sink, part)).samples
    }
    return allocations(collector.output(), from).map((bytes) => bytes / samples)
  } finally {
    await collector.stop()
  }
}

/** Sends rounds to one of them flat out, and waits until nothing is left to do. */
export async function measureTurn(
  { pid, writeUrl }: Forwarder,
  load: Load,
  sink: Sink,
  part: { readonly first: number; readonly end: number; readonly version: WriteVersion },
): Promise<ForwardCost> {
  await load.make(part)
  const before = cpuSeconds(pid)
  const sent = await load.send({ url: writeUrl, overMs: 0, ...part })
  await quiet([pid])
  const cpu = cpuSeconds(pid) - before
  const { batches, writes } = await sink.received()
  const got = batches.samples > 0 ? batches : writes
  checkForwarded(got, sent.samples, sent.sum)
  return {
    samples: sent.samples,
    cpuPerMillion: (cpu / sent.samples) * MILLION,
    seconds: sent.seconds,
    wireBytes: got.bytes / got.samples,
  }
}

/** Prints the table. */
export async function forward(turns: number): Promise<void> {
  console.log(`beside ${vmagentPeer().version}\n`)
  const { cold, warm, peakMib, allocatedBytes } = await measureForward(NODES, ROUNDS, turns)
  console.log(
    '| CPU s / million samples | vmagent | fleetmeter | × | fleetmeter, 2.0 | × 1.0 | bytes / sample forwarded | |',
  )
  console.log('|---|---:|---:|---:|---:|---:|---:|---:|')
  const over = (a: ForwardCost, b: ForwardCost): number => a.cpuPerMillion / b.cpuPerMillion
  const tell = (name: string, { vmagent, fleetmeter, fleetmeter2 }: ForwardTurn): void =>
    row(name, [
      ...[vmagent.cpuPerMillion, fleetmeter.cpuPerMillion, over(fleetmeter, vmagent)],
      ...[fleetmeter2.cpuPerMillion, over(fleetmeter2, fleetmeter), fleetmeter.wireBytes, vmagent.wireBytes],
    ])
  tell('cold', cold)
  for (const turn of warm) tell('warm', turn)
  const median = (of: (turn: ForwardTurn) => number): string => quantiles(warm.map(of)).p50.toFixed(2)
  console.log(`\nmedian × ${median((turn) => over(turn.fleetmeter, turn.vmagent))}`)
  console.log(`median of 2.0 × 1.0 ${median((turn) => over(turn.fleetmeter2, turn.fleetmeter))}`)
  const peaks = [peakMib.vmagent, peakMib.fleetmeter, peakMib.fleetmeter2].map((n) => n.toFixed(0))
  console.log(`peak memory, MiB: ${peaks.join(' / ')}`)
  console.log(`bytes allocated a sample, by thread: ${allocatedBytes.map((bytes) => bytes.toFixed(2)).join(' / ')}`)
}
