/** Lateness of the event loop, as it is scraped. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import { registerProcessMetrics } from '../../../proto/runtime/loop-lag.ts'

test('registerProcessMetrics() tells how late the event loop was since the last scrape, under the names of prom-client', async () => {
  const registry = new Registry()
  registerProcessMetrics(registry)
  const scrape = async (): Promise<Map<string, number>> => {
    const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('nodejs_eventloop_lag'))
    return new Map(lines.map((line) => line.split(' ')).map(([name, value]) => [name!, Number(value)]))
  }
  const of = (what: string): string => `nodejs_eventloop_lag_${what}seconds`
  const names = ['', 'min_', 'max_', 'mean_', 'stddev_', 'p50_', 'p90_', 'p99_'].map(of)
  assert.deepEqual([...(await scrape()).keys()].sort(), names.sort())
  await sleep(200)
  for (const until = performance.now() + 500; performance.now() < until; );
  await sleep(200)
  const late = await scrape()
  // At least what was left of it at the moment at which the loop was to be looked at.
  assert.ok(late.get(of('max_'))! > 0.4 && late.get(of('p99_'))! > 0.4, JSON.stringify([...late]))
  const after = await scrape()
  assert.ok(after.get(of('max_'))! < 0.4, 'it begins again with each scrape')
})
