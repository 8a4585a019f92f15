/**
 * Two aggregators over one PostgreSQL and one ClickHouse: thousands of reservations to both, where a thousand fit. The owner is killed;
 * the next one is stopped until somebody else has taken over, and wakes up as if nothing had happened. A thousand hold in the end, none
 * over, none lost; who asks again is answered the same, wherever; and what both were told of is logged once.
 *
 * What it rests on has its controls in test/aggregator/owner/postgres-log.test.ts and owner-door.test.ts. (With the generation taken out of
 * all statements of the build, and positions by the table, a hundred and more over a thousand hold here.)
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { PostgresDatabase } from '../../aggregator/directory/postgres-database.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import { eventBatch, receivedEvent, sendEvents } from '../support/events.ts'
import { eventually, kill, scrape, TOKEN } from '../support/programs.ts'
import { Site, startPair, startStores } from '../support/site.ts'

const CLIENT = fileURLToPath(new URL('../support/quota-client.mjs', import.meta.url))
const PROCESSES = 4
const REQUESTS = 3000
const AT_ONCE = 16
const ROOM = 1000
/** Asked of the one that was stopped, as soon as it goes on. */
const WOKEN = 50
const REQUEST = { user_id: 'ada', amounts: { tokens: 1 }, expires_in_seconds: 3600 }
/** Admissions go on so soon after the owner is gone, ms. */
const GOES_ON_MS = 15_000

type Reserved = readonly [id: string, statuses: readonly number[], body: Record<string, unknown>]

/** Waits until one decides, and more is held than before. */
async function goesOn(
  sites: readonly Site[],
  before: number,
): Promise<{ readonly owner: Site; readonly held: number }> {
  let found: { readonly owner: Site; readonly held: number } | undefined
  await eventually(
    'admissions go on',
    async () => {
      for (const site of sites) {
        if (!(await site.isOwner())) continue
        const held = await site.held()
        if (held > before) found = { owner: site, held }
      }
      return found !== undefined
    },
    2 * GOES_ON_MS,
  )
  return found!
}

