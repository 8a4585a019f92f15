/** What was counted, on the real engine: exact, for many counters at once, up to a position, each row once. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { ColdCounter } from '../../../aggregator/quotas/decision.ts'
import { decimalOfSum } from '../../../aggregator/quotas/resource.ts'
import { UsageSums } from '../../../aggregator/quotas/usage-sums.ts'
import type { RecordStore } from '../../../aggregator/store/record-store.ts'
import { migrate } from '../../../aggregator/store/schema/migrate.ts'
import { engineOfFile } from '../../support/engine.ts'
import { put, startRecordStore, usageRow } from '../../support/task-rows.ts'

const engine = engineOfFile()
const DATABASE = 'usage_sums'
const OCTOBER = Date.UTC(2026, 9, 1)
const NOVEMBER = Date.UTC(2026, 10, 1)
const EVER = Number.POSITIVE_INFINITY
/** Beyond what is stored. */
const ALL = 1e9
let store: RecordStore
let sums: UsageSums

after(() => store.stop(AbortSignal.timeout(5000)))

function counter(more: Partial<ColdCounter> = {}): ColdCounter {
  return {
    tenant: 'default',
    level: 'user',
    subject: 'ada',
    resource: 'gpu_seconds',
    window: { kind: 'month', zone: 'UTC' },
    period: { from: OCTOBER, to: NOVEMBER },
    ...more,
  }
}

/** By slot, as decimals. */
async function counted(counters: readonly ColdCounter[], upTo = ALL): Promise<Record<string, string>[]> {
  const found = await sums.of(counters, upTo)
  return counters.map((asked) => {
    const { slots } = found.find(({ counter: one }) => one === asked)!
    return Object.fromEntries(
      slots.map(([slot, sum]) => [new Date(slot).toISOString().slice(5, 16), decimalOfSum(asked.resource, sum)]),
    )
  })
}

const at = (iso: string): number => Date.parse(`2026-${iso}:00Z`) / 1000
let position = 0

test('the engine has rows', async () => {
  await migrate(engine.db, DATABASE, { pointsDays: 30, rollupDays: 396, eventDays: 396 })
  store = await startRecordStore(engine.db, DATABASE)
  sums = new UsageSums(engine.db, DATABASE)
  const ada = { userId: 'ada', project: 'vision', department: 'research', resource: 'gpu_seconds' }
  const bob = { ...ada, userId: 'bob' }
  const rows = [
    usageRow('t1', { ...ada, slot: at('09-30T23:45'), amount: 1000 }),
    usageRow('t1', { ...ada, slot: at('10-01T00:00'), amount: 0.1 }),
    usageRow('t1', { ...ada, slot: at('10-31T23:45'), amount: 0.2 }),
    usageRow('t1', { ...ada, slot: at('11-01T00:00'), amount: 7 }),
    usageRow('t1', { ...ada, slot: at('11-01T00:15'), amount: 8 }),
    usageRow('t2', { ...bob, slot: at('10-05T12:00'), amount: 4.000001 }),
    usageRow('t2', { ...bob, slot: at('10-05T12:00'), amount: -1 }),
    usageRow('t2', { ...bob, slot: at('10-05T12:00'), resource: 'tokens', amount: 9_007_199_254_740_991 }),
    usageRow('t2', { ...bob, slot: at('10-06T12:00'), resource: 'tokens', amount: 9_007_199_254_740_991 }),
    usageRow('t3', { ...ada, tenant: 'other', slot: at('10-05T12:00'), amount: 5 }),
  ]
  put(store, { usage: rows })
  // After a crash the same rows are inserted again.
  put(store, { usage: rows })
  await store.settled()
  position = rows.at(-1)!.n
  const late = usageRow('t4', { ...ada, slot: at('10-05T12:00'), amount: 50 })
  assert.ok(late.n > position)
  put(store, { usage: [late] })
  await store.settled()
})

test('a period is one sum, what comes behind it is by slot, and what is behind the position is not there', async () => {
  assert.deepEqual(await counted([counter()], position), [
    { '10-01T00:00': '0.3', '11-01T00:00': '7', '11-01T00:15': '8' },
  ])
  assert.deepEqual(await counted([counter()]), [{ '10-01T00:00': '50.3', '11-01T00:00': '7', '11-01T00:15': '8' }])
})

test('a rolling window is by slot, a lifetime one sum', async () => {
  const rolling = counter({
    window: { kind: 'rolling', seconds: 3600 },
    period: { from: Date.UTC(2026, 9, 31, 23), to: EVER },
  })
  const life = counter({ window: { kind: 'lifetime' }, period: { from: 0, to: EVER } })
  assert.deepEqual(await counted([rolling, life], position), [
    { '10-31T23:45': '0.2', '11-01T00:00': '7', '11-01T00:15': '8' },
    { '01-01T00:00': '1015.3' },
  ])
})

test('every level, several resources and tenants are counted by one query', async () => {
  const asked = [
    counter(),
    counter({ subject: 'bob' }),
    counter({ subject: 'bob', resource: 'tokens' }),
    counter({ subject: "nobody'; DROP TABLE x --" }),
    counter({ level: 'project', subject: 'vision' }),
    counter({ level: 'department', subject: 'research' }),
    counter({ level: 'tenant', subject: 'default' }),
    counter({ level: 'tenant', subject: 'other', tenant: 'other' }),
    counter({ level: 'user', tenant: 'other' }),
    counter({ level: 'project', subject: 'vision', resource: 'tokens', period: { from: 0, to: EVER } }),
  ]
  const november = { '11-01T00:00': '7', '11-01T00:15': '8' }
  const both = { '10-01T00:00': '3.300001', ...november }
  assert.deepEqual(await counted(asked, position), [
    { '10-01T00:00': '0.3', ...november },
    { '10-01T00:00': '3.000001' },
    { '10-01T00:00': '18014398509481982' },
    {},
    both,
    both,
    both,
    { '10-01T00:00': '5' },
    { '10-01T00:00': '5' },
    { '01-01T00:00': '18014398509481982' },
  ])
})

test('a thousand subjects with long names fit into one query', async () => {
  const many = Array.from({ length: 200 }, (_, i) => counter({ subject: `${'ü'.repeat(240)}${i}` }))
  assert.deepEqual(
    new Set((await counted([...many, counter()], position)).map((one) => Object.keys(one).length)),
    new Set([0, 3]),
  )
})
