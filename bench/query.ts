/**
 * What does a router's query cost while a fleet's samples arrive, and how long does it take?
 *
 *     fleet process ──100,000 samples/s──▶ collector ──▶ aggregator ──▶ embedded engine
 *     query process ──512 series, 15 min──────▶└───────────▶┘             and an empty handler of the same answer
 *
 * The same span of time without queries and with them, in turn: what a query costs is the difference of what the processes used.
 * The replicas' quarter of an hour, a sample every three seconds, is sent before.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Running } from '../test/support/programs.ts'
import { enginePid, ready, scrape, start, TOKEN, terminate, total } from '../test/support/programs.ts'
import type { Point } from '../test/support/write-request.ts'
import { remoteWriteBody } from '../test/support/write-request.ts'
import type { FleetJob, FleetResult } from './fleet.process.ts'
import { post } from './post.ts'
import { cpuSeconds, outputOf, startScript } from './processes.ts'
import { quantiles } from './quantiles.ts'
import type { QueryJob, QueryResult } from './query.process.ts'
import { row } from './table.ts'
import { Talker } from './talker.ts'

const NODES = 200
const SENDERS = 8
const RATE = 100_000
const QUERY = { series: 512, perSecond: 20 }

export interface QueryTurn {
  /** CPU ms a query, aggregator and engine together, and of the collector. */
  readonly aggregator: number
  readonly collector: number
  readonly result: QueryResult
  /** Of the aggregator's event loop meanwhile, ms. */
  readonly loopDelayP99Ms: number
}

export interface QueryCost {
  readonly fleet: FleetResult
  /** Asked of the aggregator itself, and through the collector. */
  readonly direct: readonly QueryTurn[]
  readonly through: readonly QueryTurn[]
  readonly floor: { readonly cpuMs: number; readonly result: QueryResult }
}

const METRIC = 'pending_requests'
const HEARTBEAT_MS = 3000
const QUARTER_MS = 900_000
const ROUNDS_A_BODY = 4
const RETRY_MS = 50
/** Until series are known and code is compiled. */
const SETTLE_S = 15
/** Starting and reading take time too. */
const SPARE_S = 3
const FLOOR_QUERIES = 200

