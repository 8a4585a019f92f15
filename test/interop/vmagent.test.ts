/**
 * A real vmagent forwards what it is given to the collector, which is killed with -9 in the middle: vmagent drops nothing, and
 * every sample that it was given is there once, with its value.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { hasPeer } from '../support/peers.ts'
import {
  authorized,
  eventually,
  freePort,
  kill,
  ready,
  scrape,
  start,
  temporaryDirectory,
  total,
} from '../support/programs.ts'

const SERIES = 200
const ROUNDS = 50

test('vmagent forwards, also over a kill -9 of the collector: nothing is dropped, every sample is there', {
  timeout: 120_000,
}, async (t) => {
  if (!hasPeer(t, 'vmagent', '-version', 'Debian package victoria-metrics')) return
  const data = temporaryDirectory()
  const [port, aggregatorPort, collectorPort] = [await freePort(), await freePort(), await freePort()]
  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${aggregatorPort}`,
  })
  t.after(() => kill(aggregator))
  const startCollector = () =>
    start('collector', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${collectorPort}`,
      FLEETMETER_AGGREGATOR_URL: aggregator.url,
      FLEETMETER_COLLECTOR_HOST: 'false',
    })
  let collector = await startCollector()
  t.after(() => kill(collector))
  await ready(aggregator.url)
  const vmagent = spawn(
    'vmagent',
    [
      `-httpListenAddr=127.0.0.1:${port}`,
      `-remoteWrite.url=${collector.url}/api/v1/write`,
      `-remoteWrite.tmpDataPath=${join(data, 'vmagent')}`,
      '-loggerLevel=PANIC',
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  t.after(() => {
    vmagent.kill('SIGKILL')
  })
  const url = `http://127.0.0.1:${port}`
  await eventually('vmagent is ready', async () => (await fetch(`${url}/health`)).status === 200)

  const from = Date.now() - 600_000
  for (let round = 0; round < ROUNDS; round++) {
    const lines = Array.from({ length: SERIES }, (_, s) => `given{s="${s}"} ${round + s / 8} ${from + round * 1000}`)
    const response = await fetch(`${url}/api/v1/import/prometheus`, { method: 'POST', body: lines.join('\n') })
    assert.equal(response.status, 204)
    if (round === 20) {
      await eventually(
        'something was taken',
        async () => total(await scrape(collector.url), 'fleetmeter_collector_items_received_total') > 0,
      )
      await kill(collector)
    }
    if (round === 40) collector = await startCollector()
  }
  const ask = async (
    agg: string,
  ): Promise<{ labels: { s: string }; values: { timestamp: string; value: number }[] }[]> => {
    const query = new URLSearchParams({
      name: 'given',
      step: '1s',
      agg,
      limit: String(SERIES),
      from: new Date(from).toISOString(),
    })
    const response = await fetch(`${aggregator.url}/api/public/metrics/query?${query}`, { headers: authorized })
    return ((await response.json()) as { data: never }).data
  }
  await eventually(
    'all are there',
    async () => (await ask('last')).reduce((n, { values }) => n + values.length, 0) === SERIES * ROUNDS,
    60_000,
  )
  for (const { labels, values } of await ask('sum')) {
    assert.deepEqual(
      values.map(({ value }) => value),
      Array.from({ length: ROUNDS }, (_, round) => round + Number(labels.s) / 8),
      `series ${labels.s}`,
    )
  }
  const own = await scrape(url)
  assert.equal(total(own, 'vmagent_remotewrite_packets_dropped_total'), 0)
  assert.equal(total(await scrape(collector.url), 'fleetmeter_collector_items_refused_total'), 0)
})
