/** Leases of a collector over its journal: what an earlier start decided. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LeaseJournals } from '../../../collector/leases/lease-journal.ts'
import type { LeaseServiceOptions } from '../../../collector/leases/lease-service.ts'
import { CollectorLeases } from '../../../collector/leases/lease-service.ts'
import type { LeaseAnswer, LeaseRound } from '../../../proto/quotas/lease-round.ts'
import type { AskedReservation } from '../../../proto/quotas/request.ts'
import type { Clock } from '../../../proto/runtime/clock.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually, temporaryDirectory } from '../../support/programs.ts'

const EPOCH = '1.aaaaaaaa'
const TASK = { taskId: 'x', attempt: 1 }
const SAID = { userId: 'ada', project: '', department: '' }
const ASKED = {
  said: ['ada', '', ''],
  amounts: [{ resource: 'tokens', amount: 1 }],
  seconds: 60,
  issuedAt: undefined,
} as const
const ANSWER = {
  termMs: 5000,
  reservedMaxMs: 3_600_000,
  rememberedMs: 600_000,
  superseded: null,
  slices: [],
  closed: [],
}

function asked(id: string): AskedReservation {
  return { ...ASKED, id, task: TASK, hash: 'h' }
}

test('a retry and another id for the same task wait until an aggregator knows what an earlier start decided', async () => {
  const journals = new LeaseJournals(temporaryDirectory())
  const before = await journals.begin({ collector: 'c', epoch: EPOCH, boot: 'b' })
  const { amounts } = ASKED
  const times = { from: Date.now(), expires: Date.now() + 60_000 }
  const admission = { index: 1, id: 'r1', amounts, task: TASK, hash: 'h', ...times }
  await before.append({ tenant: 't', lease: 7, admission })
  await before.close()

  let isAway = true
  const rounds: LeaseRound[] = []
  const ask: LeaseServiceOptions['ask'] = async (round): Promise<LeaseAnswer> => {
    if (isAway) throw new Error('away')
    rounds.push(round)
    const reported = round.slices[0]?.admissions.at(-1)?.index ?? 0
    return { ...ANSWER, earlier: [{ tenant: 't', lease: 7, epoch: EPOCH, reported }] }
  }
  const leases = new CollectorLeases({
    collector: 'c',
    boot: 'b',
    journals,
    ask,
    clock: systemClock,
    log: silentLogger,
  })
  await leases.start()
  const away = await Promise.all(['r1', 'r2'].map((id) => leases.reserve('t', asked(id))))
  assert.deepEqual(away, [{ kind: 'later' }, { kind: 'later' }])
  assert.deepEqual(await leases.reserve('other', asked('r1')), { kind: 'pass' })
  isAway = false
  const known = await Promise.all(['r1', 'r2'].map((id) => leases.reserve('t', asked(id))))
  assert.deepEqual(known, [{ kind: 'pass' }, { kind: 'pass' }])
  assert.deepEqual(
    rounds[0]!.slices.map(({ lease, admissions }) => [lease, admissions.map(({ id }) => id)]),
    [[7, ['r1']]],
  )
  isAway = true
  await leases.stop(AbortSignal.timeout(1000))
})

test('what came into the journal too late is passed on, and no later start takes it for granted', async () => {
  const directory = temporaryDirectory()
  const journals = new LeaseJournals(directory)
  let isAsleep = false
  const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() + (isAsleep ? 10_000 : 0) }
  const slice = { tenant: 't', lease: 7, said: SAID, owner: SAID, granted: [{ resource: 'tokens', amount: 9 }] }
  const leases = new CollectorLeases({
    collector: 'c',
    boot: 'b',
    journals,
    ask: async () => ({ ...ANSWER, slices: [{ ...slice, reported: 0, recalled: false }], earlier: [] }),
    clock,
    log: silentLogger,
  })
  await leases.start()
  await eventually('there is a slice', () => leases.sizes.slices === 1)
  const granted = await leases.reserve('t', { ...asked('in time'), task: null })
  assert.equal(granted.kind, 'granted')
  const late = leases.reserve('t', { ...asked('late'), task: null })
  const again = leases.reserve('t', { ...asked('late'), task: null })
  isAsleep = true // while it is written
  assert.deepEqual(await Promise.all([late, again]), [{ kind: 'pass' }, { kind: 'pass' }])
  assert.deepEqual(
    journals.earlier().map(({ isWhole, admissions }) => [isWhole, admissions.map(({ admission }) => admission.id)]),
    [[true, ['in time']]],
  )
  await leases.stop(AbortSignal.timeout(1000))
})
