/** What quotas say follows from the log. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import type { Quota } from '../../../aggregator/quotas/quota.ts'
import { LEVELS, QuotaIndex, subjectAt } from '../../../aggregator/quotas/quota.ts'
import type { AdjustBody, ExpireBody } from '../../../aggregator/quotas/quota-record.ts'
import { quotaRecord } from '../../../aggregator/quotas/quota-record.ts'
import type { Reserved, ReserveRequest } from '../../../aggregator/quotas/quotas-fold.ts'
import { QuotasFold } from '../../../aggregator/quotas/quotas-fold.ts'
import type { UsageAmount } from '../../../aggregator/tasks/usage-out.ts'
import { asset, calculation, credit, QuotaWorld, WORLD } from '../../support/quota-world.ts'

const NOW = Date.parse('2026-01-31T12:00:00.000Z')
const SLOT = 900_000
const OWNER = { userId: 'u', project: 'p', department: 'd' }
const TASK = { taskId: 'a', attempt: 1 }

function quota(fields: Partial<Quota> = {}): Quota {
  return {
    id: 'q',
    tenant: 't',
    level: 'user',
    subject: null,
    resource: 'gpu_seconds',
    window: { kind: 'day', zone: 'UTC' },
    limit: ExactSum.of(100),
    enforcement: 'hard',
    shadow: false,
    thresholds: [],
    whenUnknown: 'closed',
    from: 0,
    to: Number.POSITIVE_INFINITY,
    ...fields,
  }
}

/** With all counters in memory. */
function world(...quotas: readonly Quota[]): QuotaWorld {
  const made = new QuotaWorld(new QuotaIndex(quotas))
  load(made)
  return made
}

function load(made: QuotaWorld, now = NOW): void {
  for (const level of LEVELS)
    made.load(made.fold.cold({ tenant: 't', level, subject: subjectAt(level, 't', OWNER) }, now))
}

function request(id: string, amount: number, fields: Partial<ReserveRequest> = {}): ReserveRequest {
  const amounts = [{ resource: 'gpu_seconds', amount }]
  const times = { from: NOW, expires: NOW + 60_000 }
  return { tenant: 't', id, owner: OWNER, amounts, task: null, ...times, hash: `${amount}`, ...fields }
}

/** Decided, and logged where it is granted. */
function reserve(made: QuotaWorld, asked: ReserveRequest, now = NOW): Reserved {
  const reserved = made.fold.reserve(asked, now, 'ask')
  if (reserved.outcome === 'granted') made.append(reserved.record)
  return reserved
}

function standing(
  made: QuotaWorld,
  level: (typeof LEVELS)[number] = 'user',
  now = NOW,
): readonly [counted: unknown, held: bigint] {
  const [figure] = made.fold.figures({ tenant: 't', level, subject: subjectAt(level, 't', OWNER) }, now)
  return [figure!.counted?.toBigInt(), figure!.held.toBigInt()]
}

function adjustment(id: string, amount: number, fields: Partial<AdjustBody> = {}): AdjustBody {
  const { userId, project, department } = OWNER
  const owner = { userId, project, department }
  return {
    id,
    owner,
    resource: 'gpu_seconds',
    slot: NOW,
    amount,
    reason: 'a test',
    who: 'somebody',
    hash: '',
    ...fields,
  }
}

const used = (amount: number, slot = NOW): UsageAmount => ({ resource: 'gpu_seconds', slot, amount })
const key = { tenant: 't', ...TASK }

