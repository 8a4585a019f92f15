import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ExactSum } from '../../../collector/rules/exact-sum.ts'
import { exactSum } from '../../support/rules-model.ts'

const sumOf = (terms: readonly number[]) => {
  const sum = new ExactSum()
  for (const term of terms) sum.add(term)
  return sum
}
const reading = fc.oneof(
  fc.double(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(0, -0, 0.1, 1, -1, 2 ** 53, 5e-324, -5e-324, 2 ** -1022, 1e308, -1e308, Number.MAX_VALUE, 2 ** 960),
  fc.integer().map((n) => n / 100),
)

test('ExactSum is the exact sum, rounded once, whatever the terms', () => {
  fc.assert(
    fc.property(fc.array(reading, { maxLength: 40, size: 'max' }), (terms) => {
      assert.ok(Object.is(sumOf(terms).value, exactSum(terms)), `${sumOf(terms).value} for ${terms}`)
    }),
    { numRuns: 2000 },
  )
})

test('ExactSum is the same in any order, and in any division into partial sums', () => {
  const divided = fc.array(reading, { maxLength: 30 }).chain((terms) =>
    fc.record({
      terms: fc.constant(terms),
      shuffled: fc.shuffledSubarray(terms, { minLength: terms.length }),
      cut: fc.nat(terms.length),
    }),
  )
  fc.assert(
    fc.property(divided, ({ terms, shuffled, cut }) => {
      const merged: number[] = []
      sumOf(shuffled.slice(0, cut)).terms(merged)
      sumOf(shuffled.slice(cut)).terms(merged)
      const [a, b] = [sumOf(terms), sumOf(merged.reverse())]
      assert.ok(Object.is(a.value, b.value))
      if (terms.length > 0) assert.ok(Object.is(a.mean(terms.length), b.mean(terms.length)))
    }),
    { numRuns: 2000 },
  )
})

test('Plain addition would not do: the property above notices it', () => {
  const plain = (terms: readonly number[]) => terms.reduce((a, b) => a + b, 0)
  const result = fc.check(
    fc.property(fc.array(reading, { minLength: 5 }), (terms) => Object.is(plain(terms), exactSum(terms))),
    { numRuns: 5000 },
  )
  assert.ok(result.failed)
})

test('ExactSum.mean() is finite where all terms are', () => {
  assert.equal(sumOf([1.5e308, 1.5e308]).value, Number.POSITIVE_INFINITY)
  assert.equal(sumOf([1.5e308, 1.5e308]).mean(2), 1.5e308)
  assert.equal(sumOf([1, 2, Number.POSITIVE_INFINITY]).mean(3), Number.POSITIVE_INFINITY)
  assert.ok(Number.isNaN(sumOf([Number.NEGATIVE_INFINITY, 2, Number.POSITIVE_INFINITY]).mean(3)))
})
