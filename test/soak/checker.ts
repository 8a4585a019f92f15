/**
 * Compares what was acknowledged with what is stored (read back through the aggregator, FINAL), with the answers to queries
 * (memory and ClickHouse together), with the counters of both programs, and at the end with the tables themselves.
 * Every wait has a bound.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startEngine } from '../support/engine.ts'
import { checkAggregatorSums, checkCollectorSums } from '../support/item-sums.ts'
import { authorized, eventually, ready, scrape, total } from '../support/programs.ts'
import type { ReadSeries } from '../support/remote-read.ts'
import { readSeries } from '../support/remote-read.ts'
import type { Found } from './found.ts'
import { add, compareLane, nothingFound } from './found.ts'
import type { Lane, Load } from './load.ts'
import { METRIC } from './load.ts'
import type { World } from './world.ts'

const DRAIN_MS = 120_000
const READ_MS = 60_000
/** Of a query over millions of samples, on a machine that is busy. */
const ANSWER_MS = 60_000
const RECOVER_MS = 120_000
/** Of one remote read. */
const SAMPLES_A_READ = 200_000

interface Sum {
  sum: number
  max: number
}

export class Checker {
  readonly #world: World
  readonly #load: Load
  /** Requests of each lane that were compared sample by sample before. */
  readonly #compared: number[]
  /** Requests of every lane whose answers were compared before. */
  #answered = 0

  constructor(world: World, load: Load) {
    this.#world = world
    this.#load = load
    this.#compared = load.lanes.map(() => 0)
  }

  /** Waits until all is well again: both ready, every lane gets on, and what is in the journal by then is stored. */
  async recovered(): Promise<void> {
    const { collectorUrl, aggregatorUrl } = this.#world
    const done = this.#load.lanes.map((lane) => lane.done)
    await eventually(
      'every sender gets on',
      () => this.#load.refusal !== undefined || this.#load.lanes.every((lane, i) => lane.done > done[i]!),
      RECOVER_MS,
    )
    await eventually('the aggregator is ready', () => isReady(aggregatorUrl), RECOVER_MS)
    await eventually('the collector is ready', () => isReady(collectorUrl), RECOVER_MS)
    const positions = (metrics: ReadonlyMap<string, number>, which: string): [string, number][] =>
      [...metrics]
        .filter(([name]) => name.startsWith(`fleetmeter_collector_journal_${which}_position`))
        .map(([name, value]) => [name.slice(name.indexOf('{')), value])
    const ends = positions(await scrape(collectorUrl), 'end')
    await eventually(
      'what was in the journal is stored',
      async () => {
        const cursors = new Map(positions(await scrape(collectorUrl), 'cursor'))
        return ends.length > 0 && ends.every(([shard, end]) => cursors.get(shard)! >= end)
      },
      RECOVER_MS,
    )
  }

