/**
 * The log of a single aggregator goes on in PostgreSQL, whole, when several are to share it; nothing is decided by half of it: not by the
 * files it came from, not by another directory's. And what several cannot share is refused at the start.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Running } from '../support/programs.ts'
import {
  authorized,
  eventually,
  freePort,
  kill,
  ready,
  start,
  temporaryDirectory,
  terminate,
} from '../support/programs.ts'
import { startStores } from '../support/site.ts'

async function ask(url: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { ...authorized, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(10_000),
  })
  return (await response.json()) as Record<string, unknown>
}

test('a single aggregator becomes one of several: what was reserved is; the way back and a second log are refused', {
  timeout: 120_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const clickhouse = {
    CLICKHOUSE_URL: stores.engine.endpoint.url,
    CLICKHOUSE_PASSWORD: stores.engine.endpoint.password,
  }
  const shared = {
    ...clickhouse,
    DATABASE_URL: stores.server.url,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
  }
  const [own, another] = [temporaryDirectory(), temporaryDirectory()]
  const running: Running[] = []
  t.after(() => Promise.all(running.map(kill)))
  const begin = async (data: string, env: Readonly<Record<string, string>>): Promise<Running> => {
    const aggregator = await start('aggregator', { ...shared, FLEETMETER_DATA_DIR: data, ...env })
    running.push(aggregator)
    await ready(aggregator.url)
    return aggregator
  }
  const several = { FLEETMETER_AGGREGATOR_OWNER_LOG: 'postgres' }
  const reservation = { id: 'r-1', user_id: 'ada', amounts: { tokens: 7 }, expires_in_seconds: 3600 }

  // kill -9: without a snapshot, so that the records themselves go over.
  const single = await begin(own, {})
  assert.equal((await ask(single.url, '/v1/quota/reservations', reservation))['state'], 'open')
  await kill(single)
  const first = await begin(own, several)
  await eventually('it decides', async () => (await ask(first.url, '/v1/quota/reservations/r-1'))['state'] === 'open')
  assert.equal((await ask(first.url, '/v1/quota/reservations', { ...reservation, id: 'r-2' }))['state'], 'open')
  assert.equal((await terminate(first)).how, 0)

  // Its snapshot is in PostgreSQL now, and its term has ended: the next one decides at once.
  const again = await begin(own, several)
  await eventually(
    'it decides',
    async () => (await ask(again.url, '/v1/quota/reservations/r-2'))['state'] === 'open',
    5000,
  )
  assert.equal((await ask(again.url, '/v1/quota/reservations/r-1'))['state'], 'open')
  await kill(again)

  await assert.rejects(begin(own, {}), /ended \(78\)[\s\S]*was moved to PostgreSQL/)
  const other = await begin(another, {})
  await kill(other)
  await assert.rejects(begin(another, several), /ended \(78\)[\s\S]*two cannot become one/)
})

test('several aggregators without what they share are refused, with what to set', async () => {
  const several = { FLEETMETER_AGGREGATOR_OWNER_LOG: 'postgres', FLEETMETER_DATA_DIR: temporaryDirectory() }
  await assert.rejects(start('aggregator', several), /ended \(78\)[\s\S]*set database_url \(DATABASE_URL\)/)
  await assert.rejects(
    start('aggregator', { ...several, DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' }),
    /ended \(78\)[\s\S]*embedded engine belongs to one: set clickhouse_url/,
  )
})
