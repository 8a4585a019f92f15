/**
 * The owner log is lost and ClickHouse is not: what was used still counts, from the first request on, and what is used then stands beside
 * it, in files and in PostgreSQL. (With positions from 1 again, what was used is not found, and new rows take the place of old ones.)
 */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { PostgresDatabase } from '../../aggregator/directory/postgres-database.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import type { Running } from '../support/programs.ts'
import { authorized, eventually, kill, ready, start, temporaryDirectory, terminate } from '../support/programs.ts'
import { Site, startStores } from '../support/site.ts'

const QUOTA = { level: 'user', resource: 'tokens', window: 'lifetime', valid_from: '2026-01-01T00:00:00Z', limit: 10 }
const WARNING = /rows of records that are not in the owner log/

type Ask = (
  path: string,
  body?: unknown,
) => Promise<{ readonly status: number; readonly body: Record<string, unknown> }>

async function used(ask: Ask): Promise<number> {
  const { status, body } = await ask('/v1/subjects/user/ada/quotas')
  const [figure] = (body['data'] ?? []) as { used: string }[]
  return status === 200 && figure !== undefined ? Number(figure.used) : -1
}

function use(ask: Ask, id: string, amount: number): ReturnType<Ask> {
  return ask('/v1/quota/adjustments', { id, user_id: 'ada', resource: 'tokens', amount, reason: 'for a test' })
}

async function sevenOfTen(ask: Ask): Promise<void> {
  assert.equal((await ask('/v1/quotas', QUOTA)).status, 201)
  await eventually('the quota is known', async () => (await used(ask)) === 0)
  for (const [i, amount] of [1, 2, 4].entries()) assert.equal((await use(ask, `before-${i}`, amount)).status, 201)
}

async function sevenOfTenStill(ask: Ask): Promise<void> {
  const reserve = (id: string, tokens: number): ReturnType<Ask> =>
    ask('/v1/quota/reservations', { id, user_id: 'ada', amounts: { tokens }, expires_in_seconds: 3600 })
  await eventually('somebody decides', async () => (await reserve('four', 4)).status !== 503)
  assert.equal((await reserve('four', 4)).status, 429)
  assert.equal((await reserve('one', 1)).status, 201)
  assert.equal((await use(ask, 'after', 1)).status, 201)
  assert.equal(await used(ask), 8)
}

test('the files of the owner log are lost: what was used is known', { timeout: 120_000 }, async (t) => {
  const data = temporaryDirectory()
  let running: Running | undefined
  t.after(() => running !== undefined && kill(running))
  const begin = async (): Promise<void> => {
    running = await start('aggregator', { FLEETMETER_DATA_DIR: data, FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0' })
    await ready(running.url)
  }
  const ask: Ask = async (path, body) => {
    const response = await fetch(`${running!.url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(15_000),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  await begin()
  await sevenOfTen(ask)
  await terminate(running!)
  rmSync(join(data, 'aggregator', 'owner'), { recursive: true })
  await begin()
  assert.match(running!.output(), WARNING)
  await sevenOfTenStill(ask)
  await terminate(running!)
  await begin()
  assert.doesNotMatch(running!.output(), WARNING, 'said once')
  assert.equal(await used(ask), 8)
})

test('the owner log in PostgreSQL is lost: what was used is known', { timeout: 120_000 }, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const site = await Site.start(t, stores)
  const ask: Ask = (path, body) => site.ask(path, body)
  await eventually('it is the owner', () => site.isOwner())
  await sevenOfTen(ask)
  await terminate(site.running)
  const database = new PostgresDatabase(stores.server.url, silentLogger)
  await database.query('DROP TABLE owner, owner_log, owner_files')
  await database.close()
  await site.again()
  await sevenOfTenStill(ask)
  assert.match(site.running.output(), WARNING)
  // kill -9: what is known of the new log alone does not take the place of what came before it.
  await kill(site.running)
  await site.again()
  await eventually('it is the owner again', () => site.isOwner())
  assert.equal(await used(ask), 8)
})
