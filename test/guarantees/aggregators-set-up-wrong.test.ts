/**
 * Several aggregators that are set up wrong, or whose PostgreSQL or owner does not do what it should: whoever asks is told so, within a
 * bounded time, and nobody takes it for something else.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PostgresDatabase } from '../../aggregator/directory/postgres-database.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import { authorized, eventually, scrape, terminate } from '../support/programs.ts'
import { Site, startPair, startStores } from '../support/site.ts'

/** Others wait so long for an owner that is silent. */
const TERM_MS = 10_000
const reservation = (id: string): object => ({ id, user_id: 'ada', amounts: { tokens: 1 }, expires_in_seconds: 3600 })

test('an address that leads nowhere, or back; another token; bodies that are too long or end early: each is said', {
  timeout: 120_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const first = await Site.start(t, stores)
  await eventually('the first is the owner', () => first.isOwner())
  const second = await Site.start(t, stores, { FLEETMETER_AGGREGATOR_PEER_URL: `${first.url}/` })
  const stranger = await Site.start(t, stores, { FLEETMETER_TOKEN: 'another-token' })
  const post = (url: string, body: string, token = 'test-token'): Promise<Response> =>
    fetch(`${url}/v1/quota/reservations`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body,
      signal: AbortSignal.timeout(15_000),
    })
  const detailOf = async (answer: Response): Promise<string> => ((await answer.json()) as { detail: string }).detail

  assert.equal((await post(second.url, JSON.stringify(reservation('a')))).status, 201)
  const foreign = await post(stranger.url, JSON.stringify(reservation('b')), 'another-token')
  assert.equal(foreign.status, 503)
  assert.match(await detailOf(foreign), /have to be the same for all aggregators/)
  assert.equal((await post(second.url, '{}', 'unknown')).status, 401)
  const long = await post(second.url, JSON.stringify({ ...reservation('c'), text: 'x'.repeat(1_000_000) }))
  assert.equal(long.status, 413)

  const { hostname, port } = new URL(second.url)
  for (const head of ['Content-Length: 1000', 'Transfer-Encoding: chunked']) {
    const socket = connect(Number(port), hostname)
    await once(socket, 'connect')
    socket.write(
      `POST /v1/quota/reservations HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorized['Authorization']}\r\nContent-Type: application/json\r\n${head}\r\n\r\n5\r\n{"id"`,
    )
    await sleep(100)
    socket.destroy()
  }
  await sleep(200)
  assert.equal((await post(second.url, JSON.stringify(reservation('d')))).status, 201)
  assert.doesNotMatch(second.running.output(), /"level":50/)

  // The second takes over, and tells the first its own address.
  await terminate(stranger.running)
  await terminate(first.running)
  await eventually('the second is the owner', () => second.isOwner())
  await first.again()
  const back = await post(first.url, JSON.stringify(reservation('e')))
  assert.equal(back.status, 503)
  assert.match(await detailOf(back), /peer_url.* leads back/)
})

test('PostgreSQL takes a second and a half for each append: it is slow, and the owner stays', {
  timeout: 120_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const [first, second] = await startPair(t, stores)
  const database = new PostgresDatabase(stores.server.url, silentLogger)
  t.after(() => database.close())
  await database.query(
    `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END'`,
  )
  await database.query('CREATE TRIGGER slow BEFORE INSERT ON owner_log FOR EACH STATEMENT EXECUTE FUNCTION slow()')
  const until = performance.now() + 10_000
  const statuses = new Map<number, number>()
  await Promise.all(
    Array.from({ length: 8 }, async (_, i) => {
      for (let k = 0; performance.now() < until; k++) {
        const { status } = await (i % 2 === 0 ? first : second).ask('/v1/quota/reservations', reservation(`${i}-${k}`))
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        await sleep(20)
      }
    }),
  )
  t.diagnostic(JSON.stringify([...statuses]))
  await database.query('DROP TRIGGER slow ON owner_log')
  const terms = (await scrape(first.url)).get('fleetmeter_aggregator_owner_terms_total')
  const others = (await scrape(second.url)).get('fleetmeter_aggregator_owner_terms_total')
  assert.deepEqual([terms, others], [1, 0])
  assert.deepEqual([...statuses.keys()], [201])
})

test('SIGTERM of the owner under load: the next one decides long before the term is over, and what was granted holds', {
  timeout: 120_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const [first, second] = await startPair(t, stores)
  let isOver = false
  t.after(() => {
    isOver = true
  })
  const granted: { readonly id: string; readonly at: number }[] = []
  const asking = Array.from({ length: 16 }, async (_, i) => {
    for (let k = 0; !isOver; k++) {
      const id = `${i}-${k}`
      for (let turn = 0; !isOver; turn++) {
        const site = (i + turn) % 2 === 0 ? first : second
        const answer = await site.ask('/v1/quota/reservations', reservation(id)).catch(() => undefined)
        if (answer?.status === 201 || answer?.status === 200) {
          granted.push({ id, at: performance.now() })
          break
        }
        await sleep(20)
      }
    }
  })
  await eventually('some are granted', () => granted.length > 300)
  const from = performance.now()
  const { how, ms } = await terminate(first.running)
  await eventually('the second decides', () => second.isOwner(), 15_000)
  const decides = performance.now() - from
  await sleep(500)
  isOver = true
  await Promise.all(asking)
  let longest = 0
  for (const [i, { at }] of granted.entries()) if (i > 0) longest = Math.max(longest, at - granted[i - 1]!.at)
  t.diagnostic(
    `ended (${how}) after ${Math.round(ms)} ms, the other one decides after ${Math.round(decides)} ms, without a grant for ${Math.round(longest)} ms`,
  )
  assert.equal(how, 0)
  assert.ok(longest < TERM_MS / 2)
  for (const { id } of granted.filter((_, i) => i % 20 === 0))
    assert.equal((await second.ask(`/v1/quota/reservations/${id}`)).body['state'], 'open', id)
  const database = new PostgresDatabase(stores.server.url, silentLogger)
  const rows = await database.query(
    `SELECT count(DISTINCT key) AS keys, count(*) AS n FROM owner_log WHERE kind = 'quota.reserve'`,
  )
  await database.close()
  assert.equal(rows[0]!['keys'], rows[0]!['n'])
  assert.ok(Number(rows[0]!['keys']) >= new Set(granted.map(({ id }) => id)).size)
})

test('snapshots in PostgreSQL that nobody can read: nobody goes on without them until they are removed, and /readyz says why', {
  timeout: 120_000,
}, async (t) => {
  const stores = await startStores(t)
  if (stores === undefined) return
  const site = await Site.start(t, stores)
  await eventually('it is the owner', () => site.isOwner())
  assert.equal((await site.ask('/v1/quota/reservations', reservation('kept'))).status, 201)
  await terminate(site.running)
  const database = new PostgresDatabase(stores.server.url, silentLogger)
  t.after(() => database.close())
  await database.query(`UPDATE owner_files SET content = 'FMS2 ' WHERE name LIKE 'snapshot-%'`)
  await site.again()
  const said = async (): Promise<string> => (await fetch(`${site.url}/readyz`)).text()
  await eventually('it says so', async () => (await said()).includes('here the owner log cannot be read: No snapshot'))
  await sleep(5000)
  assert.equal(await site.isOwner(), false, 'it was tried again, and refused again')
  await database.query(`DELETE FROM owner_files WHERE name LIKE 'snapshot-%'`)
  await eventually('it is the owner', () => site.isOwner())
  assert.equal((await site.ask('/v1/quota/reservations/kept')).body['state'], 'open', 'of the log alone')
})
