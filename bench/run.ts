/**
 * `npm run bench`: builds, measures, prints a table; compares with bench/baseline.json.
 *
 *     npm run bench                       100,000 samples a second for 60 s, then flat out for 30 s
 *     npm run bench -- --seconds 10       shorter
 *     npm run bench -- --write-baseline   keeps the figures for the next comparison
 *     npm run bench -- forward            taking and forwarding a sample, beside vmagent, five pairs
 *     npm run bench -- heartbeats         10,000 JSON heartbeats a second, beside a bare handler, five pairs
 *     npm run bench -- query              a router's query while 100,000 samples a second arrive, beside an empty handler
 *     npm run bench -- aggregator         storing a sample, beside Prometheus 3, five pairs
 *     npm run bench -- neighbour          what an attack costs another sender's answers, five turns
 *     npm run bench -- overload           what is taken, and how soon, of three times what can be taken
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { AggregatorPair } from './aggregator.ts'
import { measureAggregator } from './aggregator.ts'
import type { Measurement } from './end-to-end.ts'
import { measureEndToEnd } from './end-to-end.ts'
import { GPUS } from './fleet.ts'
import type { ForwardPair } from './forward.ts'
import { measureForward } from './forward.ts'
import type { HeartbeatPair } from './heartbeats.ts'
import { measureHeartbeats } from './heartbeats.ts'
import { measureNeighbour } from './neighbour.ts'
import { measureOverload } from './overload.ts'
import { machine } from './processes.ts'
import { quantiles } from './quantiles.ts'
import type { QueryTurn } from './query.ts'
import { measureQuery } from './query.ts'

const BASELINE = fileURLToPath(new URL('./baseline.json', import.meta.url))
const NODES = 200
const SENDERS = 8
const RATE = 100_000
const NEIGHBOUR_ROUNDS = 5
const FORWARD_ROUNDS = { cold: 100, pair: 40 }
const FORWARD_PAIRS = 5
const QUERY = { series: 512, perSecond: 20 }
const QUERY_TURNS = 3
/** As many daemons as beat every three seconds. */
const HEARTBEATS = { daemons: 30_000, connections: 200, rounds: 2, perSecond: 10_000 }
const HEARTBEAT_PAIRS = 5

const AGGREGATOR_ROUNDS = { cold: 20, pair: 16 }
const AGGREGATOR_ROUNDS_PER_SECOND = 2

type Figures = Record<string, number>

function figuresOf(m: Measurement): Figures {
  return {
    'samples acknowledged': m.fleet.samples,
    'samples a second': m.fleet.samples / m.fleet.seconds,
    'bodies sent again': m.fleet.retries,
    'CPU s / million samples: empty node:http handler': m.floorCpuPerMillion,
    'CPU s / million samples: collector': m.cpuPerMillion.collector,
    'CPU s / million samples: aggregator': m.cpuPerMillion.aggregator,
    'CPU s / million samples: embedded engine': m.cpuPerMillion.engine,
    'CPU s / 48,000 new series: collector': m.newSeriesCpu.collector,
    'CPU s / 48,000 new series: aggregator': m.newSeriesCpu.aggregator,
    'CPU s / 48,000 new series: embedded engine': m.newSeriesCpu.engine,
    'bytes / sample: request body': m.bodyBytesPerSample,
    'bytes / sample: collector to aggregator': m.wireBytesPerSample,
    'bytes / sample: ClickHouse, as written': m.diskBytesPerSample.written,
    'bytes / sample: ClickHouse, merged': m.diskBytesPerSample.merged,
    'peak memory, MiB: collector': m.memoryMib.collector,
    'peak memory, MiB: aggregator': m.memoryMib.aggregator,
    'peak memory, MiB: embedded engine': m.memoryMib.engine,
    'event loop delay p99, ms: collector': m.loopDelayP99Ms.collector,
    'event loop delay p99, ms: aggregator': m.loopDelayP99Ms.aggregator,
    'answer to a write p50, ms': m.fleet.latencies.p50,
    'answer to a write p99, ms': m.fleet.latencies.p99,
    'acknowledged to visible p50, ms': m.freshness.p50,
    'acknowledged to visible p99, ms': m.freshness.p99,
    'acknowledged to visible max, ms': m.freshness.max,
    'sending behind its rate at most, ms': m.fleet.lagMs,
  }
}

