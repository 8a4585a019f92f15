/**
 * The sum of exactly-once, on /metrics at any moment, while the aggregator comes and goes:
 * received + recovered = refused + duplicate + replaced + stored + waiting, per source and process.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Generator } from '../support/generator.ts'
import { checkAggregatorSums, checkCollectorSums } from '../support/item-sums.ts'
import { post } from '../support/post.ts'
import type { Running } from '../support/programs.ts'
import { eventually, freePort, kill, ready, scrape, start, temporaryDirectory, total } from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'
import { remoteWriteBody } from '../support/write-request.ts'

test('nothing is uncounted at any moment', { timeout: 120_000 }, async (t) => {
  const data = temporaryDirectory()
  const port = await freePort()
  const startAggregator = (): Promise<Running> =>
    start('aggregator', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${port}`,
      FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '300',
      FLEETMETER_AGGREGATOR_ROLLUP_INTERVAL_MS: '500',
    })
  const collectorPort = await freePort()
  const startCollector = (): Promise<Running> =>
    start('collector', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${collectorPort}`,
      FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${port}`,
      FLEETMETER_COLLECTOR_SHARDS: '2',
      FLEETMETER_COLLECTOR_HOST_INTERVAL_MS: '3000',
      FLEETMETER_COLLECTOR_BACKOFF_MAX_MS: '300',
    })
  let aggregator = await startAggregator()
  let collector = await startCollector()
  t.after(() => Promise.all([kill(collector), kill(aggregator)]).then(() => {}))
  const generator = new Generator(collector.url, new Random(testSeed()), 100, Date.now() - 600_000)
  generator.run(3, 10)
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 20; i++) {
      checkCollectorSums(await scrape(collector.url))
      checkAggregatorSums(await scrape(aggregator.url))
      await sleep(50)
    }
    if (round === 1) {
      await kill(collector)
      collector = await startCollector()
      const recovered = total(await scrape(collector.url), 'fleetmeter_collector_items_recovered_total')
      assert.ok(recovered > 0, 'what was not stored is recovered')
    } else {
      await kill(aggregator)
      await sleep(300)
      checkCollectorSums(await scrape(collector.url))
      aggregator = await startAggregator()
    }
  }
  await generator.stop()
  let metrics = new Map<string, number>()
  await eventually('nothing waits', async () => {
    metrics = await scrape(collector.url)
    checkCollectorSums(metrics)
    return total(metrics, 'fleetmeter_collector_items_waiting') === 0
  })
  // Independent of the counters: the journal holds nothing beyond its cursor, and no roll-up or upkeep failed.
  assert.equal(
    total(metrics, 'fleetmeter_collector_journal_end_position'),
    total(metrics, 'fleetmeter_collector_journal_cursor_position'),
  )
  const central = await scrape(aggregator.url)
  checkAggregatorSums(central)
  assert.equal(total(central, 'fleetmeter_aggregator_items_waiting'), 0)
  assert.equal(total(central, 'fleetmeter_aggregator_rollup_failures_total'), 0)
  const duplicates = total(metrics, 'fleetmeter_collector_items_duplicate_total')
  t.diagnostic(`${generator.acknowledgedSamples} samples, ${duplicates} duplicates in the last process`)
})

test('a scrape counts whatever was acknowledged before it', { timeout: 60_000 }, async (t) => {
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: 'http://127.0.0.1:9',
    FLEETMETER_COLLECTOR_HOST: 'false',
  })
  t.after(() => kill(collector))
  await ready(collector.url)
  for (let n = 1; n <= 50; n++) {
    const body = remoteWriteBody([{ name: 'up', labels: {}, time: Date.now() - 1000 + n, value: n }])
    assert.equal((await post(collector.url, '127.0.0.1', body)).status, 204)
    const metrics = await scrape(collector.url)
    assert.equal(total(metrics, 'fleetmeter_collector_items_received_total'), n)
    assert.equal(total(metrics, 'fleetmeter_collector_items_waiting'), n)
  }
})
