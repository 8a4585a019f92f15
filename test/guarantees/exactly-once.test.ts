/**
 * Acknowledged is durable and counted once: collector, aggregator and engine are killed with -9 at random moments and at
 * named places, while senders send the identical body again after every lost connection. Afterwards ClickHouse holds
 * exactly what was acknowledged, and the answers from memory say the same.
 *
 * FLEETMETER_TEST_ROUNDS sets the number of rounds, FLEETMETER_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startEngine } from '../support/engine.ts'
import { Generator } from '../support/generator.ts'
import type { Running } from '../support/programs.ts'
import {
  authorized,
  enginePid,
  eventually,
  freePort,
  kill,
  ready,
  scrape,
  start,
  temporaryDirectory,
  terminate,
  total,
} from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'

const ROUNDS = Number(process.env['FLEETMETER_TEST_ROUNDS'] ?? 24)
const SERIES = 60

/** Every named place, and random moments in between. */
const COLLECTOR_FAULTS = [
  'journal.append.before',
  'journal.append.after',
  'batch.send.before',
  'cursor.before',
] as const
const KILLS = [...COLLECTOR_FAULTS, 'collector', 'store.rows.after', 'aggregator', 'engine', 'both'] as const

class World {
  readonly #data: string
  readonly #ports: { collector: number; aggregator: number }
  collector!: Running
  aggregator!: Running

  constructor(data: string, ports: { collector: number; aggregator: number }) {
    this.#data = data
    this.#ports = ports
  }

  get collectorUrl(): string {
    return `http://127.0.0.1:${this.#ports.collector}`
  }

