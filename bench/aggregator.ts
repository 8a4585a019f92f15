/**
 * What does it cost to take samples in the centre, keep the recent ones at hand and store all of them? An aggregator with its
 * embedded engine, and a Prometheus 3 as a receiver of remote write with its TSDB, in turn, the same samples:
 *
 *     load process ──remote write──▶ collector (not counted) ──▶ aggregator ──▶ embedded engine
 *                  └─remote write──▶ Prometheus
 *
 * The first turn is cold and stands by itself. Samples are 15 s apart by their own times and are played faster. CPU is read
 * when nothing is left to do, merges included. Both must hold what was sent, in number and sum.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEngine } from '../test/support/engine.ts'
import type { Running } from '../test/support/programs.ts'
import { enginePid, eventually, freePort, ready, scrape, start, terminate, total } from '../test/support/programs.ts'
import type { LoadJob, LoadResult } from './load.process.ts'
import { prometheus3Peer } from './peers.ts'
import { cpuSeconds, memoryMib, quiet, stopChild } from './processes.ts'
import { quantiles } from './quantiles.ts'
import { row } from './table.ts'
import { Load } from './talker.ts'

const NODES = 200
const ROUNDS = { cold: 20, pair: 16 }
const ROUNDS_PER_SECOND = 2

/** CPU seconds a million samples. */
export interface AggregatorPair {
  readonly prometheus: number
  readonly aggregator: number
  readonly engine: number
  /** Event loop delay p99 under this load, ms. */
  readonly loopDelayP99Ms: { readonly collector: number; readonly aggregator: number }
}

export interface AggregatorBench {
  readonly pairs: readonly AggregatorPair[]
  /** Resident memory at its highest, MiB. */
  readonly peakMib: { readonly prometheus: number; readonly aggregator: number; readonly engine: number }
  /** Bytes a sample on disk, as the engine's own merges left it, and in one part a day. */
  readonly disk: {
    readonly written: number
    readonly merged: number
    readonly columns: Readonly<Record<string, number>>
  }
}

export interface AggregatorLoad {
  readonly nodes: number
  /** Samples of each series that each side takes cold, and in each pair. */
  readonly rounds: { readonly cold: number; readonly pair: number }
  readonly pairs: number
  /** 0: flat out. */
  readonly roundsPerSecond: number
}

const MILLION = 1e6
const STEP_MS = 15_000