  /** At any moment while both programs answer. */
  async checkSums(): Promise<void> {
    checkCollectorSums(await scrape(this.#world.collectorUrl))
    checkAggregatorSums(await scrape(this.#world.aggregatorUrl))
  }

  /** Every sample that was acknowledged since the last time. The load must be pausing. */
  async compareStored(): Promise<Found> {
    await this.#drained()
    let found = await this.#lookFor(this.#compared)
    // What a broker has is stored for the collector, and the aggregator may not have read it yet.
    for (const since = performance.now(); this.#world.broker !== undefined && isLate(found); ) {
      if (performance.now() - since > DRAIN_MS) break
      await sleep(500)
      found = await this.#lookFor(this.#compared)
    }
    for (const [i, lane] of this.#load.lanes.entries()) this.#compared[i] = lane.done
    return found
  }

  /** The same of every sample since the beginning. */
  async compareAllStored(): Promise<Found> {
    this.#compared.fill(0)
    return this.compareStored()
  }

  /** The answers to queries over what came since the last time: sum and maximum of each series, to the bit. */
  async compareAnswers(): Promise<void> {
    const { lanes } = this.#load
    const from = this.#answered
    for (const agg of ['sum', 'max'] as const) {
      const answer = await this.#query(agg, from)
      for (const lane of lanes) {
        if (lane.done === from) continue
        for (let series = 0; series < lane.options.series; series++)
          assert.equal(
            answer.get(`${lane.number}/${series}`),
            sumUp(lane, series, from)[agg],
            `${agg} of lane ${lane.number}, ${series} from request ${from} on`,
          )
      }
    }
    this.#answered = Math.min(...lanes.map(({ done }) => done))
  }

  /** The same over all time. */
  async compareAllAnswers(): Promise<void> {
    this.#answered = 0
    await this.compareAnswers()
  }

  /** The tables of an aggregator that has ended, as they are read (rows that were inserted again and are not merged yet are one): none twice. */
  async compareTables(): Promise<void> {
    const engine = await startEngine(join(this.#world.dataOf('aggregator'), 'aggregator', 'engine'))
    try {
      const stored = async (table: string): Promise<unknown> => {
        const [row] = await engine.db.rows(
          `SELECT toString(count()) AS n, toString(uniqExact(tenant, series, ts)) AS ids FROM fleetmeter.${table} FINAL
           WHERE series IN (SELECT series FROM fleetmeter.series WHERE name = '${METRIC}')`,
        )
        return row
      }
      const both = (count: number): object => ({ n: String(count), ids: String(count) })
      assert.deepEqual(await stored('points'), both(this.#load.acknowledged), 'rows of samples')
      assert.deepEqual(await stored('histograms'), both(this.#load.acknowledgedHistograms), 'rows of histograms')
    } finally {
      await engine.stop()
    }
  }

  async #drained(): Promise<void> {
    const { collectorUrl, aggregatorUrl } = this.#world
    await ready(aggregatorUrl)
    await eventually(
      'nothing waits',
      async () => {
        const collector = await scrape(collectorUrl)
        const aggregator = await scrape(aggregatorUrl)
        const end = total(collector, 'fleetmeter_collector_journal_end_position')
        return (
          total(collector, 'fleetmeter_collector_items_waiting') === 0 &&
          total(aggregator, 'fleetmeter_aggregator_items_waiting') === 0 &&
          total(collector, 'fleetmeter_collector_journal_cursor_position') === end
        )
      },
      DRAIN_MS,
    )
    await this.checkSums()
  }

  /** All lanes at once: request n of each lies between n and n + 1 steps after the beginning. */
  async #lookFor(from: readonly number[]): Promise<Found> {
    const found = nothingFound()
    const { lanes } = this.#load
    const requests = Math.floor(SAMPLES_A_READ / lanes.length / lanes[0]!.options.series)
    const end = Math.max(...lanes.map(({ done }) => done))
    for (let n = Math.min(...from); n < end; n += requests) {
      const answer = byLane(await this.#read(n, n + requests))
      for (const [i, lane] of lanes.entries()) {
        const series = answer.get(String(lane.number)) ?? []
        answer.delete(String(lane.number))
        const to = Math.min(lane.done, n + requests)
        add(found, compareLane(lane, series, Math.min(to, Math.max(from[i]!, n)), to))
      }
      for (const [lane, series] of answer) {
        found.foreign += series.length
        found.examples.push(`foreign: lane ${lane}`)
      }
    }
    return found
  }

  /** Also what lies between the times of the requests. */
  async #read(from: number, to: number): Promise<ReadSeries[]> {
    const { from: start, stepMs } = this.#load.lanes[0]!.options
    const name = { type: 0, name: '__name__', value: METRIC } as const
    for (const since = performance.now(); ; ) {
      try {
        return await readSeries(this.#world.aggregatorUrl, [name], start + from * stepMs, start + to * stepMs - 1)
      } catch (error) {
        if (performance.now() - since > READ_MS) throw error
        await sleep(200)
      }
    }
  }

  /** Of each `lane/series`, over all requests from one on. */
  async #query(agg: 'sum' | 'max', from: number): Promise<Map<string, number>> {
    const [first] = this.#load.lanes as [Lane]
    const url = new URL('/api/public/metrics/query', this.#world.collectorUrl)
    url.search = new URLSearchParams({
      name: METRIC,
      from: new Date(first.timeOf(from)).toISOString(),
      to: new Date(Date.now() + 3_600_000).toISOString(),
      step: '1d',
      agg,
      limit: String(this.#load.lanes.length * first.options.series),
    }).toString()
    let answer: { data: { labels: { lane: string; series: string }; values: { value: number }[] }[] } | undefined
    await eventually(
      'a query is answered',
      async () => {
        const response = await fetch(url, { headers: authorized, signal: AbortSignal.timeout(ANSWER_MS) })
        if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
        answer = (await response.json()) as typeof answer
        return true
      },
      2 * ANSWER_MS,
    )
    return new Map(
      answer!.data.map(({ labels, values }) => [
        `${labels.lane}/${labels.series}`,
        agg === 'sum' ? values.reduce((n, { value }) => n + value, 0) : Math.max(...values.map(({ value }) => value)),
      ]),
    )
  }
}

function sumUp(lane: Lane, series: number, from: number): Sum {
  const own = { sum: 0, max: 0 }
  for (let n = from; n < lane.done; n++) {
    const value = lane.valueOf(series, n)
    own.sum += value
    own.max = Math.max(own.max, value)
  }
  return own
}

function byLane(answer: readonly ReadSeries[]): Map<string, ReadSeries[]> {
  const lanes = new Map<string, ReadSeries[]>()
  for (const series of answer) {
    const lane = series.labels['lane'] ?? ''
    const others = lanes.get(lane)
    if (others === undefined) lanes.set(lane, [series])
    else others.push(series)
  }
  return lanes
}

/** It may come still. */
function isLate({ lost, twice, wrong, foreign }: Found): boolean {
  return lost > 0 && twice + wrong + foreign === 0
}

async function isReady(url: string): Promise<boolean> {
  return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5000) })).status === 200
}
