/** Periods of quotas: days as clocks have them, with their leaps. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { QuotaWindow } from '../../../aggregator/quotas/window.ts'
import { isZone, noticePeriodOf, periodOf, windowKey } from '../../../aggregator/quotas/window.ts'

const at = (text: string): number => Date.parse(text)

function period(window: QuotaWindow, moment: string): readonly [from: string, to: string] {
  const { from, to } = periodOf(window, at(moment))
  return [new Date(from).toISOString().slice(0, 16), new Date(to).toISOString().slice(0, 16)]
}

test('a day, a week from Monday, a month, as a zone has them', () => {
  const zone = 'Asia/Kathmandu' // 5:45 ahead
  assert.deepEqual(period({ kind: 'day', zone }, '2026-03-01T18:14:59Z'), ['2026-02-28T18:15', '2026-03-01T18:15'])
  assert.deepEqual(period({ kind: 'day', zone }, '2026-03-01T18:15:00Z'), ['2026-03-01T18:15', '2026-03-02T18:15'])
  assert.deepEqual(period({ kind: 'week', zone: 'UTC' }, '2026-11-22T23:59:59Z'), [
    '2026-11-16T00:00',
    '2026-11-23T00:00',
  ])
  assert.deepEqual(period({ kind: 'week', zone: 'UTC' }, '2026-11-23T00:00:00Z'), [
    '2026-11-23T00:00',
    '2026-11-30T00:00',
  ])
  assert.deepEqual(period({ kind: 'month', zone: 'UTC' }, '2028-02-29T12:00:00Z'), [
    '2028-02-01T00:00',
    '2028-03-01T00:00',
  ])
  assert.deepEqual(period({ kind: 'month', zone: 'America/New_York' }, '2027-01-01T04:59:59Z'), [
    '2026-12-01T05:00',
    '2027-01-01T05:00',
  ])
})

test('a day has 23 or 25 hours when clocks are changed, and a month with it', () => {
  const berlin = { kind: 'day', zone: 'Europe/Berlin' } as const
  assert.deepEqual(period(berlin, '2026-03-29T12:00:00Z'), ['2026-03-28T23:00', '2026-03-29T22:00'])
  assert.deepEqual(period(berlin, '2026-10-25T12:00:00Z'), ['2026-10-24T22:00', '2026-10-25T23:00'])
  assert.deepEqual(period({ kind: 'month', zone: 'Europe/Berlin' }, '2026-10-25T12:00:00Z'), [
    '2026-09-30T22:00',
    '2026-10-31T23:00',
  ])
})

test('a midnight that is leapt over, that comes twice, and a day that there was not', () => {
  // Cuba: 00:00 becomes 01:00 in March; 01:00 becomes 00:00 in November.
  const havana = { kind: 'day', zone: 'America/Havana' } as const
  assert.deepEqual(period(havana, '2026-03-08T12:00:00Z'), ['2026-03-08T05:00', '2026-03-09T04:00'])
  assert.deepEqual(period(havana, '2026-11-01T12:00:00Z'), ['2026-11-01T04:00', '2026-11-02T05:00'])
  // Samoa had no 30 December 2011.
  const apia = { kind: 'day', zone: 'Pacific/Apia' } as const
  assert.deepEqual(period(apia, '2011-12-30T09:59:59Z'), ['2011-12-29T10:00', '2011-12-30T10:00'])
  assert.deepEqual(period(apia, '2011-12-30T10:00:00Z'), ['2011-12-30T10:00', '2011-12-31T10:00'])
})

test('a rolling window has every quarter of an hour that is partly in it', () => {
  const window = { kind: 'rolling', seconds: 3600 } as const
  assert.equal(periodOf(window, at('2026-01-01T12:00:00Z')).from, at('2026-01-01T11:00:00Z'))
  assert.equal(periodOf(window, at('2026-01-01T12:14:59.999Z')).from, at('2026-01-01T11:00:00Z'))
  assert.equal(periodOf(window, at('2026-01-01T12:15:00Z')).from, at('2026-01-01T11:15:00Z'))
  assert.equal(periodOf({ kind: 'lifetime' }, 1).to, Number.POSITIVE_INFINITY)
})

test('periods of any zone follow each other without a gap, and lie on slots', () => {
  const zones = ['UTC', 'Europe/London', 'America/St_Johns', 'Australia/Lord_Howe', 'Africa/Cairo', 'Asia/Beirut']
  const kinds = ['day', 'week', 'month'] as const
  fc.assert(
    fc.property(
      fc.constantFrom(...zones, 'America/Sao_Paulo', 'Africa/Casablanca', 'Pacific/Apia', 'Atlantic/Azores'),
      fc.constantFrom(...kinds),
      fc.integer({ min: at('1990-01-01T00:00:00Z'), max: at('2060-01-01T00:00:00Z') }),
      (zone, kind, moment) => {
        const { from, to } = periodOf({ kind, zone }, moment)
        assert.ok(from <= moment && moment < to)
        assert.equal(from % 900_000, 0)
        assert.deepEqual(periodOf({ kind, zone }, from), { from, to })
        assert.deepEqual(periodOf({ kind, zone }, to - 1), { from, to })
        assert.equal(periodOf({ kind, zone }, to).from, to)
      },
    ),
    { numRuns: 300 },
  )
})

test('thresholds of a rolling window are told once in its length', () => {
  const window = { kind: 'rolling', seconds: 3600 } as const
  assert.deepEqual(noticePeriodOf(window, 3_600_000 * 5 + 1), { from: 3_600_000 * 5, to: 3_600_000 * 6 })
  assert.deepEqual(noticePeriodOf({ kind: 'day', zone: 'UTC' }, 1), { from: 0, to: 86_400_000 })
})

test('a window is known by what it is, a zone by its name', () => {
  assert.equal(windowKey({ kind: 'rolling', seconds: 900 }), 'rolling 900')
  assert.notEqual(windowKey({ kind: 'day', zone: 'UTC' }), windowKey({ kind: 'day', zone: 'Europe/Berlin' }))
  assert.equal(isZone('Europe/Berlin'), true)
  for (const zone of ['Europe/Nowhere', '', '../etc/passwd', '\0']) assert.equal(isZone(zone), false)
})