/** @param prometheus the command; @param report is given each pair as it comes */
export async function measureAggregator(
  prometheus: string,
  options: AggregatorLoad,
  report: (name: 'cold' | 'warm', pair: AggregatorPair) => void,
): Promise<AggregatorBench> {
  const { nodes, rounds, pairs, roundsPerSecond } = options
  const all = rounds.cold + pairs * rounds.pair
  const job: LoadJob = {
    nodes,
    pods: false,
    versions: [1],
    rounds: all,
    startMs: Date.now() - all * STEP_MS,
    stepMs: STEP_MS,
    windows: undefined,
    connections: 4,
  }
  const load = new Load(job)
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const stops: (() => Promise<void>)[] = []
  try {
    await load.ready()
    const peer = await startPrometheus(prometheus, directory)
    stops.push(peer.stop)
    const ours = await startOurs(directory, job)
    stops.push(ours.stop)
    const sums = { samples: 0, value: 0 }
    const measurePair = async (first: number, end: number): Promise<AggregatorPair> => {
      const overMs = roundsPerSecond === 0 ? 0 : ((end - first) / roundsPerSecond) * 1000
      const ask = (url: string): Promise<LoadResult> => load.send({ url, version: 1, first, end, overMs })
      await load.make({ first, end })
      const theirs = await peer.measure(ask)
      const { sent, ...pair } = await ours.measure(ask)
      sums.samples += sent.samples
      sums.value += sent.sum
      return { prometheus: theirs, ...pair }
    }
    report('cold', await measurePair(0, rounds.cold))
    const found: AggregatorPair[] = []
    for (let at = rounds.cold; at < job.rounds; at += rounds.pair) {
      const pair = await measurePair(at, at + rounds.pair)
      found.push(pair)
      report('warm', pair)
    }
    const peakMib = { prometheus: peer.peakMib(), ...ours.peakMib() }
    same('Prometheus', await peer.holds((job.rounds * STEP_MS) / 1000), sums)
    await ours.stop()
    const { holds, ...disk } = await inspect(join(directory, 'aggregator', 'engine'))
    same('ClickHouse', holds, sums)
    return { pairs: found, peakMib, disk }
  } finally {
    for (const stop of stops) await stop()
    load.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

interface Held {
  readonly samples: number
  /** Of all values. */
  readonly value: number
}

function same(who: string, held: Held, sent: Held): void {
  if (held.samples !== sent.samples || Math.abs(held.value - sent.value) > 1e-9 * Math.abs(sent.value))
    throw new Error(`${who} has ${held.samples} samples, sum ${held.value}; sent were ${sent.samples}, ${sent.value}`)
}

interface Ours {
  readonly measure: (
    ask: (url: string) => Promise<LoadResult>,
  ) => Promise<Omit<AggregatorPair, 'prometheus'> & { readonly sent: LoadResult }>
  readonly peakMib: () => { readonly aggregator: number; readonly engine: number }
  readonly stop: () => Promise<void>
}

async function startOurs(directory: string, job: LoadJob): Promise<Ours> {
  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
    // Played faster, samples are older than they would be: memory holds them all the same.
    FLEETMETER_AGGREGATOR_HOT_MINUTES: String(Math.ceil((job.rounds * job.stepMs) / 60_000) + 15),
  })
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_AGGREGATOR_URL: aggregator.url,
    // What rules make is not what was sent.
    FLEETMETER_COLLECTOR_RULES: '[]',
  })
  await ready(aggregator.url)
  await ready(collector.url)
  const pids = { aggregator: aggregator.process.pid!, engine: enginePid(aggregator)! }
  const cpu = () => ({ aggregator: cpuSeconds(pids.aggregator), engine: cpuSeconds(pids.engine) })
  let stopped: Promise<unknown> | undefined
  return {
    measure: async (ask) => {
      await loopDelays(collector, aggregator) // counted from one reading to the next
      const before = cpu()
      const sent = await ask(`${collector.url}/api/v1/write`)
      const loopDelayP99Ms = await loopDelays(collector, aggregator)
      await eventually(
        'everything is stored',
        async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
        60_000,
      )
      await quiet(Object.values(pids))
      const after = cpu()
      const each = MILLION / sent.samples
      return {
        sent,
        aggregator: (after.aggregator - before.aggregator) * each,
        engine: (after.engine - before.engine) * each,
        loopDelayP99Ms,
      }
    },
    peakMib: () => ({ aggregator: memoryMib(pids.aggregator).peak, engine: memoryMib(pids.engine).peak }),
    stop: async () => {
      stopped ??= terminate(collector).then(() => terminate(aggregator))
      await stopped
    },
  }
}

async function loopDelays(collector: Running, aggregator: Running): Promise<AggregatorPair['loopDelayP99Ms']> {
  const p99 = async ({ url }: Running): Promise<number> =>
    total(await scrape(url), 'nodejs_eventloop_lag_p99_seconds') * 1000
  return { collector: await p99(collector), aggregator: await p99(aggregator) }
}

/** What is in the engine's directory when nobody uses it any more. */
async function inspect(directory: string): Promise<AggregatorBench['disk'] & { readonly holds: Held }> {
  const engine = await startEngine(directory)
  try {
    const [held] = await engine.db.rows<{ n: string; s: number }>(
      'SELECT toString(count()) AS n, sum(value) AS s FROM fleetmeter.points',
    )
    const samples = Number(held!.n)
    const parts = "database = 'fleetmeter' AND table = 'samples' AND active"
    const bytes = async (): Promise<number> => {
      const [row] = await engine.db.rows<{ b: string }>(
        `SELECT toString(sum(bytes_on_disk)) AS b FROM system.parts WHERE ${parts}`,
      )
      return Number(row!.b) / samples
    }
    const written = await bytes()
    await engine.db.command('OPTIMIZE TABLE fleetmeter.samples FINAL')
    const columns = await engine.db.rows<{ column: string; b: string }>(
      `SELECT column, toString(sum(column_data_compressed_bytes)) AS b FROM system.parts_columns WHERE ${parts} GROUP BY column`,
    )
    return {
      holds: { samples, value: Number(held!.s) },
      written,
      merged: await bytes(),
      columns: Object.fromEntries(columns.map(({ column, b }) => [column, Number(b) / samples])),
    }
  } finally {
    await engine.stop()
  }
}