test('what fits is granted, the rest refused by the narrowest level that binds', () => {
  const made = world(
    quota({ id: 'user' }),
    quota({ id: 'tenant', level: 'tenant', limit: ExactSum.of(150) }),
    quota({ id: 'soft', level: 'project', enforcement: 'soft', limit: ExactSum.of(10) }),
    quota({ id: 'shadow', level: 'department', shadow: true, limit: ExactSum.of(0) }),
  )
  const first = reserve(made, request('1', 100))
  assert.equal(first.outcome, 'granted')
  assert.deepEqual(made.fold.reservation('t', '1')?.said, { over: ['soft'], shadow: ['shadow'], unknown: [] })
  const second = reserve(made, request('2', 1))
  assert.deepEqual(second.outcome === 'refused' && second.by.map(({ quota: { id } }) => id), ['user'])
  const another = { ...OWNER, userId: 'v' }
  made.load(made.fold.cold({ tenant: 't', level: 'user', subject: 'v' }, NOW))
  const third = reserve(made, request('3', 51, { owner: another }))
  assert.deepEqual(third.outcome === 'refused' && third.by.map(({ quota: { id } }) => id), ['tenant'])
  assert.equal(reserve(made, request('4', 50, { owner: another })).outcome, 'granted')
})

test('several resources and levels are all or nothing', () => {
  const made = world(quota(), quota({ id: 'tokens', resource: 'tokens', level: 'tenant', limit: ExactSum.of(5) }))
  const amounts = [
    { resource: 'gpu_seconds', amount: 10 },
    { resource: 'tokens', amount: 6 },
  ]
  assert.equal(reserve(made, request('1', 0, { amounts })).outcome, 'refused')
  assert.deepEqual(standing(made), [0n, 0n])
})

test('what is being logged is set aside; where it was not logged it is given back', () => {
  const made = world(quota())
  const pending = made.fold.reserve(request('1', 60), NOW, 'ask')
  assert.equal(pending.outcome, 'granted')
  assert.equal(made.fold.check(request('2', 60), NOW, 'ask').outcome, 'refused')
  assert.equal(made.fold.reserve(request('1', 60), NOW, 'ask').outcome, 'pending')
  assert.equal(made.fold.reservation('t', '1'), undefined)
  made.fold.undo('t', '1')
  assert.deepEqual(standing(made), [0n, 0n])
  assert.equal(reserve(made, request('1', 60)).outcome, 'granted')
  made.fold.undo('t', '1') // too late: it was logged
  assert.deepEqual(standing(made), [0n, 60n])
})

test('one id is one reservation, one attempt too', () => {
  const made = world(quota())
  reserve(made, request('1', 10, { task: TASK }))
  const repeat = reserve(made, request('1', 10, { task: TASK }))
  assert.equal(repeat.outcome === 'repeat' && repeat.reservation.state, 'open')
  assert.deepEqual(reserve(made, request('1', 11)), { outcome: 'conflict', field: 'id', other: '1' })
  assert.deepEqual(reserve(made, request('2', 10, { task: TASK })), { outcome: 'conflict', field: 'task', other: '1' })
  made.append(made.fold.release('t', '1', NOW))
  assert.equal(reserve(made, request('1', 10, { task: TASK })).outcome, 'repeat')
  assert.equal(reserve(made, request('2', 10, { task: TASK })).outcome, 'granted')
})

test('a commit counts what was used and gives the rest back; once', () => {
  const made = world(quota())
  reserve(made, request('1', 60))
  made.append(made.fold.commit('t', '1', [{ resource: 'gpu_seconds', amount: 70 }], NOW))
  made.append(made.fold.commit('t', '1', [{ resource: 'gpu_seconds', amount: 70 }], NOW))
  made.append(made.fold.release('t', '1', NOW))
  assert.deepEqual(standing(made), [70n, 0n])
  const { state, overrun, late } = made.fold.reservation('t', '1')!
  assert.deepEqual({ state, overrun, late }, { state: 'committed', overrun: true, late: false })
  made.insert(99)
  assert.deepEqual(
    made.rows.map(({ amount, taskId, kind }) => ({ amount, taskId, kind })),
    [{ amount: 70e-6, taskId: '1', kind: 'committed' }],
  )
})

