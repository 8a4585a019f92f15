/** Quotas over HTTP: rights, tenants, what is refused and how, and that answers are as /openapi.json says. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { Hono } from 'hono'
import { openApiDocument } from '../../../aggregator/openapi/document.ts'
import { CheckDoor } from '../../../aggregator/quotas/check-door.ts'
import { UnderWay } from '../../../aggregator/quotas/gate.ts'
import { quotaApi } from '../../../aggregator/quotas/openapi.ts'
import type { QuotaRoutesOptions } from '../../../aggregator/quotas/quota-routes.ts'
import { quotaRoutes } from '../../../aggregator/quotas/quota-routes.ts'
import type { QuotaServiceOptions } from '../../../aggregator/quotas/quota-service.ts'
import { Access } from '../../../proto/runtime/access.ts'
import type { Right } from '../../../proto/runtime/keys.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { QuotaRig } from '../../support/quota-rig.ts'

const RESERVATIONS = '/v1/quota/reservations'
const ADA = { user_id: 'ada', amounts: { tokens: 60 } }

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

const ajv = new Ajv2020({ strict: false })
addFormats.default(ajv)
ajv.addSchema({ ...openApiDocument([quotaApi]), $id: 'api' })

function isAsSaid(schema: string, body: unknown): void {
  assert.ok(ajv.validate(`api#/components/schemas/${schema}`, body), ajv.errorsText())
}

class Web {
  readonly rig: QuotaRig
  readonly options: QuotaRoutesOptions
  readonly #app: Hono<never>

  constructor(t: TestContext, more: Partial<QuotaServiceOptions> = {}) {
    this.rig = new QuotaRig(t, more)
    const key = (name: string, may: readonly Right[], tenant = 'a') => ({
      name,
      tokenSha256: createHash('sha256').update(name).digest('hex'),
      tenant,
      tenants: [],
      may,
    })
    this.options = {
      service: this.rig.service,
      directory: () => this.rig.directory,
      access: new Access({
        token: 'admin',
        publicKey: '',
        secretKey: '',
        tenant: 'a',
        keys: [
          key('reader', ['read']),
          key('reserver', ['reserve']),
          key('manager', ['manage']),
          key('b', ['read', 'reserve'], 'b'),
        ],
        openWriteTenants: [],
      }),
      reservedMaxMs: 3_600_000,
      rememberedMs: 600_000,
      clock: this.rig.clock,
      log: silentLogger,
      underWay: new UnderWay(() => {}),
    }
    this.#app = quotaRoutes(this.options) as unknown as Hono<never>
  }

  async raw(path: string, init: RequestInit): Promise<Answer> {
    const response = await this.#app.request(path, init)
    const text = await response.text()
    const json = /json/.test(response.headers.get('content-type') ?? '')
    return { status: response.status, body: json ? JSON.parse(text) : {}, headers: response.headers }
  }

  get(path: string, token = 'admin'): Promise<Answer> {
    return this.raw(path, { headers: { Authorization: `Bearer ${token}` } })
  }

  post(path: string, body?: unknown, token = 'admin', more: Record<string, string> = {}): Promise<Answer> {
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', ...more }
    return this.raw(path, { method: 'POST', headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  }
}

test('a reservation goes its way, and each answer is as the document says', async (t) => {
  const web = new Web(t)
  const quota = await web.rig.define({ limit: 100 })
  const made = await web.post(RESERVATIONS, { ...ADA, id: 'r1' })
  assert.equal(made.status, 201, JSON.stringify(made.body))
  isAsSaid('ReservationGranted', made.body)
  assert.deepEqual([made.headers.get('location'), made.body['state']], [`${RESERVATIONS}/r1`, 'open'])
  assert.equal(made.headers.get('ratelimit-policy'), `"${quota}";q=100;qu="tokens";w=2592000`)
  assert.equal(made.headers.get('ratelimit'), `"${quota}";r=40;t=1771200`)
  const again = await web.post(RESERVATIONS, ADA, 'admin', { 'Idempotency-Key': 'r1' })
  assert.deepEqual([again.status, again.headers.get('idempotency-replayed')], [200, 'true'])
  assert.deepEqual({ ...again.body, as_of: '' }, { ...made.body, as_of: '' })

  const over = await web.post(RESERVATIONS, { ...ADA, id: 'r2' })
  assert.equal(over.status, 429)
  isAsSaid('QuotaProblem', over.body)
  assert.equal(over.headers.get('content-type'), 'application/problem+json')
  assert.equal(over.headers.get('retry-after'), '1771200')
  const { refused_by: by, what_to_do: todo } = over.body as { refused_by: Record<string, unknown>; what_to_do: string }
  assert.deepEqual([by['quota'], by['held'], by['left'], by['state']], [quota, '60', '40', 'ok'])
  assert.match(todo, /at most 40/)

  const longer = await web.post(`${RESERVATIONS}/r1/extend`, { expires_in_seconds: 3600 })
  isAsSaid('Reservation', longer.body)
  const used = await web.post(`${RESERVATIONS}/r1/commit`, { amounts: { tokens: 70 } })
  isAsSaid('Reservation', used.body)
  assert.deepEqual([used.body['state'], used.body['overrun']], ['committed', true])
  assert.equal((await web.post(`${RESERVATIONS}/r1/release`)).status, 409)
  assert.deepEqual((await web.get(`${RESERVATIONS}/r1`)).body, used.body)

  const stands = await web.get('/v1/subjects/user/ada/quotas')
  isAsSaid('SubjectQuotas', stands.body)
  const [figure] = stands.body['data'] as Record<string, unknown>[]
  assert.deepEqual([figure!['used'], figure!['left'], figure!['state']], ['70', '30', 'ok'])

  const adjustment = { id: 'x', user_id: 'ada', resource: 'tokens', amount: -50, reason: 'counted twice' }
  const adjust = (more: object): Promise<Answer> => web.post('/v1/quota/adjustments', { ...adjustment, ...more })
  const adjusted = await adjust({})
  assert.equal(adjusted.status, 201, JSON.stringify(adjusted.body))
  isAsSaid('Adjustment', adjusted.body)
  const repeated = await adjust({})
  assert.deepEqual([repeated.status, repeated.headers.get('idempotency-replayed')], [200, 'true'])
  assert.deepEqual(repeated.body, adjusted.body)
  const another = await adjust({ amount: -51 })
  assert.equal(another.status, 409)
  isAsSaid('Problem', another.body)
  const check = await web.post('/v1/quota/check', { user_id: 'ada', amounts: { tokens: 80 } })
  assert.equal(check.status, 200, JSON.stringify(check.body))
  isAsSaid('QuotaGranted', check.body)
  assert.equal((await web.post('/v1/quota/check', { user_id: 'ada', amounts: { tokens: 81 } })).status, 429)
})

test('waiting is advised only where it helps', async (t) => {
  const web = new Web(t)
  await web.rig.define({ limit: 10 })
  await web.rig.define({ limit: 20, window: 'lifetime', resource: 'credits' })
  const ask = (amounts: object): Promise<Answer> => web.post('/v1/quota/check', { user_id: 'ada', amounts })
  const more = await ask({ tokens: 11 })
  assert.deepEqual([more.status, more.headers.get('retry-after')], [429, null])
  assert.match(String(more.body['what_to_do']), /more than the limit itself/)
  const ever = await ask({ credits: 20.5, tokens: 1 })
  assert.deepEqual([ever.status, ever.headers.get('retry-after')], [429, null])
})

test('what cannot be counted is 503 where it is closed, and granted where it is open, both marked', async (t) => {
  const web = new Web(t, { countWithinMs: 20 })
  await web.rig.define({ limit: 10 })
  const open = await web.rig.define({ subject: 'bob', when_unknown: 'open' })
  web.rig.away = true
  const closed = await web.post(RESERVATIONS, { ...ADA, id: 'r1' })
  assert.deepEqual([closed.status, closed.headers.get('retry-after')], [503, '1'])
  assert.deepEqual([closed.body['code'], closed.body['degraded']], ['SERVICE_UNAVAILABLE', true])
  isAsSaid('QuotaProblem', closed.body)
  const passed = await web.post(RESERVATIONS, { ...ADA, user_id: 'bob', id: 'r2' })
  assert.deepEqual([passed.status, passed.body['degraded'], passed.body['unknown']], [201, true, [open]])
  isAsSaid('ReservationGranted', passed.body)
  const stands = await web.get('/v1/subjects/user/ada/quotas')
  isAsSaid('SubjectQuotas', stands.body)
  assert.equal(stands.body['degraded'], true)
})

test('what is set aside for a subject is listed: open ones, each once, at every level, in pages', async (t) => {
  const web = new Web(t)
  await web.rig.define({ limit: 1000 })
  const ids = Array.from({ length: 7 }, (_, i) => `r${i}`)
  for (const id of ids) {
    const made = await web.post(RESERVATIONS, { user_id: 'a/b', project: 'p', amounts: { tokens: 3 }, id })
    assert.equal(made.status, 201)
  }
  await web.post(`${RESERVATIONS}/r1/release`)
  await web.post(`${RESERVATIONS}/r4/commit`)
  await web.post(`${RESERVATIONS}/r6/extend`, { expires_in_seconds: 3000 })
  const open = ['r0', 'r2', 'r3', 'r5', 'r6']
  for (const subject of ['user/a%2Fb', 'project/p', 'tenant/a']) {
    const found: unknown[] = []
    for (let cursor = ''; ; ) {
      const page = await web.get(`/v1/subjects/${subject}/reservations?limit=2${cursor}`)
      isAsSaid('SubjectReservations', page.body)
      found.push(...(page.body['data'] as { id: string }[]).map(({ id }) => id))
      if (page.body['next_cursor'] === null) break
      cursor = `&cursor=${String(page.body['next_cursor'])}`
    }
    assert.deepEqual(found, open, subject)
  }
  const [first] = (await web.get('/v1/subjects/user/a%2Fb/reservations')).body['data'] as Record<string, unknown>[]
  assert.deepEqual([first!['held'], first!['amounts'], first!['state']], [{ tokens: '3' }, { tokens: '3' }, 'open'])
  const figures = (await web.get('/v1/subjects/user/a%2Fb/quotas')).body['data'] as { held: string }[]
  assert.equal(figures[0]!.held, '15')
  assert.deepEqual((await web.get('/v1/subjects/user/nobody/reservations')).body['data'], [])
})

test('a log that takes nothing is 503, and the same request does it later', async (t) => {
  const web = new Web(t)
  web.rig.broken = true
  const first = await web.post(RESERVATIONS, { ...ADA, id: 'r1' })
  assert.deepEqual([first.status, first.headers.get('retry-after')], [503, '1'])
  isAsSaid('Problem', first.body)
  web.rig.broken = false
  assert.equal((await web.post(RESERVATIONS, { ...ADA, id: 'r1' })).status, 201)
})

test('who may do what', async (t) => {
  const web = new Web(t)
  const paths = [
    ['/v1/quota/check', ADA, 'reserver'],
    [RESERVATIONS, { ...ADA, id: 'r1' }, 'reserver'],
    [`${RESERVATIONS}/r1/extend`, { expires_in_seconds: 60 }, 'reserver'],
    [`${RESERVATIONS}/r1/commit`, undefined, 'reserver'],
    ['/v1/quota/adjustments', { id: 'x', resource: 'tokens', amount: 1, reason: 'r' }, 'manager'],
  ] as const
  for (const [path, body, may] of paths) {
    for (const token of ['reader', 'reserver', 'manager', 'wrong']) {
      if (token === may) continue
      const answer = await web.post(path, body, token)
      assert.equal(answer.status, token === 'wrong' ? 401 : 403, `${path} ${token}`)
      isAsSaid('Problem', answer.body)
    }
    assert.ok((await web.post(path, body, may)).status < 300, path)
  }
  for (const path of [`${RESERVATIONS}/r1`, '/v1/subjects/user/ada/quotas', '/v1/subjects/user/ada/reservations']) {
    assert.equal((await web.get(path, 'reader')).status, 200)
    assert.equal((await web.get(path, 'reserver')).status, 403)
  }
})

test("a tenant sees and settles nothing of another's", async (t) => {
  const web = new Web(t)
  await web.rig.define({ limit: 60 })
  await web.rig.define({ limit: 60, tenant: 'b' })
  assert.equal((await web.post(RESERVATIONS, { ...ADA, id: 'r1' })).status, 201)
  assert.equal((await web.get(`${RESERVATIONS}/r1`, 'b')).status, 404)
  for (const what of ['commit', 'release'])
    assert.equal((await web.post(`${RESERVATIONS}/r1/${what}`, undefined, 'b')).status, 404)
  const own = await web.get('/v1/subjects/user/ada/quotas', 'b')
  assert.equal((own.body['data'] as { held: string }[])[0]!.held, '0')
  assert.equal((await web.get('/v1/subjects/tenant/a/quotas', 'b')).status, 404)
  assert.equal((await web.get('/v1/subjects/tenant/b/quotas', 'b')).status, 200)
  assert.deepEqual((await web.get('/v1/subjects/user/ada/reservations', 'b')).body['data'], [])
  assert.equal((await web.get('/v1/subjects/tenant/a/reservations', 'b')).status, 404)
  const chosen = await web.post('/v1/quota/check', ADA, 'b', { 'X-Scope-OrgID': 'a' })
  assert.equal(chosen.status, 403)
  assert.equal((await web.post(RESERVATIONS, { ...ADA, id: 'r1' }, 'b')).status, 201, 'ids are of a tenant')
})

test('bad requests are told what is wrong', async (t) => {
  const web = new Web(t)
  const json = { Authorization: 'Bearer admin', 'Content-Type': 'application/json' }
  for (const [body, status] of [
    ['{"user_id":', 400],
    ['null', 400],
    ['[]', 400],
    ['"x"', 400],
    ['', 400],
    [`{"amounts":{"tokens":1},"project":"${'x'.repeat(70_000)}"}`, 413],
    ['{"amounts":{"tokens":-1}}', 400],
    ['{"amounts":{"tokens":1e400}}', 400],
    ['{"amounts":{"__proto__":1}}', 400],
  ] as const) {
    for (const path of ['/v1/quota/check', RESERVATIONS]) {
      const answer = await web.raw(path, { method: 'POST', headers: json, body })
      assert.equal(answer.status, status, `${path} ${body.slice(0, 40)}`)
      isAsSaid('Problem', answer.body)
    }
  }
  const plain = await web.raw('/v1/quota/check', {
    method: 'POST',
    headers: { Authorization: 'Bearer admin' },
    body: '{}',
  })
  assert.equal(plain.status, 415)
  assert.equal((await web.get('/v1/subjects/group/x/quotas')).status, 400)
  assert.equal((await web.get(`/v1/subjects/user/${'x'.repeat(257)}/quotas`)).status, 400)
  for (const query of ['limit=0', 'cursor=!', `cursor=${Buffer.from('1e9').toString('base64url')}`, 'state=open']) {
    const answer = await web.get(`/v1/subjects/user/x/reservations?${query}`)
    assert.equal(answer.status, 400, query)
    isAsSaid('Problem', answer.body)
  }
  assert.equal((await web.post(`${RESERVATIONS}/nothing/commit`, {})).status, 404)
  for (const [path, allow] of [
    ['/v1/quota/check', 'POST'],
    [RESERVATIONS, 'POST'],
    [`${RESERVATIONS}/x`, 'GET, HEAD'],
    [`${RESERVATIONS}/x/commit`, 'POST'],
    ['/v1/quota/adjustments', 'POST'],
    ['/v1/subjects/user/x/quotas', 'GET, HEAD'],
    ['/v1/subjects/user/x/reservations', 'GET, HEAD'],
  ] as const) {
    const answer = await web.raw(path, { method: 'DELETE', headers: json })
    assert.deepEqual([answer.status, answer.headers.get('allow')], [405, allow], path)
  }
})

test('the door of checks answers as their route does, whatever it is asked', async (t) => {
  const web = new Web(t)
  await web.rig.define({ limit: 100 })
  const door = new CheckDoor(web.options)
  const server = createServer((request, response) => void door.handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const json = { Authorization: 'Bearer admin', 'Content-Type': 'application/json' }
  const asked: readonly (readonly [status: number, headers: Record<string, string>, body: string])[] = [
    [200, json, JSON.stringify(ADA)],
    [200, { ...json, Authorization: 'Bearer reserver' }, JSON.stringify(ADA)],
    [200, { ...json, Authorization: 'Bearer b' }, JSON.stringify(ADA)],
    [200, { ...json, 'X-Scope-OrgID': 'c' }, JSON.stringify(ADA)],
    [200, { ...json, 'Content-Type': 'application/json; charset=utf-8' }, JSON.stringify(ADA)],
    [429, json, JSON.stringify({ ...ADA, amounts: { tokens: 101 } })],
    [400, json, JSON.stringify({ ...ADA, amounts: { tokens: -1 }, more: 1 })],
    [400, json, '{"user_id":'],
    [400, json, ''],
    [400, json, '[]'],
    [400, { ...json, 'X-Scope-OrgID': 'not/valid' }, JSON.stringify(ADA)],
    [401, { 'Content-Type': 'application/json' }, JSON.stringify(ADA)],
    [401, { ...json, Authorization: 'Bearer guess' }, JSON.stringify(ADA)],
    [403, { ...json, Authorization: 'Bearer reader' }, JSON.stringify(ADA)],
    [403, { ...json, Authorization: 'Bearer b', 'X-Scope-OrgID': 'a' }, JSON.stringify(ADA)],
    [413, json, ' '.repeat(64 * 1024 + 1)],
    [415, { ...json, 'Content-Type': 'text/plain' }, JSON.stringify(ADA)],
  ]
  for (const [status, headers, body] of asked) {
    const length = { 'Content-Length': String(Buffer.byteLength(body)) } // as every client of HTTP sends it
    const byRoute = await web.raw('/v1/quota/check', { method: 'POST', headers: { ...headers, ...length }, body })
    const response = await fetch(`${url}/v1/quota/check`, { method: 'POST', headers, body })
    const told = { status: response.status, body: (await response.json()) as object, headers: response.headers }
    assert.deepEqual([told.status, told.body], [byRoute.status, byRoute.body], `${status} ${body.slice(0, 80)}`)
    assert.equal(told.status, status)
    for (const name of ['content-type', 'ratelimit', 'ratelimit-policy', 'retry-after'])
      assert.equal(told.headers.get(name), byRoute.headers.get(name), name)
  }
})
