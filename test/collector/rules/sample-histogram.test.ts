import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Buckets, bucketOf } from '../../../collector/rules/sample-histogram.ts'
import { histogramText } from '../../support/rules-model.ts'

test('bucketOf() puts a value into the bucket whose bounds enclose it, the upper one included', () => {
  const bounds: [number, number][] = [
    [1, 0],
    [1.0000000000000002, 1],
    [2 ** (1 / 8), 1],
    [2, 8],
    [2.1, 9],
    [0.5, -8],
    [2 ** -127, -127 * 8],
    [Number.MAX_VALUE, 8192],
    [Number.POSITIVE_INFINITY, 8193],
  ]
  for (const [value, bucket] of bounds) assert.equal(bucketOf(value), bucket, String(value))
  fc.assert(
    fc.property(fc.double({ min: 2 ** -127, max: 1e300, noNaN: true }), (value) => {
      const exact = Math.log2(value) * 8
      assert.ok(Math.abs(bucketOf(value) - exact - 0.5) <= 0.5 + 1e-9)
    }),
  )
})

test('Buckets.histogram() writes spans and deltas as Prometheus does', () => {
  const buckets = new Buckets()
  for (const value of [1, 1, 1.05, 1.3, 4, 0, -0, 2 ** -128, -2, Number.NaN]) buckets.observe(value)
  assert.deepEqual(buckets.histogram(10, Number.NaN), {
    countInt: 10,
    sum: Number.NaN,
    schema: 3,
    zeroThreshold: 2 ** -128,
    zeroCountInt: 3,
    negativeSpans: [{ offset: 8, length: 1 }],
    negativeDeltas: [1],
    positiveSpans: [
      { offset: 0, length: 5 },
      { offset: 11, length: 1 },
    ],
    positiveDeltas: [2, -1, -1, 0, 1, 0],
    resetHint: 3,
  })
})

test('Buckets.histogram() is valid, and says how many values lie where', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ noNaN: true })), (values) => {
      const buckets = new Buckets()
      for (const value of values) buckets.observe(value)
      const h = buckets.histogram(values.length, 1)
      const total = [...histogramText(h).matchAll(/:(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0)
      assert.equal(total, values.length)
      for (const [spans, deltas] of [
        [h.positiveSpans, h.positiveDeltas],
        [h.negativeSpans, h.negativeDeltas],
      ] as const) {
        assert.equal(
          spans.reduce((sum, { length }) => sum + length, 0),
          deltas.length,
        )
        assert.ok(spans.slice(1).every(({ offset }) => offset > 2))
      }
    }),
  )
})