test('only a record gives back what time is over for; a commit after it is charged', () => {
  const made = world(quota())
  reserve(made, request('1', 60))
  assert.deepEqual(made.fold.expired(NOW + 59_999, 10), [])
  assert.equal(made.fold.nextExpiry, NOW + 60_000)
  assert.deepEqual(standing(made, 'user', NOW + 70_000), [0n, 60n])
  const [expire] = made.fold.expired(NOW + 60_000, 10)
  made.append(made.fold.extend('t', { id: '1', expires: NOW + 120_000 }, NOW + 60_000))
  made.append(expire!)
  assert.equal(made.fold.reservation('t', '1')?.state, 'open')
  made.append(quotaRecord('quota.expire', 't', { id: '1', expires: NOW + 120_000 } satisfies ExpireBody, NOW * 1000))
  assert.deepEqual(standing(made), [0n, 0n])
  made.append(made.fold.commit('t', '1', [{ resource: 'gpu_seconds', amount: 5 }], NOW))
  assert.deepEqual(standing(made), [5n, 0n])
  assert.equal(made.fold.reservation('t', '1')?.late, true)
})

test('what was measured lowers what is held, and takes the place of what was committed', () => {
  const made = world(quota())
  reserve(made, request('1', 60, { task: TASK }))
  made.append(calculation(key, 1, [used(20)], OWNER, NOW))
  assert.deepEqual(standing(made), [20n, 40n])
  made.append(calculation(key, 2, [used(80)], OWNER, NOW))
  assert.deepEqual(standing(made), [80n, 0n])
  made.append(made.fold.commit('t', '1', [{ resource: 'gpu_seconds', amount: 60 }], NOW))
  assert.deepEqual(standing(made), [80n, 0n])
})

test('the first measurement after a commit takes the committed back, however late it is', () => {
  const made = world(quota())
  reserve(made, request('1', 60, { task: TASK }))
  made.append(made.fold.commit('t', '1', [{ resource: 'gpu_seconds', amount: 60 }], NOW))
  assert.deepEqual(standing(made), [60n, 0n])
  reserve(made, request('2', 1), NOW + 3_600_000) // the first one is not known by its id any more
  assert.equal(made.fold.reservation('t', '1'), undefined)
  made.append(calculation(key, 1, [used(50)], OWNER, NOW))
  assert.deepEqual(standing(made), [50n, 1n])
  made.append(calculation(key, 2, [used(55)], OWNER, NOW))
  assert.deepEqual(standing(made), [55n, 1n])
})

test('a reservation of a task that has been going on holds what is left', () => {
  const made = world(quota())
  made.append(calculation(key, 1, [used(20)], OWNER, NOW))
  reserve(made, request('1', 60, { task: TASK }))
  assert.deepEqual(standing(made), [20n, 40n])
})

test('credits of a task lower what is held of them', () => {
  const credits = { resource: 'credits', limit: ExactSum.of(100_000_000) }
  const made = world(quota(credits))
  reserve(made, request('1', 0, { task: TASK, amounts: [{ resource: 'credits', amount: 60_000_000 }] }))
  made.append(credit('t', 2.5, { user_id: 'u', task_id: 'a' }, NOW))
  assert.deepEqual(standing(made), [2_500_000n, 57_500_000n])
  made.append(calculation(key, 1, [used(1)], OWNER, NOW)) // says nothing of credits
  assert.deepEqual(standing(made), [2_500_000n, 57_500_000n])
  made.append(made.fold.commit('t', '1', [{ resource: 'credits', amount: 60_000_000 }], NOW))
  assert.deepEqual(standing(made), [2_500_000n, 0n])
  for (const amount of [Number.NaN, 1e300, '7', null]) made.append(credit('t', amount as number, { user_id: 'u' }, NOW))
  assert.deepEqual(standing(made), [2_500_000n, 0n])
})

