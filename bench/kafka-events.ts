/**
 * What does an event cost on the road over Kafka? 10,000 a second, a hundred in a request of Kafka REST, half of them through the owner log:
 *
 *     this process ──JSON──▶ collector ──▶ Kafka (one node) ──▶ aggregator ──▶ embedded engine
 *
 * CPU is read when all is stored. Every event must be stored, and none twice.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { KafkaBroker } from '../test/support/kafka-broker.ts'
import type { Running } from '../test/support/programs.ts'
import { enginePid, ready, scrape, start, terminate, total } from '../test/support/programs.ts'
import { PER_REQUEST, PER_SECOND, post } from './events.ts'
import { cpuSeconds, memoryMib } from './processes.ts'
import { quantiles } from './quantiles.ts'

const WARM_SECONDS = 3
const AGAIN_MS = 200

/** Prints the table. */
export async function kafkaEvents(_: number, seconds: number): Promise<void> {
  const broker = await KafkaBroker.start({ nodes: 1 })
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const running: Running[] = []
  try {
    const shared = {
      FLEETMETER_DATA_DIR: directory,
      FLEETMETER_AGGREGATOR_URL: 'http://127.0.0.1:1', // nobody: Kafka is the only road
      KAFKA_BROKERS: broker.bootstrap.join(','),
      FLEETMETER_COLLECTOR_HOST: 'false',
    }
    const aggregator = await start('aggregator', { ...shared, FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0' })
    running.push(aggregator)
    const collector = await start('collector', { ...shared, FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0' })
    running.push(collector)
    for (const { url } of running) await ready(url)
    const agent = new Agent({ keepAlive: true })
    const first = await drive(agent, collector.url, WARM_SECONDS) // topics are made and partitions assigned
    const warm = await stored(aggregator, first.events)
    const pids = {
      collector: collector.process.pid!,
      aggregator: aggregator.process.pid!,
      engine: enginePid(aggregator)!,
    }
    const before = Object.values(pids).map(cpuSeconds)
    await Promise.all([collector, aggregator].map(({ url }) => scrape(url))) // delays are counted from one reading to the next
    const sent = await drive(agent, collector.url, seconds)
    const inTime = performance.now()
    const [atCollector, atAggregator] = [await scrape(collector.url), await scrape(aggregator.url)]
    const after = await stored(aggregator, warm + sent.events)
    const behind = (performance.now() - inTime) / 1000
    agent.destroy()
    if (warm !== first.events || after !== warm + sent.events)
      throw new Error(`${after - warm} of ${sent.events} events are stored`)
    console.log('| | CPU µs / event | loop delay p99, ms | peak memory, MiB |')
    console.log('|---|---:|---:|---:|')
    const lag = { collector: atCollector, aggregator: atAggregator, engine: new Map<string, number>() }
    for (const [i, [name, pid]] of Object.entries(pids).entries()) {
      const micros = ((cpuSeconds(pid) - before[i]!) / sent.events) * 1e6
      const delay = total(lag[name as keyof typeof lag], 'nodejs_eventloop_lag_p99_seconds') * 1000
      const shown = name === 'engine' ? '' : delay.toFixed(1)
      console.log(`| ${name} | ${micros.toFixed(1)} | ${shown} | ${memoryMib(pid).peak.toFixed(0)} |`)
    }
    console.log(
      `\n${sent.events} events, ${Math.round(sent.perSecond)} a second, answered p50 ${sent.latencies.p50.toFixed(1)} ms, p99 ${sent.latencies.p99.toFixed(1)} ms; ${sent.refused} requests sent again; all stored ${behind.toFixed(1)} s after the last`,
    )
  } finally {
    for (const program of running.reverse()) await terminate(program)
    await broker.stop()
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

interface Sent {
  readonly events: number
  /** Requests that were answered 503 and sent again. */
  readonly refused: number
  readonly perSecond: number
  readonly latencies: { readonly p50: number; readonly p99: number }
}

async function drive(agent: Agent, url: string, seconds: number): Promise<Sent> {
  const latencies: number[] = []
  let [events, refused] = [0, 0]
  const one = async (path: '/topics/xumi_task' | '/topics/pbac_access'): Promise<void> => {
    for (;;) {
      const sent: string[] = []
      try {
        await post(agent, url, path, sent, latencies)
        events += sent.length
        return
      } catch {
        refused++ // 503: as a producer would, again
        await sleep(AGAIN_MS)
      }
    }
  }
  const started = performance.now()
  const under: Promise<void>[] = []
  for (let n = 0; n < (seconds * PER_SECOND) / PER_REQUEST; n++) {
    const due = started + (n * 1000 * PER_REQUEST) / PER_SECOND
    if (due > performance.now()) await sleep(due - performance.now())
    under.push(one(n % 2 === 0 ? '/topics/xumi_task' : '/topics/pbac_access'))
  }
  await Promise.all(under)
  const perSecond = events / ((performance.now() - started) / 1000)
  return { events, refused, perSecond, latencies: quantiles(latencies) }
}

/** Waits until so many events are stored, or no more come. @returns how many are */
async function stored(aggregator: Running, events: number): Promise<number> {
  let is = 0
  for (let still = 0; is < events && still < 60; ) {
    await sleep(500)
    const now = total(await scrape(aggregator.url), 'fleetmeter_aggregator_events_stored_total')
    still = now === is ? still + 1 : 0
    is = now
  }
  return is
}
