/**
 * After a restart of the aggregator nobody is told a newest sample that is older than what was told before: until memory is
 * whole again, /readyz and queries say 503 with Retry-After.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Running } from '../support/programs.ts'
import { authorized, eventually, freePort, kill, start, temporaryDirectory } from '../support/programs.ts'

test('an answer after a restart is never older than one before it', { timeout: 120_000 }, async (t) => {
  const data = temporaryDirectory()
  const port = await freePort()
  const startAggregator = (): Promise<Running> =>
    // Rows wait long for their insert: what was visible is in no ClickHouse when the process is killed.
    start('aggregator', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${port}`,
      FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '4000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '10000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '10000',
    })
  let aggregator = await startAggregator()
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${port}`,
    FLEETMETER_COLLECTOR_HOST_INTERVAL_MS: '100',
    FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
  })
  t.after(() => Promise.all([kill(collector), kill(aggregator)]).then(() => {}))
  const latest = async (): Promise<number | undefined> => {
    const response = await fetch(`${collector.url}/api/public/metrics/query?name=node_load1&agg=last`, {
      headers: authorized,
    })
    const answer = (await response.json()) as { meta?: { latest_ts?: string } }
    if (response.status === 503) {
      assert.equal(response.headers.get('retry-after'), '1')
      return undefined
    }
    assert.equal(response.status, 200)
    return answer.meta?.latest_ts === undefined ? 0 : Date.parse(answer.meta.latest_ts)
  }
  await eventually('there is a first answer', async () => ((await latest()) ?? 0) > 0)
  for (let round = 0; round < 3; round++) {
    await sleep(1500)
    const before = (await latest())!
    await kill(aggregator)
    const restarted = startAggregator()
    let after: number | undefined
    await eventually('an answer after the restart', async () => {
      after = await latest()
      return after !== undefined
    })
    assert.ok(after! >= before, `latest_ts went back by ${before - after!} ms`)
    aggregator = await restarted
  }
})
