/** Quotas as a directory has them: what can be said, and what cannot stand beside each other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Decision } from '../../../aggregator/directory/changes.ts'
import { create } from '../../../aggregator/directory/changes.ts'
import { importFile } from '../../../aggregator/directory/csv-file.ts'
import type { Directory } from '../../../aggregator/directory/entry.ts'
import { EntryIds } from '../../../aggregator/directory/entry-ids.ts'
import { cellOf, valueOfCell } from '../../../aggregator/directory/fields.ts'
import type { Quota } from '../../../aggregator/directory/quota.ts'
import { quotas } from '../../../aggregator/directory/quota.ts'
import { Refusal } from '../../../aggregator/directory/refusal.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'

const DIRECTORY = quotas as unknown as Directory
const FROM = '2026-01-01T00:00:00Z'
const AT = Date.parse('2026-06-01T00:00:00Z')
const SAID = { level: 'user', resource: 'gpu_seconds', window: 'month', limit: 100, valid_from: FROM }
const ids = new EntryIds()

interface Who {
  readonly tenant: string
  readonly admin: boolean
}
const MANAGER: Who = { tenant: 'a', admin: false }
const ADMIN: Who = { tenant: 'a', admin: true }

type Said = readonly [values: object, who?: Who | undefined]

/** A snapshot with these, each said by somebody. */
async function snapshotWith(...said: readonly Said[]): Promise<DirectorySnapshot> {
  let snapshot = new DirectorySnapshot()
  for (const [i, [values, who = MANAGER]] of said.entries()) {
    const stamp = { version: i + 1, now: AT, newId: () => ids.next(AT) }
    const { changes } = (await create(DIRECTORY, who, { ...SAID, ...values })(snapshot, stamp)) as Decision
    snapshot = await snapshot.with(i + 1, changes)
  }
  return snapshot
}

async function refused(field: string, ...said: readonly Said[]): Promise<void> {
  await assert.rejects(snapshotWith(...said), (error: unknown) => {
    assert.ok(error instanceof Refusal, String(error))
    assert.equal(error.faults[0]?.field, field, error.message)
    return true
  })
}

test('a quota says the rest by itself', async () => {
  const [entry] = (await snapshotWith([{}])).quotas.all
  const { id, changed_at, ...record } = entry!.record
  assert.deepEqual(record, {
    version: 1,
    tenant: 'a',
    level: 'user',
    subject: null,
    resource: 'gpu_seconds',
    window: 'month',
    zone: 'UTC',
    seconds: null,
    limit: 100,
    enforcement: 'hard',
    shadow: false,
    thresholds: [],
    when_unknown: 'closed',
    valid_from: '2026-01-01T00:00:00.000Z',
    valid_to: null,
  } satisfies Omit<Quota, 'id' | 'changed_at'>)
})

for (const [field, values, who] of [
  ['level', { level: 'team' }],
  ['window', { window: 'year' }],
  ['limit', { limit: -1 }],
  ['limit', { limit: 1.5 }],
  ['limit', { limit: null }],
  ['zone', { zone: 'Mars/Olympus' }],
  ['zone', { zone: '+01:00' }],
  ['seconds', { window: 'rolling' }],
  ['seconds', { window: 'rolling', seconds: 1000 }],
  ['seconds', { window: 'rolling', seconds: 900 * 4 * 24 * 36 }],
  ['seconds', { window: 'day', seconds: 900 }],
  ['enforcement', { enforcement: 'maybe' }],
  ['when_unknown', { when_unknown: 1 }],
  ['thresholds', { thresholds: [50, 'x'] }],
  ['thresholds', { thresholds: [0] }],
  ['thresholds', { thresholds: '50' }],
  ['thresholds', { thresholds: Array.from({ length: 17 }, (_, i) => i + 1) }],
  ['subject', { level: 'tenant', subject: 'a' }],
  ['subject', { tenant: '*', subject: 'ada' }, ADMIN],
  ['tenant', { tenant: '*' }, MANAGER],
  ['tenant', { tenant: 'b' }, MANAGER],
] as const)
  test(`a quota with ${JSON.stringify(values)} is refused for its ${field}`, () => refused(field, [values, who]))

test('thresholds are kept in order, each once', async () => {
  const [entry] = (await snapshotWith([{ thresholds: [100, 50, 80, 50] }])).quotas.all
  assert.deepEqual(entry!.record.thresholds, [50, 80, 100])
})

test('two quotas of one scope and window cannot hold at once', async () => {
  await refused('level', [{}], [{ limit: 5 }])
  await refused('level', [{}], [{ zone: 'Europe/Berlin' }])
  await refused('level', [{ window: 'rolling', seconds: 900 }], [{ window: 'rolling', seconds: 900, limit: 1 }])
  const beside = await snapshotWith(
    [{ valid_to: '2026-02-01T00:00:00Z' }],
    [{ valid_from: '2026-02-01T00:00:00Z' }],
    [{ subject: 'ada' }],
    [{ window: 'day' }],
    [{ window: 'rolling', seconds: 900 }],
    [{ window: 'rolling', seconds: 1800 }],
    [{ resource: 'tokens' }],
    [{ level: 'project' }],
    [{ tenant: '*' }, ADMIN],
  )
  assert.equal(beside.quotas.all.length, 9)
})

test('a list of numbers goes through a cell of CSV', async () => {
  const field = quotas.fields.find(({ name }) => name === 'thresholds')!
  assert.deepEqual(valueOfCell(field, cellOf([50, 80])), [50, 80])
  assert.equal(valueOfCell(field, ''), null)
  const file = `level,resource,window,limit,thresholds,valid_from\nuser,tokens,day,5,80;50,${FROM}\nuser,tokens,week,5,x,${FROM}\n`
  const stamp = { version: 1, now: AT, newId: () => ids.next(AT) }
  const decide = await importFile(DIRECTORY, MANAGER, new TextEncoder().encode(file), false)
  await assert.rejects(
    async () => decide(new DirectorySnapshot(), stamp),
    (error: unknown) => error instanceof Refusal && error.faults.length === 1 && error.faults[0]!.line === 3,
  )
})