/** Resolves with what the client was told. */
function client(sites: readonly Site[], prefix: string, count: number): Promise<Reserved[]> {
  const body = JSON.stringify(REQUEST)
  const urls = sites.map(({ url }) => url).join(',')
  const child = spawn(process.execPath, [CLIENT, urls, TOKEN, prefix, String(count), body, String(AT_ONCE)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  return new Promise((resolve, reject) =>
    child.once('exit', (code) =>
      code === 0 ? resolve(JSON.parse(output) as Reserved[]) : reject(new Error(`a client ended with ${code}`)),
    ),
  )
}

test('a thousand fit: a thousand hold, though the owner is killed and the next one is stopped past its term', {
  timeout: 180_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const [first, second] = await startPair(t, stores)
  const database = new PostgresDatabase(stores.server.url, silentLogger)
  t.after(() => database.close())
  assert.equal(await second.isOwner(), false)
  const quota = {
    level: 'user',
    resource: 'tokens',
    window: 'lifetime',
    valid_from: '2026-01-01T00:00:00Z',
    limit: ROOM,
  }
  assert.equal((await second.ask('/v1/quotas', quota)).status, 201)
  await eventually(
    'both answer by the definition',
    async () => (await first.held()) === 0 && (await second.held()) === 0,
  )

  // Events too, each to both at once, until both have said that it is stored.
  let isOver = false
  let isEnd = false
  t.after(() => {
    isOver = true
    isEnd = true
  })
  const sent: string[] = []
  const sendingEvents = (async () => {
    while (!isOver) {
      const events = Array.from({ length: 20 }, () => receivedEvent())
      const batch = eventBatch(events)
      await Promise.all(
        [first, second].map(async ({ url }) => {
          while ((await sendEvents(url, batch, 3000)) !== 200 && !isEnd) await sleep(200)
        }),
      )
      sent.push(...events.map(({ event }) => event.event_id))
      await sleep(50)
    }
  })()
  const asked = Array.from({ length: PROCESSES }, (_, i) =>
    client(i % 2 === 0 ? [first, second] : [second, first], `client-${i}`, REQUESTS / PROCESSES),
  )

  await eventually('some hold', async () => (await first.held()) >= ROOM / 4)
  const killed = performance.now()
  await kill(first.running)
  await first.again()
  const { owner, held: before } = await goesOn([first, second], ROOM / 4)
  const afterKill = performance.now() - killed
  assert.ok(before < ROOM, `${before} hold: there is room left to overspend`)
  const stopped = performance.now()
  owner.running.process.kill('SIGSTOP')
  await goesOn(
    [first, second].filter((site) => site !== owner),
    before - 1,
  )
  const afterStop = performance.now() - stopped
  owner.running.process.kill('SIGCONT')
  const woken = await Promise.all(
    Array.from({ length: WOKEN }, (_, i) => owner.ask('/v1/quota/reservations', { ...REQUEST, id: `woken-${i}` })),
  )
  t.diagnostic(
    `admissions went on ${Math.round(afterKill)} ms after kill -9, ${Math.round(afterStop)} ms after SIGSTOP`,
  )
  assert.ok(afterKill < GOES_ON_MS && afterStop < GOES_ON_MS)

  const answers = (await Promise.all(asked)).flat()
  const granted = answers.filter(([, , { granted: yes }]) => yes === true)
  const refused = answers.filter(([, statuses]) => statuses.at(-1) === 429)
  t.diagnostic(`${answers.filter(([, statuses]) => statuses.length > 1).length} were asked again`)
  const grantedToo = woken.filter(({ status }) => status === 201).length
  assert.deepEqual([granted.length + grantedToo, granted.length + refused.length], [ROOM, REQUESTS])
  const held = await Promise.all([first, second].map((site) => site.held()))
  assert.deepEqual(held, [ROOM, ROOM], 'both say so')
  const rows = await database.query(
    `SELECT count(*) AS n, count(DISTINCT key) AS keys FROM owner_log WHERE kind = 'quota.reserve'`,
  )
  assert.deepEqual(rows, [{ n: String(ROOM), keys: String(ROOM) }])

  // Whoever is asked again says the same.
  for (const site of [first, second]) {
    for (const [id, , said] of granted.filter((_, i) => i % 20 === 0)) {
      const again = await site.ask('/v1/quota/reservations', { ...REQUEST, id })
      assert.deepEqual([again.status, again.replayed, again.body['expires_at']], [200, true, said['expires_at']], id)
      assert.equal((await site.ask(`/v1/quota/reservations/${id}`)).body['state'], 'open')
    }
    for (const [id] of refused.filter((_, i) => i % 100 === 0))
      assert.equal((await site.ask(`/v1/quota/reservations/${id}`)).status, 404, id)
  }

  isOver = true
  await sendingEvents
  const logged = await database.query(`SELECT key, count(*) AS n FROM owner_log WHERE kind = 'event' GROUP BY key`)
  assert.deepEqual(
    logged.filter(({ n }) => n !== '1'),
    [],
    'each once',
  )
  assert.deepEqual(logged.map(({ key }) => String(key)).toSorted(), sent.toSorted())
  t.diagnostic(`${sent.length} events, each told to both`)
})

test('PostgreSQL is away for longer than a term: nothing is admitted, and the same process goes on with what was answered', {
  timeout: 120_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const site = await Site.start(t, stores)
  await eventually('it is the owner', () => site.isOwner())
  const reserve = (id: string) => site.ask('/v1/quota/reservations', { ...REQUEST, id })
  assert.equal((await reserve('before')).status, 201)
  await stores.server.kill()
  const meanwhile = await reserve('meanwhile')
  assert.deepEqual([meanwhile.status, meanwhile.body['code']], [503, 'SERVICE_UNAVAILABLE'])
  await eventually('it is the owner no more', async () => !(await site.isOwner()))
  assert.equal((await fetch(`${site.url}/readyz`)).status, 503)
  assert.equal((await reserve('later')).body['code'], 'NOT_OWNER')
  await stores.server.start()
  await eventually('it is the owner again', () => site.isOwner())
  assert.deepEqual([(await reserve('before')).replayed, (await reserve('meanwhile')).status], [true, 201])
  const metrics = await scrape(site.url)
  assert.equal(metrics.get('fleetmeter_aggregator_owner_log_generation'), 2)
  assert.equal(metrics.get('fleetmeter_aggregator_quota_reservations_open'), 2)
})