function table(columns: readonly string[], runs: readonly Figures[]): string {
  const show = (n: number | undefined): string =>
    n === undefined ? '' : n >= 1000 ? Math.round(n).toLocaleString('en') : n.toFixed(2)
  const names = Object.keys(runs[0]!)
  const rows = names.map((name) => `| ${[name, ...runs.map((run) => show(run[name]))].join(' | ')} |`)
  return [`| ${['', ...columns].join(' | ')} |`, `|---|${'---:|'.repeat(columns.length)}`, ...rows].join('\n')
}

async function forward(): Promise<void> {
  const version = spawnSync('vmagent', ['-version'], { encoding: 'utf8' }).stderr.trim() // it says so there
  console.log(`beside ${version} (Debian package victoria-metrics)\n`)
  const { cold, pairs, peakMib } = await measureForward(NODES, FORWARD_ROUNDS, FORWARD_PAIRS)
  console.log('| CPU s / million samples | fleetmeter | vmagent | × | bytes / sample forwarded | |')
  console.log('|---|---:|---:|---:|---:|---:|')
  const ratio = ({ fleetmeter, vmagent }: ForwardPair): number => fleetmeter.cpuPerMillion / vmagent.cpuPerMillion
  const row = (name: string, pair: ForwardPair): void => {
    const [ours, theirs] = [pair.fleetmeter, pair.vmagent]
    const figures = [ours.cpuPerMillion, theirs.cpuPerMillion, ratio(pair), ours.wireBytes, theirs.wireBytes]
    console.log(`| ${[name, ...figures.map((n) => n.toFixed(2))].join(' | ')} |`)
  }
  row('cold', cold)
  for (const pair of pairs) row('warm', pair)
  console.log(`\nmedian × ${quantiles(pairs.map(ratio)).p50.toFixed(2)}`)
  console.log(`peak memory, MiB: ${peakMib.fleetmeter.toFixed(0)} / ${peakMib.vmagent.toFixed(0)}`)
}

async function aggregator(): Promise<void> {
  const prometheus = process.env['FLEETMETER_TEST_PROMETHEUS_3']
  if (prometheus === undefined)
    throw new Error(
      'FLEETMETER_TEST_PROMETHEUS_3 names no Prometheus 3: build one with "go build -C test/interop/prometheus-3 -mod=mod -tags remove_all_sd -o /tmp/prometheus-3 github.com/prometheus/prometheus/cmd/prometheus"',
    )
  const ratio = (pair: AggregatorPair): number => (pair.aggregator + pair.engine) / pair.prometheus
  console.log(
    '| CPU s / million samples | aggregator | engine | Prometheus | × | loop delay p99, ms: collector | aggregator |',
  )
  console.log('|---|---:|---:|---:|---:|---:|---:|')
  const row = (name: string, pair: AggregatorPair): void => {
    const { loopDelayP99Ms: delay } = pair
    const figures = [pair.aggregator, pair.engine, pair.prometheus, ratio(pair), delay.collector, delay.aggregator]
    console.log(`| ${[name, ...figures.map((n) => n.toFixed(2))].join(' | ')} |`)
  }
  const { pairs, peakMib, disk } = await measureAggregator(
    prometheus,
    {
      nodes: NODES,
      rounds: AGGREGATOR_ROUNDS,
      pairs: FORWARD_PAIRS,
      roundsPerSecond: AGGREGATOR_ROUNDS_PER_SECOND,
    },
    row,
  )
  console.log(`\nmedian × ${quantiles(pairs.map(ratio)).p50.toFixed(2)}`)
  console.log(`peak memory, MiB: ${JSON.stringify(peakMib, (_, n) => (typeof n === 'number' ? Math.round(n) : n))}`)
  console.log(
    `bytes / sample on disk: ${disk.written.toFixed(2)} as the engine left it, ${disk.merged.toFixed(2)} merged`,
  )
  for (const [column, bytes] of Object.entries(disk.columns)) console.log(`  ${column}: ${bytes.toFixed(2)}`)
}

