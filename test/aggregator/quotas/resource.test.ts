/** Amounts between people, ClickHouse and memory. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ExactSum } from '../../../aggregator/quotas/exact-sum.ts'
import { decimalOfSum, isGauge, limitOf, sumOfDecimal } from '../../../aggregator/quotas/resource.ts'
import { AMOUNT_MAX } from '../../../proto/quotas/amount.ts'

test('a decimal of ClickHouse is read to the unit, and written as it was', () => {
  for (const [resource, decimal, units] of [
    ['gpu_seconds', '12.5', 12_500_000n],
    ['gpu_seconds', '-0.000001', -1n],
    ['credits', '90071992547409931.000001', 90071992547409931000001n],
    ['tokens', '7', 7n],
    ['tokens', '-7', -7n],
  ] as const) {
    const sum = sumOfDecimal(resource, decimal)
    assert.equal(sum.toBigInt(), units)
    assert.equal(decimalOfSum(resource, sum), decimal)
  }
  assert.equal(sumOfDecimal('tokens', '7.000000').toBigInt(), 7n)
  for (const wrong of ['', 'nan', '1e3', '1.2345678', '0x1'])
    assert.throws(() => sumOfDecimal('tokens', wrong), RangeError)
})

test('a limit is of the unit that people write', () => {
  assert.equal(limitOf('gpu_seconds', 3600).toBigInt(), 3_600_000_000n)
  assert.equal(limitOf('tokens', Number.MAX_SAFE_INTEGER).toBigInt(), BigInt(Number.MAX_SAFE_INTEGER))
  assert.equal(isGauge('concurrent_tasks'), true)
  assert.equal(isGauge('tasks'), false)
  assert.equal(limitOf('tokens', AMOUNT_MAX).toBigInt(), 2n ** 51n)
})

test('what is written as a decimal number is read as the same sum, however large', () => {
  const amounts = fc.oneof(fc.bigInt(-(2n ** 80n), 2n ** 80n), fc.bigInt(-(10n ** 7n), 10n ** 7n))
  fc.assert(
    fc.property(fc.constantFrom('tokens', 'gpu_seconds', 'credits'), amounts, (resource, amount) => {
      const text = decimalOfSum(resource, ExactSum.ofBigInt(amount))
      assert.doesNotMatch(text, /\.$|\.\d*0$|^-0$/)
      assert.equal(sumOfDecimal(resource, text).toBigInt(), amount)
    }),
  )
})
