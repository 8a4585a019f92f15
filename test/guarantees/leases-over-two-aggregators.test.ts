/**
 * Slices of a quota at a collector that talks to one of two aggregators over one PostgreSQL: what fits is granted, to the unit, though the
 * owner is killed, the next one is stopped until another one has taken over, and the collector is killed with decisions that nobody was
 * told of; and all that was lent and not used is there again. (With a slice that is free again once it is in doubt, 608 of 600 were granted.)
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PostgresDatabase } from '../../aggregator/directory/postgres-database.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import type { Figure, Lease } from '../support/lease-clients.ts'
import { ask, Clients } from '../support/lease-clients.ts'
import type { Running } from '../support/programs.ts'
import { eventually, freePort, kill, start, temporaryDirectory } from '../support/programs.ts'
import type { Site } from '../support/site.ts'
import { startPair, startStores } from '../support/site.ts'

const TERM_MS = 2000
const LIMIT = 400
const QUOTA = {
  resource: 'tokens',
  window: 'lifetime',
  valid_from: '2026-01-01T00:00:00Z',
  level: 'user',
  limit: LIMIT,
}

test('exactly what fits is granted, at a collector and two aggregators, whoever is killed or stopped', {
  timeout: 150_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const env = { FLEETMETER_AGGREGATOR_QUOTA_LEASE_TERM_MS: String(TERM_MS) }
  const [first, second] = await startPair(t, stores, env)
  const database = new PostgresDatabase(stores.server.url, silentLogger)
  t.after(() => database.close())

  const port = await freePort()
  const data = temporaryDirectory()
  const startCollector = (): Promise<Running> =>
    start('collector', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_COLLECTOR_ID: 'edge',
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${port}`,
      FLEETMETER_AGGREGATOR_URL: second.url,
      FLEETMETER_COLLECTOR_QUOTA_LEASES: 'true',
      FLEETMETER_COLLECTOR_QUOTA_LEASE_TIMEOUT_MS: '1000',
      FLEETMETER_COLLECTOR_HOST: 'false',
    })
  let collector = await startCollector()
  t.after(() => kill(collector))

  assert.equal((await second.ask('/v1/quotas', QUOTA)).status, 201)
  const figure = async (site: Site): Promise<Figure | undefined> =>
    ((await ask(site.url, '/v1/subjects/user/ada/quotas')).body['data'] as Figure[] | undefined)?.[0]
  await eventually('both answer by the definition', async () =>
    (await Promise.all([first, second].map(figure))).every((one) => one?.held === '0'),
  )

  const urls = new Map([
    ['edge', `http://127.0.0.1:${port}`],
    ['first', first.url],
    ['second', second.url],
  ])
  const clients = new Clients((at) => urls.get(at)!, 'ada')
  await clients.warm('edge', 3) // slices come by the standby

  // Granted up to here, until something happened.
  let most = LIMIT / 4
  t.after(() => {
    clients.isOver = true
  })
  const asking = ['edge', 'edge', 'first', 'second', 'second'].map(async (at) => {
    while (!clients.isOver) {
      if (clients.granted.size >= most) await sleep(20)
      else if (!(await clients.one(at))) await sleep(100)
      await sleep(10)
    }
  })
  await eventually('a quarter is granted', () => clients.granted.size >= most)
  await kill(first.running)
  most += 20 // decided at the collector, while nobody is the owner
  await eventually('the second is the owner', () => second.isOwner())
  await first.again()
  most = LIMIT / 2
  await eventually('a half is granted', () => clients.granted.size >= most)
  await clients.warm('edge', 3)

  const before = clients.local.size
  second.running.process.kill('SIGSTOP')
  most = Number.POSITIVE_INFINITY // more than fits, where it is granted
  await eventually('the collector grants what nobody hears of', () => clients.local.size > before)
  await kill(collector)
  const unheard = clients.local.size - before
  collector = await startCollector()
  await eventually('the first is the owner again', () => first.isOwner())
  await eventually('nothing else fits', async () => {
    const [lease] = ((await ask(first.url, '/v1/quota/leases')).body['data'] ?? []) as Lease[]
    return lease?.state === 'in_doubt' && (clients.refused.get('first') ?? 0) >= 5
  })
  const inDoubt = await figure(first)
  assert.ok(Number(inDoubt!.in_doubt) >= unheard, JSON.stringify(inDoubt))
  assert.equal(Number(inDoubt!.held) + Number(inDoubt!.leased), LIMIT)
  second.running.process.kill('SIGCONT')

  await clients.allGranted(LIMIT, 'first')
  await sleep(1500) // more would be granted now
  clients.isOver = true
  await Promise.all(asking)
  t.diagnostic(
    `${clients.granted.size} granted, ${clients.local.size} by the collector, ${unheard} that nobody heard of`,
  )
  assert.equal(clients.granted.size, LIMIT)
  for (const site of [first, second])
    await eventually('nothing is lent any more, and what was granted is held', async () => {
      const { used, held, leased, in_doubt } = (await figure(site))!
      return used === '0' && held === String(LIMIT) && leased === '0' && in_doubt === '0'
    })
  const rows = await database.query(`SELECT DISTINCT key FROM owner_log WHERE kind = 'quota.reserve'`)
  assert.deepEqual(rows.map(({ key }) => String(key)).toSorted(), [...clients.granted].toSorted())
})
