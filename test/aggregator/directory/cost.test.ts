/** What things cost: by hand, and by laws. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CostLine, PriceSource } from '../../../aggregator/directory/cost.ts'
import { cost } from '../../../aggregator/directory/cost.ts'
import { divide } from '../../../aggregator/directory/divide.ts'
import { entryOf } from '../../../aggregator/directory/entry.ts'
import type { Price } from '../../../aggregator/directory/price.ts'

const HOUR = 3_600_000
const T0 = Date.parse('2026-01-01T00:00:00Z')
const utc = (ms: number): string => new Date(ms).toISOString()
let made = 0

/** @param from hours after T0 */
function price(from: number, amount: number, more: Partial<Price> = {}): Price {
  return {
    id: `price-${String(++made).padStart(6, '0')}`,
    version: 1,
    tenant: 'a',
    resource: 'gpu_seconds',
    vm_type: null,
    gpu_model: null,
    currency: 'EUR',
    amount_micros: amount,
    per: 1,
    valid_from: utc(T0 + from * HOUR),
    valid_to: null,
    changed_at: utc(T0),
    supersedes: null,
    superseded_by: null,
    ...more,
  }
}

function source(...prices: readonly Price[]): PriceSource {
  const entries = prices.map(entryOf)
  return (tenant, resource) =>
    entries.filter(({ record }) => [tenant, '*'].includes(record.tenant) && record.resource === resource)
}

/** @param hours after T0 */
function line(quantity: number, from: number, to: number, more: Partial<CostLine> = {}): CostLine {
  return { tenant: 'a', resource: 'gpu_seconds', quantity, from: T0 + from * HOUR, to: T0 + to * HOUR, ...more }
}

test('cost() is quantity times the price at its time, and says which price and why', () => {
  const prices = source(price(0, 2_500_000, { id: 'p', per: 3600, gpu_model: 'H100' }))
  assert.deepEqual(cost([line(7200, 1, 2, { gpuModel: 'h100' })], prices), [
    {
      currency: 'EUR',
      micros: 5_000_000n,
      parts: [
        {
          from: T0 + HOUR,
          to: T0 + 2 * HOUR,
          price: 'p',
          matched: { of: 'tenant', by: 'gpu_model' },
          micros: 5_000_000n,
        },
      ],
    },
  ])
})

test('cost() splits a line where the price changes, by time, also into another unit', () => {
  const found = cost([line(400, 0, 4)], source(price(0, 10), price(1, 3600, { per: 3 })))[0]!
  assert.ok(found.micros !== null)
  assert.equal(found.micros, 100n * 10n + 300n * 1200n)
  assert.deepEqual(
    found.parts.map(({ micros }) => micros),
    [1000n, 360_000n],
  )
})

test('cost() takes the price of a moment for what happens at once, and of the later one at the change', () => {
  const prices = source(price(0, 10), price(1, 20))
  assert.deepEqual(
    cost([line(1, 0, 0), line(1, 1, 1)], prices).map(({ micros }) => micros),
    [10n, 20n],
  )
})

test('cost() prefers own prices, then vm_type and gpu_model, then the latest', () => {
  const prices = source(
    price(0, 1, { tenant: '*', vm_type: 'big', gpu_model: 'H100' }),
    price(0, 2),
    price(0, 3, { gpu_model: 'H100' }),
    price(0, 4, { vm_type: 'big' }),
    price(-1, 5, { vm_type: 'big', gpu_model: 'H100' }),
    price(0, 6, { vm_type: 'big', gpu_model: 'H100' }),
    price(0, 7, { vm_type: 'big', gpu_model: 'H100', superseded_by: 'x' }),
  )
  const of = (more: Partial<CostLine>): unknown => cost([line(1, 0, 1, more)], prices)[0]!.micros
  assert.equal(of({ vmType: 'big', gpuModel: 'H100' }), 6n)
  assert.equal(of({ vmType: 'big', gpuModel: 'A100' }), 4n)
  assert.equal(of({ vmType: 'small', gpuModel: 'H100' }), 3n)
  assert.equal(of({}), 2n)
  assert.equal(of({ tenant: 'b', vmType: 'big', gpuModel: 'H100' }), 1n)
})

