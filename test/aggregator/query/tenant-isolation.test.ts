/**
 * An answer is of the caller's tenant and of no other, whichever way it was found: in memory, late in memory, in ClickHouse or in
 * roll-ups; through the real routes, on the real engine. Both tenants have the same series at the same times.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { EventQuery } from '../../../aggregator/events/event-query.ts'
import { StoredParts } from '../../../aggregator/prometheus/stored-parts.ts'
import { Limiter } from '../../../aggregator/query/limiter.ts'
import { queryRoutes } from '../../../aggregator/query/routes.ts'
import { rollUp } from '../../../aggregator/rollup/roller.ts'
import { TaskQuery } from '../../../aggregator/tasks/task-query.ts'
import { UsageQuery } from '../../../aggregator/tasks/usage-query.ts'
import { Access } from '../../../proto/runtime/access.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import type { Key } from '../../../proto/runtime/keys.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { Extra } from '../../../proto/wire/batch-extras.ts'
import { encodeExemplar } from '../../../proto/wire/exemplar.ts'
import { encodeMetadata } from '../../../proto/wire/metadata.ts'
import type { BatchPoint } from '../../support/batches.ts'
import { batchOf, definition } from '../../support/batches.ts'
import { engineOfFile } from '../../support/engine.ts'
import type { Rig } from '../../support/intake.ts'
import { startRig } from '../../support/intake.ts'
import { nodeUsageOf } from '../../support/node-usage.ts'
import { readRequest, seriesOfAnswer } from '../../support/remote-read.ts'
import { histogramOf } from '../../support/write-request.ts'

const MINUTE = 60_000
const H = 60 * MINUTE

const engine = engineOfFile()

const key = (name: string, fields: Partial<Key> = {}): Key => ({
  name,
  tokenSha256: createHash('sha256').update(`token-of-${name}`).digest('hex'),
  tenant: name,
  tenants: [],
  may: ['read'],
  ...fields,
})

const KEYS = [key('a'), key('b'), key('both', { tenant: 'a', tenants: ['b'] }), key('writer', { may: ['write'] })]

interface Answer {
  readonly status: number
  readonly text: string
}
type Ask = (path: string, token: string, tenant?: string, body?: Uint8Array<ArrayBuffer>) => Promise<Answer>

function routesOf(rig: Rig, database: string, perSecond = 1e6): Ask {
  const app = queryRoutes({
    access: new Access({
      token: 'token-of-admin',
      publicKey: '',
      secretKey: '',
      tenant: 'default',
      keys: KEYS,
      openWriteTenants: [],
    }),
    limiter: new Limiter({ perSecond, burst: perSecond, now: () => 0 }),
    context: rig.query,
    prometheus: {
      db: engine.db,
      database,
      read: {
        parts: new StoredParts(engine.db, database),
        settled: () => rig.store.settled(),
        now: () => Date.now(),
        pointsMs: 30 * 24 * H,
        seriesMax: 100,
        itemsMax: 1000,
      },
    },
    events: {
      query: new EventQuery({
        db: engine.db,
        database: 'fleetmeter',
        tail: () => new Map(),
        keptMs: 396 * 86_400_000,
        now: () => Date.now(),
      }),
      now: () => Date.now(),
    },
    tasks: {
      tasks: new TaskQuery({ db: engine.db, database, settled: async () => {} }),
      usage: new UsageQuery({ db: engine.db, database, settled: async () => {} }),
      nodes: nodeUsageOf(engine.db, database),
      charts: { mapping: [], series: async () => [] },
      now: () => Date.now(),
    },
    overview: {
      hot: rig.query.hot,
      registry: rig.query.registry,
      stored: rig.query.stored,
      now: () => Date.now(),
      db: engine.db,
      database,
      storedProblem: () => undefined,
      seriesScannedMax: 1000,
    },
    seriesDefault: 50,
    seriesMax: 1000,
    pointsMax: 1000,
    notReady: () => undefined,
    clock: systemClock,
    log: silentLogger,
    observe: () => {},
  })
  return async (path, token, tenant, body) => {
    const response = await app.request(path, {
      ...(body === undefined ? {} : { method: 'POST', body }),
      headers: { Authorization: `Bearer ${token}`, ...(tenant === undefined ? {} : { 'X-Scope-OrgID': tenant }) },
    })
    return { status: response.status, text: Buffer.from(await response.arrayBuffer()).toString('latin1') }
  }
}

const A = 1
const B = 2
/** One series that both have; one that only b has; one whose name only b has. */
const definitions = [
  definition(1, 'shared', { gpu: '0' }, 'a'),
  definition(2, 'shared', { gpu: '0' }, 'b'),
  definition(3, 'shared', { gpu: 'only-b' }, 'b'),
  definition(4, 'secret_of_b', {}, 'b'),
]
const VALUE_OF: Readonly<Record<number, number>> = { 1: A, 2: B, 3: B, 4: B }

