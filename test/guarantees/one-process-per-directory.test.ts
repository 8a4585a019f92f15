/** The data directory belongs to one process of a kind: a second one leaves with a plain message; a killed one leaves no lock. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freePort, kill, start, temporaryDirectory } from '../support/programs.ts'

for (const program of ['collector', 'aggregator'] as const) {
  test(`a second ${program} on the same directory exits 78 and says who has it`, { timeout: 60_000 }, async () => {
    const data = temporaryDirectory()
    const env = {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
    }
    const first = await start(program, env)
    await assert.rejects(start(program, env), (error: Error) => {
      assert.match(error.message, /ended \(78\)/)
      assert.match(error.message, new RegExp(`in use by another process \\(pid ${first.process.pid}\\)`))
      assert.match(error.message, /FLEETMETER_DATA_DIR/)
      return true
    })
    await kill(first)
    const again = await start(program, env)
    await kill(again)
  })
}

test('a wrong setting exits 78 and names it', async () => {
  await assert.rejects(
    start('collector', { FLEETMETER_COLLECTOR_SHARDS: 'many' }),
    /ended \(78\)[\s\S]*FLEETMETER_COLLECTOR_SHARDS: "many" is not allowed: expected a whole number from 0 to 64/,
  )
})

test('a port that is taken says so', async (t) => {
  const first = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
  })
  t.after(() => kill(first))
  await assert.rejects(
    start('collector', {
      FLEETMETER_DATA_DIR: temporaryDirectory(),
      FLEETMETER_COLLECTOR_LISTEN: new URL(first.url).host,
    }),
    /Cannot listen on .*another process using the port/,
  )
})
