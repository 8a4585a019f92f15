/** Rounds about slices of quotas, as an aggregator reads them: what no log could keep is refused with its place. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LEASES_VERSION, readLeaseRound } from '../../../proto/quotas/lease-round.ts'

const SAID = { userId: 'ada', project: '', department: '' }
const ADMISSION = { index: 1, id: 'r1', amounts: [], task: null, from: 1, expires: 2, hash: '' }
const SLICE = { tenant: 'a', lease: 1, admissions: [ADMISSION], ended: false }
const ASK = { tenant: 'a', said: SAID, wanted: [{ resource: 'tokens', amount: 1 }], least: [] }
const ROUND = { version: LEASES_VERSION, collector: 'c', epoch: '1.9f86d081', boot: 'b', slices: [SLICE], asks: [ASK] }

test('a round is read as it was sent', () => {
  assert.deepEqual(readLeaseRound(ROUND), ROUND)
})

test('what cannot be is refused, with its place', () => {
  const rounds: readonly (readonly [place: RegExp, round: unknown])[] = [
    [/^the round: /, null],
    [/^epoch: /, { ...ROUND, epoch: 'x' }],
    [/^slices\.0\.tenant: expected the name of a tenant/, { ...ROUND, slices: [{ ...SLICE, tenant: 'a\0b' }] }],
    [/^asks\.0\.tenant: expected the name of a tenant/, { ...ROUND, asks: [{ ...ASK, tenant: '' }] }],
    [/^asks\.0\.said\.userId: /, { ...ROUND, asks: [{ ...ASK, said: { ...SAID, userId: 'a\0' } }] }],
    [/^slices\.0\.admissions\.0\.id: /, { ...ROUND, slices: [{ ...SLICE, admissions: [{ ...ADMISSION, id: '\0' }] }] }],
    [/^asks\.0\.wanted\.0\.amount: /, { ...ROUND, asks: [{ ...ASK, wanted: [{ resource: 'tokens', amount: -1 }] }] }],
  ]
  for (const [place, round] of rounds) assert.match(String(readLeaseRound(round)), place)
})