test('objects that are moved count as moved, and as kept until they are deleted', () => {
  for (const [resource, counted] of [
    ['transfer_bytes', 10n + 3n + 5n],
    ['storage_bytes', 10n - 4n],
  ] as const) {
    const made = world(quota({ resource, limit: ExactSum.of(100) }))
    made.append(asset('t', 'delete', 4, { user_id: 'u' }, NOW)) // before what it follows
    made.append(asset('t', 'upload', 10, { user_id: 'u' }, NOW))
    made.append(asset('t', 'download', 3, { user_id: 'u' }, NOW))
    made.append(asset('t', 'download', 5, { user_id: 'u' }, NOW))
    assert.deepEqual(standing(made), [counted, 0n])
    made.append(asset('t', 'upload', 7, { user_id: 'u', result: false }, NOW))
    made.append(asset('t', 'upload', 7, { user_id: 'another' }, NOW))
    made.append(asset('t', 'read', 7, { user_id: 'u' }, NOW))
    for (const size of [-1, 0.5, 1e300, '7', null])
      made.append(asset('t', 'upload', size as number, { user_id: 'u' }, NOW))
    assert.deepEqual(standing(made), [counted, 0n])
  }
})

test('concurrent tasks are held and never counted', () => {
  const made = world(quota({ resource: 'concurrent_tasks', window: { kind: 'lifetime' }, limit: ExactSum.of(1) }))
  const amounts = [{ resource: 'concurrent_tasks', amount: 1 }]
  assert.equal(reserve(made, request('1', 0, { amounts })).outcome, 'granted')
  assert.equal(reserve(made, request('2', 0, { amounts })).outcome, 'refused')
  made.append(made.fold.commit('t', '1', amounts, NOW))
  assert.equal(reserve(made, request('2', 0, { amounts })).outcome, 'granted')
})

test('a period that ends takes what was counted with it, and leaves what is held', () => {
  const made = world(quota())
  reserve(made, request('1', 30))
  made.append(quotaRecord('quota.adjust', 't', adjustment('x', 40), NOW * 1000))
  made.append(quotaRecord('quota.adjust', 't', adjustment('x', 40), NOW * 1000))
  const tomorrow = NOW + 86_400_000
  made.append(quotaRecord('quota.adjust', 't', adjustment('early', 7, { slot: tomorrow }), NOW * 1000))
  assert.deepEqual(standing(made), [40n, 30n])
  assert.deepEqual(standing(made, 'user', tomorrow), [7n, 30n])
  made.append(quotaRecord('quota.adjust', 't', adjustment('late', 9), tomorrow * 1000))
  assert.deepEqual(standing(made, 'user', tomorrow), [7n, 30n])
})

test('a rolling window gives back a quarter of an hour when none of it is left in it', () => {
  const made = world(quota({ window: { kind: 'rolling', seconds: 3600 } }))
  made.append(quotaRecord('quota.adjust', 't', adjustment('x', 40), NOW * 1000))
  made.append(quotaRecord('quota.adjust', 't', adjustment('y', 2, { slot: NOW + SLOT }), NOW * 1000))
  const [figure] = made.fold.figures({ tenant: 't', level: 'user', subject: 'u' }, NOW)
  assert.equal(figure!.resetsAt, NOW + 3_600_000 + SLOT)
  assert.deepEqual(standing(made, 'user', NOW + 3_600_000 + SLOT - 1), [42n, 0n])
  assert.deepEqual(standing(made, 'user', NOW + 3_600_000 + SLOT), [2n, 0n])
})

test('nobody knows what was counted: asked for, or as the quota says', () => {
  const made = new QuotaWorld(
    new QuotaIndex([
      quota({ id: 'open', whenUnknown: 'open' }),
      quota({ id: 'closed', resource: 'tokens' }),
      quota({ id: 'soft', resource: 'tokens', level: 'tenant', enforcement: 'soft' }),
    ]),
  )
  const tokens = request('1', 0, { amounts: [{ resource: 'tokens', amount: 1 }] })
  const asked = made.fold.check(tokens, NOW, 'ask')
  assert.deepEqual(asked.outcome === 'cold' && asked.counters.map(({ level }) => level), ['user', 'tenant'])
  const closed = made.fold.check(tokens, NOW, 'as_defined')
  assert.deepEqual(closed.outcome === 'refused' && closed.by.map(({ quota: { id } }) => id), ['closed'])
  const open = made.fold.check(request('1', 1), NOW, 'as_defined')
  assert.deepEqual(open.outcome === 'granted' && open.unknown.map(({ quota: { id } }) => id), ['open'])
})

