import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decimalExponent, decimalMantissa, decimalValue, RAW_FLOAT } from '../../../proto/wire/decimal.ts'

const anyDouble = fc.oneof(
  fc.double(),
  fc.tuple(fc.integer({ min: -(10 ** 9), max: 10 ** 9 }), fc.integer({ min: 0, max: 9 })).map(([m, e]) => m / 10 ** e),
)

test('decimalExponent: the mantissa gives back the very same double, or says that it cannot', () => {
  fc.assert(
    fc.property(anyDouble, fc.integer({ min: 0, max: 9 }), (value, hint) => {
      const e = decimalExponent(value, hint)
      if (e === RAW_FLOAT) return
      const mantissa = decimalMantissa(value, e)
      assert.ok(Number.isSafeInteger(mantissa) && !Object.is(mantissa, -0))
      assert.ok(Object.is(decimalValue(mantissa, e), value))
    }),
    { numRuns: 5000 },
  )
})

test('decimalExponent represents what telemetry sends with few decimals', () => {
  assert.equal(decimalExponent(57, 0), 0)
  assert.equal(decimalExponent(312.45, 0), 2)
  assert.equal(decimalExponent(0.1 + 0.2, 0), RAW_FLOAT)
  assert.equal(decimalExponent(81559, 2), 2)
})

test('decimalExponent keeps what no decimal holds as its bits', () => {
  for (const value of [Number.NaN, Infinity, -Infinity, -0, 1 / 3, 2 ** 52, -(2 ** 60), 1e300, 5e-324]) {
    assert.equal(decimalExponent(value, 0), RAW_FLOAT, String(value))
  }
})

test('decimalExponent leaves a hint that is too fine for a large integer', () => {
  assert.equal(decimalExponent(2 ** 51, 9), 0)
})