  async startCollector(fault = ''): Promise<void> {
    this.collector = await start('collector', {
      FLEETMETER_DATA_DIR: this.#data,
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${this.#ports.collector}`,
      FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${this.#ports.aggregator}`,
      FLEETMETER_COLLECTOR_SHARDS: '2',
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '100',
      FLEETMETER_COLLECTOR_BACKOFF_MAX_MS: '500',
      FLEETMETER_COLLECTOR_JOURNAL_SEGMENT_BYTES: '64KiB',
      FLEETMETER_FAULT: fault,
    })
  }

  async startAggregator(fault = ''): Promise<void> {
    this.aggregator = await start('aggregator', {
      FLEETMETER_DATA_DIR: this.#data,
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${this.#ports.aggregator}`,
      FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '300',
      FLEETMETER_AGGREGATOR_INSERT_AFTER_MS: '300',
      FLEETMETER_FAULT: fault,
    })
  }
}

test('every acknowledged sample is in ClickHouse exactly once after kill -9 of anything at any moment', {
  timeout: 900_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}, ${ROUNDS} rounds`)
  const random = new Random(seed)
  const data = temporaryDirectory()
  const world = new World(data, { collector: await freePort(), aggregator: await freePort() })
  await world.startAggregator()
  await world.startCollector()
  t.after(async () => {
    await Promise.all([kill(world.collector), kill(world.aggregator)])
  })
  // Around the time that memory reaches back to: some samples are answered from memory, some from ClickHouse.
  const from = Date.now() - 18 * 60_000
  const generator = new Generator(world.collectorUrl, random, SERIES, from)
  generator.run(3, 15)

  // Each kind once in random order, then again: 24 rounds pass every place at least twice.
  let left: (typeof KILLS)[number][] = []
  for (let round = 0; round < ROUNDS; round++) {
    if (left.length === 0) left = [...KILLS]
    const [kind] = left.splice(random.between(0, left.length - 1), 1) as [(typeof KILLS)[number]]
    await oneRound(world, kind, random)
  }
  await sleep(500)
  await generator.stop()
  t.diagnostic(`${generator.acknowledgedSamples} samples acknowledged, ${generator.resent} requests sent again`)
  assert.ok(generator.resent > 0, 'no request was ever lost: the kills did not hit')

  await eventually(
    'everything is stored',
    async () => total(await scrape(world.collector.url), 'fleetmeter_collector_items_waiting') === 0,
    60_000,
  )
  await ready(world.aggregator.url)
  await compareHot(world, generator, from)
  for (const running of [world.collector, world.aggregator]) {
    const { how, ms } = await terminate(running)
    assert.equal(how, 0, running.output())
    assert.ok(ms < 15_000)
  }
  await compareStored(data, generator)
})

async function oneRound(world: World, kind: (typeof KILLS)[number], random: Random): Promise<void> {
  const isCollectorFault = (COLLECTOR_FAULTS as readonly string[]).includes(kind)
  if (isCollectorFault || kind === 'store.rows.after') {
    // The process kills itself when it passes that place for the n-th time.
    const target = isCollectorFault ? 'collector' : 'aggregator'
    await kill(world[target])
    const fault = `${kind}:${random.between(1, 8)}`
    if (target === 'collector') await world.startCollector(fault)
    else await world.startAggregator(fault)
    const died = await Promise.race([world[target].exited, sleep(20_000)])
    assert.equal(died, 'SIGKILL', `${fault} was not passed within 20 s:\n${world[target].output()}`)
    if (target === 'collector') await world.startCollector()
    else await world.startAggregator()
    return
  }
  await sleep(random.between(50, 900))
  if (kind === 'engine') {
    const pid = enginePid(world.aggregator)
    assert.ok(pid !== undefined)
    process.kill(pid, 'SIGKILL')
    await eventually('the engine is back', () => ![undefined, pid].includes(enginePid(world.aggregator)))
    return
  }
  if (kind !== 'aggregator') await kill(world.collector)
  if (kind !== 'collector') await kill(world.aggregator)
  await sleep(random.between(0, 300))
  if (kind !== 'collector') await world.startAggregator()
  if (kind !== 'aggregator') await world.startCollector()
}

/** The answers from memory and ClickHouse together: the last value and the number of samples of each series. */
async function compareHot(world: World, generator: Generator, from: number): Promise<void> {
  const query = async (agg: string): Promise<Map<string, number>> => {
    const url = new URL('/api/public/metrics/query', world.collector.url)
    url.search = new URLSearchParams({
      name: 'generated',
      from: new Date(from).toISOString(),
      to: new Date(Date.now() + 600_000).toISOString(),
      step: '1d',
      agg,
      limit: String(SERIES),
    }).toString()
    const answer = (await (await fetch(url, { headers: authorized })).json()) as {
      data: { labels: { series: string }; values: { value: number }[] }[]
    }
    return new Map(
      answer.data.map(({ labels, values }) => [labels.series, values.reduce((sum, v) => sum + v.value, 0)]),
    )
  }
  const [sums, lasts] = [await query('sum'), await query('max')]
  assert.equal(sums.size, generator.acknowledged.size)
  for (const [series, times] of generator.acknowledged) {
    const sum = [...times.values()].reduce((a, b) => a + b, 0)
    assert.ok(
      Math.abs(sums.get(series)! - sum) < 1e-6 * sum,
      `series ${series}: sum ${sums.get(series)} instead of ${sum}`,
    )
    assert.equal(lasts.get(series), Math.max(...times.values()))
  }
}

async function compareStored(data: string, generator: Generator): Promise<void> {
  const engine = await startEngine(join(data, 'aggregator', 'engine'))
  try {
    const rows = await engine.db.rows<{ label: string; t: string; value: number }>(
      `SELECT arrayFirst(l -> startsWith(l, 'series='), kv) AS label, toString(toUnixTimestamp64Milli(ts)) AS t, value
       FROM fleetmeter.points INNER JOIN (SELECT series, any(kv) AS kv FROM fleetmeter.series GROUP BY series) AS d USING (series)`,
    )
    const found = new Map<string, Map<number, number>>()
    for (const { label, t, value } of rows) {
      const series = label.slice('series='.length)
      const times = found.get(series) ?? new Map<number, number>()
      assert.ok(!times.has(Number(t)), `series ${series} at ${t} is there twice`)
      found.set(series, times.set(Number(t), value))
    }
    for (const [series, times] of generator.acknowledged) {
      const there = found.get(series) ?? new Map<number, number>()
      for (const [time, value] of times) assert.equal(there.get(time), value, `series ${series} at ${time}`)
      assert.equal(there.size, times.size, `series ${series} has samples that nobody sent`)
    }
    assert.equal(rows.length, generator.acknowledgedSamples)
    const histograms = await engine.db.rows<{ key: string; sum: number }>(
      `SELECT concat(substring(kv[1], 8), '@', toString(toUnixTimestamp64Milli(ts))) AS key, sum
       FROM fleetmeter.histograms FINAL INNER JOIN (SELECT series, any(kv) AS kv FROM fleetmeter.series GROUP BY series) AS d USING (series)
       ORDER BY ts`,
    )
    assert.ok(histograms.length > 0)
    assert.equal(histograms.length, generator.acknowledgedHistograms.size)
    for (const { key, sum } of histograms) assert.equal(sum, generator.acknowledgedHistograms.get(key), key)
  } finally {
    await engine.stop()
  }
}
