import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { aggregate, Buckets, quantile } from '../../../aggregator/query/buckets.ts'
import { AGGREGATES } from '../../../aggregator/query/parameters.ts'

test("aggregate gives the contract's figures for 4 1 9 2 7 at seconds 5 1 30 59 12", () => {
  const buckets = new Buckets(60_000, true)
  for (const [value, second] of [
    [4, 5],
    [1, 1],
    [9, 30],
    [2, 59],
    [7, 12],
  ] as const)
    buckets.add(second * 1000, value, 1)
  const [[start, bucket]] = buckets.sorted() as [[number, Parameters<typeof aggregate>[0]]]
  assert.equal(start, 0)
  const figures = Object.fromEntries(AGGREGATES.map((agg) => [agg, Math.round(aggregate(bucket, agg) * 1e9) / 1e9]))
  assert.deepEqual(figures, { avg: 4.6, sum: 23, max: 9, min: 1, last: 2, p50: 4, p90: 8.2, p99: 8.92 })
})

test('Buckets leave out what JSON cannot say', () => {
  const buckets = new Buckets(1000, false)
  for (const value of [Number.NaN, Infinity, -Infinity]) buckets.add(5, value, 1)
  assert.ok(buckets.isEmpty)
  assert.equal(buckets.latest, Number.NEGATIVE_INFINITY)
})

test('Buckets merged from parts equal those of the whole, however it is cut', () => {
  const sample = fc.tuple(fc.nat(5000), fc.integer({ min: -1000, max: 1000 }))
  fc.assert(
    fc.property(fc.uniqueArray(sample, { selector: (s) => s[0], maxLength: 60 }), fc.nat(5000), (samples, cut) => {
      const whole = new Buckets(1000, true)
      const parts = [new Buckets(1000, true), new Buckets(1000, true)] as const
      for (const [time, value] of samples) {
        whole.add(time, value, 1)
        parts[time < cut ? 0 : 1].add(time, value, 1)
      }
      for (const [start, bucket] of parts[1].sorted()) parts[0].merge(start, bucket)
      for (const agg of AGGREGATES) {
        assert.deepEqual(
          parts[0].sorted().map(([start, b]) => [start, aggregate(b, agg)]),
          whole.sorted().map(([start, b]) => [start, aggregate(b, agg)]),
        )
      }
      assert.equal(parts[0].latest, whole.latest)
    }),
  )
})

test('quantile interpolates between values whose difference no double holds', () => {
  assert.equal(quantile([-1.7e308, 1.7e308], 0.5), 0)
  assert.equal(quantile([3], 0.99), 3)
})