test('what comes in while a counter is counted is counted once', () => {
  const made = new QuotaWorld(new QuotaIndex([quota()]))
  const adjust = (id: string): void => {
    made.append(quotaRecord('quota.adjust', 't', adjustment(id, 10), NOW * 1000))
  }
  const who = { tenant: 't', level: 'user', subject: 'u' } as const
  adjust('in the table')
  made.insert(9)
  made.told()
  adjust('in the tail')
  const run = made.fold.count()!
  const counters = made.fold.cold(who, NOW)
  adjust('while it is counted')
  made.insert(9)
  const counted = made.query(counters, run.upTo)
  made.told() // the tail would go
  run.finish(counted)
  assert.deepEqual(standing(made), [30n, 0n])
  adjust('afterwards')
  assert.deepEqual(standing(made), [40n, 0n])
  assert.equal(made.fold.sizes.tail, 1)
})

test('a log from before there were quotas is counted when all of it is in ClickHouse', () => {
  const made = new QuotaWorld(new QuotaIndex([quota()]))
  const first = made.append(calculation(key, 1, [used(20)], OWNER, NOW))
  const later = made.append(calculation(key, 2, [used(30)], OWNER, NOW))
  let storedUpTo = 0
  const tasks = { deltasOf: () => undefined, ledger: { account: () => undefined } }
  const asked = (): boolean => {
    const fold = new QuotasFold({ ...WORLD, tasks, storedUpTo: () => storedUpTo })
    fold.rows(first) // of a snapshot without a part for quotas: applied before
    fold.apply(later)
    return fold.count() !== undefined
  }
  assert.equal(asked(), false)
  storedUpTo = later.n - 1
  assert.equal(asked(), true)
})

test('a threshold is told once in a period', () => {
  const made = world(quota({ thresholds: [50, 100] }))
  const who = { tenant: 't', level: 'user', subject: 'u' } as const
  const tell = (now = NOW): number[] => {
    const bodies = made.fold.reached(who, now)
    for (const body of bodies) made.append(quotaRecord('quota.threshold', 't', body, now * 1000))
    return bodies.map(({ threshold }) => threshold)
  }
  made.append(quotaRecord('quota.adjust', 't', adjustment('x', 49), NOW * 1000))
  assert.deepEqual(made.fold.touched(10), [who])
  assert.deepEqual(tell(), [])
  assert.deepEqual(made.fold.touched(10), [])
  made.append(quotaRecord('quota.adjust', 't', adjustment('y', 1), NOW * 1000))
  assert.deepEqual(tell(), [50])
  made.keep()
  made.crash(0)
  load(made)
  assert.deepEqual(tell(), [])
  made.append(quotaRecord('quota.adjust', 't', adjustment('z', 100), NOW * 1000))
  assert.deepEqual(tell(), [100])
  const tomorrow = NOW + 86_400_000
  made.append(quotaRecord('quota.adjust', 't', adjustment('n', 50, { slot: tomorrow }), tomorrow * 1000))
  assert.deepEqual(tell(tomorrow), [50])
  const row = made.fold.rows(made.log.findLast(({ kind }) => kind === 'quota.threshold')!).events![0]!
  assert.equal(row.type, 'telemetry.quota.threshold')
  assert.equal(row.userId, 'u')
})

test('who somebody is at each level', () => {
  assert.deepEqual(
    LEVELS.map((level) => subjectAt(level, 't', { ...OWNER, department: '' })),
    ['u', 'p', '', 't'],
  )
})
