/** Sums of quotas are those of a BigInt, and comparisons too. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'

const whole = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.constantFrom(2 ** 50, -(2 ** 50), 2 ** 53, -(2 ** 53), 0))
const big = fc.oneof(fc.bigInt({ min: -(2n ** 90n), max: 2n ** 90n }), whole.map(BigInt))

test('a sum is what BigInt says, however large', () => {
  fc.assert(
    fc.property(fc.array(whole), big, (amounts, start) => {
      const sum = ExactSum.ofBigInt(start)
      for (const amount of amounts) sum.add(amount)
      const expected = amounts.reduce((total, amount) => total + BigInt(amount), start)
      assert.equal(sum.toBigInt(), expected)
      assert.equal(sum.sign, expected === 0n ? 0 : expected < 0n ? -1 : 1)
      assert.equal(sum.copy().minusSum(sum).sign, 0)
    }),
  )
})

test('whether something fits is decided to the unit', () => {
  fc.assert(
    fc.property(big, big, fc.nat(), fc.integer({ min: -2, max: 2 }), (a, b, more, off) => {
      const fits = (limit: bigint): boolean =>
        ExactSum.fits(ExactSum.ofBigInt(a), ExactSum.ofBigInt(b), more, ExactSum.ofBigInt(limit))
      assert.equal(fits(a + b + BigInt(more) + BigInt(off)), off >= 0)
    }),
  )
})
