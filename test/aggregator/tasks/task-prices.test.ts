/** What a task costs: shares of what was delivered add up to what that costs, and what is not known in full is null. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Price } from '../../../aggregator/directory/price.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import { deliveredTime, priced, SLOT_MS, sharesOf } from '../../../aggregator/tasks/shares.ts'
import { TaskBill } from '../../../aggregator/tasks/task-bill.ts'
import type { TaskPrices } from '../../../aggregator/tasks/task-prices.ts'
import { remembered, taskPrices } from '../../../aggregator/tasks/task-prices.ts'

const T0 = Date.parse('2026-01-31T12:00:00Z')
const at = (seconds: number): string => new Date(T0 + seconds * 1000).toISOString()

const price = (fields: Partial<Price>): Price => ({
  id: `00000000-0000-4000-8000-${String(fields.amount_micros ?? 0).padStart(12, '0')}`,
  version: 1,
  tenant: 't',
  changed_at: at(0),
  valid_from: at(-3600),
  valid_to: null,
  resource: 'gpu_seconds',
  vm_type: null,
  gpu_model: null,
  currency: 'EUR',
  amount_micros: 2_500_000,
  per: 3600,
  supersedes: null,
  superseded_by: null,
  ...fields,
})

async function pricesOf(...all: readonly Price[]): Promise<TaskPrices> {
  const directory = await new DirectorySnapshot().with(
    1,
    all.map((record) => ({ kind: 'price', record })),
  )
  return taskPrices(directory, 't', { vmType: null, gpuModel: 'H100' })
}

test('shares of tasks and of idle cost together what was delivered costs, over a change of price within a slot', async () => {
  const prices = (await pricesOf(price({}), price({ valid_from: at(100), amount_micros: 1_999_999, per: 3601 })))(
    'gpu_seconds',
  )!
  const delivered = priced(deliveredTime, prices.costOf, prices.changes)
  const span = fc
    .tuple(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 2000 }))
    .map(([a, b]) => ({ from: T0 + Math.min(a, b) * 997, to: T0 + Math.max(a, b) * 997 }))
  fc.assert(
    fc.property(fc.array(span, { minLength: 1, maxLength: 4 }), (spans) => {
      const holders = spans.map((one, i) => ({ ...one, key: `t${i}` }))
      const shares = sharesOf(holders, delivered, { from: T0, to: T0 + 3 * SLOT_MS })
      const whole = [0, 1, 2].map((i) => delivered(T0 + i * SLOT_MS, T0 + (i + 1) * SLOT_MS)).reduce((a, b) => a + b)
      assert.equal(
        shares.reduce((sum, { amount }) => sum + amount, 0),
        whole,
      )
    }),
    { numRuns: 100 },
  )
})

const bill = (prices: TaskPrices, seconds = 200) => {
  const span = { from: T0, to: T0 + seconds * 1000 }
  const made = new TaskBill('a/1', span, prices)
  made.share('gpu_seconds', [{ key: 'a/1', ...span }], deliveredTime)
  return made.total([{ resource: 'gpu_seconds', slot: T0, amount: seconds * 1e6 }], [])
}

test('a line names its prices, and each amount what it costs', async () => {
  const { cost, amounts } = bill(
    await pricesOf(price({ amount_micros: 3_600_000 }), price({ valid_from: at(100), amount_micros: 7_200_000 })),
  )
  assert.ok(cost.micros !== null)
  assert.deepEqual([cost.micros, cost.currency, cost.lines[0]!.prices.length], [300_000, 'EUR', 2])
  assert.deepEqual(amounts, [{ resource: 'gpu_seconds', slot: T0, amount: 2e8, costMicro: 300_000, currency: 'EUR' }])
})

test('without a price, with one for other machines or times, or unmeasured, the cost is null with the reason', async () => {
  const reasonOf = ({ cost }: ReturnType<typeof bill>): string => (cost.micros === null ? cost.reason : 'priced')
  assert.equal(reasonOf(bill(await pricesOf())), 'no_price')
  assert.equal(reasonOf(bill(await pricesOf(price({ gpu_model: 'A100' })))), 'no_price')
  assert.equal(reasonOf(bill(await pricesOf(price({ valid_from: at(100) })))), 'no_price_then')
  assert.equal(
    reasonOf(bill(await pricesOf(price({}), price({ valid_from: at(100), amount_micros: 1, currency: 'USD' })))),
    'currency_changes',
  )
  // What has a price by itself keeps it, in its currency.
  const span = { from: T0, to: T0 + 2 * SLOT_MS }
  const prices = await pricesOf(price({ amount_micros: 3600 }), price({ resource: 'tokens', valid_from: at(1000) }))
  const partly = new TaskBill('a/1', span, prices)
  partly.share('gpu_seconds', [{ key: 'a/1', ...span }], deliveredTime)
  partly.at('tokens', T0, 5)
  const used = { resource: 'gpu_seconds', slot: T0, amount: 900e6 } as const
  const told = { resource: 'tokens', slot: T0, amount: 5 } as const
  const { amounts, cost } = partly.total([used, told], ['energy'])
  assert.equal(cost.micros === null && cost.reason, 'no_price_then')
  assert.deepEqual(amounts, [{ ...used, costMicro: 900, currency: 'EUR' }, told])
  const unmeasured = new TaskBill('a/1', { from: T0, to: T0 + 1 }, await pricesOf(price({}))).total([], ['gpu_seconds'])
  assert.equal(unmeasured.cost.micros === null && unmeasured.cost.reason, 'quantity_unknown')
})

test('remembered() prices are the prices, before, between and after changes', async () => {
  const own = (
    await pricesOf(
      price({ valid_to: at(400) }),
      price({ valid_from: at(100), valid_to: at(300), amount_micros: 7_200_001 }),
      price({ valid_from: at(500), currency: 'USD' }),
    )
  )('gpu_seconds')!
  const again = remembered(own)
  // A detail names the time that was asked for first.
  const plain = (held: ReturnType<typeof own.held>): object => ({ ...held, detail: '' })
  const times = fc.tuple(fc.integer({ min: -4000, max: 1000 }), fc.integer({ min: 0, max: 900 }))
  fc.assert(
    fc.property(fc.array(fc.tuple(times, fc.integer({ min: 0, max: 9 }))), (questions) => {
      for (const [[second, length], amount] of questions) {
        const [from, to] = [T0 + second * 1000, T0 + (second + length) * 1000]
        assert.deepEqual(plain(again.held(from, to)), plain(own.held(from, to)))
        assert.equal(again.costOf(amount * 1e8, from, to), own.costOf(amount * 1e8, from, to))
      }
    }),
    { numRuns: 100 },
  )
})
