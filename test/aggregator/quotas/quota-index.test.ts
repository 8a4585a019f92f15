/** Which definitions a subject has to fit. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import type { Quota } from '../../../aggregator/quotas/quota.ts'
import { QuotaIndex } from '../../../aggregator/quotas/quota.ts'

const NOW = 1000
const EVER = Number.POSITIVE_INFINITY

/** Ids are what the tests look at. */
function quota(id: string, more: Partial<Quota> = {}): Quota {
  return {
    id,
    tenant: 'a',
    level: 'user',
    subject: null,
    resource: 'tokens',
    window: { kind: 'month', zone: 'UTC' },
    limit: ExactSum.of(1),
    enforcement: 'hard',
    shadow: false,
    thresholds: [],
    whenUnknown: 'closed',
    from: 0,
    to: EVER,
    ...more,
  }
}

const idsOf = (index: QuotaIndex, tenant: string, subject: string, now = NOW): string[] =>
  index
    .of(tenant, 'user', subject, now)
    .quotas.map(({ id }) => id)
    .sort()

test('one that names the subject stands in the place of the one for all, window by window', () => {
  const index = new QuotaIndex([
    quota('all'),
    quota('ada', { subject: 'ada', window: { kind: 'month', zone: 'Asia/Tokyo' } }),
    quota('day', { window: { kind: 'day', zone: 'UTC' } }),
    quota('hour', { window: { kind: 'rolling', seconds: 3600 } }),
    quota('two', { window: { kind: 'rolling', seconds: 7200 }, subject: 'ada' }),
    quota('credits', { resource: 'credits', subject: 'ada' }),
    quota('project', { level: 'project' }),
  ])
  assert.deepEqual(idsOf(index, 'a', 'ada'), ['ada', 'credits', 'day', 'hour', 'two'])
  assert.deepEqual(idsOf(index, 'a', 'bob'), ['all', 'day', 'hour'])
  assert.deepEqual(idsOf(index, 'b', 'ada'), [])
})

test('what the operator says of all tenants holds beside what a tenant says, which cannot loosen it', () => {
  const index = new QuotaIndex([
    quota('operator', { tenant: '*' }),
    quota('own'),
    quota('ada', { subject: 'ada', limit: ExactSum.of(1e9) }),
  ])
  assert.deepEqual(idsOf(index, 'a', 'ada'), ['ada', 'operator'])
  assert.deepEqual(idsOf(index, 'a', 'bob'), ['operator', 'own'])
  assert.deepEqual(idsOf(index, 'b', 'ada'), ['operator'])
})

test('a definition holds from its beginning until just before its end, and says when that changes', () => {
  const index = new QuotaIndex([quota('first', { to: 2000 }), quota('second', { from: 2000 })])
  assert.deepEqual(
    [1999, 2000].map((now) => idsOf(index, 'a', 'x', now)),
    [['first'], ['second']],
  )
  assert.deepEqual(
    [1999, 2000].map((now) => index.of('a', 'user', 'x', now).until),
    [2000, EVER],
  )
})
