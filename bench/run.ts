/** `npm run bench`: builds, measures, prints a table; compares with bench/baseline.json. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { aggregator } from './aggregator.ts'
import type { Measurement } from './end-to-end.ts'
import { measureEndToEnd } from './end-to-end.ts'
import { eventIntake } from './event-intake.ts'
import { events } from './events.ts'
import { GPUS } from './fleet.ts'
import { forward } from './forward.ts'
import { heartbeats } from './heartbeats.ts'
import { kafkaEvents } from './kafka-events.ts'
import { leaseDecision } from './lease-decision.ts'
import { neighbour } from './neighbour.ts'
import { overload } from './overload.ts'
import { machine } from './processes.ts'
import { query } from './query.ts'
import { quotaDecision } from './quota-decision.ts'
import { quotaHttp } from './quota-http.ts'
import { rules } from './rules.ts'
import { series } from './series.ts'
import { tasks } from './tasks.ts'

const USAGE = `npm run bench                       100,000 samples a second for 60 s, then flat out for 30 s
npm run bench -- --seconds 10       shorter
npm run bench -- --write-baseline   keeps the figures for the next comparison
npm run bench -- forward            taking and forwarding a sample, 1.0 and 2.0, beside vmagent
npm run bench -- rules [flat|paced] a sample that only an aggregation rule needs, beside vmagent
npm run bench -- rules few|many     the same of 12,000 and of 1,002,000 series
npm run bench -- series             a sample and a series more, from 10,000 to 1,000,000 series
npm run bench -- aggregator         storing a sample, beside Prometheus 3
npm run bench -- event-intake       10,000 events a second in the centre, half of them logged
npm run bench -- heartbeats         10,000 JSON heartbeats a second, beside a bare handler
npm run bench -- events             10,000 events a second by /v1/events and Kafka REST, beside a bare handler
npm run bench -- kafka-events       10,000 events a second from a collector over Kafka to an aggregator, for a minute
npm run bench -- tasks              the usage of 1,000 tasks a minute, beside 50,000 samples a second
npm run bench -- query              a router's query while 100,000 samples a second arrive, beside an empty handler
npm run bench -- quota-decision     a decision of quotas in memory, beside rate-limiter-flexible
npm run bench -- lease-decision     a decision of a collector by its slices of quotas, with and without its journal
npm run bench -- quota-http         a check of quotas over HTTP, beside an empty Hono handler; counts of ten million rows
npm run bench -- neighbour          what an attack costs another sender's answers
npm run bench -- overload           what is taken, and how soon, of three times what can be taken
npm run bench -- … --turns 3        fewer than five turns of them`

const BASELINE = fileURLToPath(new URL('./baseline.json', import.meta.url))
const NODES = 200
const SENDERS = 8
const RATE = 100_000
const TURNS = 5
/** Of a turn, where it lasts a time. */
const TURN_SECONDS = 8
/** Of one that is to show what lasts, and of one whose bodies are all made before. */
const OTHER_SECONDS: Readonly<Record<string, number>> = { 'kafka-events': 60, overload: 5 }

/** By name. */
const BENCHES: Readonly<Record<string, (turns: number, seconds: number, kind: string | undefined) => Promise<void>>> = {
  forward,
  rules: async (turns, _, kind) => {
    for (const one of kind === undefined ? ['flat', 'paced'] : [kind]) await rules(one, turns)
  },
  series,
  aggregator,
  'event-intake': eventIntake,
  heartbeats,
  events,
  'kafka-events': kafkaEvents,
  tasks,
  query,
  'quota-decision': quotaDecision,
  'lease-decision': leaseDecision,
  'quota-http': quotaHttp,
  neighbour,
  overload: (_, seconds) => overload(seconds),
}

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

function refuse(why: string): never {
  console.error(`${why}\n\n${USAGE}`)
  process.exit(2)
}

function argumentsOf() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        seconds: { type: 'string' },
        turns: { type: 'string' },
        'write-baseline': { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    return refuse((error as Error).message)
  }
}

function countOf(option: 'seconds' | 'turns'): number | undefined {
  const text = values[option]
  if (text === undefined) return undefined
  return Number(text) > 0 ? Number(text) : refuse(`--${option} is "${text}": it is a number above zero`)
}

const { values, positionals } = argumentsOf()
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const [name, kind] = positionals
const bench = name === undefined ? undefined : BENCHES[name]
if (name !== undefined && bench === undefined)
  refuse(`There is no bench "${name}": ${Object.keys(BENCHES).join(', ')}, or none of them.`)
const turns = countOf('turns') ?? TURNS
const givenSeconds = countOf('seconds')
execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit' })
console.log(machine())
if (name !== undefined && bench !== undefined) {
  await bench(turns, givenSeconds ?? OTHER_SECONDS[name] ?? TURN_SECONDS, kind)
  process.exit(0)
}
const seconds = givenSeconds ?? 60
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
