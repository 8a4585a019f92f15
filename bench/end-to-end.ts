/**
 * From a fleet's requests to a router's answer: what does a sample cost, on its way and at rest, and how soon is it visible?
 *
 *     fleet process ──remote write──▶ collector ──▶ aggregator ──▶ embedded engine
 *     this process: a probe sample every 100 ms, asked for until the answer shows it
 *
 * CPU is read once everything is stored, so that work put off is counted; the same load runs against an empty node:http
 * handler first. Afterwards the rows in ClickHouse must be as many as were acknowledged.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { startEngine } from '../test/support/engine.ts'
import {
  authorized,
  enginePid,
  eventually,
  freePort,
  ready,
  scrape,
  start,
  terminate,
  total,
} from '../test/support/programs.ts'
import { remoteWriteBody } from '../test/support/write-request.ts'
import type { FleetJob, FleetResult } from './fleet.process.ts'
import { cpuSeconds, memoryMib, outputOf, startScript } from './processes.ts'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface Load {
  readonly nodes: number
  readonly senders: number
  /** 0: flat out. */
  readonly samplesPerSecond: number
  readonly seconds: number
}

/** CPU seconds of each program. */
export interface Cpu {
  readonly collector: number
  readonly aggregator: number
  readonly engine: number
}

export interface Measurement {
  readonly fleet: FleetResult
  readonly floorCpuPerMillion: number
  /** CPU seconds for the first sample of each series. */
  readonly newSeriesCpu: Cpu
  readonly cpuPerMillion: Cpu
  readonly bodyBytesPerSample: number
  readonly wireBytesPerSample: number
  /** In ClickHouse, as written and after all merges. */
  readonly diskBytesPerSample: { readonly written: number; readonly merged: number }
  /** Peaks. */
  readonly memoryMib: { readonly collector: number; readonly aggregator: number; readonly engine: number }
  readonly loopDelayP99Ms: { readonly collector: number; readonly aggregator: number }
  /** Acknowledged to visible, ms. */
  readonly freshness: Quantiles & { readonly probes: number }
}

const PROBES = 10
/** Far from the collector's interval, so that probes fall anywhere in it. */
const PROBE_EVERY_MS = 1370
const PROBE_LOOK_EVERY_MS = 5
const MILLION = 1e6

export async function measureEndToEnd(load: Load): Promise<Measurement> {
  const floorCpuPerMillion = await measureFloor(load)
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  try {
    return { floorCpuPerMillion, ...(await measurePath(load, directory)) }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function runFleet(url: string, load: Load): Promise<FleetResult> {
  const job: FleetJob = { url, ...load }
  return JSON.parse(await outputOf(startScript('./fleet.process.ts', [JSON.stringify(job)]))) as FleetResult
}

async function measureFloor(load: Load): Promise<number> {
  const floor = startScript('./floor.process.ts', [])
  const [line] = (await once(createInterface({ input: floor.stdout! }), 'line')) as [string]
  const url = line.replace('ready at ', '')
  const before = cpuSeconds(floor.pid!)
  const { samples } = await runFleet(url, { ...load, seconds: Math.min(load.seconds, 20) })
  const cpu = cpuSeconds(floor.pid!) - before
  floor.stdin!.end()
  return (cpu / samples) * MILLION
}

async function measurePath(load: Load, directory: string): Promise<Omit<Measurement, 'floorCpuPerMillion'>> {
  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
    FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '1000000',
    FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000000',
  })
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_AGGREGATOR_URL: aggregator.url,
  })
  await ready(aggregator.url)
  await ready(collector.url)
  const pids = {
    collector: collector.process.pid!,
    aggregator: aggregator.process.pid!,
    engine: enginePid(aggregator)!,
  }
  const cpu = (): Cpu => ({
    collector: cpuSeconds(pids.collector),
    aggregator: cpuSeconds(pids.aggregator),
    engine: cpuSeconds(pids.engine),
  })
  const stored = (): Promise<void> =>
    eventually(
      'everything is stored',
      async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
      120_000,
    )

  const atStart = cpu()
  const introduction = await runFleet(collector.url, { ...load, seconds: 0 })
  await stored()
  const introduced = cpu()
  // Event loop delays are counted from one reading to the next.
  const [wireBefore] = await Promise.all([scrape(collector.url), scrape(aggregator.url)])
  const over = new AbortController()
  const probing = Promise.all(
    Array.from({ length: PROBES }, (_, i) => probe(i, collector.url, aggregator.url, over.signal)),
  )
  const fleet = await runFleet(collector.url, load)
  const [collectorAtLoad, aggregatorAtLoad] = await Promise.all([scrape(collector.url), scrape(aggregator.url)])
  over.abort()
  const delays = (await probing).flat()
  await stored()
  const done = cpu()
  const wireAfter = await scrape(collector.url)
  const memory = {
    collector: memoryMib(pids.collector).peak,
    aggregator: memoryMib(pids.aggregator).peak,
    engine: memoryMib(pids.engine).peak,
  }
  await terminate(collector)
  await terminate(aggregator)
  const sent = (what: string): number =>
    total(wireAfter, `fleetmeter_collector_batch_${what}_sent_total`) -
    total(wireBefore, `fleetmeter_collector_batch_${what}_sent_total`)
  return {
    fleet,
    newSeriesCpu: difference(introduced, atStart),
    cpuPerMillion: perMillion(difference(done, introduced), fleet.samples),
    bodyBytesPerSample: fleet.bytes / fleet.samples,
    wireBytesPerSample: sent('bytes') / sent('samples'),
    diskBytesPerSample: await measureDisk(
      join(directory, 'aggregator', 'engine'),
      introduction.samples + fleet.samples + delays.length,
    ),
    memoryMib: memory,
    loopDelayP99Ms: {
      collector: total(collectorAtLoad, 'nodejs_eventloop_lag_p99_seconds') * 1000,
      aggregator: total(aggregatorAtLoad, 'nodejs_eventloop_lag_p99_seconds') * 1000,
    },
    freshness: { probes: delays.length, ...quantiles(delays) },
  }
}