async function rigWithBoth(t: TestContext, database: string, floor: number, times: readonly number[]): Promise<Rig> {
  const rig = await startRig(engine.db, database, join(engine.directory, 'quarantine'), floor)
  t.after(() => rig.stop())
  const at = Date.now() * 1000
  const points: BatchPoint[] = times.flatMap((time, i) =>
    definitions.map(({ ref }) => ({ ref, time, at: at + i, value: VALUE_OF[ref]! })),
  )
  const extras = definitions.flatMap(({ ref, tenant, name }): Extra[] => [
    {
      kind: 'metadata',
      tenant,
      arrival: at,
      message: encodeMetadata({ type: 'gauge', family: name, help: tenant, unit: '' }),
    },
    { kind: 'histogram', ref, time: times[0]!, arrival: at, message: histogramOf(times[0]!, VALUE_OF[ref]!) },
    {
      kind: 'exemplar',
      ref,
      time: times[0]!,
      arrival: at,
      message: encodeExemplar({ labels: [['of', `tenant-${tenant}`]], value: 1, timestamp: times[0]! }),
    },
  ])
  await rig.intake.receive(batchOf(points, definitions, {}, extras))
  return rig
}

interface Query {
  readonly data: { readonly labels: Record<string, string | null>; readonly values: { readonly value: number }[] }[]
  readonly meta: { readonly matched_series: number }
}

/** Asks in every way, and looks for what is not the tenant's. */
async function check(
  ask: Ask,
  from: number,
  token: string,
  tenant: string | undefined,
  expected: number,
): Promise<void> {
  const range = `from=${new Date(from - MINUTE).toISOString()}&to=${new Date().toISOString()}`
  for (const extra of ['', '&group_by=gpu', '&agg=p50', '&agg=last&limit=1', '&step=1h', '&step=1d&agg=max']) {
    const { status, text } = await ask(`/api/public/metrics/query?name=shared&${range}${extra}`, token, tenant)
    assert.equal(status, 200, text)
    const { data, meta } = JSON.parse(text) as Query
    assert.equal(meta.matched_series, expected === A ? 1 : 2, `${extra}: ${text}`)
    const values = data.flatMap((series) => series.values.map(({ value }) => value))
    assert.ok(values.length > 0 && values.every((value) => value === expected), `${extra}: ${text}`)
    if (expected === A) assert.ok(!text.includes('only-b'))
  }
  const other = await ask(`/api/public/metrics/query?name=secret_of_b&${range}`, token, tenant)
  assert.equal((JSON.parse(other.text) as Query).meta.matched_series, expected === A ? 0 : 1)
  const read = await ask(
    '/api/v1/read',
    token,
    tenant,
    readRequest([{ type: 2, name: '__name__', value: '.*' }], 0, Date.now()),
  )
  assert.equal(read.status, 200, read.text)
  const series = seriesOfAnswer(Buffer.from(read.text, 'latin1'))
  assert.equal(series.length, expected === A ? 1 : 3)
  for (const { samples, histograms, exemplars } of series) {
    assert.ok(samples.length > 0 && samples.every(({ value }) => value === expected))
    assert.deepEqual(
      histograms.map((h) => h['sum']),
      [expected],
    )
    assert.deepEqual(
      exemplars.map((e) => e.labels),
      [{ of: expected === A ? 'tenant-a' : 'tenant-b' }],
    )
  }
  const metadata = JSON.parse((await ask('/api/v1/metadata', token, tenant)).text) as { data: object }
  const entry = (help: string): object[] => [{ type: 'gauge', help, unit: '' }]
  assert.deepEqual(
    metadata.data,
    expected === A ? { shared: entry('a') } : { secret_of_b: entry('b'), shared: entry('b') },
  )
  const names = await ask('/api/public/metrics/names', token, tenant)
  assert.deepEqual(JSON.parse(names.text), { data: expected === A ? ['shared'] : ['secret_of_b', 'shared'] })
  const found = JSON.parse((await ask('/v1/metric_names', token, tenant)).text) as { data: { name: string }[] }
  assert.deepEqual(
    found.data.map(({ name }) => name),
    expected === A ? ['shared'] : ['secret_of_b', 'shared'],
  )
  const labels = await ask('/v1/metric_labels?name=shared', token, tenant)
  assert.equal(labels.status, 200, labels.text)
  assert.equal(labels.text.includes('only-b'), expected === B)
  assert.match(labels.text, expected === A ? /"help":"a"/ : /"help":"b"/)
}