interface QueryData {
  readonly result: readonly { readonly value: readonly [time: number, value: string] }[]
}

interface Peer {
  readonly measure: (ask: (url: string) => Promise<LoadResult>) => Promise<number>
  /** Samples of the last so many seconds. */
  readonly holds: (seconds: number) => Promise<Held>
  readonly peakMib: () => number
  readonly stop: () => Promise<void>
}

async function startPrometheus(command: string, directory: string): Promise<Peer> {
  const config = join(directory, 'prometheus.yml')
  writeFileSync(config, '')
  const url = `http://127.0.0.1:${await freePort()}`
  const flags = [
    `--config.file=${config}`,
    `--web.listen-address=${new URL(url).host}`,
    `--storage.tsdb.path=${join(directory, 'prometheus')}`,
    '--web.enable-remote-write-receiver',
    '--query.max-samples=1000000000',
  ]
  const child = spawn(command, flags, { stdio: 'ignore' })
  await eventually('Prometheus is ready', async () => (await fetch(`${url}/-/ready`)).status === 200)
  const pid = child.pid!
  const get = async <T>(path: string): Promise<T> => {
    const answer = (await (await fetch(`${url}/api/v1/${path}`)).json()) as { data?: T; error?: string }
    if (answer.data === undefined) throw new Error(`Prometheus answers ${path}: ${answer.error}`)
    return answer.data
  }
  return {
    measure: async (ask) => {
      const before = cpuSeconds(pid)
      const sent = await ask(`${url}/api/v1/write`)
      await quiet([pid])
      return ((cpuSeconds(pid) - before) / sent.samples) * MILLION
    },
    holds: async (seconds) => {
      const names = await get<string[]>('label/__name__/values')
      // Functions over time drop the name: what is left of two metrics would be one.
      const value = async (over: string): Promise<number> => {
        let sum = 0
        for (const name of names) {
          const query = `sum(${over}_over_time({__name__="${name}"}[${Math.ceil(seconds) + 3600}s]))`
          const { result } = await get<QueryData>(`query?query=${encodeURIComponent(query)}`)
          sum += Number(result[0]!.value[1])
        }
        return sum
      }
      return { samples: await value('count'), value: await value('sum') }
    },
    peakMib: () => memoryMib(pid).peak,
    stop: () => stopChild(child),
  }
}

/** Prints the table. */
export async function aggregator(turns: number): Promise<void> {
  const { command, version } = await prometheus3Peer()
  console.log(`beside ${version}\n`)
  const ratio = (pair: AggregatorPair): number => (pair.aggregator + pair.engine) / pair.prometheus
  console.log(
    '| CPU s / million samples | aggregator | engine | Prometheus | × | loop delay p99, ms: collector | aggregator |',
  )
  console.log('|---|---:|---:|---:|---:|---:|---:|')
  const tell = (name: string, pair: AggregatorPair): void => {
    const { loopDelayP99Ms: delay } = pair
    row(name, [pair.aggregator, pair.engine, pair.prometheus, ratio(pair), delay.collector, delay.aggregator])
  }
  const { pairs, peakMib, disk } = await measureAggregator(
    command,
    {
      nodes: NODES,
      rounds: ROUNDS,
      pairs: turns,
      roundsPerSecond: ROUNDS_PER_SECOND,
    },
    tell,
  )
  console.log(`\nmedian × ${quantiles(pairs.map(ratio)).p50.toFixed(2)}`)
  console.log(`peak memory, MiB: ${JSON.stringify(peakMib, (_, n) => (typeof n === 'number' ? Math.round(n) : n))}`)
  console.log(
    `bytes / sample on disk: ${disk.written.toFixed(2)} as the engine left it, ${disk.merged.toFixed(2)} merged`,
  )
  for (const [column, bytes] of Object.entries(disk.columns)) console.log(`  ${column}: ${bytes.toFixed(2)}`)
}
