/**
 * The aggregator is away: the collector goes on until its disk bound, then refuses with 503 and Retry-After and drops nothing.
 * When the aggregator comes, everything is stored, and the collector takes again, without a restart.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
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
import { remoteWriteBody } from '../support/write-request.ts'

const SERIES = 500

test('the collector works while the aggregator is away, as long as its disk bound allows', {
  timeout: 180_000,
}, async (t) => {
  const data = temporaryDirectory()
  const port = await freePort()
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${port}`,
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_JOURNAL_BYTES_MAX: '4MiB',
    FLEETMETER_COLLECTOR_JOURNAL_SEGMENT_BYTES: '256KiB',
    FLEETMETER_COLLECTOR_BATCH_BYTES: '16KiB',
    FLEETMETER_COLLECTOR_IN_FLIGHT_BYTES_MAX: '64KiB',
    FLEETMETER_COLLECTOR_BACKOFF_MAX_MS: '500',
    FLEETMETER_LOG_LEVEL: 'error',
  })
  t.after(() => kill(collector))
  const from = Date.now() - 1_200_000
  const send = async (round: number): Promise<Response> => {
    const body = remoteWriteBody(
      Array.from({ length: SERIES }, (_, s) => ({
        name: 'away',
        labels: { s: String(s), noise: `${s * 7919}` },
        time: from + round * 100,
        value: round + s / 3,
      })),
    )
    return fetch(`${collector.url}/api/v1/write`, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
    })
  }
  let accepted = 0
  let refusal: Response | undefined
  for (let round = 0; round < 5000 && refusal === undefined; round++) {
    const response = await send(round)
    if (response.status === 204) accepted++
    else refusal = response
  }
  assert.ok(refusal !== undefined, 'the bound was never reached')
  assert.deepEqual([refusal.status, refusal.headers.get('retry-after')], [503, '10'])
  assert.match(await refusal.text(), /The journal holds \d+ bytes of at most 4194304/)
  assert.ok(accepted > 50)
  const notReady = await fetch(`${collector.url}/readyz`)
  assert.equal(notReady.status, 503)
  assert.match(await notReady.text(), /The journal holds/)
  const full = await scrape(collector.url)
  assert.ok(total(full, 'fleetmeter_collector_journal_bytes') <= 4 * 1024 * 1024)
  assert.equal(total(full, 'fleetmeter_collector_items_waiting'), accepted * SERIES)

  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${port}`,
    FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '200',
  })
  t.after(() => kill(aggregator))
  await eventually(
    'everything is stored',
    async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
    90_000,
  )
  assert.equal((await send(5001)).status, 204, 'it takes again')
  await ready(collector.url)
  const metrics = await scrape(aggregator.url)
  assert.ok(total(metrics, 'fleetmeter_aggregator_items_stored_total') >= accepted * SERIES)
  const query = new URLSearchParams({
    name: 'away',
    from: new Date(from).toISOString(),
    to: new Date(from + accepted * 100).toISOString(),
    step: '1d',
    agg: 'sum',
    group_by: 'nothing',
  })
  const answer = (await (
    await fetch(`${collector.url}/api/public/metrics/query?${query}`, { headers: authorized })
  ).json()) as { data: { values: { value: number }[] }[] }
  let sum = 0
  for (let round = 0; round < accepted; round++) for (let s = 0; s < SERIES; s++) sum += round + s / 3
  const found = answer.data[0]!.values.reduce((n, v) => n + v.value, 0)
  assert.ok(Math.abs(found - sum) < 1e-6 * sum, `${found} instead of ${sum}`)
})
