/** What only the owner answers: an owner that was replaced answers nothing from memory; a standby asks the owner, and never in a circle. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { OwnerDoorOptions } from '../../../aggregator/owner/owner-door.ts'
import { ownerDoor } from '../../../aggregator/owner/owner-door.ts'
import { FORWARDED_HEADER, Peers } from '../../../aggregator/owner/peers.ts'
import type { PostgresLog } from '../../../aggregator/owner/postgres-log.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { receivedEvent } from '../../support/events.ts'
import { ownerDatabase, takeOver } from '../../support/owner-postgres.ts'
import { startPostgres } from '../../support/postgres.ts'
import { eventually } from '../../support/programs.ts'

const CHECK = 'http://here/v1/quota/check'
const clock = { now: () => Date.now(), monotonic: () => performance.now() }
const nobody = { forward: () => Promise.resolve(new Response(null, { status: 503 })) }
const rest = (): Response => new Response('mine', { status: 200 })

const peersOptions = {
  holder: 'a',
  token: () => 'x',
  knows: () => true,
  monotonic: () => performance.now(),
  log: silentLogger,
}

function doorOf(log: PostgresLog, more: Partial<OwnerDoorOptions> = {}): ReturnType<typeof ownerDoor> {
  const decide = (): Response => Response.json({ granted: true, as_of: 'now' })
  return ownerDoor({ current: () => ({ log, decide }), peers: nobody, rest, clock, ...more })
}

test('an owner that was replaced and does not know it answers nothing from memory; control: unasked, it would', async (t) => {
  const server = await startPostgres(t)
  if (server === undefined) return
  const db = await ownerDatabase(t, server.url)
  const old = await takeOver(db)
  const post = (): Request => new Request(CHECK, { method: 'POST', body: '{}' })
  assert.equal((await doorOf(old)(post())).status, 200)
  await takeOver(db)
  const refused = await doorOf(old)(post())
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [503, '1'])
  assert.equal(((await refused.json()) as { code: string }).code, 'NOT_OWNER')

  const unasked = { confirmedAt: 0, confirm: () => Promise.resolve() } as PostgresLog
  assert.equal((await doorOf(unasked)(post())).status, 200, 'the control answers for an owner that has moved on')
})

test('what was appended or confirmed since the request came costs no question; look-ups never do', async (t) => {
  const server = await startPostgres(t)
  if (server === undefined) return
  const db = await ownerDatabase(t, server.url)
  let questions = 0
  const counting = {
    query: (sql: string, given?: readonly unknown[]) => {
      questions++
      return db.query(sql, given)
    },
  }
  const log = await takeOver(db, counting)
  questions = 0
  const record = { kind: 'k', tenant: 't', key: 'a', at: 1, body: '{}' }
  const appending = doorOf(log, {
    current: () => ({
      log,
      decide: async () => {
        await log.append([record])
        return new Response('{}')
      },
    }),
  })
  await appending(new Request(CHECK, { method: 'POST' }))
  assert.equal(questions, 1)
  await doorOf(log)(new Request('http://here/v1/subjects/user/ada/quotas'))
  assert.equal(questions, 1)
  await doorOf(log)(new Request(CHECK, { method: 'POST' }))
  assert.equal(questions, 2)
})

test('look-ups of an owner that was not told for 3 s that it is one say so', async () => {
  const log = { confirmedAt: performance.now() } as PostgresLog
  const subject = (): Request => new Request('http://here/v1/subjects/user/ada/quotas')
  assert.deepEqual(await (await doorOf(log)(subject())).json(), { granted: true, as_of: 'now' })
  const later = { ...clock, monotonic: () => performance.now() + 4000 }
  const answer = (await (await doorOf(log, { clock: later })(subject())).json()) as { degraded: boolean; as_of: string }
  assert.equal(answer.degraded, true)
  const age = Date.now() - Date.parse(answer.as_of)
  assert.ok(age >= 3900 && age < 6000, `${age}`)
})

interface Seen {
  readonly method: string
  readonly url: string
  readonly forwardedBy: string | undefined
  readonly body: string
}

/** An owner at some address, which answers 201 with what it was asked. */
async function ownerAt(t: TestContext): Promise<{ readonly address: string; readonly seen: Seen[] }> {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      const by = request.headers[FORWARDED_HEADER]
      seen.push({ method: request.method!, url: request.url!, forwardedBy: by?.toString(), body })
      response.writeHead(201, { 'Content-Type': 'application/json', Location: '/there' }).end('{"granted":true}')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

test('a standby answers what the owner answers, and 503 where there is none; what was forwarded is not forwarded again', async (t) => {
  const { address, seen } = await ownerAt(t)
  let isThere = true
  const other = (): ReturnType<ConstructorParameters<typeof Peers>[0]['other']> =>
    isThere ? { generation: 1, holder: 'b', address, alive: true } : undefined
  const peers = new Peers({ ...peersOptions, other })
  const door = ownerDoor({ current: () => undefined, peers, rest, clock })
  const post = (headers: Record<string, string> = {}, body = '{"id":"1"}'): Request =>
    new Request(`${CHECK}?x=1`, { method: 'POST', body, headers })
  const answer = await door(post())
  assert.deepEqual(
    [answer.status, answer.headers.get('location'), await answer.json()],
    [201, '/there', { granted: true }],
  )
  assert.deepEqual(seen, [{ method: 'POST', url: '/v1/quota/check?x=1', forwardedBy: 'a', body: '{"id":"1"}' }])
  assert.equal((await door(post({ [FORWARDED_HEADER]: 'b' }))).status, 503)
  assert.equal((await door(post({}, 'x'.repeat(70_000)))).status, 413)
  assert.equal(await (await door(new Request('http://here/v1/hosts'))).text(), 'mine')
  assert.equal(seen.length, 1)
  isThere = false
  assert.deepEqual([(await door(post())).status, (await door(post())).headers.get('retry-after')], [503, '1'])
  // What is stored can be read without an owner.
  assert.equal(await (await door(new Request('http://here/v1/tasks'))).text(), 'mine')
  const [outcome] = await peers.take([receivedEvent()])
  assert.ok(typeof outcome === 'object' && outcome.refused === 'log')
})

/** An owner that answers what it is told to, with its standby's peers. */
async function standbyOf(t: TestContext, answer: (respond: () => void) => void, status: number): Promise<Peers> {
  const server = createServer((request, response) => {
    request.resume()
    answer(() => response.writeHead(status, { 'Content-Type': 'application/json' }).end('{"message":"Unauthorized"}'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const knows = (authorization: string | undefined): boolean => authorization === 'Bearer ours'
  return new Peers({ ...peersOptions, knows, other: () => ({ generation: 1, holder: 'b', address, alive: true }) })
}

test('an owner that does not know a token which is known here: 503 that says so; one that is known nowhere is 401', async (t) => {
  const peers = await standbyOf(t, (respond) => respond(), 401)
  const ask = (token: string): Promise<Response> =>
    peers.forward(new Request(CHECK, { method: 'POST', headers: { Authorization: `Bearer ${token}` }, body: '{}' }))
  const known = await ask('ours')
  assert.equal(known.status, 503)
  assert.match(((await known.json()) as { detail: string }).detail, /have to be the same for all aggregators/)
  assert.equal((await ask('nobody')).status, 401)
  const [outcome] = await peers.take([receivedEvent()])
  assert.ok(typeof outcome === 'object')
  assert.match(String(outcome.error), /answers 401: Unauthorized \(the token and the keys have to be the same/)
})

test('an address that leads back to the standby itself is said to', async (t) => {
  const peers = await standbyOf(t, (respond) => respond(), 200)
  const back = await peers.forward(new Request(CHECK, { method: 'POST', headers: { [FORWARDED_HEADER]: 'a' } }))
  assert.equal(back.status, 503)
  assert.match(((await back.json()) as { detail: string }).detail, /peer_url.* leads back to this aggregator/)
})

test('an owner that is slow has five hundred requests of a standby at most; the others are told at once to come again', async (t) => {
  const held: (() => void)[] = []
  const peers = await standbyOf(t, (respond) => void held.push(respond), 200)
  for (let i = 0; i < 600; i++) {
    const trickle = { method: 'POST', body: new ReadableStream({}), duplex: 'half' } as RequestInit
    void peers.forward(new Request(CHECK, trickle)) // never ends, and takes nobody's place
  }
  const asked = Array.from({ length: 600 }, () => peers.forward(new Request(CHECK, { method: 'POST', body: '{}' })))
  await eventually('five hundred are there', () => held.length >= 500)
  const refused = await Promise.all(asked.slice(500))
  assert.deepEqual([...new Set(refused.map(({ status }) => status))], [503])
  assert.equal(held.length, 500)
  for (const respond of held.splice(0)) respond()
  assert.deepEqual([...new Set((await Promise.all(asked)).map(({ status }) => status))], [200, 503])
  const after = peers.forward(new Request(CHECK, { method: 'POST', body: '{}' }))
  await eventually('the next one is there', () => held.length === 1)
  held[0]!()
  assert.equal((await after).status, 200)
})