/** @param seconds of each span */
export async function measureQuery(
  load: Pick<FleetJob, 'nodes' | 'senders' | 'samplesPerSecond'>,
  query: Pick<QueryJob, 'series' | 'perSecond'>,
  turns: number,
  seconds: number,
): Promise<QueryCost> {
  const job: QueryJob = { ...query, metric: METRIC, token: TOKEN }
  const router = new Talker('./query.process.ts', [JSON.stringify(job)])
  const floor = new Talker('./query-floor.process.ts', [])
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const running: Running[] = []
  try {
    await router.line()
    const floorUrl = await floor.line()
    const aggregator = await start('aggregator', {
      FLEETMETER_DATA_DIR: directory,
      FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '1000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000',
    })
    running.unshift(aggregator)
    const collector = await start('collector', {
      FLEETMETER_DATA_DIR: directory,
      FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_AGGREGATOR_URL: aggregator.url,
    })
    running.unshift(collector)
    await ready(aggregator.url)
    await ready(collector.url)
    const replicas = new Replicas(collector.url, query.series)
    await replicas.sendPast()
    const all = SETTLE_S + 4 * turns * seconds
    const fleetJob: FleetJob = { url: collector.url, ...load, seconds: all + SPARE_S }
    const fleet = outputOf(startScript('./fleet.process.ts', [JSON.stringify(fleetJob)]))
    const beating = setInterval(() => void replicas.beat(Date.now()), HEARTBEAT_MS)
    await sleep(SETTLE_S * 1000)
    const direct: QueryTurn[] = []
    const through: QueryTurn[] = []
    for (let turn = 0; turn < turns; turn++) {
      direct.push(await measureTurn(router, aggregator, collector, aggregator.url, query.perSecond, seconds))
      through.push(await measureTurn(router, aggregator, collector, collector.url, query.perSecond, seconds))
    }
    const fleetResult = JSON.parse(await fleet) as FleetResult
    clearInterval(beating)
    await replicas.copyAnswer(router, aggregator.url, floorUrl)
    const before = cpuSeconds(floor.pid)
    const result = JSON.parse(await router.ask(`${floorUrl} ${FLOOR_QUERIES}`)) as QueryResult
    const cpuMs = ((cpuSeconds(floor.pid) - before) * 1000) / FLOOR_QUERIES
    return { fleet: fleetResult, direct, through, floor: { cpuMs, result } }
  } finally {
    for (const program of running) await terminate(program)
    for (const process of [router, floor]) process.end()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function measureTurn(
  router: Talker,
  aggregator: Running,
  collector: Running,
  url: string,
  perSecond: number,
  seconds: number,
): Promise<QueryTurn> {
  const pids = [aggregator.process.pid!, enginePid(aggregator)!, collector.process.pid!]
  const cpu = (): number[] => pids.map(cpuSeconds)
  const span = async (work: () => Promise<void>): Promise<number[]> => {
    const before = cpu()
    const end = sleep(seconds * 1000)
    await work()
    await end
    const after = cpu()
    return after.map((n, i) => n - before[i]!)
  }
  const queries = perSecond * seconds
  const without = await span(async () => {})
  await scrape(aggregator.url) // event loop delays are counted from one reading to the next
  let result: QueryResult | undefined
  const asking = await span(async () => {
    result = JSON.parse(await router.ask(`${url} ${queries}`)) as QueryResult
  })
  const loopDelayP99Ms = total(await scrape(aggregator.url), 'nodejs_eventloop_lag_p99_seconds') * 1000
  const each = asking.map((n, i) => ((n - without[i]!) * 1000) / queries)
  return { aggregator: each[0]! + each[1]!, collector: each[2]!, result: result!, loopDelayP99Ms }
}

/** Model replicas, whose pending requests a router asks for. */
class Replicas {
  readonly #url: string
  readonly #count: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1, localAddress: '127.0.0.99' })

  constructor(url: string, count: number) {
    this.#url = `${url}/api/v1/write`
    this.#count = count
  }

  async sendPast(): Promise<void> {
    const now = Date.now()
    for (let time = now - QUARTER_MS + HEARTBEAT_MS; time < now; time += ROUNDS_A_BODY * HEARTBEAT_MS)
      await this.#send(Array.from({ length: ROUNDS_A_BODY }, (_, i) => time + i * HEARTBEAT_MS).filter((t) => t < now))
  }

  beat(now: number): Promise<void> {
    return this.#send([now])
  }

  async #send(times: readonly number[]): Promise<void> {
    const points = Array.from({ length: this.#count }, (_, replica) => replica).flatMap((replica) =>
      times.map(
        (time): Point => ({
          name: METRIC,
          labels: { node_id: `gpu-${replica >> 3}`, model_uid: `qwen-${replica % 7}-72b`, replica_id: `${replica}` },
          time,
          value: ((replica + time / HEARTBEAT_MS) % 40) | 0,
        }),
      ),
    )
    const body = remoteWriteBody(points)
    for (;;) {
      const status = await post(this.#url, body, this.#agent)
      if (status === 204) return
      if (status !== 503 && status !== 0) throw new Error(`${this.#url} answered ${status}`)
      await sleep(RETRY_MS)
    }
  }

  /** The floor gives out what the aggregator does. */
  async copyAnswer(router: Talker, from: string, to: string): Promise<void> {
    const { bytes } = JSON.parse(await router.ask(`${from} 1`)) as QueryResult
    const values = Array.from({ length: 16 }, () => ({ value: 1 }))
    const body = JSON.stringify({ data: Array.from({ length: this.#count }, () => ({ values })), pad: '' })
    const padded = body.replace('"pad":""', `"pad":"${'x'.repeat(Math.max(0, bytes - body.length))}"`)
    await fetch(to, { method: 'POST', body: padded })
  }
}

/** Prints the table. */
export async function query(turns: number, seconds: number): Promise<void> {
  const load = { nodes: NODES, senders: SENDERS, samplesPerSecond: RATE }
  const { fleet, direct, through, floor } = await measureQuery(load, QUERY, turns, seconds)
  console.log(`${Math.round(fleet.samples / fleet.seconds).toLocaleString('en')} samples a second arrived`)
  console.log(`${QUERY.series} series over 15 min, ${floor.result.bytes} bytes, ${QUERY.perSecond} queries a second\n`)
  console.log('| | CPU ms a query: aggregator, engine | collector | p50, ms | p99 | max | event loop p99, ms |')
  console.log('|---|---:|---:|---:|---:|---:|---:|')
  const turn = ({ aggregator, collector, result: { latencies: l }, loopDelayP99Ms }: QueryTurn): number[] => [
    aggregator,
    collector,
    l.p50,
    l.p99,
    l.max,
    loopDelayP99Ms,
  ]
  for (const one of direct) row('of the aggregator', turn(one), 1)
  for (const one of through) row('through the collector', turn(one), 1)
  const { latencies: l } = floor.result
  row('empty handler', [floor.cpuMs, undefined, l.p50, l.p99, l.max, undefined], 1)
  console.log(`\nmedian CPU ms a query ${quantiles(direct.map((one) => one.aggregator)).p50.toFixed(1)}`)
}