test('queries and names answer one tenant, from memory, from late points, from ClickHouse and from roll-ups', {
  timeout: 120_000,
}, async (t) => {
  // Long enough for whole hours to be answered from roll-ups.
  const from = Math.floor(Date.now() / H) * H - 10 * H
  const times = Array.from({ length: 38 }, (_, i) => from + i * 16 * MINUTE + 1)
  for (const [database, floor] of [
    ['in_memory', from - H],
    ['spanning', from + H],
    ['stored', Date.now() + H],
  ] as const) {
    const rig = await rigWithBoth(t, database, floor, times)
    const ask = routesOf(rig, database)
    const both = async (): Promise<void> => {
      await check(ask, from, 'token-of-a', undefined, A)
      await check(ask, from, 'token-of-b', 'b', B)
      await check(ask, from, 'token-of-both', undefined, A)
      await check(ask, from, 'token-of-both', 'b', B)
      await check(ask, from, 'token-of-admin', 'a', A)
      await check(ask, from, 'token-of-admin', 'b', B)
    }
    await both()
    await rollUp(rig.marks, rig.rollups, Date.now(), { graceMs: 0, lateMaxMs: 29 * 24 * H })
    await both()
    const mine = await ask('/api/public/metrics/names', 'token-of-admin')
    assert.deepEqual(JSON.parse(mine.text), { data: [] }, "the admin's own tenant has nothing")
  }
})

test('the bound of series that a question may match counts those of its tenant', { timeout: 60_000 }, async (t) => {
  const from = Date.now() - 2 * H
  const rig = await rigWithBoth(t, 'bounds', Date.now() + H, [from])
  const ask = routesOf({ ...rig, query: { ...rig.query, seriesScannedMax: 1 } }, 'bounds')
  const query = `/api/public/metrics/query?name=shared&from=${new Date(from - MINUTE).toISOString()}`
  assert.equal((await ask(query, 'token-of-a')).status, 200)
  assert.match((await ask(query, 'token-of-b')).text, /more than 1 series match/)
})

test('late points of one tenant, not stored yet, are in no answer of another', { timeout: 60_000 }, async (t) => {
  const from = Date.now() - 2 * H
  const rig = await rigWithBoth(t, 'late_points', Date.now() - MINUTE, [from, from + MINUTE])
  // Not awaited: the answer comes when they are stored, and they are asked for before.
  const late = [{ ref: 4, time: from + 2 * MINUTE, at: Date.now() * 1000, value: B }]
  const stored = rig.intake.receive(batchOf(late, definitions))
  const ask = routesOf(rig, 'late_points')
  await check(ask, from, 'token-of-a', undefined, A)
  await check(ask, from, 'token-of-b', undefined, B)
  await stored
})

test('who may not read, or not that tenant, is told why', { timeout: 60_000 }, async (t) => {
  const rig = await rigWithBoth(t, 'refusals', Date.now() - H, [Date.now() - MINUTE])
  const ask = routesOf(rig, 'refusals')
  for (const path of [
    '/api/public/metrics/query?name=shared',
    '/api/public/metrics/names',
    '/v1/senders',
    '/v1/hosts',
    '/v1/overview',
    '/v1/metric_names',
    '/v1/metric_labels?name=shared',
    '/v1/usage/nodes',
  ]) {
    for (const [token, tenant, status, reason] of [
      ['token-of-a', 'b', 403, /X-Scope-OrgID names the tenant \\"b\\", which the key \\"a\\" does not reach/],
      ['token-of-a', 'a|b', 400, /several tenants/],
      ['token-of-admin', 'a|b', 400, /several tenants/],
      ['token-of-a', '', 400, /expected the name of a tenant/],
      ['token-of-writer', undefined, 403, /the right \\"read\\", which the key \\"writer\\" does not have/],
      ['token-of-nobody', 'a', 401, /Unauthorized/],
    ] as const) {
      const answer = await ask(path, token, tenant)
      assert.equal(answer.status, status, `${token} ${tenant}: ${answer.text}`)
      assert.match(answer.text, reason)
      assert.ok(!answer.text.includes('"data"'))
      assert.equal(answer.text.startsWith('{"type":"about:blank"'), path.startsWith('/v1/'), 'ours as RFC 9457 has it')
    }
  }
})

test('what the limiter knows of all callers is for the admin; one key does not use up what another may ask', {
  timeout: 60_000,
}, async (t) => {
  const rig = await rigWithBoth(t, 'limiter', Date.now() - H, [Date.now() - MINUTE])
  const ask = routesOf(rig, 'limiter', 3)
  const statuses = await Promise.all(
    Array.from({ length: 6 }, () => ask('/api/public/metrics/names', 'token-of-a').then(({ status }) => status)),
  )
  assert.deepEqual(statuses.sort(), [200, 200, 200, 429, 429, 429])
  assert.equal((await ask('/api/public/metrics/names', 'token-of-b')).status, 200)
  const stats = '/api/internal/rate_limit_stats'
  assert.equal((await ask(stats, 'token-of-a')).status, 403)
  assert.match((await ask(stats, 'token-of-admin')).text, /"top_rejected_tokens":\[\{"token":"key:a","count":3\}\]/)
})