function difference(after: Cpu, before: Cpu): Cpu {
  return {
    collector: after.collector - before.collector,
    aggregator: after.aggregator - before.aggregator,
    engine: after.engine - before.engine,
  }
}

function perMillion({ collector, aggregator, engine }: Cpu, samples: number): Cpu {
  const each = MILLION / samples
  return { collector: collector * each, aggregator: aggregator * each, engine: engine * each }
}

/** Sends a sample of its own, and asks for it until the answer shows it; again and again. @returns acknowledged to visible, ms */
async function probe(index: number, collector: string, aggregator: string, over: AbortSignal): Promise<number[]> {
  const delays: number[] = []
  const labels = { probe: String(index) }
  await sleep((index * PROBE_EVERY_MS) / PROBES)
  while (!over.aborted) {
    const time = Date.now()
    const response = await fetch(`${collector}/api/v1/write`, {
      method: 'POST',
      body: remoteWriteBody([{ name: 'bench_probe', labels, time, value: delays.length }]),
      headers: { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
    })
    await response.arrayBuffer()
    if (response.status !== 204) continue
    const acknowledged = performance.now()
    const query = new URLSearchParams({
      name: 'bench_probe',
      agg: 'last',
      probe: String(index),
      from: new Date(time - 60_000).toISOString(),
      step: '60s',
    })
    for (;;) {
      const answer = (await (
        await fetch(`${aggregator}/api/public/metrics/query?${query}`, { headers: authorized })
      ).json()) as {
        meta?: { latest_ts?: string }
      }
      if (Date.parse(answer.meta?.latest_ts ?? '1970-01-01T00:00:00Z') >= time) break
      await sleep(PROBE_LOOK_EVERY_MS)
    }
    delays.push(performance.now() - acknowledged)
    await sleep(Math.random() * PROBE_EVERY_MS)
  }
  return delays
}

/** @param samples what has to be there, exactly */
async function measureDisk(directory: string, samples: number): Promise<{ written: number; merged: number }> {
  const engine = await startEngine(directory)
  try {
    // Outputs of the rules that are there by default are beside them.
    const [rows] = await engine.db.rows<{ n: string }>(
      "SELECT toString(count()) AS n FROM fleetmeter.points WHERE series NOT IN (SELECT series FROM fleetmeter.series WHERE name LIKE '%:1m_%')",
    )
    if (Number(rows!.n) !== samples)
      throw new Error(`${rows!.n} rows in ClickHouse for ${samples} acknowledged samples`)
    const bytes = async (): Promise<number> => {
      const [row] = await engine.db.rows<{ b: string }>(
        "SELECT toString(sum(bytes_on_disk)) AS b FROM system.parts WHERE database = 'fleetmeter' AND table = 'samples' AND active",
      )
      return Number(row!.b) / samples
    }
    const written = await bytes()
    await engine.db.command('OPTIMIZE TABLE fleetmeter.samples FINAL')
    return { written, merged: await bytes() }
  } finally {
    await engine.stop()
  }
}
