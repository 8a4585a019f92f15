/** What a directory's change was answered is there after kill -9, also of a file; who may; what the API says of itself is true. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { eventBatch, receivedEvent, sendEvents } from '../support/events.ts'
import { startPostgres } from '../support/postgres.ts'
import type { Env, Running } from '../support/programs.ts'
import { authorized, eventually, freePort, kill, start, temporaryDirectory } from '../support/programs.ts'

const KEYS = [
  { name: 'reader', token: 'reader', tenant: 'team-a', may: ['read'] },
  { name: 'manager', token: 'manager', tenant: 'team-a', may: ['read', 'manage'] },
]
const JSON_TYPE = { 'Content-Type': 'application/json' }
const MEMBERSHIP = { user_id: 'u1', project: 'p1', department: 'd1', valid_from: '2026-01-01T00:00:00Z' }

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly text: string
  readonly headers: Headers
}

async function ask(url: string, path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`${url}${path}`, { ...init, headers: { ...authorized, ...init.headers } })
  const text = await response.text()
  const json = /json/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, body: json ? JSON.parse(text) : {}, text, headers: response.headers }
}

function post(url: string, path: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return ask(url, path, { method: 'POST', body: JSON.stringify(body), headers: { ...JSON_TYPE, ...headers } })
}

async function aggregator(t: { after(f: () => Promise<void>): void }, env: Env): Promise<Running> {
  const running = await start('aggregator', {
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
    FLEETMETER_KEYS: JSON.stringify(KEYS),
    FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '1000',
    FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000',
    ...env,
  })
  t.after(() => kill(running))
  return running
}

test('what a change of a directory was answered survives kill -9', { timeout: 300_000 }, async (t) => {
  const env = { FLEETMETER_DATA_DIR: temporaryDirectory() }
  let running = await aggregator(t, env)
  const known = new Map<string, unknown>()
  for (let round = 0; round < 3; round++) {
    // Killed as soon as the last of these is answered: with whatever is under way.
    for (let i = 0; i < 3; i++) {
      const made = await post(running.url, '/v1/memberships', { ...MEMBERSHIP, user_id: `u${round}-${i}` })
      assert.equal(made.status, 201, made.text)
      known.set(String(made.body['id']), made.body)
    }
    const unanswered = post(running.url, '/v1/memberships', { ...MEMBERSHIP, user_id: `x${round}` }).catch(
      () => undefined,
    )
    await kill(running)
    await unanswered
    running = await aggregator(t, env)
    const { body } = await ask(running.url, '/v1/memberships?limit=1000')
    const found = new Map((body['data'] as { id: string }[]).map((entry) => [entry.id, entry]))
    for (const [id, entry] of known) assert.deepEqual(found.get(id), entry)
    // Of the one that was not answered: it is there or not, never twice.
    assert.ok(found.size <= known.size + round + 1)
  }
  assert.equal((await ask(running.url, '/readyz')).status, 200)
})

test('two aggregators on one PostgreSQL: an answered change is seen by the other, also when its own was killed', {
  timeout: 300_000,
}, async (t) => {
  const postgres = await startPostgres(t)
  if (postgres === undefined) return
  const one = await aggregator(t, { FLEETMETER_DATA_DIR: temporaryDirectory(), DATABASE_URL: postgres.url })
  const two = await aggregator(t, { FLEETMETER_DATA_DIR: temporaryDirectory(), DATABASE_URL: postgres.url })
  const made = await post(one.url, '/v1/memberships', MEMBERSHIP)
  assert.equal(made.status, 201, made.text)
  await kill(one)
  const place = made.headers.get('location')!
  await eventually('the other one has it', async () => (await ask(two.url, place)).status === 200)
  assert.deepEqual((await ask(two.url, place)).body, made.body)
  const change = { method: 'DELETE', headers: { 'If-Match': made.headers.get('etag')! } }
  assert.equal((await ask(two.url, place, change)).status, 200)
  assert.equal((await ask(two.url, place, change)).status, 412)
})

test('directories over HTTP: rights, tenants, ETags, repeats, files, problems', { timeout: 300_000 }, async (t) => {
  const { url } = await aggregator(t, { FLEETMETER_DATA_DIR: temporaryDirectory() })
  const manager = { Authorization: 'Bearer manager' }
  const reader = { Authorization: 'Bearer reader' }

  assert.equal((await post(url, '/v1/memberships', MEMBERSHIP, { Authorization: 'Bearer wrong' })).status, 401)
  const forbidden = await post(url, '/v1/memberships', MEMBERSHIP, reader)
  assert.equal(forbidden.status, 403)
  assert.match(String(forbidden.body['detail']), /right "manage"/)
  assert.equal(forbidden.headers.get('content-type'), 'application/problem+json')

  const made = await post(url, '/v1/memberships', MEMBERSHIP, { ...manager, 'Idempotency-Key': 'k1' })
  assert.equal(made.status, 201, made.text)
  const place = made.headers.get('location')!
  const etag = made.headers.get('etag')!
  assert.equal(
    (await post(url, '/v1/memberships', MEMBERSHIP, { ...manager, 'Idempotency-Key': 'k1' })).text,
    made.text,
  )
  assert.equal((await post(url, '/v1/memberships', {}, { ...manager, 'Idempotency-Key': 'k1' })).status, 400)
  assert.equal((await ask(url, place)).status, 404, 'another tenant has no such entry')
  assert.equal((await ask(url, place, { headers: { 'X-Scope-OrgID': 'team-a' } })).status, 200)
  assert.equal((await ask(url, place, { headers: { ...reader, 'If-None-Match': etag } })).status, 304)

  const wrong = await post(
    url,
    '/v1/memberships',
    { user_id: 5, project: 'a\u0000b', is_default: 'yes', valid_from: 'yesterday', valid_to: null, what: 1 },
    manager,
  )
  assert.equal(wrong.status, 400)
  assert.deepEqual(
    (wrong.body['errors'] as { field: string }[]).map(({ field }) => field),
    ['what', 'user_id', 'project', 'is_default', 'valid_from'],
  )
  for (const [body, status] of [
    ['{"user_id":', 400],
    ['[]', 400],
    ['null', 400],
    ['"__proto__"', 400],
    ['{"__proto__":{"user_id":"x"}}', 400],
    [`"${'x'.repeat(300_000)}"`, 413],
  ] as const) {
    const answer = await ask(url, '/v1/memberships', { method: 'POST', body, headers: { ...JSON_TYPE, ...manager } })
    assert.equal(answer.status, status, body.slice(0, 40))
  }
  const shared = {
    resource: 'tokens',
    currency: 'EUR',
    amount_micros: 3,
    per: 1000,
    valid_from: '2026-01-01T00:00:00Z',
    tenant: '*',
  }
  assert.equal(
    (await post(url, '/v1/prices', shared, manager)).status,
    400,
    'only the admin says what is of all tenants',
  )
  const price = await post(url, '/v1/prices', shared)
  assert.equal(price.status, 201, price.text)
  assert.equal(
    (await ask(url, price.headers.get('location')!, { headers: reader })).status,
    200,
    'and all tenants see it',
  )
  const edit = { method: 'DELETE', headers: { ...manager, 'If-Match': price.headers.get('etag')! } }
  assert.equal((await ask(url, price.headers.get('location')!, edit)).status, 403)

  const csv = { method: 'POST', headers: { ...manager, 'Content-Type': 'text/csv' } }
  const names = '\ufeffnode_id,host_name,instances,gpu_count,valid_from\r\n'
  const file = `${names}n1,=cmd(),10.0.0.1:9100;10.0.0.1:9400,8,2026-01-01T00:00:00Z\r\nn2,"h, 2",,,2026-01-01T00:00:00Z\r\n`
  const bad = await ask(url, '/v1/nodes', {
    ...csv,
    body: `${names}n1,h,,8,2026-01-01\r\nn2,h,,many,2026-01-01T00:00:00Z\r\n`,
  })
  assert.deepEqual(
    (bad.body['errors'] as { line: number; field: string }[]).map(({ line, field }) => [line, field]),
    [
      [2, 'valid_from'],
      [3, 'gpu_count'],
    ],
  )
  assert.deepEqual((await ask(url, '/v1/nodes?dry_run=true', { ...csv, body: file })).body['created'], 2)
  assert.deepEqual((await ask(url, '/v1/nodes', { headers: reader })).body['data'], [])
  assert.deepEqual((await ask(url, '/v1/nodes', { ...csv, body: file })).body['created'], 2)
  const out = await ask(url, '/v1/nodes', { headers: { ...reader, Accept: 'text/csv' } })
  assert.match(out.text, /,n1,'=cmd\(\),,10\.0\.0\.1:9100;10\.0\.0\.1:9400,/)
  assert.equal((await ask(url, '/v1/nodes', { ...csv, body: out.text })).body['unchanged'], 2)

  const pages: string[] = []
  for (let cursor: unknown = ''; cursor !== null; ) {
    const page = await ask(url, `/v1/nodes?limit=1${cursor === '' ? '' : `&cursor=${cursor}`}`, { headers: reader })
    pages.push(...(page.body['data'] as { node_id: string }[]).map(({ node_id }) => node_id))
    cursor = page.body['next_cursor']
  }
  assert.deepEqual(pages, ['n1', 'n2'])
  assert.equal(
    ((await ask(url, '/v1/nodes?at=2025-01-01T00:00:00Z', { headers: reader })).body['data'] as unknown[]).length,
    0,
  )
  assert.equal((await ask(url, '/v1/nodes?nope=1', { headers: reader })).status, 400)
  assert.equal((await ask(url, '/v1/nodes', { method: 'PATCH' })).headers.get('allow'), 'GET, HEAD, POST')

  await describesItself(url, place)
})

/** Quotas of whoever is named: there is no subject that is not there. */
const ANY_SUBJECT = '/v1/subjects/{level}/'