test('cost() is null with a reason, never 0, where no price fits', () => {
  const reason = (lines: CostLine, ...prices: Price[]): unknown => {
    const [found] = cost([lines], source(...prices))
    return found!.micros === null ? found!.reason : found
  }
  assert.equal(reason(line(1, 0, 1)), 'no_price')
  assert.equal(reason(line(1, 0, 1, { gpuModel: 'A100' }), price(0, 1, { gpu_model: 'H100' })), 'no_price')
  assert.equal(reason(line(1, 0, 2), price(1, 1)), 'no_price_then', 'for the first hour there is none')
  assert.equal(reason(line(1, 0, 2), price(0, 1, { valid_to: utc(T0 + HOUR) })), 'no_price_then')
  assert.equal(reason(line(1, 0, 2), price(0, 1), price(1, 1, { currency: 'USD' })), 'currency_changes')
  for (const bad of [Number.NaN, -1, Number.POSITIVE_INFINITY])
    assert.equal(reason(line(bad, 0, 1), price(0, 1)), 'bad_line')
  assert.equal(reason(line(1, 2, 1), price(0, 1)), 'bad_line')
  assert.equal(cost([line(5, 0, 1)], source(price(0, 0)))[0]!.micros, 0n, 'what is said to cost nothing does')
})

test('cost() rounds half to even, once', () => {
  const half = (quantity: number): unknown => cost([line(quantity, 0, 1)], source(price(0, 1, { per: 2 })))[0]!.micros
  assert.deepEqual([half(1), half(3), half(5)], [0n, 2n, 2n])
  // Each of the two parts alone would be 0.5, and 0.
  assert.equal(cost([line(2, 0, 2)], source(price(0, 1, { per: 2 }), price(1, 1, { per: 2 })))[0]!.micros, 1n)
})

const amount = fc.integer({ min: 0, max: 10_000_000 })
const someChanges = fc.array(fc.tuple(fc.integer({ min: 1, max: 23 }), amount, fc.integer({ min: 1, max: 5000 })), {
  maxLength: 6,
})

test('cost(): the parts of a line add up to it', () => {
  fc.assert(
    fc.property(amount, someChanges, fc.double({ min: 0, max: 1e9, noNaN: true }), (first, changes, quantity) => {
      const prices = source(price(0, first), ...changes.map(([at, micros, per]) => price(at, micros, { per })))
      const found = cost([line(quantity, 0, 24)], prices)[0]!
      assert.ok(found.micros !== null)
      assert.equal(
        found.parts.reduce((sum, { micros }) => sum + micros, 0n),
        found.micros,
      )
    }),
  )
})

test('cost(): a period cut into n costs the same, to (n + 1) / 2 millionths', () => {
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 23 }), { maxLength: 8 })
  fc.assert(
    fc.property(amount, someChanges, fc.integer({ min: 0, max: 1_000_000 }), cuts, (first, changes, rate, at) => {
      const prices = source(price(0, first), ...changes.map(([hour, micros, per]) => price(hour, micros, { per })))
      const bounds = [0, ...at.sort((a, b) => a - b), 24]
      const parts = bounds.slice(1).map((to, i) => line(rate * (to - bounds[i]!), bounds[i]!, to))
      const sum = cost(parts, prices).reduce((all, { micros }) => all + micros!, 0n)
      const whole = cost([line(rate * 24, 0, 24)], prices)[0]!.micros!
      const off = sum > whole ? sum - whole : whole - sum
      assert.ok(off * 2n <= BigInt(parts.length + 1), `${parts.length} parts are ${off} off`)
    }),
  )
})

test('divide(): parts add up to the whole, and each is its share rounded down or up', () => {
  const weight = fc.bigInt({ min: 0n, max: 1_000_000n })
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(10n ** 18n), max: 10n ** 18n }),
      fc.array(weight, { minLength: 1, maxLength: 20 }),
      (whole, weights) => {
        const parts = divide(whole, weights)
        assert.equal(
          parts.reduce((a, b) => a + b, 0n),
          whole,
        )
        const sum = weights.reduce((a, b) => a + b, 0n)
        if (sum === 0n) return
        for (const [i, part] of parts.entries()) {
          const off = part * sum - whole * weights[i]!
          assert.ok(off < sum && off > -sum)
        }
      },
    ),
  )
  assert.deepEqual(divide(10n, [0n, 0n, 0n]), [4n, 3n, 3n])
  assert.throws(() => divide(1n, []), RangeError)
})
