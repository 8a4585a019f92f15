/** Requests about quotas: what they say, and what is wrong with them, by field. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EntryIds } from '../../../aggregator/directory/entry-ids.ts'
import type { Membership } from '../../../aggregator/directory/membership.ts'
import { Refusal } from '../../../aggregator/directory/refusal.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import type { AdjustBody } from '../../../aggregator/quotas/quota-record.ts'
import type { RequestContext } from '../../../aggregator/quotas/quota-request.ts'
import {
  readAdjustment,
  readCommit,
  readDemand,
  readExtension,
  readNothing,
  readReservation,
} from '../../../aggregator/quotas/quota-request.ts'
import { amountOf } from '../../../proto/quotas/request.ts'

const NOW = Date.UTC(2026, 5, 1)
const MINUTE = 60_000
const CONTEXT: RequestContext = {
  tenant: 'a',
  directory: new DirectorySnapshot(),
  now: NOW,
  reservedMaxMs: 3_600_000,
  rememberedMs: 10 * MINUTE,
}
const REQUEST = { id: 't-1-1', user_id: 'ada', amounts: { tokens: 5 } }

/** Fields at fault, and the status. */
function wrong(read: () => unknown): [status: number, fields: string[]] {
  try {
    read()
  } catch (error) {
    assert.ok(error instanceof Refusal, String(error))
    return [error.status, error.faults.map(({ field }) => field)]
  }
  return [200, []]
}

test('amounts are whole numbers of the smallest unit', () => {
  for (const [resource, value, amount] of [
    ['gpu_seconds', 1.5, 1_500_000],
    ['gpu_seconds', '0.000001', 1],
    ['gpu_seconds', '12', 12_000_000],
    ['credits', 0.1, 100_000],
    ['tokens', 7, 7],
    ['tokens', '7.0', 7],
    ['tokens', 0, 0],
    ['tokens', 2 ** 51, 2 ** 51],
  ] as const)
    assert.equal(amountOf(resource, value), amount, `${value} ${resource}`)
  for (const [resource, value] of [
    ['tokens', 1.5],
    ['tokens', -1],
    ['tokens', '-1'],
    ['tokens', '1e3'],
    ['tokens', 1e300],
    ['tokens', Number.NaN],
    ['tokens', null],
    ['tokens', true],
    ['tokens', ''],
    ['tokens', ' 1'],
    ['tokens', [1]],
    ['tokens', 2 ** 51 + 1],
    ['gpu_seconds', 0.0000001],
    ['gpu_seconds', '1.0000001'],
    ['gpu_seconds', 2 ** 51],
  ] as const)
    assert.equal(typeof amountOf(resource, value), 'string', `${value} ${resource}`)
})

test('a reservation is read, with what it does not say', () => {
  const { hash, ...read } = readReservation(REQUEST, undefined, CONTEXT)
  assert.deepEqual(read, {
    tenant: 'a',
    id: 't-1-1',
    owner: { userId: 'ada', project: '', department: '' },
    amounts: [{ resource: 'tokens', amount: 5 }],
    task: null,
    from: NOW,
    expires: NOW + 10 * MINUTE,
  })
  assert.equal(hash, readReservation({ ...REQUEST, project: null }, 't-1-1', CONTEXT).hash)
  const more = {
    ...REQUEST,
    task_id: 't/1',
    attempt: 2,
    expires_in_seconds: 60,
    amounts: { tokens: 5, credits: '0.5' },
  }
  const other = readReservation(more, undefined, CONTEXT)
  assert.notEqual(other.hash, hash)
  assert.deepEqual(other.task, { taskId: 't/1', attempt: 2 })
  assert.equal(other.expires, NOW + MINUTE)
  assert.deepEqual(
    other.amounts.map(({ resource }) => resource),
    ['credits', 'tokens'],
  )
  assert.equal(readReservation({ ...REQUEST, id: undefined }, 'key', CONTEXT).id, 'key')
})

test('who asks belongs where the directory says, and a retry is the same after that has changed', async () => {
  const member: Membership = {
    id: new EntryIds().next(NOW),
    version: 1,
    tenant: 'a',
    valid_from: '2026-01-01T00:00:00.000Z',
    valid_to: null,
    changed_at: '2026-01-01T00:00:00.000Z',
    user_id: 'ada',
    project: 'vision',
    department: 'research',
    is_default: false,
  }
  const directory = await new DirectorySnapshot().with(1, [{ kind: 'membership', record: member }])
  const read = readReservation(REQUEST, undefined, { ...CONTEXT, directory })
  assert.deepEqual(read.owner, { userId: 'ada', project: 'vision', department: 'research' })
  assert.equal(read.hash, readReservation(REQUEST, undefined, CONTEXT).hash)
  const said = { ...REQUEST, project: 'other' }
  assert.equal(readDemand({ user_id: 'ada', project: 'other', amounts: { tokens: 1 } }, CONTEXT).owner.project, 'other')
  assert.equal(readReservation(said, undefined, { ...CONTEXT, directory }).owner.project, 'other')
})

