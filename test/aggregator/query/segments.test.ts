import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { planSegments } from '../../../aggregator/query/segments.ts'

const H = 3_600_000
const base = { stepMs: H, quantile: false, pointsFrom: 100 * H, rolledFrom: 124 * H, dirtyHours: new Set<number>() }

test('planSegments reads a short or fine range from points', () => {
  assert.deepEqual(planSegments({ ...base, from: 200 * H, to: 203 * H }), {
    points: { from: 200 * H, to: 203 * H },
    exact: undefined,
    expired: undefined,
    warnings: [],
  })
  assert.equal(planSegments({ ...base, stepMs: 60_000, from: 200 * H, to: 290 * H }).exact, undefined)
  assert.equal(planSegments({ ...base, quantile: true, from: 200 * H, to: 290 * H }).exact, undefined)
})

test('planSegments reads whole hours of a long range from roll-ups', () => {
  const { points, exact, warnings } = planSegments({ ...base, from: 200 * H + 5, to: 290 * H + 7 })
  assert.deepEqual(points, { from: 200 * H + 5, to: 290 * H + 7 })
  assert.deepEqual(exact, { from: 201 * H, to: 290 * H - 1 })
  assert.deepEqual(warnings, [])
})

test('planSegments does not trust roll-ups of hours that are not recomputed any more', () => {
  assert.deepEqual(planSegments({ ...base, from: 110 * H, to: 140 * H }).exact, { from: 124 * H, to: 140 * H - 1 })
})

test('planSegments says what a range before the points cannot resolve', () => {
  const both = planSegments({ ...base, stepMs: 60_000, from: 50 * H + 1, to: 150 * H })
  assert.deepEqual(both.expired, { from: 51 * H, to: 100 * H - 1 })
  assert.deepEqual(both.points, { from: 100 * H, to: 150 * H })
  assert.match(both.warnings[0] ?? '', /only hourly figures are kept/)
  const quantile = planSegments({ ...base, quantile: true, from: 50 * H, to: 60 * H })
  assert.deepEqual([quantile.points, quantile.expired], [undefined, undefined])
  assert.match(quantile.warnings[0] ?? '', /percentiles cannot be given/)
})

test('planSegments covers every whole hour of the range exactly once', () => {
  fc.assert(
    fc.property(
      fc.nat(300 * H),
      fc.nat(200 * H),
      fc.constantFrom(60_000, H, 24 * H),
      fc.boolean(),
      (from, length, stepMs, quantile) => {
        const to = from + length
        const { points, exact, expired, warnings } = planSegments({ ...base, stepMs, quantile, from, to })
        for (let hour = Math.ceil(from / H) * H; hour + H - 1 <= to; hour += H) {
          const inside = (span?: { from: number; to: number }) =>
            span !== undefined && hour >= span.from && hour + H - 1 <= span.to
          const sources = [inside(points) && !inside(exact), inside(exact), inside(expired)].filter(Boolean).length
          if (hour < base.pointsFrom && quantile) assert.ok(sources === 0 && warnings.length > 0)
          else assert.equal(sources, 1)
        }
      },
    ),
  )
})