/** /openapi.json is sound, and what is answered is as it says: by every path, of what is there and of what is not. */
async function describesItself(url: string, membership: string): Promise<void> {
  const { body: document } = await ask(url, '/openapi.json')
  const sound = await new Validator().validate(document)
  assert.ok(sound.valid, JSON.stringify(sound.errors))
  const ajv = new Ajv2020({ strict: false })
  addFormats.default(ajv)
  ajv.addSchema({ ...document, $id: 'api' })
  const expect = (path: string, schema: string, answer: Answer): void =>
    assert.ok(ajv.validate(`api#${schema}`, answer.body), `${path}: ${ajv.errorsText()} ${answer.text}`)

  const task = receivedEvent({ event_type: 'xumi.generation.start', task_id: randomUUID() }, { tenant: 'team-a' })
  assert.equal(await sendEvents(url, eventBatch([task])), 200)
  const inTeam = { headers: { 'X-Scope-OrgID': 'team-a' } }
  const there: Readonly<Record<string, string>> = {
    '/v1/memberships/{id}': membership,
    '/v1/events/{event_id}': `/v1/events/${task.event.event_id}`,
    '/v1/tasks/{task_id}': `/v1/tasks/${task.event['task_id']}`,
    [`${ANY_SUBJECT}{id}/quotas`]: '/v1/subjects/user/ada/quotas',
  }
  await eventually(
    'the task has a row',
    async () => (await ask(url, there['/v1/tasks/{task_id}']!, inTeam)).status === 200,
  )

  const paths = document['paths'] as Record<string, Record<string, unknown>>
  assert.deepEqual(
    Object.keys(there).filter((path) => !(path in paths)),
    [],
  )
  for (const path of Object.keys(paths)) {
    const pointer = path.replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D')
    const schema = `/paths/${pointer}/get/responses/200/content/application~1json/schema`
    const gives = paths[path]!['get'] !== undefined
    const absent = path.replace(/\{\w+\}/, randomUUID())
    if (gives && absent !== path && !path.startsWith(ANY_SUBJECT)) {
      const answer = await ask(url, absent, inTeam)
      assert.equal(answer.status, 404, `${path}: ${answer.text}`)
      assert.equal(answer.headers.get('content-type'), 'application/problem+json', path)
      expect(path, '/components/schemas/Problem', answer)
    }
    const real = absent === path ? path.replace('metric_labels', 'metric_labels?name=up') : there[path]
    if (gives && real !== undefined) {
      const answer = await ask(url, real, inTeam)
      assert.equal(answer.status, 200, `${path}: ${answer.text}`)
      expect(path, schema, answer)
    }
    // What it does not offer is not there.
    const offered = Object.keys(paths[path]!).map((method) => method.toUpperCase())
    const { headers } = await ask(url, real ?? absent, { ...inTeam, method: 'PATCH' })
    const allowed = headers.get('allow')?.split(', ') ?? []
    assert.deepEqual(allowed.filter((method) => method !== 'HEAD').sort(), offered.sort(), path)
  }
}
