/** What a start waits for, and what it does not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isAway } from '../../../aggregator/directory/database.ts'
import { PostgresDatabase } from '../../../aggregator/directory/postgres-database.ts'
import { FleetmeterError } from '../../../proto/runtime/errors.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { startPostgres } from '../../support/postgres.ts'

test('a server that is gone, starting up, shutting down or out of connections is away; one that refuses is not', () => {
  const refusedWith = (sqlState: string): FleetmeterError =>
    new FleetmeterError('FM_DATABASE', 'x', { fields: { sqlState } })
  const states = ['08006', '53300', '57P01', '57P02', '57P03', '28P01', '25006', '42P01', '53100', '57P04', '57014']
  assert.deepEqual(
    states.filter((state) => isAway(refusedWith(state))),
    ['08006', '53300', '57P01', '57P02', '57P03'],
  )
  assert.equal(isAway(new FleetmeterError('FM_DATABASE', 'it does not answer')), true)
  assert.equal(isAway(new FleetmeterError('FM_CONFIG', 'x')), false)
})

test('a real server that has no connection left is away; one without that database is not', async (t) => {
  const server = await startPostgres(t)
  if (server === undefined) return
  const admin = new PostgresDatabase(server.url, silentLogger)
  t.after(() => admin.close())
  await admin.query('CREATE ROLE few LOGIN CONNECTION LIMIT 0')
  for (const [url, away] of [
    [server.url.replace('fleetmeter@', 'few@'), true],
    [server.url.replace(/postgres$/, 'nowhere'), false],
    [server.url.replace('fleetmeter@', 'nobody@'), false],
  ] as const) {
    const database = new PostgresDatabase(url, silentLogger)
    await assert.rejects(database.open(), (error) => isAway(error) === away, url)
    await database.close()
  }
})