async function heartbeats(): Promise<void> {
  const { cold, pairs, peakMib } = await measureHeartbeats(HEARTBEATS, HEARTBEAT_PAIRS)
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

async function query(seconds: number): Promise<void> {
  const load = { nodes: NODES, senders: SENDERS, samplesPerSecond: RATE }
  const { fleet, direct, through, floor } = await measureQuery(load, QUERY, QUERY_TURNS, seconds)
  console.log(`${Math.round(fleet.samples / fleet.seconds).toLocaleString('en')} samples a second arrived`)
  console.log(`${QUERY.series} series over 15 min, ${floor.result.bytes} bytes, ${QUERY.perSecond} queries a second\n`)
  console.log('| | CPU ms a query: aggregator, engine | collector | p50, ms | p99 | max | event loop p99, ms |')
  console.log('|---|---:|---:|---:|---:|---:|---:|')
  const row = (name: string, figures: readonly (number | undefined)[]): void =>
    console.log(`| ${[name, ...figures.map((n) => n?.toFixed(1) ?? '')].join(' | ')} |`)
  const turn = ({ aggregator, collector, result: { latencies: l }, loopDelayP99Ms }: QueryTurn): number[] => [
    aggregator,
    collector,
    l.p50,
    l.p99,
    l.max,
    loopDelayP99Ms,
  ]
  for (const one of direct) row('of the aggregator', turn(one))
  for (const one of through) row('through the collector', turn(one))
  const { latencies: l } = floor.result
  row('empty handler', [floor.cpuMs, undefined, l.p50, l.p99, l.max, undefined])
  console.log(`\nmedian CPU ms a query ${quantiles(direct.map((one) => one.aggregator)).p50.toFixed(1)}`)
}

async function neighbour(seconds: number): Promise<void> {
  console.log('answers to the honest sender, ms; answers to the hostile one by status\n')
  console.log('| alone p50 | p99 | attacked p50 | p99 | p99 × | the hostile one |\n|---:|---:|---:|---:|---:|---|')
  for (const { alone, attacked, attacker } of await measureNeighbour(NEIGHBOUR_ROUNDS, seconds)) {
    const figures = [alone, attacked].flatMap(({ latencies: { p50, p99 } }) => [p50, p99])
    const row = [...figures, attacked.latencies.p99 / alone.latencies.p99].map((n) => n.toFixed(1))
    console.log(`| ${row.join(' | ')} | ${JSON.stringify(attacker.statuses)} |`)
    for (const { statuses } of [alone, attacked])
      if (Object.keys(statuses).join() !== '204') throw new Error(`the honest one got ${JSON.stringify(statuses)}`)
  }
}

async function overload(seconds: number): Promise<void> {
  console.log('capacity: bodies of 2,000 samples a second in a closed loop of 16 connections, right before\n')
  console.log(
    '| offered | capacity | taken of it | closed loop p50, ms | p99 | taken p50, ms | p99 | refused | refusal p50, ms | p99 | peak MiB | behind, ms |',
  )
  console.log(`|${'---:|'.repeat(12)}`)
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
      peakMib.toFixed(0),
      open.lagMs.toFixed(0),
    ]
    console.log(`| ${text.join(' | ')} |`)
    const wrong = closed.wrong + open.wrong
    if (wrong > 0) throw new Error(`${wrong} requests were neither taken nor refused with a time to come again`)
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string' }, 'write-baseline': { type: 'boolean', default: false } },
})
execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' })
console.log(machine())
if (positionals[0] !== undefined) {
  if (positionals[0] === 'forward') await forward()
  else if (positionals[0] === 'aggregator') await aggregator()
  else if (positionals[0] === 'heartbeats') await heartbeats()
  else if (positionals[0] === 'query') await query(Number(values.seconds ?? 8))
  else if (positionals[0] === 'neighbour') await neighbour(Number(values.seconds ?? 8))
  else if (positionals[0] === 'overload') await overload(Number(values.seconds ?? 5))
  else
    throw new Error(
      `there is no bench "${positionals[0]}": forward, aggregator, heartbeats, query, neighbour, overload, or none of them`,
    )
  process.exit(0)
}
const seconds = Number(values.seconds ?? 60)
console.log(`${NODES} nodes × ${GPUS} GPUs × 30 metrics, 8 labels, 2,000 samples a request, ${SENDERS} senders\n`)
const paced = figuresOf(await measureEndToEnd({ nodes: NODES, senders: SENDERS, samplesPerSecond: RATE, seconds }))
const flatOut = figuresOf(
  await measureEndToEnd({ nodes: NODES, senders: SENDERS, samplesPerSecond: 0, seconds: seconds / 2 }),
)
let before: { paced?: Figures; flatOut?: Figures } = {}
try {
  before = JSON.parse(readFileSync(BASELINE, 'utf8')) as typeof before
} catch {
  console.log('there is no baseline.json yet')
}
console.log(
  table(['100,000/s', 'baseline', 'flat out', 'baseline'], [paced, before.paced ?? {}, flatOut, before.flatOut ?? {}]),
)
if (values['write-baseline'])
  writeFileSync(BASELINE, `${JSON.stringify({ machine: machine(), paced, flatOut }, null, 2)}\n`)