test('everything that is wrong is named', () => {
  const reserve = (more: object, key?: string) => wrong(() => readReservation({ ...REQUEST, ...more }, key, CONTEXT))
  assert.deepEqual(reserve({ id: undefined }), [400, ['id']])
  assert.deepEqual(reserve({ id: 'a b' }), [400, ['id']])
  assert.deepEqual(reserve({ id: 'x'.repeat(201) }), [400, ['id']])
  assert.deepEqual(reserve({ id: undefined }, 'a/b'), [400, ['Idempotency-Key']])
  assert.deepEqual(reserve({}, 'other'), [400, ['Idempotency-Key']])
  assert.deepEqual(reserve({ user_id: 5, project: '', department: 'a\u0000' }), [
    400,
    ['user_id', 'project', 'department'],
  ])
  assert.deepEqual(reserve({ amounts: {} }), [400, ['amounts']])
  assert.deepEqual(reserve({ amounts: [1] }), [400, ['amounts']])
  assert.deepEqual(reserve({ amounts: { 'GPU seconds': 1, tokens: -1 } }), [
    400,
    ['amounts.GPU seconds', 'amounts.tokens'],
  ])
  const many = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`r${i}`, 1]))
  assert.deepEqual(reserve({ amounts: many }), [400, ['amounts']])
  assert.deepEqual(reserve({ attempt: 1 }), [400, ['attempt']])
  assert.deepEqual(reserve({ task_id: 't', attempt: 0 }), [400, ['attempt']])
  assert.deepEqual(reserve({ expires_in_seconds: 0 }), [400, ['expires_in_seconds']])
  assert.deepEqual(reserve({ expires_in_seconds: 3601 }), [400, ['expires_in_seconds']])
  assert.deepEqual(reserve({ issued_at: 'today' }), [400, ['issued_at']])
  assert.deepEqual(reserve({ what: 1 }), [400, ['what']])
  assert.deepEqual(wrong(() => readReservation(JSON.parse('{"__proto__":{"id":"x"}}'), undefined, CONTEXT))[0], 400)
  for (const body of [null, [], 'text', 5, undefined]) assert.equal(wrong(() => readDemand(body, CONTEXT))[0], 400)
  assert.deepEqual(
    wrong(() => readCommit({ amounts: { tokens: 1.5 } })),
    [400, ['amounts.tokens']],
  )
  assert.deepEqual(
    wrong(() => readExtension({}, CONTEXT)),
    [400, ['expires_in_seconds']],
  )
  assert.deepEqual(
    wrong(() => readNothing({ amounts: {} })),
    [400, ['amounts']],
  )
})

test('a request that was issued too long ago to be known as a retry is refused', () => {
  const issued = (minutesAgo: number): number =>
    wrong(() =>
      readReservation({ ...REQUEST, issued_at: new Date(NOW - minutesAgo * MINUTE).toISOString() }, undefined, CONTEXT),
    )[0]
  assert.deepEqual([issued(0), issued(10), issued(10.1), issued(-2)], [200, 200, 409, 400])
})

test('an adjustment has a sign, a quarter of an hour and a reason', () => {
  const said = { id: 'x', user_id: 'ada', resource: 'gpu_seconds', amount: -1.5, reason: 'not hers' }
  const read = (more: object = {}, now = NOW): AdjustBody =>
    readAdjustment({ ...said, ...more }, undefined, 'me', { ...CONTEXT, now })
  const { hash, ...rest } = read({ at: '2026-05-31T23:59:59Z' })
  assert.deepEqual(rest, {
    id: 'x',
    owner: { userId: 'ada', project: '', department: '' },
    resource: 'gpu_seconds',
    slot: NOW - 15 * MINUTE,
    amount: -1_500_000,
    reason: 'not hers',
    who: 'me',
  })
  assert.equal(read({ amount: '2' }).amount, 2_000_000)
  assert.equal(read().hash, read({ amount: '-1.500' }, NOW + 20 * MINUTE).hash, 'a retry comes later')
  const others = [{ amount: 1.5 }, { user_id: 'bob' }, { resource: 'credits' }, { reason: 'hers' }, { project: 'p' }]
  assert.equal(new Set([hash, read().hash, ...others.map((more) => read(more).hash)]).size, 2 + others.length)
  for (const [field, value] of [
    ['amount', '--1'],
    ['amount', null],
    ['amount', 1e-9],
    ['reason', ''],
    ['reason', null],
    ['resource', 'GPU_seconds'],
    ['at', '2027-01-01T00:00:00Z'],
    ['id', null],
  ] as const)
    assert.deepEqual(
      wrong(() => read({ [field]: value })),
      [400, [field]],
      `${field}: ${value}`,
    )
})

test('nothing said is: as reserved', () => {
  assert.equal(readCommit(undefined), undefined)
  assert.equal(readCommit({}), undefined)
  assert.deepEqual(readCommit({ amounts: { tokens: 0 } }), [{ resource: 'tokens', amount: 0 }])
  assert.equal(readExtension({ expires_in_seconds: 60 }, CONTEXT), NOW + MINUTE)
})
